//! One connection: its socket, its deadlines, and the engines between socket and hub. The one file here that awaits.
//!
//! In: bytes. Out: frames in the hub, answers on the socket. Driven by `listener`.

use super::RtmpConfig;
use super::chunk::{ChunkReader, Message, message_type};
use super::error::{ConnectionEnd, Deadline};
use super::handshake::Handshake;
use super::net_connection::{Event, NetConnection, split_aggregate};
use super::publish_name::PublishName;
use super::socket::{Socket, read, write};
use crate::hub::{ClaimError, Hub, Publisher, Revoked};
use crate::ingest::flv::{Arrival, ToHub};
use crate::metrics;
use crate::model::{BroadcastId, PeerAddr};
use crate::places::PlaceGuard;
use crate::seam::{Admission, EventSink, MediaEvent, Protocol, PublishRequest, Refusal};
use futures_util::FutureExt;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// What all connections of a listener share.
pub(super) struct Context {
    pub(super) config: RtmpConfig,
    pub(super) hub: Hub,
    pub(super) admission: Arc<dyn Admission>,
    pub(super) events: Arc<dyn EventSink>,
    pub(super) cancel: CancellationToken,
}

struct Connection<S> {
    socket: S,
    /// `rtmp` or `rtmps`, for the log and the counters.
    protocol: &'static str,
    peer: PeerAddr,
    id: u64,
    context: Arc<Context>,
    reader: ChunkReader,
    net: NetConnection,
    publication: Option<Publication>,
    /// When the handshake or the last publication ended: `publish` is due from here.
    idle_since: Instant,
    last_read: Instant,
}

struct Publication {
    publisher: Publisher,
    to_hub: ToHub,
    since: Instant,
    bytes: ::metrics::Counter,
}

/// Several frames of audio and video, or a quarter of a large keyframe.
const READ_BUFFER_BYTES: usize = 32 * 1024;
/// Several seconds of a usual publication, less than one of a flood.
const READS_PER_CHECK: u32 = 256;
/// Admission reads a database at worst.
const ADMISSION_MAX: Duration = Duration::from_secs(5);
/// Our answers fit into any socket buffer; a peer that does not take them for so long is gone.
const WRITE_MAX: Duration = Duration::from_secs(5);
/// How long a peer may take to hear why it is cut. What it still sends is read and thrown away, for otherwise the
/// kernel would answer with a reset that overtakes our last words.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// A connection that was given a place.
pub(super) struct Arrived {
    pub(super) peer: PeerAddr,
    pub(super) id: u64,
    pub(super) context: Arc<Context>,
    pub(super) place: PlaceGuard,
}

/// Serves a plain connection to its end.
pub(super) async fn run(socket: TcpStream, arrived: Arrived) {
    let _open = OpenGuard::new();
    // Our answers are small and waited for. A socket that cannot be set is about to fail anyway.
    let _ = socket.set_nodelay(true);
    let deadline = Instant::now() + arrived.context.config.handshake_timeout;
    serve(socket, "rtmp", deadline, arrived).await;
}

/// The same for RTMPS. One deadline covers the handshakes of TLS and RTMP.
pub(super) async fn run_tls(socket: TcpStream, acceptor: TlsAcceptor, arrived: Arrived) {
    let _open = OpenGuard::new();
    let _ = socket.set_nodelay(true);
    let deadline = Instant::now() + arrived.context.config.handshake_timeout;
    let accepted = tokio::select! {
        accepted = timeout_at(deadline, acceptor.accept(socket)) => match accepted {
            Ok(accepted) => accepted.map_err(ConnectionEnd::Tls),
            Err(_) => Err(ConnectionEnd::TooSlow(Deadline::Handshake)),
        },
        () = arrived.context.cancel.cancelled() => Err(ConnectionEnd::Shutdown),
    };
    match accepted {
        Ok(stream) => serve(stream, "rtmps", deadline, arrived).await,
        Err(end) => report(&end, "rtmps", arrived.id, arrived.peer),
    }
}

