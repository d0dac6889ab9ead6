//! Admission as a test wants it.

use crate::seam::{Admission, PublishGrant, PublishRequest, Refusal, WatchGrant, WatchRequest};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Answers every viewer the same, and counts.
pub(crate) struct Door {
    pub(super) asked: AtomicUsize,
    pub(super) answer: Mutex<Result<WatchGrant, Refusal>>,
}

impl Door {
    pub(crate) fn new(answer: Result<WatchGrant, Refusal>) -> Self {
        Self { asked: AtomicUsize::new(0), answer: Mutex::new(answer) }
    }
}

#[async_trait]
impl Admission for Door {
    async fn admit_publisher(&self, _: PublishRequest) -> Result<PublishGrant, Refusal> {
        Err(Refusal::Forbidden)
    }
    async fn admit_viewer(&self, _: WatchRequest) -> Result<WatchGrant, Refusal> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.answer.lock().clone()
    }
}
