//! HLS for all broadcasts of this process: one packager task each, one router for all.
//!
//! In: broadcasts as the hub opens them. Out: a router, viewer events, recordings on disk.

use super::archive;
use super::bucket::BucketPlaylists;
use super::config::HlsConfig;
use super::delivery::{self, Gates, PassKey, Viewers};
use super::film::{Audience, Films};
use super::from_hub;
use super::recordings::Recordings;
use super::show::Show;
use crate::ejected::Ejected;
use crate::hub::Broadcast;
use crate::model::{BroadcastId, ViewerId};
use crate::seam::{Admission, EventSink};
use crate::store::{Bucket, DiskStore, Keeper, LiveRules, Room, StorageConfig, StoreError, StoreHealth};
use crate::thumbnail::Darkroom;
use axum::Router;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// The HLS output. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Service {
    pub(super) shared: Arc<Shared>,
    /// Packager tasks and the two clocks; they end with the cancellation.
    tasks: TaskTracker,
}

/// What packager tasks and requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: HlsConfig,
    pub(super) shows: Shows,
    pub(super) recordings: Recordings,
    pub(super) films: Arc<Films>,
    pub(super) audience: Audience,
    pub(super) keeper: Keeper,
    pub(super) clock: fn() -> SystemTime,
    pub(super) darkroom: Darkroom,
    pub(super) admission: Arc<dyn Admission>,
    pub(super) gates: Gates,
    pub(super) pass_key: PassKey,
    pub(super) ejected: Ejected,
    pub(super) cancel: CancellationToken,
    pub(super) events: Arc<dyn EventSink>,
}

impl std::fmt::Debug for dyn Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admission")
    }
}

/// Shows that are live, interrupted, or over so lately that players still ask for their end. As many as the hub admits
/// broadcasts.
#[derive(Debug, Default)]
pub(super) struct Shows {
    by_id: RwLock<HashMap<BroadcastId, Arc<Show>>>,
}

/// Where recordings last.
#[derive(Debug)]
pub struct Shelf<'a> {
    /// They lie under `<data_dir>/hls`.
    pub data_dir: &'a Path,
    /// Where this names a bucket, they go on to it.
    pub storage: StorageConfig,
    /// The wall clock. It numbers what begins, so that no key is used twice even where nothing is known of what was before.
    pub clock: fn() -> SystemTime,
}

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("cannot read or make the pass key {}", path.display())]
    PassKey { path: PathBuf, source: io::Error },
}

/// How often silent viewers are looked for: a leave is told at most this much late.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How often everyone who is present is told, to repair lost joins and leaves.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(10);
/// A viewer who asks for nothing during this many target durations has left.
const SILENT_TARGETS: u32 = 3;

impl Service {
    /// Starts the packager of every broadcast that `opened` brings. Who may watch is what admission says, but for the ejected.
    pub fn start(
        config: HlsConfig,
        Shelf { data_dir, storage, clock }: Shelf<'_>,
        opened: mpsc::Receiver<Arc<Broadcast>>,
        (admission, ejected): (Arc<dyn Admission>, Ejected),
        events: Arc<dyn EventSink>,
        cancel: CancellationToken,
    ) -> Result<Self, ServiceError> {
        let path = data_dir.join("hls-pass.key");
        let pass_key = PassKey::load_or_create(&path).map_err(|source| ServiceError::PassKey { path, source })?;
        let disk = DiskStore::new(data_dir.join("hls"));
        let keeping = TaskTracker::new();
        let room = Room { queue: config.store_queue_segments, recent_bytes: config.replay_cache_bytes };
        let keeper = if storage.has_bucket() {
            let live = LiveRules {
                segment_duration: config.segment_duration,
                window_segments: config.listed_segments(),
                end_linger: config.end_linger,
            };
            let bucket = Bucket { config: storage, live, playlists: Arc::new(BucketPlaylists) };
            Keeper::start_spooling(disk, bucket, room, &keeping)
        } else {
            Keeper::start(Arc::new(disk.clone()), disk, room, &keeping)
        };
        let tasks = TaskTracker::new();
        let darkroom = Darkroom::open(&keeping);
        let shared = Arc::new(Shared {
            config,
            shows: Shows::default(),
            recordings: Recordings::default(),
            films: Films::open(&keeper, &tasks, &cancel),
            audience: Audience::new(tasks.clone(), cancel.clone()),
            keeper,
            clock,
            darkroom,
            admission,
            gates: Gates::default(),
            pass_key,
            ejected,
            cancel,
            events,
        });
        tasks.spawn(accept(Arc::clone(&shared), opened, tasks.clone()));
        tasks.spawn(watch_viewers(Arc::clone(&shared)));
        Ok(Self { shared, tasks })
    }

