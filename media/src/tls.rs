//! TLS in front of a protocol: what RTMPS is given to start, and what a failed handshake is counted as.
//!
//! Certificates belong to whoever starts this plane; they arrive here inside a [`rustls::ServerConfig`], which may swap
//! them at any time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// RTMP over TLS, on a port of its own beside the plain one. Its connections share the limits of
/// [`RtmpConfig`](crate::config::RtmpConfig), the handshake's deadline included.
#[derive(Debug, Clone)]
pub struct Rtmps {
    /// Address and port for encoders.
    pub listen: SocketAddr,
    /// The server's side of every handshake.
    pub tls: Arc<rustls::ServerConfig>,
}

/// Value of a counter's `reason` label for a TLS handshake that failed.
pub fn handshake_failure(error: &io::Error) -> &'static str {
    let broken = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match broken {
        // Plain HTTP or RTMP on the wrong port, mostly.
        Some(rustls::Error::InvalidMessage(_)) => "tls_not_tls",
        // The client does not trust the certificate, mostly.
        Some(rustls::Error::AlertReceived(_)) => "tls_refused_by_client",
        Some(rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol) => "tls_nothing_in_common",
        Some(_) => "tls_protocol",
        None => "tls_broken_off",
    }
}
