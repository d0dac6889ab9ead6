//! Brings what the spool holds into the bucket, show by show, and never loses any of it.
//!
//! In: journal entries, each after its object and itself are on the disk; what an earlier run left there. Out: objects in
//! the bucket, then playlists that name them, then marks that say so (`uploads.jsonl`).
//! Driven by the keeper, which waits here when a show's queue is full; live goes on regardless.
//!
//! Only what the journal names is uploaded: what it does not name nobody could find again to delete it.

mod adoption;
mod backlog;
#[cfg(test)]
mod backlog_tests;
mod carrier;
mod health;
mod history;
mod shipment;

use self::backlog::Rules;
use self::health::Health;
use self::shipment::Shipment;
use super::journal::{self, Entry, ThumbnailEntry};
use super::spool::Spool;
use super::trouble::DiskHealth;
use super::uploads::{self, Mark};
use super::{Bucket, DiskStore, ObjectKey, S3Store, SegmentStore, StorageConfig, StoreError, disk};
use crate::model::BroadcastId;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// What a bucket says of a show. Implemented by whoever knows playlists.
pub trait PlaylistWriter: std::fmt::Debug + Send + Sync + 'static {
    /// The live playlists: `entries` are an epoch and the segments to list, `kept` those that can be had. `over`: nothing
    /// will follow.
    fn live(&self, entries: Vec<Entry>, target_duration: u64, over: bool) -> Vec<Playlist>;

    /// The playlists of a whole show.
    fn recording(&self, entries: Vec<Entry>) -> Vec<Playlist>;

    /// The picture that stands for a whole show.
    fn poster(&self, entries: Vec<Entry>) -> Option<ThumbnailEntry>;
}

/// Media playlists stand before those that name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Playlist {
    /// Below the broadcast: `index.m3u8`, `v0/index.m3u8`.
    pub path: String,
    pub text: String,
}

/// What of the live playlist's rules the uploader needs.
#[derive(Debug, Clone, Copy)]
pub struct LiveRules {
    pub segment_duration: Duration,
    pub window_segments: usize,
    /// How long the live playlist of an ended show stays before the whole recording takes its place.
    pub end_linger: Duration,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Uploader {
    node: Arc<Node>,
}

/// What the shipments of this node share.
#[derive(Debug)]
struct Node {
    config: StorageConfig,
    live: LiveRules,
    bucket: S3Store,
    disk: DiskStore,
    spool: Spool,
    playlists: Arc<dyn PlaylistWriter>,
    /// One per upload on its way.
    uploads: Semaphore,
    /// One per object that is read from the bucket: readers must not take all memory either.
    reads: Semaphore,
    health: Health,
    disk_health: DiskHealth,
    shows: Mutex<Shows>,
    /// Shows of earlier runs that are not finished, and when to begin. As many as there are folders.
    earlier: Mutex<VecDeque<(Instant, BroadcastId)>>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

#[derive(Debug, Default)]
struct Shows {
    shipping: HashMap<BroadcastId, Shipping>,
    /// Those that are being deleted: none of them begins.
    going: HashSet<BroadcastId>,
}

/// A show that is being deleted, as long as this lives.
struct Going<'a> {
    node: &'a Node,
    broadcast: &'a BroadcastId,
}

/// A show whose shipment runs.
#[derive(Debug)]
struct Shipping {
    notes: mpsc::Sender<Entry>,
    /// Drops what is on its way: the show is deleted.
    abandon: CancellationToken,
    task: JoinHandle<()>,
    /// Started for what an earlier run left.
    is_earlier: bool,
}

/// Whether the bucket is well, for whoever asks.
#[derive(Debug, Clone, Default)]
pub(super) struct StorageHealth(Option<Arc<Node>>);

/// Entries that may wait for a shipment. It takes them at once but for a moment of reading the disk; the keeper waits.
const NOTES: usize = 64;
/// A show that sends nothing and lacks nothing is let go.
const IDLE: Duration = Duration::from_secs(60);
/// A shipment that takes no entry for so long cannot read its disk.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// Shows of earlier runs that are finished at one time. Each reads its journal; more would crowd out what is live.
const FINISHING: usize = 4;
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// One of which the disk does not say what there is has its turn again so much later.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// Objects read from the bucket at one time, each some megabytes.
const READS: usize = 32;

impl Uploader {
    pub(super) fn start(Bucket { config, live, playlists }: Bucket, disk: DiskStore, disk_health: DiskHealth) -> Self {
        let endpoint = if config.endpoint.is_empty() { "AWS" } else { &config.endpoint };
        tracing::info!(bucket = config.bucket, endpoint, prefix = config.prefix, "segments go on to a bucket");
        let node = Arc::new(Node {
            live,
            bucket: S3Store::new(&config),
            spool: Spool::new(disk.clone(), config.spool_max_bytes),
            disk,
            playlists,
            uploads: Semaphore::new(config.uploads_per_node),
            reads: Semaphore::new(READS),
            health: Health::new(config.gap_after),
            disk_health,
            config,
            shows: Mutex::default(),
            earlier: Mutex::default(),
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
        });
        node.tasks.spawn(finish_earlier(Arc::clone(&node)));
        node.tasks.spawn(check_keys(Arc::clone(&node)));
        Self { node }
    }

