//! What operators should know of the store: that the disk does not take what it is given, and how the bucket is.
//!
//! In: what the keeper kept and failed to keep. Out: a sentence while that is bad, none when all is well.

use super::{StorageHealth, StoreError};
use parking_lot::Mutex;
use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Whether what shows give to be kept is kept, for whoever asks. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct StoreHealth {
    disk: DiskHealth,
    bucket: StorageHealth,
}

/// How the disk is. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct DiskHealth(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The last failure, unless it is long ago and something was kept since.
    last: Option<Failure>,
}

#[derive(Debug)]
struct Failure {
    said: String,
    at: Instant,
    /// Since all was well.
    count: u64,
    /// Something was kept after it.
    is_over: bool,
}

/// A disk that is full takes small files in between: for so long after a failure it is not taken to be well.
const DOUBTED: Duration = Duration::from_secs(30);

impl StoreHealth {
    pub(super) fn new(disk: DiskHealth, bucket: StorageHealth) -> Self {
        Self { disk, bucket }
    }

    /// What is wrong; `None` when all is well.
    pub fn trouble(&self) -> Option<String> {
        match (self.disk.trouble(), self.bucket.trouble()) {
            (Some(disk), Some(bucket)) => Some(format!("{disk}; {bucket}")),
            (disk, bucket) => disk.or(bucket),
        }
    }
}

impl DiskHealth {
    /// Something that was given could not be kept.
    pub(super) fn failed(&self, error: &StoreError) {
        let mut state = self.0.lock();
        let count = state.forget_old().map_or(0, |last| last.count) + 1;
        state.last = Some(Failure { said: with_causes(error), at: Instant::now(), count, is_over: false });
    }

    /// Something that was given is kept.
    pub(super) fn kept(&self) {
        if let Some(last) = &mut self.0.lock().last {
            last.is_over = true;
        }
    }

    fn trouble(&self) -> Option<String> {
        let mut state = self.0.lock();
        let Failure { said, count, .. } = state.forget_old()?;
        Some(format!("the disk does not take all of the shows: {count} failures; the last: {said}"))
    }
}

impl State {
    /// The last failure that still counts.
    fn forget_old(&mut self) -> Option<&Failure> {
        if self.last.as_ref().is_some_and(|last| last.is_over && last.at.elapsed() >= DOUBTED) {
            self.last = None;
        }
        self.last.as_ref()
    }
}

/// An error of the disk says why in its source.
fn with_causes(error: &StoreError) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(said, ": {error}");
        cause = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn full() -> StoreError {
        StoreError::disk("write", "/data/hls/a")(io::Error::from(io::ErrorKind::StorageFull))
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_refuses_is_told_until_it_has_taken_everything_for_a_while() {
        let disk = DiskHealth::default();
        let health = StoreHealth::new(disk.clone(), StorageHealth::default());
        disk.kept();
        assert_eq!(health.trouble(), None);
        disk.failed(&full());
        disk.kept();
        disk.failed(&full());
        let expected = "the disk does not take all of the shows: 2 failures; the last: cannot write /data/hls/a: no \
                        storage space";
        assert_eq!(health.trouble().as_deref(), Some(expected));
        tokio::time::advance(DOUBTED * 4).await;
        assert!(health.trouble().is_some(), "nothing was kept since");
        disk.kept();
        assert_eq!(health.trouble(), None);

        disk.failed(&full());
        disk.kept();
        tokio::time::advance(DOUBTED - Duration::from_secs(1)).await;
        assert!(health.trouble().is_some_and(|trouble| trouble.contains(": 1 failures")), "it may refuse the next");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(health.trouble(), None);
    }
}
