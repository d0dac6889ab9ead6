//! Which resources there are, and who may touch them.

use super::desk::Direction;
use crate::seam::Secret;
use parking_lot::Mutex;
use rand::RngCore;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Names one connection in its address. Nobody can guess it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct ResourceId(String);

/// The table of resources. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doorkeeper {
    entries: Arc<Mutex<HashMap<ResourceId, Entry>>>,
}

#[derive(Debug)]
struct Entry {
    direction: Direction,
    /// Of the bearer token that opened it. `None`: a public show, opened without.
    secret: Option<[u8; 32]>,
    etag: String,
}

/// What a request about a resource finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Resource { etag: String },
    Nothing,
    NotYours,
}

impl ResourceId {
    /// 160 random bits.
    pub(crate) fn generate() -> Self {
        let mut bytes = [0_u8; 20];
        rand::rng().fill_bytes(&mut bytes);
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub(super) fn from_path(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It opens doors: only its beginning is shown.
        write!(f, "{}…", self.0.get(..6).unwrap_or_default())
    }
}

fn digest(secret: &Secret) -> [u8; 32] {
    Sha256::digest(secret.expose().as_bytes()).into()
}

impl Doorkeeper {
    pub(super) fn enter(&self, resource: ResourceId, direction: Direction, secret: Option<&Secret>, etag: String) {
        self.entries.lock().insert(resource, Entry { direction, secret: secret.map(digest), etag });
    }

    /// Looks a resource up for a bearer. Digests are compared, so the time tells nothing of the token.
    pub(super) fn find(&self, resource: &ResourceId, direction: Direction, bearer: Option<&Secret>) -> Found {
        let entries = self.entries.lock();
        let Some(entry) = entries.get(resource).filter(|entry| entry.direction == direction) else {
            return Found::Nothing;
        };
        match (entry.secret, bearer) {
            (None, _) => {}
            (Some(secret), Some(bearer)) if digest(bearer) == secret => {}
            (Some(_), _) => return Found::NotYours,
        }
        Found::Resource { etag: entry.etag.clone() }
    }

    pub(super) fn restarted(&self, resource: &ResourceId, etag: &str) {
        if let Some(entry) = self.entries.lock().get_mut(resource) {
            etag.clone_into(&mut entry.etag);
        }
    }

    /// The connection is gone.
    pub(crate) fn forget(&self, resource: &ResourceId) {
        self.entries.lock().remove(resource);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.lock().len()
    }
}
