//! One viewer's numbers for one lane: which packets pass, and under which sequence number and timestamp.
//!
//! In: bursts in feed order. Out: 48-bit SRTP indices (rollover counter and sequence number in one) and timestamps. Pure.
//! Every viewer counts from its own start below 2^15 with rollover 0, so nobody has to guess a rollover (RFC 3711 section 3.3.1).

use super::burst::{Burst, Lane};
use std::collections::VecDeque;

#[derive(Debug)]
pub(crate) struct Forwarder {
    lane: Lane,
    /// Index of the next packet to be sent.
    next: u64,
    /// Number of the packet that would continue what was sent.
    expected: Option<u64>,
    /// What was sent, in runs of consecutive numbers under one shift, for retransmissions.
    runs: VecDeque<Run>,
}

/// Packets `number..` of the feed went out as `index..` with their timestamps shifted.
#[derive(Debug, Clone, Copy)]
struct Run {
    index: u64,
    number: u64,
    shift: u32,
}

/// Where a burst goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Index of its first packet.
    pub(crate) index: u64,
    pub(crate) timestamp: u32,
}

/// Catching up makes a run per frame; eight seconds of 30 fps, then the oldest can no longer be sent again.
const RUNS_MAX: usize = 256;

impl Forwarder {
    /// `start`: the first sequence number, below 2^15.
    pub(crate) fn new(lane: Lane, start: u16) -> Self {
        Self { lane, next: u64::from(start & 0x7fff), expected: None, runs: VecDeque::new() }
    }

    /// Places a burst, or drops it: video that does not continue what was sent waits for a keyframe. `shift` is added to
    /// the timestamp.
    pub(crate) fn place(&mut self, burst: &Burst, shift: u32) -> Option<Placed> {
        let continues = self.expected == Some(burst.first);
        if self.lane == Lane::Video && !continues && !burst.keyframe {
            self.expected = None;
            return None;
        }
        let runs_on = continues && self.runs.back().is_some_and(|run| run.shift == shift);
        if !runs_on {
            if self.runs.len() >= RUNS_MAX {
                self.runs.pop_front();
            }
            self.runs.push_back(Run { index: self.next, number: burst.first, shift });
        }
        let placed = Placed { index: self.next, timestamp: burst.timestamp.wrapping_add(shift) };
        self.next += burst.packets.len() as u64;
        self.expected = Some(burst.end());
        Some(placed)
    }

    /// What follows does not continue what was sent: the next video burst must be a keyframe.
    pub(crate) fn interrupt(&mut self) {
        self.expected = None;
    }

    /// The feed's number and the timestamp shift of a packet that was sent, by its 16-bit sequence number.
    pub(crate) fn sent(&self, sequence: u16) -> Option<(u64, u32)> {
        let newest = self.next.checked_sub(1)?;
        let behind = (newest as u16).wrapping_sub(sequence);
        let index = newest.checked_sub(u64::from(behind))?;
        let at = self.runs.partition_point(|run| run.index <= index).checked_sub(1)?;
        let run = self.runs.get(at)?;
        Some((run.number + (index - run.index), run.shift))
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::rtp::packetize::RtpPayload;
    use std::sync::Arc;
    use std::time::SystemTime;

    /// A burst of empty packets.
    pub(crate) fn burst(lane: Lane, first: u64, packets: usize, keyframe: bool) -> Arc<Burst> {
        let packets = (0..packets).map(|_| RtpPayload::default()).collect();
        let timestamp = (first * 1_000) as u32;
        Arc::new(Burst { lane, first, timestamp, wall: SystemTime::UNIX_EPOCH, keyframe, packets })
    }
}

#[cfg(test)]
mod tests {
    use super::testing::burst;
    use super::*;

    #[test]
    fn video_begins_and_goes_on_after_a_hole_with_a_keyframe() {
        let mut forwarder = Forwarder::new(Lane::Video, 100);
        assert_eq!(forwarder.place(&burst(Lane::Video, 10, 2, false), 0), None);
        let placed = forwarder.place(&burst(Lane::Video, 12, 3, true), 0).unwrap();
        assert_eq!(placed, Placed { index: 100, timestamp: 12_000 });
        assert_eq!(forwarder.place(&burst(Lane::Video, 15, 1, false), 0).unwrap().index, 103);
        assert_eq!(forwarder.place(&burst(Lane::Video, 18, 1, false), 0), None, "16 and 17 are missing");
        assert_eq!(forwarder.place(&burst(Lane::Video, 19, 1, false), 0), None);
        let placed = forwarder.place(&burst(Lane::Video, 40, 1, true), 0).unwrap();
        assert_eq!(placed.index, 104, "numbers have no hole, so no viewer asks for what was never sent");
    }

    #[test]
    fn audio_is_never_held_back() {
        let mut forwarder = Forwarder::new(Lane::Audio, 7);
        assert_eq!(forwarder.place(&burst(Lane::Audio, 5, 1, true), 0).unwrap().index, 7);
        assert_eq!(forwarder.place(&burst(Lane::Audio, 9, 1, true), 0).unwrap().index, 8);
    }

    #[test]
    fn a_sent_packet_is_found_again_over_holes_shifts_and_the_wrap() {
        let mut forwarder = Forwarder::new(Lane::Video, 0x7ffe);
        for number in 0..40_000_u64 {
            forwarder.place(&burst(Lane::Video, number, 1, true), if number < 5 { 7 } else { 0 });
        }
        let sequence = |number: u64| ((0x7ffe + number) & 0xffff) as u16;
        assert_eq!(forwarder.sent(sequence(3)), Some((3, 7)));
        assert_eq!(forwarder.sent(sequence(39_999)), Some((39_999, 0)), "after 2^16");
        assert_eq!(forwarder.sent(sequence(33_000)), Some((33_000, 0)));
        forwarder.place(&burst(Lane::Video, 50_000, 2, true), 0);
        assert_eq!(forwarder.sent(sequence(40_001)), Some((50_001, 0)));
    }
}
