//! Epochs and frames from bodies, on simulated time.

use super::*;
use crate::codec::{h264, nal};
use crate::model::{AudioCodec, FrameRate, VideoCodec};

/// From x264: 1280x720, 30 frames a second, High.
const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00,
    0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 0x60,
];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
const OTHER_PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc1];
const IDR: &[u8] = &[0x65, 0x88, 0x84];
const P_SLICE: &[u8] = &[0x41, 0xc0, 0x00];

#[derive(Default)]
struct Sink {
    epochs: Vec<Epoch>,
    /// With the number of the epoch they belong to.
    frames: Vec<(usize, Frame)>,
}

impl FrameSink for Sink {
    fn begin_epoch(&mut self, epoch: Epoch) {
        self.epochs.push(epoch);
    }

    fn write(&mut self, frame: Frame) {
        assert!(!self.epochs.is_empty(), "no frame before its epoch");
        let epoch = self.epochs.len();
        let before = self.frames.iter().rev().find(|(number, last)| *number == epoch && last.track == frame.track);
        match before {
            Some((_, last)) => assert!(frame.dts >= last.dts, "dts never decreases"),
            None => assert!(frame.keyframe, "a track begins with a keyframe"),
        }
        assert!(frame.pts >= frame.dts && frame.dts >= 0);
        self.frames.push((epoch, frame));
    }
}

#[derive(Default)]
struct Show {
    to_hub: ToHub,
    sink: Sink,
}

impl Show {
    fn arrival(ms: u32) -> Arrival {
        let elapsed = Duration::from_millis(u64::from(ms));
        Arrival { elapsed, wall: SystemTime::UNIX_EPOCH + elapsed }
    }

    fn video_body(&mut self, ms: u32, body: Vec<u8>) {
        self.to_hub.video(&mut self.sink, ms, body.into(), Self::arrival(ms)).unwrap();
    }

    fn avcc(&mut self, ms: u32, pps: &'static [u8]) {
        let sets = |set: &'static [u8]| vec![Bytes::from_static(set)];
        let record = h264::Configuration::from_parameter_sets(sets(SPS), sets(pps), 4).unwrap().write();
        self.video_body(ms, [&[0x17, 0, 0, 0, 0], &record[..]].concat());
    }

    fn keyframe(&mut self, ms: u32) {
        self.keyframe_of(ms, 0, &[IDR]);
    }

    fn keyframe_of(&mut self, ms: u32, composition: u8, units: &[&[u8]]) {
        self.video_body(ms, [&[0x17, 1, 0, 0, composition], &nal::join(units)[..]].concat());
    }

    fn picture(&mut self, ms: u32) {
        self.video_body(ms, [&[0x27, 1, 0, 0, 0], &nal::join(&[P_SLICE])[..]].concat());
    }

    fn asc(&mut self, ms: u32, record: [u8; 2]) {
        let body = Bytes::from([&[0xaf, 0][..], &record].concat());
        self.to_hub.audio(&mut self.sink, ms, body, Self::arrival(ms)).unwrap();
    }

    fn sound(&mut self, ms: u32) {
        self.to_hub.audio(&mut self.sink, ms, Bytes::from_static(&[0xaf, 1, 0x21]), Self::arrival(ms)).unwrap();
    }

    /// A second of 25 pictures and 46 AAC frames from `start`, video first.
    fn second(&mut self, start: u32) {
        let mut sound_ms = start;
        for index in 0..25 {
            let ms = start + index * 40;
            if index == 0 {
                self.keyframe(ms)
            } else {
                self.picture(ms)
            }
            while sound_ms < ms + 40 {
                self.sound(sound_ms);
                sound_ms += 21;
            }
        }
    }

    fn tracks(&self, epoch: usize) -> Vec<bool> {
        self.sink.epochs[epoch].tracks.iter().map(|track| track.is_video()).collect()
    }

    fn first(&self, epoch: usize, track: u8) -> &Frame {
        let of = |(number, frame): &&(usize, Frame)| *number == epoch && frame.track == TrackId(track);
        &self.sink.frames.iter().find(of).expect("the track has frames").1
    }
}

const STEREO_48K: [u8; 2] = [0x11, 0x90];
const MONO_44K: [u8; 2] = [0x12, 0x08];

fn both() -> Hints {
    let frame_rate = Some(FrameRate { numerator: 30, denominator: 1 });
    Hints { has_video: Some(true), has_audio: Some(true), frame_rate }
}

