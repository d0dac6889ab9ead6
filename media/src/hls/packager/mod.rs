//! Frames of all renditions → parts → segments. The packager is pure: it is told what the hub says, and asked for what
//! readers and the store should know.
//!
//! - The first video track leads: segments end at its keyframes. Without video the first audio track leads.
//! - The other renditions follow: they end their segments at the same media time, within one frame. Their frames are
//!   held until the leader has come as far, so that no frame lands on the wrong side of a cut.
//! - A new epoch ends the open segments, and with its first frame begins one discontinuity in every rendition. Media
//!   time goes on without a step, so that a player or a file of all segments sees one timeline.

mod bit_rate;
mod cadence;
#[cfg(test)]
mod conformance;
mod epoch;
mod lane;
mod media_playlist;
mod multivariant_playlist;
mod named;
mod past;
mod rendition;
mod segmenter;
mod snapshot;
#[cfg(test)]
mod tests;

pub(crate) use bit_rate::PeakBitRate;
pub(crate) use media_playlist::{render_recording, render_window};
pub(crate) use multivariant_playlist::{
    Alternative, Choice, render as render_multivariant, render_with as render_multivariant_with,
};
pub(crate) use snapshot::{Part, Picture, RenditionFormat, RenditionSnapshot, Segment, ShowState};

use self::epoch::OpenEpoch;
use self::rendition::{Limits, Rendition, ShowFacts};
use super::config::HlsConfig;
use super::remux::Unfit;
use crate::model::{Epoch, Frame, TrackFormat};
use crate::store::RenditionId;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[derive(Debug)]
pub(crate) struct Packager {
    show: Show,
    epoch: Option<OpenEpoch>,
    /// The present epoch is none that HLS can carry.
    unfit: Option<Unfit>,
}

/// What outlives an epoch.
#[derive(Debug)]
struct Show {
    config: HlsConfig,
    renditions: Vec<Rendition>,
    /// The number the next epoch with media gets.
    next_epoch: u64,
    /// Discontinuities so far; `None` before the first epoch with media.
    discontinuity: Option<u64>,
    /// Where the media of all renditions ends on the show's timeline.
    end: Duration,
    /// Whole seconds; only ever raised.
    target_duration: u64,
    part_target: Duration,
    state: ShowState,
    /// Oldest first. Drained after every frame, so it holds what one frame can cause.
    kept: VecDeque<Kept>,
}

/// What the store should know.
#[derive(Debug, Clone)]
pub(crate) enum Kept {
    /// An epoch's first frame was packaged.
    Epoch {
        number: u64,
        discontinuity: u64,
        renditions: Vec<KeptRendition>,
    },
    Segment {
        rendition: RenditionId,
        segment: Arc<Segment>,
        ends_at: Duration,
        /// Of video that begins with a keyframe.
        opening: Option<OpeningFrame>,
    },
    Ended {
        target_duration: u64,
    },
}

/// The first picture of a segment, and what a decoder must know of it.
#[derive(Debug, Clone)]
pub(crate) struct OpeningFrame {
    pub(crate) format: Arc<TrackFormat>,
    pub(crate) frame: Arc<Frame>,
}

#[derive(Debug, Clone)]
pub(crate) struct KeptRendition {
    pub(crate) id: RenditionId,
    pub(crate) format: RenditionFormat,
    /// Where its init is kept, and its bytes if they are new.
    pub(crate) init_epoch: u64,
    pub(crate) init: Option<Bytes>,
}

/// Where a show stopped, as the disk tells it.
#[derive(Debug, Clone)]
pub(crate) struct Resume {
    pub(crate) next_epoch: u64,
    pub(crate) discontinuity: u64,
    pub(crate) end: Duration,
    pub(crate) renditions: Vec<ResumeRendition>,
}

