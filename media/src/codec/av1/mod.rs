//! AV1: the `av1C` record and the sequence header inside it (AV1 specification section 5.5, AV1-ISOBMFF section 2.3).
//!
//! ```text
//! 1 marker, version 7 | seq_profile 3, seq_level_idx_0 5 | tier 1, high_bitdepth 1, twelve_bit 1, mono 1, subsampling 2, position 2
//!   | reserved 3, initial_presentation_delay 5 | configOBUs
//! ```

pub mod obu;
mod sequence_header;

use self::obu::{FRAME, FRAME_HEADER, Obu, Obus, SEQUENCE_HEADER};
use self::sequence_header::SequenceHeader;
use super::CodecError;
use crate::model::{VideoCodec, VideoFormat};
use bytes::{Buf, Bytes};

const WHAT: &str = "av1C";
const MISSING: CodecError = CodecError::Malformed { what: WHAT, field: "configOBUs" };

pub fn format(record: Bytes) -> Result<VideoFormat, CodecError> {
    if record.len() < 4 {
        return Err(CodecError::Truncated { what: WHAT, field: "configOBUs" });
    }
    if record[0] != 0x81 {
        return Err(CodecError::Unsupported { what: WHAT, field: "version", value: u32::from(record[0] & 0x7f) });
    }
    let sequence_header = sequence_header(&record[4..])?.ok_or(MISSING)?;
    let header = SequenceHeader::parse(sequence_header.payload)?;
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

/// The record of a stream that has none, from its sequence header (AV1-ISOBMFF section 2.3.3).
pub fn record(sequence_header: &Obu<'_>) -> Result<Bytes, CodecError> {
    let (header, colors) = SequenceHeader::parse_with_colors(sequence_header.payload)?;
    let subsampling = u8::from(colors.subsampling.0) << 1 | u8::from(colors.subsampling.1);
    let depth = u8::from(colors.high_bitdepth) << 1 | u8::from(colors.twelve_bit);
    let mut record = vec![
        0x81,
        header.profile << 5 | header.level,
        header.tier << 7 | depth << 5 | u8::from(colors.monochrome) << 4 | subsampling << 2 | colors.sample_position,
        0,
    ];
    sequence_header.write(&mut record);
    Ok(record.into())
}

/// Whether a temporal unit begins with a frame that is decodable alone. `sequence_header`: the one in force.
pub fn is_keyframe(unit: &[u8], in_force: Option<&Obu<'_>>) -> bool {
    let own = sequence_header(unit).ok().flatten();
    let Some(header) = own.as_ref().or(in_force).and_then(|obu| SequenceHeader::parse(obu.payload).ok()) else {
        return false;
    };
    let first = Obus::new(unit).map_while(Result::ok).find(|obu| matches!(obu.kind, FRAME_HEADER | FRAME));
    // show_existing_frame 0, frame_type KEY_FRAME, show_frame 1 (section 5.9.2). One that is shown later is no place
    // to begin at: what comes before it in the order of display refers to what the viewer has not got.
    first.is_some_and(|obu| header.reduced || obu.payload.first().is_some_and(|byte| byte >> 4 == 0b0001))
}

/// A frame without the temporal delimiter some muxers leave at its start; fMP4 and RTP both want it gone
/// (AV1-ISOBMFF section 2.4).
pub fn without_temporal_delimiter(mut payload: Bytes) -> Bytes {
    if payload.len() >= 2 && payload[0] == 0x12 && payload[1] == 0 {
        payload.advance(2);
    }
    payload
}

/// The first sequence header among `obus`.
pub fn sequence_header(obus: &[u8]) -> Result<Option<Obu<'_>>, CodecError> {
    for obu in Obus::new(obus) {
        let obu = obu?;
        if obu.kind == SEQUENCE_HEADER {
            return Ok(Some(obu));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From SVT-AV1: Main profile, level 3.1, 8 bit, 1280x720.
    const AV1C_720P: &[u8] =
        &[0x81, 0x05, 0x0c, 0x00, 0x0a, 0x0b, 0x00, 0x00, 0x00, 0x2d, 0x4c, 0xff, 0xb3, 0xc0, 0x2f, 0x80, 0x04];

    /// From libaom: 320x180.
    const AV1C_LIBAOM: &[u8] =
        &[0x81, 0x00, 0x0c, 0x00, 0x0a, 0x0b, 0x00, 0x00, 0x00, 0x04, 0x3c, 0xfe, 0xcc, 0xda, 0xf9, 0x00, 0x40];

    #[test]
    fn size_and_codec_string_come_from_the_record() {
        let video = format(Bytes::from_static(AV1C_720P)).unwrap();
        assert_eq!((video.width, video.height), (1280, 720));
        assert_eq!(video.rfc6381, "av01.0.05M.08");
    }

    #[test]
    fn the_record_comes_from_the_sequence_header_as_well() {
        // Of the encoders' own records: SVT-AV1, libaom (its initial_presentation_delay is its muxer's).
        for own in [AV1C_720P, AV1C_LIBAOM] {
            let header = sequence_header(&own[4..]).unwrap().unwrap();
            assert_eq!(record(&header).unwrap(), own);
            for end in 0..header.payload.len() {
                let _ = record(&Obu { payload: &header.payload[..end], ..header });
            }
            assert!(record(&Obu { payload: &[], ..header }).is_err());
        }
    }

    #[test]
    fn a_keyframe_is_one_that_is_shown_at_once() {
        let header = Obu { kind: SEQUENCE_HEADER, extension: None, payload: &AV1C_720P[6..] };
        let unit = |byte: u8| [0x32, 1, byte];
        let is_key = |byte: u8| is_keyframe(&unit(byte), Some(&header));
        assert!(is_key(0b0001_0000), "shown");
        assert!(!is_key(0b0000_0000), "kept for later");
        assert!(!is_key(0b0011_0000), "inter");
        assert!(!is_key(0b1000_0000), "shown again");
        assert!(!is_keyframe(&unit(0b0001_0000), None), "no sequence header yet");
        assert!(!is_keyframe(&[], Some(&header)) && !is_keyframe(&[0x32, 0], Some(&header)), "nothing there");
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
