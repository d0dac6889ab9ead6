//! How the way to the bucket is: counters, one line of log a second at most, and a sentence for operators.

use super::super::StoreError;
use crate::metrics;
use crate::model::BroadcastId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Shared by all shipments of this node.
#[derive(Debug, Default)]
pub(super) struct Health {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By show; none without a backlog.
    waiting: HashMap<BroadcastId, (usize, Duration)>,
    /// Failures since the bucket last took something.
    failures: u64,
    last_failure: Option<String>,
    untold: u64,
    told: Option<Instant>,
}

/// Failures are told at most this often.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl Health {
    pub(super) fn uploaded(&self, took: Duration) {
        ::metrics::counter!(metrics::STORE_UPLOADS).increment(1);
        ::metrics::histogram!(metrics::STORE_UPLOAD_SECONDS).record(took.as_secs_f64());
        self.is_well();
    }

    /// The bucket took something.
    pub(super) fn is_well(&self) {
        let mut state = self.state.lock();
        if state.failures > 0 {
            tracing::info!(failures = state.failures, "the bucket takes segments again");
            state.failures = 0;
            state.last_failure = None;
        }
    }

    pub(super) fn failed(&self, error: &StoreError) {
        ::metrics::counter!(metrics::STORE_UPLOAD_FAILURES, "reason" => error.reason()).increment(1);
        let mut state = self.state.lock();
        state.failures += 1;
        state.untold += 1;
        state.last_failure = Some(error.to_string());
        if state.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            let (segments, _) = state.backlog();
            let (failures, error) = (state.untold, error as &dyn std::error::Error);
            tracing::warn!(error, failures, segments, "uploads fail; shows go on, their segments wait on the disk");
            state.told = Some(Instant::now());
            state.untold = 0;
        }
    }

    /// What of a show waits now.
    pub(super) fn set_waiting(&self, broadcast: &BroadcastId, segments: usize, length: Duration) {
        let mut state = self.state.lock();
        if segments == 0 {
            state.waiting.remove(broadcast);
        } else {
            state.waiting.insert(broadcast.clone(), (segments, length));
        }
        let (segments, length) = state.backlog();
        ::metrics::gauge!(metrics::STORE_BACKLOG_SEGMENTS).set(segments as f64);
        ::metrics::gauge!(metrics::STORE_BACKLOG_SECONDS).set(length.as_secs_f64());
    }

    /// `None`: all is well.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.state.lock();
        let last = state.last_failure.as_ref()?;
        let (segments, length) = state.backlog();
        Some(format!(
            "the bucket takes nothing: {segments} segments ({} s) wait on the disk after {} failures; the last: {last}",
            length.as_secs(),
            state.failures
        ))
    }
}

impl State {
    /// All segments that wait, and the longest backlog of a show.
    fn backlog(&self) -> (usize, Duration) {
        let segments = self.waiting.values().map(|(segments, _)| segments).sum();
        (segments, self.waiting.values().map(|(_, length)| *length).max().unwrap_or_default())
    }
}
