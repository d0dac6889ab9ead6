//! Recordings that were asked for lately: their playlists, so that many who watch one cost one reading of its journal.
//!
//! In: broadcasts, and how to read the journal of one. Out: playlists, or that there is none: that is believed for a moment,
//! since many may wait for a show, and a bucket is paid by the question. Readers of one recording wait for the first of
//! them. Bounded in bytes: what is asked for rarely goes first. Driven by delivery; told by whoever ends or deletes a show.

use super::recording::Recording;
use super::replay::RecordingPlaylists;
use super::text::{Encoding, Text};
use crate::cache;
use crate::model::BroadcastId;
use crate::store::journal::Entry;
use crate::store::{Keeper, StoreError};
use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::collections::HashSet;
use std::iter;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) struct Recordings {
    known: Cache<BroadcastId, Known, Weight>,
    /// Those whose deletion was ordered and is not done. As many as are ordered at one time; when full, the rest are shown until
    /// they are gone.
    going: Mutex<HashSet<BroadcastId>>,
}

#[derive(Debug, Clone)]
enum Known {
    Recorded(Arc<RecordingPlaylists>),
    /// There was none a moment ago, or its show was not over.
    Nothing {
        until: Instant,
    },
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<BroadcastId, Known> for Weight {
    fn weight(&self, _: &BroadcastId, known: &Known) -> u64 {
        let Known::Recorded(playlists) = known else { return LEAST_BYTES };
        let pictures = playlists.thumbnails.iter().map(|index| &index.text);
        let texts = iter::once(&playlists.multivariant).chain(playlists.media.values()).chain(pictures);
        let text: usize = texts.map(plain_len).sum();
        // The names of what is listed and the compressed texts take about as much again.
        LEAST_BYTES + 2 * text as u64
    }
}

fn plain_len(text: &Text) -> usize {
    text.bytes(Encoding::Plain).len()
}

/// Some hundred recordings of two hours, which take half a megabyte each, or thousands of short ones.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A recording of half an hour, to size the table by.
const USUAL_BYTES: u64 = 128 * 1024;
const GOING_MAX: usize = 4_096;
/// What the shortest takes.
const LEAST_BYTES: u64 = 1_024;
/// How long it is believed that there is no recording. Whoever makes one says so.
const NOTHING_FOR: Duration = Duration::from_secs(10);

impl Default for Recordings {
    fn default() -> Self {
        Self::with_room(BYTES_MAX)
    }
}

impl Recordings {
    fn with_room(bytes_max: u64) -> Self {
        Self { known: cache::by_weight(Weight, bytes_max, USUAL_BYTES), going: Mutex::default() }
    }

    /// `None`: there is no recording, or the show is not over.
    pub(crate) async fn playlists(
        &self,
        broadcast: &BroadcastId,
        keeper: &Keeper,
    ) -> Result<Option<Arc<RecordingPlaylists>>, StoreError> {
        if self.going.lock().contains(broadcast) {
            return Ok(None);
        }
        self.get(broadcast, keeper.archived(broadcast)).await
    }

    /// Its deletion was ordered: nobody is shown it from now on, however long that takes.
    pub(crate) fn condemn(&self, broadcast: &BroadcastId) {
        let mut going = self.going.lock();
        if going.len() < GOING_MAX {
            going.insert(broadcast.clone());
        }
        drop(going);
        self.forget(broadcast);
    }

    /// Nothing of it is left.
    pub(crate) fn is_gone(&self, broadcast: &BroadcastId) {
        self.going.lock().remove(broadcast);
    }

