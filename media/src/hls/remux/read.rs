//! In: a stored segment. Out: its fragments: when they are decoded, their samples, where the payloads lie.
//! Driven by the maker of films. ISO/IEC 14496-12 section 8.8.
//!
//! Reads what `fragment.rs` writes and nothing else. The bytes are our own, but they lay on a disk or in a bucket: whatever does
//! not fit together is damage, and what came before it is still good.

use super::TRACK;
use mp4_atom::{Decode, Moof, TrunSamples};
use std::ops::Range;

/// One `moof` with its `mdat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// Of its first sample.
    pub(crate) decode_time: u64,
    /// At least one.
    pub(crate) samples: Vec<StoredSample>,
    /// Where the payloads lie in the segment, one after the other.
    pub(crate) payloads: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredSample {
    pub(crate) duration: u32,
    pub(crate) composition_offset: i32,
    pub(crate) bytes: u32,
    pub(crate) is_sync: bool,
}

/// What is wrong with a segment, and at which byte the box begins that has it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error("the segment ends within the box at byte {at}")]
    CutShort { at: usize },
    #[error("the box at byte {at} is not the one that belongs there")]
    OtherBox { at: usize },
    #[error("the moof at byte {at} cannot be read")]
    Unreadable { at: usize, source: mp4_atom::Error },
    #[error("the moof at byte {at} is none of ours: {what}")]
    Foreign { at: usize, what: &'static str },
}

const BOX_HEADER: usize = 8;
const IS_NON_SYNC: u32 = 0x0001_0000;

/// The fragments up to the first damage, and that.
pub(crate) fn read_fragments(segment: &[u8]) -> (Vec<Fragment>, Option<Damage>) {
    let (mut fragments, mut at) = (Vec::new(), 0);
    while at < segment.len() {
        match read_fragment(segment, at) {
            Ok(fragment) => {
                at = fragment.payloads.end;
                fragments.push(fragment);
            }
            Err(damage) => return (fragments, Some(damage)),
        }
    }
    (fragments, None)
}

fn read_fragment(segment: &[u8], at: usize) -> Result<Fragment, Damage> {
    let moof = box_at(segment, at, *b"moof")?;
    let mdat = box_at(segment, moof.end, *b"mdat")?;
    let payloads = mdat.start + BOX_HEADER..mdat.end;
    let mut bytes = &segment[moof.clone()];
    let read = Moof::decode(&mut bytes).map_err(|source| Damage::Unreadable { at, source })?;
    let foreign = |what| Damage::Foreign { at, what };

    let [traf] = &read.traf[..] else { return Err(foreign("it has not one track")) };
    if traf.tfhd.track_id != TRACK || !traf.tfhd.default_base_is_moof {
        return Err(foreign("its track has another id, or another base"));
    }
    let decode_time = traf.tfdt.as_ref().ok_or_else(|| foreign("it has no decode time"))?.base_media_decode_time;
    let [run] = &traf.trun[..] else { return Err(foreign("it has not one run")) };
    if run.data_offset.and_then(|offset| usize::try_from(offset).ok()) != Some(payloads.start - at) {
        return Err(foreign("its payloads are elsewhere"));
    }
    // A run without fields of its own would be as long as it claims to be.
    let TrunSamples::Explicit(entries) = &run.samples else { return Err(foreign("its samples say nothing")) };
    let sample = |entry: &mp4_atom::TrunEntry| {
        Some(StoredSample {
            duration: entry.duration.filter(|duration| *duration > 0)?,
            composition_offset: i32::try_from(entry.cts?).ok()?,
            bytes: entry.size?,
            is_sync: entry.flags? & IS_NON_SYNC == 0,
        })
    };
    let samples: Option<Vec<StoredSample>> = entries.iter().map(sample).collect();
    let samples = samples.filter(|samples| !samples.is_empty()).ok_or_else(|| foreign("a sample lacks a field"))?;
    let sum: u64 = samples.iter().map(|sample| u64::from(sample.bytes)).sum();
    if sum != payloads.len() as u64 {
        return Err(foreign("its samples are not as long as its mdat"));
    }
    Ok(Fragment { decode_time, samples, payloads })
}

/// The place of the box that begins here, which must be of this kind. Ours all have 32-bit sizes.
fn box_at(segment: &[u8], at: usize, kind: [u8; 4]) -> Result<Range<usize>, Damage> {
    let header = segment.get(at..at + BOX_HEADER).ok_or(Damage::CutShort { at })?;
    if header[4..] != kind {
        return Err(Damage::OtherBox { at });
    }
    let size = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let end = at.checked_add(size).filter(|end| *end <= segment.len()).ok_or(Damage::CutShort { at })?;
    if size < BOX_HEADER { Err(Damage::CutShort { at }) } else { Ok(at..end) }
}

#[cfg(test)]
mod tests {
    use super::super::{Sample, write_fragment};
    use super::*;
    use crate::model::{Frame, TrackId};
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn sample(keyframe: bool, payload: &'static [u8]) -> Sample {
        let frame = Frame { track: TrackId(0), dts: 0, pts: 0, keyframe, payload: Bytes::from_static(payload) };
        Sample { duration: 3_000, composition_offset: -90, frame: Arc::new(frame) }
    }

    fn segment() -> Vec<u8> {
        let first = write_fragment(1, 90_000, &[sample(true, b"first"), sample(false, b"second")]);
        let second = write_fragment(2, 96_000, &[sample(false, b"third")]);
        [first, second].concat()
    }

    #[test]
    fn what_was_written_is_read() {
        let segment = segment();
        let (fragments, damage) = read_fragments(&segment);
        assert!(damage.is_none() && fragments.len() == 2);
        assert_eq!(&segment[fragments[0].payloads.clone()], b"firstsecond");
        assert_eq!(&segment[fragments[1].payloads.clone()], b"third");
        assert_eq!((fragments[0].decode_time, fragments[1].decode_time), (90_000, 96_000));
        let stored = |bytes, is_sync| StoredSample { duration: 3_000, composition_offset: -90, bytes, is_sync };
        assert_eq!(fragments[0].samples, [stored(5, true), stored(6, false)]);
        assert_eq!(fragments[1].samples, [stored(5, false)]);
    }

    #[test]
    fn a_segment_that_was_cut_keeps_its_whole_fragments() {
        let segment = segment();
        let first = read_fragments(&segment).0[0].payloads.end;
        for cut in 1..segment.len() {
            let (fragments, damage) = read_fragments(&segment[..cut]);
            assert_eq!(fragments.len(), usize::from(cut >= first), "cut at {cut}");
            assert_eq!(damage.is_none(), cut == first, "cut at {cut}");
        }
        assert!(read_fragments(&[]).0.is_empty());
    }

    proptest! {
        /// Whatever is wrong with the bytes: no panic, no more memory than they are worth, nothing outside of them.
        #[test]
        fn damage_is_found_and_never_followed(flips in proptest::collection::vec((0_usize..400, any::<u8>()), 1..6)) {
            let mut segment = segment();
            for (place, value) in flips {
                let place = place % segment.len();
                segment[place] = value;
            }
            let (fragments, _) = read_fragments(&segment);
            for fragment in fragments {
                prop_assert!(fragment.payloads.end <= segment.len());
                let sum: usize = fragment.samples.iter().map(|sample| sample.bytes as usize).sum();
                prop_assert_eq!(sum, fragment.payloads.len());
            }
        }
    }
}
