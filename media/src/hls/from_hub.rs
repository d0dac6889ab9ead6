//! The packager task of one broadcast.
//!
//! In: the hub's feed. Out: snapshots for delivery, objects and journal entries for the store.
//! It never waits for the disk while the show runs: what the keeper does not take is lost for the recording only.

use super::archive;
use super::config::HlsConfig;
use super::entries;
use super::packager::{Kept, Packager};
use super::recording::Recording;
use super::remux::Unfit;
use super::service::Shared;
use super::show::{Ending, LatestThumbnail, Show, Stage};
use super::thumbnails::{Photographer, Place};
use crate::hub::{Broadcast, Feed, Phase, Subscriber};
use crate::metrics;
use crate::model::BroadcastId;
use crate::seam::{MediaEvent, WarningCode};
use crate::store::journal::{self, Entry, ThumbnailEntry};
use crate::store::{BucketFault, ObjectKey, ObjectName, StoreError};
use crate::thumbnail::Thumbnail;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Feed items handled before readers are told: a burst of cached frames is one news, and a flood cannot hold it back.
const BATCH: usize = 64;
/// How long the end of a show waits for its last picture: what a full darkroom takes for it.
const LAST_PICTURE: Duration = Duration::from_secs(5);

/// Runs until the show is over and its end has been seen, or the server stops.
pub(super) async fn run(shared: Arc<Shared>, broadcast: Arc<Broadcast>, subscriber: Subscriber, show: Arc<Show>) {
    let _on_stage = OnStage { shared: &shared, show: &show };
    let keeps = archive::is_to_keep(&shared, &show.id).await;
    show.set_keeps(keeps);
    if let (Some(host), true) = (show.part_of(), keeps) {
        // Whoever closes the host's recording closes this one too, should this process not live to do it.
        let _ = shared.keeper.note(host.clone(), Entry::Part { broadcast: show.id.clone() });
    }
    let (packager, pictured) = open(&shared, &show, keeps, broadcast.goes_on()).await;
    let ready = packager.is_ready();
    let HlsConfig { thumbnail_interval, thumbnail_width, .. } = shared.config;
    let photographer = Photographer::new(shared.darkroom.clone(), thumbnail_interval, thumbnail_width);
    let mut task = Packaging {
        shared: Arc::clone(&shared),
        show: Arc::clone(&show),
        packager,
        photographer,
        keeps,
        ready,
        told: None,
        owes_warning: false,
        has_told_picture: false,
    };
    task.publish();
    tokio::select! {
        () = task.drive(subscriber) => {}
        // It may come late or never; the show does not wait for it.
        () = recall(&shared, &show, pictured) => {}
    }
    match broadcast.phase() {
        Phase::Ended(reason) => {
            tracing::debug!(?reason, "recording ends");
            task.packager.handle_end();
            task.publish();
            task.await_picture().await;
            archive::conclude(&shared, &show, task.keeps).await;
            tokio::select! {
                () = tokio::time::sleep(shared.config.end_linger) => {}
                () = show.dismissed() => {}
                () = shared.cancel.cancelled() => {}
            }
        }
        // The server stops, or the broadcast never had media: the show can be taken up again.
        Phase::Starting | Phase::Live | Phase::Lingering { .. } => {
            task.packager.handle_interruption();
            task.publish();
            task.note_stop();
        }
    }
}

/// A show that is served from memory for as long as this lives: it goes also with a task that panics.
struct OnStage<'a> {
    shared: &'a Shared,
    show: &'a Arc<Show>,
}

impl Drop for OnStage<'_> {
    fn drop(&mut self) {
        // Nobody asks any more what was lost of it.
        drop(self.shared.keeper.take_lost(&self.show.id));
        self.shared.shows.remove(self.show);
        self.show.set_ending(Ending::Gone);
    }
}

