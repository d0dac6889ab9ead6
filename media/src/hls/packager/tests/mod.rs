//! Whole shows through the packager, held to the rules after every frame.

mod dvr;
mod offer;
mod script;

use super::conformance::{ListedSegment, Listing};
use super::*;
use crate::model::{AudioCodec, TrackFormat, TrackId};
use script::{Script, Theatre, samples, zero};

/// Longer than the window, so that segments leave it.
const SHOW: Duration = Duration::from_secs(25);

#[test]
fn every_usual_show_obeys_the_rules() {
    let audios = [
        Some((AudioCodec::Aac, 48_000, 1_024)),
        Some((AudioCodec::Aac, 44_100, 1_024)),
        Some((AudioCodec::Opus, 48_000, 960)),
        None,
    ];
    let rates = [24.0, 25.0, 29.97, 30.0, 60.0];
    let shows = rates.iter().flat_map(|fps| [1, 2, 4].map(|gop| (*fps, gop)));
    // Every rate with every GOP, every audio with each of them at least once.
    let shows = shows.enumerate().map(|(index, (fps, gop))| (fps, gop, audios[index % 4], index % 3 == 0));
    for (fps, gop, audio, stated) in shows.chain(audios.map(|audio| (30.0, 2, audio, true))) {
        let script = Script { fps, gop: Duration::from_secs(gop), stated, audio, ..Script::default() };
        let mut theatre = Theatre::new();
        theatre.packager.handle_epoch(&script.epoch(zero()));
        theatre.play(&script.frames(SHOW));
        let listing = theatre.listing("v0");
        let expected = if gop == 4 { 4 } else { 2 };
        assert_eq!(listing.target_duration, expected, "{fps} fps, GOP {gop}");
        assert!(listing.independent_segments && listing.closed().count() >= 6, "{fps} fps, GOP {gop}");
        if audio.is_some() {
            assert_eq!(theatre.listing("a0").target_duration, expected, "renditions share the target");
        }
    }
}

#[test]
fn audio_only_shows_obey_the_rules() {
    for audio in [(AudioCodec::Aac, 48_000, 1_024), (AudioCodec::Aac, 44_100, 1_024), (AudioCodec::Opus, 48_000, 960)] {
        let script = Script { video: false, audio: Some(audio), ..Script::default() };
        let mut theatre = Theatre::new();
        theatre.packager.handle_epoch(&script.epoch(zero()));
        theatre.play(&script.frames(SHOW));
        let listing = theatre.listing("a0");
        assert_eq!(listing.target_duration, 2);
        assert!(listing.closed().all(|segment| (1.9..2.1).contains(&segment.duration)));
    }
}

#[test]
fn audio_is_cut_where_video_is_within_one_frame() {
    for (fps, b_frames) in [(25.0, 0), (29.97, 0), (30.0, 2)] {
        let script = Script { fps, b_frames, ..Script::default() };
        let mut theatre = Theatre::new();
        theatre.packager.handle_epoch(&script.epoch(zero()));
        theatre.play(&script.frames(SHOW));
        let (videos, audios) = (theatre.segments("v0"), theatre.segments("a0"));
        assert!(videos.len() > 10 && audios.len() + 1 >= videos.len());
        for (video, audio) in videos.iter().zip(&audios) {
            assert_eq!(video.number, audio.number);
            let apart = video.at.duration_since(audio.at).unwrap_or_else(|error| error.duration());
            assert!(apart <= Duration::from_micros(21_400), "{apart:?} apart in segment {}", video.number);
            let (first, shown) = (samples(video)[0].1 as f64 / 90_000.0, samples(audio)[0].1 as f64 / 48_000.0);
            assert!((first - shown).abs() <= 0.0214, "file times {first} and {shown} in segment {}", video.number);
        }
    }
}

#[test]
fn no_sample_is_lost_and_presentation_times_are_true() {
    let script = Script { b_frames: 2, ..Script::default() };
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    let frames = script.frames(SHOW);
    theatre.play(&frames);
    theatre.packager.handle_interruption();
    theatre.look();

    let pts: Vec<i64> = frames.iter().filter(|frame| frame.track.0 == 0).map(|frame| frame.pts * 90).collect();
    let video: Vec<_> = theatre.segments("v0").iter().flat_map(|segment| samples(segment)).collect();
    assert_eq!(video.len(), pts.len());
    // Two milliseconds are the most by which a frame is moved onto the grid.
    assert!(video.iter().zip(&pts).all(|(sample, pts)| (sample.1 - pts).abs() <= 180));
    assert!(video.windows(2).all(|pair| pair[1].0 == pair[0].0 + pair[0].2), "decode times leave no gap");

    let audio: Vec<_> = theatre.segments("a0").iter().flat_map(|segment| samples(segment)).collect();
    // The sound before the first picture (one frame of B-frame delay) is dropped: 33 ms are one or two AAC frames.
    let sent = frames.iter().filter(|frame| frame.track.0 == 1).count();
    assert!((1..=2).contains(&(sent - audio.len())), "{sent} sent, {} kept", audio.len());
    assert!(audio.iter().all(|sample| sample.2 == 1_024), "every AAC frame lasts 1024 samples");
    assert!(audio.windows(2).all(|pair| pair[1].0 == pair[0].0 + pair[0].2));
}

