//! What came of one source's numbers: counted once each, however late or often (RFC 3550 section A.1).

/// The newest 4 096 numbers are told apart.
#[derive(Debug)]
pub(super) struct Window {
    first: u64,
    newest: u64,
    seen: [u64; WORDS],
    /// Different numbers that came.
    pub(super) unique: u64,
    /// Behind a later one.
    pub(super) reordered: u64,
    pub(super) duplicates: u64,
}

const WORDS: usize = 64;
const SPAN: u64 = WORDS as u64 * 64;

impl Window {
    pub(super) fn new(sequence: u16) -> Self {
        // Room below, for those that the first one overtook.
        let first = u64::from(sequence) + (1 << 16);
        let mut window = Self { first, newest: first, seen: [0; WORDS], unique: 1, reordered: 0, duplicates: 0 };
        window.mark(first);
        window
    }

    /// A packet came. `true`: for the first time.
    pub(super) fn note(&mut self, sequence: u16) -> bool {
        let step = i64::from(sequence.wrapping_sub(self.newest as u16).cast_signed());
        let index = self.newest.saturating_add_signed(step);
        if index > self.newest {
            (self.newest + 1..=index).take(SPAN as usize).for_each(|fresh| self.clear(fresh));
            self.newest = index;
        } else if self.newest - index >= SPAN || self.is_marked(index) {
            self.duplicates += 1;
            return false;
        } else {
            self.reordered += 1;
            self.first = self.first.min(index);
        }
        self.mark(index);
        self.unique += 1;
        true
    }

    pub(super) fn expected(&self) -> u64 {
        self.newest - self.first + 1
    }

    /// Numbers that never came.
    pub(super) fn lost(&self) -> u64 {
        self.expected() - self.unique
    }

    /// The newest, extended by its wraps (RFC 3550 section 6.4.1).
    pub(super) fn extended(&self) -> u32 {
        (self.newest - (1 << 16)) as u32
    }

    fn mark(&mut self, index: u64) {
        self.seen[(index % SPAN / 64) as usize] |= 1 << (index % 64);
    }

    fn clear(&mut self, index: u64) {
        self.seen[(index % SPAN / 64) as usize] &= !(1 << (index % 64));
    }

    fn is_marked(&self, index: u64) -> bool {
        self.seen[(index % SPAN / 64) as usize] & (1 << (index % 64)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_counts_once_over_the_wrap_and_out_of_order() {
        let mut window = Window::new(65_533);
        for sequence in [65_532, 65_535, 1, 65_534, 1, 3] {
            window.note(sequence);
        }
        // 65 532 to 3 are eight numbers; 0 and 2 never came.
        assert_eq!((window.expected(), window.unique, window.lost()), (8, 6, 2));
        assert_eq!((window.reordered, window.duplicates, window.extended()), (2, 1, 65_539));
        assert!(window.note(0), "it came after all");
        assert_eq!(window.lost(), 1);
    }

    #[test]
    fn a_long_run_wraps_the_window_without_losing_count() {
        let mut window = Window::new(0);
        for number in 1..200_000_u32 {
            assert!(window.note(number as u16));
        }
        assert_eq!((window.expected(), window.lost(), window.duplicates), (200_000, 0, 0));
        window.note((200_000_u32 + 30_000) as u16);
        assert_eq!(window.lost(), 30_000, "a jump is a loss");
    }
}
