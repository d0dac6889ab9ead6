//! Where parts end. One per rendition and epoch; pure.
//!
//! In: frames of one track, their times on the file's clock, and orders to cut. Out: closed parts.
//! Driven by the packager. rfc8216bis sections 4.4.3.7 and 4.4.4.9.
//!
//! Frames are laid on the nominal grid while the input stays near it, so that a clock of whole milliseconds yields even
//! parts. A part closes the moment one more frame would not fit, without waiting for that frame: its last sample is
//! given the nominal duration, and the next part begins where it ends. That spares every viewer one frame of delay.

use super::cadence::PART_FLOOR;
use crate::hls::remux::{Sample, write_fragment};
use crate::model::{Frame, MediaTime, Timescale};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Segmenter {
    pace: Pace,
    /// Samples of the open part.
    open: Vec<Sample>,
    /// What they take.
    open_bytes: usize,
    /// Decode time of the open part's first sample.
    start: i64,
    /// Decode time of the last sample in the open part.
    last: i64,
    /// Where what we have ends, taking the nominal duration for the last sample. `None` before the first frame.
    end: Option<i64>,
    /// Where the open segment is expected to end, going by the one before.
    segment_end: Option<i64>,
    /// The open part closes when one more frame would exceed this.
    goal: i64,
    sequence: u32,
}

/// What a rendition's parts are measured with, in ticks of its file clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) scale: Timescale,
    /// Nominal duration of one frame.
    pub(crate) frame: i64,
    /// A frame this near to its place on the grid is put on it.
    tolerance: i64,
    /// No part is longer.
    part_max: i64,
    /// No part but the last of a segment is shorter. A little above the required share, for rounding.
    part_min: i64,
    /// Whether presentation may differ from decoding.
    composes: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClosedPart {
    /// Decode time of the first sample.
    pub(crate) start: i64,
    pub(crate) duration: i64,
    pub(crate) independent: bool,
    pub(crate) bytes: Bytes,
}

/// Audio has no composition offset to stay exact with, so its grid may be off by no more than a listener can notice.
/// Phones stamp audio with the time the encoder was done, which wanders by this much.
const AUDIO_TOLERANCE: Duration = Duration::from_millis(45);

/// Video drifts off its grid by rounding only.
const VIDEO_TOLERANCE: Duration = Duration::from_millis(2);

impl Pace {
    pub(crate) fn new(scale: Timescale, frame: i64, part_target: Duration, is_video: bool) -> Self {
        let ticks = |duration: Duration| {
            i64::try_from(duration.as_nanos() * u128::from(scale.get()) / 1_000_000_000).unwrap_or(i64::MAX)
        };
        let part_max = ticks(part_target).max(frame);
        Self {
            scale,
            frame,
            tolerance: ticks(if is_video { VIDEO_TOLERANCE } else { AUDIO_TOLERANCE }),
            part_max,
            part_min: (part_max as f64 * (PART_FLOOR + 0.000_5)).ceil() as i64,
            composes: is_video,
        }
    }
}

impl Segmenter {
    pub(crate) fn new(pace: Pace) -> Self {
        Self {
            pace,
            open: Vec::new(),
            open_bytes: 0,
            start: 0,
            last: 0,
            end: None,
            segment_end: None,
            goal: pace.part_max,
            sequence: 0,
        }
    }

    /// A segment begins with the next frame and will probably end there.
    pub(crate) fn expect_segment_end(&mut self, end: i64) {
        self.segment_end = Some(end);
    }

    /// Takes the next frame; at most one part closes before it and one with it.
    pub(crate) fn handle_frame(&mut self, frame: &Arc<Frame>, dts: i64, pts: i64, closed: &mut Vec<ClosedPart>) {
        if !self.open.is_empty() {
            let at = self.place(dts);
            let is_large = self.open_bytes + room_of(frame) > PART_MAX_BYTES;
            if is_large || at + self.pace.frame - self.start > self.pace.part_max {
                let least = self.start + self.pace.part_min;
                closed.push(self.close(at.clamp(least, self.start + self.pace.part_max)));
            } else {
                self.stretch_last(at);
            }
        }
        let at = self.place(dts);
        if self.open.is_empty() {
            self.start = at;
            self.goal = self.choose_goal();
        }
        self.last = at;
        self.end = Some(at + self.pace.frame);
        let composition_offset = self.compose(dts, pts, at);
        self.open_bytes += room_of(frame);
        self.open.push(Sample { duration: ticks_u32(self.pace.frame), composition_offset, frame: Arc::clone(frame) });

        let end = at + self.pace.frame;
        if end + self.pace.frame - self.start > self.goal {
            closed.push(self.close(end.max(self.start + self.pace.part_min)));
        }
    }

