//! Wraps, jumps and drift, on simulated time.

use super::*;

/// Feeds both lanes as an encoder does: video every 40 ms, audio every 20 ms, arriving on time.
struct Encoder {
    timeline: Timeline,
    /// What the encoder's clock shows.
    clock: u32,
    /// Bits its timestamps keep.
    mask: u32,
    arrival: Duration,
}

impl Encoder {
    fn starting_at(clock: u32) -> Self {
        Self { timeline: Timeline::default(), clock, mask: u32::MAX, arrival: Duration::ZERO }
    }

    fn place(&mut self, lane: Lane) -> Placement {
        self.timeline.place(lane, self.clock & self.mask, self.arrival)
    }

    fn wait(&mut self, ms: u32) {
        self.clock = self.clock.wrapping_add(ms);
        self.arrival += Duration::from_millis(u64::from(ms));
    }

    /// Runs for a while; every step must go on smoothly. Returns the last place of each lane.
    fn run(&mut self, steps: u32) -> (i64, i64) {
        let (mut video, mut audio) = (0, 0);
        for step in 0..steps {
            audio = ms(self.place(Lane::Audio));
            if step % 2 == 0 {
                video = ms(self.place(Lane::Video));
            }
            self.wait(20);
        }
        (video, audio)
    }
}

fn ms(placement: Placement) -> i64 {
    match placement {
        Placement::At { ms, .. } => ms,
        other => panic!("a place was expected, not {other:?}"),
    }
}

#[test]
fn a_show_goes_on_over_every_wrap() {
    for (start, mask) in [(u32::MAX - 500, u32::MAX), (0x00ff_ffff - 500, 0x00ff_ffff), (0x7fff_ffff - 500, u32::MAX)] {
        let mut encoder = Encoder { mask, ..Encoder::starting_at(start) };
        let (video, audio) = encoder.run(1);
        assert_eq!(video, audio);
        let (video_after, audio_after) = encoder.run(100);
        assert_eq!(video_after - video, 98 * 20 + 20, "video over the wrap at {mask:x}");
        assert_eq!(audio_after - audio, 100 * 20, "audio over the wrap at {mask:x}");
    }
}

#[test]
fn a_clock_that_passes_the_narrow_range_without_wrapping_goes_on() {
    let mut encoder = Encoder::starting_at(0x00ff_ffff - 500);
    let (_, before) = encoder.run(1);
    assert_eq!(encoder.run(100).1 - before, 2_000);
    // The same encoder then falls back to a header with 24 bits only.
    encoder.mask = 0x00ff_ffff;
    assert_eq!(encoder.run(1).1 - before, 2_020);
}

#[test]
fn small_steps_back_and_forth_are_kept() {
    let mut encoder = Encoder::starting_at(10_000);
    let (video, _) = encoder.run(10);
    encoder.clock -= 250;
    assert_eq!(encoder.place(Lane::Video), Placement::At { ms: video + 40 - 250, mend: Some(Mend::Smoothed) });
    encoder.clock += 480;
    assert_eq!(encoder.place(Lane::Video), Placement::At { ms: video + 40 + 230, mend: None });
}

#[test]
fn a_jump_of_the_clock_is_taken_out_of_both_lanes_alike() {
    let mut encoder = Encoder::starting_at(0);
    let (video, audio) = encoder.run(50);
    encoder.clock += 2_000;
    assert_eq!(encoder.place(Lane::Video), Placement::At { ms: video + 40, mend: Some(Mend::Rebased) });
    assert_eq!(encoder.place(Lane::Audio), Placement::At { ms: audio + 20, mend: None }, "the other lane follows");
    encoder.wait(40);
    let (video_after, audio_after) = encoder.run(1);
    assert_eq!((video_after, audio_after), (video + 80, audio + 60));
}

