//! One feed as it is sent to one viewer: which layer, catching up with what it missed, and what was lost.
//!
//! In: bursts of the feed, feedback about its sources, the clock. Out: sealed packets into the worker's batch.

use super::burst::{Burst, Lane};
use super::feed::FeedLease;
use super::send_lane::{LaneSetup, SendLane};
use super::shelf::Shelf;
use crate::model::TrackId;
use crate::rtc::outlet::Outlet;
use crate::rtc::rtcp::NackSequences;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

#[derive(Debug)]
pub(crate) struct Showing {
    /// Keeps the feed alive.
    lease: FeedLease,
    lanes: [Option<SendLane>; 2],
    /// Frames of the past that are on their way, each with the shift of its timestamp. While it is not empty, new video
    /// queues behind it.
    backlog: VecDeque<(Arc<Burst>, u32)>,
    caught_up: Option<Instant>,
}

/// Packets of the past sent per tick while catching up: a 1080p keyframe then does not overrun an access link.
const BACKLOG_PACKETS_PER_TICK: usize = 24;
/// Bursts that may queue behind a catch-up. Beyond it the viewer waits for the next keyframe.
const BACKLOG_MAX: usize = 1_024;
/// A longer GOP is not sent again to mend a loss; the next keyframe is nearer.
const MEND_PACKETS_MAX: usize = 400;
/// Catching up again is a burst; once a second is often enough.
const CATCH_UP_EVERY: Duration = Duration::from_secs(1);
/// Frames of the past are shown a millisecond apart: the decoder runs through them and the newest is on time.
const CATCH_UP_STEP_TICKS: u32 = 90;

impl Showing {
    pub(crate) fn new(setups: &[LaneSetup], lease: FeedLease) -> Self {
        let mut lanes = [None, None];
        for setup in setups {
            lanes[setup.lane.index()] = Some(SendLane::new(*setup));
        }
        Self { lease, lanes, backlog: VecDeque::new(), caught_up: None }
    }

    pub(crate) fn feed(&self) -> &FeedLease {
        &self.lease
    }

    /// What the feed has kept is sent first, so that the first picture does not wait for a keyframe. How many packets left.
    pub(super) fn start(&mut self, shelf: &Shelf, now: Instant, out: &mut Outlet<'_>) -> usize {
        self.choose_layer(shelf, now);
        self.catch_up(shelf, now);
        self.drain(out)
    }

    /// Sends one frame, or queues it behind what is catching up. How many packets left.
    pub(super) fn forward(&mut self, burst: &Arc<Burst>, out: &mut Outlet<'_>) -> usize {
        let Some(lane) = &mut self.lanes[burst.lane.index()] else { return 0 };
        if burst.lane == Lane::Audio || self.backlog.is_empty() {
            return lane.send(burst, 0, out);
        }
        let forwarder = &mut lane.forwarder;
        if burst.layer != forwarder.layer() && Some(burst.layer) != forwarder.wanted() {
            return 0;
        }
        if self.backlog.len() < BACKLOG_MAX {
            self.backlog.push_back((Arc::clone(burst), 0));
        } else {
            self.backlog.clear();
            forwarder.interrupt();
        }
        0
    }

    /// The publisher went away or its formats changed: the picture goes on with a keyframe.
    pub(super) fn interrupt(&mut self) {
        self.backlog.clear();
        for lane in self.lanes.iter_mut().flatten() {
            lane.forwarder.interrupt();
        }
    }

    /// Sends what is due of the past. How many packets left.
    pub(super) fn tick(&mut self, shelf: &Shelf, now: Instant, out: &mut Outlet<'_>) -> usize {
        self.choose_layer(shelf, now);
        self.drain(out)
    }

    pub(super) fn report(&self, wall: SystemTime, out: &mut Outlet<'_>) {
        // While frames of the past are on their way, timestamps say nothing about the wall clock.
        if self.backlog.is_empty() {
            self.lanes.iter().flatten().for_each(|lane| lane.report(wall, out));
        }
    }

