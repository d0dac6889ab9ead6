//! The app's WebSocket: `/ws` and `/ws/{sessionId}`.
//!
//! A request walks: `gate` (may it connect) → `socket` (its task) → `dispatch` (its frames) → a service. An event walks:
//! bus → `rooms` → `log` (encoded once) → `socket` of each member. Rooms say nothing about viewers; those counts come
//! from presence.

mod dispatch;
mod frame;
mod gate;
mod log;
mod pace;
mod rooms;
mod socket;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ws::{Utf8Bytes, WebSocket};
use axum::extract::{ConnectInfo, Path, Query, State, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use self::dispatch::Conversation;
use self::gate::{Gate, GateRefusal};
use self::rooms::Rooms;
use self::socket::{Ending, Socket, SocketTimes};
use crate::bus::Bus;
use crate::caller::{Caller, CallerReader, Identity};
use crate::chat::Chat;
use crate::clock::Clock;
use crate::config::WsConfig;
use crate::id::SessionId;
use crate::presence::LiveIngress;
use crate::secret::Secret;
use crate::session::Sessions;

/// What sockets work with.
pub(crate) struct Services {
    pub(crate) callers: CallerReader,
    pub(crate) sessions: Sessions,
    pub(crate) chat: Chat,
    pub(crate) presence: LiveIngress,
    pub(crate) clock: Clock,
}

/// Every socket of this node.
pub(crate) struct Ws {
    config: WsConfig,
    callers: CallerReader,
    sessions: Sessions,
    chat: Chat,
    presence: LiveIngress,
    clock: Clock,
    gate: Arc<Gate>,
    rooms: Arc<Rooms>,
    sockets: TaskTracker,
    next_socket: AtomicU64,
    drain_by: watch::Sender<Option<Instant>>,
}

impl Ws {
    pub(crate) fn new(config: WsConfig, services: Services) -> Arc<Self> {
        let Services { callers, sessions, chat, presence, clock } = services;
        let gate = Gate::new(&config);
        let rooms = Rooms::new((&config).into());
        let (sockets, next_socket, drain_by) = (TaskTracker::new(), AtomicU64::new(1), watch::Sender::new(None));
        Arc::new(Self { config, callers, sessions, chat, presence, clock, gate, rooms, sockets, next_socket, drain_by })
    }

    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new().route("/ws", any(upgrade)).route("/ws/{session_id}", any(upgrade)).with_state(Arc::clone(self))
    }

    /// Carries events from the bus to the rooms until `stop`; those published from now on.
    pub(crate) fn run_rooms(&self, bus: &Bus, stop: CancellationToken) -> impl Future<Output = ()> + use<> {
        Arc::clone(&self.rooms).run(bus.subscribe(), stop)
    }

    fn is_ticket(&self, session_id: Option<&str>, token: &Secret) -> bool {
        session_id.and_then(SessionId::parse).is_some_and(|id| self.sessions.ticket(&id, token).is_some())
    }

    /// Asks every socket to go and waits for them as long as `within`. They go one by one at the pace at which another
    /// node takes handshakes, or all clients would come back in the same moment; a few are gone at once.
    pub(crate) async fn drain(&self, within: Duration) {
        let sockets = u32::try_from(self.sockets.len()).unwrap_or(u32::MAX);
        let paced = self.config.handshakes.every.saturating_mul(sockets);
        // The rest of the time is for the goodbyes themselves.
        let by = tokio::time::Instant::now() + paced.min(within.mul_f64(0.6));
        self.drain_by.send_replace(Some(by.into_std()));
        self.sockets.close();
        if tokio::time::timeout(within, self.sockets.wait()).await.is_err() {
            tracing::warn!(sockets = self.sockets.len(), "sockets still open when the time to close them was over");
        }
    }
}

#[derive(Deserialize)]
struct Opening {
    /// An access token, for clients that cannot send headers or a first frame.
    token: Option<Secret>,
}

