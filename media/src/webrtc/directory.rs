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
    /// `None`: there are `max` already.
    pub(crate) fn reserve(&self, entry: Entry, max: usize) -> Option<Reservation> {
        let mut entries = self.entries.lock();
        if entries.len() >= max {
            return None;
        }
        let resource = ResourceId::generate();
        entries.insert(resource.clone(), entry);
        Some(Reservation { directory: self.clone(), resource, has_come: false })
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
