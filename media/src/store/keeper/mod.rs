//! The one writer: takes closed segments from packagers and brings them to the store, in order.
//!
//! In: objects and journal entries, through a bounded queue. Out: files, and word to the uploader where there is a
//! bucket; what waits can be read meanwhile, what has left the disk is read from the bucket.
//! When the queue, the spool or the disk is full, what does not fit is not kept: counted, told once a minute, and
//! live goes on. Lines and inits are small and wait for the disk in memory: a show loses segments, never the rest of it.

mod worker;

#[cfg(test)]
mod tests;

use self::worker::Worker;
use super::journal::{self, Entry};
use super::owed::{LINES_MAX, Owed};
use super::recent::Recent;
use super::trouble::{DiskHealth, StoreHealth};
use super::uploader::Uploader;
use super::{
    DiskStore, LiveRules, ObjectKey, ObjectName, PlaylistWriter, SegmentStore, StorageConfig, StoreError, disk, note,
};
use crate::model::BroadcastId;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// Cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    jobs: mpsc::Sender<Job>,
    /// One per object that may wait for the disk.
    places: Arc<Semaphore>,
    queue: usize,
    waiting: Waiting,
    owed: Arc<Owed>,
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
    /// Objects that wait for the disk.
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
        /// An init has none.
        place: Option<OwnedSemaphorePermit>,
    },
    Entry {
        broadcast: BroadcastId,
        entry: Entry,
    },
    /// Answered when everything before it is done.
    Settle(oneshot::Sender<()>),
    /// Nothing of it is written any more. Answered when that is so.
    Forget(BroadcastId, oneshot::Sender<()>),
}

impl Keeper {
    /// Objects go to `store`, journals to the folders of `disk`. The worker ends when all clones are gone.
    pub fn start(store: Arc<dyn SegmentStore>, disk: DiskStore, room: Room, tasks: &TaskTracker) -> Self {
        Self::begin(store, (disk, DiskHealth::default()), room, None, tasks)
    }

    /// The same, with the files of `disk` as the spool of a bucket.
    pub fn start_spooling(disk: DiskStore, bucket: Bucket, room: Room, tasks: &TaskTracker) -> Self {
        let disk_health = DiskHealth::default();
        let uploader = Uploader::start(bucket, disk.clone(), disk_health.clone());
        Self::begin(Arc::new(disk.clone()), (disk, disk_health), room, Some(uploader), tasks)
    }

    fn begin(
        store: Arc<dyn SegmentStore>,
        (disk, disk_health): (DiskStore, DiskHealth),
        room: Room,
        uploader: Option<Uploader>,
        tasks: &TaskTracker,
    ) -> Self {
        let (jobs, receiver) = mpsc::channel(room.queue + LINES_MAX);
        let keeper = Self {
            jobs,
            places: Arc::new(Semaphore::new(room.queue)),
            queue: room.queue,
            waiting: Waiting::default(),
            owed: Arc::default(),
            store,
            disk,
            uploader,
            recent: Arc::new(Recent::new(room.recent_bytes)),
            lost: Arc::default(),
            disk_health,
        };
        let worker = Worker {
            store: Arc::clone(&keeper.store),
            disk: keeper.disk.clone(),
            uploader: keeper.uploader.clone(),
            waiting: Arc::clone(&keeper.waiting),
            owed: Arc::clone(&keeper.owed),
            lost: Arc::clone(&keeper.lost),
            disk_health: keeper.disk_health.clone(),
        };
        tasks.spawn(worker.run(receiver));
        keeper
    }

    /// Keeps an object, then writes `entry`. Never waits. When there is no room for the object, its line says so.
    pub fn keep(&self, key: ObjectKey, chunks: Vec<Bytes>, entry: Option<Entry>) -> Result<(), StoreError> {
        let place = if key.object == ObjectName::Init {
            None
        } else if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            Some(place)
        } else {
            if let Some(entry) = entry.and_then(Entry::without_object) {
                self.note(key.broadcast, entry)?;
            }
            return Err(self.full());
        };
        let Ok(permit) = self.jobs.try_reserve() else { return Err(self.full()) };
        self.waiting.lock().insert(key.clone(), chunks.clone());
        permit.send(Job::Object { key, chunks, entry, place });
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
        self.answered(Job::Settle).await;
    }

    async fn answered(&self, job: impl FnOnce(oneshot::Sender<()>) -> Job) {
        let (done, is_done) = oneshot::channel();
        // The worker ends after everybody who could ask.
        if self.jobs.send(job(done)).await.is_ok() {
            let _ = is_done.await;
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

    /// The journal of a broadcast, with what is still to be written of it. A line that is written meanwhile is there twice;
    /// whoever reads a journal takes the first.
    pub async fn journal(&self, broadcast: &BroadcastId) -> Result<Vec<Entry>, StoreError> {
        let (folder, owed) = (self.disk.folder(broadcast), self.owed.lines(broadcast));
        let mut entries = disk::blocking(move || journal::read(&folder)).await?;
        entries.extend(owed);
        Ok(entries)
    }

    /// The journal of a broadcast that is not live: where the disk has nothing of the show, that of the bucket.
    pub async fn archived(&self, broadcast: &BroadcastId) -> Result<Vec<Entry>, StoreError> {
        let entries = self.journal(broadcast).await?;
        match &self.uploader {
            Some(uploader) if !journal::is_of_a_show(&entries) => {
                let mut archived = uploader.journal(broadcast).await?;
                archived.extend(entries.into_iter().filter(|entry| matches!(entry, Entry::Part { .. })));
                Ok(archived)
            }
            _ => Ok(entries),
        }
    }

    /// The journal of a broadcast, for whoever goes on with it: where the disk has lost it, that of the bucket goes back to the disk.
    pub(crate) async fn recover(&self, broadcast: &BroadcastId) -> Result<Vec<Entry>, StoreError> {
        let entries = self.journal(broadcast).await?;
        match &self.uploader {
            Some(uploader) if !journal::is_of_a_show(&entries) => {
                if uploader.recover(broadcast).await? {
                    self.journal(broadcast).await
                } else {
                    Ok(entries)
                }
            }
            _ => Ok(entries),
        }
    }

    /// It could not be asked in time whether the bucket has something of a broadcast: its deletion will look.
    pub(crate) async fn suspect(&self, broadcast: &BroadcastId) -> Result<(), StoreError> {
        match &self.uploader {
            Some(uploader) => uploader.suspect(broadcast).await,
            None => Ok(()),
        }
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
        self.answered(|done| Job::Forget(broadcast.clone(), done)).await;
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
        let full = StoreError::Full { limit: self.queue };
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

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("disk", &self.disk).finish_non_exhaustive()
    }
}