async fn serve<S: Socket>(socket: S, protocol: &'static str, handshake_by: Instant, arrived: Arrived) {
    let Arrived { peer, id, context, place } = arrived;
    let now = Instant::now();
    let mut connection = Connection {
        reader: ChunkReader::new(context.config.chunk_limits()),
        net: NetConnection::new(&context.config.app),
        socket,
        protocol,
        peer,
        id,
        context,
        publication: None,
        idle_since: now,
        last_read: now,
    };
    let Err(end) = connection.serve(handshake_by, place).await;
    report(&end, protocol, id, peer);
    connection.say_farewell(&end).await;
}

fn report(end: &ConnectionEnd, protocol: &'static str, id: u64, peer: PeerAddr) {
    ::metrics::counter!(metrics::RTMP_CLOSED, "reason" => end.reason()).increment(1);
    tracing::debug!(conn.id = id, protocol, %peer, reason = end.reason(), cause = %end, "RTMP connection ends");
}

struct OpenGuard;

impl OpenGuard {
    fn new() -> Self {
        ::metrics::gauge!(metrics::RTMP_CONNECTIONS).increment(1.0);
        Self
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        ::metrics::gauge!(metrics::RTMP_CONNECTIONS).decrement(1.0);
    }
}

impl<S: Socket> Connection<S> {
    async fn serve(&mut self, handshake_by: Instant, mut place: PlaceGuard) -> Result<Infallible, ConnectionEnd> {
        let rest = self.shake_hands(handshake_by).await?;
        place.handshake_done();
        self.idle_since = Instant::now();
        let cancel = self.context.cancel.clone();
        tokio::pin! {
            let cancelled = cancel.cancelled();
            let timer = sleep_until(self.deadline().0);
        }
        self.feed(&rest).await?;
        let mut buffer = vec![0; READ_BUFFER_BYTES];
        let mut reads = 0_u32;
        loop {
            let (deadline, _) = self.deadline();
            if deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            let revoked = async {
                match &mut self.publication {
                    Some(publication) => publication.publisher.revoked().await,
                    None => pending().await,
                }
            };
            // Reading first: a wake-up by bytes, which is nearly every one, then polls nothing else.
            let read = tokio::select! {
                biased;
                read = read(&mut self.socket, &mut buffer) => read?,
                reason = revoked => return Err(ConnectionEnd::Revoked(reason)),
                () = &mut cancelled => return Err(ConnectionEnd::Shutdown),
                () = &mut timer => {
                    self.check_end()?;
                    timer.as_mut().reset(self.deadline().0);
                    continue;
                }
            };
            if read == 0 {
                return Err(ConnectionEnd::PeerClosed);
            }
            self.feed(&buffer[..read]).await?;
            reads = reads.wrapping_add(1);
            if reads.is_multiple_of(READS_PER_CHECK) {
                self.check_end()?;
            }
        }
    }

    /// Whether the connection has to end for another reason than what it reads. A peer that floods us would otherwise
    /// keep its own end from being noticed.
    fn check_end(&mut self) -> Result<(), ConnectionEnd> {
        let (deadline, what) = self.deadline();
        if deadline <= Instant::now() {
            return Err(ConnectionEnd::TooSlow(what));
        }
        if self.context.cancel.is_cancelled() {
            return Err(ConnectionEnd::Shutdown);
        }
        match self.publication.as_mut().and_then(|publication| publication.publisher.revoked().now_or_never()) {
            Some(reason) => Err(ConnectionEnd::Revoked(reason)),
            None => Ok(()),
        }
    }

