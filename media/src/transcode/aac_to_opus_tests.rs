//! Real AAC in, Opus out, and that decoded again.

use super::*;
use crate::codec::aac;
use crate::codec::opus;
use crate::ingest::flv::{Arrival, FrameSink, TagKind, ToHub, read_tags};
use crate::model::{Epoch, Frame};
use crate::transcode::default_bitrate;
use opusic_c::Decoder;
use proptest::prelude::*;
use std::time::{Duration, SystemTime};

const MONO_44100: &[u8] = include_bytes!("../../tests/fixtures/ffmpeg-5.1-aac-1khz-44100-mono.flv");
const STEREO_44100: &[u8] = include_bytes!("../../tests/fixtures/ffmpeg-5.1-aac-1khz-44100-stereo.flv");
const MONO_48000: &[u8] = include_bytes!("../../tests/fixtures/ffmpeg-5.1-aac-1khz-48000-mono.flv");
const STEREO_48000: &[u8] = include_bytes!("../../tests/fixtures/ffmpeg-5.1-aac-1khz-48000-stereo.flv");
const STEREO_22050: &[u8] = include_bytes!("../../tests/fixtures/ffmpeg-5.1-aac-1khz-22050-stereo.flv");
const SHOW: &[u8] = include_bytes!("../../tests/fixtures/ffmpeg-5.1-h264-aac.flv");

/// Loudness of the left and the right tone in the clips.
const LEVELS: [f64; 2] = [0.5, 0.25];

/// The sound of a clip as the hub has it.
#[derive(Default)]
struct Track {
    format: Option<AudioFormat>,
    frames: Vec<Frame>,
}

impl FrameSink for Track {
    fn begin_epoch(&mut self, epoch: Epoch) {
        assert!(self.format.is_none(), "a clip is one epoch");
        self.format = epoch.tracks.iter().find_map(|track| track.audio().cloned());
    }

    fn write(&mut self, frame: Frame) {
        // Sound is the last track.
        self.frames.push(frame);
    }
}

impl Track {
    fn read(clip: &'static [u8]) -> Self {
        let (mut track, mut to_hub) = (Self::default(), ToHub::default());
        for tag in read_tags(&Bytes::from_static(clip)).unwrap() {
            let elapsed = Duration::from_millis(tag.timestamp_ms.into());
            let arrival = Arrival { elapsed, wall: SystemTime::UNIX_EPOCH + elapsed };
            match tag.kind {
                TagKind::Audio => to_hub.audio(&mut track, tag.timestamp_ms, tag.body, arrival).unwrap(),
                TagKind::Video => to_hub.video(&mut track, tag.timestamp_ms, tag.body, arrival).unwrap(),
                TagKind::Script => {}
            }
        }
        let sound = track.frames.iter().map(|frame| frame.track.0).max();
        track.frames.retain(|frame| Some(frame.track.0) == sound);
        assert!(track.frames.len() > 40, "{} frames", track.frames.len());
        track
    }

    fn format(&self) -> &AudioFormat {
        self.format.as_ref().unwrap()
    }

    fn engine(&self) -> AacToOpus {
        AacToOpus::new(self.format(), default_bitrate(self.format().channels)).unwrap()
    }

    /// The clip, over and over.
    fn units(&self) -> impl Iterator<Item = &Bytes> {
        self.frames.iter().map(|frame| &frame.payload).cycle()
    }

    /// `count` units from `dts` on, one after the other. What follows would have the dts that is returned.
    fn push(&self, engine: &mut AacToOpus, dts: i64, count: usize, out: &mut Vec<OpusPacket>) -> i64 {
        let step = i64::from(self.format().samples_per_frame);
        let last = self.units().take(count).fold(dts, |dts, unit| {
            engine.push(dts, unit, out).unwrap();
            dts + step
        });
        assert_eq!(engine.damaged(), 0);
        last
    }
}

#[test]
fn silence_lasts_as_long_as_the_packet_in_whose_place_it_stands() {
    // CELT 20 ms stereo and mono, 2.5 ms, SILK two times 20 ms and 60 ms, hybrid three times 10 ms.
    let packets: [&[u8]; 6] = [&[0xfc], &[0xf8], &[0xe4], &[0x49], &[0x5c], &[0x63, 3]];
    for packet in packets {
        let samples = opus::packet_samples(packet).unwrap();
        let silence = opus::silence_like(packet).unwrap();
        assert_eq!(opus::packet_samples(&silence), Some(samples), "{packet:x?}");
        let channels = opus::format_of_packet(packet).unwrap().channels;
        assert_eq!(opus::format_of_packet(&silence).unwrap().channels, channels, "{packet:x?}");
        let mut decoder = Decoder::new(Channels::Stereo, SampleRate::Hz48000).unwrap();
        let mut pcm = vec![1.0; samples as usize * 2];
        assert_eq!(decoder.decode_float_to_slice(&silence, &mut pcm, false), Ok(samples as usize));
        assert!(pcm.iter().all(|sample| sample.abs() < 1e-4), "{packet:x?} is heard");
    }
    assert_eq!(opus::silence_like(&[]), None);
}

