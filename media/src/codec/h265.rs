//! H.265: parameter sets and the `hvcC` record (ITU-T H.265, ISO/IEC 14496-15 section 8.3.3.1).
//!
//! ```text
//! byte 0  configurationVersion = 1           13..15 min_spatial_segmentation   19..21 avgFrameRate
//! 1       space 2, tier 1, profile_idc 5     15     parallelismType            21     …, lengthSizeMinusOne 2
//! 2..6    profile compatibility flags        16     chromaFormat               22     numOfArrays
//! 6..12   constraint indicator flags         17     bitDepthLumaMinus8         then { type 8, count 16, { length 16, NAL } … } …
//! 12      level_idc                          18     bitDepthChromaMinus8
//! ```

use super::CodecError;
use super::bits::Bits;
use super::nal::{raw_payload, take_sized, take_u8, take_u16};
use crate::model::{VideoCodec, VideoFormat};
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt::Write;

/// `nal_unit_type` of a unit (ITU-T H.265 section 7.3.1.2).
pub fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |header| header >> 1 & 0x3f)
}

pub const VPS: u8 = 32;
pub const SPS: u8 = 33;
pub const PPS: u8 = 34;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Bytes 1 to 20: profile, tier, level and the rest of the general part.
    general: [u8; 20],
    /// Byte 21 without the length size.
    layers: u8,
    /// Bytes of each NAL unit's length prefix.
    pub length_size: u8,
    /// `(NAL_unit_type, units)` in the record's order; an SPS is among them.
    arrays: Vec<(u8, Vec<Bytes>)>,
}

const WHAT: &str = "hvcC";

impl Configuration {
    pub fn parse(record: &Bytes) -> Result<Self, CodecError> {
        let mut rest = record.clone();
        if rest.len() < 23 {
            return Err(CodecError::Truncated { what: WHAT, field: "numOfArrays" });
        }
        let head = rest.split_to(23);
        // Old x265 muxers write version 0 with the same layout.
        if head[0] > 1 {
            let value = u32::from(head[0]);
            return Err(CodecError::Unsupported { what: WHAT, field: "configurationVersion", value });
        }
        let mut general = [0; 20];
        general.copy_from_slice(&head[1..21]);
        let mut arrays = Vec::new();
        for _ in 0..head[22] {
            let kind = take_u8(&mut rest, WHAT, "NAL_unit_type")? & 0x3f;
            let count = take_u16(&mut rest, WHAT, "numNalus")?;
            let units: Result<Vec<_>, _> = (0..count).map(|_| take_sized(&mut rest, WHAT, "nalUnit")).collect();
            arrays.push((kind, units?));
        }
        let configuration = Self { general, layers: head[21] & !3, length_size: (head[21] & 3) + 1, arrays };
        configuration.units(SPS).next().ok_or(CodecError::Malformed { what: WHAT, field: "NAL_unit_type" })?;
        Ok(configuration)
    }

    /// For a publication that sends its parameter sets inside the frames: `(type, unit)` in any order.
    pub fn from_parameter_sets(sets: &[(u8, Bytes)], length_size: u8) -> Result<Self, CodecError> {
        let of = |kind| (kind, sets.iter().filter(|set| set.0 == kind).map(|set| set.1.clone()).collect::<Vec<_>>());
        let arrays = vec![of(VPS), of(SPS), of(PPS)];
        let first = arrays[1].1.first().ok_or(CodecError::Malformed { what: WHAT, field: "NAL_unit_type" })?;
        let sps = Sps::parse(first)?;
        let mut general = [0; 20];
        general[..12].copy_from_slice(&sps.profile_tier_level);
        // Reserved bits are ones; segmentation, parallelism and frame rate are left unstated.
        general[12] = 0xf0;
        general[14] = 0xfc;
        general[15] = 0xfc | sps.chroma_format;
        general[16] = 0xf8 | sps.bit_depths.0;
        general[17] = 0xf8 | sps.bit_depths.1;
        Ok(Self { general, layers: sps.temporal_layers << 3 | sps.nested << 2, length_size, arrays })
    }

    pub fn write(&self) -> Bytes {
        let mut record = BytesMut::new();
        record.put_u8(1);
        record.put_slice(&self.general);
        record.put_u8(self.layers | (self.length_size - 1));
        record.put_u8(self.arrays.len() as u8);
        for (kind, units) in &self.arrays {
            record.put_u8(0x80 | kind);
            record.put_u16(units.len() as u16);
            for unit in units {
                record.put_u16(unit.len() as u16);
                record.put_slice(unit);
            }
        }
        record.freeze()
    }

    pub fn units(&self, kind: u8) -> impl Iterator<Item = &Bytes> {
        self.arrays.iter().filter(move |array| array.0 == kind).flat_map(|array| &array.1)
    }

    pub fn format(&self, record: Bytes) -> Result<VideoFormat, CodecError> {
        let unit = self.units(SPS).next().ok_or(CodecError::Malformed { what: WHAT, field: "NAL_unit_type" })?;
        let sps = Sps::parse(unit)?;
        Ok(VideoFormat {
            codec: VideoCodec::H265,
            configuration: record,
            rfc6381: self.rfc6381(),
            width: sps.width,
            height: sps.height,
            frame_rate: None,
        })
    }

    /// `hvc1.` profile space and profile, compatibility flags in reverse bit order, tier and level, constraint bytes
    /// without trailing zeros (ISO/IEC 14496-15 annex E.3).
    fn rfc6381(&self) -> String {
        let general = &self.general;
        let space = ["", "A", "B", "C"][usize::from(general[0] >> 6)];
        let tier = if general[0] >> 5 & 1 == 0 { 'L' } else { 'H' };
        let flags = u32::from_be_bytes([general[1], general[2], general[3], general[4]]).reverse_bits();
        let mut text = format!("hvc1.{space}{}.{flags:X}.{tier}{}", general[0] & 0x1f, general[11]);
        let constraints = &general[5..11];
        let used = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for byte in &constraints[..used] {
            // Writing into a String cannot fail.
            let _ = write!(text, ".{byte:X}");
        }
        text
    }
}

