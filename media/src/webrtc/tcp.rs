//! ICE-TCP (RFC 6544), for networks that let no UDP through: datagrams framed by their length (RFC 4571).
//!
//! In: connections on the port of the UDP socket. Out: datagrams to the worker that a connection's first check names, and
//! its answers back. One task per connection; only such peers cost one. A connection lives for as long as its worker
//! answers: it does so only to checks of somebody who knows a password, and not once that peer is gone. Until the first
//! answer only a few frames are heard; then it is read as fast as the worker takes its frames.

use super::inbox::{Command, Inbox};
use super::ufrag::worker_of;
use crate::listen::canonical;
use crate::metrics;
use crate::places::{NoPlace, PlaceGuard, PlaceLimits, Places};
use crate::rtc::datagram::{Kind, classify};
use crate::rtc::ice::BindingRequest;
use bytes::{Bytes, BytesMut};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many connections, and how long each may do without an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    places: PlaceLimits,
    /// Before the first.
    stranger: Duration,
    /// And then. A check comes every few seconds (RFC 7675).
    silence: Duration,
}

/// Packets that wait for a slow connection: about half a second of video. Beyond it they are lost, as on a full network.
const QUEUE: usize = 256;
const FRAME_MAX: usize = 2_048;
/// Checks that a client sends until the first answer comes; browsers repeat them every 50 ms.
const STRANGER_FRAMES: usize = 32;
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Beyond them new ones are closed at once. One address may be a whole office whose network lets only TCP
            // through, and a browser opens a connection to each of our addresses.
            places: PlaceLimits { connections: 1_024, per_address: 256, handshakes: 256 },
            stranger: Duration::from_secs(8),
            silence: Duration::from_secs(30),
        }
    }
}

pub(super) async fn run(
    listener: TcpListener,
    limits: Limits,
    workers: Vec<Inbox>,
    tasks: TaskTracker,
    cancel: CancellationToken,
) {
    let places = Places::new(limits.places);
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
        let from = canonical(from);
        let place = match places.take(from.ip()) {
            Ok(place) => place,
            Err(NoPlace::Address) => {
                dropped("tcp_address_full");
                continue;
            }
            Err(NoPlace::Connections | NoPlace::Handshakes) => {
                dropped("tcp_full");
                continue;
            }
        };
        next += 1;
        let (connection, workers, cancel) = (next, workers.clone(), cancel.clone());
        tasks.spawn(async move {
            let serve = serve(socket, (connection, from), &workers, place, limits);
            tokio::select! {
                () = serve => {}
                () = cancel.cancelled() => {}
            }
        });
    }
}