    /// Ends the open part for the end of a segment, at the time of the frame that begins the next if there is one.
    pub(crate) fn handle_cut(&mut self, at: Option<i64>) -> Option<ClosedPart> {
        if self.open.is_empty() {
            return None;
        }
        let end = at.map_or(self.last + self.pace.frame, |dts| self.place(dts));
        Some(self.close(end.clamp(self.last + 1, (self.start + self.pace.part_max).max(self.last + 1))))
    }

    /// When a frame that comes next would be presented, on the file's clock.
    pub(crate) fn presentation_of(&self, dts: i64, pts: i64) -> i64 {
        let at = self.place(dts);
        at + i64::from(self.compose(dts, pts, at))
    }

    /// Where what was taken so far ends.
    pub(crate) fn end(&self) -> Option<i64> {
        self.end
    }

    pub(crate) fn pace(&self) -> Pace {
        self.pace
    }

    /// The decode time a frame gets.
    fn place(&self, dts: i64) -> i64 {
        let Some(expected) = self.end else { return dts.max(0) };
        let near = (dts - expected).abs() <= self.pace.tolerance;
        if self.open.is_empty() {
            // The part before is out already. A little early or late is mended by the composition offset; a real hole
            // stays one.
            let hole = dts > expected + 2 * self.pace.frame + self.pace.tolerance;
            return if hole { dts } else { expected };
        }
        if near { expected } else { dts.max(self.last + 1) }
    }

    /// Presentation minus decode time. A frame that was put on the grid is presented on it as well, which keeps the
    /// offset what the encoder made it: zero without B-frames, never negative. A frame moved further stays true to its
    /// presentation time instead.
    fn compose(&self, dts: i64, pts: i64, at: i64) -> i32 {
        if !self.pace.composes {
            return 0;
        }
        let near = (dts - at).abs() <= self.pace.tolerance;
        i32::try_from(pts - if near { dts } else { at }).unwrap_or(0)
    }

    /// Divides what is left of the segment into even parts, where they stay long enough: a short rest at the end of a
    /// segment is a part that players with a slow connection skip.
    fn choose_goal(&self) -> i64 {
        let Pace { frame, part_max, part_min, .. } = self.pace;
        let left = self.segment_end.map_or(0, |end| (end - self.start + frame - 1) / frame);
        let most = part_max / frame;
        if left <= 0 || most <= 0 {
            return part_max;
        }
        let parts = (left + most - 1) / most;
        let frames = (left + parts - 1) / parts;
        // Half a frame of room, so that a frame a little off its place does not end a part early.
        if frames * frame >= part_min { part_max.min(frames * frame + frame / 2) } else { part_max }
    }

    fn stretch_last(&mut self, until: i64) {
        let duration = ticks_u32(until - self.last);
        if let Some(sample) = self.open.last_mut() {
            sample.duration = duration;
        }
        self.end = Some(until);
    }

    fn close(&mut self, end: i64) -> ClosedPart {
        self.stretch_last(end);
        let samples = std::mem::take(&mut self.open);
        self.open_bytes = 0;
        self.sequence = self.sequence.wrapping_add(1);
        let decode_time = u64::try_from(self.start).expect("decode times begin at zero");
        let part = ClosedPart {
            start: self.start,
            duration: end - self.start,
            independent: samples.first().is_some_and(|sample| sample.frame.keyframe),
            bytes: write_fragment(self.sequence, decode_time, &samples),
        };
        self.open = samples;
        self.open.clear();
        part
    }
}

/// Twice what a part of a second has at the highest rate. More than that in one part is a clock that stands still: the part
/// ends as if its time were over, and what follows is a little late.
const PART_MAX_BYTES: usize = 24 * 1024 * 1024;
/// What a sample takes beside its payload, in memory and in the part.
const SAMPLE_BYTES: usize = 128;

pub(super) fn room_of(frame: &Frame) -> usize {
    frame.payload.len() + SAMPLE_BYTES
}

/// The difference of two places on one timeline, as the file states it.
fn ticks_u32(ticks: i64) -> u32 {
    u32::try_from(ticks.max(1)).unwrap_or(u32::MAX)
}

