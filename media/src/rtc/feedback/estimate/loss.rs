//! What losses say about the rate: the loss-based half of the estimate (draft-ietf-rmcat-gcc-02 section 6).

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct LossWatch {
    since: Instant,
    arrived: u32,
    /// Missing packets of which some may yet turn up.
    lost: i64,
    /// Of the last two intervals: a run of losses within one is not yet a full network.
    share: f32,
    last: f32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum LossVerdict {
    /// Few losses: the rate may grow.
    Free,
    /// Losses that a radio makes: not faster, not slower.
    Hold,
    /// The network throws away what it cannot carry: the rate is multiplied by this.
    Cut(f64),
}

/// Shares of lost packets below which the rate may grow, and above which it is cut.
const FREE_BELOW: f32 = 0.02;
const CUT_ABOVE: f32 = 0.1;
/// What happened in less is chance; what a cut did is seen a round trip later.
const INTERVAL: Duration = Duration::from_millis(400);
const INTERVAL_MAX: Duration = Duration::from_secs(1);
const PACKETS_MIN: u32 = 80;

impl LossWatch {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, arrived: 0, lost: 0, share: 0.0, last: 0.0 }
    }

    /// Between 0 and 1.
    #[cfg(test)]
    pub(super) fn share(&self) -> f32 {
        self.share
    }

    /// `found`: arrivals that were called lost before.
    pub(super) fn count(&mut self, arrived: u32, lost: u32, found: u32) {
        self.arrived += arrived;
        self.lost += i64::from(lost) - i64::from(found);
    }

    /// Once per interval its verdict, else what allows no change but growth of a network without losses.
    pub(super) fn poll(&mut self, now: Instant, rtt: Duration) -> LossVerdict {
        let lost = self.lost.clamp(0, i64::from(u32::MAX)) as u32;
        let total = self.arrived.saturating_add(lost);
        let passed = now.duration_since(self.since);
        let known = total >= PACKETS_MIN && passed >= INTERVAL + rtt;
        if !known && (passed < INTERVAL_MAX || total == 0) {
            return if self.share < FREE_BELOW { LossVerdict::Free } else { LossVerdict::Hold };
        }
        let share = lost as f32 / total as f32;
        (self.share, self.last) = ((share + self.last) / 2.0, share);
        (self.since, self.arrived, self.lost) = (now, 0, 0);
        match self.share {
            share if share < FREE_BELOW => LossVerdict::Free,
            share if share > CUT_ABOVE => LossVerdict::Cut(1.0 - 0.5 * f64::from(share)),
            _ => LossVerdict::Hold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_losses_let_it_grow_some_hold_it_and_many_cut_it_once_per_interval() {
        let start = Instant::now();
        let (mut watch, rtt) = (LossWatch::new(start), Duration::from_millis(100));
        let at = |ms| start + Duration::from_millis(ms);
        watch.count(98, 2, 0);
        assert_eq!(watch.poll(at(499), rtt), LossVerdict::Free, "not known yet");
        assert_eq!((watch.poll(at(500), rtt), watch.share()), (LossVerdict::Free, 0.01));
        watch.count(94, 6, 0);
        assert_eq!(watch.poll(at(1_000), rtt), LossVerdict::Hold);
        watch.count(70, 30, 0);
        assert_eq!(watch.poll(at(1_400), rtt), LossVerdict::Hold, "as before until the interval is over");
        let LossVerdict::Cut(factor) = watch.poll(at(1_500), rtt) else { panic!("{watch:?}") };
        assert!((factor - 0.91).abs() < 1e-6, "{factor}");
        watch.count(20, 20, 20);
        assert_eq!(watch.poll(at(2_400), rtt), LossVerdict::Hold, "too few to tell");
        assert!(matches!(watch.poll(at(2_500), rtt), LossVerdict::Cut(_)), "half of what was before");
        watch.count(100, 0, 0);
        assert_eq!(watch.poll(at(3_000), rtt), LossVerdict::Free, "what came late was not lost");
    }
}
