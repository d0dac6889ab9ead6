//! What a worker keeps of a feed: the GOP under way for viewers who join, and the last seconds for those who lost packets.
//!
//! In: bursts in order. Out: bursts again. One per feed and worker; payloads are shared, so it costs once, not per viewer.

use super::burst::{Burst, Lane};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(crate) struct Shelf {
    gop: Vec<Arc<Burst>>,
    gop_packets: usize,
    history: [VecDeque<(Instant, Arc<Burst>)>; 2],
    kept_packets: [usize; 2],
}

/// Longer than a retransmission may come late and still be shown (design section 6).
const HISTORY: Duration = Duration::from_secs(2);
/// Two seconds at 15 Mbit/s.
const HISTORY_PACKETS_MAX: usize = 2_500;
/// A GOP that is longer is not worth catching up with: 8 MB.
const GOP_PACKETS_MAX: usize = 7_000;

impl Shelf {
    pub(crate) fn put(&mut self, burst: &Arc<Burst>, now: Instant) {
        if burst.lane == Lane::Video {
            self.put_gop(burst);
        }
        let lane = burst.lane.index();
        let (history, kept) = (&mut self.history[lane], &mut self.kept_packets[lane]);
        if history.back().is_some_and(|(_, last)| last.end() != burst.first) {
            history.clear();
            *kept = 0;
        }
        *kept += burst.packets.len();
        history.push_back((now, Arc::clone(burst)));
        while let Some((at, oldest)) = history.front() {
            if *kept <= HISTORY_PACKETS_MAX && now.duration_since(*at) <= HISTORY {
                break;
            }
            *kept -= oldest.packets.len();
            history.pop_front();
        }
    }

    /// The publisher is gone or the formats changed: what comes next does not continue this GOP.
    pub(crate) fn forget_gop(&mut self) {
        self.gop.clear();
        self.gop_packets = 0;
    }

    /// From the last keyframe on; empty when none is kept.
    pub(crate) fn gop(&self) -> &[Arc<Burst>] {
        &self.gop
    }

    pub(crate) fn gop_packets(&self) -> usize {
        self.gop_packets
    }

    /// The burst that holds a packet, if it is still kept.
    pub(crate) fn find(&self, lane: Lane, number: u64) -> Option<&Arc<Burst>> {
        let history = &self.history[lane.index()];
        let at = history.partition_point(|(_, burst)| burst.end() <= number);
        history.get(at).map(|(_, burst)| burst).filter(|burst| burst.first <= number)
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
}

#[cfg(test)]
mod tests {
    use super::super::forwarder::testing::burst;
    use super::*;

    #[test]
    fn packets_are_found_until_they_are_too_old() {
        let (mut shelf, start) = (Shelf::default(), Instant::now());
        for frame in 0..100_u64 {
            let at = start + Duration::from_millis(frame * 33);
            shelf.put(&burst(Lane::Video, frame * 3, 3, frame % 60 == 0), at);
        }
        assert_eq!(shelf.find(Lane::Video, 299).map(|burst| burst.first), Some(297));
        assert_eq!(shelf.find(Lane::Video, 298).map(|burst| burst.first), Some(297));
        assert!(shelf.find(Lane::Video, 300).is_none(), "not sent yet");
        assert!(shelf.find(Lane::Video, 0).is_none(), "older than two seconds");
        assert!(shelf.find(Lane::Audio, 299).is_none());
        assert_eq!((shelf.gop().len(), shelf.gop_packets()), (40, 120), "from the second keyframe on");
    }

    #[test]
    fn a_hole_in_the_feed_ends_the_gop() {
        let (mut shelf, now) = (Shelf::default(), Instant::now());
        shelf.put(&burst(Lane::Video, 0, 2, true), now);
        shelf.put(&burst(Lane::Video, 5, 2, false), now);
        assert!(shelf.gop().is_empty());
        shelf.put(&burst(Lane::Video, 7, 2, false), now);
        assert!(shelf.gop().is_empty(), "nothing to start with before the next keyframe");
    }
}