    fn lane_of(&mut self, ssrc: u32) -> Option<&mut SendLane> {
        self.lanes.iter_mut().flatten().find(|lane| lane.setup.ssrc == ssrc)
    }

    /// Sends lost packets again; how many. `None`: another feed's source.
    pub(super) fn resend(
        &mut self,
        ssrc: u32,
        sequences: &NackSequences<'_>,
        (shelf, now, rtt): (&Shelf, Instant, Duration),
        out: &mut Outlet<'_>,
    ) -> Option<u64> {
        let lane = self.lane_of(ssrc)?;
        Some(sequences.clone().map(|sequence| u64::from(lane.resend(sequence, shelf, now, rtt, out))).sum())
    }

    /// The viewer cannot decode what it has: a keyframe from the publisher, or what is kept since the last one.
    pub(super) fn keyframe(&mut self, ssrc: u32, shelf: &Shelf, now: Instant, out: &mut Outlet<'_>) {
        let Some(layer) = self.lane_of(ssrc).map(|lane| lane.forwarder.layer()) else { return };
        let lately = self.caught_up.is_some_and(|at| now.duration_since(at) < CATCH_UP_EVERY);
        if lately || !self.backlog.is_empty() || self.lease.broadcast().request_keyframe(TrackId(layer)) {
            return;
        }
        if !shelf.gop(layer).is_empty() && shelf.gop_packets(layer) <= MEND_PACKETS_MAX {
            self.catch_up(shelf, now);
            self.drain(out);
        }
    }

    /// The best layer that is there; the change comes with its next keyframe.
    fn choose_layer(&mut self, shelf: &Shelf, now: Instant) {
        let Some(lane) = &mut self.lanes[Lane::Video.index()] else { return };
        let rates = shelf.layer_rates(now);
        if let Some(best) = rates.iter().rposition(Option::is_some) {
            let best = best as u8;
            if lane.forwarder.layer() != best && lane.forwarder.wanted() != Some(best) {
                lane.forwarder.want(best);
                self.lease.broadcast().request_keyframe(TrackId(best));
            }
        }
    }

    /// Queues the GOP under way with its timestamps drawn together in front of its newest frame.
    fn catch_up(&mut self, shelf: &Shelf, now: Instant) {
        let Some(lane) = &mut self.lanes[Lane::Video.index()] else { return };
        // A layer that has just come has no keyframe yet: a smaller one is seen meanwhile.
        let best = lane.forwarder.wanted().unwrap_or(lane.forwarder.layer());
        let Some(layer) = (0..=best).rev().find(|layer| !shelf.gop(*layer).is_empty()) else { return };
        let Some(newest) = shelf.gop(layer).last() else { return };
        lane.forwarder.want(layer);
        self.caught_up = Some(now);
        self.backlog.clear();
        lane.forwarder.interrupt();
        let mut behind = shelf.gop(layer).len() as u32;
        for burst in shelf.gop(layer) {
            behind -= 1;
            let shown_at = newest.timestamp.wrapping_sub(behind * CATCH_UP_STEP_TICKS);
            self.backlog.push_back((Arc::clone(burst), shown_at.wrapping_sub(burst.timestamp)));
        }
    }

    fn drain(&mut self, out: &mut Outlet<'_>) -> usize {
        let (mut room, mut sent) = (BACKLOG_PACKETS_PER_TICK, 0);
        while let Some((burst, shift)) = self.backlog.pop_front() {
            if let Some(lane) = &mut self.lanes[burst.lane.index()] {
                sent += lane.send(&burst, shift, out);
            }
            // A keyframe larger than a tick's share still leaves whole: its packets belong together.
            room = room.saturating_sub(burst.packets.len());
            if room == 0 {
                break;
            }
        }
        sent
    }
}
