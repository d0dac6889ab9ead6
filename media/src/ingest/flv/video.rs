//! One video body (FLV 10.1 annex E.4.3, Enhanced RTMP v2 "ExVideoTagHeader").
//!
//! ```text
//! classic    frame type 4, codec 4 | AVC packet type 8 | composition time 24 | data
//! enhanced   1, frame type 3, packet type 4 | [ModEx …] | [multitrack …] | FourCC | [composition time 24] | data
//! ```

use super::Skipped;
use super::fourcc::{self, CODED_FRAMES, CODED_FRAMES_X, Enhanced, SEQUENCE_START, Wrappers};
use crate::codec::av1;
use crate::model::VideoCodec;
use bytes::{Buf, Bytes};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum VideoBody {
    /// The codec's configuration record.
    Configuration {
        codec: VideoCodec,
        record: Bytes,
    },
    Frame {
        codec: VideoCodec,
        keyframe: bool,
        composition_ms: i32,
        payload: Bytes,
    },
}

const KEYFRAME: u8 = 1;
/// A seek marker of a player; it holds no picture.
const COMMAND: u8 = 5;

const CLASSIC_AVC: u8 = 7;
/// Not in any standard: H.265 in the classic shape, as encoders made for Chinese platforms send it.
const CLASSIC_HEVC: u8 = 12;

const WRAPPERS: Wrappers = Wrappers { multitrack: 6, mod_ex: 7 };

pub(super) fn parse(mut body: Bytes) -> Result<VideoBody, Skipped> {
    if !body.has_remaining() {
        return Err(Skipped::Truncated);
    }
    let head = body.get_u8();
    if head & 0x80 == 0 {
        return classic(head, body);
    }
    let (frame_type, packet_type) = (head >> 4 & 7, head & 0xf);
    if frame_type == COMMAND {
        return Err(Skipped::NoMedia);
    }
    let Enhanced { packet_type, fourcc, mut body } = fourcc::unwrap(packet_type, body, &WRAPPERS)?;
    let codec = match &fourcc {
        b"avc1" => VideoCodec::H264,
        b"hvc1" => VideoCodec::H265,
        b"av01" => VideoCodec::Av1,
        b"vp09" => VideoCodec::Vp9,
        _ => return Err(Skipped::UnknownCodec),
    };
    let composition_ms = match (packet_type, codec) {
        (SEQUENCE_START, _) => return Ok(VideoBody::Configuration { codec, record: body }),
        (CODED_FRAMES, VideoCodec::H264 | VideoCodec::H265) => fourcc::take_composition_time(&mut body)?,
        (CODED_FRAMES | CODED_FRAMES_X, _) => 0,
        _ => return Err(Skipped::NoMedia),
    };
    frame(codec, frame_type, composition_ms, body)
}

fn classic(head: u8, mut body: Bytes) -> Result<VideoBody, Skipped> {
    const CONFIGURATION: u8 = 0;
    const UNITS: u8 = 1;
    let frame_type = head >> 4;
    if frame_type == COMMAND {
        return Err(Skipped::NoMedia);
    }
    let codec = match head & 0xf {
        CLASSIC_AVC => VideoCodec::H264,
        CLASSIC_HEVC => VideoCodec::H265,
        _ => return Err(Skipped::UnknownCodec),
    };
    if body.len() < 4 {
        return Err(Skipped::Truncated);
    }
    let packet_type = body.get_u8();
    let composition_ms = fourcc::take_composition_time(&mut body)?;
    match packet_type {
        CONFIGURATION => Ok(VideoBody::Configuration { codec, record: body }),
        UNITS => frame(codec, frame_type, composition_ms, body),
        _ => Err(Skipped::NoMedia),
    }
}

