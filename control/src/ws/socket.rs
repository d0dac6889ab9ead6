//! One socket: a task that reads frames, writes replies and room frames, pings, and knows when to stop.
//!
//! In: WebSocket messages (RFC 6455), wake-ups from rooms. Out: WebSocket messages. Driven by its own task, which owns all
//! its state. Nothing is queued here: replies are written before the next frame is read, room frames are read from the
//! room's log when the socket can take them. So a slow peer costs one write buffer, and after `write_timeout` it is closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;

use super::dispatch::Conversation;
use super::log::Read;
use crate::config::WsConfig;

/// Why a socket is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The peer closed it, or the connection broke.
    Gone,
    /// No answer to a ping.
    Silent,
    /// It took too long to take what was written.
    Stuck,
    /// It fell so far behind that frames it had not read are forgotten.
    FellBehind,
    /// A frame over the limit.
    TooLarge,
    /// Not a WebSocket frame, or text that is not UTF-8.
    Malformed,
    /// Too many commands for too long.
    Abusive,
    /// Its user has as many sockets as allowed.
    TooManyOfUser,
    /// The server is going away.
    Draining,
}

impl Ending {
    /// What the peer is told: RFC 6455 section 7.4 codes, or ours from 4000 on. A client comes back after 4001 and 4008.
    const fn close(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Gone => None,
            Self::Silent => Some((4000, "no answer to ping")),
            Self::Draining => Some((4001, "server restarting, reconnect")),
            Self::Stuck | Self::FellBehind => Some((4008, "too slow, reconnect")),
            Self::TooManyOfUser => Some((4009, "too many connections of this user")),
            Self::Abusive => Some((4029, "too many commands")),
            Self::Malformed => Some((1002, "protocol error")),
            Self::TooLarge => Some((1009, "frame too large")),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Silent => "silent",
            Self::Stuck => "stuck",
            Self::FellBehind => "fell_behind",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Abusive => "abusive",
            Self::TooManyOfUser => "too_many_of_user",
            Self::Draining => "draining",
        }
    }
}

/// Times a socket lives by.
#[derive(Debug, Clone, Copy)]
pub(super) struct SocketTimes {
    pub(super) ping_interval: Duration,
    pub(super) pong_timeout: Duration,
    pub(super) write_timeout: Duration,
}

impl From<&WsConfig> for SocketTimes {
    fn from(config: &WsConfig) -> Self {
        let WsConfig { ping_interval, pong_timeout, write_timeout, .. } = *config;
        Self { ping_interval, pong_timeout, write_timeout }
    }
}

/// When the server wants its sockets closed: `None` while it runs.
pub(super) type DrainBy = watch::Receiver<Option<Instant>>;

/// A socket and its conversation.
pub(super) struct Socket {
    wire: WebSocket,
    conversation: Conversation,
    wake: Arc<Notify>,
    times: SocketTimes,
    ping_at: Instant,
    /// Set while a ping is unanswered.
    silent_at: Option<Instant>,
    /// Set once the server drains.
    drain_at: Option<Instant>,
}

/// What a socket waits for besides its peer and its rooms.
#[derive(Debug, Clone, Copy)]
enum Alarm {
    Ping,
    Silence,
    Drain,
}

impl Socket {
    /// Boxed, because a future that hands it on by value would hold a copy for each hand.
    pub(super) fn new(wire: WebSocket, conversation: Conversation, wake: Arc<Notify>, times: SocketTimes) -> Box<Self> {
        let ping_at = now() + times.ping_interval;
        Box::new(Self { wire, conversation, wake, times, ping_at, silent_at: None, drain_at: None })
    }

    /// Lives until something ends it, and tells the peer what.
    pub(super) async fn run(mut self: Box<Self>, opening: Vec<Utf8Bytes>, drain: DrainBy) {
        let ending = match self.live(opening, drain).await {
            Ok(never) => match never {},
            Err(ending) => ending,
        };
        metrics::counter!("chobi_ws_closed_total", "reason" => ending.name()).increment(1);
        tracing::debug!(ending = ending.name(), "socket closed");
        self.close(ending).await;
    }

    async fn live(&mut self, opening: Vec<Utf8Bytes>, mut drain: DrainBy) -> Result<std::convert::Infallible, Ending> {
        self.write(opening).await?;
        loop {
            let wake = Arc::clone(&self.wake);
            let (alarm_at, alarm) = self.next_alarm();
            tokio::select! {
                heard = self.wire.recv() => self.hear(heard).await?,
                () = wake.notified() => self.deliver().await?,
                () = tokio::time::sleep_until(alarm_at.into()) => self.ring(alarm).await?,
                by = drained_by(&mut drain), if self.drain_at.is_none() => {
                    // Spread out, or every client would come back in the same moment.
                    self.drain_at = Some(now() + by.saturating_duration_since(now()).mul_f64(rand::random()));
                }
            }
        }
    }

