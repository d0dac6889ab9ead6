//! What the multivariant playlist offers, and when.

use super::*;

/// Whether the show is ready, and the renditions it offers.
fn offered(theatre: &Theatre) -> (bool, Vec<String>) {
    (theatre.packager.is_ready(), theatre.packager.choices().iter().map(|choice| choice.id.to_string()).collect())
}

/// Frames up to this many milliseconds, as far as they are `wanted`.
fn frames(script: &Script, millis: u64, wanted: impl Fn(&Frame) -> bool) -> Vec<Arc<Frame>> {
    let mut frames = script.frames(Duration::from_millis(millis));
    frames.retain(|frame| wanted(frame));
    frames
}

fn is_video(frame: &Frame) -> bool {
    frame.track == TrackId(0)
}

/// Plays until the show is ready; how many whole segments each rendition has then.
fn play_until_ready(theatre: &mut Theatre, frames: &[Arc<Frame>]) -> [usize; 2] {
    for frame in frames {
        theatre.play(std::slice::from_ref(frame));
        if theatre.packager.is_ready() {
            return ["v0", "a0"].map(|id| theatre.segments(id).len());
        }
        assert!(theatre.segments("v0").is_empty() || theatre.segments("a0").is_empty(), "it should be ready by now");
    }
    panic!("it never was ready");
}

#[test]
fn a_show_is_offered_once_the_first_segment_of_every_rendition_is_whole() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    assert_eq!(offered(&theatre), (false, vec![]));
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(Duration::from_millis(1_900)));
    assert!(!theatre.listing("v0").segments[0].parts.is_empty() && !theatre.listing("a0").segments[0].parts.is_empty());
    assert_eq!(offered(&theatre), (false, vec![]), "parts alone are not enough");
    let rest = script.frames(Duration::from_secs(3)).split_off(script.frames(Duration::from_millis(1_900)).len());
    assert_eq!(play_until_ready(&mut theatre, &rest), [1, 1]);
    assert_eq!(offered(&theatre), (true, vec!["v0".to_owned(), "a0".to_owned()]));
}

#[test]
fn a_track_that_is_missing_has_one_segment_of_time_to_begin() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    let silent = frames(&script, 3_000, is_video);
    assert_eq!(play_until_ready(&mut theatre, &silent), [1, 0]);
    assert_eq!(offered(&theatre), (true, vec!["v0".to_owned()]));
}

#[test]
fn a_track_that_fell_silent_has_one_more_segment_of_time() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    let falls_silent = frames(&script, 5_000, |frame| is_video(frame) || frame.dts < 48_000);
    assert_eq!(play_until_ready(&mut theatre, &falls_silent), [2, 0]);
    assert_eq!(offered(&theatre), (true, vec!["v0".to_owned()]));
}

#[test]
fn what_was_shown_before_the_publisher_left_is_offered() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(Duration::from_millis(900)));
    assert_eq!(offered(&theatre), (false, vec![]));
    theatre.packager.handle_interruption();
    assert_eq!(offered(&theatre), (true, vec!["v0".to_owned(), "a0".to_owned()]));
}

/// The segment that an interruption cuts short is little more than its keyframe.
#[test]
fn the_bandwidth_claimed_covers_a_segment_cut_short() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    for frame in script.frames(Duration::from_millis(4_200)) {
        let payload =
            if is_video(&frame) && frame.keyframe { frame.payload.repeat(20).into() } else { frame.payload.clone() };
        theatre.play(&[Arc::new(Frame { payload, ..Frame::clone(&frame) })]);
    }
    let before = theatre.packager.choices()[0].peak_bps;
    theatre.packager.handle_interruption();
    theatre.look();
    let segments = theatre.segments("v0");
    let last = &segments[2];
    assert!(last.duration < Duration::from_millis(250), "{:?}", last.duration);
    let (bytes, duration) = (segments[1].byte_len() + last.byte_len(), segments[1].duration + last.duration);
    let choice = &theatre.packager.choices()[0];
    assert!(choice.average_bps > before, "the short segment is dense: {choice:?}");
    assert_eq!(choice.peak_bps, (bytes as f64 * 8.0 / duration.as_secs_f64()).ceil() as u64);
}
