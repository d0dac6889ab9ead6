//! What a film is made of: which renditions, and their segments in the order in which the file has them. Pure.
//!
//! In: a journal. Out: a plan, and a digest that changes with it. Driven by the maker.

use super::map::Digested;
use crate::hls::packager::{Choice, Segment};
use crate::hls::recording::Recording;
use crate::store::journal::Entry;
use crate::store::{RenditionId, RenditionKind};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) pieces: Vec<Piece>,
    pub(super) has_video: bool,
    pub(super) digest: Digested,
}

/// One segment, or the time of one that is lost.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) rendition: RenditionId,
    pub(super) number: u64,
    pub(super) epoch: u64,
    pub(super) init_epoch: u64,
    pub(super) duration: Duration,
    pub(super) is_lost: bool,
    /// Where it ends on the show's timeline; not known of what the journal lost too.
    pub(super) ends_at: Option<Duration>,
    /// Discontinuities before it, then its date: by these one rendition is laid beside another.
    place: (u64, SystemTime),
}

/// A layer that was there for less of the show than this is no picture of the show.
const MOST_OF_IT: f64 = 0.9;

impl Plan {
    /// `None`: the show is not over, or nothing of it is kept.
    pub(super) fn of(entries: Vec<Entry>) -> Option<Self> {
        let mut ends = HashMap::new();
        for entry in &entries {
            if let Entry::Segment(segment) = entry {
                ends.entry((segment.rendition, segment.epoch, segment.number)).or_insert(segment.ends_at_nanos);
            }
        }
        let recording = Recording::read(entries);
        if !recording.has_ended() {
            return None;
        }
        let choices = recording.choices();
        let video = best(&recording, &choices, RenditionKind::Video);
        let audio = best(&recording, &choices, RenditionKind::Audio);
        let pieces_of = |id: Option<RenditionId>| -> Vec<Piece> {
            let of = |id: RenditionId| {
                let name = |segment: &Segment| (id, segment.epoch, segment.number);
                let end = |segment: &Segment| ends.get(&name(segment)).map(|nanos| Duration::from_nanos(*nanos));
                recording.segments(id).iter().map(move |segment| Piece::of(id, segment, end(segment))).collect()
            };
            id.map(of).unwrap_or_default()
        };
        let (has_video, pieces) = (video.is_some(), merged(pieces_of(video), pieces_of(audio)));
        (!pieces.is_empty()).then(|| Self { digest: digest(&pieces), has_video, pieces })
    }
}

impl Piece {
    pub(super) fn discontinuity(&self) -> u64 {
        self.place.0
    }

    fn of(rendition: RenditionId, segment: &Segment, ends_at: Option<Duration>) -> Self {
        Self {
            rendition,
            number: segment.number,
            epoch: segment.epoch,
            init_epoch: segment.init_epoch,
            duration: segment.duration,
            is_lost: segment.gap,
            ends_at,
            place: (segment.discontinuity, segment.at),
        }
    }
}

/// The largest picture, or the first sound, of those that were there for most of the show.
fn best(recording: &Recording, choices: &[Choice], kind: RenditionKind) -> Option<RenditionId> {
    let kept = |choice: &Choice| -> f64 {
        let there = recording.segments(choice.id).iter().filter(|segment| !segment.gap);
        there.map(|segment| segment.duration.as_secs_f64()).sum()
    };
    let of_kind = || choices.iter().filter(|choice| choice.id.kind == kind).map(|choice| (choice, kept(choice)));
    let longest = of_kind().map(|(_, kept)| kept).fold(0.0, f64::max);
    let fit = of_kind().filter(|(_, kept)| *kept > 0.0 && *kept >= longest * MOST_OF_IT).map(|(choice, _)| choice);
    let area = |choice: &Choice| {
        choice.format.picture.map_or(0, |picture| u32::from(picture.width) * u32::from(picture.height))
    };
    // Of equals the first.
    let by_worth = |one: &&Choice, other: &&Choice| match kind {
        RenditionKind::Video => (area(one), one.average_bps, other.id).cmp(&(area(other), other.average_bps, one.id)),
        RenditionKind::Audio => other.id.cmp(&one.id),
    };
    fit.max_by(by_worth).map(|choice| choice.id)
}

