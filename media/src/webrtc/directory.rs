//! Which worker holds which peer: read by HTTP requests, written when a peer comes or goes.

use super::inbox::Inbox;
use crate::model::BroadcastId;
use crate::signalling::ResourceId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Debug, Clone, Default)]
pub(crate) struct Directory {
    entries: Arc<Mutex<HashMap<ResourceId, Entry>>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) worker: Inbox,
    pub(crate) worker_index: u8,
    /// Our ufrag, which is the tag of the ICE session: that of the answer, or of the latest restart.
    pub(crate) tag: String,
    /// Ufrag and password that the client's offer, or its latest restart, named.
    pub(crate) remote_ufrag: String,
    /// The m-line that candidates stand under.
    pub(crate) mid: String,
    /// What a publisher publishes.
    pub(crate) publishes: Option<BroadcastId>,
}

/// A place for a peer that is to come, given back when dropped unless it came.
#[derive(Debug)]
pub(crate) struct Reservation {
    directory: Directory,
    resource: ResourceId,
    has_come: bool,
}

impl Reservation {
    pub(crate) fn resource(&self) -> &ResourceId {
        &self.resource
    }

    /// Its worker has the peer: from here on the worker takes it out.
    pub(crate) fn keep(mut self) -> ResourceId {
        self.has_come = true;
        self.resource.clone()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.has_come {
            self.directory.remove(&self.resource);
        }
    }
}

impl Directory {
    /// `None`: there are `max` already. Who takes over from a publisher has its place: for a moment both are there.
    pub(crate) fn reserve(&self, entry: Entry, max: usize) -> Option<Reservation> {
        let mut entries = self.entries.lock();
        if entries.len() >= max {
            let same = |other: &&Entry| entry.publishes.is_some() && other.publishes == entry.publishes;
            if entries.values().filter(same).count() != 1 {
                return None;
            }
        }
        let resource = ResourceId::generate();
        entries.insert(resource.clone(), entry);
        Some(Reservation { directory: self.clone(), resource, has_come: false })
    }

    pub(crate) fn get(&self, resource: &ResourceId) -> Option<Entry> {
        self.entries.lock().get(resource).cloned()
    }

    /// Another ICE session takes the place of `before`. `false`: that is not the present one (any more).
    pub(crate) fn restarted(&self, resource: &ResourceId, before: &str, tag: String, remote_ufrag: String) -> bool {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(resource).filter(|entry| entry.tag == before) else { return false };
        (entry.tag, entry.remote_ufrag) = (tag, remote_ufrag);
        true
    }

    pub(crate) fn remove(&self, resource: &ResourceId) {
        self.entries.lock().remove(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webrtc::inbox;

    #[test]
    fn of_two_restarts_at_once_the_first_counts() {
        let directory = Directory::default();
        let (worker, _receiver) = inbox::channel().unwrap();
        let (tag, remote_ufrag, mid) = ("one".to_owned(), "them".to_owned(), "0".to_owned());
        let entry = Entry { worker, worker_index: 0, tag, remote_ufrag, mid, publishes: None };
        let peer = directory.reserve(entry, 1).unwrap();
        let restarted = |before, tag: &str| directory.restarted(peer.resource(), before, tag.into(), tag.into());
        assert!(restarted("one", "two"));
        assert!(!restarted("one", "three"), "it was asked for before the first was done");
        let entry = directory.get(peer.resource()).unwrap();
        assert_eq!((entry.tag.as_str(), entry.remote_ufrag.as_str()), ("two", "two"));
        assert!(restarted("two", "three"));
    }
}
