//! RTMP's millisecond clocks become one 64-bit timeline: wraps are unfolded, jumps are mended by one policy.
//!
//! In: a track's 32-bit timestamps with their arrival times. Out: milliseconds that go on, or the word that they do not.
//! Driven by an ingest's `to_hub`, pure.
//!
//! The policy, per step of a track:
//!
//! | step | answer |
//! | --- | --- |
//! | up to 250 ms either way, or twice what the track is used to | kept as it is; [`SampleClock`] smooths audio |
//! | forwards, but the clock on the wall or the other track moved as well | a real gap: kept, beyond 3 s a discontinuity |
//! | up to 3 s forwards | the encoder's clock jumped: re-based, the other track follows by the same amount |
//! | more, or backwards | discontinuity |

use std::time::Duration;

/// Which of the two tracks of a publication a timestamp belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    Video,
    Audio,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// The running timeline goes on at this millisecond.
    At { ms: i64, mend: Option<Mend> },
    /// The clock has moved too far. A new epoch begins, with this frame at this millisecond.
    Discontinuity { ms: i64 },
    /// Left over from the clock before the last discontinuity: no place for it.
    Stale,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mend {
    /// A step back that is too small to matter.
    Smoothed,
    /// A jump of the encoder's clock, taken out.
    Rebased,
}

/// The clocks of one publication.
#[derive(Debug, Default)]
pub struct Timeline {
    video: LaneClock,
    audio: LaneClock,
    /// What is added to a lane's unfolded timestamps since the latest re-basing. A lane takes it over when it jumps too.
    offset_ms: i64,
    /// The furthest place given out in this clock.
    latest_ms: Option<i64>,
}

#[derive(Debug, Default)]
struct LaneClock {
    state: Option<LaneState>,
    /// The last timestamp before a discontinuity, to know stragglers by.
    before: Option<u32>,
    stragglers: u32,
}

#[derive(Debug, Clone, Copy)]
struct LaneState {
    raw: u32,
    /// `raw` without its wraps.
    unfolded_ms: i64,
    offset_ms: i64,
    placed_ms: i64,
    arrival: Duration,
    /// The longest step of late; halves in about six steps. A one-frame-a-second slide show steps by 1 000 ms.
    usual_ms: i64,
}

const SMOOTHED_MAX_MS: i64 = 250;
const REBASED_MAX_MS: i64 = 3_000;
/// A wrap is believed when the step across it is shorter than this. No encoder pauses longer and then wraps.
const WRAP_STEP_MAX_MS: i64 = 10_000;
/// A frame every 40 ms until the track has shown its own pace.
const USUAL_FIRST_MS: i64 = 40;
/// Beyond this a step teaches nothing about the pace.
const USUAL_MAX_MS: i64 = 1_500;
/// Interleaved frames of the old clock after a discontinuity: more than a second of audio. Then the lane joins anew.
const STRAGGLERS_MAX: u32 = 64;

impl Timeline {
    /// Finds the place of a frame. `arrival` is when it came, on any clock that runs evenly.
    pub fn place(&mut self, lane: Lane, raw: u32, arrival: Duration) -> Placement {
        match self.lane(lane).state {
            Some(state) => self.go_on(lane, state, raw, arrival),
            None => self.join(lane, raw, arrival),
        }
    }

    fn lane(&mut self, lane: Lane) -> &mut LaneClock {
        match lane {
            Lane::Video => &mut self.video,
            Lane::Audio => &mut self.audio,
        }
    }

    fn other(&self, lane: Lane) -> Option<LaneState> {
        match lane {
            Lane::Video => self.audio.state,
            Lane::Audio => self.video.state,
        }
    }

    /// The first frame of a lane in this clock.
    fn join(&mut self, lane: Lane, raw: u32, arrival: Duration) -> Placement {
        let Some(other) = self.other(lane) else {
            let ms = i64::from(raw) + self.offset_ms;
            return self.put(lane, LaneState::first(raw, i64::from(raw), self.offset_ms, arrival), ms, None);
        };
        let unfolded_ms = other.unfolded_ms + wrapping_step(other.raw, raw);
        let ms = unfolded_ms + other.offset_ms;
        if (ms - other.placed_ms).abs() <= REBASED_MAX_MS {
            return self.put(lane, LaneState::first(raw, unfolded_ms, other.offset_ms, arrival), ms, None);
        }
        let clock = self.lane(lane);
        let straggles = clock.before.is_some_and(|before| (0..=USUAL_MAX_MS).contains(&wrapping_step(before, raw)));
        if straggles && clock.stragglers < STRAGGLERS_MAX {
            clock.before = Some(raw);
            clock.stragglers += 1;
            return Placement::Stale;
        }
        // A track with a clock of its own: it starts where the other one is.
        let offset_ms = other.placed_ms - unfolded_ms;
        let state = LaneState::first(raw, unfolded_ms, offset_ms, arrival);
        self.put(lane, state, other.placed_ms, Some(Mend::Rebased))
    }

