//! Bodies become epochs and frames: when an epoch begins, and how frames are timed within it.
//!
//! In: audio and video bodies with RTMP timestamps. Out: calls on a [`FrameSink`], the hub's publisher. Driven by the
//! RTMP connection and the demo; pure.
//!
//! An epoch begins with a keyframe and with every track that is to be expected, so the first frames may be held a
//! moment. It ends, and the next one is gathered, when codec parameters change, a track appears, or the clock breaks.

use super::audio::{self, AudioBody};
use super::rate::{MEDIA_MAX_BPS, Rate, TooMuch};
use super::tracks::Tracks;
use super::video::{self, VideoBody};
use super::warnings::{Observed, Warnings};
use super::{Hints, Skipped, skip};
use crate::codec::CodecError;
use crate::hub::Publisher;
use crate::metrics;
use crate::model::{Epoch, Frame, Lane, Mend, Placement, SampleClock, Timeline, TrackId};
use crate::seam::WarningCode;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

/// Where epochs and frames go.
pub trait FrameSink {
    fn begin_epoch(&mut self, epoch: Epoch);
    fn write(&mut self, frame: Frame);
}

impl FrameSink for Publisher {
    fn begin_epoch(&mut self, epoch: Epoch) {
        Self::begin_epoch(self, epoch);
    }

    fn write(&mut self, frame: Frame) {
        Self::write(self, frame);
    }
}

/// When a body came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Since the publication began.
    pub elapsed: Duration,
    pub wall: SystemTime,
}

/// Turns the bodies of one publication into epochs and frames.
pub struct ToHub {
    tracks: Tracks,
    hints: Hints,
    timeline: Timeline,
    warnings: Warnings,
    rate: Rate,
    /// What the broadcaster was not told yet; each is found once.
    untold: Vec<WarningCode>,
    state: State,
    /// An epoch has begun before: tracks that were never seen are not waited for again.
    settled: bool,
    video_frames: ::metrics::Counter,
    audio_frames: ::metrics::Counter,
}

enum State {
    /// Waits for a keyframe and for the tracks that are to be expected.
    Gathering(Gathering),
    Running(Running),
}

/// Frames since the first that could begin an epoch. At most [`HELD_MAX`], of [`HELD_MAX_BYTES`]; then the epoch begins with
/// the tracks that are there, or without a keyframe the oldest is dropped.
#[derive(Default)]
struct Gathering {
    held: VecDeque<Held>,
    bytes: usize,
    since_ms: Option<i64>,
    has_keyframe: bool,
}

struct Held {
    lane: Lane,
    ms: i64,
    composition_ms: i32,
    keyframe: bool,
    payload: Bytes,
    wall: SystemTime,
}

struct Running {
    /// The epoch's zero on the timeline.
    base_ms: i64,
    video: Option<(TrackId, i64)>,
    audio: Option<(TrackId, SampleClock)>,
    /// Sound before the first picture is left out: both begin together.
    audio_from_ms: i64,
    /// Audio parameters changed or audio appeared: the next epoch begins at the next keyframe, and no audio until then.
    renew_at_keyframe: bool,
}

const HELD_MAX: usize = 256;
/// Two seconds of the highest rate, and one of the largest frames.
const HELD_MAX_BYTES: usize = 32 * 1024 * 1024;
/// How long a track that is announced, or not ruled out, is waited for.
const TRACK_WAIT_MS: i64 = 1_000;
/// How long a configured video track may keep its first keyframe before sound goes on alone.
const KEYFRAME_WAIT_MS: i64 = 10_000;
/// Ticks of `Timescale::VIDEO` in a millisecond.
const VIDEO_TICKS_PER_MS: i64 = 90;

impl Default for ToHub {
    fn default() -> Self {
        Self::with_limit(MEDIA_MAX_BPS)
    }
}

impl ToHub {
    /// For a publication that sends at most so many bits a second.
    pub fn with_limit(max_bps: u64) -> Self {
        Self {
            tracks: Tracks::default(),
            hints: Hints::default(),
            timeline: Timeline::default(),
            warnings: Warnings::default(),
            rate: Rate::new(max_bps),
            untold: Vec::new(),
            state: State::Gathering(Gathering::default()),
            settled: false,
            video_frames: ::metrics::counter!(metrics::INGEST_FRAMES, "kind" => "video"),
            audio_frames: ::metrics::counter!(metrics::INGEST_FRAMES, "kind" => "audio"),
        }
    }

    /// Whether the publication may go on: what it sent so far is not too much.
    pub fn check_rate(&self) -> Result<(), TooMuch> {
        self.rate.check()
    }

