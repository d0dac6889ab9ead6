//! What a live playlist lists behind the window in memory: segments that viewers may go back to. Their bytes are in the
//! store.
//!
//! In: segments that leave the window. Out: an immutable list, shared by all snapshots until the next segment leaves it
//! or comes to it. Bounded in media time.

use super::snapshot::Segment;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    /// Oldest first, consecutive numbers that lead to the window's. None has parts.
    segments: VecDeque<Arc<Segment>>,
    duration: Duration,
    /// Segments that cannot be decoded alone.
    dependent: usize,
}

impl Past {
    /// Of a show that is taken up again.
    pub(super) fn of(segments: impl Iterator<Item = Segment>) -> Self {
        let mut past = Self::default();
        segments.for_each(|segment| past.push(segment));
        past
    }

    /// Takes in what the window lets go. `lost`: numbers whose bytes the store does not have.
    pub(super) fn take(&mut self, segment: &Segment, lost: &mut BTreeSet<u64>) {
        let gap = segment.gap || lost.remove(&segment.number);
        self.push(Segment { parts: Vec::new(), gap, ..segment.clone() });
    }

    fn push(&mut self, segment: Segment) {
        self.duration += segment.duration;
        self.dependent += usize::from(!segment.independent);
        self.segments.push_back(Arc::new(segment));
    }

    /// Whether it lists a segment of this number as one that is there.
    pub(super) fn has(&self, number: u64) -> bool {
        self.place(number).is_some_and(|index| !self.segments[index].gap)
    }

    /// The store does not have this one after all.
    pub(super) fn lose(&mut self, number: u64) {
        if let Some(index) = self.place(number) {
            Arc::make_mut(&mut self.segments[index]).gap = true;
        }
    }

    fn place(&self, number: u64) -> Option<usize> {
        let index = usize::try_from(number.checked_sub(self.segments.front()?.number)?).ok()?;
        (index < self.segments.len()).then_some(index)
    }

    /// Forgets what lies further back.
    pub(super) fn trim(&mut self, reach: Duration) {
        while self.duration > reach
            && let Some(first) = self.segments.pop_front()
        {
            self.duration -= first.duration;
            self.dependent -= usize::from(!first.independent);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Arc<Segment>> {
        self.segments.get(index)
    }

    pub(crate) fn independent(&self) -> bool {
        self.dependent == 0
    }

    pub(super) fn duration(&self) -> Duration {
        self.duration
    }
}
