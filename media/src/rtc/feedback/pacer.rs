//! How many bytes of a catch-up may leave now, so that a GOP of the past does not overrun the viewer's access link.
//!
//! In: the clock, the estimated rate, what was sent. Out: room in bytes. Pure. Live frames and sound are not held back by it:
//! they are sent at the rate they are made, and only what waits is paced (draft-ietf-rmcat-gcc-02 section 4).

use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(crate) struct Pacer {
    /// Bytes that may leave; below zero when a frame that leaves whole was bigger than what was left.
    budget: f64,
    filled: Option<Instant>,
}

/// Faster than the estimate, or who catches up would never be done with it.
const FACTOR: f64 = 2.5;
/// What may leave at once after a pause: a few turns of the worker, and always a few packets.
const BURST: Duration = Duration::from_millis(20);
const BURST_BYTES_MIN: f64 = 4_800.0;
/// A frame in excess is paid off for no longer than this.
const DEBT_MAX: Duration = Duration::from_millis(500);

impl Pacer {
    /// Bytes that may leave now; zero while an excess is paid off.
    pub(crate) fn room(&mut self, now: Instant, estimate_bps: u64) -> usize {
        let bytes_per_second = estimate_bps as f64 * FACTOR / 8.0;
        let burst = (bytes_per_second * BURST.as_secs_f64()).max(BURST_BYTES_MIN);
        self.budget = match self.filled.replace(now) {
            None => burst,
            Some(filled) => {
                let debt = self.budget.max(-bytes_per_second * DEBT_MAX.as_secs_f64());
                (debt + now.duration_since(filled).as_secs_f64() * bytes_per_second).min(burst)
            }
        };
        self.budget.max(0.0) as usize
    }

    /// So much has left.
    pub(crate) fn spent(&mut self, bytes: usize) {
        self.budget -= bytes as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(5);

    #[test]
    fn what_waits_leaves_at_two_and_a_half_times_the_estimate() {
        let (mut pacer, start, mut sent) = (Pacer::default(), Instant::now(), 0);
        for tick in 0..=200 {
            while pacer.room(start + TICK * tick, 2_000_000) >= 1_200 {
                pacer.spent(1_200);
                sent += 1_200;
            }
        }
        let expected = 625_000 + 12_500;
        assert!((expected - 1_200..=expected).contains(&sent), "{sent} bytes in a second");
    }

    #[test]
    fn a_frame_that_leaves_whole_is_paid_off_before_the_next() {
        let (mut pacer, start) = (Pacer::default(), Instant::now());
        let rate = 1_600_000; // 500 bytes a millisecond
        assert_eq!(pacer.room(start, rate), 10_000);
        pacer.spent(60_000);
        assert_eq!(pacer.room(start + TICK * 20, rate), 0);
        assert_eq!(pacer.room(start + TICK * 21, rate), 2_500);
        pacer.spent(10_000_000);
        assert_eq!(pacer.room(start + TICK * 22, rate), 0);
        assert_eq!(pacer.room(start + TICK * 122, rate), 2_500, "for half a second at most");
    }

    #[test]
    fn a_pause_saves_up_a_short_burst_and_a_slow_viewer_still_gets_packets() {
        let (mut pacer, start) = (Pacer::default(), Instant::now());
        pacer.room(start, 2_000_000);
        assert_eq!(pacer.room(start + Duration::from_secs(9), 2_000_000), 12_500);
        assert_eq!(pacer.room(start + Duration::from_secs(18), 50_000), 4_800);
    }
}