/// Ends when the connection does, is not answered any more, or sends what is no frame.
async fn serve(
    socket: TcpStream,
    (connection, from): (u64, SocketAddr),
    workers: &[Inbox],
    mut place: PlaceGuard,
    limits: Limits,
) {
    // A socket that cannot be set up is broken already; reading it will say so.
    let _ = socket.set_nodelay(true);
    let (mut reader, mut writer) = socket.into_split();
    let (reply, mut replies) = mpsc::channel::<Bytes>(QUEUE);
    // Closed by the first answer.
    let strangers = Semaphore::new(STRANGER_FRAMES);
    let known = &strangers;
    let write = async move {
        let mut framed = BytesMut::with_capacity(FRAME_MAX);
        let mut deadline = Instant::now() + limits.stranger;
        let mut end = std::pin::pin!(sleep_until(deadline));
        loop {
            let datagram = tokio::select! {
                datagram = replies.recv() => datagram,
                // An alarm per answer would cost more than the answer: it is set on only when it rings.
                () = &mut end => {
                    if Instant::now() >= deadline {
                        return;
                    }
                    end.as_mut().reset(deadline);
                    continue;
                }
            };
            let Some(datagram) = datagram else { return };
            place.handshake_done();
            if !known.is_closed() {
                known.close();
            }
            deadline = Instant::now() + limits.silence;
            framed.clear();
            let Ok(length) = u16::try_from(datagram.len()) else { continue };
            framed.extend_from_slice(&length.to_be_bytes());
            framed.extend_from_slice(&datagram);
            if !matches!(timeout(limits.silence, writer.write_all(&framed)).await, Ok(Ok(()))) {
                return;
            }
        }
    };
    let read = async move {
        let mut worker: Option<&Inbox> = None;
        while let Some(datagram) = frame(&mut reader).await {
            if worker.is_none() {
                worker = BindingRequest::parse(&datagram)
                    .ok()
                    .and_then(|request| workers.get(usize::from(worker_of(request.local_ufrag())?)));
            }
            // What does not begin with a check for one of our peers is nobody we know.
            let Some(worker) = worker else { return };
            if let Ok(one) = known.acquire().await {
                one.forget();
            }
            let share = worker.share().await;
            worker.send(Command::Tcp { share, connection, from, datagram, reply: reply.clone() }).await;
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}

fn dropped(reason: &'static str) {
    ::metrics::counter!(metrics::WEBRTC_DROPPED, "reason" => reason).increment(1);
}

/// One frame; `None` when the connection ends or the frame is no datagram of ours.
async fn frame(reader: &mut (impl AsyncReadExt + Unpin)) -> Option<Bytes> {
    let length = usize::from(reader.read_u16().await.ok()?);
    if !(1..=FRAME_MAX).contains(&length) {
        return None;
    }
    let mut datagram = vec![0; length];
    reader.read_exact(&mut datagram).await.ok()?;
    (classify(&datagram) != Kind::Unknown).then(|| Bytes::from(datagram))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::check::write_request;
    use crate::webrtc::inbox;

    /// Longer than anything a test waits for on a busy machine.
    const LIMIT: Duration = Duration::from_secs(60);

    struct Stage {
        address: SocketAddr,
        worker: inbox::Receiver,
        cancel: CancellationToken,
    }

    impl Stage {
        async fn new(limits: Limits) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (inbox, worker) = inbox::channel().unwrap();
            let cancel = CancellationToken::new();
            tokio::spawn(run(listener, limits, vec![inbox], TaskTracker::new(), cancel.clone()));
            Self { address, worker, cancel }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        /// What a connection has sent, with the way back to it.
        async fn heard(&mut self) -> mpsc::Sender<Bytes> {
            let heard = async {
                loop {
                    match self.worker.take() {
                        Some(Command::Tcp { reply, .. }) => return reply,
                        Some(_) => panic!("nothing else is told"),
                        None => tokio::time::sleep(Duration::from_millis(2)).await,
                    }
                }
            };
            timeout(LIMIT, heard).await.expect("heard in time")
        }
    }

    impl Drop for Stage {
        fn drop(&mut self) {
            self.cancel.cancel();
        }
    }

    async fn checks(connection: &mut TcpStream, count: usize) -> std::io::Result<()> {
        let mut frame = vec![0, 0];
        write_request(&mut frame, &[7; 12], "00guessed:theirs", b"guessed", 1);
        let length = (frame.len() - 2) as u16;
        frame[..2].copy_from_slice(&length.to_be_bytes());
        connection.write_all(&frame.repeat(count)).await
    }

    async fn check(connection: &mut TcpStream) -> std::io::Result<()> {
        checks(connection, 1).await
    }

    #[tokio::test]
    async fn checks_that_are_never_answered_do_not_keep_a_connection() {
        let mut stage = Stage::new(Limits { stranger: Duration::from_secs(2), ..Limits::default() }).await;
        let mut known = stage.connect().await;
        check(&mut known).await.unwrap();
        // Somebody who knows a password: the worker answers.
        stage.heard().await.send(Bytes::from_static(b"answer")).await.unwrap();
        let mut answer = [0; 8];
        known.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"\x00\x06answer");

        let mut stranger = stage.connect().await;
        let closed = async {
            while check(&mut stranger).await.is_ok() {
                let mut byte = [0];
                if timeout(Duration::from_millis(50), stranger.read(&mut byte)).await.is_ok() {
                    break;
                }
            }
        };
        timeout(LIMIT, closed).await.expect("closed, although it goes on sending");
        while stage.worker.take().is_some() {}
        check(&mut known).await.unwrap();
        stage.heard().await;
    }

    #[tokio::test]
    async fn a_flood_of_frames_waits_at_its_connection_and_a_strangers_is_not_heard() {
        let mut stage = Stage::new(Limits { stranger: 2 * LIMIT, ..Limits::default() }).await;
        let told = async |stage: &Stage, count| {
            let told = async {
                while stage.worker.waiting() < count {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            timeout(LIMIT, told).await.expect("told in time");
            // What is told too much comes at once.
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(stage.worker.waiting(), count);
        };
        let mut connection = stage.connect().await;
        checks(&mut connection, 10_000).await.unwrap();
        told(&stage, STRANGER_FRAMES).await;
        let reply = stage.heard().await;
        while stage.worker.take().is_some() {}
        reply.send(Bytes::from_static(b"answer")).await.unwrap();
        told(&stage, 1_024).await;
        // Each that is taken makes room for one.
        assert!(stage.worker.take().is_some());
        told(&stage, 1_024).await;
    }

    #[tokio::test]
    async fn what_is_no_datagram_of_ours_ends_its_connection() {
        let mut stage = Stage::new(Limits { stranger: 2 * LIMIT, ..Limits::default() }).await;
        for frame in [&[0, 0][..], b"\x00\x05GET /", &[0x08, 0x01]] {
            let mut connection = stage.connect().await;
            check(&mut connection).await.unwrap();
            stage.heard().await;
            connection.write_all(frame).await.unwrap();
            let mut byte = [0];
            let read = timeout(LIMIT, connection.read(&mut byte)).await.expect("closed");
            assert!(matches!(read, Ok(0) | Err(_)), "{frame:?}: {read:?}");
            assert_eq!(stage.worker.waiting(), 0, "{frame:?}");
        }
    }

    #[tokio::test]
    async fn one_address_has_a_share_of_the_connections() {
        let places = PlaceLimits { connections: 9, per_address: 2, handshakes: 9 };
        let mut stage = Stage::new(Limits { places, stranger: 2 * LIMIT, ..Limits::default() }).await;
        let (mut first, mut second) = (stage.connect().await, stage.connect().await);
        for connection in [&mut first, &mut second] {
            check(connection).await.unwrap();
            stage.heard().await;
        }
        let mut third = stage.connect().await;
        let mut byte = [0];
        let read = timeout(LIMIT, third.read(&mut byte)).await.expect("closed at once");
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        // A place that is given back serves the next.
        drop(first);
        let next = async {
            loop {
                let mut next = stage.connect().await;
                let _ = check(&mut next).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
                if stage.worker.take().is_some() {
                    return;
                }
            }
        };
        timeout(LIMIT, next).await.expect("let in");
    }
}
