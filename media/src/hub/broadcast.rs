//! One live publication: who may write to it, who waits to read it, and which phase it is in.

use super::lifecycle::{Phase, Presence, Situation};
use super::publisher::{Publisher, Revoked, WriteSide};
use super::speaker::SILENCE;
use super::subscriber::{self, Feeder, Subscriber};
use crate::metrics;
use crate::model::{BroadcastId, TrackId};
use crate::seam::{BroadcastEnd, Protocol};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

#[derive(Debug)]
pub struct Broadcast {
    id: BroadcastId,
    /// The show it is a part of: a co-host's.
    part_of: Option<BroadcastId>,
    goes_on: bool,
    muted: AtomicBool,
    /// Of the loudest packet of sound since it was last looked at (RFC 6464).
    level: AtomicU8,
    slot: Mutex<Slot>,
    /// Rung whenever the write side comes back into the slot.
    vacated: Notify,
    joiners: Mutex<Vec<Feeder>>,
    /// Spares the publisher the lock above for every frame in which nobody joins.
    has_joiners: AtomicBool,
    situation: watch::Sender<Situation>,
    phase: watch::Sender<Phase>,
    keyframes: KeyframeRequests,
}

/// What subscribers ask of a publisher who can be asked. Several askers are one request.
#[derive(Debug, Default)]
struct KeyframeRequests {
    /// The present publisher can make a keyframe when asked.
    possible: AtomicBool,
    wanted: AtomicU32,
}

/// Tracks of which somebody wants a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WantedKeyframes(u32);

impl WantedKeyframes {
    pub(crate) fn contains(self, track: TrackId) -> bool {
        self.0 & bit(track) != 0
    }
}

fn bit(track: TrackId) -> u32 {
    1_u32.checked_shl(u32::from(track.0)).unwrap_or(0)
}

/// Where the write side is.
#[derive(Debug)]
enum Slot {
    Vacant(WriteSide),
    Held { identity: String, protocol: Protocol, revoke: watch::Sender<Option<Revoked>> },
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    #[error("another publisher holds this broadcast")]
    Busy,
    #[error("the broadcast has ended")]
    Ended,
    #[error("the server carries as many broadcasts as it may")]
    Full,
}

/// How long a takeover waits for the old publisher to let go. Its task only has to be scheduled once.
const TAKEOVER_WAIT: Duration = Duration::from_secs(2);

impl Broadcast {
    pub(super) fn new(id: BroadcastId, part_of: Option<BroadcastId>, side: WriteSide, phase: Phase) -> Arc<Self> {
        Arc::new(Self {
            id,
            part_of,
            goes_on: matches!(phase, Phase::Lingering { .. }),
            muted: AtomicBool::new(false),
            level: AtomicU8::new(SILENCE),
            slot: Mutex::new(Slot::Vacant(side)),
            vacated: Notify::new(),
            joiners: Mutex::default(),
            has_joiners: AtomicBool::new(false),
            situation: watch::Sender::new(Situation { publisher: Presence::Absent, end: None }),
            phase: watch::Sender::new(phase),
            keyframes: KeyframeRequests::default(),
        })
    }

    /// Asks the publisher for a keyframe of one track. `false`: it cannot be asked, the next one comes when it comes.
    pub fn request_keyframe(&self, track: TrackId) -> bool {
        let possible = self.keyframes.possible.load(Ordering::Relaxed);
        if possible {
            self.keyframes.wanted.fetch_or(bit(track), Ordering::Relaxed);
        }
        possible
    }

    /// Whether the present publisher can be asked. For its ingest, which knows its protocol and what was agreed on.
    pub(crate) fn keyframes_on_request(&self, possible: bool) {
        self.keyframes.possible.store(possible, Ordering::Relaxed);
    }

    /// The keyframes asked for since the last call. For the publisher's ingest.
    pub(crate) fn take_keyframe_requests(&self) -> WantedKeyframes {
        let quiet = self.keyframes.wanted.load(Ordering::Relaxed) == 0;
        WantedKeyframes(if quiet { 0 } else { self.keyframes.wanted.swap(0, Ordering::Relaxed) })
    }

    pub fn id(&self) -> &BroadcastId {
        &self.id
    }

    /// It was live when the server stopped.
    pub(crate) fn goes_on(&self) -> bool {
        self.goes_on
    }

    pub fn part_of(&self) -> Option<&BroadcastId> {
        self.part_of.as_ref()
    }

    /// The show it belongs to: itself, or that of its host.
    pub fn show(&self) -> &BroadcastId {
        self.part_of.as_ref().unwrap_or(&self.id)
    }

    /// From the next frame on, sound is silence; or is heard again.
    pub fn mute(&self, muted: bool) {
        if self.muted.swap(muted, Ordering::Relaxed) != muted {
            tracing::info!(broadcast.id = %self.id, muted, "sound is turned off or on");
        }
    }

    pub(super) fn is_muted(&self) -> bool {
        self.muted.load(Ordering::Relaxed)
    }