    async fn get(
        &self,
        broadcast: &BroadcastId,
        journal: impl Future<Output = Result<Vec<Entry>, StoreError>>,
    ) -> Result<Option<Arc<RecordingPlaylists>>, StoreError> {
        if let Some(known) = self.known.get(broadcast) {
            if !known.is_old() {
                return Ok(known.playlists());
            }
            // Only now, since nobody looks at the table while something is taken out of it.
            self.known.remove_if(broadcast, Known::is_old);
        }
        let place = match self.known.get_value_or_guard_async(broadcast).await {
            Ok(known) => return Ok(known.playlists()),
            Err(place) => place,
        };
        let recording = Recording::read(journal.await?);
        let known = if recording.is_empty() || !recording.has_ended() {
            Known::Nothing { until: Instant::now() + NOTHING_FOR }
        } else {
            Known::Recorded(Arc::new(recording.playlists()))
        };
        // Refused when it was forgotten meanwhile: the journal may have been read before it changed.
        let _ = place.insert(known.clone());
        Ok(known.playlists())
    }

    /// What was known of a show is out of date, also for whoever is reading it now.
    pub(crate) fn forget(&self, broadcast: &BroadcastId) {
        self.known.remove(broadcast);
    }
}

impl Known {
    fn is_old(&self) -> bool {
        matches!(self, Self::Nothing { until } if *until <= Instant::now())
    }

    fn playlists(self) -> Option<Arc<RecordingPlaylists>> {
        match self {
            Self::Recorded(playlists) => Some(playlists),
            Self::Nothing { .. } => None,
        }
    }
}

impl std::fmt::Debug for Recordings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recordings").field("known", &self.known.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RenditionId;
    use crate::store::journal::{EpochRendition, SegmentEntry};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::oneshot;

    fn id(text: &str) -> BroadcastId {
        BroadcastId::parse(text).unwrap()
    }

    /// The journal of a show of so many segments that is over.
    fn journal(segments: u64) -> Vec<Entry> {
        let rendition = RenditionId::parse("v0").unwrap();
        let format = EpochRendition {
            id: rendition,
            init_epoch: 0,
            codecs: "avc1.4d401f".to_owned(),
            picture: None,
            channels: None,
        };
        let segment = |number: u64| {
            Entry::Segment(SegmentEntry {
                rendition,
                number,
                epoch: 0,
                init_epoch: 0,
                discontinuity: 0,
                marks: 0,
                at_micros: number * 2_000_000,
                duration_nanos: 2_000_000_000,
                ends_at_nanos: number * 2_000_000_000,
                independent: true,
                kept: true,
                bytes: 1_000,
            })
        };
        let mut entries = vec![Entry::Epoch { number: 0, discontinuity: 0, renditions: vec![format] }];
        entries.extend((1..=segments).map(segment));
        entries.push(Entry::Ended { target_duration_secs: 2 });
        entries
    }

    /// How many segments its playlist lists.
    fn listed(playlists: &RecordingPlaylists) -> usize {
        let text = playlists.media.values().next().unwrap().bytes(Encoding::Plain);
        String::from_utf8(text.to_vec()).unwrap().matches(".m4s\n").count()
    }

