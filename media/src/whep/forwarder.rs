//! One viewer's numbers for one lane: which packets pass, and under which sequence number and timestamp.
//!
//! In: bursts in feed order. Out: 48-bit SRTP indices (rollover counter and sequence number in one) and timestamps. Pure.
//! Every viewer counts from its own start below 2^15 with rollover 0, so nobody has to guess a rollover (RFC 3711 section 3.3.1).

use super::burst::{Burst, Lane};
use std::collections::VecDeque;

#[derive(Debug)]
pub(crate) struct Forwarder {
    lane: Lane,
    /// The layer that is sent, and the one that takes its place at its next keyframe.
    layer: u8,
    wanted: u8,
    /// Index of the next packet to be sent.
    next: u64,
    /// Number of the packet that would continue what was sent.
    expected: Option<u64>,
    /// Timestamp of the newest burst that was sent.
    newest: Option<u32>,
    /// What was sent, in runs of consecutive numbers under one shift, for retransmissions.
    runs: VecDeque<Run>,
}

/// Packets `number..` of a layer went out as `index..` with their timestamps shifted.
#[derive(Debug, Clone, Copy)]
struct Run {
    index: u64,
    layer: u8,
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

/// What a packet was in the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) layer: u8,
    pub(crate) number: u64,
    pub(crate) shift: u32,
}

/// Catching up makes a run per frame; eight seconds of 30 fps, then the oldest can no longer be sent again.
const RUNS_MAX: usize = 256;
/// Layers of one moment are stamped a little apart, and a GOP that is sent again is older than what was shown. Two
/// pictures under one timestamp would be taken for one, so such are moved behind the newest; ticks.
const BACKWARDS_MAX: u32 = 10 * 90_000;

impl Forwarder {
    /// `start`: the first sequence number, below 2^15.
    pub(crate) fn new(lane: Lane, start: u16) -> Self {
        let next = u64::from(start & 0x7fff);
        Self { lane, layer: 0, wanted: 0, next, expected: None, newest: None, runs: VecDeque::new() }
    }

    /// The layer that is sent.
    pub(crate) fn layer(&self) -> u8 {
        self.layer
    }

    /// Goes over to a layer with its next keyframe. Until then the present one goes on.
    pub(crate) fn want(&mut self, layer: u8) {
        self.wanted = layer;
    }

    /// The layer that a keyframe is waited for.
    pub(crate) fn wanted(&self) -> Option<u8> {
        (self.wanted != self.layer).then_some(self.wanted)
    }

    /// Places a burst, or drops it: video that does not continue what was sent waits for a keyframe. `shift` is added to
    /// the timestamp.
    pub(crate) fn place(&mut self, burst: &Burst, shift: u32) -> Option<Placed> {
        if burst.layer != self.layer {
            if burst.layer != self.wanted || !burst.keyframe {
                return None;
            }
            self.layer = self.wanted;
            self.expected = None;
        }
        let continues = self.expected == Some(burst.first);
        if self.lane == Lane::Video && !continues && !burst.keyframe {
            self.expected = None;
            return None;
        }
        let timestamp = self.after_newest(burst.timestamp.wrapping_add(shift));
        let shift = timestamp.wrapping_sub(burst.timestamp);
        let runs_on = continues && self.runs.back().is_some_and(|run| run.shift == shift);
        if !runs_on {
            if self.runs.len() >= RUNS_MAX {
                self.runs.pop_front();
            }
            self.runs.push_back(Run { index: self.next, layer: burst.layer, number: burst.first, shift });
        }
        let placed = Placed { index: self.next, timestamp };
        self.next += burst.packets.len() as u64;
        self.expected = Some(burst.end());
        self.newest = Some(timestamp);
        Some(placed)
    }

    fn after_newest(&self, timestamp: u32) -> u32 {
        match self.newest {
            Some(newest) if newest.wrapping_sub(timestamp) <= BACKWARDS_MAX => newest.wrapping_add(1),
            _ => timestamp,
        }
    }

    /// What follows does not continue what was sent: the next video burst must be a keyframe.
    pub(crate) fn interrupt(&mut self) {
        self.expected = None;
    }

    /// The sequence number of the newest packet that was sent.
    pub(crate) fn newest_sequence(&self) -> u16 {
        (self.next as u16).wrapping_sub(1)
    }

    /// What was sent under a 16-bit sequence number.
    pub(crate) fn sent(&self, sequence: u16) -> Option<Sent> {
        let newest = self.next.checked_sub(1)?;
        let behind = (newest as u16).wrapping_sub(sequence);
        let index = newest.checked_sub(u64::from(behind))?;
        let at = self.runs.partition_point(|run| run.index <= index).checked_sub(1)?;
        let Run { index: first, layer, number, shift } = *self.runs.get(at)?;
        Some(Sent { layer, number: number + (index - first), shift })
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
        Arc::new(Burst { lane, layer: 0, first, timestamp, wall: SystemTime::UNIX_EPOCH, keyframe, packets })
    }

    /// One packet of a layer.
    pub(crate) fn layer_burst(layer: u8, first: u64, bytes: usize, keyframe: bool) -> Arc<Burst> {
        let packets = vec![RtpPayload::new(&[], vec![0; bytes].into())];
        let (timestamp, wall) = ((first * 3_000) as u32, SystemTime::UNIX_EPOCH);
        Arc::new(Burst { lane: Lane::Video, layer, first, timestamp, wall, keyframe, packets })
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{burst, layer_burst};
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
        let sent = |forwarder: &Forwarder, number| {
            forwarder.sent(sequence(number)).map(|Sent { number, shift, .. }| (number, shift))
        };
        assert_eq!(sent(&forwarder, 3), Some((3, 7)));
        assert_eq!(sent(&forwarder, 39_999), Some((39_999, 0)), "after 2^16");
        assert_eq!(sent(&forwarder, 33_000), Some((33_000, 0)));
        forwarder.place(&burst(Lane::Video, 50_000, 2, true), 0);
        assert_eq!(sent(&forwarder, 40_001), Some((50_001, 0)));
    }

    #[test]
    fn another_layer_takes_over_with_its_keyframe_and_no_picture_shares_a_timestamp() {
        let mut forwarder = Forwarder::new(Lane::Video, 0);
        let placed = |forwarder: &mut Forwarder, layer, first, keyframe| {
            forwarder.place(&layer_burst(layer, first, 9, keyframe), 0).map(|placed| (placed.index, placed.timestamp))
        };
        assert_eq!(placed(&mut forwarder, 0, 10, true), Some((0, 30_000)));
        assert_eq!(placed(&mut forwarder, 1, 10, true), None, "not wanted");
        forwarder.want(1);
        assert_eq!(placed(&mut forwarder, 1, 11, false), None);
        assert_eq!(placed(&mut forwarder, 0, 11, false), Some((1, 33_000)), "goes on meanwhile");
        assert_eq!(placed(&mut forwarder, 0, 12, false), Some((2, 36_000)));
        assert_eq!(placed(&mut forwarder, 1, 12, true), Some((3, 36_001)), "of the same moment");
        assert_eq!(placed(&mut forwarder, 0, 13, false), None);
        assert_eq!(placed(&mut forwarder, 1, 13, false), Some((4, 39_000)));
        assert_eq!((forwarder.layer(), forwarder.wanted()), (1, None));
        assert_eq!(forwarder.sent(2), Some(Sent { layer: 0, number: 12, shift: 0 }));
        assert_eq!(forwarder.sent(3), Some(Sent { layer: 1, number: 12, shift: 1 }));
    }
}
