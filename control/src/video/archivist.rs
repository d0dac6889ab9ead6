//! The one task that has media settle and delete recordings.
//!
//! In: sessions that owe something, noted after a commit; and, now and then, all that waits in the database. Out: orders to
//! the live plane, whose answers come as facts. Driven by its own task.
//!
//! Notes are for speed, the sweep for truth: what a full queue, a crash or a disk that was away lost is ordered again.

use std::collections::BTreeSet;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::model::VideoState;
use super::service::Videos;
use super::store;
use crate::error::Error;
use crate::id::SessionId;
use crate::ports::ORDER_TIMEOUT;

/// What is still to be ordered. The lock is never held across an await.
#[derive(Default)]
pub(super) struct Slate {
    /// Sessions whose recordings are to be deleted.
    deletions: Mutex<BTreeSet<SessionId>>,
    wake: Notify,
}

/// How often everything that waits is gone through. Nobody waits for it but who lost something.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Orders of one kind in one sweep, fewer than media lets wait.
const SWEEP_MAX: i64 = 64;
/// Notes beyond this are left to the sweep.
const NOTES_MAX: usize = 1024;

impl Slate {
    /// Notes that a recording is to be deleted now.
    pub(super) fn owe(&self, session_id: SessionId) {
        let mut deletions = self.deletions.lock();
        if deletions.len() < NOTES_MAX {
            deletions.insert(session_id);
        }
        drop(deletions);
        self.wake.notify_one();
    }

    fn take(&self) -> BTreeSet<SessionId> {
        std::mem::take(&mut *self.deletions.lock())
    }
}

/// How far the sweep has come: the last id it ordered something about, so that what never answers holds up nobody.
#[derive(Debug, Default)]
pub(super) struct Place {
    processing: String,
    discarding: String,
    deleting: String,
}

impl Videos {
    /// Orders what is owed until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let (mut sweep, mut place) = (interval(SWEEP_EVERY), Place::default());
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let outcome = tokio::select! {
                _ = sweep.tick() => self.sweep(&mut place).await,
                () = self.inner().slate.wake.notified() => self.carry_out().await,
                () = stop.cancelled() => return,
            };
            if let Err(error) = outcome {
                tracing::error!(%error, "recordings cannot be looked up; what they are owed waits");
            }
        }
    }

    async fn carry_out(&self) -> Result<(), Error> {
        for session_id in self.inner().slate.take() {
            self.order_deletion(&session_id).await?;
        }
        Ok(())
    }

    /// One round: expires what is too old, then orders again what has had no answer.
    pub(super) async fn sweep(&self, place: &mut Place) -> Result<(), Error> {
        self.expire().await?;
        for id in self.waiting(VideoState::Deleting, &mut place.deleting).await? {
            self.order_deletion(&id).await?;
        }
        for (state, after) in
            [(VideoState::Processing, &mut place.processing), (VideoState::Discarding, &mut place.discarding)]
        {
            for id in self.waiting(state, after).await? {
                let order = self.inner().plane.settle_recording(&id);
                if timeout(ORDER_TIMEOUT, order).await.is_err() {
                    tracing::warn!(session.id = %id, "the live plane did not take the order to settle a recording in time");
                }
            }
        }
        Ok(())
    }

    async fn waiting(&self, state: VideoState, after: &mut String) -> Result<Vec<SessionId>, Error> {
        let videos = store::in_state(&mut self.inner().db.reader().await?, state, after, SWEEP_MAX).await?;
        // From the beginning again once the end is reached.
        *after = videos
            .last()
            .filter(|_| videos.len() as i64 == SWEEP_MAX)
            .map(|last| last.id.to_string())
            .unwrap_or_default();
        Ok(videos.into_iter().map(|video| video.session_id).collect())
    }

    async fn expire(&self) -> Result<(), Error> {
        let inner = self.inner();
        let Some(age) = inner.config.keep_for() else { return Ok(()) };
        let now = inner.clock.now();
        let mut tx = inner.db.begin().await?;
        let expired = store::expire(&mut tx, now.minus(age), now, SWEEP_MAX).await?;
        tx.commit().await?;
        if expired > 0 {
            tracing::info!(videos = expired, "videos are older than recording.keep_days and go");
        }
        Ok(())
    }
}