    /// Returns what came behind the handshake.
    async fn shake_hands(&mut self, deadline: Instant) -> Result<Vec<u8>, ConnectionEnd> {
        let cancel = self.context.cancel.clone();
        let mut handshake = Handshake::new();
        let mut buffer = [0; 1_024];
        let exchange = async {
            loop {
                let read = read(&mut self.socket, &mut buffer).await?;
                if read == 0 {
                    return Err(ConnectionEnd::PeerClosed);
                }
                let step = handshake.handle_input(&buffer[..read])?;
                write(&mut self.socket, &step.response).await?;
                if let Some(rest) = step.rest {
                    return Ok(rest);
                }
            }
        };
        tokio::select! {
            done = timeout_at(deadline, exchange) => {
                done.unwrap_or(Err(ConnectionEnd::TooSlow(Deadline::Handshake)))
            }
            () = cancel.cancelled() => Err(ConnectionEnd::Shutdown),
        }
    }

    /// What is due next, and when.
    fn deadline(&self) -> (Instant, Deadline) {
        let config = &self.context.config;
        match &self.publication {
            None => (self.idle_since + config.publish_timeout, Deadline::Publish),
            Some(publication) if !publication.to_hub.has_begun() => {
                (publication.since + config.first_media_timeout, Deadline::FirstMedia)
            }
            Some(_) => (self.last_read + config.idle_timeout, Deadline::Idle),
        }
    }

    async fn feed(&mut self, mut input: &[u8]) -> Result<(), ConnectionEnd> {
        self.last_read = Instant::now();
        let wall = SystemTime::now();
        self.net.count_received(input.len());
        if let Some(publication) = &self.publication {
            publication.bytes.increment(input.len() as u64);
        }
        while let Some(message) = self.reader.next(&mut input)? {
            if message.type_id == message_type::AGGREGATE {
                for message in split_aggregate(message) {
                    self.take(message, wall).await?;
                }
            } else {
                self.take(message, wall).await?;
            }
        }
        self.flush(WRITE_MAX).await
    }

    async fn take(&mut self, message: Message, wall: SystemTime) -> Result<(), ConnectionEnd> {
        let Some(event) = self.net.handle_message(message)? else { return Ok(()) };
        match (event, &mut self.publication) {
            (Event::Audio { timestamp, body }, Some(publication)) => {
                let arrival = publication.arrival(self.last_read, wall);
                publication.to_hub.audio(&mut publication.publisher, timestamp, body, arrival)?;
                publication.to_hub.check_rate()?;
            }
            (Event::Video { timestamp, body }, Some(publication)) => {
                let arrival = publication.arrival(self.last_read, wall);
                publication.to_hub.video(&mut publication.publisher, timestamp, body, arrival)?;
                publication.to_hub.check_rate()?;
                let Publication { to_hub, publisher, .. } = publication;
                to_hub.tell_warnings(|code| {
                    let broadcast = publisher.broadcast().id().clone();
                    self.context.events.try_emit(MediaEvent::IngestWarning { broadcast, code })
                });
            }
            (Event::Metadata(hints), Some(publication)) => publication.to_hub.hint(hints),
            (Event::Unpublished, _) => {
                self.end_publication("unpublished");
                self.idle_since = Instant::now();
                self.reader.set_media_accepted(false);
            }
            (Event::PublishRequested(name), _) => self.publish(name).await?,
            (Event::Audio { .. } | Event::Video { .. } | Event::Metadata(_), None) => {}
        }
        Ok(())
    }

