//! What a disk that refuses owes to shows: the lines of their journals and their inits, in order, until it takes them.
//!
//! A segment that is not kept is a gap; a line or an init that is not kept would take with it all that follows. Both are
//! small. Written by the keeper's worker, read by whoever reads a journal meanwhile.

use super::ObjectKey;
use super::journal::Entry;
use crate::model::BroadcastId;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};

#[derive(Default)]
pub(super) struct Owed {
    debts: Mutex<Debts>,
}

#[derive(Default)]
struct Debts {
    by_show: HashMap<BroadcastId, VecDeque<Debt>>,
    count: usize,
}

#[derive(Clone)]
pub(super) enum Debt {
    Init(ObjectKey, Vec<Bytes>),
    Line(Entry),
}

/// Lines and inits that may wait, of all shows: a quarter of an hour of fifty shows, some 20 MB.
pub(super) const LINES_MAX: usize = 65_536;

impl Owed {
    pub(super) fn is_empty(&self) -> bool {
        self.debts.lock().count == 0
    }

    /// `false`: there is no room.
    pub(super) fn add(&self, broadcast: &BroadcastId, debt: Debt) -> bool {
        let mut debts = self.debts.lock();
        let has_room = debts.count < LINES_MAX;
        if has_room {
            debts.by_show.entry(broadcast.clone()).or_default().push_back(debt);
            debts.count += 1;
        }
        has_room
    }

    /// The oldest of a show.
    pub(super) fn first(&self, broadcast: &BroadcastId) -> Option<Debt> {
        self.debts.lock().by_show.get(broadcast)?.front().cloned()
    }

    /// The oldest of a show is paid.
    pub(super) fn pay(&self, broadcast: &BroadcastId) {
        let mut debts = self.debts.lock();
        let Some(of_show) = debts.by_show.get_mut(broadcast) else { return };
        let (paid, is_last) = (of_show.pop_front().is_some(), of_show.is_empty());
        if is_last {
            debts.by_show.remove(broadcast);
        }
        debts.count -= usize::from(paid);
    }

    /// Nothing of a show is wanted any more. Answers the inits that waited.
    pub(super) fn forgive(&self, broadcast: &BroadcastId) -> Vec<ObjectKey> {
        let mut debts = self.debts.lock();
        let forgiven = debts.by_show.remove(broadcast).unwrap_or_default();
        debts.count -= forgiven.len();
        let init = |debt| if let Debt::Init(key, _) = debt { Some(key) } else { None };
        forgiven.into_iter().filter_map(init).collect()
    }

    pub(super) fn shows(&self) -> Vec<BroadcastId> {
        self.debts.lock().by_show.keys().cloned().collect()
    }

    /// The lines of a show that its journal lacks.
    pub(super) fn lines(&self, broadcast: &BroadcastId) -> Vec<Entry> {
        let debts = self.debts.lock();
        let of_show = debts.by_show.get(broadcast).into_iter().flatten();
        of_show.filter_map(|debt| if let Debt::Line(entry) = debt { Some(entry.clone()) } else { None }).collect()
    }
}
