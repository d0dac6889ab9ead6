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
    /// Something is kept waiting: a late turn makes up for the one that it missed.
    pub(crate) waits: bool,
}

/// How late a turn may come without a loss of pace. Later, the worker has too much to do, and it is better to be slow.
const LATE_MAX: Duration = Duration::from_millis(50);

impl Pacer {
    /// Bytes that may leave now; below zero by what left in excess and is paid off first.
    pub(crate) fn room(&mut self, now: Instant, pace: Pace) -> i64 {
        let bytes_per_second = pace.bps as f64 / 8.0;
        let at_once = pace.at_once as f64;
        let full = if pace.waits { at_once.max(bytes_per_second * LATE_MAX.as_secs_f64()) } else { at_once };
        self.budget = match self.filled.replace(now) {
            None => at_once,
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

    fn slow(waits: bool) -> Pace {
        Pace { bps: 80_000, at_once: 4_800, waits }
    }

    #[test]
    fn what_waits_leaves_at_its_pace_and_late_turns_change_nothing() {
        let pace = Pace { bps: 8_000_000, at_once: 4_800, waits: true };
        for every in [1, 2, 10] {
            let (mut pacer, start, mut sent) = (Pacer::default(), Instant::now(), 0);
            for turn in (0..=200).step_by(every) {
                while pacer.room(start + TURN * turn, pace) > 0 {
                    pacer.spent(1_200);
                    sent += 1_200;
                }
            }
            let expected = 1_000_000 + 4_800;
            assert!((expected..expected + 1_200).contains(&sent), "{sent} bytes in a second, turns of {every}");
        }
    }

    #[test]
    fn a_pause_saves_up_no_more_than_may_leave_at_once() {
        let (mut pacer, start) = (Pacer::default(), Instant::now());
        assert_eq!(pacer.room(start, slow(false)), 4_800);
        pacer.spent(5_000);
        assert_eq!(pacer.room(start, slow(true)), -200);
        assert_eq!(pacer.room(start + TURN * 10, slow(true)), 300, "the excess is paid off");
        assert_eq!(pacer.room(start + Duration::from_secs(9), slow(false)), 4_800);
        let fast = Pace { bps: 80_000_000, at_once: 4_800, waits: false };
        assert_eq!(pacer.room(start + Duration::from_secs(18), fast), 4_800);
    }
}
