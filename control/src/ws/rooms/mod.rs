//! Rooms: the sets of sockets that hear one session.
//!
//! In: domain events from the bus, sockets that join and leave. Out: a wake-up for each socket that has something to
//! read. Driven by one task ([`Rooms::run`]) for events, by the sockets' own tasks for reading.
//!
//! An event is encoded once and put into the room's [`RoomLog`]; each member then reads it at its own pace. What is
//! merged in a big room is the wake-ups: up to 200 sockets hear of an event at once, above that a room is woken at most
//! every 50 ms, above 2 000 every 100 ms. Each event stays a text frame of its own, because the app parses one object
//! per frame. Measured with 10 000 sockets: merging is both cheaper and faster than waking all for each message.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::ws::Utf8Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::frame::{Announcement, FrameType};
use super::log::{Class, Cursor, LogLimits, Position, Read, RoomLog};
use crate::bus::{DomainEvent, Heard, Subscription};
use crate::config::WsConfig;
use crate::id::{SessionId, UserId};

/// Numbers that shape every room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoomLimits {
    pub(crate) log: LogLimits,
    /// A client that comes back is replayed at most this many ordered frames; beyond it, a fresh start is cheaper.
    pub(crate) max_replay: usize,
    /// How long an empty room keeps its log, for members who lost their connection.
    pub(crate) keep_empty: Duration,
    /// Join and leave frames a room hears per second. Beyond it they are dropped and the next `viewer_count` says
    /// where the count stands.
    pub(crate) max_presence_per_second: u32,
}

impl From<&WsConfig> for RoomLimits {
    fn from(config: &WsConfig) -> Self {
        let log = LogLimits {
            max_frames: config.room_frames_max,
            max_bytes: config.room_bytes_max,
            max_age: config.room_memory,
            min_frames: MIN_FRAMES.min(config.room_frames_max),
        };
        Self {
            log,
            max_replay: MAX_REPLAY,
            keep_empty: config.room_memory,
            max_presence_per_second: config.room_presence_per_second,
        }
    }
}

/// Neither age nor size cuts a room's memory below what a returning client may be replayed.
const MIN_FRAMES: usize = 300;
/// A returning client that missed more is better served by fetching the recent messages.
const MAX_REPLAY: usize = 300;

/// All rooms of this node. Locks guard small maps and are never held across an await.
pub(crate) struct Rooms {
    limits: RoomLimits,
    /// A room exists while it has members, and for [`RoomLimits::keep_empty`] after the last one left.
    rooms: Mutex<HashMap<SessionId, Arc<Room>>>,
    next_member: AtomicU64,
}

struct Room {
    log: Mutex<RoomLog>,
    members: Mutex<Members>,
}

/// Who is to be woken, and when that last happened.
struct Members {
    by_id: HashMap<u64, Arc<Notify>>,
    /// Of members who are here as somebody's, see [`Membership::only_for`].
    owners: HashMap<u64, Owner>,
    woken_at: Option<Instant>,
    /// A merged wake-up is already on its way.
    wake_is_due: bool,
    empty_since: Option<Instant>,
    presence: PresenceBudget,
}

/// On whose place in a private session a seat rests.
struct Owner {
    user_id: UserId,
    is_out: Arc<AtomicBool>,
}

impl Rooms {
    pub(crate) fn new(limits: RoomLimits) -> Arc<Self> {
        Arc::new(Self { limits, rooms: Mutex::default(), next_member: AtomicU64::new(0) })
    }

    /// Seats a socket in a room. `wake` is notified whenever there may be something to read. With `seen`, a reader who
    /// was here before goes on where it stopped, if the log still reaches back that far.
    pub(crate) fn join(
        self: &Arc<Self>,
        session_id: SessionId,
        wake: Arc<Notify>,
        seen: Option<Position>,
        now: Instant,
    ) -> Membership {
        let member = self.next_member.fetch_add(1, Ordering::Relaxed);
        let room = {
            let mut rooms = self.rooms.lock();
            let room = rooms.entry(session_id).or_insert_with(|| Arc::new(Room::new(self.limits, now)));
            // Still under the map's lock, so that the sweep cannot take the room away in between.
            room.members.lock().seat(member, wake);
            Arc::clone(room)
        };
        let (cursor, resumed) = {
            let log = room.log.lock();
            let resumable = seen.filter(|seen| log.can_resume(*seen, self.limits.max_replay));
            (resumable.unwrap_or_else(|| log.head()), resumable.is_some())
        };
        Membership { room, member, cursor, resumed, is_out: None }
    }

