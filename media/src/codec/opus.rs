//! Opus: `OpusHead` (RFC 7845 section 5.1) to the body of `dOps`, and packet durations from the TOC byte (RFC 6716
//! section 3.1).

use super::CodecError;
use crate::model::{AudioCodec, AudioFormat};
use bytes::{BufMut, Bytes, BytesMut};

/// Opus always decodes to this (RFC 7845 section 5.1).
pub const SAMPLE_RATE: u32 = 48_000;

/// 20 ms, what encoders send unless told otherwise.
const SAMPLES_PER_FRAME: u32 = 960;

/// 80 ms, which RFC 7845 section 4.2 recommends where the encoder's delay is not known.
const PRE_SKIP: u16 = 3_840;

const MAGIC: &[u8] = b"OpusHead";

/// `head` is the identification header, with its magic signature as Enhanced RTMP has it.
///
/// ```text
/// OpusHead (little endian): magic 8 | version 1 | channels 1 | pre-skip 2 | rate 4 | gain 2 | family 1 | table
/// dOps     (big endian):              0       1 | channels 1 | pre-skip 2 | rate 4 | gain 2 | family 1 | table
/// ```
pub fn format(head: &[u8]) -> Result<AudioFormat, CodecError> {
    const WHAT: &str = "OpusHead";
    let fields = head.strip_prefix(MAGIC).ok_or(CodecError::Malformed { what: WHAT, field: "magic signature" })?;
    let &[version, channels, s0, s1, r0, r1, r2, r3, g0, g1, family, ref table @ ..] = fields else {
        return Err(CodecError::Truncated { what: WHAT, field: "mapping family" });
    };
    if version > 15 {
        return Err(CodecError::Unsupported { what: WHAT, field: "version", value: u32::from(version) });
    }
    if channels == 0 || family == 0 && channels > 2 {
        return Err(CodecError::Malformed { what: WHAT, field: "channel count" });
    }
    let table_length = if family == 0 { 0 } else { 2 + usize::from(channels) };
    let table =
        table.get(..table_length).ok_or(CodecError::Truncated { what: WHAT, field: "channel mapping table" })?;
    let mut body = BytesMut::with_capacity(11 + table_length);
    body.put_slice(&[0, channels, s1, s0, r3, r2, r1, r0, g1, g0, family]);
    body.put_slice(table);
    Ok(audio_format(channels, body.freeze()))
}

/// For a publication that sends no header: the first packet says mono or stereo.
pub fn format_of_packet(packet: &[u8]) -> Result<AudioFormat, CodecError> {
    let toc = packet.first().ok_or(CodecError::Truncated { what: "Opus packet", field: "TOC" })?;
    let channels = 1 + (toc >> 2 & 1);
    let mut body = BytesMut::with_capacity(11);
    body.put_slice(&[0, channels]);
    body.put_u16(PRE_SKIP);
    body.put_u32(SAMPLE_RATE);
    body.put_slice(&[0, 0, 0]);
    Ok(audio_format(channels, body.freeze()))
}

fn audio_format(channels: u8, configuration: Bytes) -> AudioFormat {
    AudioFormat {
        codec: AudioCodec::Opus,
        configuration,
        rfc6381: "opus".into(),
        sample_rate: SAMPLE_RATE,
        channels,
        samples_per_frame: SAMPLES_PER_FRAME,
    }
}

/// Samples at 48 kHz in one packet; `None` when it is not one.
pub fn packet_samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let samples = match toc >> 3 {
        silk @ 0..12 => [480, 960, 1_920, 2_880][usize::from(silk & 3)],
        hybrid @ 12..16 => [480, 960][usize::from(hybrid & 1)],
        celt => [120, 240, 480, 960][usize::from(celt & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    // 120 ms at most (RFC 6716 section 3.4).
    Some(samples * frames).filter(|total| (1..=5_760).contains(total))
}

/// Silence that lasts as long as `packet`, in as many channels; `None` when that is no packet.
pub fn silence_like(packet: &[u8]) -> Option<Bytes> {
    /// CELT's own word for silence.
    const FRAME: [u8; 2] = [0xff, 0xfe];
    let samples = packet_samples(packet)?;
    // CELT, full band; the shortest frame divides every duration there is.
    let (config, per_frame) =
        [(31, 960), (30, 480), (29, 240), (28, 120)].into_iter().find(|(_, per_frame)| samples % per_frame == 0)?;
    let toc = config << 3 | packet[0] & 4;
    let frames = samples / per_frame;
    let mut silence = BytesMut::with_capacity(2 + 2 * frames as usize);
    if frames == 1 {
        silence.put_u8(toc);
    } else {
        // Code 3, constant rate (RFC 6716 section 3.2.5).
        silence.put_slice(&[toc | 3, frames as u8]);
    }
    (0..frames).for_each(|_| silence.put_slice(&FRAME));
    Some(silence.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";

    #[test]
    fn the_header_becomes_the_box_body() {
        let audio = format(HEAD).unwrap();
        assert_eq!(audio.channels, 2);
        assert_eq!(&audio.configuration[..], [0, 2, 0x01, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0]);
        for end in 0..HEAD.len() {
            assert!(format(&HEAD[..end]).is_err(), "{end} bytes");
        }
        assert!(format(b"OpusHead\x01\x06\x38\x01\x80\xbb\x00\x00\x00\x00\x01\x04\x02").is_err(), "short table");
    }

    #[test]
    fn durations_follow_the_first_byte() {
        assert_eq!(packet_samples(&[0xfc]), Some(960), "CELT, 20 ms, one frame");
        assert_eq!(packet_samples(&[0x48 | 1]), Some(1_920), "SILK wide band 20 ms, two frames");
        assert_eq!(packet_samples(&[0x63, 3]), Some(1_440), "hybrid 10 ms, three frames");
        assert_eq!(packet_samples(&[0xfb]), None, "the count is missing");
        assert_eq!(packet_samples(&[0x1b, 63]), None, "longer than a packet may be");
        assert_eq!(packet_samples(&[]), None);
        assert_eq!(format_of_packet(&[0xfc]).map(|format| format.channels), Ok(2));
    }
}
