//! Makes a film: reads each segment of a recording once, keeps what its boxes say, and lets the media go.
//!
//! In: a journal, objects of the store. Out: a [`Film`]. Driven by a task of `films`. A segment that is lost, missing or damaged
//! leaves its time; a store that cannot say is an error, for a hole that is not one would stay in the file.

use super::head::{self, MOVIE_SCALE};
use super::map::{Film, Media, SegmentName};
use super::plan::{Piece, Plan};
use super::sets::ParameterSets;
use super::track::{Init, Track};
use crate::hls::remux::{Fragment, read_fragments};
use crate::model::{BroadcastId, MediaTime, Timescale};
use crate::store::{Keeper, ObjectKey, ObjectName, RenditionId, RenditionKind, StoreError};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use mp4_atom::{Decode, Moov};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub(crate) enum FilmError {
    #[error("nothing is kept of the show, or it is not over")]
    Nothing,
    #[error("it has more than {MAX_SAMPLES} frames")]
    TooLong,
    #[error("nobody waits for it any more")]
    Unwanted,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("its head cannot be written")]
    Head(#[from] mp4_atom::Error),
}

/// Segments read ahead, so that a bucket's delay is not waited for one by one. As many are in memory.
const READ_AHEAD: usize = 4;
/// Reads of one object before the store's answer counts, and what is waited between them, doubling.
const TRIES: u32 = 4;
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// Three days of picture and sound; the tables of so many take 128 MiB.
const MAX_SAMPLES: usize = 24_000_000;
/// No frame is shown longer before or after its decoding.
const MAX_OFFSET: Duration = Duration::from_secs(10);
/// A segment ends where its journal line says, or an encoder's hole and a frame earlier.
const MAX_STRAY: Duration = Duration::from_secs(600);
/// Ours take a kilobyte.
const MAX_INIT_BYTES: usize = 256 * 1_024;

/// `progress` hears how many segments were read, and says whether to go on.
pub(super) async fn make(
    plan: Plan,
    broadcast: &BroadcastId,
    keeper: &Keeper,
    progress: impl Fn(usize) -> bool,
) -> Result<Film, FilmError> {
    let mut cutter = Cutter::with(inits(&plan, broadcast, keeper).await?);
    let read = |piece: Piece| async {
        let segment = if piece.is_lost { None } else { object(keeper, &piece.name().key(broadcast), TRIES).await? };
        Ok::<_, FilmError>((piece, segment))
    };
    let mut read = stream::iter(plan.pieces).map(read).buffered(READ_AHEAD).enumerate();
    while let Some((done, found)) = read.next().await {
        if !progress(done) {
            return Err(FilmError::Unwanted);
        }
        let (piece, segment) = found?;
        cutter.take(&piece, segment.as_deref());
        if cutter.samples() > MAX_SAMPLES {
            return Err(FilmError::TooLong);
        }
    }
    drop(read);
    let (tracks, media, zero) = cutter.finish().ok_or(FilmError::Nothing)?;
    let (head, duration) = head::write(tracks, zero, media.bytes())?;
    Ok(Film::new(head, media, plan.has_video, duration, plan.digest))
}

/// The inits of all segments. `None`: it is lost, or none of ours.
async fn inits(plan: &Plan, broadcast: &BroadcastId, keeper: &Keeper) -> Result<Inits, StoreError> {
    let mut inits = Inits::new();
    for piece in plan.pieces.iter().filter(|piece| !piece.is_lost) {
        if let Entry::Vacant(place) = inits.entry(piece.init()) {
            let init = object(keeper, &piece.init_key(broadcast), TRIES).await?;
            place.insert(init.as_deref().and_then(read_init));
        }
    }
    Ok(inits)
}

type Inits = HashMap<(RenditionId, u64), Option<Init>>;