    pub(super) fn spool(&self) -> &Spool {
        &self.node.spool
    }

    pub(super) fn health(&self) -> StorageHealth {
        StorageHealth(Some(Arc::clone(&self.node)))
    }

    /// An entry that is in the journal now. Waits while the show's shipment is busy.
    pub(super) async fn tell(&self, broadcast: &BroadcastId, mut entry: Entry) {
        loop {
            let notes = match self.node.note(broadcast, entry) {
                Ok(()) => return,
                Err((unsent, notes)) => {
                    entry = unsent;
                    notes
                }
            };
            // Room, or the end of the shipment: both are for the next round.
            if tokio::time::timeout(STUCK_AFTER, notes.reserve()).await.is_err() {
                self.node.abandon(broadcast, &notes);
            }
        }
    }

    /// The object, from the bucket.
    pub(super) async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, StoreError> {
        let _read = self.node.may_read().await?;
        self.node.bucket.get(key).await
    }

    /// The journal of a broadcast that is over, from the bucket; nothing where it has none.
    pub(super) async fn journal(&self, broadcast: &BroadcastId) -> Result<Vec<Entry>, StoreError> {
        let _read = self.node.may_read().await?;
        self.node.journal(broadcast).await
    }

    /// Takes the journal of a show that the disk has lost from the bucket back to the disk. Whether there was one.
    pub(super) async fn recover(&self, broadcast: &BroadcastId) -> Result<bool, StoreError> {
        let entries = self.journal(broadcast).await?;
        if !journal::is_of_a_show(&entries) {
            return Ok(false);
        }
        let (folder, broadcast) = (self.node.disk.folder(broadcast), broadcast.clone());
        disk::blocking(move || adoption::adopt(&folder, &broadcast, &entries)).await?;
        Ok(true)
    }

    /// Nobody could say whether the bucket has more of a show than the disk will.
    pub(super) async fn suspect(&self, broadcast: &BroadcastId) -> Result<(), StoreError> {
        let folder = self.node.disk.folder(broadcast);
        disk::blocking(move || uploads::append(&folder, &Mark::More)).await
    }

    /// Removes a broadcast from the bucket and the disk. Refused while that is being done.
    pub(super) async fn delete(&self, broadcast: &BroadcastId) -> Result<(), StoreError> {
        let Some((_none_begins, shipping)) = self.node.let_go(broadcast) else { return Err(StoreError::Going) };
        if let Some(shipping) = shipping {
            shipping.abandon.cancel();
            // A shipment that panicked is gone as well.
            let _ = shipping.task.await;
        }
        let folder = self.node.disk.folder(broadcast);
        let (mut entries, known) =
            disk::blocking(move || Ok((journal::read(&folder)?, uploads::read(&folder)?))).await?;
        let mut has_more = known.has_more();
        if !journal::is_of_a_show(&entries) {
            entries = self.journal(broadcast).await?;
            // That of a show whose end nobody wrote down does not name what came after it.
            has_more |= !entries.iter().any(|entry| matches!(entry, Entry::Ended { .. }));
        }
        // The bucket first: with the folder on the disk the call can be made again. Nothing goes there without a line in the
        // journal, so it need not be listed, unless the journal itself is lost, or was once.
        if entries.is_empty() || has_more {
            self.node.bucket.delete(broadcast).await?;
        } else {
            self.node.bucket.remove(broadcast, &journal::objects(broadcast, &entries)).await?;
        }
        self.node.spool.delete(broadcast).await
    }