#[test]
fn a_segment_of_sound_is_divided_without_a_short_rest() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(Duration::from_secs(11)));
    let segments = theatre.segments("a0");
    assert!(segments.len() >= 5);
    for segment in segments {
        let shortest = segment.parts.iter().map(|part| part.duration).min().unwrap();
        assert!(shortest >= Duration::from_millis(149), "{shortest:?} in segment {}", segment.number);
    }
}

#[test]
fn a_part_is_out_with_its_last_frame() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    let mut frames = script.frames(Duration::from_secs(1));
    frames.retain(|frame| frame.track.0 == 0);
    theatre.play(&frames[..6]);
    assert_eq!(theatre.listing("v0").segments[0].parts.len(), 1, "six frames at 30 fps are a part of 200 ms");
    assert_eq!(theatre.listing("v0").hint.as_deref(), Some("0/1.1.m4s"));
}

#[test]
fn a_returning_publisher_makes_one_discontinuity_and_numbers_go_on() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(Duration::from_millis(5_300)));
    theatre.packager.handle_interruption();
    theatre.look();
    let interrupted = theatre.listing("v0").clone();
    assert!(!interrupted.ended && interrupted.hint.is_none());
    let before = interrupted.closed().count();

    // A publisher that connects and sends nothing leaves no trace.
    theatre.packager.handle_epoch(&script.epoch(zero() + Duration::from_secs(7)));
    theatre.packager.handle_interruption();
    theatre.packager.handle_epoch(&script.epoch(zero() + Duration::from_secs(8)));
    theatre.play(&script.frames(Duration::from_millis(6_300)));
    for id in ["v0", "a0"] {
        let listing = theatre.listing(id);
        let marks: Vec<u64> = listing.segments.iter().map(|segment| segment.discontinuities).collect();
        assert_eq!(marks.iter().sum::<u64>(), 1, "{id}: {marks:?}");
        assert_eq!(marks[before], 1);
        assert_eq!(listing.segments[before].map, None, "formats are the same, so is the init");
        assert!(listing.segments[before].uri.as_ref().unwrap().starts_with("1/"), "keys carry the new epoch");
    }
    assert_eq!(theatre.listing("v0").segments[before].at, "2026-11-18T11:06:48.000Z");
    let (videos, audios) = (theatre.segments("v0"), theatre.segments("a0"));
    let (video, audio) = (samples(&videos[before])[0].1 as f64 / 90e3, samples(&audios[before])[0].1 as f64 / 48e3);
    assert!((video - audio).abs() <= 0.0214, "sound and picture stay together: {video} {audio}");
}

#[test]
fn all_renditions_show_a_discontinuity_at_once_unless_one_has_nothing_to_show() {
    let marks = |theatre: &Theatre, id: &str| theatre.listing(id).segments.iter().map(|one| one.discontinuities).sum();
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(Duration::from_millis(4_300)));
    theatre.packager.handle_epoch(&script.epoch(zero() + Duration::from_secs(5)));
    let mut seen = Vec::new();
    for frame in script.frames(Duration::from_secs(1)) {
        theatre.play(&[frame]);
        let marks: [u64; 2] = ["v0", "a0"].map(|id| marks(&theatre, id));
        if seen.last() != Some(&marks) {
            seen.push(marks);
        }
    }
    assert_eq!(seen, [[0, 0], [1, 1]]);

    theatre.packager.handle_epoch(&script.epoch(zero() + Duration::from_secs(9)));
    let mut picture_only = script.frames(Duration::from_secs(1));
    picture_only.retain(|frame| frame.track == TrackId(0));
    theatre.play(&picture_only);
    assert_eq!(["v0", "a0"].map(|id| marks(&theatre, id)), [2_u64, 1], "a silent track holds nobody up for long");
}

#[test]
fn new_formats_bring_a_new_init() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(Duration::from_millis(4_500)));
    let other = Script { fps: 24.0, audio: Some((AudioCodec::Opus, 48_000, 960)), ..Script::default() };
    theatre.packager.handle_epoch(&other.epoch(zero() + Duration::from_secs(5)));
    theatre.play(&other.frames(Duration::from_millis(4_500)));
    let maps =
        |id: &str| -> Vec<String> { theatre.listing(id).segments.iter().filter_map(|one| one.map.clone()).collect() };
    assert_eq!(maps("v0"), ["0/init.mp4", "1/init.mp4"]);
    assert_eq!(maps("a0"), ["0/init.mp4", "1/init.mp4"]);
}

