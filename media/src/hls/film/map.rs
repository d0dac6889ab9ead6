//! A film: its head, and where in which object each piece of its media lies. Pure.
//!
//! In: what the maker found. Out: the bytes kept beside the journal, and back; what to read for a range.
//!
//! ```text
//! "chobi film" version:1 journal:32 has_video:1 duration_micros:8
//! head_len:4 head sets_len:4 sets
//! objects:4 { kind:1 index:1 epoch:8 number:8 pieces:4 { source:1 offset:4 length:4 }* }*
//! sha256 of all before:32
//! ```

use crate::model::BroadcastId;
use crate::store::{ObjectKey, ObjectName, RenditionId, RenditionKind};
use bytes::{Buf, BufMut, Bytes};
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Film {
    pub(super) head: Bytes,
    /// Parameter sets, which no object has within its pictures.
    sets: Bytes,
    objects: Vec<Object>,
    /// Of all objects, one after the other.
    pieces: Vec<Piece>,
    len: u64,
    pub(crate) has_video: bool,
    /// As its container says.
    pub(crate) duration: Duration,
    /// The journal it was made from.
    journal: Digested,
    tag: String,
}

/// A digest of what a film is made from.
pub(super) type Digested = [u8; 32];

/// A segment of which the film has something.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Object {
    name: SegmentName,
    pieces: Range<usize>,
    /// Where it begins in the film.
    start: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentName {
    pub(crate) rendition: RenditionId,
    pub(crate) epoch: u64,
    pub(crate) number: u64,
}

impl SegmentName {
    pub(super) fn key(self, broadcast: &BroadcastId) -> ObjectKey {
        let Self { rendition, epoch, number } = self;
        ObjectKey { broadcast: broadcast.clone(), rendition, epoch, object: ObjectName::Segment(number) }
    }
}

/// Bytes that are media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    source: Source,
    offset: u32,
    length: u32,
}

/// Where they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Object,
    /// Among the film's own parameter sets.
    Sets,
}

