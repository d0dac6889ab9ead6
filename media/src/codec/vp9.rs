//! VP9: the `vpcC` record (VP Codec ISO Media File Format Binding) and the size in a keyframe (VP9 bitstream
//! specification section 6.2).

use super::CodecError;
use super::bits::Bits;
use crate::model::{VideoCodec, VideoFormat};
use bytes::{BufMut, Bytes, BytesMut};

/// Enhanced RTMP carries VPCodecConfigurationRecord alone; the box's body has version and flags before it.
const FULL_BOX: u32 = 0x0100_0000;

/// `record` is the VPCodecConfigurationRecord, with or without the box's version and flags; it holds no size, so the
/// first keyframe is needed too.
pub fn format(record: &Bytes, (width, height): (u16, u16)) -> Result<VideoFormat, CodecError> {
    let bare = if record.starts_with(&FULL_BOX.to_be_bytes()) { &record[4..] } else { &record[..] };
    if bare.len() < 8 {
        return Err(CodecError::Truncated { what: "vpcC", field: "codecInitializationDataSize" });
    }
    let mut configuration = BytesMut::with_capacity(12);
    configuration.put_u32(FULL_BOX);
    configuration.put_slice(bare);
    let (profile, level, depth) = (bare[0], bare[1], bare[2] >> 4);
    Ok(VideoFormat {
        codec: VideoCodec::Vp9,
        configuration: configuration.freeze(),
        rfc6381: format!("vp09.{profile:02}.{level:02}.{depth:02}"),
        width,
        height,
        frame_rate: None,
    })
}

/// The profile that the body of a `vpcC` box states.
pub fn profile(configuration: &[u8]) -> Option<u8> {
    configuration.strip_prefix(&FULL_BOX.to_be_bytes())?.first().copied()
}

/// Width and height from a keyframe's uncompressed header.
pub fn keyframe_size(payload: &[u8]) -> Result<(u16, u16), CodecError> {
    KeyframeHeader::parse(payload).map(|header| (header.width, header.height))
}

/// The format of a stream that has no record, from a keyframe.
pub fn format_of_keyframe(payload: &[u8]) -> Result<VideoFormat, CodecError> {
    let header = KeyframeHeader::parse(payload)?;
    format(&header.record(), (header.width, header.height))
}

/// Whether a frame is decodable alone; `None`: it is no frame of VP9.
pub fn is_keyframe(payload: &[u8]) -> Option<bool> {
    let mut bits = Bits::new(WHAT, payload);
    Some(begin(&mut bits).ok()?.is_some())
}

const WHAT: &str = "VP9 frame header";

/// A keyframe's uncompressed header, up to the frame size (section 6.2).
#[derive(Debug)]
struct KeyframeHeader {
    profile: u8,
    bit_depth: u8,
    color_space: u32,
    full_range: bool,
    /// In the words of `vpcC`: 1 is 4:2:0, 2 is 4:2:2, 3 is 4:4:4.
    chroma_subsampling: u8,
    width: u16,
    height: u16,
}

/// Up to `frame_type`: the profile of a keyframe.
fn begin(bits: &mut Bits<'_>) -> Result<Option<u8>, CodecError> {
    if bits.bits(2, "frame_marker")? != 2 {
        return Err(CodecError::Malformed { what: WHAT, field: "frame_marker" });
    }
    let profile = bits.bits(1, "profile_low_bit")? | bits.bits(1, "profile_high_bit")? << 1;
    if profile == 3 {
        bits.skip(1, "reserved_zero")?;
    }
    let inter = bits.flag("show_existing_frame")? || bits.flag("frame_type")?;
    Ok((!inter).then_some(profile as u8))
}

impl KeyframeHeader {
    fn parse(payload: &[u8]) -> Result<Self, CodecError> {
        const SYNC_CODE: u32 = 0x49_8342;
        const RGB: u32 = 7;
        let malformed = |field| CodecError::Malformed { what: WHAT, field };
        let mut bits = Bits::new(WHAT, payload);
        let profile = begin(&mut bits)?.ok_or_else(|| malformed("frame_type"))?;
        bits.skip(2, "show_frame")?;
        if bits.bits(24, "frame_sync_code")? != SYNC_CODE {
            return Err(malformed("frame_sync_code"));
        }
        let twelve = profile >= 2 && bits.flag("ten_or_twelve_bit")?;
        let bit_depth = if twelve { 12 } else { 8 + (profile & 2) };
        let odd_profile = profile & 1 == 1;
        let color_space = bits.bits(3, "color_space")?;
        let (full_range, chroma_subsampling) = if color_space == RGB {
            bits.skip(usize::from(odd_profile), "reserved_zero")?;
            (true, 3)
        } else {
            let full_range = bits.flag("color_range")?;
            let sides = if odd_profile { bits.bits(3, "subsampling_x")? >> 1 } else { 0b11 };
            (full_range, [3, 3, 2, 1][sides as usize])
        };
        let mut side = |field| bits.bits(16, field).map(|pixels| (pixels as u16).saturating_add(1));
        let (width, height) = (side("frame_width_minus_1")?, side("frame_height_minus_1")?);
        Ok(Self { profile, bit_depth, color_space, full_range, chroma_subsampling, width, height })
    }

