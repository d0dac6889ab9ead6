//! The live window of one rendition: closed segments, the one being built, numbers that never go back.
//!
//! In: parts and the ends of segments. Out: snapshots for readers, closed segments for the store.
//! Driven by the packager. rfc8216bis section 6.2.2.

use super::bit_rate::{PeakBitRate, bits_per_second};
use super::cadence;
use super::named::Named;
use super::past::Past;
use super::segmenter::ClosedPart;
use super::snapshot::{Hint, Part, Picture, Position, RenditionFormat, RenditionSnapshot, Segment, ShowState};
use crate::model::{MediaFormat, Timescale, TrackFormat};
use crate::store::RenditionId;
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

#[derive(Debug)]
pub(crate) struct Rendition {
    pub(crate) id: RenditionId,
    pub(crate) format: RenditionFormat,
    /// What the newest init was made from.
    media: Option<MediaFormat>,
    /// Inits by epoch, oldest first; those of listed segments and the newest.
    inits: Vec<(u64, Bytes)>,
    window: VecDeque<Arc<Segment>>,
    /// What is listed behind it.
    past: Arc<Past>,
    /// What was ever listed.
    named: Arc<Named>,
    /// Numbers in the window that will be gaps once they leave it.
    lost: BTreeSet<u64>,
    open: Option<Segment>,
    next_number: u64,
    last_discontinuity: Option<u64>,
    peak: PeakBitRate,
    /// Something readers have not seen yet.
    pub(crate) changed: bool,
}

/// What the show as a whole knows and every snapshot states.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShowFacts {
    pub(crate) target_duration: u64,
    pub(crate) part_target: Duration,
    pub(crate) state: ShowState,
}

/// How much a rendition lists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Segments held in memory.
    pub(crate) window_segments: usize,
    /// How far back the list goes, the window included; zero: no further than the window.
    pub(crate) dvr_window: Duration,
    pub(crate) target_duration: u64,
}

/// Where a new segment stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) epoch: u64,
    pub(crate) discontinuity: u64,
    pub(crate) at: SystemTime,
    pub(crate) part_target: Duration,
}

/// A player needs this many target durations in the list to start (section 6.2.2).
const LEAST_TARGET_DURATIONS: u32 = 3;
/// Media shorter than this says nothing about a bit rate.
const TELLING: Duration = Duration::from_millis(500);
/// Bits a second claimed before anything was measured: what a modest phone sends.
const FLOOR_VIDEO_BPS: u64 = 800_000;
const FLOOR_AUDIO_BPS: u64 = 64_000;

/// hls.js asks for no blocking reload while the newest media sequence number is 0, and then polls through the first
/// segment of a show.
const FIRST_NUMBER: u64 = 1;

impl Rendition {
    pub(crate) fn new(id: RenditionId, format: RenditionFormat) -> Self {
        Self {
            id,
            format,
            media: None,
            inits: Vec::new(),
            window: VecDeque::new(),
            past: Arc::default(),
            named: Arc::default(),
            lost: BTreeSet::new(),
            open: None,
            next_number: FIRST_NUMBER,
            last_discontinuity: None,
            peak: PeakBitRate::default(),
            changed: false,
        }
    }

    /// Takes up a rendition where the disk says it stopped.
    pub(crate) fn resume(
        id: RenditionId,
        format: RenditionFormat,
        mut segments: Vec<Segment>,
        inits: Vec<(u64, Bytes)>,
        limits: Limits,
    ) -> Self {
        let last = segments.last();
        let (next_number, last_discontinuity) =
            (last.map_or(FIRST_NUMBER, |segment| segment.number + 1), last.map(|segment| segment.discontinuity));
        let mut named = Named::default();
        segments.iter().for_each(|segment| named.add(segment));
        let window = segments.split_off(segments.len().saturating_sub(limits.window_segments));
        let mut rendition = Self {
            next_number,
            last_discontinuity,
            window: window.into_iter().map(Arc::new).collect(),
            past: Arc::new(Past::of(segments.into_iter())),
            named: Arc::new(named),
            inits,
            changed: true,
            ..Self::new(id, format)
        };
        rendition.trim(limits);
        rendition
    }