    /// Hears the bus and wakes the rooms until `stop`.
    pub(crate) async fn run(self: Arc<Self>, mut events: Subscription, stop: CancellationToken) {
        // At most one entry per room: see `Members::wake_is_due`.
        let mut due: BinaryHeap<Reverse<(Instant, SessionId)>> = BinaryHeap::new();
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        loop {
            let next_due = due.peek().map(|Reverse((at, _))| (*at).into());
            tokio::select! {
                heard = events.next() => match heard {
                    Heard::Event(DomainEvent::ViewerEjected { session_id, user_id }) => self.unseat(&session_id, &user_id),
                    Heard::Event(event) => {
                        let Some(announcement) = Announcement::of(event) else { continue };
                        if let Some(at) = self.announce(&announcement, now()) {
                            due.push(Reverse((at, announcement.session_id)));
                        }
                    }
                    Heard::Missed(events) => {
                        tracing::warn!(events, "rooms fell behind the bus; clients are told to start afresh");
                        self.restart_all();
                    }
                    Heard::Closed => return,
                },
                () = async { tokio::time::sleep_until(next_due.expect("guarded by the if")).await }, if next_due.is_some() => {
                    let now = now();
                    while due.peek().is_some_and(|Reverse((at, _))| *at <= now) {
                        let Reverse((_, session_id)) = due.pop().expect("just peeked");
                        self.wake(&session_id, now);
                    }
                }
                _ = sweep.tick() => self.sweep(now()),
                () = stop.cancelled() => return,
            }
        }
    }

    /// Logs an announcement and wakes the room, or returns when it is to be woken.
    fn announce(&self, announcement: &Announcement, now: Instant) -> Option<Instant> {
        // Nobody is here and nobody was: whoever comes later starts at the head anyway.
        let room = self.room(&announcement.session_id)?;
        if !room.members.lock().presence.allows(announcement, self.limits.max_presence_per_second, now) {
            metrics::counter!("chobi_ws_presence_frames_skipped_total").increment(1);
            return None;
        }
        let encode = |position| announcement.encode(position);
        room.log.lock().append(now, announcement.class, announcement.reach.clone(), encode);
        room.members.lock().wake_or_defer(now)
    }

    /// Takes the seats away that rest on this user's place in a session.
    fn unseat(&self, session_id: &SessionId, user_id: &UserId) {
        let Some(room) = self.room(session_id) else { return };
        let members = room.members.lock();
        for (member, owner) in members.owners.iter().filter(|(_, owner)| owner.user_id == *user_id) {
            owner.is_out.store(true, Ordering::Release);
            members.by_id.get(member).inspect(|wake| wake.notify_one());
        }
    }

    /// Lets a room hear a frame as it is.
    #[cfg(test)]
    pub(super) fn say(&self, session_id: &SessionId, class: Class, reach: super::log::Reach, text: Utf8Bytes) {
        let room = self.room(session_id).expect("a room with members");
        room.log.lock().append(now(), class, reach, |_| text);
        assert_eq!(room.members.lock().wake_or_defer(now()), None, "small rooms are woken at once");
    }

    fn wake(&self, session_id: &SessionId, now: Instant) {
        if let Some(room) = self.room(session_id) {
            room.members.lock().wake_all(now);
        }
    }

    /// Nobody knows what was missed, so every room starts a new epoch and every socket notices that it lost its place.
    fn restart_all(&self) {
        let rooms: Vec<_> = self.rooms.lock().values().cloned().collect();
        let now = now();
        for room in rooms {
            room.log.lock().restart(rand::random());
            room.members.lock().wake_all(now);
        }
    }

    fn sweep(&self, now: Instant) {
        let mut rooms = self.rooms.lock();
        rooms.retain(|_, room| !room.members.lock().is_abandoned(now, self.limits.keep_empty));
        metrics::gauge!("chobi_ws_rooms").set(rooms.len() as f64);
    }