    /// Serves `/hls/…`.
    pub fn router(&self) -> Router {
        delivery::router(Arc::clone(&self.shared))
    }

    /// A viewer who is among the [`Ejected`] now watches no more, neither the host nor the co-hosts.
    pub fn eject(&self, broadcast: &BroadcastId, viewer: &ViewerId) {
        for show in self.shared.shows.all().iter().filter(|show| show.of() == broadcast) {
            show.viewers.eject(viewer);
        }
    }

    /// Removes the recording of a show that is over, and the show with it. One that is live is left alone: `false`. Nobody is shown
    /// it from then on, also where removing it fails and has to be ordered again.
    pub async fn delete_recording(&self, broadcast: &BroadcastId) -> Result<bool, StoreError> {
        if let Some(show) = self.shared.shows.get(broadcast)
            && !show.dismiss().await
        {
            return Ok(false);
        }
        self.condemn(broadcast);
        self.shared.films.strike(broadcast).await;
        archive::delete(&self.shared, broadcast).await?;
        self.shared.recordings.is_gone(broadcast);
        Ok(true)
    }

    /// What is to be deleted is not shown any more. One that is on stage is not: it is not to be deleted.
    pub(super) fn condemn(&self, broadcast: &BroadcastId) {
        if self.shared.shows.get(broadcast).is_none() {
            self.shared.recordings.condemn(broadcast);
        }
    }

    /// Waits, after the cancellation, until every show has written what it had. Held requests are answered by then.
    pub async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.shared.keeper.stop().await;
    }

    /// How the disk is, and the bucket where there is one.
    pub fn storage_health(&self) -> StoreHealth {
        self.shared.keeper.health()
    }
}

impl Shows {
    pub(super) fn get(&self, id: &BroadcastId) -> Option<Arc<Show>> {
        self.by_id.read().get(id).cloned()
    }

    /// The co-hosts of a show, the earliest user first.
    pub(super) fn live_parts(&self, host: &BroadcastId) -> Vec<Arc<Show>> {
        let shows = self.by_id.read();
        let mut parts: Vec<_> = shows.values().filter(|show| show.is_live_part_of(host)).cloned().collect();
        parts.sort_by(|one, other| one.id.cmp(&other.id));
        parts
    }

    pub(super) fn insert(&self, show: &Arc<Show>) {
        self.by_id.write().insert(show.id.clone(), Arc::clone(show));
    }

    /// Takes this very show out; a later one with its id stays.
    pub(super) fn remove(&self, show: &Arc<Show>) {
        let mut shows = self.by_id.write();
        if shows.get(&show.id).is_some_and(|present| Arc::ptr_eq(present, show)) {
            shows.remove(&show.id);
        }
        drop(shows);
        show.viewers.clear();
    }

    fn all(&self) -> Vec<Arc<Show>> {
        self.by_id.read().values().cloned().collect()
    }
}

/// Starts a packager task per broadcast.
async fn accept(shared: Arc<Shared>, mut opened: mpsc::Receiver<Arc<Broadcast>>, tasks: TaskTracker) {
    loop {
        let broadcast = tokio::select! {
            opened = opened.recv() => match opened {
                Some(broadcast) => broadcast,
                None => return,
            },
            () = shared.cancel.cancelled() => return,
        };
        let (id, events) = (broadcast.id().clone(), Arc::clone(&shared.events));
        let viewers = Viewers::new(id, events, shared.config.max_viewers);
        let show = Arc::new(Show::new(&broadcast, viewers));
        shared.shows.insert(&show);
        // Subscribed before the disk is read, so that no frame is missed meanwhile.
        let subscriber = broadcast.subscribe(shared.config.queue_frames);
        let span = tracing::info_span!("hls", broadcast.id = %show.id);
        tasks.spawn(from_hub::run(Arc::clone(&shared), broadcast, subscriber, show).instrument(span));
    }
}

/// Notices who has left, and tells who is there.
async fn watch_viewers(shared: Arc<Shared>) {
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut snapshot = tokio::time::interval(SNAPSHOT_EVERY);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    snapshot.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = sweep.tick() => {
                for show in shared.shows.all() {
                    let target = show.target_duration().max(shared.config.segment_duration);
                    show.viewers.sweep(target * SILENT_TARGETS);
                }
            }
            _ = snapshot.tick() => shared.shows.all().iter().for_each(|show| show.viewers.tell_snapshot()),
            () = shared.cancel.cancelled() => return,
        }
    }
}