/// What we need of a sequence parameter set (ITU-T H.265 section 7.3.2.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sps {
    width: u16,
    height: u16,
    profile_tier_level: [u8; 12],
    temporal_layers: u8,
    nested: u8,
    chroma_format: u8,
    bit_depths: (u8, u8),
}

impl Sps {
    fn parse(unit: &[u8]) -> Result<Self, CodecError> {
        const WHAT: &str = "H.265 sequence parameter set";
        let raw = raw_payload(unit, 2);
        let mut bits = Bits::new(WHAT, &raw);
        bits.skip(4, "sps_video_parameter_set_id")?;
        let sub_layers = bits.bits(3, "sps_max_sub_layers_minus1")?;
        let nested = bits.bits(1, "sps_temporal_id_nesting_flag")? as u8;
        let mut profile_tier_level = [0; 12];
        profile_tier_level
            .copy_from_slice(raw.get(1..13).ok_or(CodecError::Truncated { what: WHAT, field: "profile_tier_level" })?);
        bits.skip(96, "profile_tier_level")?;
        skip_sub_layers(&mut bits, sub_layers)?;
        bits.exp_golomb("sps_seq_parameter_set_id")?;
        let chroma_format = bits.exp_golomb("chroma_format_idc")?;
        if chroma_format > 3 {
            return Err(CodecError::Malformed { what: WHAT, field: "chroma_format_idc" });
        }
        if chroma_format == 3 {
            bits.skip(1, "separate_colour_plane_flag")?;
        }
        let coded = [bits.exp_golomb("pic_width_in_luma_samples")?, bits.exp_golomb("pic_height_in_luma_samples")?];
        let mut crop = [0u32; 4];
        if bits.flag("conformance_window_flag")? {
            for offset in &mut crop {
                *offset = bits.exp_golomb("conf_win_offset")?;
            }
        }
        let depth = |bits: &mut Bits<'_>, field| match bits.exp_golomb(field)? {
            depth @ 0..8 => Ok(depth as u8),
            _ => Err(CodecError::Malformed { what: WHAT, field }),
        };
        let bit_depths = (depth(&mut bits, "bit_depth_luma_minus8")?, depth(&mut bits, "bit_depth_chroma_minus8")?);
        // Offsets count chroma samples: two luma samples across in 4:2:0 and 4:2:2, two down in 4:2:0.
        let (across, down) = (1 + u32::from(matches!(chroma_format, 1 | 2)), 1 + u32::from(chroma_format == 1));
        let cropped = |coded: u32, first: u32, second: u32, unit: u32| {
            let cut = first.checked_add(second)?.checked_mul(unit)?;
            u16::try_from(coded.checked_sub(cut)?).ok().filter(|pixels| *pixels > 0)
        };
        let malformed = CodecError::Malformed { what: WHAT, field: "conf_win_offset" };
        Ok(Self {
            width: cropped(coded[0], crop[0], crop[1], across).ok_or_else(|| malformed.clone())?,
            height: cropped(coded[1], crop[2], crop[3], down).ok_or(malformed)?,
            profile_tier_level,
            temporal_layers: sub_layers as u8 + 1,
            nested,
            chroma_format: chroma_format as u8,
            bit_depths,
        })
    }
}

/// The sub-layer part of `profile_tier_level()` (section 7.3.3).
fn skip_sub_layers(bits: &mut Bits<'_>, sub_layers: u32) -> Result<(), CodecError> {
    if sub_layers == 0 {
        return Ok(());
    }
    let mut lengths = 0;
    for _ in 0..sub_layers {
        lengths += if bits.flag("sub_layer_profile_present_flag")? { 88 } else { 0 };
        lengths += if bits.flag("sub_layer_level_present_flag")? { 8 } else { 0 };
    }
    bits.skip(2 * (8 - sub_layers as usize), "reserved_zero_2bits")?;
    bits.skip(lengths, "sub_layer_profile")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From x265: 1280x720 Main, level 3.1.
    const SPS_720P: &[u8] = &[
        0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x5d,
        0xa0, 0x02, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0x52, 0x93, 0x0b, 0xc0, 0x5a, 0x02, 0x00, 0x00, 0x03, 0x00,
        0x02, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x10,
    ];

    fn configuration() -> Configuration {
        let sets = [
            (VPS, Bytes::from_static(&[0x40, 0x01, 0x0c, 0x01])),
            (SPS, Bytes::from_static(SPS_720P)),
            (PPS, Bytes::from_static(&[0x44, 0x01, 0xc1, 0x72])),
        ];
        Configuration::from_parameter_sets(&sets, 4).unwrap()
    }

    #[test]
    fn a_record_survives_writing_and_parsing() {
        let record = configuration().write();
        assert_eq!(Configuration::parse(&record), Ok(configuration()));
        let format = configuration().format(record).unwrap();
        assert_eq!((format.width, format.height), (1280, 720));
        assert_eq!(format.rfc6381, "hvc1.1.6.L93.90");
    }

    #[test]
    fn every_cut_is_an_error_and_never_a_panic() {
        let record = configuration().write();
        for end in 0..record.len() {
            assert!(Configuration::parse(&record.slice(..end)).is_err(), "{end} bytes");
        }
        for end in 0..23 {
            assert!(Sps::parse(&SPS_720P[..end]).is_err(), "{end} bytes");
        }
    }
}