    fn room(&self, session_id: &SessionId) -> Option<Arc<Room>> {
        self.rooms.lock().get(session_id).cloned()
    }
}

/// The runtime's clock, which tests may move.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How often empty rooms are looked for; only bounds how late their memory is returned.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

impl Room {
    fn new(limits: RoomLimits, now: Instant) -> Self {
        let members = Members {
            by_id: HashMap::new(),
            owners: HashMap::new(),
            woken_at: None,
            wake_is_due: false,
            empty_since: None,
            presence: PresenceBudget { window_began: now, heard: 0, skipped: false },
        };
        Self { log: Mutex::new(RoomLog::new(limits.log, rand::random())), members: Mutex::new(members) }
    }
}

impl Members {
    fn seat(&mut self, member: u64, wake: Arc<Notify>) {
        self.by_id.insert(member, wake);
        self.empty_since = None;
    }

    /// Wakes everybody, or says when to: a room that was woken within its tick waits for the rest of it.
    fn wake_or_defer(&mut self, now: Instant) -> Option<Instant> {
        let next = self.woken_at.map_or(now, |at| at + tick(self.by_id.len()));
        if next <= now {
            self.wake_all(now);
            return None;
        }
        (!std::mem::replace(&mut self.wake_is_due, true)).then_some(next)
    }

    fn wake_all(&mut self, now: Instant) {
        self.woken_at = Some(now);
        self.wake_is_due = false;
        self.by_id.values().for_each(|wake| wake.notify_one());
    }

    fn is_abandoned(&mut self, now: Instant, keep: Duration) -> bool {
        self.by_id.is_empty() && now.saturating_duration_since(*self.empty_since.get_or_insert(now)) >= keep
    }
}

/// How far apart the wake-ups of a room of this size are.
const fn tick(members: usize) -> Duration {
    match members {
        0..=200 => Duration::ZERO,
        201..=2000 => Duration::from_millis(50),
        _ => Duration::from_millis(100),
    }
}

/// Keeps a storm of joins and leaves from drowning the chat.
struct PresenceBudget {
    window_began: Instant,
    heard: u32,
    /// Some were dropped, so the next count is worth telling.
    skipped: bool,
}

impl PresenceBudget {
    fn allows(&mut self, announcement: &Announcement, per_second: u32, now: Instant) -> bool {
        if announcement.class != Class::BestEffort {
            return true;
        }
        if announcement.kind == FrameType::ViewerCount {
            // Joins and leaves carry the count; alone it is told only when some of them were dropped.
            return std::mem::take(&mut self.skipped);
        }
        if now.saturating_duration_since(self.window_began) >= Duration::from_secs(1) {
            (self.window_began, self.heard) = (now, 0);
        }
        self.heard += 1;
        let allowed = self.heard <= per_second;
        self.skipped |= !allowed;
        allowed
    }
}

/// A socket's seat in a room; dropping it leaves.
pub(crate) struct Membership {
    room: Arc<Room>,
    member: u64,
    cursor: Cursor,
    resumed: bool,
    /// Set when its owner is put out; only where there is one.
    is_out: Option<Arc<AtomicBool>>,
}

impl Membership {
    /// Where this reader stands.
    pub(crate) fn position(&self) -> Position {
        self.cursor
    }

    /// Whether it goes on where an earlier connection stopped.
    pub(crate) fn resumed(&self) -> bool {
        self.resumed
    }

    /// From here on the seat is taken away when the session is closed to this user.
    pub(crate) fn only_for(&mut self, user_id: UserId) {
        let is_out = Arc::<AtomicBool>::default();
        self.is_out = Some(Arc::clone(&is_out));
        self.room.members.lock().owners.insert(self.member, Owner { user_id, is_out });
    }

    /// Whether it was.
    pub(crate) fn is_out(&self) -> bool {
        self.is_out.as_ref().is_some_and(|is_out| is_out.load(Ordering::Acquire))
    }

    /// Takes up to `max` frames that came since the last call.
    pub(crate) fn read(&mut self, reader: Option<&UserId>, max: usize, out: &mut Vec<Utf8Bytes>) -> Read {
        self.room.log.lock().read(&mut self.cursor, reader, max, out)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut members = self.room.members.lock();
        members.by_id.remove(&self.member);
        members.owners.remove(&self.member);
    }
}
