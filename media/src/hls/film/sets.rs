//! Parameter sets within the picture, for films in which they change. Pure.
//!
//! In: a sample entry, keyframes. Out: where in a keyframe its sets go. Driven by the maker.
//! ISO/IEC 14496-15 sections 5.3 and 8.3; ITU-T H.264 section 7.4.1.2.3, H.265 section 7.4.2.4.4.
//!
//! A file may have several sample entries for one track, and a film of a show whose encoder changed its settings has. But of the
//! players only some look at any but the first: browsers and ffmpeg's parser go on with the old sets and show garbage. All of
//! them look at sets within the picture, so there every keyframe has its own as well.

use crate::codec::nal::NalUnits;
use bytes::{BufMut, Bytes};
use mp4_atom::Codec;

#[derive(Debug, Clone)]
pub(super) struct ParameterSets {
    /// Each behind its length, as the keyframe has its own units.
    pub(super) bytes: Bytes,
    length_size: u8,
    family: Family,
}

#[derive(Debug, Clone, Copy)]
enum Family {
    H264,
    H265,
}

/// What is looked for before the picture itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Delimiter,
    Sequence,
    Picture,
    Other,
}

impl ParameterSets {
    /// `None`: a codec whose keyframes have all they need.
    pub(super) fn of(entry: &Codec) -> Option<Self> {
        let (units, length_size, family): (Vec<&Vec<u8>>, _, _) = match entry {
            Codec::Avc1(avc1) => {
                let sets = avc1.avcc.sequence_parameter_sets.iter().chain(&avc1.avcc.picture_parameter_sets);
                (sets.collect(), avc1.avcc.length_size, Family::H264)
            }
            Codec::Hvc1(hvc1) => {
                let sets = hvc1.hvcc.arrays.iter().flat_map(|array| &array.nalus);
                (sets.collect(), hvc1.hvcc.length_size_minus_one + 1, Family::H265)
            }
            _ => return None,
        };
        let mut bytes = Vec::new();
        for unit in units {
            let length = u32::try_from(unit.len()).ok()?.to_be_bytes();
            let (unused, written) = length.split_at(4_usize.checked_sub(usize::from(length_size))?);
            // A set that its own length cannot say is in no picture either.
            if unused.iter().any(|byte| *byte != 0) {
                return None;
            }
            bytes.put_slice(written);
            bytes.put_slice(unit);
        }
        Some(Self { bytes: bytes.into(), length_size, family })
    }

    /// Where in a keyframe they go: first, but for the delimiter. `None`: it has its own, or cannot be read.
    pub(super) fn place_in(&self, keyframe: &[u8]) -> Option<usize> {
        let mut place = 0;
        for unit in NalUnits::new(keyframe, self.length_size) {
            let unit = unit.ok()?;
            match self.family.kind(*unit.first()?) {
                // No unit is empty before it: it is the very first.
                Unit::Delimiter if place == 0 => place = usize::from(self.length_size) + unit.len(),
                Unit::Sequence => return None,
                Unit::Picture => return Some(place),
                Unit::Delimiter | Unit::Other => {}
            }
        }
        None
    }
}

impl Family {
    fn kind(self, header: u8) -> Unit {
        match (self, header & 0x1f, header >> 1 & 0x3f) {
            (Self::H264, 9, _) | (Self::H265, _, 35) => Unit::Delimiter,
            (Self::H264, 7, _) | (Self::H265, _, 33) => Unit::Sequence,
            (Self::H264, 1..=5, _) | (Self::H265, _, 0..=31) => Unit::Picture,
            _ => Unit::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::nal::join;
    use mp4_atom::{Avc1, Avcc, Hvc1, HvcCArray, Hvcc, Visual};

    fn h264(length_size: u8) -> Codec {
        let avcc = Avcc {
            configuration_version: 1,
            avc_profile_indication: 100,
            profile_compatibility: 0,
            avc_level_indication: 31,
            length_size,
            sequence_parameter_sets: vec![vec![0x67, 1, 2]],
            picture_parameter_sets: vec![vec![0x68, 3]],
            ext: None,
        };
        Codec::Avc1(Avc1 { visual: Visual::default(), avcc, ..Avc1::default() })
    }

    #[test]
    fn sets_stand_before_the_picture_and_behind_the_delimiter() {
        let sets = ParameterSets::of(&h264(4)).unwrap();
        assert_eq!(sets.bytes, &[0, 0, 0, 3, 0x67, 1, 2, 0, 0, 0, 2, 0x68, 3][..]);
        let idr = &[0x65, 9, 9][..];
        assert_eq!(sets.place_in(&join(&[idr])), Some(0));
        assert_eq!(sets.place_in(&join(&[&[0x06, 5][..], idr])), Some(0), "before what goes with the picture");
        assert_eq!(sets.place_in(&join(&[&[0x09, 0xf0][..], idr])), Some(6));
        assert_eq!(sets.place_in(&join(&[&[0x67, 1][..], &[0x68][..], idr])), None, "it has its own");
        for torn in [&[][..], &[0, 0][..], &[0, 0, 0, 9, 0x65][..], &[0, 0, 0, 0][..]] {
            assert_eq!(sets.place_in(torn), None, "{torn:?}");
        }
        assert_eq!(ParameterSets::of(&h264(2)).unwrap().bytes, &[0, 3, 0x67, 1, 2, 0, 2, 0x68, 3][..]);
    }

    #[test]
    fn hevc_has_three_kinds_of_them() {
        let array = |nal_unit_type: u8| HvcCArray {
            completeness: true,
            nal_unit_type,
            nalus: vec![vec![nal_unit_type << 1, 1, nal_unit_type]],
        };
        let mut hvcc = Hvcc::new();
        hvcc.length_size_minus_one = 3;
        hvcc.arrays = vec![array(32), array(33), array(34)];
        let sets = ParameterSets::of(&Codec::Hvc1(Hvc1 { hvcc, ..Hvc1::default() })).unwrap();
        assert_eq!(sets.bytes, join(&[[64, 1, 32], [66, 1, 33], [68, 1, 34]]));
        let idr = &[19 << 1, 1, 7][..];
        assert_eq!(sets.place_in(&join(&[&[35 << 1, 1][..], idr])), Some(6));
        assert_eq!(sets.place_in(&join(&[&[33 << 1, 1][..], idr])), None);
    }
}
