//! Frames to RTP payloads. A payload is a few bytes of its own in front of a slice of the frame: nothing is copied.

mod av1;
mod h264;
mod vp8;
mod vp9;

use crate::model::{Frame, VideoCodec, VideoFormat};
use bytes::Bytes;

/// One payload: `prefix` then `body`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RtpPayload {
    prefix: [u8; PREFIX_MAX],
    prefix_bytes: u8,
    body: Bytes,
    /// The last of its frame.
    pub(crate) marker: bool,
}

/// Cuts the frames of one track.
#[derive(Debug)]
pub(crate) enum Packetizer {
    H264(h264::H264Packetizer),
    Vp8(vp8::Vp8Packetizer),
    Vp9(vp9::Vp9Packetizer),
    Av1(av1::Av1Packetizer),
    Opus,
}

const PREFIX_MAX: usize = 4;
/// With header, an RTX number and the tag a packet stays within the 1 200 bytes that pass every path.
pub(crate) const PAYLOAD_MAX: usize = 1_150;

impl Packetizer {
    /// `None`: this codec is not sent over WebRTC here.
    pub(crate) fn video(format: &VideoFormat) -> Option<Self> {
        match format.codec {
            VideoCodec::H264 => h264::H264Packetizer::new(format).map(Self::H264),
            VideoCodec::Vp8 => Some(Self::Vp8(vp8::Vp8Packetizer::default())),
            VideoCodec::Vp9 => vp9::Vp9Packetizer::new(format).map(Self::Vp9),
            VideoCodec::Av1 => av1::Av1Packetizer::new(format).map(Self::Av1),
            VideoCodec::H265 => None,
        }
    }

    pub(crate) fn opus() -> Self {
        Self::Opus
    }

    /// Appends the payloads of one frame; none for a frame that is empty or broken.
    pub(crate) fn packetize(&mut self, frame: &Frame, out: &mut Vec<RtpPayload>) {
        let first = out.len();
        match self {
            Self::H264(packetizer) => packetizer.packetize(frame, out),
            Self::Vp8(packetizer) => packetizer.packetize(&frame.payload, out),
            Self::Vp9(packetizer) => packetizer.packetize(frame, out),
            Self::Av1(packetizer) => packetizer.packetize(frame, out),
            // One packet is one frame (RFC 7587 section 4.2).
            Self::Opus if frame.payload.is_empty() => {}
            Self::Opus => out.push(RtpPayload::new(&[], frame.payload.clone())),
        }
        // The marker says that a picture is whole; for sound it says that silence has ended (RFC 7587 section 4.1).
        if let (false, Some(last)) = (matches!(self, Self::Opus), out[first..].last_mut()) {
            last.marker = true;
        }
    }
}

impl RtpPayload {
    pub(crate) fn new(prefix: &[u8], body: Bytes) -> Self {
        let mut bytes = [0; PREFIX_MAX];
        bytes[..prefix.len()].copy_from_slice(prefix);
        Self { prefix: bytes, prefix_bytes: prefix.len() as u8, body, marker: false }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.prefix_bytes) + self.body.len()
    }

    /// Appends the payload.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix[..usize::from(self.prefix_bytes)]);
        out.extend_from_slice(&self.body);
    }
}

/// Lengths of the parts of `total` bytes: as few as possible, all equal but the last, since the kernel cuts equal packets.
fn parts(total: usize, max: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let count = total.div_ceil(max).max(1);
    let each = total.div_ceil(count);
    (0..count).map(move |part| part * each..((part + 1) * each).min(total)).filter(|range| !range.is_empty())
}
