//! Keyframes of a real encoder, in the shapes that shows come in and in those that are refused.

use super::*;
use crate::codec::h264::{Configuration, UnitKind};
use crate::codec::nal::join;
use crate::model::{MediaFormat, Timescale, TrackFormat, TrackId, VideoCodec};
use std::process::Command;
use std::sync::Arc;
use tokio_util::task::TaskTracker;

#[path = "../../tests/support/counters.rs"]
#[allow(dead_code, unreachable_pub, reason = "the counters are shared with the tests of whole shows")]
mod counters;

/// One keyframe of x264.
fn keyframe(source: &str, options: &[&str]) -> (VideoFormat, Frame) {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", source, "-frames:v", "1", "-c:v", "libx264"])
        .args(["-preset", "veryfast"])
        .args(options)
        .args(["-f", "h264", "-"])
        .output()
        .expect("ffmpeg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut starts: Vec<usize> =
        output.stdout.windows(3).enumerate().filter(|(_, bytes)| *bytes == [0, 0, 1]).map(|(at, _)| at).collect();
    starts.push(output.stdout.len());
    let unit = |pair: &[usize]| {
        let unit = &output.stdout[pair[0] + 3..pair[1]];
        Bytes::copy_from_slice(unit.strip_suffix(&[0]).unwrap_or(unit))
    };
    let units: Vec<Bytes> = starts.windows(2).map(unit).collect();
    let of = |kind| units.iter().filter(|unit| UnitKind::of(unit) == kind).cloned().collect::<Vec<_>>();
    let sets = Configuration::from_parameter_sets(of(UnitKind::Sps), of(UnitKind::Pps), 4).unwrap();
    let format = sets.format(sets.write()).unwrap();
    let payload = join(&of(UnitKind::Idr));
    (format, Frame { track: TrackId(0), dts: 0, pts: 0, keyframe: true, payload })
}

fn once(format: &VideoFormat, frame: &Frame) -> Result<Thumbnail, ThumbnailError> {
    develop(&mut KeyframeDecoder::default(), format, frame, 320)
}

fn developed(source: &str, options: &[&str]) -> Result<Thumbnail, ThumbnailError> {
    let (format, frame) = keyframe(source, options);
    once(&format, &frame)
}

#[test]
fn shows_of_every_ordinary_shape_have_pictures() {
    for (source, options, size) in [
        ("testsrc2=size=1920x1080", &["-pix_fmt", "yuv420p"][..], (320, 180)),
        ("testsrc2=size=720x1280", &["-pix_fmt", "yuv420p", "-profile:v", "baseline"], (320, 568)),
        ("testsrc2=size=720x576,setsar=16/11", &["-pix_fmt", "yuv420p", "-profile:v", "main"], (320, 176)),
        ("testsrc2=size=854x480", &["-pix_fmt", "yuv420p", "-x264-params", "slices=8"], (320, 180)),
        ("testsrc2=size=160x90", &["-pix_fmt", "yuvj420p"], (160, 90)),
    ] {
        let thumbnail = developed(source, options).unwrap_or_else(|error| panic!("{source}: {error}"));
        assert_eq!((thumbnail.width, thumbnail.height), size, "{source}");
        assert!(thumbnail.jpeg.starts_with(&[0xff, 0xd8]) && thumbnail.jpeg.ends_with(&[0xff, 0xd9]), "{source}");
        assert!((60..190).contains(&thumbnail.brightness), "{source}: {}", thumbnail.brightness);
    }
}

#[test]
fn nothing_of_one_show_is_seen_in_the_next() {
    let sources: Vec<_> =
        ["testsrc2=size=1280x720", "color=black:size=640x360", "testsrc2=size=640x360", "color=white:size=1280x720"]
            .iter()
            .map(|source| keyframe(source, &["-pix_fmt", "yuv420p"]))
            .collect();
    let mut decoder = KeyframeDecoder::default();
    for turn in 0..12 {
        let (format, frame) = &sources[turn % sources.len()];
        // Every third turn the show is cut off in the middle of its keyframe: no picture, and certainly not the one before.
        if turn % 3 == 2 {
            let cut = Frame { payload: frame.payload.slice(..frame.payload.len() / 2), ..frame.clone() };
            assert!(develop(&mut decoder, format, &cut, 320).is_err(), "turn {turn}");
        }
        let found = develop(&mut decoder, format, frame, 320).unwrap();
        assert_eq!(found, once(format, frame).unwrap(), "turn {turn}");
    }
}

#[test]
fn how_bright_it_is_tells_an_empty_stage_from_a_lit_one() {
    let brightness = |colour: &str| {
        let source = format!("color={colour}:size=640x360");
        developed(&source, &["-pix_fmt", "yuv420p"]).unwrap().brightness
    };
    assert!(brightness("black") < 2 && brightness("white") > 253, "{} {}", brightness("black"), brightness("white"));
}

#[test]
fn what_the_decoder_does_not_know_never_reaches_it() {
    for (source, options) in [
        ("testsrc2=size=640x360", &["-pix_fmt", "yuv444p"][..]),
        ("testsrc2=size=640x360", &["-pix_fmt", "yuv420p10le"]),
        ("testsrc2=size=640x360", &["-pix_fmt", "yuv420p", "-flags", "+ildct+ilme", "-x264-params", "tff=1"]),
    ] {
        let refused = developed(source, options);
        assert!(matches!(refused, Err(ThumbnailError::Unsupported { .. })), "{options:?}: {refused:?}");
    }
    let large = developed("color=gray:size=4112x2320", &["-pix_fmt", "yuv420p", "-preset", "ultrafast"]);
    assert!(matches!(large, Err(ThumbnailError::TooLarge { .. })), "{large:?}");
    let (format, frame) = keyframe("testsrc2=size=320x180", &["-pix_fmt", "yuv420p"]);
    for codec in [VideoCodec::H265, VideoCodec::Av1, VideoCodec::Vp8, VideoCodec::Vp9] {
        let other = VideoFormat { codec, ..format.clone() };
        assert!(matches!(once(&other, &frame), Err(ThumbnailError::Unsupported { .. })), "{codec:?}");
    }
}

#[test]
fn every_cut_of_a_keyframe_is_an_error_or_a_picture_and_never_a_panic() {
    let (format, frame) = keyframe("testsrc2=size=320x180", &["-pix_fmt", "yuv420p"]);
    let step = (frame.payload.len() / 40).max(1);
    for length in (0..frame.payload.len()).step_by(step) {
        let cut = Frame { payload: frame.payload.slice(..length), ..frame.clone() };
        assert!(once(&format, &cut).is_err(), "{length} of {} bytes", frame.payload.len());
    }
}

/// A keyframe in which somebody has changed some bits: of the slices, of the parameter sets, or of the lengths between.
struct Spoiler(u64);

impl Spoiler {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % below
    }

    fn spoil(&mut self, bytes: &mut [u8], times: usize) {
        for _ in 0..times {
            let at = self.next(bytes.len());
            bytes[at] = match self.next(4) {
                0 => bytes[at] ^ (1 << self.next(8)),
                1 => 0,
                2 => 0xff,
                _ => self.next(256) as u8,
            };
        }
    }
}

