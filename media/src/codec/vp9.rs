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

/// Width and height from a keyframe's uncompressed header.
pub fn keyframe_size(payload: &[u8]) -> Result<(u16, u16), CodecError> {
    const WHAT: &str = "VP9 frame header";
    const SYNC_CODE: u32 = 0x49_8342;
    const RGB: u32 = 7;
    let malformed = |field| CodecError::Malformed { what: WHAT, field };
    let mut bits = Bits::new(WHAT, payload);
    if bits.bits(2, "frame_marker")? != 2 {
        return Err(malformed("frame_marker"));
    }
    let profile = bits.bits(1, "profile_low_bit")? | bits.bits(1, "profile_high_bit")? << 1;
    if profile == 3 {
        bits.skip(1, "reserved_zero")?;
    }
    if bits.flag("show_existing_frame")? || bits.flag("frame_type")? {
        return Err(malformed("frame_type"));
    }
    bits.skip(2, "show_frame")?;
    if bits.bits(24, "frame_sync_code")? != SYNC_CODE {
        return Err(malformed("frame_sync_code"));
    }
    if profile >= 2 {
        bits.skip(1, "ten_or_twelve_bit")?;
    }
    let odd_profile = profile & 1 == 1;
    if bits.bits(3, "color_space")? == RGB {
        bits.skip(usize::from(odd_profile), "reserved_zero")?;
    } else {
        bits.skip(if odd_profile { 4 } else { 1 }, "color_range")?;
    }
    let mut side = |field| bits.bits(16, field).map(|pixels| (pixels as u16).saturating_add(1));
    Ok((side("frame_width_minus_1")?, side("frame_height_minus_1")?))
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
}
