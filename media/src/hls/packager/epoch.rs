//! One epoch being packaged: its tracks side by side, the leader's cuts handed to the followers.
//!
//! In: frames in the hub's order. Out: parts and segments in the show's renditions. Driven by the packager.

use super::lane::{Lane, Place};
use super::rendition::{Rendition, describe};
use super::segmenter::{Pace, room_of};
use super::{Kept, KeptRendition, Show, cadence};
use crate::hls::remux::{file_timescale, write_init};
use crate::model::{Epoch, Frame, MediaTime, TrackFormat, TrackId};
use crate::store::{RenditionId, RenditionKind};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct OpenEpoch {
    epoch: Arc<Epoch>,
    tracks: Vec<Candidate>,
    /// Index in `tracks` and `Running::lanes`.
    leader: usize,
    stage: Stage,
}

/// A track that can be packaged.
#[derive(Debug)]
struct Candidate {
    id: RenditionId,
    format: Arc<TrackFormat>,
    init: Bytes,
}

#[derive(Debug)]
enum Stage {
    /// Waits for the leader's first frame, and for enough of them where its rate is not stated.
    Gathering {
        frames: Vec<Arc<Frame>>,
    },
    Running(Running),
}

#[derive(Debug)]
struct Running {
    place: Place,
    lanes: Vec<Lane>,
    /// No frame of the leader that is yet to come is presented before this time of the epoch, in nanoseconds.
    reached: i128,
    /// Presentation time of the leader's first frame.
    begin: i128,
}

/// Frames kept while the leader has not begun, about two seconds of a show. Beyond it the oldest audio goes, then the
/// rate is guessed.
const MAX_GATHERED: usize = 256;
const MAX_GATHERED_BYTES: usize = 32 * 1024 * 1024;
/// How far a follower may be held for the leader. A leader that stands still must not silence the others; beyond this
/// they go on alone, and the cut they miss is late for them.
const MAX_HELD: Duration = Duration::from_secs(1);
/// Taken for a rate nobody states and nothing shows.
const FALLBACK_FPS: i64 = 30;

impl OpenEpoch {
    /// `None`: no track of it can be packaged.
    pub(super) fn new(show: &Show, epoch: &Arc<Epoch>) -> Option<Self> {
        let mut next = [0_u8; 2];
        let mut tracks = Vec::new();
        for format in &epoch.tracks {
            let kind = if format.is_video() { RenditionKind::Video } else { RenditionKind::Audio };
            let index = next[kind as usize];
            next[kind as usize] = index.saturating_add(1);
            match write_init(format) {
                Ok(init) => {
                    tracks.push(Candidate { id: RenditionId { kind, index }, format: Arc::clone(format), init })
                }
                Err(error) => tracing::warn!(
                    track = format.id.0,
                    error = &error as &dyn std::error::Error,
                    "track left out of HLS"
                ),
            }
        }
        let leader = tracks.iter().position(|track| track.format.is_video()).unwrap_or(0);
        if tracks.is_empty() {
            return None;
        }
        tracing::debug!(tracks = tracks.len(), epoch = show.next_epoch, "epoch waits for its first frame");
        Some(Self { epoch: Arc::clone(epoch), tracks, leader, stage: Stage::Gathering { frames: Vec::new() } })
    }

    /// The renditions its tracks become.
    pub(super) fn ids(&self) -> impl Iterator<Item = RenditionId> {
        self.tracks.iter().map(|track| track.id)
    }

    /// Whether some renditions have a part of this epoch and others not yet. Readers are told once all have: hls.js 1.6 never
    /// gets over a discontinuity that it finds in the playlist of sound and not in that of the picture. One that has nothing for
    /// as long as two parts of another take is not waited for.
    pub(super) fn begins_apart(&self, renditions: &[Rendition]) -> bool {
        let Stage::Running(running) = &self.stage else { return false };
        let parts = |lane: &Lane| renditions[lane.rendition].parts_of(running.place.epoch);
        let most = running.lanes.iter().map(parts).max().unwrap_or(0);
        running.place.discontinuity > 0 && most == 1 && running.lanes.iter().any(|lane| parts(lane) == 0)
    }

