//! From an accepted socket to something HTTP can be spoken on.

use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The server's side of what comes before HTTP. Whoever calls it holds the deadline.
pub(super) trait Accept: Clone + Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(self, socket: TcpStream) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Nothing comes before HTTP.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain;

impl Accept for Plain {
    type Stream = TcpStream;

    async fn accept(self, socket: TcpStream) -> io::Result<TcpStream> {
        Ok(socket)
    }
}

impl Accept for TlsAcceptor {
    type Stream = TlsStream<TcpStream>;

    async fn accept(self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        Self::accept(&self, socket).await
    }
}
