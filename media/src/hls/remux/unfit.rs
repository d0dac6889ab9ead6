//! What can be written into CMAF and yet be watched by nobody.

use crate::model::{Epoch, VideoCodec};

/// Why a show cannot be watched over HLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// It has a sample entry (`vp08`), which neither Apple's players nor the Media Source of any browser take: there VP8
    /// lives in WebM alone.
    #[error("the video is VP8, which no player takes from HLS")]
    Vp8,
}

impl Unfit {
    /// `None`: HLS can carry these tracks. Whether one player decodes H.265, VP9 or AV1 it decides itself, by CODECS.
    pub(crate) fn of(epoch: &Epoch) -> Option<Self> {
        let mut videos = epoch.tracks.iter().filter_map(|track| track.video());
        videos.any(|video| video.codec == VideoCodec::Vp8).then_some(Self::Vp8)
    }
}
