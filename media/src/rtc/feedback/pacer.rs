//! How many bytes of what waits may leave now, so that a keyframe or a GOP of the past does not overrun the queue in front of
//! the viewer's access link: what overruns it is lost, and so is what is sent again for it.
//!
//! In: the clock, a pace, what was sent. Out: room in bytes. Pure. Sound is not held back by it.

use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(crate) struct Pacer {
    /// Bytes that may leave; below zero by what the last packet was bigger than what was left.
    budget: f64,
    filled: Option<Instant>,
}

/// How fast what waits leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) bps: u64,
    /// Bytes that may leave at once after a pause, however slow the pace is.
    pub(crate) at_once: usize,
}

/// What may leave at once is at least that of two turns of the worker, so that a late turn loses nothing of the pace.
const TURNS: Duration = Duration::from_millis(10);

impl Pacer {
    /// Bytes that may leave now; below zero by what left in excess and is paid off first.
    pub(crate) fn room(&mut self, now: Instant, pace: Pace) -> i64 {
        let bytes_per_second = pace.bps as f64 / 8.0;
        let full = (bytes_per_second * TURNS.as_secs_f64()).max(pace.at_once as f64);
        self.budget = match self.filled.replace(now) {
            None => full,
            Some(filled) => (self.budget + now.duration_since(filled).as_secs_f64() * bytes_per_second).min(full),
        };
        self.budget as i64
    }

    /// So much has left.
    pub(crate) fn spent(&mut self, bytes: usize) {
        self.budget -= bytes as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_millis(5);

    #[test]
    fn what_waits_leaves_at_its_pace_and_late_turns_change_nothing() {
        let pace = Pace { bps: 8_000_000, at_once: 4_800 };
        for turns in [200, 100] {
            let (mut pacer, start, mut sent) = (Pacer::default(), Instant::now(), 0);
            for turn in 0..=turns {
                while pacer.room(start + TURN * turn * (200 / turns), pace) > 0 {
                    pacer.spent(1_200);
                    sent += 1_200;
                }
            }
            let expected = 1_000_000 + 10_000;
            assert!((expected..expected + 1_200).contains(&sent), "{sent} bytes in a second of {turns} turns");
        }
    }

    #[test]
    fn a_pause_saves_up_no_more_than_may_leave_at_once() {
        let (mut pacer, start) = (Pacer::default(), Instant::now());
        let (slow, fast) = (Pace { bps: 80_000, at_once: 4_800 }, Pace { bps: 80_000_000, at_once: 4_800 });
        assert_eq!(pacer.room(start, slow), 4_800);
        pacer.spent(5_000);
        assert_eq!(pacer.room(start, slow), -200);
        assert_eq!(pacer.room(start + TURN * 10, slow), 300, "the excess is paid off");
        assert_eq!(pacer.room(start + Duration::from_secs(9), slow), 4_800);
        assert_eq!(pacer.room(start + Duration::from_secs(18), fast), 100_000);
    }
}
