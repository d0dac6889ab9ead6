//! One audio body (FLV 10.1 annex E.4.2, Enhanced RTMP v2 "ExAudioTagHeader").
//!
//! ```text
//! classic    sound format 4, rate 2, size 1, channels 1 | AAC packet type 8 | data
//! enhanced   9 (4), packet type 4 | [ModEx …] | [multitrack …] | FourCC | data
//! ```

use super::Skipped;
use super::fourcc::{self, CODED_FRAMES, Enhanced, SEQUENCE_START, Wrappers};
use crate::model::AudioCodec;
use bytes::{Buf, Bytes};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum AudioBody {
    /// AudioSpecificConfig or OpusHead.
    Configuration {
        codec: AudioCodec,
        record: Bytes,
    },
    Frame {
        codec: AudioCodec,
        payload: Bytes,
    },
}

const CLASSIC_AAC: u8 = 10;
const ENHANCED: u8 = 9;
const WRAPPERS: Wrappers = Wrappers { multitrack: 5, mod_ex: 7 };

pub(super) fn parse(mut body: Bytes) -> Result<AudioBody, Skipped> {
    if !body.has_remaining() {
        return Err(Skipped::Truncated);
    }
    let head = body.get_u8();
    let (codec, packet_type, body) = match head >> 4 {
        CLASSIC_AAC if !body.has_remaining() => return Err(Skipped::Truncated),
        CLASSIC_AAC => (AudioCodec::Aac, body.get_u8(), body),
        ENHANCED => {
            let Enhanced { packet_type, fourcc, body } = fourcc::unwrap(head & 0xf, body, &WRAPPERS)?;
            let codec = match &fourcc {
                b"mp4a" => AudioCodec::Aac,
                b"Opus" => AudioCodec::Opus,
                _ => return Err(Skipped::UnknownCodec),
            };
            (codec, packet_type, body)
        }
        _ => return Err(Skipped::UnknownCodec),
    };
    match packet_type {
        // Some encoders send an empty configuration before the real one.
        SEQUENCE_START | CODED_FRAMES if body.is_empty() => Err(Skipped::NoMedia),
        SEQUENCE_START => Ok(AudioBody::Configuration { codec, record: body }),
        CODED_FRAMES => Ok(AudioBody::Frame { codec, payload: body }),
        _ => Err(Skipped::NoMedia),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classic_and_enhanced_bodies_are_read() {
        let read = |bytes: &[&[u8]]| parse(bytes.concat().into());
        let aac = |payload: &'static [u8]| AudioBody::Frame { codec: AudioCodec::Aac, payload: payload.into() };
        let opus = |payload: &'static [u8]| AudioBody::Frame { codec: AudioCodec::Opus, payload: payload.into() };
        let record = Bytes::from_static(&[0x11, 0x90]);
        let configuration = AudioBody::Configuration { codec: AudioCodec::Aac, record };
        assert_eq!(read(&[&[0xaf, 0, 0x11, 0x90]]), Ok(configuration));
        assert_eq!(read(&[&[0xaf, 1], b"data"]), Ok(aac(b"data")));
        assert_eq!(read(&[&[0xaf, 0]]), Err(Skipped::NoMedia));
        assert_eq!(read(&[&[0x2f], b"mp3"]), Err(Skipped::UnknownCodec));
        assert_eq!(read(&[&[0x91], b"mp4adata"]), Ok(aac(b"data")));
        assert_eq!(read(&[&[0x91], b"Opusdata"]), Ok(opus(b"data")));
        assert_eq!(read(&[&[0x95, 0x11], b"Opus", &[1, 0, 0, 1], b"x", &[0, 0, 0, 4], b"data"]), Ok(opus(b"data")));
        assert_eq!(read(&[&[0x94], b"Opus", &[0]]), Err(Skipped::NoMedia), "channel layout");
        for short in [&[][..], &[0xaf], &[0x91, b'O']] {
            assert_eq!(read(&[short]), Err(Skipped::Truncated));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(first in 0x90u8..0xa0, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse([&[first], &bytes[..]].concat().into());
            let _ = parse(bytes.into());
        }
    }
}