    /// Lets what is on its way arrive, within a moment; the next run goes on with the rest.
    pub(super) async fn stop(&self) {
        self.node.cancel.cancel();
        self.node.tasks.close();
        self.node.tasks.wait().await;
    }
}

impl StorageHealth {
    /// What is wrong with the bucket; `None` when all is well, or there is none.
    pub(super) fn trouble(&self) -> Option<String> {
        self.0.as_ref()?.health.trouble()
    }
}

impl Node {
    /// The journal that the bucket has; nothing where it has none.
    async fn journal(&self, broadcast: &BroadcastId) -> Result<Vec<Entry>, StoreError> {
        let text = self.bucket.journal(broadcast).await?;
        Ok(text.map_or_else(Vec::new, |text| journal::of_text(&text)))
    }

    /// Hands an entry to the shipment of its show, or starts one, which reads it in the journal. When there is no room it
    /// comes back, with what to wait for.
    fn note(self: &Arc<Self>, broadcast: &BroadcastId, entry: Entry) -> Result<(), (Entry, mpsc::Sender<Entry>)> {
        // Under the lock, so that no shipment ends between being looked up and being told.
        let mut shows = self.shows.lock();
        let Some(shipping) = shows.shipping.get(broadcast) else {
            self.start_shipment(&mut shows, broadcast, false);
            return Ok(());
        };
        match shipping.notes.try_send(entry) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(entry)) => Err((entry, shipping.notes.clone())),
            // It panicked.
            Err(TrySendError::Closed(_)) => {
                self.start_shipment(&mut shows, broadcast, false);
                Ok(())
            }
        }
    }

    /// Has the shipment of a show end, and none begin while the answer lives. `None`: so it is already.
    fn let_go<'a>(&'a self, broadcast: &'a BroadcastId) -> Option<(Going<'a>, Option<Shipping>)> {
        let mut shows = self.shows.lock();
        if !shows.going.insert(broadcast.clone()) {
            return None;
        }
        Some((Going { node: self, broadcast }, shows.shipping.remove(broadcast)))
    }

    fn start_shipment(self: &Arc<Self>, shows: &mut Shows, broadcast: &BroadcastId, is_earlier: bool) {
        if shows.going.contains(broadcast) {
            return;
        }
        let (notes, inbox) = mpsc::channel(NOTES);
        let abandon = CancellationToken::new();
        // What an earlier run left goes on now or not at all, and others wait for its place.
        let patience = if is_earlier { Duration::ZERO } else { IDLE };
        let shipment = Shipment::new(Arc::clone(self), broadcast.clone(), abandon.clone(), patience);
        let span = tracing::info_span!("upload", broadcast.id = %broadcast);
        let task = self.tasks.spawn(shipment.run(inbox).instrument(span));
        shows.shipping.insert(broadcast.clone(), Shipping { notes, abandon, task, is_earlier });
    }

    /// Starts what may begin of the shipments of earlier runs. Whether there is nothing left of them.
    fn start_earlier(self: &Arc<Self>) -> bool {
        let (mut shows, now) = (self.shows.lock(), Instant::now());
        let mut at_work = shows.shipping.values().filter(|show| show.is_earlier).count();
        let mut earlier = self.earlier.lock();
        while at_work < FINISHING
            && let Some((_, broadcast)) = earlier.pop_front_if(|(not_before, _)| *not_before <= now)
        {
            if !shows.shipping.contains_key(&broadcast) {
                self.start_shipment(&mut shows, &broadcast, true);
                at_work += 1;
            }
        }
        at_work == 0 && earlier.is_empty()
    }

    /// What an earlier run left of a show cannot be read now: others have their turn first.
    fn try_again(&self, broadcast: &BroadcastId) {
        self.earlier.lock().push_back((Instant::now() + TRY_AGAIN, broadcast.clone()));
    }

    /// Takes a shipment off the list, unless it was told something that it has not seen.
    fn leave(&self, broadcast: &BroadcastId, inbox: &mpsc::Receiver<Entry>) -> bool {
        let mut shows = self.shows.lock();
        if inbox.is_empty() {
            shows.shipping.remove(broadcast);
        }
        inbox.is_empty()
    }

    /// The shipment of a show is no more. Another may have begun.
    fn is_gone(&self, broadcast: &BroadcastId) {
        let mut shows = self.shows.lock();
        if shows.shipping.get(broadcast).is_some_and(|shipping| shipping.notes.is_closed()) {
            shows.shipping.remove(broadcast);
        }
    }

    /// Ends a shipment that hears nothing any more, so that one show does not hold up the others. Another begins with
    /// the next entry and reads what this one knew on the disk.
    fn abandon(&self, broadcast: &BroadcastId, notes: &mpsc::Sender<Entry>) {
        let mut shows = self.shows.lock();
        if shows.shipping.get(broadcast).is_some_and(|shipping| shipping.notes.same_channel(notes))
            && let Some(shipping) = shows.shipping.remove(broadcast)
        {
            tracing::error!(broadcast.id = %broadcast, "the uploads of a show are stuck and begin anew");
            shipping.abandon.cancel();
        }
    }

    /// Waits until a read may begin, no longer than one may take: behind reads that hang readers are told to come again.
    async fn may_read(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let turn = tokio::time::timeout(self.config.attempt_timeout, self.reads.acquire()).await;
        turn.map_err(|_| StoreError::Full { limit: READS })?.map_err(|_| StoreError::Closed)
    }

    /// Something that was to be brought to the bucket was not: the bucket failed, or the disk.
    fn failed(&self, error: &StoreError) {
        match error {
            StoreError::Disk { .. } => self.disk_health.failed(error),
            _ => self.health.failed(error),
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            gap_after: self.config.gap_after,
            window_segments: self.live.window_segments,
            segment_secs: self.live.segment_duration.as_secs().max(1),
        }
    }
}

