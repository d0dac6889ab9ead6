//! Puts a publisher's packets in order. A hole is waited for, since it was asked for again, but not for ever.
//!
//! In: packets with their sequence numbers. Out: the same in order, and the word where some are missing for good. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct JitterBuffer<T> {
    waiting: BTreeMap<u64, (Instant, T)>,
    /// Index of the packet that goes out next.
    next: Option<u64>,
    /// How long a hole is waited for.
    patience: Duration,
}

/// Longer than a retransmission takes on most networks.
const PATIENCE_MIN: Duration = Duration::from_millis(400);
/// What comes later is asked for by nobody.
const PATIENCE_MAX: Duration = Duration::from_secs(1);
/// Answers come after 1, 2.25, 3.5 and 4.75 of them.
const ROUND_TRIPS: u32 = 5;
/// A second of 5 Mbit/s. Beyond it the hole is given up.
const PACKETS_MAX: usize = 512;

impl<T> JitterBuffer<T> {
    /// Waits until a packet could be asked for four times, within bounds.
    pub(crate) fn for_round_trip(round_trip: Duration) -> Self {
        let patience = round_trip.saturating_mul(ROUND_TRIPS).clamp(PATIENCE_MIN, PATIENCE_MAX);
        Self { waiting: BTreeMap::new(), next: None, patience }
    }

    /// Takes a packet. One that came before, or too late, is dropped.
    pub(crate) fn push(&mut self, now: Instant, sequence: u16, packet: T) {
        // The first is far from zero, so that what came before it still has an index.
        let next = *self.next.get_or_insert(u64::from(sequence) + (1 << 16));
        let step = i64::from(sequence.wrapping_sub(next as u16).cast_signed());
        if step >= 0 {
            self.waiting.entry(next + step.unsigned_abs()).or_insert((now, packet));
        }
    }

    /// The next in order; `true`: packets before it are missing for good.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(T, bool)> {
        let next = self.next?;
        let first = self.waiting.first_entry()?;
        let gap = *first.key() != next;
        let tired = now.duration_since(first.get().0) >= self.patience;
        if gap && !tired && self.waiting.len() < PACKETS_MAX {
            return None;
        }
        let (index, (_, packet)) = self.waiting.pop_first()?;
        self.next = Some(index + 1);
        Some((packet, gap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn popped(buffer: &mut JitterBuffer<u16>, now: Instant) -> Vec<(u16, bool)> {
        std::iter::from_fn(|| buffer.pop(now)).collect()
    }

    #[test]
    fn packets_are_put_in_order_over_the_wrap_and_repeated_ones_are_dropped() {
        let (mut buffer, now) = (JitterBuffer::for_round_trip(Duration::ZERO), Instant::now());
        for sequence in [65_534, 0, 65_535, 0, 65_534, 1] {
            buffer.push(now, sequence, sequence);
        }
        assert_eq!(popped(&mut buffer, now), [(65_534, false), (65_535, false), (0, false), (1, false)]);
        buffer.push(now, 65_533, 65_533);
        assert_eq!(popped(&mut buffer, now), [], "too late");
    }

    #[test]
    fn a_hole_is_waited_for_until_it_is_filled_or_given_up() {
        let (mut buffer, now) = (JitterBuffer::for_round_trip(Duration::ZERO), Instant::now());
        for sequence in [10, 12, 13] {
            buffer.push(now, sequence, sequence);
        }
        assert_eq!(popped(&mut buffer, now), [(10, false)]);
        let later = now + PATIENCE_MIN;
        assert_eq!(popped(&mut buffer, later), [(12, true), (13, false)]);
        buffer.push(later, 15, 15);
        buffer.push(later, 14, 14);
        assert_eq!(popped(&mut buffer, later), [(14, false), (15, false)]);
    }

    #[test]
    fn a_hole_is_waited_for_longer_where_its_answer_takes_longer() {
        for (round_trip, patience) in [(10, 400), (160, 800), (200, 1_000), (400, 1_000), (3_000, 1_000)] {
            let mut buffer = JitterBuffer::for_round_trip(Duration::from_millis(round_trip));
            let now = Instant::now();
            [10, 12].into_iter().for_each(|sequence| buffer.push(now, sequence, sequence));
            let after = |millis| now + Duration::from_millis(millis);
            assert_eq!(popped(&mut buffer, after(patience - 1)), [(10, false)], "{round_trip} ms");
            assert_eq!(popped(&mut buffer, after(patience)), [(12, true)], "{round_trip} ms");
        }
    }

    #[test]
    fn the_buffer_is_bounded() {
        let (mut buffer, now) = (JitterBuffer::for_round_trip(Duration::ZERO), Instant::now());
        buffer.push(now, 0, 0);
        assert_eq!(popped(&mut buffer, now).len(), 1);
        for sequence in 2..2_000 {
            buffer.push(now, sequence, sequence);
            popped(&mut buffer, now);
        }
        assert!(buffer.waiting.len() < PACKETS_MAX);
    }
}