#[derive(Debug, Clone)]
pub(crate) struct ResumeRendition {
    pub(crate) id: RenditionId,
    pub(crate) format: RenditionFormat,
    pub(crate) segments: Vec<Segment>,
    pub(crate) inits: Vec<(u64, Bytes)>,
}

impl Packager {
    pub(crate) fn new(config: HlsConfig) -> Self {
        let show = Show {
            target_duration: config.segment_duration.as_secs().max(1),
            part_target: config.part_duration,
            config,
            renditions: Vec::new(),
            next_epoch: 0,
            discontinuity: None,
            end: Duration::ZERO,
            state: ShowState::Live,
            kept: VecDeque::new(),
        };
        Self { show, epoch: None, unfit: None }
    }

    /// Goes on where the disk says the show stopped; it waits for its publisher.
    pub(crate) fn resume(config: HlsConfig, resume: Resume) -> Self {
        let mut packager = Self::new(config);
        let show = &mut packager.show;
        show.next_epoch = resume.next_epoch;
        show.discontinuity = Some(resume.discontinuity);
        show.end = resume.end;
        show.state = ShowState::Interrupted;
        for rendition in resume.renditions {
            let longest = rendition.segments.iter().map(|segment| segment.duration).max().unwrap_or_default();
            show.raise_target_duration(longest);
            let ResumeRendition { id, format, segments, inits } = rendition;
            let limits = show.limits();
            show.renditions.push(Rendition::resume(id, format, segments, inits, limits));
        }
        packager
    }

    /// No epoch from here on has a smaller number.
    pub(crate) fn number_epochs_from(&mut self, number: u64) {
        self.show.next_epoch = self.show.next_epoch.max(number);
    }

    /// Formats and clock of the frames that follow.
    pub(crate) fn handle_epoch(&mut self, epoch: &Arc<Epoch>) {
        self.finish_epoch();
        self.unfit = Unfit::of(epoch);
        if self.unfit.is_some() {
            // As for a publisher that is gone: nothing comes for now, and the next epoch may bring something.
            return self.show.enter(ShowState::Interrupted);
        }
        self.epoch = OpenEpoch::new(&self.show, epoch);
    }

    /// Why nothing of the present epoch can be watched.
    pub(crate) fn unfit(&self) -> Option<Unfit> {
        self.unfit
    }

    pub(crate) fn handle_frame(&mut self, frame: &Arc<Frame>) {
        if let Some(epoch) = &mut self.epoch {
            epoch.handle_frame(&mut self.show, frame);
        }
    }

    /// Frames are missing: video goes on with its next keyframe.
    pub(crate) fn handle_lag(&mut self) {
        if let Some(epoch) = &mut self.epoch {
            epoch.handle_lag();
        }
    }

    /// The publisher is gone: what it sent is shown to the end, the playlist stays live.
    pub(crate) fn handle_interruption(&mut self) {
        self.finish_epoch();
        self.show.enter(ShowState::Interrupted);
    }

    /// The show is over.
    pub(crate) fn handle_end(&mut self) {
        self.finish_epoch();
        self.unfit = None;
        self.show.enter(ShowState::Ended);
        self.show.kept.push_back(Kept::Ended { target_duration: self.show.target_duration });
    }

    /// The store does not have this segment after all.
    pub(crate) fn handle_lost(&mut self, id: RenditionId, segment: u64) {
        if let Some(rendition) = self.show.renditions.iter_mut().find(|rendition| rendition.id == id) {
            rendition.lose(segment);
        }
    }

    /// What the store should know next.
    pub(crate) fn poll_kept(&mut self) -> Option<Kept> {
        self.show.kept.pop_front()
    }