/// Something to read for a range of a film.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    Head(Bytes),
    Object {
        name: SegmentName,
        /// In order; none is empty.
        slices: Vec<Slice>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slice {
    /// Of the object.
    Of(Range<usize>),
    /// Between.
    Own(Bytes),
}

/// Where media of a film lies, as the maker finds it.
#[derive(Debug, Default)]
pub(super) struct Media {
    objects: Vec<(SegmentName, Range<usize>)>,
    pieces: Vec<Piece>,
    sets: Vec<u8>,
    bytes: u64,
}

const MAGIC: &[u8] = b"chobi film";
/// To be raised with whatever changes what a film is made of.
const VERSION: u8 = 1;
const DIGEST: usize = 32;

impl Media {
    pub(super) fn begin(&mut self, name: SegmentName) {
        self.objects.push((name, self.pieces.len()..self.pieces.len()));
    }

    /// Keeps parameter sets, and says where.
    pub(super) fn keep_sets(&mut self, sets: &[u8]) -> Range<usize> {
        let begin = self.sets.len();
        self.sets.put_slice(sets);
        begin..self.sets.len()
    }

    /// Parameter sets that were kept.
    pub(super) fn push_sets(&mut self, place: &Range<usize>) {
        self.add(Source::Sets, place);
    }

    /// Bytes of the object that was begun last.
    pub(super) fn push(&mut self, place: &Range<usize>) {
        self.add(Source::Object, place);
    }

    fn add(&mut self, source: Source, place: &Range<usize>) {
        let (Ok(offset), Ok(length)) = (u32::try_from(place.start), u32::try_from(place.len())) else {
            unreachable!("a segment is shorter than 4 GiB: its boxes say so in 32 bits");
        };
        if length == 0 {
            return;
        }
        self.pieces.push(Piece { source, offset, length });
        self.bytes += u64::from(length);
        if let Some((_, pieces)) = self.objects.last_mut() {
            pieces.end = self.pieces.len();
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Film {
    pub(super) fn new(head: Bytes, media: Media, has_video: bool, duration: Duration, journal: Digested) -> Self {
        let mut film = Self {
            len: head.len() as u64,
            head,
            sets: media.sets.into(),
            objects: Vec::with_capacity(media.objects.len()),
            pieces: media.pieces,
            has_video,
            duration,
            journal,
            tag: String::new(),
        };
        for (name, pieces) in media.objects.into_iter().filter(|(_, pieces)| !pieces.is_empty()) {
            let start = film.len;
            film.len += film.pieces[pieces.clone()].iter().map(|piece| u64::from(piece.length)).sum::<u64>();
            film.objects.push(Object { name, pieces, start });
        }
        let digest = Sha256::digest(film.described());
        film.tag = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        film
    }

    /// Bytes of the whole file.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The same for the same bytes, and for no others.
    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    pub(super) fn is_of(&self, journal: &Digested) -> bool {
        self.journal == *journal
    }

    /// About what it takes in memory.
    pub(super) fn weight(&self) -> usize {
        self.head.len()
            + self.sets.len()
            + self.objects.len() * size_of::<Object>()
            + self.pieces.len() * size_of::<Piece>()
    }

    /// What to read for a range, in order.
    pub(crate) fn readings(self: &Arc<Self>, range: Range<u64>) -> impl Iterator<Item = Reading> + Send + use<> {
        let (film, end) = (Arc::clone(self), range.end.min(self.len));
        let mut at = range.start;
        std::iter::from_fn(move || {
            let reading = (at < end).then(|| film.reading(at, end))?;
            at += reading.len();
            Some(reading)
        })
    }

    fn reading(&self, at: u64, end: u64) -> Reading {
        let head = self.head.len() as u64;
        if at < head {
            return Reading::Head(self.head.slice(at as usize..end.min(head) as usize));
        }
        let object = &self.objects[self.objects.partition_point(|object| object.start <= at) - 1];
        let mut start = object.start;
        let mut slices = Vec::new();
        for piece in &self.pieces[object.pieces.clone()] {
            let (from, to) = (at.max(start), end.min(start + u64::from(piece.length)));
            if from < to {
                let offset = piece.offset as usize;
                let slice = offset + (from - start) as usize..offset + (to - start) as usize;
                slices.push(match piece.source {
                    Source::Object => Slice::Of(slice),
                    Source::Sets => Slice::Own(self.sets.slice(slice)),
                });
            }
            start += u64::from(piece.length);
        }
        Reading::Object { name: object.name, slices }
    }

    /// As it is kept.
    pub(super) fn to_bytes(&self) -> Bytes {
        let mut out = self.described();
        let digest = Sha256::digest(&out);
        out.put_slice(&digest);
        out.into()
    }

    fn described(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.weight() + 128);
        out.put_slice(MAGIC);
        out.put_u8(VERSION);
        out.put_slice(&self.journal);
        out.put_u8(u8::from(self.has_video));
        out.put_u64(u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX));
        let counted = |count: usize| u32::try_from(count).expect("a head has fewer than 2^32 bytes, and objects");
        out.put_u32(counted(self.head.len()));
        out.put_slice(&self.head);
        out.put_u32(counted(self.sets.len()));
        out.put_slice(&self.sets);
        out.put_u32(counted(self.objects.len()));
        for Object { name, pieces, .. } in &self.objects {
            out.put_u8(u8::from(name.rendition.kind == RenditionKind::Video));
            out.put_u8(name.rendition.index);
            out.put_u64(name.epoch);
            out.put_u64(name.number);
            out.put_u32(counted(pieces.len()));
            for piece in &self.pieces[pieces.clone()] {
                out.put_u8(u8::from(piece.source == Source::Sets));
                out.put_u32(piece.offset);
                out.put_u32(piece.length);
            }
        }
        out
    }

    /// `None`: damaged, or made by another version.
    pub(super) fn from_bytes(bytes: &Bytes) -> Option<Self> {
        let (described, digest) = bytes.split_at(bytes.len().checked_sub(DIGEST)?);
        if Sha256::digest(described)[..] != *digest {
            return None;
        }
        let mut rest = bytes.slice(..described.len());
        if !rest.starts_with(MAGIC) {
            return None;
        }
        rest.advance(MAGIC.len());
        if rest.try_get_u8().ok()? != VERSION {
            return None;
        }
        let mut journal = [0; DIGEST];
        rest.try_copy_to_slice(&mut journal).ok()?;
        let has_video = rest.try_get_u8().ok()? != 0;
        let duration = Duration::from_micros(rest.try_get_u64().ok()?);
        let head_len = rest.try_get_u32().ok()? as usize;
        let head = (head_len <= rest.len()).then(|| rest.split_to(head_len))?;
        let sets_len = rest.try_get_u32().ok()? as usize;
        let sets = (sets_len <= rest.len()).then(|| rest.split_to(sets_len))?;
        let mut media = Media { sets: sets.into(), ..Media::default() };
        for _ in 0..rest.try_get_u32().ok()? {
            let is_video = rest.try_get_u8().ok()? != 0;
            let kind = if is_video { RenditionKind::Video } else { RenditionKind::Audio };
            let rendition = RenditionId { kind, index: rest.try_get_u8().ok()? };
            media.begin(SegmentName { rendition, epoch: rest.try_get_u64().ok()?, number: rest.try_get_u64().ok()? });
            for _ in 0..rest.try_get_u32().ok()? {
                let source = if rest.try_get_u8().ok()? == 0 { Source::Object } else { Source::Sets };
                let (offset, length) = (rest.try_get_u32().ok()? as usize, rest.try_get_u32().ok()? as usize);
                if source == Source::Sets && offset + length > sets_len {
                    return None;
                }
                media.add(source, &(offset..offset + length));
            }
        }
        rest.is_empty().then(|| Self::new(head, media, has_video, duration, journal))
    }
}

impl Reading {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Head(bytes) => bytes.len() as u64,
            Self::Object { slices, .. } => slices.iter().map(Slice::len).sum(),
        }
    }
}

