//! What a connection reads from and writes to: TCP, or TLS over it, with the same meaning of end and of written.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What RTMP is spoken on: a socket, or TLS over one.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

/// 0 at the end. Over TLS a peer may close its socket without a word, which is an end like any other: what RTMP leaves
/// unfinished it notices itself.
pub(super) async fn read(socket: &mut impl Socket, buffer: &mut [u8]) -> io::Result<usize> {
    match socket.read(buffer).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        read => read,
    }
}

/// Up to the wire: TLS keeps the last record to itself until it is flushed.
pub(super) async fn write(socket: &mut impl Socket, bytes: &[u8]) -> io::Result<()> {
    socket.write_all(bytes).await?;
    socket.flush().await
}