/// Counts the spool, then starts the shipments of shows that an earlier run did not finish, a few at a time.
async fn finish_earlier(node: Arc<Node>) {
    let counting = Arc::clone(&node);
    let counted = disk::blocking(move || counting.spool.count(|error| counting.disk_health.failed(error))).await;
    let unfinished = counted.unwrap_or_else(|error| {
        let error = &error as &dyn std::error::Error;
        tracing::error!(error, "the spool cannot be read; what earlier runs left there is not uploaded");
        Vec::new()
    });
    node.spool.open();
    if !unfinished.is_empty() {
        tracing::info!(shows = unfinished.len(), "going on with uploads of earlier runs");
    }
    let now = Instant::now();
    node.earlier.lock().extend(unfinished.into_iter().map(|broadcast| (now, broadcast)));
    let finish = async {
        while !node.start_earlier() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::select! {
        () = finish => {}
        () = node.cancel.cancelled() => {}
    }
}

/// Says at the start what would otherwise be told show by show: that the keys lack a permission.
async fn check_keys(node: Arc<Node>) {
    let told = tokio::select! {
        told = node.bucket.tells_of_absence() => told,
        () = node.cancel.cancelled() => return,
    };
    match told {
        Ok(true) => {}
        Ok(false) => tracing::warn!(
            bucket = node.config.bucket,
            "the bucket answers 403 to a question for an object that is not there: grant the keys s3:ListBucket on the bucket, beside \
             s3:GetObject, s3:PutObject and s3:DeleteObject on its objects; until then shows that never went there can be neither \
             settled nor deleted"
        ),
        // Uploads tell of it.
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "the keys of the bucket cannot be checked")
        }
    }
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        self.node.shows.lock().going.remove(self.broadcast);
    }
}