    /// Takes the encoder's word on which tracks to expect.
    pub fn hint(&mut self, hints: Hints) {
        self.hints = hints;
    }

    /// An epoch has begun: viewers can be shown something.
    pub fn has_begun(&self) -> bool {
        self.settled
    }

    /// Tells each warning that `tell` takes. One that it does not take is told with the next frame.
    pub fn tell_warnings(&mut self, mut tell: impl FnMut(WarningCode) -> bool) {
        self.untold.retain(|code| !tell(*code));
    }

    /// An error means parameters no viewer could decode with; a body that is no use is only counted.
    pub fn video(
        &mut self,
        sink: &mut impl FrameSink,
        timestamp: u32,
        body: Bytes,
        arrival: Arrival,
    ) -> Result<(), CodecError> {
        match video::parse(body) {
            Ok(VideoBody::Configuration { codec, record }) => {
                if !record.is_empty() && self.tracks.configure_video(codec, record)? {
                    self.gather();
                }
            }
            Ok(VideoBody::Frame { codec, keyframe, composition_ms, payload }) => {
                if keyframe && self.tracks.observe_keyframe(codec, &payload) {
                    self.gather();
                }
                if self.tracks.video().is_none_or(|format| format.codec != codec) {
                    skip(Skipped::TooEarly);
                    return Ok(());
                }
                let Some(ms) = self.place(Lane::Video, timestamp, payload.len(), arrival) else { return Ok(()) };
                let observed = Observed {
                    codec,
                    keyframe,
                    dts_ms: ms,
                    pts_ms: ms + i64::from(composition_ms),
                    payload: &payload,
                    length_size: self.tracks.length_size(),
                };
                self.untold.extend(self.warnings.observe(&observed));
                let wall = arrival.wall;
                self.take(sink, Held { lane: Lane::Video, ms, composition_ms, keyframe, payload, wall });
            }
            Err(reason) => skip(reason),
        }
        Ok(())
    }

    /// As [`Self::video`].
    pub fn audio(
        &mut self,
        sink: &mut impl FrameSink,
        timestamp: u32,
        body: Bytes,
        arrival: Arrival,
    ) -> Result<(), CodecError> {
        match audio::parse(body) {
            Ok(AudioBody::Configuration { codec, record }) => {
                if self.tracks.configure_audio(codec, record)? {
                    self.renew_audio();
                }
            }
            Ok(AudioBody::Frame { codec, payload }) => {
                if self.tracks.observe_audio(codec, &payload) {
                    self.renew_audio();
                }
                if self.tracks.audio().is_none_or(|format| format.codec != codec) {
                    skip(Skipped::TooEarly);
                    return Ok(());
                }
                let Some(ms) = self.place(Lane::Audio, timestamp, payload.len(), arrival) else { return Ok(()) };
                let wall = arrival.wall;
                self.take(sink, Held { lane: Lane::Audio, ms, composition_ms: 0, keyframe: true, payload, wall });
            }
            Err(reason) => skip(reason),
        }
        Ok(())
    }

    fn place(&mut self, lane: Lane, timestamp: u32, bytes: usize, arrival: Arrival) -> Option<i64> {
        let ms = self.place_in_time(lane, timestamp, arrival)?;
        self.rate.handle_frame(ms, arrival.elapsed, bytes);
        Some(ms)
    }

    fn place_in_time(&mut self, lane: Lane, timestamp: u32, arrival: Arrival) -> Option<i64> {
        let mended = |how: &'static str| ::metrics::counter!(metrics::INGEST_TIME_JUMPS, "mend" => how).increment(1);
        match self.timeline.place(lane, timestamp, arrival.elapsed) {
            Placement::At { ms, mend } => {
                match mend {
                    None => {}
                    Some(Mend::Smoothed) => mended("smoothed"),
                    Some(Mend::Rebased) => mended("rebased"),
                }
                Some(ms)
            }
            Placement::Discontinuity { ms } => {
                mended("discontinuity");
                tracing::debug!(?lane, timestamp, "the encoder's clock broke, a new epoch begins");
                self.rate.restart();
                self.gather();
                Some(ms)
            }
            Placement::Stale => {
                skip(Skipped::Stale);
                None
            }
        }
    }

    /// The epoch under way is over.
    fn gather(&mut self) {
        self.warnings.restart();
        self.state = State::Gathering(Gathering::default());
    }

    /// Audio appeared or changed. Video cannot begin an epoch in mid GOP, so with video the next keyframe is waited for.
    fn renew_audio(&mut self) {
        match &mut self.state {
            State::Running(running) if running.video.is_some() => running.renew_at_keyframe = true,
            State::Running(_) => self.gather(),
            State::Gathering(_) => {}
        }
    }