fn frame(codec: VideoCodec, frame_type: u8, composition_ms: i32, payload: Bytes) -> Result<VideoBody, Skipped> {
    let payload = if codec == VideoCodec::Av1 { av1::without_temporal_delimiter(payload) } else { payload };
    if payload.is_empty() {
        return Err(Skipped::NoMedia);
    }
    Ok(VideoBody::Frame { codec, keyframe: frame_type == KEYFRAME, composition_ms, payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(bytes: &[&[u8]]) -> Bytes {
        bytes.concat().into()
    }

    fn framed(codec: VideoCodec, keyframe: bool, composition_ms: i32) -> Result<VideoBody, Skipped> {
        Ok(VideoBody::Frame { codec, keyframe, composition_ms, payload: Bytes::from_static(b"data") })
    }

    #[test]
    fn classic_bodies_are_read() {
        let record = Bytes::from_static(b"avcC");
        let configuration = parse(body(&[&[0x17, 0, 0, 0, 0], b"avcC"]));
        assert_eq!(configuration, Ok(VideoBody::Configuration { codec: VideoCodec::H264, record }));
        assert_eq!(parse(body(&[&[0x27, 1, 0, 0, 66], b"data"])), framed(VideoCodec::H264, false, 66));
        assert_eq!(parse(body(&[&[0x17, 1, 0xff, 0xff, 0xfe], b"data"])), framed(VideoCodec::H264, true, -2));
        assert_eq!(parse(body(&[&[0x1c, 1, 0, 0, 0], b"data"])), framed(VideoCodec::H265, true, 0));
        assert_eq!(parse(body(&[&[0x17, 2, 0, 0, 0]])), Err(Skipped::NoMedia), "end of sequence");
        assert_eq!(parse(body(&[&[0x57, 0]])), Err(Skipped::NoMedia), "seek marker");
        assert_eq!(parse(body(&[&[0x12, 0, 0, 0, 0], b"data"])), Err(Skipped::UnknownCodec), "Sorenson");
        for short in [&[][..], &[0x17], &[0x17, 1, 0, 0]] {
            assert_eq!(parse(body(&[short])), Err(Skipped::Truncated));
        }
    }

    #[test]
    fn enhanced_bodies_are_read() {
        assert_eq!(parse(body(&[&[0x91], b"hvc1", &[0, 0, 40], b"data"])), framed(VideoCodec::H265, true, 40));
        assert_eq!(parse(body(&[&[0xa3], b"hvc1data"])), framed(VideoCodec::H265, false, 0));
        assert_eq!(parse(body(&[&[0x91], b"av01", &[0x12, 0], b"data"])), framed(VideoCodec::Av1, true, 0));
        assert_eq!(parse(body(&[&[0xa1], b"vp09data"])), framed(VideoCodec::Vp9, false, 0));
        assert_eq!(parse(body(&[&[0x92], b"avc1"])), Err(Skipped::NoMedia), "end of sequence");
        assert_eq!(parse(body(&[&[0x94], b"hvc1", &[2, 0, 0]])), Err(Skipped::NoMedia), "colour information");
        assert_eq!(parse(body(&[&[0x91], b"vvc1data"])), Err(Skipped::UnknownCodec));
    }

    #[test]
    fn modifiers_and_tracks_are_unwrapped() {
        let modified = body(&[&[0x97, 2, 0, 0, 9, 0x01], b"avc1", &[0, 0, 0], b"data"]);
        assert_eq!(parse(modified), framed(VideoCodec::H264, true, 0));
        let one = body(&[&[0x96, 0x01], b"hvc1", &[0, 0, 0, 7], b"data"]);
        assert_eq!(parse(one), framed(VideoCodec::H265, true, 7));
        let many = body(&[&[0x96, 0x13], b"hvc1", &[1, 0, 0, 2], b"xx", &[0, 0, 0, 4], b"data"]);
        assert_eq!(parse(many), framed(VideoCodec::H265, true, 0));
        let codecs = body(&[&[0x96, 0x23], b"av01", &[1, 0, 0, 2], b"xx", b"vp09", &[0, 0, 0, 4], b"data"]);
        assert_eq!(parse(codecs), framed(VideoCodec::Vp9, true, 0));
        assert_eq!(parse(body(&[&[0x96, 0x03], b"hvc1", &[3], b"data"])), Err(Skipped::NoMedia));
        let cut_later = body(&[&[0x96, 0x13], b"hvc1", &[0, 0, 0, 4], b"data", &[1, 0xff, 0xff, 0xff]]);
        assert_eq!(parse(cut_later), framed(VideoCodec::H265, true, 0));
        let lying = body(&[&[0x96, 0x13], b"hvc1", &[1, 0xff, 0xff, 0xff], b"xx"]);
        assert_eq!(parse(lying), Err(Skipped::Truncated));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(first in 0x80u8.., bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(body(&[&[first], &bytes]));
            let _ = parse(bytes.into());
        }
    }
}
