//! The way to one viewer: what it carries, and how fast what waits may leave.
//!
//! In: packets that leave, the viewer's reports. Out: numbers for packets, an estimate in bits per second. One per viewer, so
//! that everything it is sent is counted together.

use crate::rtc::feedback::estimate::{START_BPS, SendEstimate};
use crate::rtc::feedback::pacer::Pacer;
use crate::rtp::header::Stamp;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Path {
    /// With the id of the extension that numbers packets. Only where there is a choice of layers: a viewer of a show without
    /// is sent what there is, and its reports would cost for nothing.
    estimate: Option<(u8, Box<SendEstimate>)>,
    pacer: Pacer,
    /// Pictures that share it evenly.
    pictures: u64,
    rtt: Duration,
    /// When the present turn began; packets are counted as sent then.
    now: Instant,
}

const RTT_FIRST: Duration = Duration::from_millis(70);
/// Taken for the rate of a way that is not measured: a 1080p keyframe then leaves within a few turns and overruns no access
/// link's queue.
const UNMEASURED_BPS: u64 = 18_000_000;

impl Path {
    /// `transport_cc`: the id that was agreed on. `pictures` go this way.
    pub(crate) fn new(transport_cc: Option<u8>, pictures: usize, now: Instant) -> Self {
        let estimate = transport_cc.map(|id| (id, Box::new(SendEstimate::new(now, START_BPS))));
        let pictures = pictures.max(1) as u64;
        Self { estimate, pacer: Pacer::default(), pictures, rtt: RTT_FIRST, now }
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
        if let Some((_, estimate)) = &mut self.estimate {
            estimate.round_trip(rtt);
        }
    }

    /// Counts a packet of so many bytes that leaves now.
    pub(super) fn stamp(&mut self, bytes: usize) -> Option<Stamp> {
        let now = self.now;
        self.estimate.as_mut().map(|(id, estimate)| Stamp { id: *id, sequence: estimate.sent(now, bytes) })
    }

    /// A report of what arrived when. One that cannot be read says nothing.
    pub(super) fn report(&mut self, body: &[u8]) {
        if let Some((_, estimate)) = &mut self.estimate {
            let _ = estimate.feedback(self.now, body);
        }
    }

    pub(super) fn tick(&mut self) {
        if let Some((_, estimate)) = &mut self.estimate {
            estimate.tick(self.now);
        }
    }

    /// What the way carries, where that is known.
    pub(super) fn measured_bps(&self) -> Option<u64> {
        self.estimate.as_ref().map(|(_, estimate)| estimate.bitrate())
    }

    /// What it carries of each picture.
    pub(super) fn measured_share_bps(&self) -> Option<u64> {
        self.measured_bps().map(|bps| bps / self.pictures)
    }

    /// The size of a packet that should leave, to learn whether the way carries `wanted_bps` of each picture.
    pub(super) fn poll_probe(&mut self, wanted_bps: u64) -> Option<usize> {
        let (now, wanted_bps) = (self.now, wanted_bps.saturating_mul(self.pictures));
        self.estimate.as_mut().and_then(|(_, estimate)| estimate.poll_probe(now, wanted_bps)).map(|probe| probe.bytes)
    }

    /// Bytes of the past that may leave now.
    pub(super) fn room(&mut self) -> usize {
        let bps = self.measured_bps().unwrap_or(UNMEASURED_BPS);
        self.pacer.room(self.now, bps)
    }

    pub(super) fn spent(&mut self, bytes: usize) {
        self.pacer.spent(bytes);
    }
}
