//! ICE-TCP (RFC 6544), for networks that let no UDP through: datagrams framed by their length (RFC 4571).
//!
//! In: connections on the port of the UDP socket. Out: datagrams to the worker that a connection's first check names, and
//! its answers back. One task per connection; only such peers cost one.

use super::inbox::{Command, Inbox};
use super::ufrag::worker_of;
use crate::metrics;
use crate::rtc::ice::BindingRequest;
use crate::rtc::socket::canonical;
use bytes::{Bytes, BytesMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at one time; beyond it new ones are closed at once.
const CONNECTIONS_MAX: usize = 1_024;
/// Until the first check.
const FIRST_FRAME_MAX: Duration = Duration::from_secs(5);
/// A check comes every few seconds (RFC 7675).
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Packets that wait for a slow connection: about half a second of video. Beyond it they are lost, as on a full network.
const QUEUE: usize = 256;
const FRAME_MAX: usize = 2_048;
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

pub(super) async fn run(listener: TcpListener, workers: Vec<Inbox>, tasks: TaskTracker, cancel: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut next = 0_u64;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = cancel.cancelled() => return,
        };
        let Ok((socket, from)) = accepted else {
            tokio::time::sleep(ACCEPT_BACKOFF).await;
            continue;
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            ::metrics::counter!(metrics::WEBRTC_DROPPED, "reason" => "tcp_full").increment(1);
            continue;
        };
        let from = canonical(from);
        next += 1;
        let (connection, workers, cancel) = (next, workers.clone(), cancel.clone());
        tasks.spawn(async move {
            let _slot = slot;
            let serve = serve(socket, from, connection, &workers);
            tokio::select! {
                () = serve => {}
                () = cancel.cancelled() => {}
            }
        });
    }
}

/// Ends when the connection does, is silent, or sends what is no frame.
async fn serve(socket: TcpStream, from: SocketAddr, connection: u64, workers: &[Inbox]) {
    // A socket that cannot be set up is broken already; reading it will say so.
    let _ = socket.set_nodelay(true);
    let (mut reader, mut writer) = socket.into_split();
    let (reply, mut replies) = mpsc::channel::<Bytes>(QUEUE);
    let write = async move {
        let mut framed = BytesMut::with_capacity(FRAME_MAX);
        while let Some(datagram) = replies.recv().await {
            framed.clear();
            let Ok(length) = u16::try_from(datagram.len()) else { continue };
            framed.extend_from_slice(&length.to_be_bytes());
            framed.extend_from_slice(&datagram);
            if writer.write_all(&framed).await.is_err() {
                return;
            }
        }
    };
    let read = async move {
        let mut worker: Option<&Inbox> = None;
        loop {
            let patience = if worker.is_none() { FIRST_FRAME_MAX } else { SILENCE_MAX };
            let Ok(Some(datagram)) = tokio::time::timeout(patience, frame(&mut reader)).await else { return };
            if worker.is_none() {
                worker = BindingRequest::parse(&datagram)
                    .ok()
                    .and_then(|request| workers.get(usize::from(worker_of(request.local_ufrag())?)));
            }
            // What does not begin with a check for one of our peers is nobody we know.
            let Some(worker) = worker else { return };
            worker.try_command(Command::Tcp { connection, from, datagram, reply: reply.clone() });
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}

/// One frame; `None` when the connection ends or the frame is longer than any datagram of ours.
async fn frame(reader: &mut (impl AsyncReadExt + Unpin)) -> Option<Bytes> {
    let length = usize::from(reader.read_u16().await.ok()?);
    if length > FRAME_MAX {
        return None;
    }
    let mut datagram = vec![0; length];
    reader.read_exact(&mut datagram).await.ok()?;
    Some(Bytes::from(datagram))
}