    /// VPCodecConfigurationRecord. Colours in the numbers of ISO/IEC 23091-2.
    fn record(&self) -> Bytes {
        let (primaries, transfer, matrix) = match self.color_space {
            1 | 3 => (6, 6, 6),
            2 => (1, 1, 1),
            4 => (7, 7, 7),
            5 => (9, 14, 9),
            7 => (1, 13, 0),
            _ => (2, 2, 2),
        };
        let depth = self.bit_depth << 4 | self.chroma_subsampling << 1 | u8::from(self.full_range);
        Bytes::copy_from_slice(&[self.profile, self.level(), depth, primaries, transfer, matrix, 0, 0])
    }

    /// The lowest level that takes this size at sixty frames a second: the stream itself states neither.
    fn level(&self) -> u8 {
        /// Level, luma samples a second, luma samples of a picture (VP9 levels, annex A).
        const LEVELS: [(u8, u64, u64); 14] = [
            (10, 829_440, 36_864),
            (11, 2_764_800, 73_728),
            (20, 4_608_000, 122_880),
            (21, 9_216_000, 245_760),
            (30, 20_736_000, 552_960),
            (31, 36_864_000, 983_040),
            (40, 83_558_400, 2_228_224),
            (41, 160_432_128, 2_228_224),
            (50, 311_951_360, 8_912_896),
            (51, 588_251_136, 8_912_896),
            (52, 1_176_502_272, 8_912_896),
            (60, 1_176_502_272, 35_651_584),
            (61, 2_353_004_544, 35_651_584),
            (62, 4_706_009_088, 35_651_584),
        ];
        let samples = u64::from(self.width) * u64::from(self.height);
        let fits = |(_, rate, picture): &&(u8, u64, u64)| samples * 60 <= *rate && samples <= *picture;
        LEVELS.iter().find(fits).map_or(62, |level| level.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_and_keyframe_make_a_format() {
        // Profile 0, shown keyframe, BT.601, 1280x720.
        let keyframe = [0x82, 0x49, 0x83, 0x42, 0x20, 0x4f, 0xf0, 0x2c, 0xf0];
        assert_eq!(keyframe_size(&keyframe), Ok((1280, 720)));
        for end in 0..keyframe.len() - 1 {
            assert!(keyframe_size(&keyframe[..end]).is_err(), "{end} bytes");
        }
        let record = Bytes::from_static(&[0, 31, 0x82, 1, 1, 1, 0, 0]);
        let video = format(&record, (1280, 720)).unwrap();
        assert_eq!(video.rfc6381, "vp09.00.31.08");
        assert_eq!(format(&video.configuration.clone(), (1280, 720)), Ok(video), "the box's body is taken too");
        assert!(format(&record.slice(..7), (1, 1)).is_err());
    }

    #[test]
    fn a_keyframe_says_what_a_record_would() {
        let keyframe = [0x82, 0x49, 0x83, 0x42, 0x20, 0x4f, 0xf0, 0x2c, 0xf0];
        let video = format_of_keyframe(&keyframe).unwrap();
        assert_eq!((video.width, video.height, video.rfc6381.as_str()), (1280, 720, "vp09.00.40.08"));
        assert_eq!(&video.configuration[..], [1, 0, 0, 0, 0, 40, 0x82, 6, 6, 6, 0, 0]);
        // Profile 3, twelve bits of 4:4:4 in BT.2020, 1920x1080.
        let video = format_of_keyframe(&[0xb1, 0x24, 0xc1, 0xa1, 0x68, 0x03, 0xbf, 0x82, 0x1b, 0x80]).unwrap();
        assert_eq!((video.width, video.height, video.rfc6381.as_str()), (1920, 1080, "vp09.03.41.12"));
        assert_eq!(&video.configuration[4..], [3, 41, 0xc6, 9, 14, 9, 0, 0]);
        for end in 0..keyframe.len() - 1 {
            assert!(format_of_keyframe(&keyframe[..end]).is_err(), "{end} bytes");
        }
        assert_eq!(is_keyframe(&keyframe), Some(true));
        assert_eq!(is_keyframe(&[0x86]), Some(false), "an inter frame");
        assert_eq!(is_keyframe(&[0x88]), Some(false), "a frame shown again");
        assert_eq!((is_keyframe(&[]), is_keyframe(&[0x40])), (None, None), "no VP9");
    }
}
