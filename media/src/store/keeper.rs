//! The one writer: takes closed segments from packagers and brings them to the store, in order.
//!
//! In: objects and journal entries, through a bounded queue. Out: files, and word to the uploader where there is a
//! bucket; what waits can be read meanwhile, what has left the disk is read from the bucket.
//! When the queue or the spool is full, what does not fit is not kept: counted, told at most once a second, and live
//! goes on.

use super::journal::{self, Entry};
use super::recent::Recent;
use super::trouble::{DiskHealth, StoreHealth};
use super::uploader::Uploader;
use super::{DiskStore, LiveRules, ObjectKey, PlaylistWriter, SegmentStore, StorageConfig, StoreError, disk, note};
use crate::metrics;
use crate::model::BroadcastId;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// Cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    jobs: mpsc::Sender<Job>,
    waiting: Waiting,
    store: Arc<dyn SegmentStore>,
    disk: DiskStore,
    uploader: Option<Uploader>,
    recent: Arc<Recent>,
    lost: Arc<Lost>,
    disk_health: DiskHealth,
}

/// Objects that the store failed to keep, until their show has heard of it. When full, the oldest is forgotten.
#[derive(Default)]
struct Lost {
    /// There are some: looked at often, and almost always false.
    any: AtomicBool,
    keys: Mutex<VecDeque<ObjectKey>>,
}

const LOST_MAX: usize = 1_024;

/// What the keeper may hold in memory.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Objects and entries that wait for the disk.
    pub queue: usize,
    /// Bytes of objects that were read lately.
    pub recent_bytes: u64,
}

/// The bucket that objects go on to, and who writes its playlists.
#[derive(Debug)]
pub struct Bucket {
    pub config: StorageConfig,
    pub live: LiveRules,
    pub playlists: Arc<dyn PlaylistWriter>,
}

/// Objects that are not yet in the store; read from here until they are.
type Waiting = Arc<Mutex<HashMap<ObjectKey, Vec<Bytes>>>>;

enum Job {
    Object {
        key: ObjectKey,
        chunks: Vec<Bytes>,
        entry: Option<Entry>,
    },
    Entry {
        broadcast: BroadcastId,
        entry: Entry,
    },
    /// Answered when everything before it is done.
    Settle(oneshot::Sender<()>),
}

