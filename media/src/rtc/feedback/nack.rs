//! Which packets of a publisher are missing, and when to ask for them (RFC 4585 section 6.2.1).
//!
//! In: sequence numbers as they come, the clock. Out: lists to ask for. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(crate) struct NackGenerator {
    newest: Option<u64>,
    missing: BTreeMap<u64, Missing>,
}

#[derive(Debug, Clone, Copy)]
struct Missing {
    since: Instant,
    asked: Option<Instant>,
    tries: u32,
}

/// Reordering is shorter than this.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const AGAIN_MIN: Duration = Duration::from_millis(20);
const AGAIN_MAX: Duration = Duration::from_millis(400);
const TRIES_MAX: u32 = 10;
/// OBS keeps seconds of packets; what comes later than this is shown to nobody.
const LIFE: Duration = Duration::from_secs(1);
/// More are not asked for: the network is down, a keyframe is cheaper.
const MISSING_MAX: usize = 500;

impl NackGenerator {
    /// A packet came, on time, late or again.
    pub(crate) fn received(&mut self, now: Instant, sequence: u16) {
        let Some(newest) = self.newest else {
            self.newest = Some(u64::from(sequence) + (1 << 16));
            return;
        };
        let step = i64::from(sequence.wrapping_sub(newest as u16).cast_signed());
        let index = newest.saturating_add_signed(step);
        if index <= newest {
            self.missing.remove(&index);
            return;
        }
        let holes = newest + 1..index;
        if holes.clone().count() + self.missing.len() > MISSING_MAX {
            self.missing.clear();
        } else {
            self.missing.extend(holes.map(|hole| (hole, Missing { since: now, asked: None, tries: 0 })));
        }
        self.newest = Some(index);
    }

    /// What to ask for now, in order; mostly nothing.
    pub(crate) fn poll(&mut self, now: Instant, rtt: Duration) -> Vec<u16> {
        self.missing.retain(|_, missing| now.duration_since(missing.since) < LIFE && missing.tries < TRIES_MAX);
        let again = rtt.mul_f64(1.25).clamp(AGAIN_MIN, AGAIN_MAX);
        let due = |missing: &Missing| match missing.asked {
            None => now.duration_since(missing.since) >= FIRST_WAIT,
            Some(asked) => now.duration_since(asked) >= again,
        };
        let mut lost = Vec::new();
        for (index, missing) in self.missing.iter_mut().filter(|(_, missing)| due(missing)) {
            (missing.asked, missing.tries) = (Some(now), missing.tries + 1);
            lost.push(*index as u16);
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(80);

    #[test]
    fn a_hole_is_asked_for_after_a_moment_and_again_after_a_round_trip() {
        let (mut nack, start) = (NackGenerator::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        for sequence in [65_533, 65_534, 1] {
            nack.received(at(0), sequence);
        }
        assert_eq!(nack.poll(at(9), RTT), [0_u16; 0]);
        nack.received(at(9), 0);
        assert_eq!(nack.poll(at(10), RTT), [65_535], "0 came late");
        assert_eq!(nack.poll(at(109), RTT), [0_u16; 0]);
        assert_eq!(nack.poll(at(110), RTT), [65_535]);
        nack.received(at(120), 65_535);
        assert_eq!(nack.poll(at(500), RTT), [0_u16; 0]);
    }

    #[test]
    fn what_is_too_old_or_too_much_is_not_asked_for() {
        let (mut nack, start) = (NackGenerator::default(), Instant::now());
        nack.received(start, 1);
        nack.received(start, 3);
        assert_eq!(nack.poll(start + LIFE, RTT), [0_u16; 0]);
        nack.received(start, 2_000);
        assert_eq!(nack.poll(start + FIRST_WAIT, RTT), [0_u16; 0], "a whole second is gone: that is no single loss");
    }
}