    /// A packet of sound said how loud it is, in decibels below the loudest there is.
    pub(crate) fn heard(&self, level: u8) {
        if !self.is_muted() {
            self.level.fetch_min(level, Ordering::Relaxed);
        }
    }

    pub(super) fn take_level(&self) -> u8 {
        self.level.swap(SILENCE, Ordering::Relaxed)
    }

    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Hears every change of phase.
    pub fn watch_phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Reads from the cached GOP on. At most `capacity` frames wait; beyond that the subscriber loses frames up to the
    /// next it can start with.
    pub fn subscribe(self: &Arc<Self>, capacity: usize) -> Subscriber {
        let (feeder, subscriber) = subscriber::ring(Arc::clone(self), capacity);
        let slot = self.slot.lock();
        // A closed slot drops the feeder here, and the subscriber hears the end at once.
        if !matches!(*slot, Slot::Closed) {
            self.joiners.lock().push(feeder);
            self.has_joiners.store(true, Ordering::Release);
        }
        drop(slot);
        subscriber
    }

    /// Becomes the publisher, taking over from the same identity.
    pub(super) async fn claim(self: &Arc<Self>, identity: &str, protocol: Protocol) -> Result<Publisher, ClaimError> {
        let deadline = tokio::time::Instant::now() + TAKEOVER_WAIT;
        loop {
            let vacated = self.vacated.notified();
            tokio::pin!(vacated);
            vacated.as_mut().enable();
            if let Some(publisher) = self.try_claim(identity, protocol)? {
                return Ok(publisher);
            }
            if tokio::time::timeout_at(deadline, vacated).await.is_err() {
                return Err(ClaimError::Busy);
            }
        }
    }

    /// `None`: the old publisher of the same identity has been told to go; wait for it.
    fn try_claim(self: &Arc<Self>, identity: &str, protocol: Protocol) -> Result<Option<Publisher>, ClaimError> {
        let mut slot = self.slot.lock();
        match std::mem::replace(&mut *slot, Slot::Closed) {
            Slot::Closed => Err(ClaimError::Ended),
            Slot::Vacant(side) => {
                let (revoke, revoked) = watch::channel(None);
                *slot = Slot::Held { identity: identity.to_owned(), protocol, revoke };
                // Until it says otherwise.
                self.keyframes_on_request(false);
                self.situation.send_modify(|situation| situation.publisher = Presence::Connected);
                Ok(Some(Publisher::new(Arc::clone(self), side, revoked)))
            }
            Slot::Held { identity: holder, protocol: held_by, revoke } => {
                let same = holder == identity;
                if same && revoke.send_replace(Some(Revoked::Replaced)).is_none() {
                    ::metrics::counter!(metrics::TAKEOVERS).increment(1);
                }
                *slot = Slot::Held { identity: holder, protocol: held_by, revoke };
                if same { Ok(None) } else { Err(ClaimError::Busy) }
            }
        }
    }

    pub(super) fn media_began(&self) {
        if let Slot::Held { protocol, .. } = &*self.slot.lock() {
            let producing = Presence::Producing(*protocol);
            self.situation.send_modify(|situation| situation.publisher = producing);
        }
    }

    /// The publisher lets go.
    pub(super) fn release(&self, mut side: WriteSide, produced: bool) {
        let mut slot = self.slot.lock();
        if matches!(*slot, Slot::Held { .. }) {
            if produced {
                side.interrupted();
            }
            *slot = Slot::Vacant(side);
        }
        drop(slot);
        self.situation.send_modify(|situation| situation.publisher = Presence::Absent);
        self.vacated.notify_waiters();
    }

    /// Orders the end. The lifecycle task carries it out.
    pub(super) fn order_end(&self, reason: BroadcastEnd) {
        self.situation.send_modify(|situation| {
            situation.end.get_or_insert(reason);
        });
    }

    pub(super) fn watch_situation(&self) -> watch::Receiver<Situation> {
        self.situation.subscribe()
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        tracing::debug!(broadcast.id = %self.id, from = ?self.phase(), to = ?phase, "broadcast changes phase");
        self.phase.send_replace(phase);
    }

    /// Nothing is written after this: a publisher is told to stop, every subscriber hears the end once its ring is
    /// drained.
    pub(super) fn close(&self) {
        let before = std::mem::replace(&mut *self.slot.lock(), Slot::Closed);
        if let Slot::Held { revoke, .. } = before {
            // The publisher's drop finds the slot closed and drops the write side, which closes the rings.
            revoke.send_replace(Some(Revoked::Ended));
        }
        self.joiners.lock().clear();
    }

    pub(super) fn end_reason(&self) -> BroadcastEnd {
        match self.phase() {
            Phase::Ended(reason) => reason,
            Phase::Starting | Phase::Live | Phase::Lingering { .. } => BroadcastEnd::Ended,
        }
    }

    pub(super) fn has_joiners(&self) -> bool {
        self.has_joiners.load(Ordering::Acquire)
    }

    pub(super) fn take_joiners(&self) -> Vec<Feeder> {
        self.has_joiners.store(false, Ordering::Release);
        std::mem::take(&mut *self.joiners.lock())
    }
}
