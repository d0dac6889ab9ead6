//! Access units with RTP timestamps become epochs and frames on one clock.
//!
//! In: access units of the layers of a picture and of sound, with their arrival. Out: calls on a [`FrameSink`], the hub's
//! publisher. Pure.
//!
//! An epoch begins with a keyframe of the smallest layer, which leads: it is the one that a weak network leaves last. The
//! next one begins when parameters change, when a layer comes or goes, or when clocks are found to be apart.

use super::clock::{Place, SenderClock, SourceClock};
use super::track::Source;
use crate::ingest::flv::FrameSink;
use crate::model::{AudioFormat, Epoch, Frame, MediaFormat, Rid, Timescale, TrackFormat, TrackId, VideoFormat};
use crate::rtc::rtcp::NtpTime;
use crate::rtp::depacketize::{AccessUnit, UnitFormat};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

#[derive(Debug)]
pub(super) struct ToHub {
    lanes: Lanes,
    audio_format: Option<AudioFormat>,
    sender: SenderClock,
    /// Wall clock of the first unit.
    started: Option<SystemTime>,
    /// When the first keyframe, and the first sound, came.
    first_picture: Option<Duration>,
    first_audio: Option<Duration>,
    /// The epoch's zero, since the publication began.
    zero: Option<Duration>,
    /// The next keyframe of the leader begins an epoch.
    renew: bool,
}

/// When a unit came: since the publication began, and on the wall.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) elapsed: Duration,
    pub(super) wall: SystemTime,
}

#[derive(Debug)]
struct Lanes {
    layers: Vec<Lane>,
    audio: Lane,
}

/// A layer, or the sound.
#[derive(Debug)]
struct Lane {
    clock: SourceClock,
    /// What the publisher calls this layer.
    rid: Option<Rid>,
    /// Of video.
    format: Option<VideoFormat>,
    heard: Duration,
    /// A layer that fell silent is not taken in again before this.
    shunned_until: Duration,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    track: TrackId,
    last_dts: i64,
    /// Nothing of this epoch can be decoded yet: its keyframe was lost, or came before that of the leader.
    awaits_keyframe: bool,
}

/// A camera that shows nothing for so long does not keep the sound from viewers.
const VIDEO_WAIT: Duration = Duration::from_secs(10);
/// How long a show waits for its other layers once one is there: encoders begin together, the network may not carry all.
const LAYERS_WAIT: Duration = Duration::from_millis(700);
/// A layer without a frame for so long is gone; one that was gone must wait this long, lest a network at its edge ends an
/// epoch every few seconds.
const LAYER_SILENCE: Duration = Duration::from_secs(3);
const LAYER_SHUNNED: Duration = Duration::from_secs(15);
/// Microseconds between lips and voice that nobody sees (ITU-R BT.1359: 45 ms early, 125 ms late).
const APART_MAX: i64 = 45_000;

impl ToHub {
    /// The layers of video, by name where they have one, and `audio`: what was agreed on.
    pub(super) fn new(layers: impl IntoIterator<Item = Option<Rid>>, audio: Option<AudioFormat>) -> Self {
        Self {
            lanes: Lanes {
                layers: layers.into_iter().map(|rid| Lane::new(Timescale::VIDEO.get(), rid)).collect(),
                audio: Lane::new(48_000, None),
            },
            audio_format: audio,
            sender: SenderClock::default(),
            started: None,
            first_picture: None,
            first_audio: None,
            zero: None,
            renew: false,
        }
    }

    /// Every layer should begin anew, so that an epoch can.
    pub(super) fn wants_keyframes(&self) -> bool {
        self.renew || self.zero.is_none()
    }

    /// Whether a layer has had no keyframe in this epoch.
    pub(super) fn awaits_keyframe(&self, layer: u8) -> bool {
        let lane = self.lanes.layers.get(usize::from(layer));
        lane.and_then(|lane| lane.running.as_ref()).is_some_and(|running| running.awaits_keyframe)
    }

    /// The track that a layer is now.
    pub(super) fn track_of(&self, layer: u8) -> Option<TrackId> {
        self.lanes.layers.get(usize::from(layer))?.running.as_ref().map(|running| running.track)
    }

    /// Whether this is the layer that segments and epochs follow.
    pub(super) fn leads(&self, layer: u8) -> bool {
        self.lanes.layers.len() == 1 || self.track_of(layer) == Some(TrackId(0))
    }