/// Failures are told at most this often.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl Keeper {
    /// Objects go to `store`, journals to the folders of `disk`. The worker ends when all clones are gone.
    pub fn start(store: Arc<dyn SegmentStore>, disk: DiskStore, room: Room, tasks: &TaskTracker) -> Self {
        Self::begin(store, disk, room, None, tasks)
    }

    /// The same, with the files of `disk` as the spool of a bucket.
    pub fn start_spooling(disk: DiskStore, bucket: Bucket, room: Room, tasks: &TaskTracker) -> Self {
        let uploader = Uploader::start(bucket.config, bucket.live, disk.clone(), bucket.playlists);
        Self::begin(Arc::new(disk.clone()), disk, room, Some(uploader), tasks)
    }

    fn begin(
        store: Arc<dyn SegmentStore>,
        disk: DiskStore,
        room: Room,
        uploader: Option<Uploader>,
        tasks: &TaskTracker,
    ) -> Self {
        let (jobs, receiver) = mpsc::channel(room.queue);
        let keeper = Self {
            jobs,
            waiting: Waiting::default(),
            store,
            disk,
            uploader,
            recent: Arc::new(Recent::new(room.recent_bytes)),
            lost: Arc::default(),
            disk_health: DiskHealth::default(),
        };
        let worker = Worker {
            store: Arc::clone(&keeper.store),
            disk: keeper.disk.clone(),
            uploader: keeper.uploader.clone(),
            waiting: Arc::clone(&keeper.waiting),
            lost: Arc::clone(&keeper.lost),
            disk_health: keeper.disk_health.clone(),
            untold: 0,
            told: None,
        };
        tasks.spawn(worker.run(receiver));
        keeper
    }

    /// Keeps an object, then writes `entry`. Never waits.
    pub fn keep(&self, key: ObjectKey, chunks: Vec<Bytes>, entry: Option<Entry>) -> Result<(), StoreError> {
        let Ok(permit) = self.jobs.try_reserve() else { return Err(self.full()) };
        self.waiting.lock().insert(key.clone(), chunks.clone());
        permit.send(Job::Object { key, chunks, entry });
        Ok(())
    }

    /// Writes an entry after all that was given before. Never waits.
    pub fn note(&self, broadcast: BroadcastId, entry: Entry) -> Result<(), StoreError> {
        self.jobs.try_send(Job::Entry { broadcast, entry }).map_err(|_| self.full())
    }

    /// Whether anything was taken and could not be kept, of any show.
    pub fn has_lost(&self) -> bool {
        self.lost.any.load(Relaxed)
    }

    /// What was taken of a broadcast and could not be kept, each told once.
    pub fn take_lost(&self, broadcast: &BroadcastId) -> Vec<ObjectKey> {
        let mut keys = self.lost.keys.lock();
        let (taken, others): (VecDeque<_>, VecDeque<_>) = keys.drain(..).partition(|key| key.broadcast == *broadcast);
        *keys = others;
        self.lost.any.store(!keys.is_empty(), Relaxed);
        Vec::from(taken)
    }

    /// Waits until everything given so far is written or has failed.
    pub async fn settle(&self) {
        let (done, settled) = oneshot::channel();
        if self.jobs.send(Job::Settle(done)).await.is_ok() {
            let _ = settled.await;
        }
    }

    /// The object, from the queue, from memory, the store or the bucket.
    pub async fn get(&self, key: &ObjectKey) -> Result<Option<Vec<Bytes>>, StoreError> {
        let waiting = self.waiting.lock().get(key).cloned();
        if waiting.is_some() {
            return Ok(waiting);
        }
        let read = async {
            match (self.store.get(key).await?, &self.uploader) {
                (None, Some(uploader)) => uploader.get(key).await,
                (found, _) => Ok(found),
            }
        };
        Ok(self.recent.get(key, read).await?.map(|bytes| vec![bytes]))
    }

    /// The journal of a broadcast.
    pub async fn journal(&self, broadcast: &BroadcastId) -> Result<Vec<Entry>, StoreError> {
        let folder = self.disk.folder(broadcast);
        disk::blocking(move || journal::read(&folder)).await
    }

    /// The journal of a broadcast that will be written to by this process.
    pub async fn recover(&self, broadcast: &BroadcastId) -> Result<Vec<Entry>, StoreError> {
        let folder = self.disk.folder(broadcast);
        disk::blocking(move || journal::mend(&folder).and_then(|()| journal::read(&folder))).await
    }

    /// What was noted of a broadcast under this name, when it is not longer than `max_bytes`.
    pub(crate) async fn note_of(
        &self,
        broadcast: &BroadcastId,
        name: &'static str,
        max_bytes: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        let folder = self.disk.folder(broadcast);
        disk::blocking(move || note::read(&folder, name, max_bytes)).await
    }

    /// Notes something that can be made again, in place of what was noted under this name.
    pub(crate) async fn keep_note(
        &self,
        broadcast: &BroadcastId,
        name: &'static str,
        bytes: Bytes,
    ) -> Result<(), StoreError> {
        let folder = self.disk.folder(broadcast);
        disk::blocking(move || note::write(&folder, name, &bytes)).await
    }

    pub(crate) async fn drop_note(&self, broadcast: &BroadcastId, name: &'static str) -> Result<(), StoreError> {
        let folder = self.disk.folder(broadcast);
        disk::blocking(move || note::remove(&folder, name)).await
    }

    /// Removes all that is kept of a broadcast.
    pub async fn delete(&self, broadcast: &BroadcastId) -> Result<(), StoreError> {
        self.settle().await;
        let deleted = match &self.uploader {
            Some(uploader) => uploader.delete(broadcast).await,
            None => match self.store.delete(broadcast).await {
                Ok(()) => self.disk.delete(broadcast).await,
                failed => failed,
            },
        };
        self.recent.forget(broadcast);
        deleted
    }

    /// How the disk and the bucket are.
    pub fn health(&self) -> StoreHealth {
        let bucket = self.uploader.as_ref().map(Uploader::health);
        StoreHealth::new(self.disk_health.clone(), bucket.unwrap_or_default())
    }

    /// Waits until everything given so far is written, then ends the uploads; what is missing in the bucket is brought
    /// there by the next run.
    pub async fn stop(&self) {
        self.settle().await;
        if let Some(uploader) = &self.uploader {
            uploader.stop().await;
        }
    }

    fn full(&self) -> StoreError {
        ::metrics::counter!(metrics::STORE_FAILURES).increment(1);
        let full = StoreError::Full { limit: self.jobs.max_capacity() };
        self.disk_health.failed(&full);
        full
    }
}

impl Lost {
    fn add(&self, key: ObjectKey) {
        let mut keys = self.keys.lock();
        if keys.len() >= LOST_MAX {
            keys.pop_front();
        }
        keys.push_back(key);
        self.any.store(true, Relaxed);
    }
}

struct Worker {
    store: Arc<dyn SegmentStore>,
    disk: DiskStore,
    uploader: Option<Uploader>,
    waiting: Waiting,
    lost: Arc<Lost>,
    disk_health: DiskHealth,
    /// Failures since the last that was told.
    untold: u64,
    told: Option<Instant>,
}