#[test]
fn one_epoch_holds_both_tracks_although_audio_comes_late() {
    let mut show = Show::default();
    show.to_hub.hint(both());
    show.avcc(0, PPS);
    show.keyframe(0);
    show.picture(40);
    assert!(show.sink.epochs.is_empty(), "audio is announced, so it is waited for");
    show.asc(40, STEREO_48K);
    show.sound(40);
    assert_eq!(show.tracks(0), [true, false]);
    assert_eq!(show.sink.frames.len(), 3);
    let video = show.sink.epochs[0].video().unwrap().video().unwrap();
    assert_eq!((video.codec, video.width, video.height), (VideoCodec::H264, 1280, 720));
    let audio = show.sink.epochs[0].tracks[1].audio().unwrap();
    assert_eq!((audio.codec, audio.sample_rate, audio.samples_per_frame), (AudioCodec::Aac, 48_000, 1_024));
}

#[test]
fn a_track_that_never_comes_is_waited_for_a_second() {
    for hints in [Hints::default(), both()] {
        let mut show = Show::default();
        show.to_hub.hint(hints);
        show.avcc(0, PPS);
        show.keyframe(0);
        (1..25).for_each(|index| show.picture(index * 40));
        assert!(show.sink.epochs.is_empty());
        show.picture(1_000);
        assert_eq!(show.tracks(0), [true]);
        assert_eq!(show.sink.frames.len(), 26, "nothing of the wait is lost");
        assert_eq!(show.sink.epochs[0].zero, SystemTime::UNIX_EPOCH, "zero is when the first frame came");
    }
    let mut sound_only = Show::default();
    sound_only.asc(0, STEREO_48K);
    (0..60).for_each(|index| sound_only.sound(index * 21));
    assert_eq!(sound_only.tracks(0), [false]);
    let mut ruled_out = Show::default();
    ruled_out.to_hub.hint(Hints { has_video: Some(false), ..both() });
    ruled_out.asc(0, STEREO_48K);
    ruled_out.sound(0);
    assert_eq!(ruled_out.tracks(0), [false], "no wait for what the encoder says it has not");
}

#[test]
fn sound_begins_with_the_first_picture() {
    let mut show = Show::default();
    show.to_hub.hint(both());
    show.asc(0, STEREO_48K);
    show.avcc(0, PPS);
    (0..20).for_each(|index| show.sound(index * 21));
    show.picture(200);
    // Shown 66 ms after it is decoded, as behind B-frames.
    show.keyframe_of(240, 66, &[IDR]);
    (20..30).for_each(|index| show.sound(index * 21));
    let (picture, sound) = (show.first(1, 0), show.first(1, 1));
    assert_eq!(show.sink.frames[0].1.track, TrackId(0), "the picture is written first");
    assert_eq!((picture.dts, picture.pts), (0, 66 * 90));
    let apart_ms = sound.pts * 1_000 / 48_000 - picture.pts / 90;
    assert!((0..=21).contains(&apart_ms), "{apart_ms} ms apart");
}

#[test]
fn new_video_parameters_begin_an_epoch_and_lose_no_sound() {
    let mut show = Show::default();
    show.avcc(0, PPS);
    show.asc(0, STEREO_48K);
    show.second(0);
    show.avcc(1_000, PPS);
    show.second(1_000);
    assert_eq!(show.sink.epochs.len(), 1, "the same parameters again change nothing");
    show.avcc(2_000, OTHER_PPS);
    show.second(2_000);
    assert_eq!(show.sink.epochs.len(), 2);
    assert_eq!(show.tracks(1), [true, false]);
    assert_eq!(show.sink.epochs[1].zero, SystemTime::UNIX_EPOCH + Duration::from_secs(2));
    assert_eq!(show.first(2, 0).dts, 0);
    assert_eq!(show.sink.frames.iter().filter(|(_, frame)| frame.track == TrackId(1)).count(), 3 * 48);
}

#[test]
fn parameters_inside_a_keyframe_count_as_new_ones() {
    let mut show = Show::default();
    show.avcc(0, PPS);
    show.asc(0, STEREO_48K);
    show.keyframe_of(0, 0, &[SPS, PPS, IDR]);
    assert_eq!(show.sink.epochs.len(), 1, "the same sets inside the frame change nothing");
    show.keyframe_of(1_000, 0, &[SPS, OTHER_PPS, IDR]);
    assert_eq!(show.sink.epochs.len(), 2);
    let record = &show.sink.epochs[1].video().unwrap().video().unwrap().configuration;
    assert!(record.windows(OTHER_PPS.len()).any(|window| window == OTHER_PPS));
    show.keyframe_of(2_000, 0, &[SPS, OTHER_PPS, IDR]);
    assert_eq!(show.sink.epochs.len(), 2);
    let mut without_record = Show::default();
    without_record.to_hub.hint(Hints { has_audio: Some(false), ..both() });
    without_record.keyframe_of(0, 0, &[SPS, PPS, IDR]);
    assert_eq!(without_record.sink.epochs.len(), 1);
}

