//! The rate itself: additive or multiplicative increase, multiplicative decrease (draft-ietf-rmcat-gcc-02 section 5.5).
//!
//! In: what delay and losses say, what arrives, the clock. Out: bits per second. Pure.

use super::delay::Usage;
use super::loss::LossVerdict;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct RateControl {
    bps: f64,
    changed: Instant,
    decreased: Option<Instant>,
    /// After a decrease or an emptied queue one round without growth.
    hold: bool,
    ceiling: Option<Ceiling>,
}

/// Where the network was full before: near it the rate grows slowly.
#[derive(Debug, Clone, Copy)]
struct Ceiling {
    mean_kbps: f64,
    /// Squared deviation over the mean.
    deviation: f64,
}

pub(super) const BPS: RangeInclusive<f64> = 50_000.0..=50_000_000.0;
/// Per second, far from the ceiling.
const GROWTH: f64 = 1.08;
/// Of what arrived, when the network is full.
const BACK_OFF: f64 = 0.85;
/// Growth ends above what has been shown to arrive.
const UNPROVEN: f64 = 1.5;
const UNPROVEN_BPS: f64 = 10_000.0;
/// Near the ceiling, half a packet more per response time; packets are as even as frames cut into them make them.
const FRAMES_PER_SECOND: f64 = 30.0;
const PACKET_BITS_MAX: f64 = 9_600.0;
const RESPONSE_BASE: Duration = Duration::from_millis(100);
/// The least growth near the ceiling, per second: half a packet is little for a fast viewer far away.
const GROWTH_BPS_MIN: f64 = 10_000.0;
const GROWTH_SHARE_MIN: f64 = 0.01;
/// Within a round trip a decrease cannot have been seen yet.
const AGAIN_MIN: Duration = Duration::from_millis(10);
const AGAIN_MAX: Duration = Duration::from_millis(200);
const CEILING_SMOOTHING: f64 = 0.05;
const CEILING_DEVIATION: RangeInclusive<f64> = 0.4..=2.5;
const CEILING_WIDTH: f64 = 3.0;

impl RateControl {
    pub(super) fn new(now: Instant, bps: f64) -> Self {
        let bps = bps.clamp(*BPS.start(), *BPS.end());
        Self { bps, changed: now, decreased: None, hold: false, ceiling: None }
    }

    pub(super) fn bps(&self) -> f64 {
        self.bps
    }

    pub(super) fn decreased(&self) -> Option<Instant> {
        self.decreased
    }

    /// `acked`: bits per second that arrive, where known.
    pub(super) fn update(&mut self, now: Instant, usage: Usage, loss: LossVerdict, acked: Option<f64>, rtt: Duration) {
        let passed = now.duration_since(self.changed);
        self.changed = now;
        if let LossVerdict::Cut(factor) = loss {
            self.decrease(now, self.bps * factor);
        }
        match usage {
            Usage::Over => self.back_off(now, acked, rtt),
            Usage::Under => self.hold = true,
            Usage::Normal if std::mem::take(&mut self.hold) => {}
            Usage::Normal if loss == LossVerdict::Free => self.grow(passed, acked, rtt),
            Usage::Normal => {}
        }
    }

    /// A probe has shown that so much arrives.
    pub(super) fn raise(&mut self, bps: f64) {
        self.bps = self.bps.max(bps.min(*BPS.end()));
        if self.ceiling.is_some_and(|ceiling| self.bps > ceiling.range().1) {
            self.ceiling = None;
        }
    }

    /// A probe has shown that no more than so much arrives; what does arrive is not doubted.
    pub(super) fn limit(&mut self, bps: f64, acked: Option<f64>) {
        self.bps = self.bps.min(bps.max(acked.unwrap_or(self.bps)).max(*BPS.start()));
    }

    pub(super) fn decrease(&mut self, now: Instant, bps: f64) {
        self.bps = self.bps.min(bps.max(*BPS.start()));
        (self.decreased, self.hold) = (Some(now), true);
    }

    fn back_off(&mut self, now: Instant, acked: Option<f64>, rtt: Duration) {
        let acked = acked.unwrap_or(self.bps);
        let pause = rtt.clamp(AGAIN_MIN, AGAIN_MAX);
        let lately = self.decreased.is_some_and(|at| now.duration_since(at) < pause);
        if lately && acked >= self.bps / 2.0 {
            return;
        }
        if self.ceiling.is_some_and(|ceiling| acked < ceiling.range().0) {
            self.ceiling = None;
        }
        self.ceiling = Some(Ceiling::met(self.ceiling, acked));
        self.decrease(now, acked * BACK_OFF);
    }