    /// A sender report's clock for one source.
    pub(super) fn report(&mut self, source: Source, ntp: NtpTime, timestamp: u32) {
        let lane = self.lanes.of(source);
        lane.clock.report(source, ntp, timestamp, &mut self.sender);
        if lane.running.is_none() {
            lane.clock.mend();
        } else {
            self.renew |= lane.clock.error().abs() > APART_MAX;
        }
    }

    pub(super) fn take(&mut self, sink: &mut impl FrameSink, source: Source, unit: AccessUnit, arrival: Arrival) {
        let elapsed = arrival.elapsed;
        self.started.get_or_insert_with(|| arrival.wall.checked_sub(elapsed).unwrap_or(arrival.wall));
        let lane = self.lanes.of(source);
        let mut at = lane.clock.place(unit.timestamp, elapsed);
        lane.heard = elapsed;
        match &unit.format {
            Some(UnitFormat::Video(format)) => {
                self.renew |= lane.running.is_some() && lane.format.as_ref() != Some(format);
                lane.format = Some(format.clone());
            }
            // What the offer announced holds: decoders are set up for it.
            Some(UnitFormat::Audio(format)) => {
                self.audio_format.get_or_insert_with(|| format.clone());
            }
            None => {}
        }
        match source {
            Source::Audio => drop(self.first_audio.get_or_insert(elapsed)),
            Source::Layer(_) => self.look_at_layers(elapsed),
        }
        if self.begins_epoch(source, unit.keyframe, elapsed) {
            at = self.mend_clocks(source, unit.timestamp, elapsed);
            self.begin(sink, source, at, elapsed);
        }
        self.write(sink, source, unit, at);
    }

    /// Notes layers that came or went.
    fn look_at_layers(&mut self, elapsed: Duration) {
        for lane in &mut self.lanes.layers {
            let present = lane.is_present(elapsed);
            if lane.running.is_some() && !present {
                lane.shunned_until = elapsed + LAYER_SHUNNED;
                self.renew = true;
            }
            self.renew |= self.zero.is_some() && lane.running.is_none() && present;
        }
    }

    fn begins_epoch(&mut self, source: Source, keyframe: bool, elapsed: Duration) -> bool {
        match source {
            Source::Layer(layer) => {
                if !keyframe || self.lanes.layers[usize::from(layer)].format.is_none() {
                    return false;
                }
                let leader = self.lanes.by_size(elapsed).first().copied();
                let waited = elapsed - *self.first_picture.get_or_insert(elapsed) >= LAYERS_WAIT;
                let complete = waited || self.lanes.layers.iter().all(|lane| lane.format.is_some());
                leader == Some(usize::from(layer)) && if self.zero.is_none() { complete } else { self.renew }
            }
            Source::Audio => {
                let dark =
                    self.lanes.layers.is_empty() || self.first_audio.is_some_and(|first| elapsed - first > VIDEO_WAIT);
                self.zero.is_none() && dark
            }
        }
    }

    /// Brings the clocks together, and says where a unit stands then.
    fn mend_clocks(&mut self, source: Source, timestamp: u32, elapsed: Duration) -> Place {
        self.lanes.layers.iter_mut().chain([&mut self.lanes.audio]).for_each(|lane| lane.clock.mend());
        let lane = self.lanes.of(source);
        lane.clock.place(timestamp, elapsed)
    }

    fn begin(&mut self, sink: &mut impl FrameSink, source: Source, at: Place, elapsed: Duration) {
        let mut tracks = Vec::new();
        let mut add = |lane: &mut Lane, media: Option<MediaFormat>| {
            lane.running = media.map(|media| {
                let (id, timescale) = (TrackId(tracks.len() as u8), Timescale::new(lane.clock.rate));
                tracks.push(Arc::new(TrackFormat { id, rid: lane.rid.clone(), timescale, media }));
                Running { track: id, last_dts: -1, awaits_keyframe: lane.format.is_some() }
            });
        };
        let shown = if source == Source::Audio { Vec::new() } else { self.lanes.by_size(elapsed) };
        for lane in &mut self.lanes.layers {
            lane.running = None;
        }
        for layer in shown {
            let lane = &mut self.lanes.layers[layer];
            let format = lane.format.clone().map(MediaFormat::Video);
            add(lane, format);
        }
        add(&mut self.lanes.audio, self.audio_format.clone().map(MediaFormat::Audio));
        if tracks.is_empty() {
            return;
        }
        self.renew = false;
        self.zero = Some(at.time());
        let started = self.started.unwrap_or(SystemTime::UNIX_EPOCH);
        sink.begin_epoch(Epoch { tracks, zero: started + at.time() });
    }

