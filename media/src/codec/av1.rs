//! AV1: the `av1C` record and the sequence header inside it (AV1 specification section 5.5, AV1-ISOBMFF section 2.3).
//!
//! ```text
//! 1 marker, version 7 | seq_profile 3, seq_level_idx_0 5 | tier 1, high_bitdepth 1, twelve_bit 1, mono 1, subsampling 2, position 2
//!   | reserved 3, initial_presentation_delay 5 | configOBUs
//! ```

use super::CodecError;
use super::bits::Bits;
use crate::model::{FrameRate, VideoCodec, VideoFormat};
use bytes::{Buf, Bytes};

const WHAT: &str = "av1C";

pub fn format(record: Bytes) -> Result<VideoFormat, CodecError> {
    if record.len() < 4 {
        return Err(CodecError::Truncated { what: WHAT, field: "configOBUs" });
    }
    if record[0] != 0x81 {
        return Err(CodecError::Unsupported { what: WHAT, field: "version", value: u32::from(record[0] & 0x7f) });
    }
    let header = SequenceHeader::parse(sequence_header_obu(&record[4..])?)?;
    let depth = match (record[2] >> 6 & 1, record[2] >> 5 & 1) {
        (0, _) => 8,
        (_, 0) => 10,
        (_, _) => 12,
    };
    let (profile, level) = (record[1] >> 5, record[1] & 0x1f);
    let tier = if record[2] >> 7 == 0 { 'M' } else { 'H' };
    Ok(VideoFormat {
        codec: VideoCodec::Av1,
        rfc6381: format!("av01.{profile}.{level:02}{tier}.{depth:02}"),
        configuration: record,
        width: header.width,
        height: header.height,
        frame_rate: header.frame_rate,
    })
}

/// A frame without the temporal delimiter some muxers leave at its start; fMP4 and RTP both want it gone
/// (AV1-ISOBMFF section 2.4).
pub fn without_temporal_delimiter(mut payload: Bytes) -> Bytes {
    if payload.len() >= 2 && payload[0] == 0x12 && payload[1] == 0 {
        payload.advance(2);
    }
    payload
}

/// The payload of the first sequence header among `obus` (section 5.3).
fn sequence_header_obu(mut obus: &[u8]) -> Result<&[u8], CodecError> {
    const SEQUENCE_HEADER: u8 = 1;
    let truncated = CodecError::Truncated { what: WHAT, field: "obu_size" };
    while let Some(&header) = obus.first() {
        let (extension, has_size) = (header >> 2 & 1, header >> 1 & 1);
        let rest = obus.get(1 + usize::from(extension)..).ok_or_else(|| truncated.clone())?;
        let (size, rest) = if has_size == 1 { leb128(rest)? } else { (rest.len(), rest) };
        let (payload, rest) = rest.split_at_checked(size).ok_or_else(|| truncated.clone())?;
        if header >> 3 & 0xf == SEQUENCE_HEADER {
            return Ok(payload);
        }
        obus = rest;
    }
    Err(CodecError::Malformed { what: WHAT, field: "configOBUs" })
}

/// Section 4.10.5: seven bits a byte, least significant first.
fn leb128(bytes: &[u8]) -> Result<(usize, &[u8]), CodecError> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate().take(8) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let size = usize::try_from(value).map_err(|_| CodecError::Malformed { what: WHAT, field: "obu_size" })?;
            return Ok((size, &bytes[index + 1..]));
        }
    }
    Err(CodecError::Truncated { what: WHAT, field: "obu_size" })
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct SequenceHeader {
    width: u16,
    height: u16,
    frame_rate: Option<FrameRate>,
}