/// Begins a show, or takes it up where the disk says it stopped. Answers its newest picture too, which is still to be read.
async fn open(shared: &Shared, show: &Show, keeps: bool, goes_on: bool) -> (Packager, Option<ThumbnailEntry>) {
    let mut config = shared.config.clone();
    if !keeps {
        // What leaves the window is nowhere.
        config.dvr_window = Duration::ZERO;
    }
    let journal = match read_journal(shared, &show.id).await {
        // A show that begins waits for no bucket.
        Some(entries) if goes_on => recover(shared, &show.id, entries).await,
        Some(entries) => entries,
        None => Vec::new(),
    };
    let recording = Recording::read(journal);
    let pictured = recording.newest_thumbnail().copied();
    // A clock that was set back makes no number that the journal has, and a journal that is lost none that the clock made.
    let number = recording.next_epoch().max(epoch_number((shared.clock)()));
    let mut packager = if recording.is_empty() {
        Packager::new(config)
    } else {
        tracing::info!(broadcast.id = %show.id, epoch = number, "show is taken up from the disk");
        let resume = recording.resume(&show.id, &config, &shared.keeper).await;
        Packager::resume(config, resume)
    };
    packager.number_epochs_from(number);
    (packager, pictured)
}

/// What the disk knows of a show. A disk that cannot be read is asked again for a moment; then the show goes on without,
/// as if it began: its epochs have other numbers than those before, so it takes nothing from them.
async fn read_journal(shared: &Shared, broadcast: &BroadcastId) -> Option<Vec<Entry>> {
    let read = async {
        loop {
            match shared.keeper.journal(broadcast).await {
                Ok(entries) => return entries,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(broadcast.id = %broadcast, error, "the journal of a show cannot be read");
                }
            }
            tokio::time::sleep(JOURNAL_AGAIN).await;
        }
    };
    let read = tokio::time::timeout(JOURNAL_WITHIN, read).await.ok();
    if read.is_none() {
        tracing::error!(broadcast.id = %broadcast, "the disk cannot be read; a show that was there before begins anew, and its replay has both");
    }
    read
}

/// Where the disk knows nothing of a show the bucket may: the disk was lost. A bucket that does not say so now is not waited for;
/// what it has is deleted with the rest.
async fn recover(shared: &Shared, broadcast: &BroadcastId, entries: Vec<Entry>) -> Vec<Entry> {
    if journal::is_of_a_show(&entries) {
        return entries;
    }
    let failed = match tokio::time::timeout(BUCKET_WITHIN, shared.keeper.recover(broadcast)).await {
        Ok(Ok(entries)) => return entries,
        Ok(Err(error)) => Some(error),
        Err(_) => None,
    };
    if !matches!(failed, Some(StoreError::Bucket { fault: BucketFault::Denied, .. })) {
        let error = failed.map_or_else(|| "no answer".to_owned(), |error| error.to_string());
        tracing::warn!(broadcast.id = %broadcast, error, "the bucket does not say whether it knows this show; it begins");
        if let Err(error) = shared.keeper.suspect(broadcast).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "the disk does not take a note");
        }
    }
    entries
}

/// Shows the picture of a show that was taken up until there is a newer one. Never ends.
async fn recall(shared: &Shared, show: &Show, pictured: Option<ThumbnailEntry>) {
    if let Some(newest) = pictured {
        let key = newest.key(&show.id);
        let read = tokio::time::timeout(PICTURE_WITHIN, shared.keeper.get(&key)).await;
        if let (Ok(Ok(Some(chunks))), None) = (read, show.thumbnail()) {
            show.set_thumbnail(LatestThumbnail { jpeg: chunks.concat().into(), tag: key.entity_tag() });
        }
    }
    std::future::pending().await
}

/// The number of an epoch that begins now: greater than that of any that began before, as long as the clock goes forward and
/// a publisher comes back less than a thousand times a second.
fn epoch_number(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH + YEAR_2020).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0)
}

/// Keys are shorter for it.
const YEAR_2020: Duration = Duration::from_secs(1_577_836_800);
const JOURNAL_AGAIN: Duration = Duration::from_millis(200);
/// Frames wait meanwhile; the hub holds more.
const JOURNAL_WITHIN: Duration = Duration::from_secs(2);
/// A bucket answers in a tenth of it.
const BUCKET_WITHIN: Duration = Duration::from_secs(2);
const PICTURE_WITHIN: Duration = Duration::from_secs(30);