    fn grow(&mut self, passed: Duration, acked: Option<f64>, rtt: Duration) {
        if let (Some(ceiling), Some(acked)) = (self.ceiling, acked)
            && acked > ceiling.range().1
        {
            self.ceiling = None;
        }
        let seconds = passed.as_secs_f64().min(1.0);
        let grown = if self.ceiling.is_some() {
            let frame_bits = self.bps / FRAMES_PER_SECOND;
            let packet_bits = frame_bits / (frame_bits / PACKET_BITS_MAX).ceil();
            let per_second = 0.5 * packet_bits / (RESPONSE_BASE + rtt).as_secs_f64();
            let per_second = per_second.max(GROWTH_BPS_MIN).max(self.bps * GROWTH_SHARE_MIN);
            self.bps + per_second * seconds
        } else {
            self.bps * GROWTH.powf(seconds)
        };
        // What was not sent cannot have been refused: above it nothing is known.
        let proven = acked.map_or(self.bps, |acked| acked * UNPROVEN + UNPROVEN_BPS);
        self.bps = grown.min(proven.max(self.bps)).min(*BPS.end());
    }
}

impl Ceiling {
    fn met(before: Option<Self>, bps: f64) -> Self {
        let kbps = bps / 1_000.0;
        let Some(Self { mean_kbps, deviation }) = before else {
            return Self { mean_kbps: kbps, deviation: *CEILING_DEVIATION.start() };
        };
        let mean_kbps = mean_kbps + CEILING_SMOOTHING * (kbps - mean_kbps);
        let apart = mean_kbps - kbps;
        let deviation = deviation + CEILING_SMOOTHING * (apart * apart / mean_kbps.max(1.0) - deviation);
        Self { mean_kbps, deviation: deviation.clamp(*CEILING_DEVIATION.start(), *CEILING_DEVIATION.end()) }
    }

    /// Bits per second between which the rate counts as near.
    fn range(self) -> (f64, f64) {
        let width = CEILING_WIDTH * (self.deviation * self.mean_kbps).sqrt();
        ((self.mean_kbps - width) * 1_000.0, (self.mean_kbps + width) * 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    /// Updates every 100 ms for so many seconds.
    fn run(rate: &mut RateControl, from: &mut Instant, seconds: u32, usage: Usage, acked: impl Fn(f64) -> f64) {
        for _ in 0..seconds * 10 {
            *from += Duration::from_millis(100);
            rate.update(*from, usage, LossVerdict::Free, Some(acked(rate.bps())), RTT);
        }
    }

    #[test]
    fn it_grows_by_eight_percent_a_second_as_far_as_it_is_used() {
        let mut now = Instant::now();
        let mut rate = RateControl::new(now, 1e6);
        run(&mut rate, &mut now, 1, Usage::Normal, |bps| bps);
        assert!((1.079e6..1.081e6).contains(&rate.bps()), "{}", rate.bps());
        run(&mut rate, &mut now, 60, Usage::Normal, |_| 1e6);
        assert!((1.50e6..1.52e6).contains(&rate.bps()), "application-limited: {}", rate.bps());
        run(&mut rate, &mut now, 10, Usage::Normal, |_| 0.2e6);
        assert!((1.50e6..1.52e6).contains(&rate.bps()), "what was proven is not taken back");
    }

    #[test]
    fn a_full_network_takes_it_to_85_percent_of_what_arrives_and_then_it_grows_slowly() {
        let mut now = Instant::now();
        let mut rate = RateControl::new(now, 2e6);
        run(&mut rate, &mut now, 1, Usage::Over, |_| 1e6);
        assert!((rate.bps() - 0.85e6).abs() < 1.0, "{}", rate.bps());
        run(&mut rate, &mut now, 1, Usage::Under, |_| 0.85e6);
        assert!((rate.bps() - 0.85e6).abs() < 1.0, "while the queue empties");
        run(&mut rate, &mut now, 2, Usage::Normal, |bps| bps);
        assert!((0.87e6..0.91e6).contains(&rate.bps()), "half a packet per response time: {}", rate.bps());
        run(&mut rate, &mut now, 5, Usage::Normal, |_| 1.2e6);
        assert!(rate.bps() > 1.25e6, "above the old ceiling it grows as fast as ever: {}", rate.bps());
    }

    #[test]
    fn losses_cut_or_hold_it_and_its_bounds_stay() {
        let mut now = Instant::now();
        let mut rate = RateControl::new(now, 1e6);
        rate.update(now, Usage::Normal, LossVerdict::Cut(0.9), Some(1e6), RTT);
        assert!((rate.bps() - 0.9e6).abs() < 1.0);
        for _ in 0..50 {
            now += RTT;
            rate.update(now, Usage::Normal, LossVerdict::Hold, Some(1e6), RTT);
        }
        assert!((rate.bps() - 0.9e6).abs() < 1.0);
        for _ in 0..100 {
            now += RTT;
            rate.update(now, Usage::Over, LossVerdict::Cut(0.5), Some(0.0), RTT);
        }
        assert!((rate.bps() - 50_000.0).abs() < 1.0);
        rate.raise(1e12);
        assert!((rate.bps() - 50e6).abs() < 1.0);
    }
}
