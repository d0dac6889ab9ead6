//! The uploads of one show.
//!
//! In: journal entries; at the start the journal itself and the marks of earlier runs. Out: objects, then the live
//! playlists; once the show is over the playlists of the whole recording, again after each gap that was mended.
//! Runs while the show sends segments or lacks some in the bucket. All that it knows can be read back from the disk, so
//! it may end at any moment.

use super::super::journal::{self, Entry};
use super::super::s3::PlaylistAge;
use super::super::uploads::{self, Mark, Uploads};
use super::super::{ObjectKey, StoreError, disk};
use super::backlog::{Backlog, Listing, Next};
use super::carrier::{self, NewestThumbnail, Outcome, Upload, Written};
use super::{Node, Playlist};
use crate::metrics;
use crate::model::BroadcastId;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) struct Shipment {
    node: Arc<Node>,
    broadcast: BroadcastId,
    abandon: CancellationToken,
    /// How long it stays for a show that sends nothing and lacks nothing; its next entry takes it up again.
    patience: Duration,
    backlog: Backlog,
    stage: Stage,
    /// Uploads on their way, at most `uploads_per_session`.
    uploads: JoinSet<Upload>,
    /// Which object each of them is.
    orders: HashMap<task::Id, u64>,
    /// What the disk was not yet told of, oldest first; with the bytes of what the bucket has, which may go then.
    marks: VecDeque<(Mark, Option<(ObjectKey, u64)>)>,
    marks_after: Instant,
    thumbnail: Arc<NewestThumbnail>,
    /// Playlists on their way: one job at a time, so that none overtakes a newer one.
    pages: JoinSet<Result<Written, StoreError>>,
    pages_failed: u32,
    pages_after: Instant,
    /// Hashes of what the bucket's live playlists say, so that none is written twice.
    written: HashMap<String, u64>,
    /// How long the journal was when the recording's playlists were made.
    recorded_bytes: u64,
    /// The first that the journal named.
    first_epoch: Option<u64>,
    /// Whether the bucket was asked if it knows of an earlier one.
    asked: Arc<AtomicBool>,
    /// The journal of a live show on its way, one at a time; how long it took.
    journals: JoinSet<Result<Duration, StoreError>>,
    /// The bucket's journal does not say all that it has.
    journal_is_old: bool,
    journal_after: Instant,
    stirred: Instant,
}

/// Which playlists the bucket should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Live,
    /// The live playlist says that the show is over; players have until then to see it.
    Lingering(Instant),
    /// The playlists of the whole recording; `news`: they do not say all that is known.
    Recorded {
        news: bool,
    },
}

/// Uploads on their way when the server stops may still arrive; the next run repeats those that do not.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// The playlists of a recording with gaps are written at most this often while gaps are mended.
const REWRITE_AFTER: Duration = Duration::from_secs(5);
const PAGES_BACKOFF_MAX: Duration = Duration::from_secs(5);
const RETRY_READ: Duration = Duration::from_secs(1);
/// Until the journal of a show that begins is in the bucket: soon, for one that knows nothing of its beginning cannot go on.
const FIRST_JOURNAL: Duration = Duration::from_secs(10);
/// After one that failed.
const JOURNAL_AGAIN: Duration = Duration::from_secs(10);
/// Between two, so many times as long as one took.
const JOURNAL_SHARE: u32 = 20;

