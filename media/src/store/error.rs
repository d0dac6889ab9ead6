//! What goes wrong around a store: our surroundings, never the viewer.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {action} {}", path.display())]
    Disk { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the store's queue is full, {limit} objects wait")]
    Full { limit: usize },
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    pub(super) fn disk(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Disk { action, path, source }
    }
}