/// A time of an epoch on the file's clock.
pub(crate) fn on_file_clock(ticks: i64, from: Timescale, to: Timescale, shift: i64) -> i64 {
    let ticks = if from == to { ticks } else { MediaTime::new(ticks, from).rescale_nearest(to).ticks };
    ticks + shift
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TrackId;
    use proptest::prelude::*;

    const TARGET: Duration = Duration::from_millis(203);

    fn frame(keyframe: bool) -> Arc<Frame> {
        Arc::new(Frame { track: TrackId(0), dts: 0, pts: 0, keyframe, payload: Bytes::from_static(b"frame") })
    }

    fn parts_of(pace: Pace, times: impl IntoIterator<Item = i64>) -> Vec<ClosedPart> {
        let mut segmenter = Segmenter::new(pace);
        let mut closed = Vec::new();
        for time in times {
            segmenter.handle_frame(&frame(true), time, time, &mut closed);
        }
        closed
    }

    #[test]
    fn a_part_closes_with_its_last_frame_and_not_with_the_next() {
        let pace = Pace::new(Timescale::VIDEO, 3_000, TARGET, true);
        assert_eq!(parts_of(pace, (0..5).map(|n| n * 3_000)).len(), 0);
        let parts = parts_of(pace, (0..6).map(|n| n * 3_000));
        assert_eq!(parts.len(), 1);
        assert_eq!((parts[0].start, parts[0].duration), (0, 18_000));
    }

    #[test]
    fn millisecond_clocks_give_even_parts() {
        let pace = Pace::new(Timescale::VIDEO, 3_000, TARGET, true);
        let parts = parts_of(pace, (0..600).map(|n: i64| (n * 1_000 / 30) * 90));
        assert_eq!(parts.len(), 100);
        assert!(parts.iter().all(|part| part.duration == 18_000), "every part is six frames of a thirtieth");
    }

    #[test]
    fn a_clock_that_stands_still_ends_parts_by_their_bytes() {
        let pace = Pace::new(Timescale::VIDEO, 3_000, TARGET, true);
        let (mut segmenter, mut closed) = (Segmenter::new(pace), Vec::new());
        let payload = Bytes::from(vec![0; 8 * 1024 * 1024]);
        let frame = Arc::new(Frame { track: TrackId(0), dts: 0, pts: 0, keyframe: true, payload });
        (0..8).for_each(|_| segmenter.handle_frame(&frame, 0, 0, &mut closed));
        assert!(closed.len() >= 3, "{} parts", closed.len());
        for part in &closed {
            assert!(part.bytes.len() <= PART_MAX_BYTES, "{} bytes", part.bytes.len());
            assert!((pace.part_min..=pace.part_max).contains(&part.duration), "{} ticks", part.duration);
        }
        assert!(closed.windows(2).all(|pair| pair[1].start >= pair[0].start + pair[0].duration));
    }

    #[test]
    fn a_hole_in_the_input_is_a_hole_between_parts() {
        let pace = Pace::new(Timescale::VIDEO, 3_000, TARGET, true);
        let parts = parts_of(pace, (0..6).chain(66..72).map(|n| n * 3_000));
        assert_eq!(parts[1].start, 66 * 3_000);
        assert_eq!(parts[1].duration, 18_000);
    }

    proptest! {
        /// Whatever the spacing of frames: parts do not overlap, none is too long, none too short.
        #[test]
        fn any_spacing_gives_legal_parts(
            nominal_ms in 8_i64..200,
            steps in proptest::collection::vec(1_i64..400, 1..400),
            video in any::<bool>(),
        ) {
            let nominal = nominal_ms * 90;
            let target = super::super::cadence::part_target(&[Duration::from_millis(nominal_ms as u64)], Duration::from_millis(200));
            let pace = Pace::new(Timescale::VIDEO, nominal, target, video);
            let mut at = 0;
            let times: Vec<i64> = steps.iter().map(|step| { at += step * 90; at }).collect();
            let parts = parts_of(pace, times);
            let max = (target.as_secs_f64() * 90_000.0) as i64 + 1;
            for part in &parts {
                prop_assert!(part.duration <= max, "{} > {max}", part.duration);
                prop_assert!(part.duration as f64 >= 0.85 * max as f64, "{} of {max}", part.duration);
            }
            for pair in parts.windows(2) {
                prop_assert!(pair[1].start >= pair[0].start + pair[0].duration);
            }
        }
    }
}
