//! Frames become CMAF bytes: an init per format, a fragment per part. Pure; the boxes are `mp4-atom`'s.
//!
//! Every rendition holds one track, always with track id 1, so parts of several renditions never depend on each other.

mod fragment;
mod init;
mod read;
mod unfit;

pub(crate) use fragment::{Sample, write_fragment};
pub(crate) use init::write_init;
pub(crate) use read::{Fragment, StoredSample, read_fragments};
pub(crate) use unfit::Unfit;

use crate::model::{Timescale, TrackFormat};

/// The formats could not be written as CMAF. What arrived over the wire is at fault, never the frames that follow.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemuxError {
    #[error("the {codec} configuration cannot be parsed")]
    Configuration { codec: &'static str, source: mp4_atom::Error },
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error("the init cannot be written")]
    Write(#[source] mp4_atom::Error),
}

/// The clock a track has in its files. Video: 90 kHz, on which 29.97 fps is exact. Audio: its own sample rate.
pub(crate) fn file_timescale(format: &TrackFormat) -> Timescale {
    match format.audio() {
        Some(audio) if audio.sample_rate > 0 => Timescale::new(audio.sample_rate),
        _ => Timescale::VIDEO,
    }
}

const TRACK: u32 = 1;