impl Slice {
    fn len(&self) -> u64 {
        match self {
            Self::Of(range) => range.len() as u64,
            Self::Own(bytes) => bytes.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(kind: RenditionKind, number: u64) -> SegmentName {
        SegmentName { rendition: RenditionId { kind, index: 0 }, epoch: 2, number }
    }

    /// Objects are ten letters each: `a` to `j`, and `A` to `J`.
    fn film() -> Arc<Film> {
        let mut media = Media::default();
        media.begin(name(RenditionKind::Video, 1));
        media.keep_sets(b"<x>");
        let sets = media.keep_sets(b"<y>");
        media.push(&(2..5));
        media.push_sets(&sets);
        media.push(&(7..10));
        media.begin(name(RenditionKind::Video, 2));
        media.begin(name(RenditionKind::Audio, 1));
        media.push(&(0..0));
        media.push(&(1..2));
        let head = Bytes::from_static(b"head");
        Arc::new(Film::new(head, media, true, Duration::from_secs(3), [7; 32]))
    }

    fn read(film: &Arc<Film>, range: Range<u64>) -> String {
        let text = |reading| match reading {
            Reading::Head(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Reading::Object { name, slices } => {
                let object = if name.rendition.kind == RenditionKind::Video { "abcdefghij" } else { "ABCDEFGHIJ" };
                let text = |slice| match slice {
                    Slice::Of(range) => object[range].to_owned(),
                    Slice::Own(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                };
                slices.into_iter().map(text).collect()
            }
        };
        film.readings(range).map(text).collect()
    }

    #[test]
    fn every_range_is_a_part_of_the_whole() {
        let (film, whole) = (film(), "headcde<y>hijB");
        assert_eq!(film.len(), whole.len() as u64);
        for from in 0..=whole.len() {
            for to in from..=whole.len() {
                assert_eq!(read(&film, from as u64..to as u64), whole[from..to], "{from}..{to}");
            }
        }
        assert_eq!(read(&film, 9..99), whole[9..]);
    }

    #[test]
    fn a_film_reads_back_and_no_damage_does() {
        let film = film();
        let bytes = film.to_bytes();
        let again = Film::from_bytes(&bytes).unwrap();
        assert_eq!((&again, again.tag()), (&*film, film.tag()));
        for cut in 0..bytes.len() {
            assert_eq!(Film::from_bytes(&bytes.slice(..cut)), None, "cut at {cut}");
            let mut flipped = bytes.to_vec();
            flipped[cut] ^= 0x10;
            assert_eq!(Film::from_bytes(&flipped.into()), None, "byte {cut} is another");
        }
    }

    #[test]
    fn a_lie_with_a_right_digest_is_refused_too() {
        let described = film().described();
        // Behind the magic, the version, the journal, the kind and the duration: the length of the head.
        let place = MAGIC.len() + 1 + DIGEST + 1 + 8;
        let mut lying = described.clone();
        lying[place..place + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        let mut longer = described.clone();
        longer.put_u8(0);
        let mut newer = described;
        newer[MAGIC.len()] += 1;
        for mut lie in [lying, longer, newer] {
            let digest = Sha256::digest(&lie);
            lie.put_slice(&digest);
            assert_eq!(Film::from_bytes(&lie.into()), None);
        }
    }

    #[test]
    fn another_film_has_another_tag() {
        let (film, mut media) = (film(), Media::default());
        media.begin(name(RenditionKind::Video, 1));
        media.push(&(2..5));
        let other = Film::new(film.head.clone(), media, true, film.duration, [7; 32]);
        assert_ne!(other.tag(), film.tag());
    }
}
