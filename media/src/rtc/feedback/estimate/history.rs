//! What was sent lately, by transport-wide number.
//!
//! In: packets as they leave, numbers that a report names. Out: when each left and how big it was, once. A ring of six
//! bytes a packet, allocated once.

use std::ops::Range;

/// The last [`KEPT`] packets.
#[derive(Debug)]
pub(super) struct History {
    /// Microseconds since the start, modulo 2^32 (71 minutes); only differences over a second or so are taken.
    sent_at: Box<[u32]>,
    /// State and size in one: see the constants below.
    entries: Box<[u16]>,
    next: u64,
}

/// A packet that a report says has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) number: u64,
    pub(super) micros: u32,
    pub(super) bytes: usize,
    /// Sent while a probe ran, or while the queue that it made was emptied.
    pub(super) probing: bool,
    /// An earlier report called it lost.
    pub(super) was_lost: bool,
}

/// A second of 20 Mbit/s. Packets that are forgotten before they are reported count for nothing, so a faster viewer is
/// estimated from a part of its packets.
const KEPT: usize = 2_048;
const BYTES_MASK: u16 = 0x07ff;
const PROBING: u16 = 1 << 11;
const LOST: u16 = 1 << 12;
const ARRIVED: u16 = 1 << 13;

impl History {
    pub(super) fn new() -> Self {
        Self { sent_at: vec![0; KEPT].into(), entries: vec![0; KEPT].into(), next: 0 }
    }

    /// The number of the next packet.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Remembers a packet and numbers it.
    pub(super) fn push(&mut self, micros: u32, bytes: usize, probing: bool) -> u64 {
        let (number, at) = (self.next, self.next as usize % KEPT);
        self.sent_at[at] = micros;
        self.entries[at] = (bytes as u16).min(BYTES_MASK) | if probing { PROBING } else { 0 };
        self.next += 1;
        number
    }

    /// The number whose low bits a report names; `None` when it was not sent.
    pub(super) fn number(&self, sequence: u16) -> Option<u64> {
        let newest = self.next.checked_sub(1)?;
        newest.checked_sub(u64::from((newest as u16).wrapping_sub(sequence)))
    }

    /// A packet has arrived. `None` when that was known, or the packet is not.
    pub(super) fn arrive(&mut self, number: u64) -> Option<Sent> {
        let at = self.kept().contains(&number).then_some(number as usize % KEPT)?;
        let entry = self.entries[at];
        if entry & ARRIVED != 0 {
            return None;
        }
        self.entries[at] |= ARRIVED;
        Some(Sent {
            number,
            micros: self.sent_at[at],
            bytes: usize::from(entry & BYTES_MASK),
            probing: entry & PROBING != 0,
            was_lost: entry & LOST != 0,
        })
    }

    /// Packets are missing; how many of them no earlier report told of.
    pub(super) fn lose(&mut self, numbers: Range<u64>) -> u32 {
        let kept = self.kept();
        let mut newly = 0;
        for number in numbers.start.max(kept.start)..numbers.end.min(kept.end) {
            let entry = &mut self.entries[number as usize % KEPT];
            if *entry & (LOST | ARRIVED) == 0 {
                *entry |= LOST;
                newly += 1;
            }
        }
        newly
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.sent_at) + size_of_val(&*self.entries)
    }

    fn kept(&self) -> Range<u64> {
        self.next.saturating_sub(KEPT as u64)..self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_arrives_once_and_is_lost_once() {
        let mut history = History::new();
        for number in 0..70_000_u32 {
            history.push(number, 1_200, number % 2 == 0);
        }
        let number = history.number(69_999_u32 as u16).unwrap();
        assert_eq!(number, 69_999, "over the wrap");
        assert_eq!(history.lose(number..number + 5_000), 1);
        assert_eq!(history.lose(number..number + 1), 0);
        let sent = Sent { number, micros: 69_999, bytes: 1_200, probing: false, was_lost: true };
        assert_eq!(history.arrive(number), Some(sent));
        assert_eq!((history.arrive(number), history.lose(number..number + 1)), (None, 0));
        assert_eq!(history.lose(0..u64::MAX), 2_047, "what is forgotten is neither lost nor walked");
        assert_eq!(history.arrive(60_000), None);
        assert_eq!(history.number(70_000_u32 as u16).and_then(|number| history.arrive(number)), None, "not sent");
    }
}
