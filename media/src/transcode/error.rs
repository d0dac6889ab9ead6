//! Why sound cannot be transcoded.

use std::ops::RangeInclusive;

/// All but the last two come from [`AacToOpus::new`](super::AacToOpus::new): the source stays without sound for WebRTC
/// viewers. The last two are our own defects or a lack of memory; the engine may still be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TranscodeError {
    #[error("the source is not AAC")]
    NotAac,
    #[error("AAC audio object type {object_type} is not low complexity")]
    Profile { object_type: u8 },
    #[error("AAC frames of {samples} samples are not decoded, only those with a core of 1024")]
    FrameLength { samples: u32 },
    #[error("{hertz} Hz is not a sampling rate AAC has an index for")]
    SampleRate { hertz: u32 },
    #[error("{channels} channels, at most 2 are decoded")]
    Channels { channels: u8 },
    #[error("{bits_per_second} bit/s is outside {allowed:?}")]
    Bitrate { bits_per_second: u32, allowed: RangeInclusive<u32> },
    #[error("no AAC decoder for this configuration")]
    Decoder(#[source] symphonia_core::errors::Error),
    #[error("no resampler between these rates")]
    Resampler(#[from] rubato::ResamplerConstructionError),
    #[error("resampling failed")]
    Resample(#[from] rubato::ResampleError),
    #[error("Opus encoder: {}", .0.message())]
    Opus(opusic_c::ErrorCode),
}