    async fn hear(&mut self, heard: Option<Result<Message, axum::Error>>) -> Result<(), Ending> {
        let message = match heard {
            None => return Err(Ending::Gone),
            Some(Err(error)) => return Err(ending_of(error)),
            Some(Ok(message)) => message,
        };
        self.silent_at = None;
        match message {
            Message::Text(text) => {
                // Boxed: it holds a whole database call, which a socket that only listens need not carry about.
                let reply = Box::pin(self.conversation.hear(&text, now())).await?;
                self.write(reply.into_iter().collect()).await?;
                // A seat just taken may have frames to replay.
                self.deliver().await
            }
            // The app speaks text; binary is paced like it and ignored.
            Message::Binary(_) => Box::pin(self.conversation.hear("", now())).await.map(drop),
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => Err(Ending::Gone),
        }
    }

    /// Writes what the rooms hold for this socket, as much as it takes at once.
    async fn deliver(&mut self) -> Result<(), Ending> {
        for _ in 0..MAX_BATCHES {
            let mut batch = Vec::new();
            let read = self.conversation.read(BATCH, &mut batch);
            if read == Read::Lost {
                return Err(Ending::FellBehind);
            }
            self.write(batch).await?;
            if read == Read::Complete {
                return Ok(());
            }
        }
        // There is more, but the peer gets a hearing first.
        self.wake.notify_one();
        Ok(())
    }

    async fn write(&mut self, frames: Vec<Utf8Bytes>) -> Result<(), Ending> {
        if frames.is_empty() {
            return Ok(());
        }
        let write = async {
            for frame in frames {
                self.wire.feed(Message::Text(frame)).await?;
            }
            self.wire.flush().await
        };
        match timeout(self.times.write_timeout, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(ending_of(error)),
            Err(_elapsed) => Err(Ending::Stuck),
        }
    }

    fn next_alarm(&self) -> (Instant, Alarm) {
        let alarms =
            [(Some(self.ping_at), Alarm::Ping), (self.silent_at, Alarm::Silence), (self.drain_at, Alarm::Drain)];
        let set = alarms.into_iter().filter_map(|(at, alarm)| Some((at?, alarm)));
        set.min_by_key(|(at, _)| *at).expect("the next ping is always set")
    }

    async fn ring(&mut self, alarm: Alarm) -> Result<(), Ending> {
        match alarm {
            Alarm::Silence => Err(Ending::Silent),
            Alarm::Drain => Err(Ending::Draining),
            Alarm::Ping => {
                self.ping_at = now() + self.times.ping_interval;
                self.silent_at.get_or_insert(now() + self.times.pong_timeout);
                let ping = self.wire.send(Message::Ping(Default::default()));
                match timeout(self.times.write_timeout, ping).await {
                    Ok(sent) => sent.map_err(ending_of),
                    Err(_elapsed) => Err(Ending::Stuck),
                }
            }
        }
    }

    /// Says goodbye, if the peer still listens, and waits a moment for it to do the same, so that the close frame is not
    /// lost to a reset.
    pub(super) async fn close(mut self: Box<Self>, ending: Ending) {
        let Some((code, reason)) = ending.close() else { return };
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        let goodbye = async {
            self.wire.send(Message::Close(Some(frame))).await?;
            while let Some(Ok(_)) = self.wire.recv().await {}
            Ok::<_, axum::Error>(())
        };
        let _ = timeout(GOODBYE, goodbye).await;
    }
}

/// Frames written between two flushes. Small, so that a slow socket's write is a bounded piece of work.
const BATCH: usize = 64;
/// Batches written before the peer is listened to again.
const MAX_BATCHES: usize = 8;
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Waits until the server drains and returns by when its sockets are to be gone.
async fn drained_by(drain: &mut DrainBy) -> Instant {
    let by = drain.wait_for(Option::is_some).await.map(|by| *by);
    by.ok().flatten().unwrap_or_else(now)
}

fn ending_of(error: axum::Error) -> Ending {
    use tungstenite::Error as Wire;
    match error.into_inner().downcast_ref::<Wire>() {
        Some(Wire::Capacity(_)) => Ending::TooLarge,
        Some(Wire::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => Ending::Gone,
        Some(Wire::Protocol(_) | Wire::Utf8(_)) => Ending::Malformed,
        _ => Ending::Gone,
    }
}

/// The runtime's clock, which tests may move.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
