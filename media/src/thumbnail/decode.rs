//! The samples of one H.264 keyframe (ITU-T H.264), by OpenH264, compiled in. Its memory is kept for the next frame, since
//! asking the system for it anew takes a quarter of the time; of what was decoded nothing is. Each frame starts over (IDR), errors
//! are not concealed, exactly one picture comes out, and a decoder that failed is never used again.
//!
//! What goes to the decoder is looked at first: it is C++ and is fed by whoever publishes. Only parameter sets and slices of
//! an IDR picture, in their own units, of a size that was agreed to, in a profile that it knows.

use super::ThumbnailError;
use crate::codec::h264::{Colour, Configuration, Sps, UnitKind};
use crate::codec::nal::NalUnits;
use crate::model::{VideoCodec, VideoFormat};
use openh264::OpenH264API;
use openh264::decoder::{DecodedYUV, Decoder, DecoderConfig, Flush};
use openh264::formats::YUVSource;

/// A decoded picture: 4:2:0, eight bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Picture<'a> {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) luma: Plane<'a>,
    pub(super) chroma: [Plane<'a>; 2],
    pub(super) colour: Colour,
    /// Width to height of a pixel.
    pub(super) pixel_aspect: (u16, u16),
}

/// Lines of samples, each `stride` after the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plane<'a> {
    pub(super) samples: &'a [u8],
    pub(super) stride: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

/// 4096 by 2304: half a second of a core, and 160 MB while it lasts. Larger shows have smaller layers, or no picture.
const PIXELS_MAX: u64 = 4096 * 2304;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Larger pictures are rare, and so much memory is not kept for them: 1920 by 1088 is about 35 MB.
const KEPT_PIXELS_MAX: u64 = 1920 * 1088;

/// Decodes one keyframe after the other, of whatever shows.
#[derive(Default)]
pub(super) struct KeyframeDecoder {
    kept: Option<Decoder>,
}

impl KeyframeDecoder {
    /// Decodes a keyframe and hands its samples on.
    pub(super) fn with_picture<T>(
        &mut self,
        format: &VideoFormat,
        payload: &[u8],
        take: impl Fn(&Picture<'_>) -> Result<T, ThumbnailError>,
    ) -> Result<T, ThumbnailError> {
        if format.codec != VideoCodec::H264 {
            return Err(ThumbnailError::Unsupported { what: "a codec other than H.264" });
        }
        let (sps, access_unit) = gather(&Configuration::parse(&format.configuration)?, payload)?;
        let mut decoder = match self.kept.take() {
            Some(decoder) => decoder,
            None => {
                let config = DecoderConfig::new().flush_after_decode(Flush::NoFlush);
                Decoder::with_api_config(OpenH264API::from_source(), config)?
            }
        };
        let at_once = decoder.decode(&access_unit)?.map(|decoded| take(&picture(&decoded, &sps)?)).transpose()?;
        // A decoder may hold a picture back for those that would be shown before it; none comes.
        let held = decoder.flush_remaining()?;
        let taken = match (at_once, held.as_slice()) {
            (Some(taken), []) => taken,
            (None, [decoded]) => take(&picture(decoded, &sps)?)?,
            _ => return Err(ThumbnailError::NoPicture),
        };
        drop(held);
        self.kept = (sps.coded_pixels <= KEPT_PIXELS_MAX).then_some(decoder);
        Ok(taken)
    }
}

fn picture<'a>(decoded: &'a DecodedYUV<'_>, sps: &Sps) -> Result<Picture<'a>, ThumbnailError> {
    let (width, height) = decoded.dimensions();
    if (width, height) != (usize::from(sps.width), usize::from(sps.height)) {
        return Err(ThumbnailError::NoPicture);
    }
    let strides = decoded.strides();
    let chroma = |samples, stride| Plane { samples, stride, width: width.div_ceil(2), height: height.div_ceil(2) };
    Ok(Picture {
        width,
        height,
        luma: Plane { samples: decoded.y(), stride: strides.0, width, height },
        chroma: [chroma(decoded.u(), strides.1), chroma(decoded.v(), strides.2)],
        colour: sps.colour,
        pixel_aspect: sps.pixel_aspect.unwrap_or((1, 1)),
    })
}

/// What the decoder needs, behind start codes (annex B), and the sequence parameter set that holds.
fn gather(configuration: &Configuration, payload: &[u8]) -> Result<(Sps, Vec<u8>), ThumbnailError> {
    let mut access_unit = Vec::with_capacity(payload.len() + 256);
    let mut active = None;
    let mut slices = 0;
    let sets = configuration.sps.iter().chain(&configuration.pps).map(|set| Ok(&set[..]));
    for unit in sets.chain(NalUnits::new(payload, configuration.length_size)) {
        let unit = unit?;
        match UnitKind::of(unit) {
            UnitKind::Sps => active = Some(checked(Sps::parse(unit)?)?),
            UnitKind::Pps => {}
            UnitKind::Idr => slices += 1,
            UnitKind::Slice | UnitKind::Other => continue,
        }
        // It would end the unit for the decoder, and begin one that nobody has looked at.
        if unit.windows(3).any(|bytes| bytes == [0, 0, 1]) {
            return Err(ThumbnailError::Unsupported { what: "a start code inside a NAL unit" });
        }
        access_unit.extend_from_slice(&START_CODE);
        access_unit.extend_from_slice(unit);
    }
    match active {
        Some(sps) if slices > 0 => Ok((sps, access_unit)),
        _ => Err(ThumbnailError::NoPicture),
    }
}

fn checked(sps: Sps) -> Result<Sps, ThumbnailError> {
    if sps.coded_pixels > PIXELS_MAX {
        return Err(ThumbnailError::TooLarge { pixels: sps.coded_pixels, limit: PIXELS_MAX });
    }
    if sps.interlaced {
        return Err(ThumbnailError::Unsupported { what: "an interlaced picture" });
    }
    if !sps.is_ordinary() {
        return Err(ThumbnailError::Unsupported { what: "a picture other than 4:2:0 with eight bits" });
    }
    Ok(sps)
}