#[test]
fn a_real_pause_stays_a_gap_and_a_long_one_breaks_off() {
    let mut encoder = Encoder::starting_at(0);
    let (video, _) = encoder.run(50);
    encoder.wait(2_000);
    assert_eq!(encoder.place(Lane::Video), Placement::At { ms: video + 2_040, mend: None });
    assert!(matches!(encoder.place(Lane::Audio), Placement::At { mend: None, .. }));
    encoder.wait(3_100);
    assert!(matches!(encoder.place(Lane::Video), Placement::Discontinuity { .. }));
}

#[test]
fn jumps_too_long_or_backwards_break_off_once_and_drop_stragglers() {
    for jump in [3_100_i32, 3_600_000, -300, -5_000] {
        let mut encoder = Encoder::starting_at(20_000);
        let (video, _) = encoder.run(50);
        let old = encoder.clock;
        encoder.clock = encoder.clock.wrapping_add_signed(jump);
        let Placement::Discontinuity { ms: restart } = encoder.place(Lane::Video) else { panic!("jump of {jump} ms") };
        assert!(restart > video, "the running timeline does not go back");
        if jump.abs() > 3_000 {
            let late = encoder.timeline.place(Lane::Audio, old, encoder.arrival);
            assert_eq!(late, Placement::Stale, "audio of the old clock after a jump of {jump} ms");
        }
        assert_eq!(ms(encoder.place(Lane::Audio)), restart);
        encoder.wait(40);
        assert_eq!(encoder.run(1), (restart + 40, restart + 40));
    }
}

#[test]
fn a_slide_show_is_no_row_of_jumps() {
    let mut timeline = Timeline::default();
    for second in 0..20_u32 {
        let placed = timeline.place(Lane::Video, second * 1_000, Duration::from_secs(u64::from(second)));
        assert_eq!(placed, Placement::At { ms: i64::from(second) * 1_000, mend: None });
    }
    // The same faster than real time: at most the first step is mistaken.
    let mut timeline = Timeline::default();
    let mends = (0..20_u32)
        .filter(|second| {
            let placed = timeline.place(Lane::Video, second * 1_000, Duration::ZERO);
            matches!(placed, Placement::At { mend: Some(_), .. })
        })
        .count();
    assert_eq!(mends, 1);
}

#[test]
fn a_track_with_its_own_zero_starts_where_the_other_is() {
    let mut timeline = Timeline::default();
    timeline.place(Lane::Video, 500_000, Duration::ZERO);
    let joined = timeline.place(Lane::Audio, 0, Duration::ZERO);
    assert_eq!(joined, Placement::At { ms: 500_000, mend: Some(Mend::Rebased) });
    assert_eq!(timeline.place(Lane::Audio, 20, Duration::ZERO), Placement::At { ms: 500_020, mend: None });
}

#[test]
fn audio_is_counted_exactly_while_timestamps_only_round() {
    let mut clock = SampleClock::new(44_100);
    for frame in 0..100_000_i64 {
        let stamped_ms = frame * 1_024 * 1_000 / 44_100;
        assert_eq!(clock.stamp(stamped_ms, 1_024), frame * 1_024);
    }
}

#[test]
fn audio_whose_crystal_is_off_never_drifts_away() {
    for parts_per_million in [-500_i64, 500] {
        let mut clock = SampleClock::new(48_000);
        let mut last = -1;
        for frame in 0..200_000_i64 {
            let exact_us = frame * 1_024 * 1_000_000 / 48_000;
            let stamped_ms = (exact_us + exact_us * parts_per_million / 1_000_000) / 1_000;
            let dts = clock.stamp(stamped_ms, 1_024);
            assert!(dts > last);
            last = dts;
            let apart_ms = (dts * 1_000 / 48_000 - stamped_ms).abs();
            assert!(apart_ms <= 15, "{apart_ms} ms apart after {frame} frames");
        }
    }
}

#[test]
fn missing_sound_is_a_gap_and_jitter_is_not() {
    let mut clock = SampleClock::new(48_000);
    assert_eq!(clock.stamp(0, 1_024), 0);
    assert_eq!(clock.stamp(21 + 40, 1_024), 1_024, "forty milliseconds late is smoothed");
    assert_eq!(clock.stamp(1_000, 1_024), 48_000, "a second is not");
}