    fn go_on(&mut self, lane: Lane, state: LaneState, raw: u32, arrival: Duration) -> Placement {
        let step = wrapping_step(state.raw, raw);
        let allowed = SMOOTHED_MAX_MS.max(2 * state.usual_ms);
        let mut next = LaneState { raw, unfolded_ms: state.unfolded_ms + step, arrival, ..state };
        let ms = next.unfolded_ms + state.offset_ms;
        if (0..=allowed).contains(&step) {
            next.usual_ms = step.max(state.usual_ms - state.usual_ms / 8).min(USUAL_MAX_MS);
            return self.put(lane, next, ms, None);
        }
        if (-SMOOTHED_MAX_MS..0).contains(&step) {
            return self.put(lane, next, ms, Some(Mend::Smoothed));
        }
        if step < 0 {
            return self.break_off(lane, raw, arrival);
        }
        next.usual_ms = step.min(USUAL_MAX_MS);
        let followed_ms = next.unfolded_ms + self.offset_ms;
        if state.offset_ms != self.offset_ms && (followed_ms - state.placed_ms).abs() <= allowed {
            // The other lane jumped first and was re-based; the same amount keeps both in step.
            next.offset_ms = self.offset_ms;
            return self.put(lane, next, followed_ms, None);
        }
        let covered = self.latest_ms.is_some_and(|latest| ms <= latest + SMOOTHED_MAX_MS);
        let waited_ms = arrival.saturating_sub(state.arrival).as_millis() as i64;
        if covered || waited_ms >= step / 2 {
            return if covered || step <= REBASED_MAX_MS {
                self.put(lane, next, ms, None)
            } else {
                self.break_off(lane, raw, arrival)
            };
        }
        if step > REBASED_MAX_MS {
            return self.break_off(lane, raw, arrival);
        }
        self.offset_ms = state.offset_ms - (step - state.usual_ms);
        next.offset_ms = self.offset_ms;
        let ms = next.unfolded_ms + next.offset_ms;
        self.put(lane, next, ms, Some(Mend::Rebased))
    }

    fn put(&mut self, lane: Lane, state: LaneState, ms: i64, mend: Option<Mend>) -> Placement {
        self.lane(lane).state = Some(LaneState { placed_ms: ms, ..state });
        self.latest_ms = Some(self.latest_ms.map_or(ms, |latest| latest.max(ms)));
        Placement::At { ms, mend }
    }

    /// Starts a new clock with this frame. The running milliseconds never go back, so the epochs stay in order.
    fn break_off(&mut self, lane: Lane, raw: u32, arrival: Duration) -> Placement {
        for clock in [&mut self.video, &mut self.audio] {
            let before = clock.state.map(|state| state.raw);
            *clock = LaneClock { state: None, before, stragglers: 0 };
        }
        let ms = self.latest_ms.unwrap_or(0) + USUAL_FIRST_MS;
        self.offset_ms = ms - i64::from(raw);
        self.latest_ms = None;
        self.put(lane, LaneState::first(raw, i64::from(raw), self.offset_ms, arrival), ms, None);
        Placement::Discontinuity { ms }
    }
}

impl LaneState {
    fn first(raw: u32, unfolded_ms: i64, offset_ms: i64, arrival: Duration) -> Self {
        Self { raw, unfolded_ms, offset_ms, placed_ms: 0, arrival, usual_ms: USUAL_FIRST_MS }
    }
}

/// The distance from one timestamp to the next. Timestamps wrap at 2^32 (RTMP 1.0 section 3); encoders that never send
/// an extended timestamp wrap at 2^24, after 4 hours 39 minutes.
fn wrapping_step(from: u32, to: u32) -> i64 {
    let wide = i64::from(to.wrapping_sub(from).cast_signed());
    let narrow = i64::from((to.wrapping_sub(from) << 8).cast_signed() >> 8);
    let wrapped = wide != narrow && wide < 0 && narrow.abs() <= WRAP_STEP_MAX_MS;
    if wrapped { narrow } else { wide }
}

/// Decoding times of audio: counted in samples, so that frames join without a gap, and steered towards the timestamps,
/// so that the count never drifts from them.
#[derive(Debug)]
pub struct SampleClock {
    rate: i64,
    next: Option<i64>,
    /// How far the timestamps run ahead of the count, in 1/256 samples, averaged over about 32 frames.
    drift: i64,
}

impl SampleClock {
    const AVERAGED_FRAMES: i64 = 32;
    /// Timestamps are rounded to a millisecond and some encoders stamp on arrival: less than this is no drift.
    const TOLERATED_MS: i64 = 10;

    pub fn new(sample_rate: u32) -> Self {
        Self { rate: i64::from(sample_rate), next: None, drift: 0 }
    }

    /// The decoding time, in samples, of a frame of `samples` that is stamped `ms`. Never decreases.
    pub fn stamp(&mut self, ms: i64, samples: u32) -> i64 {
        let samples = i64::from(samples);
        let stamped = ms * self.rate / 1_000;
        let mut dts = self.next.unwrap_or(stamped);
        let ahead = stamped - dts;
        if ahead > SMOOTHED_MAX_MS * self.rate / 1_000 {
            // Sound is missing: the gap stays a gap.
            (dts, self.drift) = (stamped, 0);
        } else {
            self.drift += (ahead * 256 - self.drift) / Self::AVERAGED_FRAMES;
            let drift = self.drift / 256;
            if drift.abs() > Self::TOLERATED_MS * self.rate / 1_000 {
                let correction = (drift / Self::AVERAGED_FRAMES).clamp(-samples / 32, samples / 32);
                dts += correction;
                self.drift -= correction * 256;
            }
        }
        self.next = Some(dts + samples);
        dts
    }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
