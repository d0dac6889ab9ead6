//! One track of an epoch on its way into one rendition.
//!
//! In: frames of the track, cuts. Out: parts and closed segments in the rendition. Driven by the epoch.

use super::rendition::{Opening, Rendition};
use super::segmenter::{ClosedPart, Pace, Segmenter, on_file_clock, room_of};
use super::{OpeningFrame, Show, wall_clock};
use crate::model::{Frame, MediaTime, Timescale, TrackFormat};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[derive(Debug)]
pub(super) struct Lane {
    /// Index in `Show::renditions`.
    pub(super) rendition: usize,
    pub(super) format: Arc<TrackFormat>,
    pub(super) scale: Timescale,
    segmenter: Segmenter,
    /// Added to times of the epoch, to stand on the show's timeline; ticks of the file clock.
    shift: i64,
    /// Decode time of the open segment's first frame.
    segment_start: i64,
    /// What the open segment takes.
    segment_bytes: usize,
    /// Times (file clock) at which followers still have to end a segment.
    cuts: VecDeque<i64>,
    /// Frames of a follower that are ahead of the leader.
    held: VecDeque<Arc<Frame>>,
    held_bytes: usize,
    /// Video that begins, or that lost frames: it waits for its next keyframe.
    pub(super) awaits_keyframe: bool,
    /// The keyframe that the open segment begins with.
    opening: Option<Arc<Frame>>,
    /// Reused for every frame.
    closed: Vec<ClosedPart>,
}

/// What a lane must know of its epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) epoch: u64,
    pub(super) discontinuity: u64,
    pub(super) zero: SystemTime,
}

/// A segment without a keyframe to end it is ended when it reaches this many targets: longer ones stall players that
/// keep three segments back.
const HARD_LIMIT: f64 = 2.1;

/// Twenty seconds of a picture that nobody sends, five of the highest rate: a clock that stands still ends segments too.
const SEGMENT_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Frames that wait for the leader at most, whatever their times say.
const MAX_HELD_FRAMES: usize = 512;
const MAX_HELD_BYTES: usize = 32 * 1024 * 1024;

impl Lane {
    pub(super) fn new(rendition: usize, format: Arc<TrackFormat>, scale: Timescale, pace: Pace, shift: i64) -> Self {
        let is_video = format.is_video();
        Self {
            rendition,
            format,
            scale,
            segmenter: Segmenter::new(pace),
            shift,
            segment_start: 0,
            segment_bytes: 0,
            cuts: VecDeque::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            awaits_keyframe: is_video,
            opening: None,
            closed: Vec::new(),
        }
    }

    /// A frame of the leader. Returns the time (of the epoch) at which followers must cut, if it ended a segment.
    pub(super) fn lead(&mut self, show: &mut Show, place: Place, frame: &Arc<Frame>) -> Option<MediaTime> {
        let dts = self.file_time(frame.dts);
        let mut cut = None;
        if show.renditions[self.rendition].is_open() && self.ends_before(show, frame.keyframe, dts) {
            self.end_segment(show, Some(dts));
            cut = Some(MediaTime::new(frame.pts, self.format.timescale));
        }
        self.package(show, place, frame, dts);
        cut
    }

    /// A frame of a follower, in step with the leader.
    pub(super) fn follow(&mut self, show: &mut Show, place: Place, frame: &Arc<Frame>) {
        let dts = self.file_time(frame.dts);
        let pts = self.file_time(frame.pts);
        let reached = pts + self.segmenter.pace().frame / 2;
        let due = self.cuts.iter().take_while(|cut| **cut <= reached).count();
        // Another layer of video has its keyframes where the leader has them, or soon after.
        if due > 0 && frame.keyframe {
            self.cuts.drain(..due);
            self.end_segment(show, Some(dts));
        }
        if show.renditions[self.rendition].is_open() && self.over_hard_limit(show, dts) {
            self.end_segment(show, Some(dts));
        }
        self.package(show, place, frame, dts);
    }

    /// Keeps a frame of a follower for when the leader has come as far.
    pub(super) fn hold(&mut self, frame: &Arc<Frame>) {
        self.held_bytes += room_of(frame);
        self.held.push_back(Arc::clone(frame));
    }

