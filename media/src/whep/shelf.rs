//! What a worker keeps of a feed: the GOP under way for viewers who join, and the last seconds for those who lost packets.
//!
//! In: bursts in order. Out: bursts again, and how fast each layer runs. One per feed and worker; payloads are shared, so it
//! costs once, not per viewer.

use super::burst::{Burst, LAYERS_MAX, Lane};
use super::wish::LayerFormat;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(crate) struct Shelf {
    /// By layer.
    video: [Strand; LAYERS_MAX],
    audio: Strand,
    /// Of the layers that the publisher sends now.
    formats: Arc<[LayerFormat]>,
}

/// One layer, or the sound.
#[derive(Debug, Default)]
struct Strand {
    /// From the last keyframe on. Sound has none.
    gop: Vec<Arc<Burst>>,
    gop_packets: usize,
    history: VecDeque<(Instant, Arc<Burst>)>,
    kept_packets: usize,
    kept_bytes: u64,
}

/// Longer than a retransmission may come late and still be shown (design section 6).
const HISTORY: Duration = Duration::from_secs(2);
/// Two seconds at 15 Mbit/s.
const HISTORY_PACKETS_MAX: usize = 2_500;
/// A GOP that is longer is not worth catching up with: 8 MB.
const GOP_PACKETS_MAX: usize = 7_000;
/// A layer without a frame for so long is not there.
const ALIVE: Duration = Duration::from_secs(1);
/// A rate over less is a guess.
const RATE_SPAN_MIN: Duration = Duration::from_millis(250);

impl Shelf {
    pub(crate) fn put(&mut self, burst: &Arc<Burst>, now: Instant) {
        let Some(strand) = self.strand_mut(burst.lane, burst.layer) else { return };
        if burst.lane == Lane::Video {
            strand.put_gop(burst);
        }
        strand.put_history(burst, now);
    }

    /// The publisher is gone or the formats changed: what comes next does not continue these GOPs.
    pub(crate) fn forget_gop(&mut self) {
        self.video.iter_mut().for_each(Strand::forget_gop);
    }

    /// What comes from here on.
    pub(crate) fn describe(&mut self, formats: Arc<[LayerFormat]>) {
        self.formats = formats;
    }

    /// By layer.
    pub(crate) fn formats(&self) -> &[LayerFormat] {
        &self.formats
    }

    /// From the last keyframe of a layer on; empty when none is kept.
    pub(crate) fn gop(&self, layer: u8) -> &[Arc<Burst>] {
        self.video.get(usize::from(layer)).map_or(&[], |strand| &strand.gop)
    }

    pub(crate) fn gop_packets(&self, layer: u8) -> usize {
        self.video.get(usize::from(layer)).map_or(0, |strand| strand.gop_packets)
    }

    /// The burst that holds a packet, if it is still kept.
    pub(crate) fn find(&self, lane: Lane, layer: u8, number: u64) -> Option<&Arc<Burst>> {
        let history = &self.strand(lane, layer)?.history;
        let at = history.partition_point(|(_, burst)| burst.end() <= number);
        history.get(at).map(|(_, burst)| burst).filter(|burst| burst.first <= number)
    }

    /// How many layers there are or were.
    pub(crate) fn layers(&self) -> usize {
        self.video.iter().rposition(|strand| !strand.history.is_empty()).map_or(0, |last| last + 1)
    }

    /// Bits per second of a layer, if it is there.
    pub(crate) fn layer_bps(&self, layer: usize, now: Instant) -> Option<u64> {
        self.video.get(layer)?.rate(now)
    }

    fn strand(&self, lane: Lane, layer: u8) -> Option<&Strand> {
        match lane {
            Lane::Audio => Some(&self.audio),
            Lane::Video => self.video.get(usize::from(layer)),
        }
    }

    fn strand_mut(&mut self, lane: Lane, layer: u8) -> Option<&mut Strand> {
        match lane {
            Lane::Audio => Some(&mut self.audio),
            Lane::Video => self.video.get_mut(usize::from(layer)),
        }
    }
}

impl Strand {
    fn put_history(&mut self, burst: &Arc<Burst>, now: Instant) {
        if self.history.back().is_some_and(|(_, last)| last.end() != burst.first) {
            self.history.clear();
            (self.kept_packets, self.kept_bytes) = (0, 0);
        }
        self.kept_packets += burst.packets.len();
        self.kept_bytes += burst.bytes();
        self.history.push_back((now, Arc::clone(burst)));
        while let Some((at, oldest)) = self.history.front() {
            if self.kept_packets <= HISTORY_PACKETS_MAX && now.duration_since(*at) <= HISTORY {
                break;
            }
            self.kept_packets -= oldest.packets.len();
            self.kept_bytes -= oldest.bytes();
            self.history.pop_front();
        }
    }