/// An object, asked for so many times while the store fails. `None`: it is not there.
pub(super) async fn object(keeper: &Keeper, key: &ObjectKey, tries: u32) -> Result<Option<Bytes>, StoreError> {
    let mut wait = RETRY_AFTER;
    for _ in 1..tries {
        match keeper.get(key).await {
            Ok(found) => return Ok(found.map(joined)),
            Err(error) => {
                tracing::debug!(%key, error = &error as &dyn std::error::Error, "a segment for a film is read again");
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
        }
    }
    Ok(keeper.get(key).await?.map(joined))
}

fn joined(mut chunks: Vec<Bytes>) -> Bytes {
    if chunks.len() == 1 { chunks.remove(0) } else { chunks.concat().into() }
}

fn read_init(bytes: &[u8]) -> Option<Init> {
    let mut rest = (bytes.len() <= MAX_INIT_BYTES).then_some(bytes)?;
    // `ftyp` first.
    let first = u32::from_be_bytes(*rest.first_chunk::<4>()?) as usize;
    rest = rest.get(first..).filter(|_| first >= 8)?;
    Init::read(Moov::decode(&mut rest).ok()?)
}

impl Piece {
    fn init_key(&self, broadcast: &BroadcastId) -> ObjectKey {
        let (epoch, object) = (self.init_epoch, ObjectName::Init);
        ObjectKey { broadcast: broadcast.clone(), rendition: self.rendition, epoch, object }
    }

    fn init(&self) -> (RenditionId, u64) {
        (self.rendition, self.init_epoch)
    }

    fn name(&self) -> SegmentName {
        SegmentName { rendition: self.rendition, epoch: self.epoch, number: self.number }
    }

    /// Whether a fragment is where this segment should be, and its frames are shown about when they are decoded. What was
    /// damaged in a way that its boxes do not show must not move the rest of the film.
    fn holds(&self, fragment: &Fragment, scale: Timescale) -> bool {
        let per_second = u64::from(scale.get());
        let ticks = |time: Duration| u64::try_from(time.as_nanos() * u128::from(per_second) / 1_000_000_000);
        let (Ok(stray), Ok(most)) = (ticks(MAX_STRAY), ticks(MAX_OFFSET)) else { return false };
        let Ok(end) = ticks(self.ends_at.unwrap_or_default()) else { return false };
        let lasts: u64 = fragment.samples.iter().map(|sample| u64::from(sample.duration)).sum();
        let offsets = fragment.samples.iter().map(|sample| u64::from(sample.composition_offset.unsigned_abs()));
        fragment.decode_time.saturating_add(stray) >= end
            && fragment.decode_time <= end.saturating_add(most)
            && lasts <= stray
            && offsets.max().is_none_or(|offset| offset <= most)
    }
}

/// What is known of the film so far.
#[derive(Debug, Default)]
struct Cutter {
    inits: Inits,
    video: Reels,
    audio: Reels,
    media: Media,
    epoch: Option<OpenEpoch>,
}

/// What goes on without a discontinuity: picture and sound have one timeline.
#[derive(Debug, Clone, Copy)]
struct OpenEpoch {
    discontinuity: u64,
    /// Where it begins in the film: there the one before is shown to its end, as players do it.
    begins: i64,
    /// From its own timeline to the film's. Not known before its first segment.
    shift: Option<i64>,
}

/// The tracks of one kind: one, unless the codec changed.
#[derive(Debug, Default)]
struct Reels {
    tracks: Vec<Track>,
    /// The index of that with the newest sample.
    newest: usize,
    /// Where its samples of the epoch end, if it has any.
    end: Option<i64>,
    /// What was lost since, or since the epoch began.
    lost: Duration,
}

impl Cutter {
    fn with(inits: Inits) -> Self {
        let mut cutter = Self { inits, ..Self::default() };
        let pictures = || cutter.inits.values().flatten().filter(|init| ParameterSets::of(&init.codec).is_some());
        let first = pictures().next().map(|init| init.codec.clone());
        if pictures().any(|init| Some(&init.codec) != first.as_ref()) {
            // In one order whenever the film is made: it must come out the same.
            let mut all: Vec<_> = cutter.inits.iter_mut().collect();
            all.sort_by_key(|(place, _)| **place);
            for init in all.into_iter().filter_map(|(_, init)| init.as_mut()) {
                let sets = ParameterSets::of(&init.codec);
                init.sets = sets.map(|sets| (sets.clone(), cutter.media.keep_sets(&sets.bytes)));
            }
        }
        cutter
    }

    fn take(&mut self, piece: &Piece, segment: Option<&[u8]>) {
        let epoch = self.open_epoch(piece.discontinuity());
        let reels = match piece.rendition.kind {
            RenditionKind::Video => &mut self.video,
            RenditionKind::Audio => &mut self.audio,
        };
        let init = self.inits.get(&piece.init()).and_then(Option::as_ref);
        let (fragments, damage) = segment.map(read_fragments).unwrap_or_default();
        if let Some(damage) = damage {
            let damage = &damage as &dyn std::error::Error;
            tracing::warn!(rendition = %piece.rendition, epoch = piece.epoch, segment = piece.number, damage, "a segment is damaged; the film goes on after it");
        }
        let Some(init) = init else { return reels.lost += piece.duration };
        let good: Vec<Fragment> =
            fragments.into_iter().take_while(|fragment| piece.holds(fragment, init.scale)).collect();
        let Some(begins) = good.first().and_then(|first| first_shown(first, init)) else {
            return reels.lost += piece.duration;
        };
        let shift = epoch.shift.unwrap_or_else(|| epoch.begins + on_film(reels.lost) - begins);
        self.epoch = Some(OpenEpoch { shift: Some(shift), ..epoch });

        let track = reels.track_for(init);
        track.begin_chunk(self.media.bytes(), init);
        self.media.begin(piece.name());
        let mut lasts = 0;
        for mut fragment in good {
            lasts += fragment.samples.iter().map(|sample| i64::from(sample.duration)).sum::<i64>();
            lay(&mut fragment, segment.unwrap_or_default(), init, &mut self.media);
            let decode_time = i64::try_from(fragment.decode_time).unwrap_or(i64::MAX);
            track.push(decode_time, &fragment.samples, init, shift);
        }
        reels.end = Some(track.ends());
        // Of a segment that was cut, the rest.
        reels.lost = piece.duration.saturating_sub(MediaTime::new(lasts, init.scale).to_duration());
    }

    /// The epoch of the segment that comes next.
    fn open_epoch(&mut self, discontinuity: u64) -> OpenEpoch {
        let epoch = match self.epoch {
            Some(epoch) if epoch.discontinuity == discontinuity => epoch,
            before => {
                let begins = before.map_or(0, |epoch| self.video.until(epoch).max(self.audio.until(epoch)));
                (self.video.end, self.video.lost) = (None, Duration::ZERO);
                (self.audio.end, self.audio.lost) = (None, Duration::ZERO);
                OpenEpoch { discontinuity, begins, shift: None }
            }
        };
        self.epoch = Some(epoch);
        epoch
    }

    fn samples(&self) -> usize {
        self.video.tracks.iter().chain(&self.audio.tracks).map(Track::samples).sum()
    }

    /// The tracks, the media, and when the film begins on its own clock: sound may be half a frame before the picture. `None`:
    /// there is nothing in it.
    fn finish(self) -> Option<(Vec<Track>, Media, i64)> {
        let epoch = self.epoch?;
        let tracks: Vec<_> = self.video.finish(epoch).chain(self.audio.finish(epoch)).collect();
        let begins = tracks.iter().map(Track::starts).min()?;
        Some((tracks, self.media, begins.min(0)))
    }
}

/// When the earliest frame of a fragment is shown, on the film's clock.
fn first_shown(fragment: &Fragment, init: &Init) -> Option<i64> {
    let mut at = i64::try_from(fragment.decode_time).ok()?;
    let shown = fragment.samples.iter().map(|sample| {
        let shown = at + i64::from(sample.composition_offset);
        at += i64::from(sample.duration);
        shown
    });
    Some(MediaTime::new(shown.min()?, init.scale).rescale_nearest(MOVIE_SCALE).ticks)
}

fn on_film(duration: Duration) -> i64 {
    let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    MediaTime::new(micros, Timescale::new(1_000_000)).rescale_nearest(MOVIE_SCALE).ticks
}

/// Puts the payloads of a fragment into the media, with the parameter sets that its keyframes are to have.
fn lay(fragment: &mut Fragment, segment: &[u8], init: &Init, media: &mut Media) {
    let (mut laid, mut at) = (fragment.payloads.start, fragment.payloads.start);
    for sample in &mut fragment.samples {
        let payload = at..at + sample.bytes as usize;
        at = payload.end;
        let Some((sets, kept)) = init.sets.as_ref().filter(|_| sample.is_sync) else { continue };
        let grown = u32::try_from(kept.len()).ok().and_then(|more| sample.bytes.checked_add(more));
        if let (Some(place), Some(grown)) = (sets.place_in(&segment[payload.clone()]), grown) {
            media.push(&(laid..payload.start + place));
            media.push_sets(kept);
            laid = payload.start + place;
            sample.bytes = grown;
        }
    }
    media.push(&(laid..at));
}

impl Reels {
    fn track_for(&mut self, init: &Init) -> &mut Track {
        self.newest = self.tracks.iter().position(|track| track.takes(init)).unwrap_or_else(|| {
            self.tracks.push(Track::new(init));
            self.tracks.len() - 1
        });
        &mut self.tracks[self.newest]
    }

    /// Where it ends, with what was lost.
    fn until(&self, epoch: OpenEpoch) -> i64 {
        self.end.unwrap_or(epoch.begins) + on_film(self.lost)
    }

    /// Nothing follows; what was lost at the end is waited through.
    fn finish(mut self, epoch: OpenEpoch) -> impl Iterator<Item = Track> {
        let until = self.until(epoch);
        if let Some(newest) = self.tracks.get_mut(self.newest).filter(|_| !self.lost.is_zero()) {
            newest.hold_until(until);
        }
        self.tracks.into_iter()
    }
}
