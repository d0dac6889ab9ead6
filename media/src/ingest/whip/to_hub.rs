//! Access units with RTP timestamps become epochs and frames on one clock.
//!
//! In: access units of up to two lanes, with their arrival. Out: calls on a [`FrameSink`], the hub's publisher. Pure.
//!
//! Each lane's clock is anchored where its first unit arrived; from there RTP timestamps alone count, so that network
//! jitter never reaches a viewer. An epoch begins with a keyframe; another one when parameters change.

use crate::ingest::flv::FrameSink;
use crate::model::{
    AudioFormat, CounterUnwrapper, Epoch, Frame, Lane, MediaFormat, Timescale, TrackFormat, TrackId, VideoFormat,
};
use crate::rtp::depacketize::{AccessUnit, UnitFormat};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[derive(Debug)]
pub(super) struct ToHub {
    expects_video: bool,
    video: LaneClock,
    audio: LaneClock,
    video_format: Option<VideoFormat>,
    audio_format: Option<AudioFormat>,
    /// Wall clock of the first unit.
    started: Option<SystemTime>,
    first_audio: Option<Duration>,
    running: Option<Running>,
    /// Parameters changed: the next keyframe begins an epoch.
    renew: bool,
}

/// When a unit came: since the publication began, and on the wall.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) elapsed: Duration,
    pub(super) wall: SystemTime,
}

/// One lane's RTP clock.
#[derive(Debug)]
struct LaneClock {
    rate: u32,
    unwrapper: CounterUnwrapper<32>,
    /// Ticks and time of the first unit.
    anchor: Option<(i64, Duration)>,
}

#[derive(Debug)]
struct Running {
    /// The epoch's zero, since the publication began.
    zero: Duration,
    video: Option<RunningLane>,
    audio: Option<RunningLane>,
}

#[derive(Debug)]
struct RunningLane {
    track: TrackId,
    last_dts: i64,
}

/// A camera that shows nothing for so long does not keep the sound from viewers.
const VIDEO_WAIT: Duration = Duration::from_secs(10);

impl ToHub {
    /// `expects_video`, `audio`: what the offer announced.
    pub(super) fn new(expects_video: bool, audio: Option<AudioFormat>) -> Self {
        Self {
            expects_video,
            video: LaneClock::new(Timescale::VIDEO.get()),
            audio: LaneClock::new(48_000),
            video_format: None,
            audio_format: audio,
            started: None,
            first_audio: None,
            running: None,
            renew: false,
        }
    }

    /// Viewers can be shown something.
    pub(super) fn has_begun(&self) -> bool {
        self.running.is_some()
    }

    pub(super) fn take(&mut self, sink: &mut impl FrameSink, lane: Lane, unit: AccessUnit, arrival: Arrival) {
        let clock = match lane {
            Lane::Video => &mut self.video,
            Lane::Audio => &mut self.audio,
        };
        let at = clock.place(unit.timestamp, arrival.elapsed);
        self.started.get_or_insert_with(|| arrival.wall.checked_sub(arrival.elapsed).unwrap_or(arrival.wall));
        match &unit.format {
            Some(UnitFormat::Video(format)) => {
                self.renew |= self.video_format.as_ref() != Some(format);
                self.video_format = Some(format.clone());
            }
            // What the offer announced holds: decoders are set up for it.
            Some(UnitFormat::Audio(format)) => {
                self.audio_format.get_or_insert_with(|| format.clone());
            }
            None => {}
        }
        if lane == Lane::Audio {
            self.first_audio.get_or_insert(arrival.elapsed);
        }
        if self.begins_epoch(lane, unit.keyframe, arrival.elapsed) {
            self.begin(sink, lane, at);
        }
        self.write(sink, lane, unit, at);
    }

    fn begins_epoch(&self, lane: Lane, keyframe: bool, elapsed: Duration) -> bool {
        match (lane, &self.running) {
            (Lane::Video, None) => keyframe && self.video_format.is_some(),
            (Lane::Video, Some(running)) => keyframe && (self.renew || running.video.is_none()),
            (Lane::Audio, None) => {
                !self.expects_video || self.first_audio.is_some_and(|first| elapsed - first > VIDEO_WAIT)
            }
            (Lane::Audio, Some(_)) => false,
        }
    }

    fn begin(&mut self, sink: &mut impl FrameSink, lane: Lane, at: Place) {
        let video = self.video_format.clone().filter(|_| lane == Lane::Video).map(MediaFormat::Video);
        let audio = self.audio_format.clone().map(MediaFormat::Audio);
        let mut tracks = Vec::new();
        let mut add = |media: Option<MediaFormat>, rate: u32| {
            media.map(|media| {
                let id = TrackId(tracks.len() as u8);
                tracks.push(Arc::new(TrackFormat { id, timescale: Timescale::new(rate), media }));
                RunningLane { track: id, last_dts: -1 }
            })
        };
        let video = add(video, self.video.rate);
        let audio = add(audio, self.audio.rate);
        if tracks.is_empty() {
            return;
        }
        self.renew = false;
        self.running = Some(Running { zero: at.time, video, audio });
        let started = self.started.unwrap_or(SystemTime::UNIX_EPOCH);
        sink.begin_epoch(Epoch { tracks, zero: started + at.time });
    }

    fn write(&mut self, sink: &mut impl FrameSink, lane: Lane, unit: AccessUnit, at: Place) {
        let Some(running) = &mut self.running else { return };
        let (rate, running_lane) = match lane {
            Lane::Video => (self.video.rate, &mut running.video),
            Lane::Audio => (self.audio.rate, &mut running.audio),
        };
        let Some(running_lane) = running_lane else { return };
        let dts = at.ticks_since(running.zero, rate);
        if dts < 0 {
            // Sound from before the first picture: both begin together.
            return;
        }
        let dts = dts.max(running_lane.last_dts + 1);
        running_lane.last_dts = dts;
        let keyframe = unit.keyframe || lane == Lane::Audio;
        sink.write(Frame { track: running_lane.track, dts, pts: dts, keyframe, payload: unit.payload });
    }
}

