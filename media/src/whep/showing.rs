//! One feed as it is sent to one viewer: which layer, catching up with what it missed, and what was lost. Pictures leave at a
//! pace: what a frame is too large for waits here a few milliseconds.
//!
//! In: bursts of the feed, feedback about its sources, the clock. Out: sealed packets into the worker's batch.

use super::burst::{Burst, LAYERS_MAX, Lane};
use super::feed::FeedLease;
use super::owed::Owed;
use super::path::{AT_ONCE, Due, Path};
use super::selector::{Layer, Selector};
use super::send_lane::{LaneSetup, Part, SendLane};
use super::shelf::Shelf;
use super::wish::{LayerFormat, LayerSeen, NoSuchLayer, PictureLayers, Wish};
use crate::metrics;
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
    /// While it is not empty, new video queues behind it.
    backlog: VecDeque<Waiting>,
    /// Lost packets that are to be sent again.
    owed: Owed,
    resent: ::metrics::Counter,
    caught_up: Option<Instant>,
    selector: Selector,
    /// What the viewer asked for.
    wish: Wish,
    looked: Option<Instant>,
}

/// A frame that is on its way.
#[derive(Debug)]
struct Waiting {
    burst: Arc<Burst>,
    /// Of its timestamp.
    shift: u32,
    due: Due,
    /// Bytes that have not left.
    left: usize,
}

/// Bursts that may queue behind a catch-up. Beyond it the viewer waits for the next keyframe.
const BACKLOG_MAX: usize = 1_024;
/// A longer GOP is not sent again to mend a loss; the next keyframe is nearer.
const MEND_PACKETS_MAX: usize = 400;
/// Catching up again is a burst; once a second is often enough.
const CATCH_UP_EVERY: Duration = Duration::from_secs(1);
/// Frames of the past are shown a millisecond apart: the decoder runs through them and the newest is on time.
const CATCH_UP_STEP_TICKS: u32 = 90;
/// Of a frame that has no room, this much leaves all the same.
const LITTLE: usize = AT_ONCE / 4;
/// What a lost packet is taken for before it is looked up.
const PACKET_BYTES: usize = 1_200;
/// How often layers are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Packets of one turn that only probe.
const PROBES_PER_TURN: usize = 32;

impl Showing {
    pub(crate) fn new(setups: &[LaneSetup], lease: FeedLease) -> Self {
        let mut lanes = [None, None];
        for setup in setups {
            lanes[setup.lane.index()] = Some(SendLane::new(*setup));
        }
        Self {
            lease,
            lanes,
            backlog: VecDeque::new(),
            owed: Owed::default(),
            resent: ::metrics::counter!(metrics::WHEP_RESENT),
            caught_up: None,
            selector: Selector::default(),
            wish: Wish::default(),
            looked: None,
        }
    }

    pub(crate) fn feed(&self) -> &FeedLease {
        &self.lease
    }

    pub(crate) fn has_picture(&self) -> bool {
        self.lanes[Lane::Video.index()].is_some()
    }

    /// The media section of its picture.
    pub(super) fn m_line(&self) -> Option<usize> {
        self.lanes[Lane::Video.index()].as_ref().map(|lane| lane.setup.m_line)
    }

    /// Takes effect when layers are looked at next, and is seen with the next keyframe of the layer.
    pub(super) fn wish_for(&mut self, wish: Wish, shelf: &Shelf) -> Result<(), NoSuchLayer> {
        let present = || shelf.formats().iter().map(|format| format.rid.clone());
        if let Some(asked) = wish.rid.as_ref().filter(|rid| present().all(|present| present != **rid)) {
            return Err(NoSuchLayer::Layer { asked: asked.clone(), present: present().rev().collect() });
        }
        if self.wish != wish {
            self.wish = wish;
            self.selector.hurry();
            self.looked = None;
        }
        Ok(())
    }

