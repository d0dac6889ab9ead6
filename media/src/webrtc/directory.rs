//! Which worker holds which peer: read by HTTP requests, written when a peer comes or goes.

use super::inbox::Inbox;
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
    /// Ufrag and password that the client's offer, or its latest restart, named.
    pub(crate) remote_ufrag: String,
    /// The m-line that candidates stand under.
    pub(crate) mid: String,
}

impl Directory {
    /// `false`: there are `max` already.
    pub(crate) fn insert(&self, resource: ResourceId, entry: Entry, max: usize) -> bool {
        let mut entries = self.entries.lock();
        if entries.len() >= max {
            return false;
        }
        entries.insert(resource, entry);
        true
    }

    pub(crate) fn get(&self, resource: &ResourceId) -> Option<Entry> {
        self.entries.lock().get(resource).cloned()
    }

    pub(crate) fn restarted(&self, resource: &ResourceId, remote_ufrag: String) {
        if let Some(entry) = self.entries.lock().get_mut(resource) {
            entry.remote_ufrag = remote_ufrag;
        }
    }

    pub(crate) fn remove(&self, resource: &ResourceId) {
        self.entries.lock().remove(resource);
    }
}