    /// The store does not have this segment.
    pub(crate) fn lose(&mut self, segment: u64) {
        if self.window.iter().any(|held| held.number == segment) {
            self.lost.insert(segment);
        } else if self.past.has(segment) {
            // The disk took its time to refuse it.
            Arc::make_mut(&mut self.past).lose(segment);
        }
        Arc::make_mut(&mut self.named).lose(segment);
        self.changed = true;
    }

    /// Whether frames of this format can follow on the newest init.
    pub(crate) fn continues(&self, format: &TrackFormat) -> bool {
        self.media.as_ref() == Some(&format.media)
    }

    pub(crate) fn set_init(&mut self, epoch: u64, bytes: Bytes, format: &TrackFormat) {
        self.media = Some(format.media.clone());
        self.inits.push((epoch, bytes));
    }

    pub(crate) fn set_format(&mut self, format: &TrackFormat, frames_per_second: f64) {
        self.format = describe(format, frames_per_second);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// How long the open segment is, as far as its parts are closed.
    pub(crate) fn open_duration(&self) -> Duration {
        self.open.as_ref().map_or(Duration::ZERO, |open| open.duration)
    }

    pub(crate) fn open_segment(&mut self, opening: Opening) {
        let marks = self.last_discontinuity.map_or(0, |last| opening.discontinuity.saturating_sub(last));
        self.last_discontinuity = Some(opening.discontinuity);
        self.open = Some(Segment {
            number: self.next_number,
            epoch: opening.epoch,
            init_epoch: self.inits.last().map_or(opening.epoch, |(epoch, _)| *epoch),
            discontinuity: opening.discontinuity,
            marks,
            at: opening.at,
            duration: Duration::ZERO,
            independent: true,
            gap: false,
            parts: Vec::with_capacity(16),
            part_target: opening.part_target,
        });
        self.next_number += 1;
    }

    pub(crate) fn push_part(&mut self, part: ClosedPart, scale: Timescale) {
        let open = self.open.as_mut().expect("a segment is opened with its first frame");
        let duration = cadence::duration(part.duration, scale);
        open.independent &= part.independent || !open.parts.is_empty();
        open.duration += duration;
        open.parts.push(Part { duration, independent: part.independent, bytes: part.bytes });
        self.changed = true;
    }

    /// Closes the open segment and trims the window. `None`: there was nothing in it.
    pub(crate) fn close_segment(&mut self, limits: Limits) -> Option<Arc<Segment>> {
        let open = self.open.take()?;
        if open.parts.is_empty() {
            // Its number was never seen by anybody; the next segment takes its place, discontinuities included.
            self.next_number = open.number;
            self.last_discontinuity = self.window.back().map(|last| last.discontinuity);
            return None;
        }
        let target = Duration::from_secs(limits.target_duration);
        self.peak.add(open.byte_len(), open.duration, target);
        if !self.named.knows(&open) {
            Arc::make_mut(&mut self.named).add(&open);
        }
        let segment = Arc::new(open);
        self.window.push_back(Arc::clone(&segment));
        self.trim(limits);
        self.changed = true;
        Some(segment)
    }

    fn trim(&mut self, Limits { window_segments, dvr_window, target_duration }: Limits) {
        let least = Duration::from_secs(target_duration) * LEAST_TARGET_DURATIONS;
        let mut listed: Duration = self.window.iter().map(|segment| segment.duration).sum();
        let reach = dvr_window.saturating_sub(listed);
        while self.window.len() > window_segments {
            let Some(first) = self.window.front() else { break };
            if listed - first.duration < least && self.window.len() < window_segments * 4 {
                break;
            }
            listed -= first.duration;
            if !dvr_window.is_zero() {
                Arc::make_mut(&mut self.past).take(first, &mut self.lost);
            }
            self.window.pop_front();
        }
        if self.past.duration() > reach {
            Arc::make_mut(&mut self.past).trim(reach);
        }
        let needed = self.window.front().map(|first| first.init_epoch);
        let newest = self.inits.last().map(|(epoch, _)| *epoch);
        self.inits.retain(|(epoch, _)| Some(*epoch) >= needed || Some(*epoch) == newest);
    }

    /// How many parts of this epoch there are, in its newest two segments.
    pub(super) fn parts_of(&self, epoch: u64) -> usize {
        let newest_first = self.open.iter().chain(self.window.iter().rev().map(|segment| &**segment));
        newest_first.take(2).filter(|segment| segment.epoch == epoch).map(|segment| segment.parts.len()).sum()
    }

    pub(crate) fn position(&self) -> Option<Position> {
        let open = self.open.as_ref().filter(|open| !open.parts.is_empty());
        let newest = open.or_else(|| self.window.back().map(|segment| &**segment))?;
        Some(Position { segment: newest.number, part: (newest.parts.len() as u64).checked_sub(1) })
    }

    /// The part that will come next. `next_segment_likely`: the open segment is as long as those before it were.
    fn hint(&self, next_segment_likely: bool) -> Option<Hint> {
        let last = self.window.back();
        match &self.open {
            Some(open) if !next_segment_likely || open.parts.is_empty() => {
                Some(Hint { epoch: open.epoch, segment: open.number, part: open.parts.len() as u64 })
            }
            Some(open) => Some(Hint { epoch: open.epoch, segment: open.number + 1, part: 0 }),
            None => last.map(|last| Hint { epoch: last.epoch, segment: last.number + 1, part: 0 }),
        }
    }

    pub(crate) fn snapshot(
        &self,
        facts: ShowFacts,
        siblings: Vec<(RenditionId, Position)>,
        next_likely: bool,
    ) -> RenditionSnapshot {
        RenditionSnapshot {
            id: self.id,
            target_duration: facts.target_duration,
            part_target: facts.part_target,
            state: facts.state,
            past: Arc::clone(&self.past),
            named: Arc::clone(&self.named),
            segments: self.window.iter().cloned().collect(),
            open: self.open.clone().filter(|open| !open.parts.is_empty()),
            hint: if facts.state == ShowState::Live { self.hint(next_likely) } else { None },
            siblings,
            inits: self.inits.clone(),
            full: OnceLock::new(),
            delta: OnceLock::new(),
        }
    }

    /// How many whole segments it lists.
    pub(crate) fn whole_segments(&self) -> usize {
        self.window.len()
    }

    /// The duration of the newest closed segment.
    pub(crate) fn last_duration(&self) -> Option<Duration> {
        self.window.back().map(|segment| segment.duration)
    }

    pub(crate) fn newest_init(&self) -> Option<(u64, &Bytes)> {
        self.inits.last().map(|(epoch, bytes)| (*epoch, bytes))
    }

    pub(crate) fn peak_bps(&self) -> u64 {
        // A short segment between two long ones is in no row that is measured, but it is in the average.
        self.peak.get().unwrap_or(0).max(self.average_bps())
    }

    pub(crate) fn average_bps(&self) -> u64 {
        // The open segment speaks only while there is no other: what is claimed then changes with segments, not parts.
        let open = self.open.as_ref().filter(|_| self.window.is_empty());
        let segments = || self.window.iter().map(|segment| &**segment).chain(open).filter(|one| !one.parts.is_empty());
        let bytes: u64 = segments().map(Segment::byte_len).sum();
        let duration: Duration = segments().map(|segment| segment.duration).sum();
        if duration >= TELLING { bits_per_second(bytes, duration) } else { self.floor_bps() }
    }

    fn floor_bps(&self) -> u64 {
        if self.format.picture.is_some() { FLOOR_VIDEO_BPS } else { FLOOR_AUDIO_BPS }
    }
}

pub(crate) fn describe(format: &TrackFormat, frames_per_second: f64) -> RenditionFormat {
    match &format.media {
        MediaFormat::Video(video) => RenditionFormat {
            codecs: video.rfc6381.clone(),
            picture: Some(Picture::new(video, frames_per_second)),
            channels: None,
        },
        MediaFormat::Audio(audio) => {
            RenditionFormat { codecs: audio.rfc6381.clone(), picture: None, channels: Some(audio.channels) }
        }
    }
}