    fn write(&mut self, sink: &mut impl FrameSink, source: Source, unit: AccessUnit, at: Place) {
        let lane = self.lanes.of(source);
        let (Some(zero), Some(running)) = (self.zero, &mut lane.running) else { return };
        let dts = at.ticks_since(zero, lane.clock.rate);
        if dts < 0 && source == Source::Audio {
            // Sound from before the first picture: both begin together.
            return;
        }
        // Layers of one moment are stamped a few milliseconds apart; none may stand before the epoch.
        let dts = dts.max(running.last_dts + 1);
        running.last_dts = dts;
        running.awaits_keyframe &= !unit.keyframe;
        let keyframe = unit.keyframe || source == Source::Audio;
        sink.write(Frame { track: running.track, dts, pts: dts, keyframe, payload: unit.payload });
    }
}

impl Lanes {
    fn of(&mut self, source: Source) -> &mut Lane {
        match source {
            Source::Audio => &mut self.audio,
            Source::Layer(layer) => &mut self.layers[usize::from(layer)],
        }
    }

    /// Layers that are there, the smallest picture first.
    fn by_size(&self, elapsed: Duration) -> Vec<usize> {
        let mut present: Vec<usize> =
            (0..self.layers.len()).filter(|at| self.layers[*at].is_present(elapsed)).collect();
        present.sort_by_key(|at| self.layers[*at].format.as_ref().map(|f| u32::from(f.width) * u32::from(f.height)));
        present
    }
}

impl Lane {
    fn new(rate: u32, rid: Option<Rid>) -> Self {
        let clock = SourceClock::new(rate);
        Self { clock, rid, format: None, heard: Duration::ZERO, shunned_until: Duration::ZERO, running: None }
    }

    fn is_present(&self, elapsed: Duration) -> bool {
        let fresh = elapsed.saturating_sub(self.heard) < LAYER_SILENCE;
        self.format.is_some() && fresh && elapsed >= self.shunned_until
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
        let (mut to_hub, mut heard) = (ToHub::new([None], stereo()), Heard::default());
        to_hub.take(&mut heard, Source::Audio, unit(1_000, true, None), at(0));
        to_hub.take(&mut heard, Source::Layer(0), unit(50_000, false, None), at(10));
        assert!(heard.epochs.is_empty(), "nothing to start with");
        // The clock wraps on the way; jitter of arrival does not matter.
        to_hub.take(&mut heard, Source::Layer(0), unit(50_000 + 9_000, true, Some(video(160))), at(140));
        to_hub.take(&mut heard, Source::Audio, unit(1_000 + 4_800, true, None), at(101));
        to_hub.take(&mut heard, Source::Audio, unit(1_000 + 9_600, true, None), at(250));
        assert_eq!(heard.epochs.len(), 1);
        assert_eq!(heard.epochs[0].zero, UNIX_EPOCH + Duration::from_millis(1_000_110));
        let stamped: Vec<_> = heard.frames.iter().map(|frame| (frame.track.0, frame.dts)).collect();
        assert_eq!(stamped, [(0, 0), (1, 4_320)], "sound from before the picture is left out");
    }

    #[test]
    fn a_change_of_size_begins_an_epoch_that_goes_on_in_time() {
        let (mut to_hub, mut heard) = (ToHub::new([None], None), Heard::default());
        to_hub.take(&mut heard, Source::Layer(0), unit(u32::MAX - 100, true, Some(video(160))), at(0));
        to_hub.take(&mut heard, Source::Layer(0), unit(90_000 - 101, true, Some(video(320))), at(1_000));
        to_hub.take(&mut heard, Source::Layer(0), unit(93_000 - 101, false, None), at(1_033));
        let apart = heard.epochs[1].zero.duration_since(heard.epochs[0].zero).unwrap();
        assert_eq!(apart, Duration::from_secs(1));
        assert_eq!(heard.frames.iter().map(|frame| frame.dts).collect::<Vec<_>>(), [0, 0, 3_000]);
    }

    #[test]
    fn a_layer_keeps_its_name_whichever_place_it_has() {
        let names = ["h", "l"].map(|name| Rid::parse(name).ok());
        let (mut to_hub, mut heard) = (ToHub::new(names.clone(), None), Heard::default());
        to_hub.take(&mut heard, Source::Layer(0), unit(0, true, Some(video(320))), at(0));
        to_hub.take(&mut heard, Source::Layer(1), unit(0, true, Some(video(160))), at(10));
        // The smaller one falls silent, and the other leads.
        for ms in (100..6_000_u32).step_by(100) {
            to_hub.take(&mut heard, Source::Layer(0), unit(ms * 90, ms % 1_000 == 0, None), at(u64::from(ms)));
        }
        let seen = |epoch: &Epoch| epoch.tracks.iter().map(|track| track.rid.clone()).collect::<Vec<_>>();
        let [h, l] = names;
        assert_eq!(heard.epochs.iter().map(seen).collect::<Vec<_>>(), [vec![l, h.clone()], vec![h]]);
    }