impl Shipment {
    pub(super) fn new(node: Arc<Node>, broadcast: BroadcastId, abandon: CancellationToken, patience: Duration) -> Self {
        let (backlog, now) = (Backlog::new(broadcast.clone(), node.rules()), Instant::now());
        let journal_after = now + FIRST_JOURNAL.min(node.config.journal_every);
        Self {
            node,
            broadcast,
            abandon,
            patience,
            backlog,
            stage: Stage::Live,
            uploads: JoinSet::new(),
            orders: HashMap::new(),
            marks: VecDeque::new(),
            marks_after: now,
            thumbnail: Arc::default(),
            pages: JoinSet::new(),
            pages_failed: 0,
            pages_after: now,
            written: HashMap::new(),
            recorded_bytes: 0,
            first_epoch: None,
            asked: Arc::default(),
            journals: JoinSet::new(),
            journal_is_old: false,
            journal_after,
            stirred: now,
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Entry>) {
        let abandon = self.abandon.clone();
        tokio::select! {
            () = self.ship(&mut inbox) => {}
            // What is on its way is dropped with us.
            () = abandon.cancelled() => {}
        }
    }

    async fn ship(&mut self, inbox: &mut mpsc::Receiver<Entry>) {
        let stop = self.node.cancel.clone();
        tokio::select! {
            can_go_on = self.recover() => if !can_go_on { return },
            () = stop.cancelled() => return,
        }
        loop {
            // What has arrived by now is not late.
            while let Some(upload) = self.uploads.try_join_next_with_id() {
                self.take_joined(upload);
            }
            self.write_marks().await;
            let now = Instant::now();
            let marks_after = (!self.marks.is_empty()).then_some(self.marks_after);
            let journal = self.start_journal(now);
            let wake =
                [self.start_uploads(now), self.start_pages(now), marks_after, journal].into_iter().flatten().min();
            self.tell_state();
            if self.is_done() && self.leave(inbox).await {
                return;
            }
            let idle_until = self.stirred + self.patience;
            tokio::select! {
                Some(entry) = inbox.recv() => self.note(entry),
                Some(upload) = self.uploads.join_next_with_id() => self.take_joined(upload),
                Some(pages) = self.pages.join_next() => self.take_pages(pages.unwrap_or(Err(StoreError::Closed))),
                Some(journal) = self.journals.join_next() => self.take_journal(journal.unwrap_or(Err(StoreError::Closed))),
                () = tokio::time::sleep_until(wake.unwrap_or(idle_until).min(idle_until.max(now + RETRY_READ))) => {}
                () = stop.cancelled() => return self.arrive().await,
            }
        }
    }

    /// Reads what is known of the show. A disk that cannot be read is asked again; nothing can be done without it. `false`:
    /// that is for later, since others wait.
    async fn recover(&mut self) -> bool {
        while let Err(error) = self.read_back().await {
            self.node.failed(&error);
            if self.patience.is_zero() {
                self.node.try_again(&self.broadcast);
                return false;
            }
            tokio::time::sleep(RETRY_READ).await;
        }
        true
    }

    async fn read_back(&mut self) -> Result<(), StoreError> {
        let folder = self.node.disk.folder(&self.broadcast);
        let (entries, known) = disk::blocking(move || Ok((journal::read(&folder)?, uploads::read(&folder)?))).await?;
        let (now, wall) = (Instant::now(), SystemTime::now());
        // An epoch has no time of its own; its init is as old as the first segment that needs it.
        let mut waited = Duration::ZERO;
        for entry in entries
            .into_iter()
            .rev()
            .map(|entry| {
                if let Entry::Segment(segment) = &entry {
                    waited = age(segment.at_micros, segment.duration_nanos, wall);
                }
                (waited, entry)
            })
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            self.observe(&entry.1);
            self.backlog.take(entry.1, entry.0, &known, now);
            // Settled as it is read, so that a long show takes no more than its window.
            self.backlog.has_news(now);
        }
        // They were told of by the run that gave them up.
        self.backlog.take_given_up();
        if self.backlog.is_over() {
            self.stage = Stage::Recorded { news: true };
        }
        Ok(())
    }

    fn note(&mut self, entry: Entry) {
        let now = Instant::now();
        self.stirred = now;
        self.observe(&entry);
        self.backlog.take(entry, Duration::ZERO, &Uploads::default(), now);
        if !self.backlog.is_over() {
            self.stage = Stage::Live;
        }
    }

    fn observe(&mut self, entry: &Entry) {
        if let Entry::Epoch { number, .. } = entry {
            self.first_epoch.get_or_insert(*number);
        }
    }

    /// Answers when to look again.
    fn start_uploads(&mut self, now: Instant) -> Option<Instant> {
        while self.uploads.len() < self.node.config.uploads_per_session {
            match self.backlog.next(now) {
                Next::Upload { order, key, is_retry } => {
                    if is_retry {
                        ::metrics::counter!(metrics::STORE_UPLOAD_RETRIES).increment(1);
                    }
                    let task = self.uploads.spawn(carrier::upload(
                        Arc::clone(&self.node),
                        order,
                        key,
                        Arc::clone(&self.thumbnail),
                    ));
                    self.orders.insert(task.id(), order);
                }
                Next::Rest(until) => return Some(until),
                Next::Nothing => return None,
            }
        }
        None
    }

    /// An upload is over, or its task died, which is as good as failed.
    fn take_joined(&mut self, joined: Result<(task::Id, Upload), JoinError>) {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let order = self.orders.remove(&id);
        match (joined, order) {
            (Ok((_, upload)), _) => self.take_upload(upload),
            (Err(error), Some(order)) => {
                tracing::error!(%error, "an upload broke off");
                self.backlog.failed(order, Instant::now(), rand::random());
            }
            (Err(_), None) => {}
        }
    }