impl Worker {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.recv().await {
            match job {
                Job::Object { key, chunks, entry } => self.keep(key, chunks, entry).await,
                Job::Entry { broadcast, entry } => self.note(&broadcast, entry).await,
                // Whoever waited may have gone.
                Job::Settle(done) => drop(done.send(())),
            }
        }
    }

    async fn keep(&mut self, key: ObjectKey, chunks: Vec<Bytes>, entry: Option<Entry>) {
        let kept = self.put(&key, chunks).await;
        let failed = kept.is_err();
        match kept {
            Ok(()) => self.disk_health.kept(),
            Err(error) => {
                self.failed(&error);
                self.lost.add(key.clone());
            }
        }
        if let Some(mut entry) = entry {
            if let Entry::Segment(segment) = &mut entry {
                segment.kept = !failed;
            }
            // Nobody misses a picture that is not there.
            if !(failed && matches!(entry, Entry::Thumbnail(_))) {
                self.note(&key.broadcast, entry).await;
            }
        }
        self.waiting.lock().remove(&key);
    }

    async fn put(&self, key: &ObjectKey, chunks: Vec<Bytes>) -> Result<(), StoreError> {
        let Some(uploader) = &self.uploader else { return self.store.put(key, chunks).await };
        let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        uploader.spool().reserve(bytes).await?;
        self.store.put(key, chunks).await.inspect_err(|_| uploader.spool().release(bytes))
    }

    async fn note(&mut self, broadcast: &BroadcastId, entry: Entry) {
        let (folder, line) = (self.disk.folder(broadcast), entry.clone());
        match disk::blocking(move || journal::append(&folder, &line)).await {
            Ok(()) => {
                if let Some(uploader) = &self.uploader {
                    uploader.tell(broadcast, entry).await;
                }
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &StoreError) {
        ::metrics::counter!(metrics::STORE_FAILURES).increment(1);
        self.disk_health.failed(error);
        self.untold += 1;
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            let error = error as &dyn std::error::Error;
            tracing::error!(error, failures = self.untold, "the store fails; shows go on but are not kept");
            self.told = Some(Instant::now());
            self.untold = 0;
        }
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("disk", &self.disk).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ObjectName, RenditionId};
    use async_trait::async_trait;
    use tokio::sync::Semaphore;

    /// A store that works when it is let.
    struct SlowStore {
        permits: Semaphore,
        disk: DiskStore,
    }

    #[async_trait]
    impl SegmentStore for SlowStore {
        async fn put(&self, key: &ObjectKey, chunks: Vec<Bytes>) -> Result<(), StoreError> {
            self.permits.acquire().await.unwrap().forget();
            self.disk.put(key, chunks).await
        }
        async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, StoreError> {
            self.disk.get(key).await
        }
        async fn list(&self, broadcast: &BroadcastId) -> Result<Vec<ObjectKey>, StoreError> {
            self.disk.list(broadcast).await
        }
        async fn delete(&self, broadcast: &BroadcastId) -> Result<(), StoreError> {
            self.disk.delete(broadcast).await
        }
    }

    fn key(number: u64) -> ObjectKey {
        ObjectKey {
            broadcast: BroadcastId::parse("session_1").unwrap(),
            rendition: RenditionId::parse("v0").unwrap(),
            epoch: 0,
            object: ObjectName::Segment(number),
        }
    }

    #[tokio::test]
    async fn what_waits_for_a_slow_disk_is_readable_and_what_does_not_fit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let disk = DiskStore::new(folder.path());
        let slow = Arc::new(SlowStore { permits: Semaphore::new(0), disk: disk.clone() });
        let tasks = TaskTracker::new();
        let keeper = Keeper::start(
            Arc::clone(&slow) as Arc<dyn SegmentStore>,
            disk.clone(),
            Room { queue: 2, recent_bytes: 1_000 },
            &tasks,
        );
        // One may be in the worker's hands, two in the queue.
        let given =
            (0..8).filter(|number| keeper.keep(key(*number), vec![Bytes::from_static(b"x")], None).is_ok()).count();
        assert!((2..=3).contains(&given), "{given}");
        assert!(keeper.get(&key(0)).await.unwrap().is_some());
        assert!(disk.get(&key(0)).await.unwrap().is_none());
        slow.permits.add_permits(8);
        keeper.settle().await;
        assert!(disk.get(&key(0)).await.unwrap().is_some());
        assert!(keeper.waiting.lock().is_empty());
        keeper.note(key(0).broadcast, Entry::Stopped).unwrap();
        keeper.settle().await;
        assert_eq!(keeper.journal(&key(0).broadcast).await.unwrap(), [Entry::Stopped]);
        keeper.delete(&key(0).broadcast).await.unwrap();
        assert!(keeper.get(&key(0)).await.unwrap().is_none());
    }
}