async fn upgrade(
    State(ws): State<Arc<Ws>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(opening): Query<Opening>,
    path: Option<Path<String>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let mut caller = ws.callers.read(&headers, peer.ip());
    let is_draining = ws.drain_by.borrow().is_some();
    let guard = match ws.gate.admit(caller.address) {
        Ok(guard) if !is_draining => guard,
        Ok(_) => return refuse(GateRefusal::Draining),
        Err(refusal) => return refuse(refusal),
    };
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.split_once(' ')).map(|(_, token)| Secret::new(token.trim()));
    // However the token came, signing in is one path: it counts the user's sockets.
    caller.identity = Identity::Anonymous;
    let arrival = Arrival { caller, session_id: path.map(|Path(id)| id), token: opening.token.or(bearer) };

    let tracked = ws.sockets.token();
    let conn_id = ws.next_socket.fetch_add(1, Ordering::Relaxed);
    let span = tracing::info_span!("ws", conn.id = conn_id, user.id = tracing::field::Empty);
    upgrade
        .max_message_size(ws.config.frame_max_bytes)
        .max_frame_size(ws.config.frame_max_bytes)
        .read_buffer_size(ws.config.read_buffer_bytes)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
        .on_upgrade(move |wire| {
            async move {
                attend(ws, wire, arrival).await;
                drop((guard, tracked));
            }
            .instrument(span)
        })
}

/// What a connection brings along.
struct Arrival {
    caller: Caller,
    /// The session in the address, joined at once.
    session_id: Option<String>,
    token: Option<Secret>,
}

/// Opens the conversation as the address and the token ask, and lives through it.
async fn attend(ws: Arc<Ws>, wire: WebSocket, arrival: Arrival) {
    let drain = ws.drain_by.subscribe();
    let (socket, opened) = Box::pin(open(ws, wire, arrival)).await;
    match opened {
        Ok(first) => socket.run(first, drain).await,
        Err(ending) => socket.close(ending).await,
    }
}

/// The socket, and the frames it opens with or the reason why it is closed at once.
async fn open(ws: Arc<Ws>, wire: WebSocket, arrival: Arrival) -> (Box<Socket>, Result<Vec<Utf8Bytes>, Ending>) {
    let Arrival { caller, session_id, token } = arrival;
    let (wake, now) = (Arc::new(Notify::new()), tokio::time::Instant::now().into_std());
    let times = SocketTimes::from(&ws.config);
    // At the address of a session the token may be its ticket, which admits without signing in.
    let ticket = token.as_ref().filter(|token| ws.is_ticket(session_id.as_deref(), token));

    let mut conversation = Conversation::new(Arc::clone(&ws), caller, Arc::clone(&wake), now);
    let mut opened = match &token {
        Some(token) if ticket.is_none() => conversation.sign_in(token).map(|reply| vec![reply]),
        Some(_) | None => Ok(Vec::new()),
    };
    if let (Some(session_id), Ok(first)) = (&session_id, &mut opened) {
        first.push(conversation.join(session_id, ticket, None, now).await);
    }
    (Socket::new(wire, conversation, wake, times), opened)
}

/// tungstenite hands bytes to the kernel beyond this; small, because it stays allocated for as long as the socket lives.
const WRITE_BUFFER_BYTES: usize = 4096;
/// Reached only while the kernel takes nothing more, which `write_timeout` ends: a batch of our largest frames.
const MAX_WRITE_BUFFER_BYTES: usize = 512 * 1024;

fn refuse(refusal: GateRefusal) -> Response {
    let status = match refusal {
        GateRefusal::ServerFull | GateRefusal::Draining => StatusCode::SERVICE_UNAVAILABLE,
        GateRefusal::AddressFull | GateRefusal::TooManyHandshakes => StatusCode::TOO_MANY_REQUESTS,
    };
    // Spread out, so that those refused do not return together.
    let retry = HeaderValue::from(rand::random_range(2..=10_u16));
    (status, [(header::RETRY_AFTER, retry)], refusal.to_string()).into_response()
}