    fn take_upload(&mut self, Upload { order, key, outcome }: Upload) {
        let now = Instant::now();
        self.stirred = now;
        match outcome {
            Outcome::Done { bytes } => {
                self.backlog.uploaded(order);
                self.journal_is_old = true;
                self.marks.push_back((Mark::uploaded(&key), Some((key, bytes))));
            }
            Outcome::Missing => {
                self.node.disk_health.failed(&StoreError::Vanished { key: key.to_string() });
                self.marks.push_back((Mark::lost(&key), None));
                self.backlog.lost(order);
            }
            Outcome::Failed(error) => {
                self.node.failed(&error);
                return self.backlog.failed(order, now, rand::random());
            }
        }
        if let Stage::Recorded { news } = &mut self.stage {
            *news = true;
        }
    }

    /// Answers when to look again.
    fn start_pages(&mut self, now: Instant) -> Option<Instant> {
        if !self.pages.is_empty() {
            return None;
        }
        let has_news = self.backlog.has_news(now);
        match self.stage {
            Stage::Live if now < self.pages_after => return Some(self.pages_after),
            Stage::Live if has_news => match self.backlog.listing() {
                Some(listing) => self.write_live(&listing),
                // Nothing of it can be watched; it is over as it is.
                None if self.backlog.is_settled() => self.stage = Stage::Recorded { news: true },
                None => {}
            },
            Stage::Live => {}
            Stage::Lingering(until) if now < until => return Some(until),
            Stage::Lingering(_) => {
                self.stage = Stage::Recorded { news: true };
                return self.start_pages(now);
            }
            Stage::Recorded { news: false } => {}
            // What is on its way of the live one would take the place of the last.
            Stage::Recorded { news: true } if !self.journals.is_empty() => return None,
            // They are made of what the disk was told.
            Stage::Recorded { news: true } if !self.marks.is_empty() => return Some(self.marks_after),
            Stage::Recorded { news: true } => {
                let gaps = !self.backlog.is_empty();
                if now < self.pages_after && (gaps || self.pages_failed > 0) {
                    return Some(self.pages_after);
                }
                self.stage = Stage::Recorded { news: false };
                let (node, broadcast, first) = (Arc::clone(&self.node), self.broadcast.clone(), self.first_epoch);
                let asked = Arc::clone(&self.asked);
                self.pages.spawn(async move { carrier::write_recording(&node, &broadcast, first, &asked).await });
            }
        }
        self.backlog.next_gap()
    }

    /// Beside the playlists of a show that is live, which do not wait for it. Answers when to look again.
    fn start_journal(&mut self, now: Instant) -> Option<Instant> {
        if self.stage != Stage::Live || !self.journal_is_old || !self.journals.is_empty() {
            return None;
        }
        if now < self.journal_after {
            return Some(self.journal_after);
        }
        self.journal_is_old = false;
        let (node, broadcast, first) = (Arc::clone(&self.node), self.broadcast.clone(), self.first_epoch);
        let asked = Arc::clone(&self.asked);
        self.journals.spawn(async move { carrier::write_journal(&node, &broadcast, first, &asked).await });
        None
    }

    fn take_journal(&mut self, journal: Result<Duration, StoreError>) {
        let every = self.node.config.journal_every;
        let pause = match journal {
            // That of a long show takes its time, and is not to take all of it.
            Ok(took) => every.max(took * JOURNAL_SHARE),
            Err(error) => {
                self.node.failed(&error);
                self.journal_is_old = true;
                every.min(JOURNAL_AGAIN)
            }
        };
        self.journal_after = Instant::now() + pause;
    }

    fn write_live(&mut self, listing: &Listing) {
        let playlists = self.node.playlists.live(listing.entries.clone(), listing.target_duration, listing.over);
        let age = if listing.over { PlaylistAge::Lingering } else { PlaylistAge::Live };
        let changed =
            |playlist: &Playlist| listing.over || self.written.get(&playlist.path) != Some(&hash(&playlist.text));
        let playlists: Vec<_> = playlists.into_iter().filter(changed).collect();
        let (node, broadcast) = (Arc::clone(&self.node), self.broadcast.clone());
        self.pages.spawn(async move { carrier::write_playlists(&node, &broadcast, playlists, age).await });
    }

