//! What in a publication will trouble viewers, found within its first two GOPs.

use crate::codec::h264;
use crate::model::VideoCodec;
use crate::seam::WarningCode;

#[derive(Debug, Default)]
pub(super) struct Warnings {
    keyframes: u32,
    last_keyframe_ms: Option<i64>,
    latest_pts_ms: Option<i64>,
    told_reorder: bool,
    told_long_gop: bool,
}

/// Segments are cut at keyframes; beyond this live latency grows.
const GOP_MAX_MS: i64 = 4_000;
/// Slices are looked at only so long.
const GOPS_OBSERVED: u32 = 2;

impl Warnings {
    /// Looks at one video frame. Each warning is given once.
    pub(super) fn observe(&mut self, frame: &Observed<'_>) -> Option<WarningCode> {
        if frame.keyframe {
            self.keyframes += 1;
        }
        let gop_ms = self.last_keyframe_ms.map_or(0, |last| frame.dts_ms - last);
        if frame.keyframe || self.last_keyframe_ms.is_none() {
            self.last_keyframe_ms = Some(frame.dts_ms);
        }
        if !self.told_reorder && self.keyframes <= GOPS_OBSERVED && self.is_reordered(frame) {
            self.told_reorder = true;
            return Some(WarningCode::BFrames);
        }
        if !self.told_long_gop && gop_ms > GOP_MAX_MS {
            self.told_long_gop = true;
            return Some(WarningCode::LongGop);
        }
        None
    }

    /// The time line was broken: distances across it mean nothing.
    pub(super) fn restart(&mut self) {
        (self.last_keyframe_ms, self.latest_pts_ms) = (None, None);
    }

    fn is_reordered(&mut self, frame: &Observed<'_>) -> bool {
        let shown_earlier = self.latest_pts_ms.is_some_and(|latest| frame.pts_ms < latest);
        self.latest_pts_ms = Some(self.latest_pts_ms.map_or(frame.pts_ms, |latest| latest.max(frame.pts_ms)));
        shown_earlier
            || frame.codec == VideoCodec::H264 && !frame.keyframe && h264::has_b_slice(frame.payload, frame.length_size)
    }
}

/// A video frame as the warnings see it.
#[derive(Debug)]
pub(super) struct Observed<'a> {
    pub(super) codec: VideoCodec,
    pub(super) keyframe: bool,
    pub(super) dts_ms: i64,
    pub(super) pts_ms: i64,
    pub(super) payload: &'a [u8],
    pub(super) length_size: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(dts_ms: i64, pts_ms: i64, keyframe: bool) -> Observed<'static> {
        Observed { codec: VideoCodec::H265, keyframe, dts_ms, pts_ms, payload: &[], length_size: 4 }
    }

    #[test]
    fn reordering_is_told_once() {
        let mut warnings = Warnings::default();
        let told: Vec<_> = [(0, 80, true), (40, 200, false), (80, 120, false), (120, 160, false)]
            .into_iter()
            .map(|(dts, pts, key)| warnings.observe(&frame(dts, pts, key)))
            .collect();
        assert_eq!(told, [None, None, Some(WarningCode::BFrames), None]);
    }

    #[test]
    fn a_constant_delay_is_no_reordering() {
        let mut warnings = Warnings::default();
        assert!((0..50).all(|index| warnings.observe(&frame(index * 40, index * 40 + 80, index == 0)).is_none()));
    }

    #[test]
    fn a_gop_is_long_when_four_seconds_passed_whether_it_ended_or_not() {
        let mut warnings = Warnings::default();
        let told: Vec<_> =
            (0..12).map(|second| warnings.observe(&frame(second * 1_000, second * 1_000, second == 0))).collect();
        assert_eq!(told.iter().flatten().count(), 1);
        assert_eq!(told[5], Some(WarningCode::LongGop));
        let mut usual = Warnings::default();
        assert!((0..12).all(|second| usual.observe(&frame(second * 1_000, second * 1_000, second % 4 == 0)).is_none()));
    }
}