    /// What the picture is made of.
    pub(super) fn layers(&self, shelf: &Shelf, now: Instant) -> Option<PictureLayers> {
        let lane = self.lanes[Lane::Video.index()].as_ref()?;
        let seen = |(layer, format): (usize, &LayerFormat)| LayerSeen {
            format: format.clone(),
            bps: shelf.layer_bps(layer, now).unwrap_or(0),
            is_sent: usize::from(lane.forwarder.layer()) == layer,
        };
        let layers = shelf.formats().iter().enumerate().rev().map(seen).collect();
        Some(PictureLayers { m_line: lane.setup.m_line, layers, wish: self.wish.clone() })
    }

    /// Something is to be sent as soon as there is room.
    pub(super) fn waits(&self) -> bool {
        !self.backlog.is_empty() || !self.owed.is_empty()
    }

    /// Frames of the past are on their way.
    fn catches_up(&self) -> bool {
        self.backlog.front().is_some_and(|waiting| waiting.due == Due::Past)
    }

    /// What the feed has kept is sent first, so that the first picture does not wait for a keyframe. How many packets left.
    pub(super) fn start(&mut self, shelf: &Shelf, path: &mut Path, out: &mut Outlet<'_>) -> usize {
        self.choose_layer(shelf, path);
        self.catch_up(shelf, path);
        self.drain(shelf, path, out)
    }

    /// Sends one frame, or what there is room for; the rest waits. How many packets left.
    pub(super) fn forward(&mut self, burst: &Arc<Burst>, path: &mut Path, out: &mut Outlet<'_>) -> usize {
        let Some(lane) = &mut self.lanes[burst.lane.index()] else { return 0 };
        if burst.lane == Lane::Audio {
            return lane.send(burst, 0, usize::MAX, path, out).packets;
        }
        let forwarder = &lane.forwarder;
        if burst.layer != forwarder.layer() && Some(burst.layer) != forwarder.wanted() {
            return 0;
        }
        let room = if self.backlog.is_empty() { path.room(Due::Live, 0) } else { 0 };
        if room == 0 {
            self.put_off(burst, burst.bytes() as usize, path);
            return 0;
        }
        let part = lane.send(burst, 0, room, path, out);
        path.spent(part.bytes);
        if part.is_last {
            return part.packets;
        }
        let left = burst.bytes() as usize - part.bytes;
        if left > LITTLE {
            self.put_off(burst, left, path);
            return part.packets;
        }
        let rest = lane.send(burst, 0, usize::MAX, path, out);
        path.spent(rest.bytes);
        part.packets + rest.packets
    }

    /// Lets a frame, or what is left of it, wait for its turn.
    fn put_off(&mut self, burst: &Arc<Burst>, left: usize, path: &mut Path) {
        if self.backlog.len() >= BACKLOG_MAX {
            return self.interrupt(path);
        }
        // What comes behind a GOP of the past leaves at the pace of that: together they would be too much.
        let due = self.backlog.back().map_or(Due::Live, |last| last.due);
        if due == Due::Live {
            path.wait(left);
        }
        self.backlog.push_back(Waiting { burst: Arc::clone(burst), shift: 0, due, left });
    }

    /// The publisher went away or its formats changed: the picture goes on with a keyframe.
    pub(super) fn interrupt(&mut self, path: &mut Path) {
        self.forget_backlog(path);
        for lane in self.lanes.iter_mut().flatten() {
            lane.forwarder.interrupt();
        }
    }

    /// A frame of which a part has left still leaves whole: its packets have their numbers.
    fn forget_backlog(&mut self, path: &mut Path) {
        let is_under_way = self.lanes[Lane::Video.index()].as_ref().is_some_and(SendLane::is_under_way);
        for forgotten in self.backlog.drain(usize::from(is_under_way).min(self.backlog.len())..) {
            forgotten.leave(path);
        }
    }

    /// Nothing more comes of this feed.
    pub(super) fn close(&mut self, path: &mut Path) {
        self.lanes = [None, None];
        self.backlog.drain(..).for_each(|forgotten| forgotten.leave(path));
        path.waited(self.owed.len() * PACKET_BYTES);
        self.owed.clear();
    }