/// Where a unit stands: its lane's anchor plus ticks, kept apart so that ticks stay exact.
#[derive(Debug, Clone, Copy)]
struct Place {
    anchor: Duration,
    ticks: i64,
    /// Both, rounded down to a microsecond; zero for what would lie before the publication.
    time: Duration,
}

impl Place {
    fn ticks_since(&self, zero: Duration, rate: u32) -> i64 {
        let (anchor, zero) = (self.anchor.as_micros() as i64, zero.as_micros() as i64);
        self.ticks + (anchor - zero) * i64::from(rate) / 1_000_000
    }
}

impl LaneClock {
    fn new(rate: u32) -> Self {
        Self { rate, unwrapper: CounterUnwrapper::default(), anchor: None }
    }

    fn place(&mut self, timestamp: u32, elapsed: Duration) -> Place {
        let ticks = self.unwrapper.unwrap_counter(timestamp);
        let (first, anchor) = *self.anchor.get_or_insert((ticks, elapsed));
        let ticks = ticks - first;
        let micros = anchor.as_micros() as i64 + ticks * 1_000_000 / i64::from(self.rate);
        Place { anchor, ticks, time: Duration::from_micros(micros.max(0) as u64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::opus;
    use crate::model::VideoCodec;
    use bytes::Bytes;
    use std::time::UNIX_EPOCH;

    #[derive(Default)]
    struct Heard {
        epochs: Vec<Epoch>,
        frames: Vec<Frame>,
    }

    impl FrameSink for Heard {
        fn begin_epoch(&mut self, epoch: Epoch) {
            self.epochs.push(epoch);
        }
        fn write(&mut self, frame: Frame) {
            self.frames.push(frame);
        }
    }

    fn video(width: u16) -> UnitFormat {
        UnitFormat::Video(VideoFormat {
            codec: VideoCodec::Vp8,
            configuration: Bytes::new(),
            rfc6381: "vp8".to_owned(),
            width,
            height: 90,
            frame_rate: None,
        })
    }

    fn unit(timestamp: u32, keyframe: bool, format: Option<UnitFormat>) -> AccessUnit {
        AccessUnit { timestamp, keyframe, payload: Bytes::from_static(b"x"), format }
    }

    fn at(ms: u64) -> Arrival {
        let elapsed = Duration::from_millis(ms);
        Arrival { elapsed, wall: UNIX_EPOCH + Duration::from_secs(1_000) + elapsed }
    }

    fn stereo() -> Option<AudioFormat> {
        opus::format_of_packet(&[0xfc]).ok()
    }

    #[test]
    fn a_show_begins_with_its_first_keyframe_and_both_lanes_share_its_zero() {
        let (mut to_hub, mut heard) = (ToHub::new(true, stereo()), Heard::default());
        to_hub.take(&mut heard, Lane::Audio, unit(1_000, true, None), at(0));
        to_hub.take(&mut heard, Lane::Video, unit(50_000, false, None), at(10));
        assert!(heard.epochs.is_empty(), "nothing to start with");
        // The clock wraps on the way; jitter of arrival does not matter.
        to_hub.take(&mut heard, Lane::Video, unit(50_000 + 9_000, true, Some(video(160))), at(140));
        to_hub.take(&mut heard, Lane::Audio, unit(1_000 + 4_800, true, None), at(101));
        to_hub.take(&mut heard, Lane::Audio, unit(1_000 + 9_600, true, None), at(250));
        assert_eq!(heard.epochs.len(), 1);
        assert_eq!(heard.epochs[0].zero, UNIX_EPOCH + Duration::from_millis(1_000_110));
        let stamped: Vec<_> = heard.frames.iter().map(|frame| (frame.track.0, frame.dts)).collect();
        assert_eq!(stamped, [(0, 0), (1, 4_320)], "sound from before the picture is left out");
    }

    #[test]
    fn a_change_of_size_begins_an_epoch_that_goes_on_in_time() {
        let (mut to_hub, mut heard) = (ToHub::new(true, None), Heard::default());
        to_hub.take(&mut heard, Lane::Video, unit(u32::MAX - 100, true, Some(video(160))), at(0));
        to_hub.take(&mut heard, Lane::Video, unit(90_000 - 101, true, Some(video(320))), at(1_000));
        to_hub.take(&mut heard, Lane::Video, unit(93_000 - 101, false, None), at(1_033));
        let apart = heard.epochs[1].zero.duration_since(heard.epochs[0].zero).unwrap();
        assert_eq!(apart, Duration::from_secs(1));
        assert_eq!(heard.frames.iter().map(|frame| frame.dts).collect::<Vec<_>>(), [0, 0, 3_000]);
    }

    #[test]
    fn sound_does_not_wait_for_a_dark_camera_for_ever() {
        let (mut to_hub, mut heard) = (ToHub::new(true, stereo()), Heard::default());
        for packet in 0..600_u32 {
            to_hub.take(&mut heard, Lane::Audio, unit(packet * 960, true, None), at(u64::from(packet) * 20));
        }
        assert_eq!((heard.epochs.len(), heard.epochs[0].tracks.len()), (1, 1));
        to_hub.take(&mut heard, Lane::Video, unit(7, true, Some(video(160))), at(12_100));
        assert_eq!((heard.epochs.len(), heard.epochs[1].tracks.len()), (2, 2), "and the picture joins when it comes");
    }
}
