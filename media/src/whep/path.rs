//! The way to one viewer: what it carries, and how fast what waits may leave.
//!
//! In: packets that leave, the viewer's reports. Out: numbers for packets, an estimate in bits per second. One per viewer, so
//! that everything it is sent is counted together.

use crate::rtc::feedback::estimate::{START_BPS, SendEstimate};
use crate::rtc::feedback::pacer::{Pace, Pacer};
use crate::rtp::header::Stamp;
use std::time::{Duration, Instant};

/// What is to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A frame of a GOP that is caught up with, or one that came meanwhile.
    Past,
    Live,
    /// A packet that was lost.
    Lost,
}

#[derive(Debug)]
pub(crate) struct Path {
    /// Only where there is a choice of layers: a viewer of a show without is sent what there is, and its reports would cost for
    /// nothing.
    estimate: Option<Box<SendEstimate>>,
    pacer: Pacer,
    /// Pictures that share it evenly.
    pictures: u64,
    rtt: Duration,
    /// Bytes of live frames and lost packets that wait, of all that is sent this way.
    waiting: usize,
    /// At which they leave. It becomes no slower before all of them have left, or the last would take their time.
    live_bps: u64,
    /// Live frames that wait leave evenly within this.
    spread: Duration,
    /// When it was changed last.
    spread_at: Instant,
    /// So many lost packets more are looked up when asked for, and when that was counted.
    hearing: (f64, Instant),
    /// When the present turn began; packets are counted as sent then.
    now: Instant,
}

const RTT_FIRST: Duration = Duration::from_millis(70);
/// Faster than the way is known to carry, or who waits would never be done (draft-ietf-rmcat-gcc-02 section 4).
const FACTOR: f64 = 2.5;
/// As short as it may be: the pictures are on time, and of a larger frame not all is in front of the link at once.
const SPREAD_MIN: Duration = Duration::from_millis(30);
/// As long as losses, or a rate that falls, make it: two of these would be seen.
const SPREAD_MAX: Duration = Duration::from_millis(120);
/// So many packets lost at a time are what a queue had no room for.
const OVERRUN: usize = 8;
/// A longer spread has not been tried before this is over.
const STRETCH_EVERY: Duration = Duration::from_secs(1);
/// Without losses it becomes shorter after this.
const SHRINK_AFTER: Duration = Duration::from_secs(60);
/// Of lost packets so many are looked up at once, and so many a second: more than any way loses that still shows a picture. To
/// name them costs the viewer two bits each, and a look at each costs the worker, which serves others too.
const HEARD_AT_ONCE: f64 = 512.0;
const HEARD_PER_SECOND: f64 = 4_096.0;
/// Where nothing is measured, the pace of live frames is at least this for each picture, and that of a GOP of the past this.
const LIVE_BPS_MIN: u64 = 8_000_000;
const PAST_BPS: u64 = 45_000_000;
/// At once leaves less than the queue in front of an access link holds; of a measured way, which may be a slow one, four packets.
pub(super) const AT_ONCE: usize = 24_000;
const AT_ONCE_MEASURED: usize = 4_800;
/// Of lost packets so many bytes more: a few are sent again at once, and only what a queue had no room for waits.
const LOST_AT_ONCE: i64 = 12_000;

impl Path {
    /// `measures`: transport-wide numbers were agreed on for something that goes this way. So many `pictures` do.
    pub(crate) fn new(measures: bool, pictures: usize, now: Instant) -> Self {
        let estimate = measures.then(|| Box::new(SendEstimate::new(now, START_BPS)));
        let pictures = pictures.max(1) as u64;
        Self {
            estimate,
            pacer: Pacer::default(),
            pictures,
            rtt: RTT_FIRST,
            waiting: 0,
            live_bps: 0,
            spread: SPREAD_MIN,
            spread_at: now,
            hearing: (HEARD_AT_ONCE, now),
            now,
        }
    }

