//! FLV bodies: what RTMP's audio and video messages carry, and an FLV file's tags too.
//!
//! In: bodies with millisecond timestamps. Out: epochs and frames. `video` and `audio` read one body (classic FLV 10.1
//! annex E.4 and Enhanced RTMP v2), `metadata` the encoder's hints, `tracks` keeps the codec parameters in force,
//! `to_hub` decides when an epoch begins and times the frames, `file` reads tags from a clip.

mod audio;
mod file;
mod fourcc;
mod metadata;
mod rate;
mod to_hub;
mod tracks;
mod video;
mod warnings;

pub use file::{ClipError, FlvTag, TagKind, read_tags};
pub use metadata::Hints;
pub(crate) use rate::MEDIA_MAX_BPS;
pub use rate::TooMuch;
pub use to_hub::{Arrival, FrameSink, ToHub};

/// A body that is no use. The publication goes on without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    #[error("a body ends early")]
    Truncated,
    #[error("a codec this server does not carry")]
    UnknownCodec,
    /// Sequence end, seek commands, colour information, channel layouts.
    #[error("a body without media")]
    NoMedia,
    #[error("a track other than the first")]
    OtherTrack,
    #[error("a frame before its codec parameters or before the first keyframe")]
    TooEarly,
    #[error("a frame of the clock before the last discontinuity")]
    Stale,
    #[error("a frame that waited for the other track when no more could wait")]
    Overflow,
}

impl Skipped {
    /// Value of the counter's `reason` label.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::UnknownCodec => "unknown_codec",
            Self::NoMedia => "no_media",
            Self::OtherTrack => "other_track",
            Self::TooEarly => "too_early",
            Self::Stale => "stale",
            Self::Overflow => "overflow",
        }
    }
}

/// Counts a body, or a part of one, that is left out.
fn skip(reason: Skipped) {
    ::metrics::counter!(crate::metrics::INGEST_SKIPPED, "reason" => reason.reason()).increment(1);
}
