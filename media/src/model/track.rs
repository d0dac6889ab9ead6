//! What a decoder must know about a track before its first frame. Immutable and shared.

use super::id::{Rid, TrackId};
use super::time::Timescale;
use bytes::Bytes;

/// One timeline inside an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackFormat {
    pub id: TrackId,
    /// Of a layer of simulcast.
    pub rid: Option<Rid>,
    pub timescale: Timescale,
    pub media: MediaFormat,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaFormat {
    Video(VideoFormat),
    Audio(AudioFormat),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoFormat {
    pub codec: VideoCodec,
    /// The body of the codec's configuration box: `avcC`, `hvcC` (ISO/IEC 14496-15), `av1C`, `vpcC`.
    pub configuration: Bytes,
    /// For the playlist's CODECS attribute (RFC 6381), e.g. `avc1.64001f`.
    pub rfc6381: String,
    /// Pixels as displayed, after cropping.
    pub width: u16,
    pub height: u16,
    /// As the bitstream or the encoder's metadata states it; measured from frames where neither does.
    pub frame_rate: Option<FrameRate>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioFormat {
    pub codec: AudioCodec,
    /// AAC: the AudioSpecificConfig (ISO/IEC 14496-3). Opus: the body of the `dOps` box.
    pub configuration: Bytes,
    /// `mp4a.40.2`, `opus`.
    pub rfc6381: String,
    /// Hertz of the decoded sound; also the track's timescale.
    pub sample_rate: u32,
    pub channels: u8,
    /// Samples in one frame: 1024 for AAC-LC; for Opus the duration of the frames seen, 960 for 20 ms.
    pub samples_per_frame: u32,
}

/// How frame payloads are laid out. Video: length-prefixed NAL units for H.264 and H.265, low-overhead OBUs for AV1,
/// one whole frame for VP8 and VP9. Audio: one raw frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    H264,
    H265,
    Av1,
    Vp8,
    Vp9,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    Aac,
    Opus,
}

/// Frames per second as a fraction: 30000/1001.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRate {
    pub numerator: u32,
    pub denominator: u32,
}

impl FrameRate {
    pub fn as_f64(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator.max(1))
    }
}

impl TrackFormat {
    pub fn video(&self) -> Option<&VideoFormat> {
        match &self.media {
            MediaFormat::Video(video) => Some(video),
            MediaFormat::Audio(_) => None,
        }
    }

    pub fn audio(&self) -> Option<&AudioFormat> {
        match &self.media {
            MediaFormat::Audio(audio) => Some(audio),
            MediaFormat::Video(_) => None,
        }
    }

    pub fn is_video(&self) -> bool {
        self.video().is_some()
    }
}