    pub(super) fn handle_frame(&mut self, show: &mut Show, frame: &Arc<Frame>) {
        let Some(lane) = self.lane_of(frame.track) else { return };
        match &mut self.stage {
            Stage::Running(running) => running.handle_frame(show, self.leader, lane, frame),
            Stage::Gathering { frames } => {
                let is_leader = lane == self.leader;
                let leader_began = frames.iter().any(|held| held.track == self.tracks[self.leader].format.id);
                if is_leader && !leader_began && !frame.keyframe {
                    return;
                }
                while is_full(frames) && !leader_began {
                    frames.remove(0);
                }
                frames.push(Arc::clone(frame));
                self.begin_if_ready(show);
            }
        }
    }

    pub(super) fn handle_lag(&mut self) {
        if let Stage::Running(running) = &mut self.stage {
            for lane in running.lanes.iter_mut().filter(|lane| lane.format.is_video()) {
                lane.awaits_keyframe = true;
            }
        }
    }

    /// Nothing follows in this epoch: all that is held goes out.
    pub(super) fn finish(&mut self, show: &mut Show) {
        if matches!(self.stage, Stage::Gathering { .. }) {
            self.begin(show);
        }
        if let Stage::Running(running) = &mut self.stage {
            running.finish(show);
        }
    }

    fn lane_of(&self, track: TrackId) -> Option<usize> {
        self.tracks.iter().position(|candidate| candidate.format.id == track)
    }

    fn begin_if_ready(&mut self, show: &mut Show) {
        let Stage::Gathering { frames } = &self.stage else { return };
        let leader = &self.tracks[self.leader].format;
        let seen = frames.iter().filter(|frame| frame.track == leader.id).count();
        let stated = cadence::frame_ticks(leader, file_timescale(leader)).is_some();
        let enough = if stated { seen >= 1 } else { seen >= cadence::MEASURED_FRAMES || is_full(frames) };
        if seen >= 1 && enough {
            self.begin(show);
        }
    }

    /// The first frame of the leader is here: the epoch gets its number, its place on the timeline and its lanes.
    fn begin(&mut self, show: &mut Show) {
        let Stage::Gathering { frames } = &mut self.stage else { return };
        let frames = std::mem::take(frames);
        let leader = &self.tracks[self.leader];
        let Some(first) = frames.iter().find(|frame| frame.track == leader.format.id) else { return };
        let first_dts = MediaTime::new(first.dts, leader.format.timescale).as_nanos();
        let begin = MediaTime::new(first.pts, leader.format.timescale).as_nanos();

        let ticks: Vec<i64> = self.tracks.iter().map(|track| nominal_ticks(&track.format, &frames)).collect();
        choose_part_target(show, &self.tracks, &ticks, self.leader);
        let shift = i128::try_from(show.end.as_nanos()).expect("a show is shorter than an age") - first_dts;
        let place = Place {
            epoch: show.next_epoch,
            discontinuity: show.discontinuity.map_or(0, |last| last + 1),
            zero: self.epoch.zero,
        };
        show.next_epoch += 1;
        show.discontinuity = Some(place.discontinuity);
        show.state = super::ShowState::Live;

        let mut kept = Vec::new();
        let mut lanes = Vec::new();
        for (track, frame_ticks) in self.tracks.iter().zip(&ticks) {
            let scale = file_timescale(&track.format);
            let rendition = attach(show, track, *frame_ticks, place.epoch, &mut kept);
            let pace = Pace::new(scale, *frame_ticks, show.part_target, track.format.is_video());
            let shift = (shift * i128::from(scale.get())).div_euclid(1_000_000_000);
            let shift = i64::try_from(shift).expect("a show is shorter than an age");
            lanes.push(Lane::new(rendition, Arc::clone(&track.format), scale, pace, shift));
        }
        show.kept.push_back(Kept::Epoch { number: place.epoch, discontinuity: place.discontinuity, renditions: kept });
        tracing::debug!(epoch = place.epoch, discontinuity = place.discontinuity, part_target = ?show.part_target, "epoch begins");

        let mut running = Running { place, lanes, reached: i128::MIN, begin };
        for frame in &frames {
            if let Some(lane) = self.lane_of(frame.track) {
                running.handle_frame(show, self.leader, lane, frame);
            }
        }
        self.stage = Stage::Running(running);
    }
}