#[test]
fn a_video_without_keyframes_is_cut_at_the_hard_limit() {
    let script = Script { gop: Duration::from_secs(100), ..Script::default() };
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(SHOW));
    let listing = theatre.listing("v0");
    assert_eq!(listing.target_duration, 4);
    assert!(!listing.independent_segments);
    assert!(listing.closed().count() >= 5);
}

#[test]
fn an_end_closes_the_playlist_for_good() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(Duration::from_millis(4_700)));
    theatre.packager.handle_end();
    theatre.look();
    for id in ["v0", "a0"] {
        let listing = theatre.listing(id);
        assert!(listing.ended && listing.hint.is_none() && listing.reports.is_empty());
        assert!(listing.segments.iter().all(|segment| segment.parts.is_empty()));
        let total: f64 = listing.segments.iter().map(|segment| segment.duration).sum();
        assert!((total - 4.7).abs() < 0.05, "{total}");
    }
    assert!(matches!(theatre.kept.last(), Some(Kept::Ended { target_duration: 2 })));
}

#[test]
fn frames_lost_by_us_are_waited_out_until_the_next_keyframe() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    let frames = script.frames(Duration::from_secs(8));
    theatre.play(&frames[..200]);
    theatre.packager.handle_lag();
    theatre.play(&frames[260..]);
    let video: Vec<_> = theatre.segments("v0").iter().flat_map(|segment| samples(segment)).collect();
    assert!(video.windows(2).all(|pair| pair[1].0 >= pair[0].0 + pair[0].2));
}

#[test]
fn a_second_video_layer_is_cut_where_the_first_is() {
    let script = Script { audio: None, ..Script::default() };
    let mut epoch = Epoch::clone(&script.epoch(zero()));
    let second = TrackFormat { id: TrackId(1), ..TrackFormat::clone(&epoch.tracks[0]) };
    epoch.tracks.push(Arc::new(second));
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&Arc::new(epoch));
    for frame in script.frames(Duration::from_secs(9)) {
        let other = Arc::new(Frame { track: TrackId(1), ..Frame::clone(&frame) });
        theatre.play(&[frame, other]);
    }
    let (first, second) = (theatre.segments("v0"), theatre.segments("v1"));
    assert!(first.len() >= 4 && second.len() + 1 >= first.len());
    for (first, second) in first.iter().zip(&second) {
        assert_eq!((first.number, first.at, first.duration), (second.number, second.at, second.duration));
        assert!(second.independent);
    }
    let multivariant = render_multivariant(&theatre.packager.choices(), true, "");
    let parsed = m3u8_rs::parse_master_playlist_res(multivariant.as_bytes()).unwrap();
    assert_eq!(parsed.variants.len(), 2);
}

#[test]
fn playlists_read_as_reviewed() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(Duration::from_millis(2_450)));
    assert_eq!(theatre.text("v0"), include_str!("../testdata/video.m3u8"));
    assert_eq!(theatre.text("a0"), include_str!("../testdata/audio.m3u8"));
    let multivariant = render_multivariant(&theatre.packager.choices(), true, "");
    assert_eq!(multivariant, include_str!("../testdata/multivariant.m3u8"));
    assert!(m3u8_rs::parse_master_playlist_res(multivariant.as_bytes()).is_ok());
}

/// Both tracks are huge and of one moment: nothing that is kept for later grows beyond its bytes.
#[test]
fn a_show_whose_clock_stands_still_is_cut_by_its_bytes() {
    const LARGE: usize = 8 * 1024 * 1024;
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    let payload = Bytes::from(vec![0; LARGE]);
    let frame =
        |track, keyframe| Arc::new(Frame { track: TrackId(track), dts: 0, pts: 0, keyframe, payload: payload.clone() });
    // Sound waits for the first picture.
    let sound = frame(1, true);
    for _ in 0..40 {
        theatre.packager.handle_frame(&sound);
        assert!(Arc::strong_count(&sound) <= 6, "{} are held", Arc::strong_count(&sound));
    }
    theatre.packager.handle_frame(&frame(0, true));
    let mut segments = Vec::new();
    for _ in 0..20 {
        theatre.packager.handle_frame(&frame(0, false));
        while let Some(kept) = theatre.packager.poll_kept() {
            if let Kept::Segment { rendition, segment, .. } = kept {
                segments.push((rendition.to_string(), segment.byte_len() as usize));
            }
        }
        assert!(Arc::strong_count(&sound) <= 12, "{} are held", Arc::strong_count(&sound));
    }
    let of_video: Vec<_> = segments.iter().filter(|(rendition, _)| rendition == "v0").collect();
    assert!(of_video.len() >= 2, "{segments:?}");
    assert!(segments.iter().all(|(_, bytes)| *bytes <= 80 * 1024 * 1024), "{segments:?}");
}