    /// Sends what is due of the past. How many packets left.
    pub(super) fn tick(&mut self, shelf: &Shelf, path: &mut Path, out: &mut Outlet<'_>) -> usize {
        if self.looked.is_none_or(|at| path.now().duration_since(at) >= LOOK_EVERY) {
            self.choose_layer(shelf, path);
        }
        if shelf.layers() > 1 && self.backlog.is_empty() {
            self.probe(shelf, path, out);
        }
        self.drain(shelf, path, out)
    }

    pub(super) fn report(&self, wall: SystemTime, out: &mut Outlet<'_>) {
        // While frames of the past are on their way, timestamps say nothing about the wall clock.
        if self.backlog.front().is_none_or(|waiting| waiting.shift == 0) {
            self.lanes.iter().flatten().for_each(|lane| lane.report(wall, out));
        }
    }

    fn lane_of(&mut self, ssrc: u32) -> Option<&mut SendLane> {
        self.lanes.iter_mut().flatten().find(|lane| lane.setup.ssrc == ssrc)
    }

    /// Sends lost packets again. `false`: another feed's source.
    pub(super) fn resend(
        &mut self,
        ssrc: u32,
        sequences: &NackSequences<'_>,
        shelf: &Shelf,
        path: &mut Path,
        out: &mut Outlet<'_>,
    ) -> bool {
        let Some(lane) = self.lane_of(ssrc) else { return false };
        if lane.setup.rtx.is_none() {
            return true;
        }
        let lane = lane.setup.lane;
        let heard = path.lost(sequences.clone().count());
        for sequence in sequences.clone().take(heard) {
            if self.owed.push(lane, sequence) {
                path.wait(PACKET_BYTES);
            }
        }
        self.drain(shelf, path, out);
        true
    }

    /// The viewer cannot decode what it has: a keyframe from the publisher, or what is kept since the last one.
    pub(super) fn keyframe(&mut self, ssrc: u32, shelf: &Shelf, path: &mut Path, out: &mut Outlet<'_>) {
        let now = path.now();
        let Some(layer) = self.lane_of(ssrc).map(|lane| lane.forwarder.layer()) else { return };
        let lately = self.caught_up.is_some_and(|at| now.duration_since(at) < CATCH_UP_EVERY);
        if lately || self.catches_up() || self.lease.broadcast().request_keyframe(TrackId(layer)) {
            return;
        }
        if !shelf.gop(layer).is_empty() && shelf.gop_packets(layer) <= MEND_PACKETS_MAX {
            self.catch_up(shelf, path);
            self.drain(shelf, path, out);
        }
    }

    /// The best layer that the way carries and the viewer wants; the change comes with its next keyframe.
    fn choose_layer(&mut self, shelf: &Shelf, path: &Path) {
        self.looked = Some(path.now());
        let Some(lane) = &mut self.lanes[Lane::Video.index()] else { return };
        let (layers, count) = best_first(shelf, &self.wish, path.now());
        // A way that is not measured is given what there is.
        let bps = path.measured_share_bps().unwrap_or(u64::MAX);
        let Some(chosen) = self.selector.select(path.now(), &layers[..count], bps) else { return };
        let layer = (count - 1 - chosen) as u8;
        if lane.forwarder.wanted().unwrap_or(lane.forwarder.layer()) != layer {
            lane.forwarder.want(layer);
            self.lease.broadcast().request_keyframe(TrackId(layer));
        }
    }

    /// Learns whether the way carries a better layer, by sending again what was sent.
    fn probe(&mut self, shelf: &Shelf, path: &mut Path, out: &mut Outlet<'_>) {
        let Some(lane) = &mut self.lanes[Lane::Video.index()] else { return };
        let (layers, count) = best_first(shelf, &self.wish, path.now());
        let Some(wanted_bps) = self.selector.wanted_bps(&layers[..count]) else { return };
        for _ in 0..PROBES_PER_TURN {
            if path.poll_probe(wanted_bps).is_none() || !lane.probe(shelf, path, out) {
                break;
            }
        }
    }