    fn put_gop(&mut self, burst: &Arc<Burst>) {
        let continues = self.gop.last().is_some_and(|last| last.end() == burst.first);
        if burst.keyframe {
            self.forget_gop();
        } else if !continues || self.gop_packets > GOP_PACKETS_MAX {
            return self.forget_gop();
        }
        self.gop_packets += burst.packets.len();
        self.gop.push(Arc::clone(burst));
    }

    fn forget_gop(&mut self) {
        self.gop.clear();
        self.gop_packets = 0;
    }

    /// What came after the oldest frame, in the time since: were it counted too, keyframes two seconds apart would count twice.
    fn rate(&self, now: Instant) -> Option<u64> {
        let ((first, oldest), (last, _)) = (self.history.front()?, self.history.back()?);
        let (bytes, span) = match now.duration_since(*first) {
            span if span < RATE_SPAN_MIN => (self.kept_bytes, RATE_SPAN_MIN),
            span => (self.kept_bytes - oldest.bytes(), span),
        };
        let alive = now.duration_since(*last) <= ALIVE;
        alive.then(|| (bytes as f64 * 8.0 / span.as_secs_f64()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::forwarder::testing::{burst, layer_burst};
    use super::*;

    #[test]
    fn packets_are_found_until_they_are_too_old() {
        let (mut shelf, start) = (Shelf::default(), Instant::now());
        for frame in 0..100_u64 {
            let at = start + Duration::from_millis(frame * 33);
            shelf.put(&burst(Lane::Video, frame * 3, 3, frame % 60 == 0), at);
        }
        let find = |number| shelf.find(Lane::Video, 0, number).map(|burst| burst.first);
        assert_eq!((find(299), find(298)), (Some(297), Some(297)));
        assert_eq!(find(300), None, "not sent yet");
        assert_eq!(find(0), None, "older than two seconds");
        assert!(shelf.find(Lane::Audio, 0, 299).is_none());
        assert_eq!((shelf.gop(0).len(), shelf.gop_packets(0)), (40, 120), "from the second keyframe on");
    }

    #[test]
    fn a_keyframe_counts_once_in_the_rate_of_its_layer() {
        let (mut shelf, start) = (Shelf::default(), Instant::now());
        let at = |frame: u64| start + Duration::from_nanos(frame * 33_333_333);
        for frame in 0..=120 {
            let keyframe = frame % 60 == 0;
            let bytes = if keyframe { 100_000 } else { 4_000 };
            shelf.put(&layer_burst(0, frame, bytes, keyframe), at(frame));
        }
        let bps = shelf.layer_bps(0, at(120)).unwrap();
        assert!(bps.abs_diff((100_000 + 59 * 4_000) * 4) < 10_000, "{bps}");
    }

    #[test]
    fn a_hole_in_the_feed_ends_the_gop() {
        let (mut shelf, now) = (Shelf::default(), Instant::now());
        shelf.put(&burst(Lane::Video, 0, 2, true), now);
        shelf.put(&burst(Lane::Video, 5, 2, false), now);
        assert!(shelf.gop(0).is_empty());
        shelf.put(&burst(Lane::Video, 7, 2, false), now);
        assert!(shelf.gop(0).is_empty(), "nothing to start with before the next keyframe");
    }

    #[test]
    fn layers_are_kept_apart_and_one_that_stopped_has_no_rate() {
        let (mut shelf, start) = (Shelf::default(), Instant::now());
        for frame in 0..60_u64 {
            let at = start + Duration::from_millis(frame * 25);
            shelf.put(&layer_burst(0, frame, 100, frame == 0), at);
            if frame < 10 {
                shelf.put(&layer_burst(1, frame, 400, frame == 0), at);
            }
        }
        let bps = |layer| shelf.layer_bps(layer, start + Duration::from_millis(1_475)).map(|bps| bps / 1_000);
        assert_eq!((bps(0), bps(1), bps(2), shelf.layers()), (Some(31), None, None, 2));
        assert_eq!((shelf.gop(0).len(), shelf.gop(1).len()), (60, 10));
        assert_eq!(shelf.find(Lane::Video, 1, 3).map(|burst| burst.bytes()), Some(400));
    }
}
