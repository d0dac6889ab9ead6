//! What operators should know of the store: that the disk does not take what it is given or give back what it took, and how
//! the bucket is.
//!
//! In: what the keeper kept and failed to keep, what uploads could not read. Out: a counter, a line of log a minute while
//! that is bad and one when it is over, and a sentence as long as it is; none when all is well.

use super::{StorageHealth, StoreError};
use crate::metrics;
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
    /// The last failure, unless it is long ago and all was well since.
    last: Option<Failure>,
    /// When a failure was logged last.
    told: Option<Instant>,
    /// Failures since then.
    untold: u64,
}

#[derive(Debug)]
struct Failure {
    said: String,
    at: Instant,
    /// Since all was well.
    count: u64,
    /// Something went well after it.
    is_over: bool,
}

/// A disk that is full takes small files in between: for so long after a failure it is not taken to be well.
const DOUBTED: Duration = Duration::from_secs(30);
/// Failures are logged at most this often.
const TELL_EVERY: Duration = Duration::from_secs(60);

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
    /// Something that was given could not be kept, or not be read again.
    pub(super) fn failed(&self, error: &StoreError) {
        ::metrics::counter!(metrics::STORE_FAILURES).increment(1);
        let mut state = self.0.lock();
        let count = state.forget_old().map_or(0, |last| last.count) + 1;
        state.last = Some(Failure { said: with_causes(error), at: Instant::now(), count, is_over: false });
        state.untold += 1;
        if let Some(failures) = state.take_untold() {
            let error = error as &dyn Error;
            tracing::error!(error, failures, "the disk fails; shows go on, what it does not take of them is not kept");
        }
    }

    /// Something that was given is kept, or was read again.
    pub(super) fn works(&self) {
        let mut state = self.0.lock();
        if let Some(last) = &mut state.last {
            last.is_over = true;
            state.forget_old();
        }
    }

    fn trouble(&self) -> Option<String> {
        let mut state = self.0.lock();
        let Failure { said, count, .. } = state.forget_old()?;
        Some(format!("the disk fails the shows: {count} failures; the last: {said}"))
    }
}

impl State {
    /// The last failure that still counts.
    fn forget_old(&mut self) -> Option<&Failure> {
        if let Some(last) = self.last.take_if(|last| last.is_over && last.at.elapsed() >= DOUBTED) {
            tracing::info!(failures = last.count, "the disk takes everything again");
        }
        self.last.as_ref()
    }

    /// How many failures the line speaks of that is due now.
    fn take_untold(&mut self) -> Option<u64> {
        let is_due = self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        is_due.then(|| {
            self.told = Some(Instant::now());
            std::mem::take(&mut self.untold)
        })
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
        disk.works();
        assert_eq!(health.trouble(), None);
        disk.failed(&full());
        disk.works();
        disk.failed(&full());
        let expected = "the disk fails the shows: 2 failures; the last: cannot write /data/hls/a: no storage space";
        assert_eq!(health.trouble().as_deref(), Some(expected));
        tokio::time::advance(DOUBTED * 4).await;
        assert!(health.trouble().is_some(), "nothing was kept since");
        disk.works();
        assert_eq!(health.trouble(), None);

        disk.failed(&full());
        disk.works();
        tokio::time::advance(DOUBTED - Duration::from_secs(1)).await;
        assert!(health.trouble().is_some_and(|trouble| trouble.contains(": 1 failures")), "it may refuse the next");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(health.trouble(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_goes_on_failing_costs_a_line_a_minute() {
        let (disk, mut lines) = (DiskHealth::default(), Vec::new());
        for second in 0..=120 {
            disk.failed(&full());
            if disk.0.lock().untold == 0 {
                lines.push(second);
            }
            disk.works();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(lines, [0, 60, 120], "small files in between change nothing");
    }
}
