//! INSIDE A FRAME: bytes in, facts out.
//!
//! Each module reads a codec's configuration record into a [`VideoFormat`](crate::model::VideoFormat) or an
//! [`AudioFormat`](crate::model::AudioFormat) and answers the few questions the plane has about a frame. Nothing here
//! decodes pictures or sound, and nothing trusts a length it has not checked.

pub mod aac;
pub mod av1;
mod bits;
mod error;
pub mod h264;
pub mod h265;
pub mod nal;
pub mod opus;
pub mod vp9;

pub use error::CodecError;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    /// One record of each codec, from real encoders: avcC, hvcC, av1C, AudioSpecificConfig, OpusHead.
    const RECORDS: [&str; 5] = [
        "0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f183196001000668ebe3cb22c0fdf8f800",
        "0101600000009000000000005df000fcfdf8f800000f03a00001001840010c01ffff01600000030090000003000003005d959409\
         a10001002b42010101600000030090000003000003005da00280802d16595952930bc05a020000030002000003003c10a200010006\
         4401c073c189",
        "81050c000a0b0000002d4cffb3c02f8004",
        "2b920800",
        "4f707573486561640102380180bb0000000000",
    ];

    fn bytes_of(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// Every reader on the same bytes.
    fn read_all(record: &Bytes) -> usize {
        let avc = h264::Configuration::parse(record).and_then(|avc| avc.format(avc.write())).is_ok();
        let hevc = h265::Configuration::parse(record).and_then(|hevc| hevc.format(hevc.write())).is_ok();
        let others =
            [av1::format(record.clone()).is_ok(), aac::format(record.clone()).is_ok(), opus::format(record).is_ok()];
        let sets = [(h265::SPS, record.clone())];
        let _ = (h264::Sps::parse(record), h265::Configuration::from_parameter_sets(&sets, 4));
        let _ = (vp9::keyframe_size(record), vp9::format(record, (1, 1)), opus::packet_samples(record));
        let _ = (vp9::format_of_keyframe(record), av1::is_keyframe(record, None));
        let _ = av1::sequence_header(record).ok().flatten().map(|header| av1::record(&header));
        let _ = (h264::has_b_slice(record, 4), opus::format_of_packet(record));
        others.into_iter().chain([avc, hevc]).filter(|read| *read).count()
    }

    #[test]
    fn records_of_real_encoders_are_read() {
        assert!(RECORDS.iter().all(|record| read_all(&bytes_of(record).into()) >= 1));
    }

    proptest! {
        #[test]
        fn damaged_records_are_no_panic(
            which in 0..RECORDS.len(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut record = bytes_of(RECORDS[which]);
            for (index, byte) in damage {
                let index = index.index(record.len());
                record[index] = byte;
            }
            record.truncate(cut.index(record.len()) + 1);
            read_all(&record.into());
        }
    }
}