    /// Snapshots of the renditions that changed since the last call.
    pub(crate) fn poll_snapshots(&mut self) -> Vec<RenditionSnapshot> {
        let show = &mut self.show;
        if show.renditions.iter().all(|rendition| !rendition.changed) {
            return Vec::new();
        }
        if self.epoch.as_ref().is_some_and(|epoch| epoch.begins_apart(&show.renditions)) {
            return Vec::new();
        }
        let positions: Vec<_> =
            show.renditions.iter().filter_map(|one| one.position().map(|position| (one.id, position))).collect();
        let facts =
            ShowFacts { target_duration: show.target_duration, part_target: show.part_target, state: show.state };
        let mut snapshots = Vec::new();
        for rendition in show.renditions.iter_mut().filter(|rendition| rendition.changed) {
            rendition.changed = false;
            let siblings = positions.iter().copied().filter(|(id, _)| *id != rendition.id).collect();
            let likely =
                rendition.last_duration().is_some_and(|last| rendition.open_duration() + facts.part_target / 4 >= last);
            snapshots.push(rendition.snapshot(facts, siblings, likely));
        }
        snapshots
    }

    /// What the multivariant playlist offers: the renditions of the present epoch, or of the last one. Each has a whole
    /// segment, because hls.js refuses a media playlist without one.
    pub(crate) fn choices(&self) -> Vec<Choice> {
        let present = |id: RenditionId| self.epoch.as_ref().is_none_or(|epoch| epoch.ids().any(|one| one == id));
        let shown =
            self.show.renditions.iter().filter(|rendition| present(rendition.id) && rendition.whole_segments() > 0);
        shown
            .map(|rendition| Choice {
                id: rendition.id,
                format: rendition.format.clone(),
                peak_bps: rendition.peak_bps(),
                average_bps: rendition.average_bps(),
            })
            .collect()
    }

    /// Whether a player that comes now is offered all it should be: the first segment of every rendition is whole. A
    /// track that is missing had that segment's time to begin; one that began and fell silent has the next one's.
    pub(crate) fn is_ready(&self) -> bool {
        let begun = || self.show.renditions.iter().filter(|rendition| rendition.position().is_some());
        let longest = begun().map(Rendition::whole_segments).max().unwrap_or(0);
        longest > 1 || (longest > 0 && begun().all(|rendition| rendition.whole_segments() > 0))
    }

    fn finish_epoch(&mut self) {
        if let Some(mut epoch) = self.epoch.take() {
            epoch.finish(&mut self.show);
        }
    }
}

impl Show {
    fn enter(&mut self, state: ShowState) {
        tracing::debug!(from = ?self.state, to = ?state, "playlist changes state");
        self.state = state;
        for rendition in &mut self.renditions {
            rendition.changed = true;
        }
    }

    /// A segment this long must not exceed the target when rounded (rfc8216bis section 4.4.3.1). All renditions state
    /// the same target, so all are told.
    fn raise_target_duration(&mut self, segment: Duration) {
        let rounded = (segment.as_secs_f64() + 0.5).floor() as u64;
        if rounded > self.target_duration {
            self.target_duration = rounded;
            for rendition in &mut self.renditions {
                rendition.changed = true;
            }
        }
    }

    fn limits(&self) -> Limits {
        let HlsConfig { window_segments, dvr_window, .. } = self.config;
        Limits { window_segments, dvr_window, target_duration: self.target_duration }
    }

    fn close_segment(&mut self, rendition: usize, ends_at: Duration, opening: Option<OpeningFrame>) {
        let limits = self.limits();
        let rendition = &mut self.renditions[rendition];
        if let Some(segment) = rendition.close_segment(limits) {
            self.end = self.end.max(ends_at);
            self.kept.push_back(Kept::Segment { rendition: rendition.id, segment, ends_at, opening });
        }
    }
}

/// Wall clock of a time in an epoch.
fn wall_clock(zero: SystemTime, nanos: i128) -> SystemTime {
    let distance = Duration::from_nanos(u64::try_from(nanos.unsigned_abs()).unwrap_or(u64::MAX));
    let moved = if nanos < 0 { zero.checked_sub(distance) } else { zero.checked_add(distance) };
    moved.unwrap_or(zero)
}