    pub(super) fn held(&self) -> &VecDeque<Arc<Frame>> {
        &self.held
    }

    pub(super) fn has_room(&self) -> bool {
        self.held.len() < MAX_HELD_FRAMES && self.held_bytes < MAX_HELD_BYTES
    }

    pub(super) fn take_held(&mut self) -> Option<Arc<Frame>> {
        let frame = self.held.pop_front()?;
        self.held_bytes -= room_of(&frame);
        Some(frame)
    }

    pub(super) fn order_cut(&mut self, at: MediaTime) {
        let at = at.rescale_nearest(self.scale).ticks + self.shift;
        self.cuts.push_back(at);
    }

    /// Ends what is open, with the nominal duration for the last frame.
    pub(super) fn end_segment(&mut self, show: &mut Show, at: Option<i64>) {
        if let Some(part) = self.segmenter.handle_cut(at) {
            self.push(show, part);
        }
        let ends_at = self.segmenter.end().map_or(Duration::ZERO, |end| super::cadence::duration(end, self.scale));
        let opening = self.opening.take().map(|frame| OpeningFrame { format: Arc::clone(&self.format), frame });
        show.close_segment(self.rendition, ends_at, opening);
    }

    fn package(&mut self, show: &mut Show, place: Place, frame: &Arc<Frame>, dts: i64) {
        if !show.renditions[self.rendition].is_open() {
            self.segment_start = dts;
            self.segment_bytes = 0;
            self.opening = (frame.keyframe && self.format.is_video()).then(|| Arc::clone(frame));
            // The longest of all renditions: whole frames of sound make its segments differ by one frame.
            let before = show.renditions.iter().filter_map(Rendition::last_duration).max();
            let length = self.ticks(before.unwrap_or(show.config.segment_duration));
            self.segmenter.expect_segment_end(dts + length);
            // The date of the time that stands in the file: players place one rendition beside another by it.
            let shown = self.segmenter.presentation_of(dts, self.file_time(frame.pts)) - self.shift;
            let shown = MediaTime::new(shown, self.scale);
            show.renditions[self.rendition].open_segment(Opening {
                epoch: place.epoch,
                discontinuity: place.discontinuity,
                at: wall_clock(place.zero, shown.as_nanos()),
                part_target: show.part_target,
            });
        }
        self.segment_bytes += room_of(frame);
        let mut closed = std::mem::take(&mut self.closed);
        self.segmenter.handle_frame(frame, dts, self.file_time(frame.pts), &mut closed);
        for part in closed.drain(..) {
            self.push(show, part);
        }
        self.closed = closed;
    }

    fn push(&self, show: &mut Show, part: ClosedPart) {
        let rendition = &mut show.renditions[self.rendition];
        rendition.push_part(part, self.scale);
        let duration = rendition.open_duration();
        show.raise_target_duration(duration);
    }

    /// Whether the open segment ends before a frame at `dts`.
    fn ends_before(&self, show: &Show, keyframe: bool, dts: i64) -> bool {
        let target = self.ticks(show.config.segment_duration);
        let long_enough = dts - self.segment_start >= target - self.segmenter.pace().frame / 2;
        (keyframe && long_enough) || self.over_hard_limit(show, dts)
    }

    fn over_hard_limit(&self, show: &Show, dts: i64) -> bool {
        let limit = (self.ticks(show.config.segment_duration) as f64 * HARD_LIMIT) as i64;
        dts + self.segmenter.pace().frame - self.segment_start > limit || self.segment_bytes > SEGMENT_MAX_BYTES
    }

    pub(super) fn frame_ticks(&self) -> i64 {
        self.segmenter.pace().frame
    }

    fn ticks(&self, duration: Duration) -> i64 {
        MediaTime::new(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX), MICROS)
            .rescale_nearest(self.scale)
            .ticks
    }

    fn file_time(&self, ticks: i64) -> i64 {
        on_file_clock(ticks, self.format.timescale, self.scale, self.shift)
    }
}

const MICROS: Timescale = Timescale::new(1_000_000);
