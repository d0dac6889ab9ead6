//! What readers see of a rendition: immutable, shared, published whole whenever a part is added.

use super::media_playlist;
use super::named::Named;
use super::past::Past;
use crate::hls::text::Text;
use crate::model::VideoFormat;
use crate::store::RenditionId;
use bytes::Bytes;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

/// One media segment; also the one being built.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    /// The epoch it was made in; part of its key.
    pub(crate) epoch: u64,
    /// The epoch whose init it is decoded with.
    pub(crate) init_epoch: u64,
    /// Discontinuities of the show before this segment.
    pub(crate) discontinuity: u64,
    /// EXT-X-DISCONTINUITY tags right before it. More than one if the rendition missed an epoch.
    pub(crate) marks: u64,
    /// EXT-X-PROGRAM-DATE-TIME.
    pub(crate) at: SystemTime,
    pub(crate) duration: Duration,
    pub(crate) independent: bool,
    /// The bytes are lost (EXT-X-GAP).
    pub(crate) gap: bool,
    /// Empty for a segment that is on disk only.
    pub(crate) parts: Vec<Part>,
    /// What its parts were cut for. Parts are listed beside others of the same target only.
    pub(crate) part_target: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) duration: Duration,
    pub(crate) independent: bool,
    pub(crate) bytes: Bytes,
}

impl Segment {
    pub(crate) fn byte_len(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes.len() as u64).sum()
    }

    /// The segment as its parts, one after the other.
    pub(crate) fn chunks(&self) -> Vec<Bytes> {
        self.parts.iter().map(|part| part.bytes.clone()).collect()
    }
}

/// What the multivariant playlist says about a rendition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RenditionFormat {
    /// RFC 6381.
    pub(crate) codecs: String,
    pub(crate) picture: Option<Picture>,
    pub(crate) channels: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Picture {
    pub(crate) width: u16,
    pub(crate) height: u16,
    pub(crate) frames_per_second: f64,
}

impl Picture {
    pub(crate) fn new(video: &VideoFormat, frames_per_second: f64) -> Self {
        Self { width: video.width, height: video.height, frames_per_second }
    }
}

/// Whether more is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShowState {
    Live,
    /// The publisher is gone and may come back.
    Interrupted,
    Ended,
}

/// How far a rendition has come: the newest segment, and the newest part of it if it is still open or its parts are
/// known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    pub(crate) part: Option<u64>,
}

/// A part that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hint {
    pub(crate) epoch: u64,
    pub(crate) segment: u64,
    pub(crate) part: u64,
}

#[derive(Debug)]
pub(crate) struct RenditionSnapshot {
    pub(crate) id: RenditionId,
    /// Whole seconds.
    pub(crate) target_duration: u64,
    pub(crate) part_target: Duration,
    pub(crate) state: ShowState,
    /// Listed before the closed segments, with numbers that lead to theirs.
    pub(crate) past: Arc<Past>,
    /// What any playlist ever named.
    pub(crate) named: Arc<Named>,
    /// Closed segments in memory, consecutive numbers.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// The segment being built, if it has a part.
    pub(crate) open: Option<Segment>,
    pub(crate) hint: Option<Hint>,
    /// The other renditions of the show and how far they are.
    pub(crate) siblings: Vec<(RenditionId, Position)>,
    /// Inits that listed segments need, by epoch.
    pub(crate) inits: Vec<(u64, Bytes)>,
    pub(crate) full: OnceLock<Text>,
    pub(crate) delta: OnceLock<Text>,
}

impl RenditionSnapshot {
    /// The playlist, rendered once for all readers.
    pub(crate) fn playlist(&self) -> &Text {
        self.full.get_or_init(|| Text::new(media_playlist::render(self)))
    }

    /// The delta update, rendered once for all readers; the whole playlist where nothing may be skipped.
    pub(crate) fn delta_playlist(&self) -> &Text {
        self.delta.get_or_init(|| Text::new(media_playlist::render_delta(self)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.open.is_none()
    }

    /// `None` before the first part.
    pub(crate) fn position(&self) -> Option<Position> {
        let newest = self.open.as_ref().or_else(|| self.segments.last().map(|segment| &**segment))?;
        Some(Position { segment: newest.number, part: (newest.parts.len() as u64).checked_sub(1) })
    }

    /// The number of the newest closed segment.
    pub(crate) fn last_closed(&self) -> Option<u64> {
        self.segments.last().map(|segment| segment.number)
    }

    /// Whether the playlist holds this segment, or this part of it or a later one (rfc8216bis section 6.2.5.2).
    pub(crate) fn contains(&self, segment: u64, part: Option<u64>) -> bool {
        if self.last_closed().is_some_and(|last| last > segment) {
            return true;
        }
        let Some(part) = part else { return self.last_closed() == Some(segment) };
        if let Some(last) = self.segments.last().filter(|last| last.number == segment) {
            // A part beyond the last one means the first part of the next segment.
            let known = last.parts.len() as u64;
            return known == 0 || part < known || self.open.is_some();
        }
        self.open.as_ref().is_some_and(|open| open.number == segment && part < open.parts.len() as u64)
    }

    pub(crate) fn segment(&self, epoch: u64, number: u64) -> Option<&Arc<Segment>> {
        let first = self.segments.first()?.number;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        self.segments.get(index).filter(|segment| segment.epoch == epoch)
    }

    pub(crate) fn part(&self, epoch: u64, number: u64, part: u64) -> Option<&Part> {
        let index = usize::try_from(part).ok()?;
        match &self.open {
            Some(open) if open.number == number && open.epoch == epoch => open.parts.get(index),
            _ => self.segment(epoch, number)?.parts.get(index),
        }
    }

    /// How many closed segments the playlist lists.
    pub(crate) fn listed(&self) -> usize {
        self.past.len() + self.segments.len()
    }

    /// One of them, the oldest first.
    pub(crate) fn listed_segment(&self, index: usize) -> Option<&Segment> {
        let held = || self.segments.get(index.checked_sub(self.past.len())?);
        self.past.get(index).or_else(held).map(|segment| &**segment)
    }

    /// Whether a playlist ever named this segment and the store should have it.
    pub(crate) fn names_segment(&self, epoch: u64, number: u64) -> bool {
        self.last_closed().is_some_and(|newest| self.named.has_segment(epoch, number, newest))
    }

    /// The same of an init.
    pub(crate) fn names_init(&self, epoch: u64) -> bool {
        self.last_closed().is_some_and(|newest| self.named.has_init(epoch, newest))
    }

    pub(crate) fn init(&self, epoch: u64) -> Option<&Bytes> {
        self.inits.iter().find(|(init, _)| *init == epoch).map(|(_, bytes)| bytes)
    }

    /// Whether every listed segment can be decoded alone.
    pub(crate) fn independent(&self) -> bool {
        let held = self.segments.iter().map(|segment| &**segment).chain(&self.open);
        self.past.independent() && held.into_iter().all(|segment| segment.independent)
    }
}