/// One plane of samples per channel.
fn decode(packets: &[OpusPacket], channels: u8) -> Vec<Vec<f64>> {
    let layout = if channels == 1 { Channels::Mono } else { Channels::Stereo };
    let mut decoder = Decoder::new(layout, SampleRate::Hz48000).unwrap();
    let mut planes = vec![Vec::new(); usize::from(channels)];
    for packet in packets {
        let mut samples = vec![0.0; PACKET_SAMPLES * usize::from(channels)];
        assert_eq!(decoder.decode_float_to_slice(&packet.payload, &mut samples, false), Ok(PACKET_SAMPLES));
        assert_eq!(opus::packet_samples(&packet.payload), Some(960));
        for frame in samples.chunks(usize::from(channels)) {
            planes.iter_mut().zip(frame).for_each(|(plane, sample)| plane.push(f64::from(*sample)));
        }
    }
    planes
}

/// Amplitude of the 1 kHz in `plane[from..from + 1 s / 4]`, and by how many samples it is late against a sine that
/// began at the plane's zero: within half a period, 24.
fn tone(plane: &[f64], from: usize) -> (f64, f64) {
    let window = 12_000;
    let radians = |index: usize| index as f64 * std::f64::consts::TAU / 48.0;
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (index, sample) in plane.iter().enumerate().skip(from).take(window) {
        sine += sample * radians(index).sin();
        cosine += sample * radians(index).cos();
    }
    let scale = 2.0 / window as f64;
    (sine.hypot(cosine) * scale, (-cosine).atan2(sine) / std::f64::consts::TAU * 48.0)
}

fn hertz(plane: &[f64]) -> f64 {
    let crossings = plane.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
    crossings as f64 * 48_000.0 / plane.len() as f64
}

fn assert_within_3_db(found: f64, wanted: f64) {
    let decibels = 20.0 * (found / wanted).log10();
    assert!(decibels.abs() < 3.0, "{decibels} dB");
}

fn assert_steps(packets: &[OpusPacket]) {
    for pair in packets.windows(2) {
        assert_eq!(pair[1].pts - pair[0].pts, 960);
    }
}

#[test]
fn a_tone_keeps_frequency_level_and_place() {
    for (clip, rate, channels) in
        [(MONO_44100, 44_100, 1), (STEREO_44100, 44_100, 2), (MONO_48000, 48_000, 1), (STEREO_48000, 48_000, 2)]
    {
        let track = Track::read(clip);
        assert_eq!((track.format().sample_rate, track.format().channels), (rate, channels));
        let (mut engine, mut packets) = (track.engine(), Vec::new());
        assert_eq!(engine.channels(), channels);
        track.push(&mut engine, 0, 80, &mut packets);
        for (plane, level) in decode(&packets, channels).iter().zip(LEVELS) {
            assert!((hertz(&plane[9_600..57_600]) - 1_000.0).abs() < 2.0, "{rate} Hz, {channels} channels");
            let (amplitude, late) = tone(plane, 24_000);
            assert_within_3_db(amplitude, level);
            // The encoder put 1024 samples of its own before the tone.
            let priming = 1_024.0 * 48_000.0 / f64::from(rate);
            let off = (late - priming + 24.0).rem_euclid(48.0) - 24.0;
            assert!(off.abs() < 3.0, "{off} samples late at {rate} Hz, {channels} channels");
        }
    }
}

#[test]
fn packets_step_by_960_and_track_the_source_for_30_s() {
    for clip in [MONO_44100, STEREO_48000] {
        let track = Track::read(clip);
        let (mut engine, mut packets) = (track.engine(), Vec::new());
        let rate = i64::from(track.format().sample_rate);
        let (start, units) = (rate * 7, rate as usize * 30 / 1_024);
        for (index, unit) in track.units().take(units).enumerate() {
            // As RTMP rounds it: to milliseconds.
            let exact = start + index as i64 * 1_024;
            let dts = (exact * 1_000 / rate) * rate / 1_000;
            engine.push(dts, unit, &mut packets).unwrap();
            let end = (exact + 1_024) * 48_000 / rate;
            let covered = packets.last().map_or(start * 48_000 / rate, |packet| packet.pts + 960);
            // A packet, and what resampler and encoder hold back.
            assert!((0..=960 + engine.delay as i64 + 640).contains(&(end - covered)), "{covered} of {end}");
            assert!(engine.pending.len() < 960 * usize::from(engine.channels()));
        }
        assert_steps(&packets);
        assert_eq!(packets[0].pts, 7 * 48_000);
        assert!(packets.len() >= 1_496, "{} packets", packets.len());
    }
}