struct Packaging {
    shared: Arc<Shared>,
    show: Arc<Show>,
    packager: Packager,
    photographer: Photographer,
    /// There will be a replay.
    keeps: bool,
    /// A whole segment of every rendition was there once.
    ready: bool,
    /// What the broadcaster was told of this publication.
    told: Option<Unfit>,
    owes_warning: bool,
    /// Others know that there is a picture.
    has_told_picture: bool,
}

impl Packaging {
    /// Until the hub says nothing more or the server stops; then what the hub has already said is taken too.
    async fn drive(&mut self, mut subscriber: Subscriber) {
        let cancel = self.shared.cancel.clone();
        loop {
            let feed = tokio::select! {
                feed = subscriber.recv() => feed,
                (place, thumbnail) = self.photographer.next() => {
                    self.take_picture(place, thumbnail);
                    continue;
                }
                () = cancel.cancelled() => break,
            };
            let mut over = self.handle(feed);
            for _ in 1..BATCH {
                match subscriber.try_recv() {
                    Some(feed) if !over => over = self.handle(feed),
                    _ => break,
                }
            }
            self.publish();
            if over {
                return;
            }
        }
        while let Some(feed) = subscriber.try_recv() {
            self.handle(feed);
        }
        self.publish();
    }

    /// Whether the feed is over.
    fn handle(&mut self, feed: Feed) -> bool {
        match feed {
            Feed::Epoch(epoch) => {
                self.packager.handle_epoch(&epoch);
                self.warn();
            }
            Feed::Frame(frame) => self.packager.handle_frame(&frame),
            Feed::Lagged { frames } => {
                tracing::debug!(frames, "packager lost frames");
                self.packager.handle_lag();
            }
            Feed::Interrupted => {
                self.packager.handle_interruption();
                self.told = None;
            }
            Feed::Ended(_) => return true,
        }
        false
    }

    /// Tells the broadcaster, once for each time that it begins, that nobody sees this show over HLS.
    fn warn(&mut self) {
        let unfit = self.packager.unfit();
        if let (Some(reason), None) = (unfit, std::mem::replace(&mut self.told, unfit)) {
            tracing::info!(%reason, "this show plays over WebRTC only, and is not recorded");
            self.owes_warning = true;
        }
    }

    /// Tells readers and the store what is new.
    fn publish(&mut self) {
        if self.owes_warning {
            // A full queue hears of it with the next frames.
            let (broadcast, code) = (self.show.id.clone(), WarningCode::WebrtcOnly);
            self.owes_warning = !self.shared.events.try_emit(MediaEvent::IngestWarning { broadcast, code });
        }
        let snapshots = self.packager.poll_snapshots();
        if !snapshots.is_empty() {
            for snapshot in snapshots.into_iter().filter(|snapshot| !snapshot.is_empty()) {
                self.show.publish(snapshot);
            }
            self.show.set_offer(self.packager.choices());
            self.ready |= self.packager.is_ready();
        }
        self.show.set_stage(match self.packager.unfit() {
            Some(unfit) => Stage::Unfit(unfit),
            None if self.ready => Stage::Ready,
            None => Stage::Starting,
        });
        while let Some(kept) = self.packager.poll_kept() {
            if let (Err(_), Kept::Segment { rendition, segment, .. }) = (self.keep(&kept), &kept) {
                self.packager.handle_lost(*rendition, segment.number);
            }
        }
        if self.shared.keeper.has_lost() {
            for key in self.shared.keeper.take_lost(&self.show.id) {
                if let ObjectName::Segment(number) = key.object {
                    self.packager.handle_lost(key.rendition, number);
                }
            }
        }
    }

    /// A picture came back: it is the newest to be shown, and is kept with what it shows.
    fn take_picture(&mut self, place: Place, thumbnail: Thumbnail) {
        let entry = place.entry(&thumbnail);
        let key = entry.key(&self.show.id);
        self.show.set_thumbnail(LatestThumbnail { jpeg: thumbnail.jpeg.clone(), tag: key.entity_tag() });
        if self.keeps {
            let _ = self.shared.keeper.keep(key, vec![thumbnail.jpeg], Some(Entry::Thumbnail(entry)));
        }
        // A full queue hears of the next one.
        if !self.has_told_picture {
            let broadcast = self.show.id.clone();
            self.has_told_picture = self.shared.events.try_emit(MediaEvent::ThumbnailMade { broadcast });
        }
    }

