//! How a peer is reached.

use bytes::Bytes;
use std::net::SocketAddr;
use tokio::sync::mpsc;

/// The validated way to a peer: a UDP address, or an ICE-TCP connection (RFC 6544).
#[derive(Debug, Clone)]
pub(crate) enum Route {
    Udp(SocketAddr),
    /// Datagrams, framed by the connection's own task (RFC 4571).
    Tcp(mpsc::Sender<Bytes>),
}