#[test]
fn a_gap_moves_the_pts_and_nothing_before_it_is_lost() {
    for clip in [STEREO_44100, MONO_48000] {
        let track = Track::read(clip);
        let (mut engine, mut packets) = (track.engine(), Vec::new());
        let rate = i64::from(track.format().sample_rate);
        let end = track.push(&mut engine, 0, 40, &mut packets);
        let resume = end + rate;
        track.push(&mut engine, resume, 40, &mut packets);
        let to_opus = |ticks: i64| ticks * 48_000 / rate;
        let at = packets.windows(2).position(|pair| pair[1].pts - pair[0].pts != 960).unwrap() + 1;
        let (before, after) = packets.split_at(at);
        assert_steps(before);
        assert_steps(after);
        let covered = before.last().unwrap().pts + 960;
        assert!((0..960).contains(&(covered - to_opus(end))), "{covered} for {}", to_opus(end));
        assert!((after[0].pts - to_opus(resume)).abs() <= 1);
        let tail = decode(before, engine.channels()).remove(0);
        assert_within_3_db(tone(&tail, to_opus(end) as usize - 12_000).0, LEVELS[0]);
    }
}

#[test]
fn jitter_and_small_drift_are_counted_over_and_surplus_is_left_out() {
    let track = Track::read(MONO_48000);
    let (mut engine, mut packets) = (track.engine(), Vec::new());
    // A source whose clock runs 1 % slow: of each 100 units one has no room.
    for (index, unit) in track.units().take(2_000).enumerate() {
        engine.push(index as i64 * 1_014, unit, &mut packets).unwrap();
    }
    assert_steps(&packets);
    let (last, covered) = (1_999 * 1_014 + 1_024, packets.last().unwrap().pts + 960);
    assert!((covered - last).abs() <= 48 * (TOLERANCE_MS + 22), "{covered} for {last}");
    // And one whose clock began anew.
    engine.push(0, &track.frames[0].payload, &mut packets).unwrap();
    track.push(&mut engine, 1_024, 3, &mut packets);
    assert!(packets.iter().rev().take(2).any(|packet| packet.pts == 0 || packet.pts == 960));
}

#[test]
fn damaged_units_are_silence_of_the_same_length() {
    let track = Track::read(STEREO_44100);
    let (mut engine, mut packets) = (track.engine(), Vec::new());
    // Nothing at all, the end at once, a lone channel before any pair, endless, and one unit cut.
    let cut = track.frames[20].payload.slice(..30);
    let garbage = [&[][..], &[0xff; 40], &[0x01, 0x55, 0xaa, 0x33], &[0x55; 9_000], &cut];
    let mut dts = 0;
    for unit in garbage {
        engine.push(dts, unit, &mut packets).unwrap();
        dts += 1_024;
    }
    assert_eq!(engine.damaged(), 5);
    for unit in track.units().take(80) {
        engine.push(dts, unit, &mut packets).unwrap();
        dts += 1_024;
    }
    engine.push(dts, &[0xff], &mut packets).unwrap();
    assert_eq!(engine.damaged(), 6, "the units after damage are whole again");
    engine.flush(&mut packets).unwrap();
    assert_steps(&packets);
    assert_eq!(packets.len() as i64, (86 * 1_024 * 48_000 / 44_100 + 959) / 960);
    let planes = decode(&packets, 2);
    assert!(planes[0][1_920..4_800].iter().all(|sample| sample.abs() < 0.01), "silence");
    assert_within_3_db(tone(&planes[0], 24_000).0, LEVELS[0]);
    assert_within_3_db(tone(&planes[1], 24_000).0, LEVELS[1]);
    engine.flush(&mut packets).unwrap();
    assert_eq!(packets.len() as i64, (86 * 1_024 * 48_000 / 44_100 + 959) / 960, "flushed once");
}