    /// Asks admission, once, and becomes the broadcast's publisher.
    async fn publish(&mut self, name: PublishName) -> Result<(), ConnectionEnd> {
        self.flush(WRITE_MAX).await?;
        let cancel = self.context.cancel.clone();
        let admitted = tokio::select! {
            admitted = admit(&self.context, name, self.peer) => admitted,
            () = cancel.cancelled() => return Err(ConnectionEnd::Shutdown),
        };
        match admitted {
            Ok(publisher) => {
                let broadcast = publisher.broadcast().id();
                tracing::info!(broadcast.id = %broadcast, conn.id = self.id, protocol = self.protocol, peer = %self.peer, "publishing starts");
                self.publication = Some(Publication {
                    publisher,
                    to_hub: ToHub::with_limit(self.context.config.media_max_bps),
                    since: Instant::now(),
                    bytes: ::metrics::counter!(metrics::INGEST_BYTES, "protocol" => self.protocol),
                });
                self.net.accept();
                self.reader.set_media_accepted(true);
                self.flush(WRITE_MAX).await
            }
            Err(refusal) => {
                ::metrics::counter!(metrics::PUBLISH_REFUSED, "reason" => refusal_label(&refusal)).increment(1);
                tracing::info!(conn.id = self.id, protocol = self.protocol, peer = %self.peer, cause = %refusal, "publishing refused");
                self.net.refuse(&refusal);
                Err(ConnectionEnd::Refused(refusal))
            }
        }
    }

    async fn flush(&mut self, patience: Duration) -> Result<(), ConnectionEnd> {
        let output = self.net.take_output();
        if output.is_empty() {
            return Ok(());
        }
        let written = timeout(patience, write(&mut self.socket, &output)).await;
        Ok(written.map_err(|_| ConnectionEnd::TooSlow(Deadline::Write))??)
    }

    fn end_publication(&mut self, reason: &'static str) {
        if let Some(publication) = self.publication.take() {
            let broadcast: &BroadcastId = publication.publisher.broadcast().id();
            tracing::info!(broadcast.id = %broadcast, conn.id = self.id, protocol = self.protocol, reason, "publishing ends");
        }
    }

    /// Lets the broadcast go first, so that a takeover does not wait for this peer, then says why, if there is a why.
    async fn say_farewell(mut self, end: &ConnectionEnd) {
        self.end_publication(end.reason());
        match end {
            ConnectionEnd::Revoked(Revoked::Replaced) => self.net.revoke("another connection with this key took over"),
            ConnectionEnd::Revoked(Revoked::Ended) => self.net.revoke("the session has ended"),
            ConnectionEnd::Shutdown => self.net.revoke("the server stops"),
            ConnectionEnd::Media(error) => self.net.reject_media(&error.to_string()),
            ConnectionEnd::TooMuch(excess) => self.net.reject_media(&excess.to_string()),
            ConnectionEnd::Refused(_) | ConnectionEnd::UnknownApplication | ConnectionEnd::PlayRefused => {}
            _ => return,
        }
        let farewell = async {
            self.flush(FAREWELL_MAX).await?;
            self.socket.shutdown().await?;
            let mut thrown_away = [0; 4_096];
            while self.socket.read(&mut thrown_away).await? > 0 {}
            Ok::<_, ConnectionEnd>(())
        };
        // Whether it heard us or not, the connection ends here.
        let _ = timeout(FAREWELL_MAX, farewell).await;
    }
}

impl Publication {
    fn arrival(&self, now: Instant, wall: SystemTime) -> Arrival {
        Arrival { elapsed: now.saturating_duration_since(self.since), wall }
    }
}

async fn admit(context: &Context, name: PublishName, peer: PeerAddr) -> Result<Publisher, Refusal> {
    let request = PublishRequest { broadcast: name.broadcast, key: name.key, protocol: Protocol::Rtmp, peer };
    let answer = timeout(ADMISSION_MAX, context.admission.admit_publisher(request)).await;
    let grant = answer.unwrap_or(Err(Refusal::Unavailable))?;
    let claim = context.hub.claim(grant, Protocol::Rtmp).await;
    claim.map_err(|error| match error {
        ClaimError::Busy => Refusal::Busy,
        ClaimError::Ended => Refusal::Ended,
        ClaimError::Full => Refusal::Unavailable,
    })
}

fn refusal_label(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::BadCredentials => "bad_credentials",
        Refusal::NotFound => "not_found",
        Refusal::Forbidden => "forbidden",
        Refusal::Ended => "ended",
        Refusal::Busy => "busy",
        Refusal::Unavailable => "unavailable",
        Refusal::Stopping => "stopping",
    }
}
