//! Media time: 64-bit ticks of a named clock rate, never wrapping.

use std::num::NonZeroU32;
use std::time::Duration;

/// Ticks per second of a track's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timescale(NonZeroU32);

impl Timescale {
    /// RTMP's clock.
    pub const MILLIS: Self = Self::new(1_000);
    /// The clock of video in RTP and in our fMP4 (RFC 3551 section 5).
    pub const VIDEO: Self = Self::new(90_000);

    /// Panics at compile time (or at once) for zero: a clock that never ticks is our own mistake.
    pub const fn new(ticks_per_second: u32) -> Self {
        match NonZeroU32::new(ticks_per_second) {
            Some(ticks) => Self(ticks),
            None => panic!("a timescale has at least one tick per second"),
        }
    }

    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// A point on a track's timeline, or a distance between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaTime {
    pub ticks: i64,
    pub scale: Timescale,
}

impl MediaTime {
    pub const fn new(ticks: i64, scale: Timescale) -> Self {
        Self { ticks, scale }
    }

    /// The same instant on another clock, rounded to the nearest tick (half away from zero).
    pub fn rescale_nearest(self, scale: Timescale) -> Self {
        let (from, to) = (i128::from(self.scale.get()), i128::from(scale.get()));
        let scaled = i128::from(self.ticks) * to;
        let half = if scaled < 0 { -from / 2 } else { from / 2 };
        Self::new(((scaled + half) / from) as i64, scale)
    }

    /// The instant in nanoseconds after zero, rounded down; negative before zero.
    pub fn as_nanos(self) -> i128 {
        (i128::from(self.ticks) * 1_000_000_000).div_euclid(i128::from(self.scale.get()))
    }

    /// Seconds as text needs them. Exact to well under a tick for any show shorter than a century.
    pub fn as_secs_f64(self) -> f64 {
        self.ticks as f64 / f64::from(self.scale.get())
    }

    /// A distance as a `Duration`; zero when negative.
    pub fn to_duration(self) -> Duration {
        u64::try_from(self.as_nanos()).map_or(Duration::ZERO, Duration::from_nanos)
    }
}

/// Extends a counter that wraps at `2^BITS` to 64 bits. A step of less than half the range is taken as forwards or
/// backwards by its sign, so reordered values next to a wrap stay in place.
#[derive(Debug, Clone)]
pub struct CounterUnwrapper<const BITS: u32> {
    last: Option<i64>,
}

impl<const BITS: u32> Default for CounterUnwrapper<BITS> {
    fn default() -> Self {
        Self { last: None }
    }
}

impl<const BITS: u32> CounterUnwrapper<BITS> {
    const RANGE: i64 = 1 << BITS;

    /// The first value stands for itself.
    pub fn unwrap_counter(&mut self, value: u32) -> i64 {
        let value = i64::from(value) & (Self::RANGE - 1);
        let unwrapped = match self.last {
            None => value,
            Some(last) => {
                let step = (value - last).rem_euclid(Self::RANGE);
                if step >= Self::RANGE / 2 { last + step - Self::RANGE } else { last + step }
            }
        };
        self.last = Some(unwrapped);
        unwrapped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_go_on_over_their_wrap_in_both_directions() {
        let mut wide = CounterUnwrapper::<32>::default();
        assert_eq!(wide.unwrap_counter(u32::MAX - 1), 4_294_967_294);
        assert_eq!(wide.unwrap_counter(3), 4_294_967_299);
        assert_eq!(wide.unwrap_counter(u32::MAX), 4_294_967_295, "a late value stays before the wrap");
        assert_eq!(wide.unwrap_counter(5), 4_294_967_301);

        let mut narrow = CounterUnwrapper::<24>::default();
        assert_eq!(narrow.unwrap_counter(0x00FF_FFFF), 16_777_215);
        assert_eq!(narrow.unwrap_counter(0), 16_777_216);
    }

    #[test]
    fn rescaling_rounds_to_the_nearest_tick() {
        let millis = |ticks| MediaTime::new(ticks, Timescale::MILLIS);
        assert_eq!(millis(1).rescale_nearest(Timescale::VIDEO).ticks, 90);
        assert_eq!(MediaTime::new(-3_003, Timescale::VIDEO).rescale_nearest(Timescale::MILLIS).ticks, -33);
        assert_eq!(MediaTime::new(45, Timescale::VIDEO).rescale_nearest(Timescale::MILLIS).ticks, 1);
        assert_eq!(millis(-5).to_duration(), Duration::ZERO);
        assert_eq!(millis(1_500).to_duration(), Duration::from_millis(1_500));
    }
}