#[test]
fn he_aac_is_heard_as_its_core() {
    let core = Track::read(STEREO_22050);
    // Object type 5 at 44.1 kHz over a core of low complexity at 22.05 kHz.
    let format = aac::format(Bytes::from_static(&[0x2b, 0x92, 0x08, 0x00])).unwrap();
    let track = Track { format: Some(format), frames: core.frames };
    let (mut engine, mut packets) = (track.engine(), Vec::new());
    track.push(&mut engine, 0, 40, &mut packets);
    assert_steps(&packets);
    let end = packets.last().unwrap().pts + 960;
    assert!((40 * 2_048 * 48_000 / 44_100 - end).abs() < 4_000, "{end}");
    let planes = decode(&packets, 2);
    assert!((hertz(&planes[0][9_600..57_600]) - 1_000.0).abs() < 2.0);
    assert_within_3_db(tone(&planes[1], 24_000).0, LEVELS[1]);
}

#[test]
fn the_sound_of_a_show_is_transcoded_in_its_rate() {
    let track = Track::read(SHOW);
    let (mut engine, mut packets) = (track.engine(), Vec::new());
    for frame in &track.frames {
        engine.push(frame.dts, &frame.payload, &mut packets).unwrap();
    }
    engine.flush(&mut packets).unwrap();
    assert_eq!(engine.damaged(), 0);
    assert_steps(&packets);
    let bytes: usize = packets.iter().map(|packet| packet.payload.len()).sum();
    let bits_per_second = bytes * 8 * 50 / packets.len();
    assert!(bits_per_second < default_bitrate(engine.channels()) as usize * 3 / 2, "{bits_per_second} bit/s");
}

#[test]
fn an_engine_moves_between_threads() {
    fn assert_send<T: Send + 'static>() {}
    assert_send::<AacToOpus>();
}

#[test]
fn what_cannot_be_decoded_is_refused_by_name() {
    let open = |record: &'static [u8], bitrate: u32| {
        AacToOpus::new(&aac::format(Bytes::from_static(record)).unwrap(), bitrate).map(|engine| engine.channels())
    };
    assert!(matches!(open(&[0x11, 0x90], 96_000), Ok(2)));
    assert!(matches!(open(&[0x09, 0x90], 96_000), Err(TranscodeError::Profile { object_type: 1 })));
    assert!(matches!(open(&[0x11, 0xb0], 96_000), Err(TranscodeError::Channels { channels: 6 })));
    assert!(matches!(open(&[0x11, 0x94], 96_000), Err(TranscodeError::FrameLength { samples: 960 })));
    assert!(matches!(open(&[0x17, 0x80, 0x5d, 0xdd, 0x90], 1), Err(TranscodeError::Bitrate { .. })));
    // 47 999 Hz, written out.
    assert!(matches!(open(&[0x17, 0x80, 0x5d, 0xbf, 0x90], 96_000), Err(TranscodeError::SampleRate { hertz: 47_999 })));
    assert!(matches!(AacToOpus::new(&opus::format_of_packet(&[0xfc]).unwrap(), 96_000), Err(TranscodeError::NotAac)));
}

#[test]
fn every_rate_of_the_standard_is_brought_to_48_khz() {
    for rate in [96_000, 88_200, 64_000, 32_000, 24_000, 16_000, 12_000, 11_025, 8_000, 7_350] {
        let track = Track::read(MONO_48000);
        let format = AudioFormat { sample_rate: rate, ..track.format().clone() };
        let (mut engine, mut packets) = (AacToOpus::new(&format, 64_000).unwrap(), Vec::new());
        for index in 0..20 {
            engine.push(index * 1_024, &[], &mut packets).unwrap();
        }
        engine.flush(&mut packets).unwrap();
        assert_steps(&packets);
        assert_eq!(packets.len() as i64, (20 * 1_024 * 48_000 / i64::from(rate) + 959) / 960, "{rate} Hz");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_bytes_stop_the_stream(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..20),
        jumps in prop::collection::vec(prop_oneof![Just(1_024i64), -90_000i64..90_000, any::<i64>()], 60),
    ) {
        let track = Track::read(STEREO_44100);
        let (mut engine, mut packets, mut dts) = (track.engine(), Vec::new(), 0i64);
        let damaged = track.units().take(40).enumerate().map(|(index, unit)| {
            let mut unit = unit.to_vec();
            let (place, byte) = &damage[index % damage.len()];
            let place = place.index(unit.len());
            unit[place] ^= *byte;
            unit
        });
        for (unit, jump) in damaged.chain(noise).zip(jumps) {
            engine.push(dts, &unit, &mut packets).unwrap();
            dts = dts.saturating_add(jump).clamp(-1 << 40, 1 << 40);
            prop_assert!(engine.pending.len() < 960 * 2);
        }
        prop_assert!(packets.iter().all(|packet| (1..=PACKET_MAX_BYTES).contains(&packet.payload.len())));
    }
}
