//! 3d. A KEYFRAME BECOMES A SMALL PICTURE.
//!
//! In: one H.264 keyframe and the format of its track. Out: a JPEG. Driven by whoever shows pictures of a show, through the
//! [`Darkroom`]: it works apart from everything that has to be in time, one picture after the other.
//!
//! `decode` makes the frame's samples of its bytes, `scale` fits them into the wanted width, `colour` makes them what a JPEG
//! holds. Other codecs give no picture: none is better than a wrong one, and a decoder for each would be a door for hostile
//! bytes.

mod colour;
mod darkroom;
mod decode;
mod scale;
#[cfg(test)]
mod tests;

pub(crate) use darkroom::{Darkroom, Exposure};

use crate::codec::CodecError;
use crate::model::{Frame, VideoFormat};
use bytes::Bytes;
use decode::KeyframeDecoder;
use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder};

/// A small picture of a show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thumbnail {
    pub(crate) jpeg: Bytes,
    pub(crate) width: u16,
    pub(crate) height: u16,
    /// The mean of its light, 0 for black.
    pub(crate) brightness: u8,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ThumbnailError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("{what} is not decoded")]
    Unsupported { what: &'static str },
    #[error("a picture of {pixels} pixels is too large, at most {limit} are decoded")]
    TooLarge { pixels: u64, limit: u64 },
    #[error("the frame cannot be decoded")]
    Decoder(#[from] openh264::Error),
    #[error("the frame holds no whole picture")]
    NoPicture,
    #[error("the picture cannot be written")]
    Encoder(#[from] jpeg_encoder::EncodingError),
}

/// Between blocks that show and bytes that cost: a picture of 320 by 180 is about 12 KiB.
const QUALITY: u8 = 78;

/// Makes the picture of a keyframe, `width` pixels wide or as wide as it is. Takes some hundredths of a second.
fn develop(
    decoder: &mut KeyframeDecoder,
    format: &VideoFormat,
    frame: &Frame,
    width: u16,
) -> Result<Thumbnail, ThumbnailError> {
    decoder.with_picture(format, &frame.payload, |picture| {
        let (width, height) = scale::fit(picture, width);
        let pixels = colour::to_jpeg(&scale::planes(picture, width, height), picture.colour, picture.height);
        let brightness = mean(pixels.iter().step_by(3).copied());
        let mut jpeg = Vec::with_capacity(pixels.len() / 8);
        let mut encoder = Encoder::new(&mut jpeg, QUALITY);
        encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
        encoder.encode(&pixels, width, height, ColorType::Ycbcr)?;
        Ok(Thumbnail { jpeg: jpeg.into(), width, height, brightness })
    })
}

fn mean(values: impl ExactSizeIterator<Item = u8>) -> u8 {
    let count = values.len().max(1) as u64;
    (values.map(u64::from).sum::<u64>() / count) as u8
}
