//! In: samples with decode times. Out: `moof` + `mdat` of one part.
//! Driven by the segmenter when a part closes. ISO/IEC 14496-12 section 8.8.
//!
//! ```text
//! moof ─ mfhd
//!      └ traf ─ tfhd   default-base-is-moof: data offsets count from this moof
//!             ├ tfdt   decode time of the first sample
//!             └ trun   duration, size, flags, composition offset of each sample; data offset of the first
//! mdat ─ payloads, one after the other
//! ```

use super::TRACK;
use crate::model::Frame;
use bytes::{BufMut, Bytes};
use mp4_atom::{Encode, Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, TrunEntry, TrunSamples};
use std::sync::Arc;

/// One frame on the file's clock.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// Ticks until the next sample is decoded.
    pub(crate) duration: u32,
    /// Presentation minus decode time. Negative where an early frame is decoded a little late.
    pub(crate) composition_offset: i32,
    pub(crate) frame: Arc<Frame>,
}

/// `sample_depends_on` = 2: needs no other sample.
const SYNC: u32 = 0x0200_0000;
/// `sample_depends_on` = 1 and `sample_is_non_sync_sample`.
const NON_SYNC: u32 = 0x0101_0000;

/// Each payload is copied once, from its frame into the part.
pub(crate) fn write_fragment(sequence: u32, decode_time: u64, samples: &[Sample]) -> Bytes {
    let entries: Vec<TrunEntry> = samples.iter().map(entry).collect();
    let payload_bytes: usize = samples.iter().map(|sample| sample.frame.payload.len()).sum();
    let trun = Trun { data_offset: Some(0), samples: TrunSamples::Explicit(entries) };
    let moof = Moof {
        mfhd: Mfhd { sequence_number: sequence },
        traf: vec![Traf {
            tfhd: Tfhd { track_id: TRACK, default_base_is_moof: true, ..Tfhd::default() },
            tfdt: Some(Tfdt { base_media_decode_time: decode_time }),
            trun: vec![trun],
            ..Traf::default()
        }],
    };

    let mut part =
        Vec::with_capacity(MOOF_FIXED_BYTES + samples.len() * ENTRY_BYTES + MDAT_HEADER_BYTES + payload_bytes);
    moof.encode(&mut part).expect("composition offsets fit 32 bits, so every field is in range");
    patch_data_offset(&mut part, samples.len());
    part.put_u32(
        u32::try_from(MDAT_HEADER_BYTES + payload_bytes).expect("frames are at most 8 MiB and a part is short"),
    );
    part.put_slice(b"mdat");
    for sample in samples {
        part.put_slice(&sample.frame.payload);
    }
    part.into()
}

fn entry(sample: &Sample) -> TrunEntry {
    TrunEntry {
        duration: Some(sample.duration),
        size: Some(u32::try_from(sample.frame.payload.len()).expect("frames are at most 8 MiB")),
        flags: Some(if sample.frame.keyframe { SYNC } else { NON_SYNC }),
        cts: Some(i64::from(sample.composition_offset)),
    }
}

/// Room for everything in `moof` but the samples: mfhd 16, tfhd 16, tfdt 20, trun 20 and three headers of 8.
const MOOF_FIXED_BYTES: usize = 96;
/// Duration, size, flags and composition offset.
const ENTRY_BYTES: usize = 16;
const MDAT_HEADER_BYTES: usize = 8;

/// The offset of the first payload byte is known only once `moof` is written. `trun` is its last box and the field
/// stands right before the samples, so its place is counted from the end.
fn patch_data_offset(moof: &mut [u8], samples: usize) {
    let offset = i32::try_from(moof.len() + MDAT_HEADER_BYTES).expect("a part holds a few dozen samples");
    // A single sample's flags are written as `first_sample_flags`, before the entries: the field is further up but
    // the number of bytes behind it is the same.
    let place = moof.len() - samples * ENTRY_BYTES - 4;
    moof[place..place + 4].copy_from_slice(&offset.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TrackId;
    use mp4_atom::Decode;
    use proptest::prelude::*;

    fn sample(keyframe: bool, payload: &'static [u8]) -> Sample {
        let frame = Frame { track: TrackId(0), dts: 0, pts: 0, keyframe, payload: Bytes::from_static(payload) };
        Sample { duration: 3_000, composition_offset: -90, frame: Arc::new(frame) }
    }

    proptest! {
        /// Frames → CMAF → frames.
        #[test]
        fn every_sample_reads_back(
            base in 0_u64..1 << 40,
            samples in proptest::collection::vec(
                (1_u32..100_000, -9_000_i32..90_000, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..300)),
                1..40,
            ),
        ) {
            let written: Vec<Sample> = samples
                .iter()
                .map(|(duration, composition_offset, keyframe, payload)| {
                    let payload = Bytes::copy_from_slice(payload);
                    let frame = Frame { track: TrackId(0), dts: 0, pts: 0, keyframe: *keyframe, payload };
                    Sample { duration: *duration, composition_offset: *composition_offset, frame: Arc::new(frame) }
                })
                .collect();
            let part = write_fragment(1, base, &written);
            let mut rest = &part[..];
            let moof = Moof::decode(&mut rest).unwrap();
            let mdat = mp4_atom::Mdat::decode(&mut rest).unwrap();
            prop_assert!(rest.is_empty());
            let traf = &moof.traf[0];
            prop_assert!(traf.tfhd.default_base_is_moof);
            prop_assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, base);
            let mut payloads = &mdat.data[..];
            for (entry, (duration, offset, keyframe, payload)) in traf.trun[0].samples.iter().zip(&samples) {
                prop_assert_eq!(entry.duration, Some(*duration));
                prop_assert_eq!(entry.cts, Some(i64::from(*offset)));
                prop_assert_eq!(entry.flags, Some(if *keyframe { SYNC } else { NON_SYNC }));
                let (read, after) = payloads.split_at(entry.size.unwrap() as usize);
                prop_assert_eq!(read, &payload[..]);
                payloads = after;
            }
            prop_assert!(payloads.is_empty() && traf.trun[0].samples.len() == samples.len());
        }
    }

    #[test]
    fn data_offset_points_at_the_first_payload_byte() {
        for samples in [
            vec![sample(true, b"first")],
            vec![sample(false, b"first")],
            vec![sample(true, b"first"), sample(false, b"second")],
            vec![sample(false, b"first"), sample(true, b"second"), sample(false, b"third")],
        ] {
            let part = write_fragment(7, 90_000, &samples);
            let moof = Moof::decode(&mut &part[..]).unwrap();
            let trun = &moof.traf[0].trun[0];
            let offset = usize::try_from(trun.data_offset.unwrap()).unwrap();
            assert_eq!(&part[offset..offset + 5], b"first");
            assert_eq!(&part[offset - 4..offset], b"mdat");
            let flags: Vec<_> = trun.samples.iter().map(|entry| entry.flags).collect();
            let expected: Vec<_> =
                samples.iter().map(|sample| Some(if sample.frame.keyframe { SYNC } else { NON_SYNC })).collect();
            assert_eq!(flags, expected);
            assert!(part.len() <= MOOF_FIXED_BYTES + samples.len() * ENTRY_BYTES + 8 + 16);
        }
    }
}