    /// The show is over: a picture that is on its way still belongs to it.
    async fn await_picture(&mut self) {
        if let Ok(Some((place, thumbnail))) = tokio::time::timeout(LAST_PICTURE, self.photographer.last()).await {
            self.take_picture(place, thumbnail);
        }
    }

    /// What does not fit is counted by the keeper; the show goes on without it.
    fn keep(&mut self, kept: &Kept) -> Result<(), StoreError> {
        let keeper = &self.shared.keeper;
        let key = |rendition, epoch, object| ObjectKey { broadcast: self.show.id.clone(), rendition, epoch, object };
        match kept {
            Kept::Segment { rendition, segment, ends_at, opening } => {
                ::metrics::counter!(metrics::HLS_SEGMENTS).increment(1);
                self.photographer.handle_segment(*rendition, segment, *ends_at, opening.as_ref());
                if !self.keeps {
                    // The journal goes on, so that numbers do after a restart; there the segment is a gap.
                    return keeper.note(self.show.id.clone(), entries::entry_of_unkept(kept));
                }
                let key = key(*rendition, segment.epoch, ObjectName::Segment(segment.number));
                keeper.keep(key, segment.chunks(), Some(entries::entry(kept)))
            }
            Kept::Epoch { number, renditions, .. } => {
                self.photographer.handle_epoch(renditions);
                for rendition in renditions {
                    if let Some(init) = &rendition.init {
                        let _ = keeper.keep(key(rendition.id, *number, ObjectName::Init), vec![init.clone()], None);
                    }
                }
                keeper.note(self.show.id.clone(), entries::entry(kept))
            }
            Kept::Ended { .. } => keeper.note(self.show.id.clone(), entries::entry(kept)),
        }
    }

    fn note_stop(&self) {
        if self.ready {
            let _ = self.shared.keeper.note(self.show.id.clone(), Entry::Stopped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::delivery::{Door, Viewers};
    use super::super::service::{Service, Shelf};
    use super::*;
    use crate::config::{HubConfig, StorageConfig};
    use crate::ejected::Ejected;
    use crate::hub::Hub;
    use crate::seam::{Deaf, Protocol, PublishGrant, Refusal};
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn a_show_whose_task_panics_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (hub, mut opened) = Hub::new(HubConfig::default(), Arc::new(Deaf));
        let id = BroadcastId::parse("session_1").unwrap();
        let _publisher = hub.claim(PublishGrant::of_host(id.clone(), "host"), Protocol::Rtmp).await.unwrap();
        let broadcast = opened.recv().await.unwrap();
        let shelf = Shelf { data_dir: folder.path(), storage: StorageConfig::default(), clock: SystemTime::now };
        let admission = (Arc::new(Door::new(Err(Refusal::Forbidden))) as Arc<_>, Ejected::default());
        let cancel = CancellationToken::new();
        let service =
            Service::start(HlsConfig::default(), shelf, opened, admission, Arc::new(Deaf), cancel.clone()).unwrap();
        let shared = Arc::clone(&service.shared);
        let show = Arc::new(Show::new(&broadcast, Viewers::new(id.clone(), Arc::new(Deaf), 1)));
        shared.shows.insert(&show);
        let task = tokio::spawn({
            let (shared, show) = (Arc::clone(&shared), Arc::clone(&show));
            async move {
                let _on_stage = OnStage { shared: &shared, show: &show };
                assert!(shared.shows.get(&show.id).is_none(), "it is on stage");
            }
        });
        assert!(task.await.unwrap_err().is_panic());
        assert!(shared.shows.get(&id).is_none());
        assert!(show.dismiss().await, "nobody waits for it for ever");
        cancel.cancel();
        service.stopped().await;
    }
}
