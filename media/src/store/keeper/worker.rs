//! What the keeper's queue is emptied by: one object or line at a time, in order.
//!
//! In: jobs. Out: files, and word to the uploader of each line that is written. What the disk refuses of lines and inits
//! is tried again before the next line of its show, and now and then.

use super::super::journal::{self, Entry};
use super::super::owed::{Debt, LINES_MAX, Owed};
use super::super::trouble::DiskHealth;
use super::super::uploader::Uploader;
use super::super::{DiskStore, ObjectKey, ObjectName, SegmentStore, StoreError, disk};
use super::{Job, Lost, Waiting};
use crate::model::BroadcastId;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A disk that refused is asked again this often when nothing else is written.
const ASK_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Worker {
    pub(super) store: Arc<dyn SegmentStore>,
    pub(super) disk: DiskStore,
    pub(super) uploader: Option<Uploader>,
    pub(super) waiting: Waiting,
    pub(super) owed: Arc<Owed>,
    pub(super) lost: Arc<Lost>,
    pub(super) disk_health: DiskHealth,
}

impl Worker {
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut ask_again = Instant::now();
        loop {
            let job = tokio::select! {
                job = jobs.recv() => job,
                () = tokio::time::sleep_until(ask_again), if !self.owed.is_empty() => {
                    self.pay_all().await;
                    ask_again = Instant::now() + ASK_AGAIN;
                    continue;
                }
            };
            match job {
                Some(Job::Object { key, chunks, entry, place }) => {
                    self.keep(key, chunks, entry).await;
                    drop(place);
                }
                Some(Job::Entry { broadcast, entry }) => self.note(&broadcast, entry).await,
                Some(Job::Settle(done)) => {
                    self.pay_all().await;
                    // Whoever waited may have gone.
                    let _ = done.send(());
                }
                Some(Job::Forget(broadcast, done)) => {
                    let inits = self.owed.forgive(&broadcast);
                    self.waiting.lock().retain(|key, _| !inits.contains(key));
                    let _ = done.send(());
                }
                None => return self.pay_all().await,
            }
        }
    }

    async fn keep(&mut self, key: ObjectKey, chunks: Vec<Bytes>, entry: Option<Entry>) {
        let kept = self.put(&key, &chunks).await;
        match &kept {
            Ok(()) => self.disk_health.works(),
            Err(error) => self.disk_health.failed(error),
        }
        if kept.is_err() && key.object == ObjectName::Init {
            // It stays readable among what waits.
            if self.owed.add(&key.broadcast, Debt::Init(key.clone(), chunks)) {
                return;
            }
        }
        let entry = if kept.is_ok() { entry } else { entry.and_then(Entry::without_object) };
        if kept.is_err() {
            self.lost.add(key.clone());
        }
        if let Some(entry) = entry {
            self.note(&key.broadcast, entry).await;
        }
        self.waiting.lock().remove(&key);
    }

    async fn put(&self, key: &ObjectKey, chunks: &[Bytes]) -> Result<(), StoreError> {
        let Some(uploader) = &self.uploader else { return self.store.put(key, chunks.to_vec()).await };
        let (spool, bytes) = (uploader.spool(), chunks.iter().map(|chunk| chunk.len() as u64).sum());
        spool.reserve(key, bytes).await?;
        let mut kept = self.store.put(key, chunks.to_vec()).await;
        // The disk may be smaller than the spool was to be.
        while kept.as_ref().is_err_and(StoreError::is_full_disk) && spool.spare(bytes).await.unwrap_or(false) {
            kept = self.store.put(key, chunks.to_vec()).await;
        }
        kept.inspect_err(|_| spool.release(bytes))
    }

    /// Writes a line after those that the show is owed.
    async fn note(&mut self, broadcast: &BroadcastId, entry: Entry) {
        let written = match self.pay(broadcast).await {
            Ok(()) => self.append(broadcast, entry.clone()).await,
            refused => refused,
        };
        if let Err(error) = written {
            self.disk_health.failed(&error);
            if !self.owed.add(broadcast, Debt::Line(entry)) {
                self.disk_health.failed(&StoreError::Full { limit: LINES_MAX });
            }
        }
    }

    async fn append(&self, broadcast: &BroadcastId, entry: Entry) -> Result<(), StoreError> {
        let (folder, line) = (self.disk.folder(broadcast), entry.clone());
        disk::blocking(move || journal::append(&folder, &line)).await?;
        if let Some(uploader) = &self.uploader {
            uploader.tell(broadcast, entry).await;
        }
        Ok(())
    }

    /// Writes what a show is owed, as far as the disk takes it.
    async fn pay(&self, broadcast: &BroadcastId) -> Result<(), StoreError> {
        while let Some(debt) = self.owed.first(broadcast) {
            match debt {
                Debt::Init(key, chunks) => {
                    self.put(&key, &chunks).await?;
                    self.waiting.lock().remove(&key);
                }
                Debt::Line(entry) => self.append(broadcast, entry).await?,
            }
            self.owed.pay(broadcast);
        }
        Ok(())
    }

    async fn pay_all(&mut self) {
        for broadcast in self.owed.shows() {
            if let Err(error) = self.pay(&broadcast).await {
                self.disk_health.failed(&error);
            }
        }
    }
}