    /// Queues the GOP under way with its timestamps drawn together in front of its newest frame.
    fn catch_up(&mut self, shelf: &Shelf, path: &mut Path) {
        let Some(lane) = &mut self.lanes[Lane::Video.index()] else { return };
        // A layer that has just come has no keyframe yet: a smaller one is seen meanwhile.
        let best = lane.forwarder.wanted().unwrap_or(lane.forwarder.layer());
        let Some(layer) = (0..=best).rev().find(|layer| !shelf.gop(*layer).is_empty()) else { return };
        let Some(newest) = shelf.gop(layer).last() else { return };
        lane.forwarder.want(layer);
        self.caught_up = Some(path.now());
        lane.forwarder.interrupt();
        self.forget_backlog(path);
        let mut behind = shelf.gop(layer).len() as u32;
        for burst in shelf.gop(layer) {
            behind -= 1;
            let shown_at = newest.timestamp.wrapping_sub(behind * CATCH_UP_STEP_TICKS);
            let shift = shown_at.wrapping_sub(burst.timestamp);
            self.backlog.push_back(Waiting { burst: Arc::clone(burst), shift, due: Due::Past, left: 0 });
        }
    }

    /// Sends what there is room for: what was lost, then frames in their order. How many packets left.
    fn drain(&mut self, shelf: &Shelf, path: &mut Path, out: &mut Outlet<'_>) -> usize {
        let mut sent = 0;
        while let Some(due) = self.due() {
            let past_bps = if due == Due::Past { self.past_bps(shelf, path.now()) } else { 0 };
            let room = path.room(due, past_bps);
            if room == 0 {
                break;
            }
            if due == Due::Lost {
                let Some((lane, sequence)) = self.owed.pop() else { break };
                path.waited(PACKET_BYTES);
                let lane = self.lanes[lane.index()].as_mut();
                if let Some(bytes) = lane.and_then(|lane| lane.resend(sequence, shelf, path, out)) {
                    path.spent(bytes);
                    self.resent.increment(1);
                    sent += 1;
                }
                continue;
            }
            let Some(waiting) = self.backlog.front_mut() else { break };
            let Some(lane) = &mut self.lanes[waiting.burst.lane.index()] else { break };
            let Part { packets, bytes, is_last } = lane.send(&waiting.burst, waiting.shift, room, path, out);
            path.spent(bytes);
            sent += packets;
            if due == Due::Live {
                path.waited(bytes.min(waiting.left));
            }
            waiting.left = waiting.left.saturating_sub(bytes);
            if is_last && let Some(whole) = self.backlog.pop_front() {
                whole.leave(path);
            }
        }
        sent
    }

    /// What is to leave next.
    fn due(&self) -> Option<Due> {
        if self.owed.is_empty() { self.backlog.front().map(|waiting| waiting.due) } else { Some(Due::Lost) }
    }

    /// Twice as fast as the picture is made, or what is made meanwhile would never be caught up with.
    fn past_bps(&self, shelf: &Shelf, now: Instant) -> u64 {
        let layer = self.lanes[Lane::Video.index()].as_ref().map(|lane| usize::from(lane.forwarder.layer()));
        2 * layer.and_then(|layer| shelf.layer_bps(layer, now)).unwrap_or(0)
    }
}

impl Waiting {
    /// All of it has left, or will not leave.
    fn leave(self, path: &mut Path) {
        if self.due == Due::Live {
            path.waited(self.left);
        }
    }
}

/// The layers as the selector looks at them, and how many there are. Those that the viewer does not want are not there.
fn best_first(shelf: &Shelf, wish: &Wish, now: Instant) -> ([Layer; LAYERS_MAX], usize) {
    let count = shelf.layers();
    let layer = |at: usize| {
        let bps = count.checked_sub(at + 1).and_then(|layer| shelf.layer_bps(layer, now));
        Layer { bps: bps.unwrap_or(0), alive: bps.is_some() }
    };
    let mut layers: [Layer; LAYERS_MAX] = std::array::from_fn(layer);
    let place = |layer: usize| count.checked_sub(layer + 1);
    let ceiling = wish.ceiling(shelf.formats(), |layer| place(layer).is_some_and(|at| layers[at].alive));
    if let Some(best) = ceiling.and_then(place) {
        layers[..best].iter_mut().for_each(|layer| layer.alive = false);
    }
    (layers, count)
}
