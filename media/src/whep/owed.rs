//! Lost packets that are to be sent again to one viewer, each once.
//!
//! In: what the viewer asks for. Out: the same in its order. Bounded, and a question costs the same however many there are.

use super::burst::Lane;
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Owed {
    waiting: VecDeque<(Lane, u16)>,
    /// The last bits of those that wait. Two packets that share them are further apart than what is kept to be sent again;
    /// the viewer asks again for what it still misses.
    marks: [u64; MARKS / 64],
}

/// Beyond it nothing is taken.
const MAX: usize = 512;
const MARKS: usize = 4_096;

impl Default for Owed {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), marks: [0; MARKS / 64] }
    }
}

impl Owed {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether it is taken: `false` where it waits already, or too many do.
    pub(super) fn push(&mut self, lane: Lane, sequence: u16) -> bool {
        let (word, bit) = mark(lane, sequence);
        if self.marks[word] & bit != 0 || self.waiting.len() >= MAX {
            return false;
        }
        self.marks[word] |= bit;
        self.waiting.push_back((lane, sequence));
        true
    }

    pub(super) fn pop(&mut self) -> Option<(Lane, u16)> {
        let (lane, sequence) = self.waiting.pop_front()?;
        let (word, bit) = mark(lane, sequence);
        self.marks[word] &= !bit;
        Some((lane, sequence))
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.marks = [0; MARKS / 64];
    }
}

/// Both lanes count from anywhere; they are held apart by half of the marks.
fn mark(lane: Lane, sequence: u16) -> (usize, u64) {
    let at = usize::from(sequence) % (MARKS / 2) + lane.index() * (MARKS / 2);
    (at / 64, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waits_once_and_no_more_than_there_may() {
        let mut owed = Owed::default();
        assert!(owed.push(Lane::Video, 65_535) && owed.push(Lane::Video, 0) && owed.push(Lane::Audio, 0));
        assert!(!owed.push(Lane::Video, 65_535), "it waits");
        assert_eq!(owed.pop(), Some((Lane::Video, 65_535)));
        assert!(owed.push(Lane::Video, 65_535), "it was sent, and lost again");
        let taken = (1_000..3_000).filter(|sequence| owed.push(Lane::Video, *sequence)).count();
        assert_eq!((taken, owed.len()), (509, 512));
        owed.clear();
        assert!(owed.is_empty() && owed.pop().is_none() && owed.push(Lane::Video, 0));
    }
}