    fn take(&mut self, sink: &mut impl FrameSink, frame: Held) {
        if let State::Running(running) = &mut self.state {
            let begins_anew =
                frame.lane == Lane::Video && frame.keyframe && (running.renew_at_keyframe || running.video.is_none());
            if !begins_anew {
                self.write(sink, frame);
                return;
            }
            self.gather();
        }
        let ms = frame.ms;
        if let State::Gathering(gathering) = &mut self.state {
            gathering.hold(frame);
            if self.is_ready(ms) {
                self.begin(sink);
            }
        }
    }

    fn is_ready(&self, now_ms: i64) -> bool {
        let State::Gathering(gathering) = &self.state else { return false };
        let Some(since_ms) = gathering.since_ms else { return false };
        let waited = self.settled || now_ms - since_ms >= TRACK_WAIT_MS || gathering.is_full();
        let video_ready = match self.tracks.video() {
            Some(_) => gathering.has_keyframe || now_ms - since_ms >= KEYFRAME_WAIT_MS,
            None => waited || self.hints.has_video == Some(false),
        };
        let audio_ready = self.tracks.audio().is_some() || waited || self.hints.has_audio == Some(false);
        video_ready && audio_ready
    }

    /// Begins an epoch with what is held.
    fn begin(&mut self, sink: &mut impl FrameSink) {
        let State::Gathering(gathering) = &mut self.state else { return };
        let mut held = std::mem::take(&mut gathering.held);
        // The keyframe goes first: subscribers can start with it and with nothing before it.
        let first = held.iter().position(|frame| frame.lane == Lane::Video).unwrap_or(0);
        let Some(first) = held.remove(first) else { return };
        let (base_ms, with_video) = (first.ms, first.lane == Lane::Video);
        let tracks = self.tracks.formats(with_video, self.hints);
        let id = |is_video| tracks.iter().find(|track| track.is_video() == is_video).map(|track| track.id);
        self.state = State::Running(Running {
            base_ms,
            video: id(true).map(|id| (id, -1)),
            audio: id(false).zip(self.tracks.audio()).map(|(id, format)| (id, SampleClock::new(format.sample_rate))),
            audio_from_ms: base_ms + i64::from(first.composition_ms.max(0)),
            renew_at_keyframe: false,
        });
        self.settled = true;
        sink.begin_epoch(Epoch { tracks, zero: first.wall });
        for frame in std::iter::once(first).chain(held) {
            self.write(sink, frame);
        }
    }

    /// Times a frame and hands it on.
    fn write(&mut self, sink: &mut impl FrameSink, frame: Held) {
        let State::Running(running) = &mut self.state else { return };
        let ms = frame.ms - running.base_ms;
        match (frame.lane, &mut running.video, &mut running.audio) {
            (Lane::Video, Some((track, last_dts)), _) => {
                let dts = (ms * VIDEO_TICKS_PER_MS).max(*last_dts + 1);
                let pts = ((ms + i64::from(frame.composition_ms)) * VIDEO_TICKS_PER_MS).max(dts);
                *last_dts = dts;
                self.video_frames.increment(1);
                sink.write(Frame { track: *track, dts, pts, keyframe: frame.keyframe, payload: frame.payload });
            }
            (Lane::Audio, _, Some((track, clock))) => {
                if frame.ms < running.audio_from_ms || running.renew_at_keyframe {
                    return;
                }
                let dts = clock.stamp(ms, self.tracks.samples(&frame.payload));
                self.audio_frames.increment(1);
                sink.write(Frame { track: *track, dts, pts: dts, keyframe: true, payload: frame.payload });
            }
            _ => skip(Skipped::TooEarly),
        }
    }
}

impl Gathering {
    fn is_full(&self) -> bool {
        self.held.len() >= HELD_MAX || self.bytes >= HELD_MAX_BYTES
    }

    fn hold(&mut self, frame: Held) {
        let is_video = frame.lane == Lane::Video;
        if is_video && !frame.keyframe && !self.has_keyframe {
            skip(Skipped::TooEarly);
            return;
        }
        while self.is_full() {
            skip(Skipped::Overflow);
            self.bytes -= self.held.pop_front().map_or(0, |oldest| oldest.payload.len());
        }
        self.bytes += frame.payload.len();
        self.has_keyframe |= is_video;
        self.since_ms.get_or_insert(frame.ms);
        self.held.push_back(frame);
    }
}

#[cfg(test)]
#[path = "to_hub_tests.rs"]
mod tests;
