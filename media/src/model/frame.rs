//! The unit the hub moves, and the frame of reference it is timed in.

use super::id::TrackId;
use super::track::TrackFormat;
use bytes::Bytes;
use std::sync::Arc;
use std::time::SystemTime;

/// One access unit of video or one codec frame of audio. Shared as `Arc<Frame>`; the payload is never copied before the
/// output that must rewrite it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub track: TrackId,
    /// Decoding time in ticks of the track's timescale, counted from the epoch's zero. Never decreases within a track
    /// and an epoch.
    pub dts: i64,
    /// Presentation time, same clock. `pts >= dts`.
    pub pts: i64,
    /// Decodable alone. Every audio frame is.
    pub keyframe: bool,
    pub payload: Bytes,
}

/// A stretch of a broadcast in which track formats and the clock hold. A new one begins when a publisher (re)connects,
/// when codec parameters change, when a track appears, or when time jumps by more than can be mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// `tracks[i].id == TrackId(i)`; at least one, video first. Several of video are layers of one picture, the smallest
    /// first: it leads, and a decoder can start where it has a keyframe.
    pub tracks: Vec<Arc<TrackFormat>>,
    /// Wall clock at media time zero: EXT-X-PROGRAM-DATE-TIME of a frame is `zero + pts`.
    pub zero: SystemTime,
}

impl Epoch {
    pub fn track(&self, id: TrackId) -> Option<&Arc<TrackFormat>> {
        self.tracks.get(usize::from(id.0))
    }

    /// The video that leads.
    pub fn video(&self) -> Option<&Arc<TrackFormat>> {
        self.tracks.iter().find(|track| track.is_video())
    }
}