/// The decoder is C++ and within this process, so what it does not survive ends the test, and would end the server. The
/// same bytes in every run; whatever becomes of them, the next sound keyframe is decoded as ever.
#[test]
fn no_bits_that_a_publisher_can_send_are_the_end_of_the_decoder() {
    const ROUNDS: usize = 2_400;
    let shapes = [
        &["-pix_fmt", "yuv420p", "-profile:v", "baseline", "-x264-params", "slices=4"][..],
        &["-pix_fmt", "yuv420p", "-profile:v", "main"],
        &["-pix_fmt", "yuv420p", "-profile:v", "high", "-x264-params", "8x8dct=1:cqm=jvt"],
    ];
    let sound: Vec<_> = shapes.iter().map(|options| keyframe("testsrc2=size=176x144", options)).collect();
    let expected: Vec<_> = sound.iter().map(|(format, frame)| once(format, frame).unwrap()).collect();
    let (mut decoder, mut spoiler) = (KeyframeDecoder::default(), Spoiler(0x9e37_79b9_7f4a_7c15));
    let (mut pictures, mut given_up) = (0, 0);
    for round in 0..ROUNDS {
        let which = round % sound.len();
        let (format, frame) = &sound[which];
        let (mut format, mut payload) = (format.clone(), frame.payload.to_vec());
        let times = 1 + spoiler.next(8);
        match round / sound.len() % 4 {
            // The head of a slice is where sizes and numbers are.
            0 => spoiler.spoil(&mut payload[..40], times),
            1 | 2 => spoiler.spoil(&mut payload, times * 4),
            _ => {
                let mut configuration = format.configuration.to_vec();
                // Behind the version, profile, level and the length of a length.
                spoiler.spoil(&mut configuration[5..], times);
                format.configuration = configuration.into();
                spoiler.spoil(&mut payload, times);
            }
        }
        let spoilt = Frame { payload: payload.into(), ..frame.clone() };
        match develop(&mut decoder, &format, &spoilt, 320) {
            Ok(_) => pictures += 1,
            Err(ThumbnailError::Decoder(_) | ThumbnailError::NoPicture) => given_up += 1,
            Err(_) => {}
        }
        if round % 50 == 0 {
            let found = develop(&mut decoder, &sound[which].0, frame, 320).unwrap();
            assert_eq!(found, expected[which], "round {round}");
        }
    }
    assert!(pictures > 0 && given_up > ROUNDS / 2, "{pictures} and {given_up} of {ROUNDS} reached the decoder");
}

#[tokio::test]
async fn a_keyframe_for_which_there_is_no_room_costs_a_counter_and_the_others_are_made() {
    let _turn = counters::take_turn().await;
    let (format, frame) = keyframe("testsrc2=size=176x144", &["-pix_fmt", "yuv420p"]);
    let format =
        TrackFormat { id: TrackId(0), rid: None, timescale: Timescale::MILLIS, media: MediaFormat::Video(format) };
    let exposure = Exposure { format: Arc::new(format), frame: Arc::new(frame), width: 320 };
    let darkroom = Darkroom::open(&TaskTracker::new());
    // On one thread: until somebody waits, none of them is begun.
    let taken: Vec<_> = (0..200).map_while(|_| darkroom.develop(exposure.clone())).collect();
    assert!(!taken.is_empty() && taken.len() < 200, "{}", taken.len());
    assert_eq!(counters::total("chobi_thumbnails_dropped_total"), 1);
    for picture in taken {
        assert_eq!(picture.await.unwrap().width, 176);
    }
    assert!(darkroom.develop(exposure).is_some(), "there is room again");
}
