//! What the packager makes, as lines of a journal, and back.
//!
//! In: epochs and segments. Out: entries; or the other way round. Pure. A journal is a file that people may touch, so what
//! is read from it is bounded here.

use super::packager::{Kept, Picture, RenditionFormat, Segment};
use crate::store::journal::{Entry, EpochRendition, PictureEntry, SegmentEntry};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the packager made, as the journal says it.
pub(super) fn entry(kept: &Kept) -> Entry {
    match kept {
        Kept::Epoch { number, discontinuity, renditions } => Entry::Epoch {
            number: *number,
            discontinuity: *discontinuity,
            renditions: renditions
                .iter()
                .map(|rendition| EpochRendition {
                    id: rendition.id,
                    init_epoch: rendition.init_epoch,
                    codecs: rendition.format.codecs.clone(),
                    picture: rendition.format.picture.map(|picture| PictureEntry {
                        width: picture.width,
                        height: picture.height,
                        frames_per_second: picture.frames_per_second,
                    }),
                    channels: rendition.format.channels,
                })
                .collect(),
        },
        Kept::Segment { rendition, segment, ends_at, opening: _ } => Entry::Segment(SegmentEntry {
            rendition: *rendition,
            number: segment.number,
            epoch: segment.epoch,
            init_epoch: segment.init_epoch,
            discontinuity: segment.discontinuity,
            marks: segment.marks,
            at_micros: micros(segment.at),
            duration_nanos: nanos(segment.duration),
            ends_at_nanos: nanos(*ends_at),
            independent: segment.independent,
            kept: true,
            bytes: segment.byte_len(),
        }),
        Kept::Ended { target_duration } => Entry::Ended { target_duration_secs: *target_duration },
    }
}

/// The same, of a segment that goes to no store.
pub(super) fn entry_of_unkept(kept: &Kept) -> Entry {
    let mut entry = entry(kept);
    if let Entry::Segment(segment) = &mut entry {
        segment.kept = false;
    }
    entry
}

/// More discontinuities before one segment than any show has; a journal that tells of more is damaged.
const MAX_MARKS: u64 = 300;

pub(super) fn segment_of(entry: &SegmentEntry) -> Segment {
    Segment {
        number: entry.number,
        epoch: entry.epoch,
        init_epoch: entry.init_epoch,
        discontinuity: entry.discontinuity,
        marks: entry.marks.min(MAX_MARKS),
        at: UNIX_EPOCH + Duration::from_micros(entry.at_micros),
        duration: Duration::from_nanos(entry.duration_nanos),
        independent: entry.independent,
        gap: !entry.kept,
        parts: Vec::new(),
        part_target: Duration::ZERO,
    }
}

pub(super) fn format_of(entry: &EpochRendition) -> RenditionFormat {
    let picture = entry.picture.map(|picture| Picture {
        width: picture.width,
        height: picture.height,
        frames_per_second: picture.frames_per_second,
    });
    // The text comes from a file that people may touch, and goes between quotes.
    let codecs = entry.codecs.chars().filter(|letter| letter.is_ascii_graphic() && *letter != '"').collect();
    RenditionFormat { codecs, picture, channels: entry.channels }
}

fn micros(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
