//! Which segments and inits the playlists of a rendition ever named: the only ones of a show that are looked for in the
//! store. What strangers make up costs no read, and players that lag behind the list still find what it named.
//!
//! In: segments as they are closed or taken up. Out: an immutable set, shared by all snapshots until it changes, which is
//! once an epoch. Bounded: what was named longest ago is forgotten first.

use super::snapshot::Segment;
use std::collections::{BTreeSet, VecDeque};

#[derive(Debug, Clone, Default)]
pub(crate) struct Named {
    /// Oldest first. Numbers are consecutive, so each reaches to where the next begins and the last as far as there are
    /// segments.
    runs: VecDeque<Run>,
    /// Numbers whose bytes the store does not have.
    lost: BTreeSet<u64>,
}

/// Segments of one epoch and one init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: u64,
    epoch: u64,
    init_epoch: u64,
}

/// A publisher that comes back every half minute for a day.
const RUNS_MAX: usize = 2_880;
/// Two hours of a store that fails.
const LOST_MAX: usize = 3_600;

impl Named {
    /// Whether `add` has anything to say about it.
    pub(super) fn knows(&self, segment: &Segment) -> bool {
        let last = self.runs.back();
        !segment.gap && last.is_some_and(|run| (run.epoch, run.init_epoch) == (segment.epoch, segment.init_epoch))
    }

    /// A segment that follows those before it.
    pub(super) fn add(&mut self, segment: &Segment) {
        let run = Run { first: segment.number, epoch: segment.epoch, init_epoch: segment.init_epoch };
        if self.runs.back().is_none_or(|last| (last.epoch, last.init_epoch) != (run.epoch, run.init_epoch)) {
            self.runs.push_back(run);
        }
        if self.runs.len() > RUNS_MAX {
            self.runs.pop_front();
        }
        if segment.gap {
            self.lose(segment.number);
        }
    }

    /// The store does not have this one.
    pub(super) fn lose(&mut self, number: u64) {
        self.lost.insert(number);
        if self.lost.len() > LOST_MAX
            && let Some(oldest) = self.lost.pop_first()
        {
            // It must not seem to be there again, so what is as old goes with it.
            while self.runs.get(1).is_some_and(|next| next.first <= oldest + 1) {
                self.runs.pop_front();
            }
            if let Some(first) = self.runs.front_mut() {
                first.first = first.first.max(oldest + 1);
            }
        }
    }

    /// `newest`: the number of the last segment there is.
    pub(crate) fn has_segment(&self, epoch: u64, number: u64, newest: u64) -> bool {
        let after = self.runs.partition_point(|run| run.first <= number);
        let run = after.checked_sub(1).and_then(|index| self.runs.get(index));
        run.is_some_and(|run| run.epoch == epoch) && number <= newest && !self.lost.contains(&number)
    }

    /// Whether any segment that is there needs it.
    pub(crate) fn has_init(&self, epoch: u64, newest: u64) -> bool {
        let ends = self.runs.iter().skip(1).map(|next| next.first).chain([newest + 1]);
        self.runs
            .iter()
            .zip(ends)
            .filter(|(run, _)| run.init_epoch == epoch)
            .any(|(run, end)| run.first < end && (self.lost.range(run.first..end).count() as u64) < end - run.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn segment(number: u64, epoch: u64, init_epoch: u64, gap: bool) -> Segment {
        Segment {
            number,
            epoch,
            init_epoch,
            discontinuity: 0,
            marks: 0,
            at: UNIX_EPOCH,
            duration: Duration::from_secs(2),
            independent: true,
            gap,
            parts: Vec::new(),
            part_target: Duration::ZERO,
        }
    }

    fn named(segments: &[Segment]) -> Named {
        let mut named = Named::default();
        for segment in segments.iter().filter(|segment| !segment.gap) {
            let knows = named.knows(segment);
            let before = named.runs.len();
            named.add(segment);
            assert_eq!(knows, named.runs.len() == before, "{}", segment.number);
        }
        segments.iter().filter(|segment| segment.gap).for_each(|segment| named.lose(segment.number));
        named
    }

    #[test]
    fn a_segment_is_named_in_its_own_epoch_and_up_to_the_newest() {
        let named = named(&[3, 4, 5].map(|number| segment(number, if number < 5 { 0 } else { 2 }, 0, false)));
        let has = |epoch, number| named.has_segment(epoch, number, 6);
        assert!(has(0, 3) && has(0, 4) && has(2, 5) && has(2, 6));
        assert!(!has(0, 2) && !has(0, 5) && !has(1, 4) && !has(2, 4) && !has(2, 7) && !has(2, u64::MAX));
        assert!(named.has_init(0, 6) && !named.has_init(2, 6) && !named.has_init(1, 6));
        assert!(!Named::default().has_segment(0, 0, 0) && !Named::default().has_init(0, 0));
    }

    #[test]
    fn what_is_lost_is_not_looked_for_nor_is_the_init_of_nothing_else() {
        let mut segments: Vec<_> = (1..=3).map(|number| segment(number, number - 1, number - 1, false)).collect();
        segments.push(segment(4, 2, 2, false));
        let mut named = named(&segments);
        named.lose(2);
        named.lose(3);
        assert!(!named.has_segment(1, 2, 4) && !named.has_init(1, 4));
        assert!(!named.has_segment(2, 3, 4) && named.has_segment(2, 4, 4) && named.has_init(2, 4));
        let mut resumed = Named::default();
        resumed.add(&segment(7, 1, 1, true));
        assert!(!resumed.has_segment(1, 7, 7) && !resumed.has_init(1, 7));
    }

    #[test]
    fn a_store_that_fails_and_a_publisher_that_flutters_take_no_more_than_was_allowed() {
        let mut named = Named::default();
        for number in 1..=10_000 {
            named.add(&segment(number, number / 2, number / 2, false));
        }
        assert_eq!(named.runs.len(), RUNS_MAX);
        assert!(named.has_segment(5_000, 10_000, 10_000) && !named.has_segment(1, 2, 10_000));
        for number in 1..=9_000 {
            named.lose(number);
        }
        assert_eq!(named.lost.len(), LOST_MAX);
        let present: Vec<_> = (1..=10_000).filter(|number| named.has_segment(*number / 2, *number, 10_000)).collect();
        assert_eq!(present, (9_001..=10_000).collect::<Vec<u64>>(), "none that was lost is there again");
    }
}