/// Segment by segment, each rendition in its own order.
fn merged(video: Vec<Piece>, audio: Vec<Piece>) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(video.len() + audio.len());
    let (mut video, mut audio) = (video.into_iter().peekable(), audio.into_iter().peekable());
    while let Some(next) = match (video.peek(), audio.peek()) {
        (Some(picture), Some(sound)) if sound.place < picture.place => audio.next(),
        (Some(_), _) => video.next(),
        (None, _) => audio.next(),
    } {
        pieces.push(next);
    }
    pieces
}

fn digest(pieces: &[Piece]) -> Digested {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update([u8::from(piece.rendition.kind == RenditionKind::Video), piece.rendition.index]);
        for number in [piece.number, piece.epoch, piece.init_epoch] {
            hash.update(number.to_be_bytes());
        }
        hash.update(piece.duration.as_nanos().to_be_bytes());
        hash.update([u8::from(piece.is_lost)]);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::journal::{EpochRendition, PictureEntry, SegmentEntry};

    fn id(text: &str) -> RenditionId {
        RenditionId::parse(text).unwrap()
    }

    fn epoch(renditions: &[(&str, Option<u16>)]) -> Entry {
        let of = |(name, height): &(&str, Option<u16>)| EpochRendition {
            id: id(name),
            init_epoch: 0,
            codecs: "x".to_owned(),
            picture: height.map(|height| PictureEntry { width: 100, height, frames_per_second: 30.0 }),
            channels: None,
        };
        Entry::Epoch { number: 0, discontinuity: 0, renditions: renditions.iter().map(of).collect() }
    }

    fn segment(rendition: &str, number: u64, at: u64, kept: bool) -> Entry {
        Entry::Segment(SegmentEntry {
            rendition: id(rendition),
            number,
            epoch: 0,
            init_epoch: 0,
            discontinuity: 0,
            marks: 0,
            at_micros: at,
            duration_nanos: 2_000_000_000,
            ends_at_nanos: number * 2_000_000_000,
            independent: true,
            kept,
            bytes: 1_000,
        })
    }

    fn order(plan: &Plan) -> Vec<String> {
        let name =
            |piece: &Piece| format!("{}{}{}", piece.rendition, if piece.is_lost { "-" } else { "+" }, piece.number);
        plan.pieces.iter().map(name).collect()
    }

    const END: Entry = Entry::Ended { target_duration_secs: 2 };

    #[test]
    fn a_film_has_the_largest_picture_that_lasted_and_its_sound_between() {
        let mut entries =
            vec![epoch(&[("v0", Some(360)), ("v1", Some(720)), ("v2", Some(1080)), ("a0", None), ("a1", None)])];
        for number in 1..=4 {
            let at = number * 2_000_000;
            for rendition in ["v0", "v1", "a0", "a1"] {
                entries.push(segment(rendition, number, at + u64::from(rendition == "a0") * 10, true));
            }
            // The largest layer was there for a moment only.
            entries.push(segment("v2", number, at, number == 1));
        }
        entries.push(END);
        let plan = Plan::of(entries).unwrap();
        assert!(plan.has_video);
        assert_eq!(order(&plan), ["v1+1", "a0+1", "v1+2", "a0+2", "v1+3", "a0+3", "v1+4", "a0+4"]);
    }

    #[test]
    fn what_is_lost_has_its_place_and_another_journal_another_digest() {
        let entries = |kept| vec![epoch(&[("a0", None)]), segment("a0", 1, 0, true), segment("a0", 3, 4, kept), END];
        let (one, other) = (Plan::of(entries(true)).unwrap(), Plan::of(entries(false)).unwrap());
        assert_eq!(order(&one), ["a0+1", "a0-2", "a0+3"]);
        assert_eq!(one.pieces[1].ends_at, None);
        assert!(!one.has_video && one.digest != other.digest);
        assert_eq!(Plan::of(entries(true)).unwrap().digest, one.digest);
    }

    #[test]
    fn a_show_that_goes_on_or_left_nothing_makes_no_film() {
        assert!(Plan::of(vec![]).is_none());
        assert!(Plan::of(vec![epoch(&[("a0", None)]), segment("a0", 1, 0, true)]).is_none());
        assert!(Plan::of(vec![epoch(&[("a0", None)]), segment("a0", 1, 0, false), END]).is_none());
    }
}
