//! How often a lost packet is sent again to one viewer.
//!
//! In: packets asked for. Out: whether to send. A viewer on a bad network asks for the same packet with every report; its
//! share of retransmissions is bounded, so that they never make the congestion they answer.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct ResendPolicy {
    /// Packets sent again of late, the last bits of their numbers and when, in milliseconds since `start`; a ring, so the
    /// oldest is forgotten.
    lately: [Option<(u32, u32)>; LATELY],
    next: usize,
    start: Option<Instant>,
    /// Bytes that may be sent again now.
    budget: f64,
    filled: Option<Instant>,
}

/// More than a keyframe has packets.
const LATELY: usize = 192;
/// Not again within this, or most of a round trip when that is longer: who asks again after a whole one does not know that
/// the first answer waited a little for its turn.
const AGAIN_AFTER: Duration = Duration::from_millis(20);
/// Bytes per second: an eighth of a 5 Mbit/s stream and a half. At most this much at once.
const BYTES_PER_SECOND: f64 = 120_000.0;
const BUDGET_MAX: f64 = 180_000.0;

impl Default for ResendPolicy {
    fn default() -> Self {
        Self { lately: [None; LATELY], next: 0, start: None, budget: BUDGET_MAX, filled: None }
    }
}

impl ResendPolicy {
    /// Whether packet `number` of so many bytes is sent again; if so, it counts as sent.
    pub(crate) fn allow(&mut self, now: Instant, number: u64, rtt: Duration, bytes: usize) -> bool {
        let since = self.filled.map_or(Duration::ZERO, |at| now.duration_since(at));
        self.filled = Some(now);
        self.budget = (self.budget + since.as_secs_f64() * BYTES_PER_SECOND).min(BUDGET_MAX);
        if self.budget < bytes as f64 {
            return false;
        }
        let pause = (rtt * 3 / 4).max(AGAIN_AFTER);
        let now_ms = now.duration_since(*self.start.get_or_insert(now)).as_millis() as u32;
        let is_recent = |at: u32| u128::from(now_ms.wrapping_sub(at)) < pause.as_millis();
        let too_soon = self.lately.iter().flatten().any(|(sent, at)| *sent == number as u32 && is_recent(*at));
        if too_soon {
            return false;
        }
        self.budget -= bytes as f64;
        self.lately[self.next] = Some((number as u32, now_ms));
        self.next = (self.next + 1) % LATELY;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_not_sent_again_within_most_of_a_round_trip() {
        let (mut policy, now, rtt) = (ResendPolicy::default(), Instant::now(), Duration::from_millis(100));
        assert!(policy.allow(now, 7, rtt, 1_200));
        assert!(!policy.allow(now + Duration::from_millis(74), 7, rtt, 1_200));
        assert!(policy.allow(now + Duration::from_millis(74), 8, rtt, 1_200));
        assert!(policy.allow(now + Duration::from_millis(75), 7, rtt, 1_200));
    }

    #[test]
    fn the_budget_bounds_what_a_bad_network_costs() {
        let (mut policy, start) = (ResendPolicy::default(), Instant::now());
        let sent = (0..10_000_u64)
            .filter(|packet| policy.allow(start + Duration::from_millis(*packet), *packet, Duration::ZERO, 1_200))
            .count();
        assert!((1_000..1_200).contains(&sent), "{sent} packets in ten seconds");
    }
}