    pub(super) fn begin_turn(&mut self, now: Instant) {
        self.now = now;
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    pub(super) fn rtt(&self) -> Duration {
        self.rtt
    }

    pub(super) fn round_trip(&mut self, rtt: Duration) {
        self.rtt = rtt;
        if let Some(estimate) = &mut self.estimate {
            estimate.round_trip(rtt);
        }
    }

    /// Counts a packet of so many bytes that leaves now, with the id of the extension that numbers it. Without one it has no
    /// number and is not counted: nothing would be said of it, and that would read as its loss.
    pub(super) fn stamp(&mut self, id: Option<u8>, bytes: usize) -> Option<Stamp> {
        let (id, estimate) = (id?, self.estimate.as_mut()?);
        Some(Stamp { id, sequence: estimate.sent(self.now, bytes) })
    }

    /// A report of what arrived when. One that cannot be read says nothing.
    pub(super) fn report(&mut self, body: &[u8]) {
        let Some(estimate) = &mut self.estimate else { return };
        let before = estimate.bitrate();
        let _ = estimate.feedback(self.now, body);
        if estimate.bitrate() < before {
            self.stretch();
        }
    }

    /// The viewer asks for so many packets at a time: how many of them are looked up. For the others it asks again.
    pub(super) fn lost(&mut self, packets: usize) -> usize {
        if packets >= OVERRUN {
            self.stretch();
        }
        let (left, counted) = self.hearing;
        let more = self.now.saturating_duration_since(counted).as_secs_f64() * HEARD_PER_SECOND;
        let left = (left + more).min(HEARD_AT_ONCE);
        let heard = packets.min(left as usize);
        self.hearing = (left - heard as f64, self.now);
        heard
    }

    /// A queue on the way has filled.
    fn stretch(&mut self) {
        if self.now.duration_since(self.spread_at) >= STRETCH_EVERY {
            self.spread = (self.spread * 2).min(SPREAD_MAX);
            self.spread_at = self.now;
        }
    }

    pub(super) fn tick(&mut self) {
        if self.spread > SPREAD_MIN && self.now.duration_since(self.spread_at) >= SHRINK_AFTER {
            self.spread /= 2;
            self.spread_at = self.now;
        }
        if let Some(estimate) = &mut self.estimate {
            estimate.tick(self.now);
        }
    }

    /// What the way carries, where that is known.
    pub(super) fn measured_bps(&self) -> Option<u64> {
        self.estimate.as_ref().map(|estimate| estimate.bitrate())
    }

    /// What it carries of each picture.
    pub(super) fn measured_share_bps(&self) -> Option<u64> {
        self.measured_bps().map(|bps| bps / self.pictures)
    }

    /// The size of a packet that should leave, to learn whether the way carries `wanted_bps` of each picture.
    pub(super) fn poll_probe(&mut self, wanted_bps: u64) -> Option<usize> {
        let (now, wanted_bps) = (self.now, wanted_bps.saturating_mul(self.pictures));
        self.estimate.as_mut().and_then(|estimate| estimate.poll_probe(now, wanted_bps)).map(|probe| probe.bytes)
    }

    /// So many bytes of live frames or lost packets wait from here on.
    pub(super) fn wait(&mut self, bytes: usize) {
        self.waiting += bytes;
        let spread = (self.waiting as f64 * 8.0 / self.spread.as_secs_f64()) as u64;
        self.live_bps = self.live_bps.max(spread);
    }

    /// So many of them wait no longer.
    pub(super) fn waited(&mut self, bytes: usize) {
        self.waiting = self.waiting.saturating_sub(bytes);
    }

    /// Nothing waits any more.
    pub(super) fn rest(&mut self) {
        (self.waiting, self.live_bps) = (0, 0);
    }

    /// Bytes that may leave now; of the past at `past_bps` at least.
    pub(super) fn room(&mut self, due: Due, past_bps: u64) -> usize {
        let waits = due != Due::Live || self.waiting > 0;
        let measured_bps = self.measured_bps().map(|bps| (bps as f64 * FACTOR) as u64);
        let live_bps = self.live_bps.max(measured_bps.unwrap_or(LIVE_BPS_MIN * self.pictures));
        let (bps, at_once, more) = match (due, measured_bps) {
            (Due::Past, Some(bps)) => (bps, AT_ONCE_MEASURED, 0),
            (Due::Past, None) => (PAST_BPS.max(past_bps), AT_ONCE, 0),
            (Due::Live, _) => (live_bps, AT_ONCE, 0),
            (Due::Lost, _) => (live_bps, AT_ONCE, LOST_AT_ONCE),
        };
        (self.pacer.room(self.now, Pace { bps, at_once, waits }) + more).max(0) as usize
    }

    /// So many bytes left.
    pub(super) fn spent(&mut self, bytes: usize) {
        self.pacer.spent(bytes);
    }
}
