//! How long a frame of each rendition lasts, and the part target that fits them all.
//!
//! In: formats, and the first frames where a format does not say its rate. Out: a frame duration per rendition and one
//! PART-TARGET. Driven by the packager once per epoch. rfc8216bis section 4.4.3.7.

use crate::model::{FrameRate, MediaTime, Timescale, TrackFormat};
use std::time::Duration;

/// Every part but the last of a segment must reach this share of the part target (rfc8216bis section 4.4.4.9).
pub(crate) const PART_FLOOR: f64 = 0.85;

/// Room the part target leaves for rounding. No more than that: at 30 fps, eight AAC frames at 48 kHz must still be 85 %
/// of it, so that a segment of sound can be divided without a short rest.
const ROUNDING: Duration = Duration::from_micros(500);

/// The nominal duration of one frame in ticks of the file clock, if the format says it.
pub(crate) fn frame_ticks(format: &TrackFormat, scale: Timescale) -> Option<i64> {
    match (format.video(), format.audio()) {
        (Some(video), _) => video.frame_rate.and_then(|rate| ticks_of(rate, scale)),
        (None, Some(audio)) => Some(i64::from(audio.samples_per_frame)).filter(|ticks| *ticks > 0),
        (None, None) => None,
    }
}

/// Rates outside of this are an encoder's slip, not a frame rate; they are measured instead.
const PLAUSIBLE_FPS: std::ops::RangeInclusive<f64> = 0.5..=250.0;

fn ticks_of(rate: FrameRate, scale: Timescale) -> Option<i64> {
    let plausible = rate.denominator > 0 && PLAUSIBLE_FPS.contains(&rate.as_f64());
    plausible.then(|| (f64::from(scale.get()) / rate.as_f64()).round() as i64)
}

/// Frames looked at before a rate is believed: at 30 fps a quarter of a second, long enough to average out the
/// rounding to milliseconds.
pub(crate) const MEASURED_FRAMES: usize = 8;

/// The frame duration seen in decode times (file clock), snapped to a usual rate within one percent.
pub(crate) fn measure(decode_times: &[i64], scale: Timescale) -> Option<i64> {
    let (first, last) = (decode_times.first()?, decode_times.last()?);
    let steps = i64::try_from(decode_times.len()).ok()? - 1;
    if steps < 1 || last <= first {
        return None;
    }
    let mean = (last - first) as f64 / steps as f64;
    let second = f64::from(scale.get());
    let usual = USUAL_FPS.iter().map(|fps| second / fps).find(|ticks| (mean / ticks - 1.0).abs() < 0.01);
    Some((usual.unwrap_or(mean)).round().max(1.0) as i64)
}

/// The NTSC rates stand behind the whole ones because a hundredth does not tell them apart in so few frames.
const USUAL_FPS: [f64; 12] = [24.0, 25.0, 30.0, 48.0, 50.0, 60.0, 15.0, 20.0, 10.0, 12.0, 120.0, 5.0];

/// Chooses PART-TARGET: whole frames of the leader, as near to `wanted` as all renditions can follow with at least
/// [`PART_FLOOR`] of it. The leader comes first.
pub(crate) fn part_target(frames: &[Duration], wanted: Duration) -> Duration {
    let Some(leader) = frames.first().copied().filter(|leader| !leader.is_zero()) else { return wanted };
    let nearest = (wanted.as_secs_f64() / leader.as_secs_f64()).round().max(1.0) as u32;
    let candidates = (0..=MAX_STEPS).flat_map(|step| [nearest.saturating_sub(step), nearest + step]);
    candidates
        .filter(|count| *count > 0)
        .map(|count| leader * count + ROUNDING)
        .find(|target| frames.iter().all(|frame| fits(*frame, *target)))
        .unwrap_or(leader * nearest + ROUNDING)
}

/// How far from the wanted length the search goes, in frames of the leader.
const MAX_STEPS: u32 = 4;

/// Whether whole frames fill at least the floor of the target without exceeding it.
pub(crate) fn fits(frame: Duration, target: Duration) -> bool {
    if frame.is_zero() || frame > target {
        return false;
    }
    let whole = (target.as_nanos() / frame.as_nanos()) as f64 * frame.as_secs_f64();
    whole >= PART_FLOOR * target.as_secs_f64()
}

/// Ticks as a duration.
pub(crate) fn duration(ticks: i64, scale: Timescale) -> Duration {
    MediaTime::new(ticks, scale).to_duration()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(value: f64) -> Duration {
        Duration::from_secs_f64(value)
    }

    #[test]
    fn every_usual_pair_of_rates_shares_a_part_target() {
        for fps in [10.0, 15.0, 20.0, 23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0] {
            for audio in [1024.0 / 44_100.0, 1024.0 / 48_000.0, 0.01, 0.02, 0.04, 0.06, 2048.0 / 48_000.0] {
                let frames = [seconds(1.0 / fps), seconds(audio)];
                let target = part_target(&frames, Duration::from_millis(200));
                assert!(fits(frames[0], target) && fits(frames[1], target), "{fps} fps, {audio} s: {target:?}");
                assert!((0.12..=0.34).contains(&target.as_secs_f64()), "{fps} fps, {audio} s: {target:?}");
            }
        }
    }

    #[test]
    fn rounding_to_milliseconds_does_not_hide_the_rate() {
        let thirty: Vec<i64> = [0, 33, 67, 100, 133, 167, 200, 233].iter().map(|ms| ms * 90).collect();
        assert_eq!(measure(&thirty, Timescale::VIDEO), Some(3_000));
        let odd: Vec<i64> = (0..8).map(|frame| frame * 5_000).collect();
        assert_eq!(measure(&odd, Timescale::VIDEO), Some(5_000));
        assert_eq!(measure(&[5, 5], Timescale::VIDEO), None);
        assert_eq!(measure(&[], Timescale::VIDEO), None);
    }

    #[test]
    fn absurd_rates_are_measured_instead() {
        for (numerator, denominator) in [(0, 1), (30, 0), (1_000_000, 1)] {
            assert_eq!(ticks_of(FrameRate { numerator, denominator }, Timescale::VIDEO), None);
        }
        assert_eq!(ticks_of(FrameRate { numerator: 30_000, denominator: 1_001 }, Timescale::VIDEO), Some(3_003));
    }
}