#[test]
fn audio_that_appears_or_changes_joins_at_the_next_keyframe() {
    let mut show = Show::default();
    show.to_hub.hint(Hints { has_audio: Some(false), ..both() });
    show.avcc(0, PPS);
    show.keyframe(0);
    assert_eq!(show.tracks(0), [true]);
    show.asc(40, STEREO_48K);
    show.sound(40);
    show.picture(80);
    assert_eq!(show.sink.epochs.len(), 1);
    show.second(120);
    assert_eq!(show.tracks(1), [true, false]);
    show.asc(1_120, MONO_44K);
    show.sound(1_120);
    assert_eq!(show.sink.epochs.len(), 2, "a picture in mid GOP cannot begin an epoch");
    show.second(1_160);
    assert_eq!(show.sink.epochs[2].tracks[1].timescale.get(), 44_100);
}

#[test]
fn a_broken_clock_begins_an_epoch_at_the_next_keyframe() {
    let mut show = Show::default();
    show.avcc(0, PPS);
    show.asc(0, STEREO_48K);
    show.second(3_600_000);
    let before = show.sink.frames.len();
    show.picture(1_000);
    show.sound(1_000);
    assert_eq!((show.sink.epochs.len(), show.sink.frames.len()), (1, before));
    show.second(1_040);
    assert_eq!(show.sink.epochs.len(), 2);
    assert_eq!(show.first(2, 0).dts, 0);
    let apart_ms = show.first(2, 1).pts * 1_000 / 48_000;
    assert!((0..=21).contains(&apart_ms), "{apart_ms} ms apart");
}

#[test]
fn an_hour_over_the_narrow_wrap_stays_in_one_epoch_and_in_step() {
    let mut show = Show::default();
    show.to_hub.hint(both());
    show.asc(0, STEREO_48K);
    show.avcc(0, PPS);
    let start = 0x00ff_ffff - 2_000;
    for index in 0..200_u32 {
        let (elapsed, raw) = (index * 20, (start + index * 20) & 0x00ff_ffff);
        let arrival = Show::arrival(elapsed);
        let (key, sound) = ([0x17, 1, 0, 0, 0, 0, 0, 0, 3, 0x65, 0x88, 0x84], [0xaf, 1, 0x21]);
        show.to_hub.video(&mut show.sink, raw, Bytes::copy_from_slice(&key), arrival).unwrap();
        show.to_hub.audio(&mut show.sink, raw, Bytes::copy_from_slice(&sound), arrival).unwrap();
    }
    assert_eq!(show.sink.epochs.len(), 1);
    let last = |track| show.sink.frames.iter().rev().find(|(_, frame)| frame.track == TrackId(track)).unwrap().1.dts;
    assert_eq!(last(0), 199 * 20 * 90);
}

#[test]
fn parameters_that_cannot_be_read_are_an_error_and_bodies_that_cannot_are_skipped() {
    let mut show = Show::default();
    let broken = Bytes::from_static(&[0x17, 0, 0, 0, 0, 1, 0x64, 0]);
    assert!(show.to_hub.video(&mut show.sink, 0, broken, Show::arrival(0)).is_err());
    for body in [&[][..], &[0x17], &[0xff, 0xff], &[0x27, 1, 0, 0, 0, 1]] {
        show.video_body(0, body.to_vec());
    }
    assert!(show.sink.epochs.is_empty());
}

#[test]
fn opus_without_a_header_is_carried() {
    let mut show = Show::default();
    show.to_hub.hint(Hints { has_video: Some(false), ..both() });
    for index in 0..50_u32 {
        let body = Bytes::from_static(b"\x91Opus\xfc\x01\x02");
        show.to_hub.audio(&mut show.sink, index * 20, body, Show::arrival(index * 20)).unwrap();
    }
    assert_eq!(show.sink.epochs[0].tracks[0].audio().unwrap().codec, AudioCodec::Opus);
    assert_eq!(show.sink.frames.last().unwrap().1.dts, 49 * 960);
}

#[test]
fn what_is_held_for_a_first_keyframe_is_bounded_in_bytes() {
    let mut show = Show::default();
    show.avcc(0, PPS);
    // Sound that is huge, while the picture that was announced does not come.
    show.to_hub.hint(both());
    show.asc(0, STEREO_48K);
    for ms in 1..200 {
        let body = [&[0xaf, 1][..], &vec![0; 1024 * 1024]].concat();
        show.to_hub.audio(&mut show.sink, ms, body.into(), Show::arrival(ms)).unwrap();
    }
    let State::Gathering(gathering) = &show.to_hub.state else { panic!("it has no keyframe") };
    let held: usize = gathering.held.iter().map(|frame| frame.payload.len()).sum();
    assert!(held <= HELD_MAX_BYTES + 1024 * 1024 && held == gathering.bytes, "{held} bytes are held");
}
