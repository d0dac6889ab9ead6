//! What goes wrong around a store: our surroundings, never the viewer.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {action} {}", path.display())]
    Disk { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{key} is not on the disk any more and was not uploaded: it is lost")]
    Vanished { key: String },
    #[error("cannot {action} {key} in the bucket: {detail}")]
    Bucket { action: &'static str, key: String, fault: BucketFault, detail: String },
    #[error("the store's queue is full, {limit} objects wait")]
    Full { limit: usize },
    #[error("the spool is full: {limit_bytes} bytes wait for the bucket (storage.spool_max_bytes)")]
    SpoolFull { limit_bytes: u64 },
    #[error("it is being deleted already")]
    Going,
    #[error("the store is closed")]
    Closed,
}

/// Why a bucket did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketFault {
    TimedOut,
    Unreachable,
    /// It answered that it cannot now: 429, 500, 503.
    Busy,
    /// The keys are wrong or may not do this: 401, 403.
    Denied,
    /// Any other answer.
    Refused,
}

impl StoreError {
    pub(super) fn disk(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Disk { action, path, source }
    }

    /// Room must be made on the disk.
    pub(super) fn is_full_disk(&self) -> bool {
        let full = |error: &io::Error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        matches!(self, Self::Disk { source, .. } if full(source))
    }

    /// A label for counters.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Bucket { fault, .. } => match fault {
                BucketFault::TimedOut => "timed_out",
                BucketFault::Unreachable => "unreachable",
                BucketFault::Busy => "busy",
                BucketFault::Denied => "denied",
                BucketFault::Refused => "refused",
            },
            Self::Disk { .. }
            | Self::Vanished { .. }
            | Self::Full { .. }
            | Self::SpoolFull { .. }
            | Self::Going
            | Self::Closed => "other",
        }
    }
}