    #[tokio::test]
    async fn many_viewers_of_one_recording_cost_one_reading_of_its_journal() {
        let (recordings, reads) = (Arc::new(Recordings::default()), Arc::new(AtomicUsize::new(0)));
        let viewers = (0..50).map(|_| {
            let (recordings, reads) = (Arc::clone(&recordings), Arc::clone(&reads));
            let read = async move {
                reads.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(journal(3))
            };
            tokio::spawn(async move { listed(&recordings.get(&id("a"), read).await.unwrap().unwrap()) })
        });
        for viewer in viewers.collect::<Vec<_>>() {
            assert_eq!(viewer.await.unwrap(), 3);
        }
        assert_eq!(reads.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn one_who_began_to_read_before_a_recording_changed_does_not_bring_the_old_one_back() {
        let recordings = Arc::new(Recordings::default());
        let (go_on, gate) = oneshot::channel();
        let (began, has_begun) = oneshot::channel();
        let early = tokio::spawn({
            let recordings = Arc::clone(&recordings);
            let read = async move {
                began.send(()).unwrap();
                gate.await.unwrap();
                Ok(journal(3))
            };
            async move { listed(&recordings.get(&id("a"), read).await.unwrap().unwrap()) }
        });
        has_begun.await.unwrap();
        recordings.forget(&id("a"));
        // Who comes now reads for himself, and is not made to wait for what is out of date.
        let now = recordings.get(&id("a"), async { Ok(journal(5)) }).await.unwrap().unwrap();
        assert_eq!(listed(&now), 5);
        go_on.send(()).unwrap();
        assert_eq!(early.await.unwrap(), 3, "its own journal was that long");
        let later = recordings.get(&id("a"), async { panic!("it is known") }).await.unwrap().unwrap();
        assert_eq!(listed(&later), 5);

        recordings.forget(&id("a"));
        assert!(recordings.get(&id("a"), async { Ok(Vec::new()) }).await.unwrap().is_none(), "it was deleted");
    }

    #[tokio::test(start_paused = true)]
    async fn that_there_is_none_is_believed_for_a_moment_and_what_cannot_be_read_is_asked_for_again() {
        let recordings = Recordings::default();
        let mut open = journal(2);
        open.pop();
        for of in [Vec::new(), open] {
            assert!(recordings.get(&id("a"), async { Err(StoreError::Full { limit: 1 }) }).await.is_err());
            assert!(recordings.get(&id("a"), async { Ok(of) }).await.unwrap().is_none());
            tokio::time::advance(NOTHING_FOR - Duration::from_secs(1)).await;
            assert!(recordings.get(&id("a"), async { panic!("it was read a moment ago") }).await.unwrap().is_none());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let over = recordings.get(&id("a"), async { Ok(journal(2)) }).await.unwrap();
        assert_eq!(over.map(|playlists| listed(&playlists)), Some(2));

        assert!(recordings.get(&id("b"), async { Ok(Vec::new()) }).await.unwrap().is_none());
        recordings.forget(&id("b"));
        let over = recordings.get(&id("b"), async { Ok(journal(3)) }).await.unwrap();
        assert_eq!(over.map(|playlists| listed(&playlists)), Some(3), "whoever ends a show says so");
    }

    #[tokio::test]
    async fn names_of_shows_that_never_were_crowd_out_no_recording_that_is_watched() {
        let recordings = Recordings::with_room(400_000);
        for number in 0..5_000 {
            let of = id(&format!("nothing_{number}"));
            assert!(recordings.get(&of, async { Ok(Vec::new()) }).await.unwrap().is_none());
            // One that viewers ask for all the while.
            let read = async {
                assert!(number == 0, "it was let go after {number} names");
                Ok(journal(30))
            };
            assert!(recordings.get(&id("a"), read).await.unwrap().is_some());
        }
        assert!(recordings.known.weight() <= 400_000);
    }

    #[tokio::test]
    async fn long_recordings_take_their_room_and_no_more_than_was_allowed_is_kept() {
        const ROOM: u64 = 400_000;
        let recordings = Recordings::with_room(ROOM);
        for number in 0..100 {
            let of = id(&format!("short_{number}"));
            recordings.get(&of, async { Ok(journal(30)) }).await.unwrap();
            assert!(recordings.known.weight() <= ROOM);
        }
        let short = recordings.known.len();
        assert!((40..100).contains(&short), "one of a minute takes some kilobytes: {short}");
        let one = recordings.get(&id("long"), async { Ok(journal(1_000)) }).await.unwrap().unwrap();
        assert!(Weight.weight(&id("long"), &Known::Recorded(one)) > 100_000);
        assert!(recordings.known.weight() <= ROOM && recordings.known.len() < short, "others went for it");
        let none = Recordings::with_room(1);
        assert!(none.get(&id("a"), async { Ok(journal(1)) }).await.unwrap().is_some());
        assert_eq!(none.known.len(), 0);
    }
}
