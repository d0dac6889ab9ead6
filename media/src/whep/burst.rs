//! What a feed hands to the workers: the packets of one frame, shared by every viewer.

use crate::rtp::packetize::RtpPayload;
use std::time::SystemTime;

/// Which of a feed's two tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    Video,
    Audio,
}

impl Lane {
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Video => 0,
            Self::Audio => 1,
        }
    }

    /// Ticks per second of this lane's RTP clock (RFC 3551 section 5, RFC 7587 section 4.1).
    pub(crate) fn clock_rate(self) -> u32 {
        match self {
            Self::Video => 90_000,
            Self::Audio => 48_000,
        }
    }
}

/// Layers of one picture that a feed carries at most.
pub(crate) const LAYERS_MAX: usize = 4;

/// One frame, cut into packets. Shared as `Arc<Burst>`; nothing in it is a viewer's own.
#[derive(Debug)]
pub(crate) struct Burst {
    pub(crate) lane: Lane,
    /// Of video: its place among the layers of the picture, the smallest first. It is also the track's number.
    pub(crate) layer: u8,
    /// Number of the first packet, counted over the whole life of the feed, lane and layer.
    pub(crate) first: u64,
    /// RTP timestamp of the frame.
    pub(crate) timestamp: u32,
    /// Wall clock of the same instant, for sender reports: the clock of EXT-X-PROGRAM-DATE-TIME too.
    pub(crate) wall: SystemTime,
    /// A decoder can start here. Every audio frame is.
    pub(crate) keyframe: bool,
    pub(crate) packets: Vec<RtpPayload>,
}

impl Burst {
    /// Number of the packet behind the last one.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    /// Bytes of all its payloads.
    pub(crate) fn bytes(&self) -> u64 {
        self.packets.iter().map(|packet| packet.len() as u64).sum()
    }
}