impl Running {
    fn handle_frame(&mut self, show: &mut Show, leader: usize, lane: usize, frame: &Arc<Frame>) {
        let track = &mut self.lanes[lane];
        if track.awaits_keyframe && !frame.keyframe {
            return;
        }
        track.awaits_keyframe = false;
        if lane != leader {
            track.hold(frame);
            return self.release(show, lane);
        }
        let decoded_until = MediaTime::new(frame.dts, track.format.timescale).as_nanos()
            + MediaTime::new(track.frame_ticks(), track.scale).as_nanos();
        let cut = track.lead(show, self.place, frame);
        self.reached = self.reached.max(decoded_until);
        for follower in (0..self.lanes.len()).filter(|other| *other != leader) {
            if let Some(cut) = cut {
                self.lanes[follower].order_cut(cut);
            }
            self.release(show, follower);
        }
    }

    /// Lets a follower's frames go on that the leader has caught up with.
    fn release(&mut self, show: &mut Show, lane: usize) {
        let limit = i128::try_from(MAX_HELD.as_nanos()).expect("a second is few nanoseconds");
        let lane = &mut self.lanes[lane];
        while let Some(first) = lane.held().front() {
            let scale = lane.format.timescale;
            let at = MediaTime::new(first.pts, scale).as_nanos();
            let newest = lane.held().back().map_or(at, |last| MediaTime::new(last.pts, scale).as_nanos());
            let waits = at >= self.reached && newest - at < limit && lane.has_room();
            if waits {
                break;
            }
            let Some(frame) = lane.take_held() else { break };
            let half = MediaTime::new(lane.frame_ticks(), lane.scale).as_nanos() / 2;
            // Sound before the first picture would make the renditions start apart.
            if at + half >= self.begin {
                lane.follow(show, self.place, &frame);
            }
        }
    }

    fn finish(&mut self, show: &mut Show) {
        self.reached = i128::MAX;
        for lane in 0..self.lanes.len() {
            self.release(show, lane);
            self.lanes[lane].end_segment(show, None);
        }
    }
}

/// Whether as much is gathered as may be.
fn is_full(frames: &[Arc<Frame>]) -> bool {
    frames.len() >= MAX_GATHERED || frames.iter().map(|frame| room_of(frame)).sum::<usize>() >= MAX_GATHERED_BYTES
}

/// The nominal duration of a track's frames: stated, else measured, else guessed.
fn nominal_ticks(format: &TrackFormat, frames: &[Arc<Frame>]) -> i64 {
    let scale = file_timescale(format);
    let measured = || {
        let times: Vec<i64> = frames
            .iter()
            .filter(|frame| frame.track == format.id)
            .map(|frame| MediaTime::new(frame.dts, format.timescale).rescale_nearest(scale).ticks)
            .collect();
        cadence::measure(&times, scale)
    };
    cadence::frame_ticks(format, scale).or_else(measured).unwrap_or(i64::from(scale.get()) / FALLBACK_FPS).max(1)
}

/// Keeps the part target of the show as long as every track can follow it.
fn choose_part_target(show: &mut Show, tracks: &[Candidate], ticks: &[i64], leader: usize) {
    let duration = |index: usize| cadence::duration(ticks[index], file_timescale(&tracks[index].format));
    let followers = (0..tracks.len()).filter(|index| *index != leader);
    let frames: Vec<Duration> = std::iter::once(leader).chain(followers).map(duration).collect();
    let chosen_before = show.renditions.iter().any(|rendition| rendition.position().is_some());
    if !(chosen_before && frames.iter().all(|frame| cadence::fits(*frame, show.part_target))) {
        show.part_target = cadence::part_target(&frames, show.config.part_duration);
    }
}

/// Finds or makes the rendition of a track, with an init that fits. Returns its index.
fn attach(show: &mut Show, track: &Candidate, frame_ticks: i64, epoch: u64, kept: &mut Vec<KeptRendition>) -> usize {
    let fps = f64::from(file_timescale(&track.format).get()) / frame_ticks as f64;
    let index = show.renditions.iter().position(|rendition| rendition.id == track.id).unwrap_or_else(|| {
        show.renditions.push(Rendition::new(track.id, describe(&track.format, fps)));
        show.renditions.len() - 1
    });
    let rendition = &mut show.renditions[index];
    rendition.set_format(&track.format, fps);
    let fresh = !rendition.continues(&track.format);
    if fresh {
        rendition.set_init(epoch, track.init.clone(), &track.format);
    }
    kept.push(KeptRendition {
        id: track.id,
        format: rendition.format.clone(),
        init_epoch: rendition.newest_init().map_or(epoch, |(epoch, _)| epoch),
        init: fresh.then(|| track.init.clone()),
    });
    index
}
