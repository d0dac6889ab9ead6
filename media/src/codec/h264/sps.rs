//! What we need of a sequence parameter set (ITU-T H.264 section 7.3.2.1).

use crate::codec::CodecError;
use crate::model::FrameRate;
use h264_reader::nal::sps::{ChromaFormat, FrameMbsFlags, SeqParameterSet};
use h264_reader::nal::{Nal, RefNal};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sps {
    /// Pixels after cropping.
    pub width: u16,
    pub height: u16,
    /// What a decoder makes room for: before cropping, whole macroblocks.
    pub coded_pixels: u64,
    /// From the VUI, when it says that frames are evenly spaced or at least how fast the clock ticks.
    pub frame_rate: Option<FrameRate>,
    /// `chroma_format_idc` and the two `bit_depth_*_minus8`, for the tail of an `avcC` of the High profiles.
    pub(super) chroma_format: u8,
    pub(super) bit_depths: (u8, u8),
    /// Lines of two fields, each or in turn.
    pub interlaced: bool,
    pub colour: Colour,
    /// Width to height of a pixel, where it is stated.
    pub pixel_aspect: Option<(u16, u16)>,
}

/// How samples stand for colours (section E.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    /// `matrix_coefficients`; 2 where it is not stated.
    pub matrix: u8,
    pub full_range: bool,
}

const WHAT: &str = "H.264 sequence parameter set";

/// Far above any encoder; refuses a rate that is really an uninitialised field.
const FRAME_RATE_MAX: u32 = 300;

impl Sps {
    /// Reads a whole NAL unit, header included.
    pub fn parse(unit: &[u8]) -> Result<Self, CodecError> {
        if unit.len() < 4 {
            return Err(CodecError::Truncated { what: WHAT, field: "profile_idc" });
        }
        let unit = RefNal::new(unit, &[], true);
        let malformed = |field| CodecError::Malformed { what: WHAT, field };
        let sps = SeqParameterSet::from_bits(unit.rbsp_bits()).map_err(|_| malformed("seq_parameter_set_data"))?;
        let (width, height) = sps.pixel_dimensions().map_err(|_| malformed("frame_cropping"))?;
        let pixels = |count: u32| u16::try_from(count).ok().filter(|count| *count > 0);
        let chroma = &sps.chroma_info;
        Ok(Self {
            width: pixels(width).ok_or(malformed("pic_width_in_mbs_minus1"))?,
            height: pixels(height).ok_or(malformed("pic_height_in_map_units_minus1"))?,
            coded_pixels: coded_pixels(&sps),
            frame_rate: frame_rate(&sps),
            chroma_format: match chroma.chroma_format {
                ChromaFormat::Monochrome => 0,
                ChromaFormat::YUV420 | ChromaFormat::Invalid(_) => 1,
                ChromaFormat::YUV422 => 2,
                ChromaFormat::YUV444 => 3,
            },
            bit_depths: (chroma.bit_depth_luma_minus8, chroma.bit_depth_chroma_minus8),
            interlaced: !matches!(sps.frame_mbs_flags, FrameMbsFlags::Frames),
            colour: colour(&sps),
            pixel_aspect: pixel_aspect(&sps),
        })
    }

    /// Eight bits and 4:2:0: what every encoder for people sends.
    pub fn is_ordinary(&self) -> bool {
        self.chroma_format == 1 && self.bit_depths == (0, 0)
    }
}

/// One frame is two ticks of the VUI's clock (ITU-T H.264 section E.2.1).
fn frame_rate(sps: &SeqParameterSet) -> Option<FrameRate> {
    let timing = sps.vui_parameters.as_ref()?.timing_info.as_ref()?;
    let denominator = timing.num_units_in_tick.checked_mul(2).filter(|denominator| *denominator > 0)?;
    let rate = FrameRate { numerator: timing.time_scale, denominator };
    let sane = timing.time_scale > 0 && timing.time_scale / denominator <= FRAME_RATE_MAX;
    sane.then_some(rate)
}

fn coded_pixels(sps: &SeqParameterSet) -> u64 {
    let macroblocks =
        (u64::from(sps.pic_width_in_mbs_minus1) + 1) * (u64::from(sps.pic_height_in_map_units_minus1) + 1);
    let fields = if matches!(sps.frame_mbs_flags, FrameMbsFlags::Frames) { 1 } else { 2 };
    macroblocks.saturating_mul(256 * fields)
}

fn colour(sps: &SeqParameterSet) -> Colour {
    let signal = sps.vui_parameters.as_ref().and_then(|vui| vui.video_signal_type.as_ref());
    let stated = signal.and_then(|signal| signal.colour_description.as_ref());
    Colour {
        matrix: stated.map_or(2, |colour| colour.matrix_coefficients),
        full_range: signal.is_some_and(|signal| signal.video_full_range_flag),
    }
}

fn pixel_aspect(sps: &SeqParameterSet) -> Option<(u16, u16)> {
    let aspect = sps.vui_parameters.as_ref()?.aspect_ratio_info.as_ref()?.get()?;
    (aspect.0 > 0 && aspect.1 > 0).then_some(aspect)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// From x264: 1280x720, 30 frames a second, High.
    pub(in crate::codec::h264) const HIGH_720P: &[u8] = &[
        0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00,
        0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 0x60,
    ];
    /// From a Hikvision camera: 1280x720 Main with emulation prevention inside the VUI.
    const MAIN_EMULATION: &[u8] = &[
        0x67, 0x4d, 0x40, 0x1e, 0x9a, 0x66, 0x0a, 0x0f, 0xff, 0x35, 0x01, 0x01, 0x01, 0x40, 0x00, 0x00, 0xfa, 0x00,
        0x00, 0x03, 0x01, 0xf4, 0x01,
    ];

    #[test]
    fn size_and_frame_rate_are_read() {
        let sps = Sps::parse(HIGH_720P).unwrap();
        assert_eq!((sps.width, sps.height), (1280, 720));
        assert_eq!(sps.frame_rate.unwrap().as_f64(), 30.0);
        assert_eq!((sps.coded_pixels, sps.interlaced, sps.is_ordinary()), (1280 * 720, false, true));
        assert_eq!((sps.pixel_aspect, sps.colour), (Some((1, 1)), Colour { matrix: 2, full_range: false }));
        let sps = Sps::parse(MAIN_EMULATION).unwrap();
        assert!(sps.width > 0 && sps.height > 0);
    }

    #[test]
    fn every_cut_of_a_set_is_an_error_and_never_a_panic() {
        for end in 0..HIGH_720P.len() - 6 {
            assert!(Sps::parse(&HIGH_720P[..end]).is_err(), "{end} bytes");
        }
    }
}
