//! The one writer: takes closed segments from packagers and brings them to the store, in order.
//!
//! In: objects and journal entries, through a bounded queue. Out: files, and word to the uploader where there is a
//! bucket; what waits can be read meanwhile, what has left the disk is read from the bucket.
//! When the queue, the spool or the disk is full, what does not fit is not kept: counted, told at most once a second, and
//! live goes on. Lines and inits are small and wait for the disk in memory: a show loses segments, never the rest of it.

use super::journal::{self, Entry};
use super::owed::{Debt, LINES_MAX, Owed};
use super::recent::Recent;
use super::uploader::Uploader;
use super::{
    DiskStore, LiveRules, ObjectKey, ObjectName, PlaylistWriter, SegmentStore, StorageConfig, StorageHealth,
    StoreError, disk, note,
};
use crate::metrics;
use crate::model::BroadcastId;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
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

/// Failures are told at most this often.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// A disk that refused is asked again this often when nothing else is written.
const ASK_AGAIN: Duration = Duration::from_secs(1);

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
        };
        let worker = Worker {
            store: Arc::clone(&keeper.store),
            disk: keeper.disk.clone(),
            uploader: keeper.uploader.clone(),
            waiting: Arc::clone(&keeper.waiting),
            owed: Arc::clone(&keeper.owed),
            lost: Arc::clone(&keeper.lost),
            untold: 0,
            told: None,
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

    /// The journal of a broadcast, with what is still to be written of it. A line that is written meanwhile is there twice;
    /// whoever reads a journal takes the first.
    pub async fn journal(&self, broadcast: &BroadcastId) -> Result<Vec<Entry>, StoreError> {
        let (folder, owed) = (self.disk.folder(broadcast), self.owed.lines(broadcast));
        let mut entries = disk::blocking(move || journal::read(&folder)).await?;
        entries.extend(owed);
        Ok(entries)
    }

    /// The journal of a broadcast that is not live: where the disk has none of it, that of the bucket.
    pub async fn archived(&self, broadcast: &BroadcastId) -> Result<Vec<Entry>, StoreError> {
        let entries = self.journal(broadcast).await?;
        match &self.uploader {
            Some(uploader) if entries.is_empty() => uploader.journal(broadcast).await,
            _ => Ok(entries),
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
        let (done, forgotten) = oneshot::channel();
        if self.jobs.send(Job::Forget(broadcast.clone(), done)).await.is_ok() {
            let _ = forgotten.await;
        }
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

    /// How the bucket is.
    pub fn health(&self) -> StorageHealth {
        self.uploader.as_ref().map_or_else(StorageHealth::default, Uploader::health)
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
        StoreError::Full { limit: self.queue }
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
    owed: Arc<Owed>,
    lost: Arc<Lost>,
    /// Failures since the last that was told.
    untold: u64,
    told: Option<Instant>,
}

impl Worker {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
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
        if let Err(error) = &kept {
            self.failed(error);
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
            self.failed(&error);
            if !self.owed.add(broadcast, Debt::Line(entry)) {
                self.failed(&StoreError::Full { limit: LINES_MAX });
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
                self.failed(&error);
            }
        }
    }

    fn failed(&mut self, error: &StoreError) {
        ::metrics::counter!(metrics::STORE_FAILURES).increment(1);
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
        let given =
            (0..8).filter(|number| keeper.keep(key(*number), vec![Bytes::from_static(b"x")], None).is_ok()).count();
        assert_eq!(given, 2);
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

    #[tokio::test]
    async fn lines_and_inits_wait_for_a_disk_that_refuses_and_are_read_meanwhile() {
        let root = tempfile::tempdir().unwrap();
        let disk = DiskStore::new(root.path());
        let tasks = TaskTracker::new();
        let room = Room { queue: 8, recent_bytes: 0 };
        let keeper = Keeper::start(Arc::new(disk.clone()), disk.clone(), room, &tasks);
        let (show, init) = (key(0).broadcast, ObjectKey { object: ObjectName::Init, ..key(0) });
        let segment = |number| {
            let text = format!(
                r#"{{"entry":"segment","rendition":"v0","number":{number},"epoch":0,"init_epoch":0,"discontinuity":0,
                "marks":0,"at_micros":0,"duration_nanos":1,"ends_at_nanos":1,"independent":true,"kept":true,"bytes":1}}"#
            );
            serde_json::from_str::<Entry>(&text).unwrap()
        };
        let epoch = Entry::Epoch { number: 0, discontinuity: 0, renditions: Vec::new() };
        let bytes = || vec![Bytes::from_static(b"x")];
        // A file where the folder is to be.
        let folder = disk.folder(&show);
        std::fs::write(&folder, "").unwrap();
        keeper.keep(init.clone(), bytes(), None).unwrap();
        keeper.note(show.clone(), epoch.clone()).unwrap();
        keeper.keep(key(1), bytes(), Some(segment(1))).unwrap();
        keeper.settle().await;
        let lost = segment(1).without_object().unwrap();
        std::fs::remove_file(&folder).unwrap();
        assert_eq!(keeper.journal(&show).await.unwrap(), [epoch.clone(), lost.clone()]);
        assert_eq!(keeper.get(&init).await.unwrap().unwrap(), bytes());
        assert_eq!(keeper.take_lost(&show), [key(1)], "an init is not lost");

        keeper.keep(key(2), bytes(), Some(segment(2))).unwrap();
        keeper.settle().await;
        assert_eq!(journal::read(&folder).unwrap(), [epoch, lost, segment(2)], "in their order");
        assert!(disk.get(&init).await.unwrap().is_some() && keeper.waiting.lock().is_empty());

        // What is owed to a show that is deleted is written no more.
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::write(&folder, "").unwrap();
        keeper.keep(init.clone(), bytes(), None).unwrap();
        keeper.note(show.clone(), segment(3)).unwrap();
        keeper.settle().await;
        std::fs::remove_file(&folder).unwrap();
        keeper.delete(&show).await.unwrap();
        keeper.settle().await;
        assert!(!folder.exists() && keeper.get(&init).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_segment_without_a_place_is_a_gap_in_the_journal() {
        let root = tempfile::tempdir().unwrap();
        let disk = DiskStore::new(root.path());
        let slow = Arc::new(SlowStore { permits: Semaphore::new(0), disk: disk.clone() });
        let tasks = TaskTracker::new();
        let room = Room { queue: 1, recent_bytes: 0 };
        let keeper = Keeper::start(Arc::clone(&slow) as Arc<dyn SegmentStore>, disk, room, &tasks);
        let entries: Vec<Entry> = (0..3).map(|number| Entry::Ended { target_duration_secs: number }).collect();
        for (number, entry) in (0..).zip(&entries) {
            let kept = keeper.keep(key(number), vec![Bytes::from_static(b"x")], Some(entry.clone()));
            assert_eq!(kept.is_ok(), number == 0);
        }
        let init = ObjectKey { object: ObjectName::Init, ..key(0) };
        keeper.keep(init.clone(), vec![Bytes::from_static(b"x")], None).unwrap();
        slow.permits.add_permits(8);
        keeper.settle().await;
        assert_eq!(keeper.journal(&init.broadcast).await.unwrap(), entries, "every line is there");
        assert!(slow.disk.get(&init).await.unwrap().is_some(), "an init needs no place");
    }
}