    fn take_pages(&mut self, pages: Result<Written, StoreError>) {
        let now = Instant::now();
        match pages {
            Ok(Written { playlists, age, journal_bytes }) => {
                self.pages_failed = 0;
                self.recorded_bytes = journal_bytes;
                match (self.stage, age) {
                    (Stage::Live, PlaylistAge::Live) => {
                        self.written.extend(playlists.into_iter().map(|one| (one.path, hash(&one.text))));
                    }
                    (Stage::Live, PlaylistAge::Lingering | PlaylistAge::Ended) => {
                        self.written.clear();
                        // It may have been taken up again meanwhile.
                        if self.backlog.is_over() {
                            self.stage = Stage::Lingering(now + self.node.live.end_linger);
                        }
                    }
                    (Stage::Lingering(_) | Stage::Recorded { .. }, _) => self.pages_after = now + REWRITE_AFTER,
                }
            }
            Err(error) => {
                self.node.failed(&error);
                self.pages_failed = self.pages_failed.saturating_add(1);
                let doubled = Duration::from_millis(200) * 2_u32.saturating_pow(self.pages_failed.min(6));
                self.pages_after = now + doubled.min(PAGES_BACKOFF_MAX).mul_f64(rand::random());
                // Some may be written: all are again.
                self.written.clear();
                match &mut self.stage {
                    Stage::Recorded { news } => *news = true,
                    Stage::Live | Stage::Lingering(_) => self.backlog.repeat_news(),
                }
            }
        }
    }

    /// Nothing is left to do, or nothing has happened for long.
    fn is_done(&self) -> bool {
        let carries = !(self.uploads.is_empty() && self.pages.is_empty() && self.journals.is_empty());
        let still = !carries && self.marks.is_empty() && self.backlog.is_empty();
        let finished = self.stage == Stage::Recorded { news: false };
        let idle = self.stage == Stage::Live
            && !self.backlog.is_unsaid()
            && !self.journal_is_old
            && self.stirred.elapsed() >= self.patience;
        still && (finished || idle)
    }

    /// Ends the shipment, unless something came in.
    async fn leave(&mut self, inbox: &mpsc::Receiver<Entry>) -> bool {
        if self.stage == (Stage::Recorded { news: false }) {
            // Where it cannot be written the next run finds nothing to do.
            let _ = self.write_mark(Mark::Complete { journal_bytes: self.recorded_bytes }).await;
        }
        self.node.leave(&self.broadcast, inbox)
    }

    /// Tells the disk what the bucket has, so that a restart knows; only then may it go from the disk.
    async fn write_marks(&mut self) {
        while let Some((mark, uploaded)) = self.marks.front()
            && self.marks_after <= Instant::now()
        {
            if self.write_mark(mark.clone()).await {
                if let Some((key, bytes)) = uploaded.clone() {
                    self.node.spool.is_uploaded(key, bytes);
                }
                self.marks.pop_front();
            } else {
                self.marks_after = Instant::now() + RETRY_READ;
            }
        }
    }

    async fn write_mark(&self, mark: Mark) -> bool {
        let folder = self.node.disk.folder(&self.broadcast);
        let written = disk::blocking(move || uploads::append(&folder, &mark)).await;
        written.inspect_err(|error| self.node.failed(error)).is_ok()
    }

    /// The server stops: what is on its way may arrive.
    async fn arrive(&mut self) {
        let arrived = async {
            while let Some(upload) = self.uploads.join_next_with_id().await {
                self.take_joined(upload);
            }
            while self.pages.join_next().await.is_some() {}
            while self.journals.join_next().await.is_some() {}
            self.write_marks().await;
        };
        let _ = tokio::time::timeout(STOP_LIMIT, arrived).await;
    }

    fn tell_state(&mut self) {
        let given_up = self.backlog.take_given_up();
        if given_up > 0 {
            self.node.health.gave_up(given_up);
        }
        let (segments, length) = self.backlog.waiting();
        self.node.health.set_waiting(&self.broadcast, segments, length);
    }
}

impl Drop for Shipment {
    /// Also when it panics: its place is free, and nothing waits that anyone knows of.
    fn drop(&mut self) {
        self.node.health.set_waiting(&self.broadcast, 0, Duration::ZERO);
        self.node.is_gone(&self.broadcast);
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// How long ago a segment was whole, by the wall clock.
fn age(at_micros: u64, duration_nanos: u64, now: SystemTime) -> Duration {
    let whole = UNIX_EPOCH + Duration::from_micros(at_micros) + Duration::from_nanos(duration_nanos);
    now.duration_since(whole).unwrap_or_default()
}