    #[test]
    fn a_layer_whose_keyframe_came_before_the_epoch_is_asked_for_another() {
        let names = ["h", "l"].map(|name| Rid::parse(name).ok());
        let (mut to_hub, mut heard) = (ToHub::new(names, stereo()), Heard::default());
        to_hub.take(&mut heard, Source::Layer(0), unit(0, true, Some(video(320))), at(0));
        to_hub.take(&mut heard, Source::Layer(1), unit(0, true, Some(video(160))), at(10));
        assert_eq!([0, 1].map(|layer| to_hub.awaits_keyframe(layer)), [true, false], "it came before the leader's");
        to_hub.take(&mut heard, Source::Layer(0), unit(3_000, true, None), at(40));
        to_hub.take(&mut heard, Source::Layer(1), unit(3_000, false, None), at(40));
        assert_eq!([0, 1].map(|layer| to_hub.awaits_keyframe(layer)), [false, false]);
        // The leader is another size: all begin anew. Its own keyframe is late, for it lost a packet.
        to_hub.take(&mut heard, Source::Layer(0), unit(90_000, true, None), at(1_000));
        to_hub.take(&mut heard, Source::Layer(1), unit(90_000, true, Some(video(200))), at(1_060));
        assert_eq!(heard.epochs.len(), 2);
        to_hub.take(&mut heard, Source::Layer(0), unit(93_000, false, None), at(1_070));
        assert_eq!([0, 1].map(|layer| to_hub.awaits_keyframe(layer)), [true, false]);
        assert!(!to_hub.wants_keyframes(), "the leader needs none");
        to_hub.take(&mut heard, Source::Layer(0), unit(96_000, true, None), at(1_100));
        assert!(!to_hub.awaits_keyframe(0));
    }

    #[test]
    fn sound_does_not_wait_for_a_dark_camera_for_ever() {
        let (mut to_hub, mut heard) = (ToHub::new([None], stereo()), Heard::default());
        for packet in 0..600_u32 {
            to_hub.take(&mut heard, Source::Audio, unit(packet * 960, true, None), at(u64::from(packet) * 20));
        }
        assert_eq!((heard.epochs.len(), heard.epochs[0].tracks.len()), (1, 1));
        to_hub.take(&mut heard, Source::Layer(0), unit(7, true, Some(video(160))), at(12_100));
        assert_eq!((heard.epochs.len(), heard.epochs[1].tracks.len()), (2, 2), "and the picture joins when it comes");
    }

    /// As GStreamer 1.22 reports: its RTP clocks at twice the speed of the packets that they stamp.
    #[test]
    fn reports_at_double_speed_neither_silence_the_sound_nor_stop_the_picture() {
        let (mut to_hub, mut heard) = (ToHub::new([None], stereo()), Heard::default());
        for ms in (0..30_000_u32).step_by(20) {
            to_hub.take(&mut heard, Source::Audio, unit(ms * 48, true, None), at(u64::from(ms)));
            if ms % 40 == 0 {
                let keyframe = ms % 2_000 == 0;
                let format = keyframe.then(|| video(160));
                to_hub.take(&mut heard, Source::Layer(0), unit(ms * 90, keyframe, format), at(u64::from(ms)));
            }
            if ms % 4_000 == 100 {
                let ntp = NtpTime::from(UNIX_EPOCH + Duration::from_millis(1_000_000 + u64::from(ms)));
                to_hub.report(Source::Layer(0), ntp, ms * 2 * 90);
                to_hub.report(Source::Audio, ntp, ms * 2 * 48);
            }
        }
        assert_eq!(heard.epochs.len(), 1, "nothing was wrong with the media");
        let last = |track| heard.frames.iter().rfind(|frame| frame.track == TrackId(track)).unwrap().dts;
        assert_eq!((last(0), last(1)), (29_960 * 90, 29_980 * 48));
        let sounds = heard.frames.iter().filter(|frame| frame.track == TrackId(1)).count();
        assert_eq!(sounds, 1_499, "all but the one from before the picture");
    }
}