impl SequenceHeader {
    /// Section 5.5.1, up to the frame size.
    fn parse(payload: &[u8]) -> Result<Self, CodecError> {
        let mut bits = Bits::new("AV1 sequence header", payload);
        bits.skip(3, "seq_profile")?;
        bits.skip(1, "still_picture")?;
        let mut frame_rate = None;
        if bits.flag("reduced_still_picture_header")? {
            bits.skip(5, "seq_level_idx")?;
        } else {
            let mut delay_length = None;
            if bits.flag("timing_info_present_flag")? {
                frame_rate = timing_info(&mut bits)?;
                if bits.flag("decoder_model_info_present_flag")? {
                    delay_length = Some(bits.bits(5, "buffer_delay_length_minus_1")? as usize + 1);
                    bits.skip(32 + 5 + 5, "decoder_model_info")?;
                }
            }
            operating_points(&mut bits, delay_length)?;
        }
        let width_bits = bits.bits(4, "frame_width_bits_minus_1")? + 1;
        let height_bits = bits.bits(4, "frame_height_bits_minus_1")? + 1;
        let width = bits.bits(width_bits, "max_frame_width_minus_1")?;
        let height = bits.bits(height_bits, "max_frame_height_minus_1")?;
        // Sixteen bits of "minus one": 65536 alone does not fit.
        Ok(Self { width: (width as u16).saturating_add(1), height: (height as u16).saturating_add(1), frame_rate })
    }
}

/// Section 5.5.3. A rate only when pictures are evenly spaced.
fn timing_info(bits: &mut Bits<'_>) -> Result<Option<FrameRate>, CodecError> {
    let tick = bits.bits(32, "num_units_in_display_tick")?;
    let time_scale = bits.bits(32, "time_scale")?;
    if !bits.flag("equal_picture_interval")? {
        return Ok(None);
    }
    let ticks = bits.exp_golomb("num_ticks_per_picture_minus_1")?.checked_add(1);
    let denominator = ticks.and_then(|ticks| ticks.checked_mul(tick)).filter(|denominator| *denominator > 0);
    Ok(denominator.map(|denominator| FrameRate { numerator: time_scale, denominator }))
}

fn operating_points(bits: &mut Bits<'_>, delay_length: Option<usize>) -> Result<(), CodecError> {
    let delay_present = bits.flag("initial_display_delay_present_flag")?;
    for _ in 0..=bits.bits(5, "operating_points_cnt_minus_1")? {
        bits.skip(12, "operating_point_idc")?;
        if bits.bits(5, "seq_level_idx")? > 7 {
            bits.skip(1, "seq_tier")?;
        }
        if let Some(length) = delay_length
            && bits.flag("decoder_model_present_for_this_op")?
        {
            bits.skip(2 * length + 1, "operating_parameters_info")?;
        }
        if delay_present && bits.flag("initial_display_delay_present_for_this_op")? {
            bits.skip(4, "initial_display_delay_minus_1")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From SVT-AV1: Main profile, level 3.1, 8 bit, 1280x720.
    const AV1C_720P: &[u8] =
        &[0x81, 0x05, 0x0c, 0x00, 0x0a, 0x0b, 0x00, 0x00, 0x00, 0x2d, 0x4c, 0xff, 0xb3, 0xcc, 0xaf, 0x95, 0x22];

    #[test]
    fn size_and_codec_string_come_from_the_record() {
        let video = format(Bytes::from_static(AV1C_720P)).unwrap();
        assert_eq!((video.width, video.height), (1280, 720));
        assert_eq!(video.rfc6381, "av01.0.05M.08");
    }

    #[test]
    fn every_cut_is_an_error_and_never_a_panic() {
        for end in 0..AV1C_720P.len() {
            assert!(format(Bytes::copy_from_slice(&AV1C_720P[..end])).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn a_leading_temporal_delimiter_is_taken_off() {
        assert_eq!(without_temporal_delimiter(Bytes::from_static(&[0x12, 0, 0x32, 1, 0])), &[0x32, 1, 0][..]);
        assert_eq!(without_temporal_delimiter(Bytes::from_static(&[0x32, 1, 0])), &[0x32, 1, 0][..]);
    }
}
