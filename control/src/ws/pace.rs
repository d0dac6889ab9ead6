//! How fast one socket may speak. Pure: the time is a parameter.

use std::time::{Duration, Instant};

use crate::config::Rate;

/// A bucket of commands, refilled evenly, and the patience with a socket that keeps overflowing it.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: f64,
    burst: f64,
    patience: Duration,
    tokens: f64,
    refilled_at: Instant,
    /// When the present spell of overflowing began.
    overflowing_since: Option<Instant>,
    warned_at: Option<Instant>,
}

/// What becomes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    /// Too fast: the command is dropped and the client told.
    Refused,
    /// Too fast, and it was told so within the last second.
    RefusedSilently,
    /// Too fast for longer than our patience: the socket is closed.
    Abusive,
}

impl Pace {
    pub(crate) fn new(rate: Rate, patience: Duration, now: Instant) -> Self {
        let burst = f64::from(rate.burst.get());
        Self {
            per_second: 1.0 / rate.every.as_secs_f64().max(1e-9),
            burst,
            patience,
            tokens: burst,
            refilled_at: now,
            overflowing_since: None,
            warned_at: None,
        }
    }

    /// Judges one command.
    pub(crate) fn take(&mut self, now: Instant) -> Verdict {
        let since = now.saturating_duration_since(self.refilled_at);
        self.tokens = (self.tokens + since.as_secs_f64() * self.per_second).min(self.burst);
        self.refilled_at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            // A spell ends once the bucket has filled up again by half, not with the first accepted command: a socket
            // that floods steadily gets its share accepted all the while.
            if self.tokens >= self.burst / 2.0 {
                self.overflowing_since = None;
            }
            return Verdict::Accepted;
        }
        let began = *self.overflowing_since.get_or_insert(now);
        if now.saturating_duration_since(began) >= self.patience {
            return Verdict::Abusive;
        }
        if self.warned_at.is_some_and(|at| now.saturating_duration_since(at) < Duration::from_secs(1)) {
            return Verdict::RefusedSilently;
        }
        self.warned_at = Some(now);
        Verdict::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn burst_passes_then_the_rate_holds() {
        let now = Instant::now();
        let mut pace = Pace::new(Rate::per_second(2, 3), PATIENCE, now);
        let verdicts: Vec<_> = (0..5).map(|_| pace.take(now)).collect();
        use Verdict::{Accepted, Refused, RefusedSilently};
        assert_eq!(verdicts, [Accepted, Accepted, Accepted, Refused, RefusedSilently]);
        assert_eq!(pace.take(now + Duration::from_millis(500)), Accepted);
        assert_eq!(pace.take(now + Duration::from_millis(500)), RefusedSilently);
    }

    #[test]
    fn steady_flood_exhausts_our_patience() {
        let start = Instant::now();
        let mut pace = Pace::new(Rate::per_second(20, 40), PATIENCE, start);
        let step = Duration::from_millis(10);
        let closed = (0..5000_u32).map(|n| start + step * n).find(|at| pace.take(*at) == Verdict::Abusive);
        let took = closed.expect("a flood of 100 a second is closed") - start;
        assert!(took >= PATIENCE && took < PATIENCE + Duration::from_secs(2), "{took:?}");
    }

    #[test]
    fn pauses_between_bursts_are_forgiven() {
        let start = Instant::now();
        let mut pace = Pace::new(Rate::per_second(20, 40), PATIENCE, start);
        for second in (0..60).step_by(3) {
            let now = start + Duration::from_secs(second);
            assert!((0..50).all(|_| pace.take(now) != Verdict::Abusive));
        }
    }
}
