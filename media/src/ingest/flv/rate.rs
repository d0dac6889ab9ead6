//! Whether a publication sends more than it may, for the time that goes by and for the time that it tells.
//!
//! In: when each frame came, its time and its size. Out: the word that it is too much. Pure. Driven by `to_hub`.
//!
//! What is kept of a show is cut by media time: a clock that stands still while bytes keep coming would have it grow at the
//! rate of the line. So both clocks have to pay for what comes, and the clock of the encoder pays no more than it moved.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Rate {
    max_bps: u64,
    latest_ms: Option<i64>,
    elapsed: Duration,
    /// Bytes that each clock has not paid for yet.
    of_media: u64,
    of_wall: u64,
}

/// A publication sends more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    #[error("it sends more than {max_bps} bits a second (rtmp.media_max_bps): choose a lower bit rate")]
    Rate { max_bps: u64 },
    #[error(
        "its time stamps stand still, or it sends more than {max_bps} bits for each second that they tell \
         (rtmp.media_max_bps): restart the encoder, or choose a lower bit rate"
    )]
    Clock { max_bps: u64 },
}

/// What nobody reaches: cameras and encoders end at some 60 Mbit/s.
pub(crate) const MEDIA_MAX_BPS: u64 = 100_000_000;
/// How much may come at once: what an encoder sends after its line was down for so long, and a few of the largest frames.
const BURST: u64 = 8;
const BURST_LEAST_BYTES: u64 = 32 * 1024 * 1024;
/// What a frame costs beside its bytes.
const FRAME_BYTES: u64 = 128;
/// A longer step of the encoder's clock pays no more than this.
const STEP_MAX_MS: i64 = 10_000;

impl Rate {
    pub(super) fn new(max_bps: u64) -> Self {
        Self { max_bps, latest_ms: None, elapsed: Duration::ZERO, of_media: 0, of_wall: 0 }
    }

    /// The encoder's clock broke: no time went by.
    pub(super) fn restart(&mut self) {
        self.latest_ms = None;
    }

    pub(super) fn handle_frame(&mut self, ms: i64, elapsed: Duration, bytes: usize) {
        let latest = self.latest_ms.unwrap_or(ms);
        let step = Duration::from_millis((ms - latest).clamp(0, STEP_MAX_MS).unsigned_abs());
        self.latest_ms = Some(latest.max(ms));
        let waited = elapsed.saturating_sub(self.elapsed);
        self.elapsed = self.elapsed.max(elapsed);
        let bytes = bytes as u64 + FRAME_BYTES;
        self.of_media = self.of_media.saturating_sub(self.paid_by(step)).saturating_add(bytes);
        self.of_wall = self.of_wall.saturating_sub(self.paid_by(waited)).saturating_add(bytes);
    }

    pub(super) fn check(&self) -> Result<(), TooMuch> {
        let (max_bps, burst) = (self.max_bps, (self.max_bps / 8 * BURST).max(BURST_LEAST_BYTES));
        if self.of_wall > burst {
            return Err(TooMuch::Rate { max_bps });
        }
        if self.of_media > burst { Err(TooMuch::Clock { max_bps }) } else { Ok(()) }
    }

    fn paid_by(&self, time: Duration) -> u64 {
        let bytes = u128::from(self.max_bps) * time.as_micros() / 8_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    /// The first frame that is too much.
    fn refused(frames: impl Iterator<Item = (i64, u64, usize)>) -> Option<(usize, TooMuch)> {
        let mut rate = Rate::new(MEDIA_MAX_BPS);
        frames.enumerate().find_map(|(index, (ms, wall_ms, bytes))| {
            rate.handle_frame(ms, Duration::from_millis(wall_ms), bytes);
            rate.check().err().map(|why| (index, why))
        })
    }

    #[test]
    fn a_clock_that_stands_still_pays_for_a_burst_and_no_more() {
        let max_bps = MEDIA_MAX_BPS;
        let (index, why) = refused((0..10_000).map(|n| (0, n * 1_000, MIB))).unwrap();
        assert_eq!((index, why), (95, TooMuch::Clock { max_bps }), "100 million bytes came");
        // One that is set back and forth tells no more time than there was.
        let jumps = (0..100_000).map(|n| (if n % 2 == 0 { 0 } else { 3_000 }, n, MIB));
        assert_eq!(refused(jumps).unwrap().1, TooMuch::Rate { max_bps });
        assert!(refused((0..1_000_000).map(|_| (0, 0, 0))).is_some(), "frames without bytes take room too");
    }

    #[test]
    fn good_encoders_are_never_too_much() {
        // 60 Mbit/s for an hour; a keyframe of 8 MiB now and then; and what waited while a line was down for eight seconds.
        assert_eq!(refused((0..100_000).map(|n| (n * 33, n as u64 * 33, 250_000))), None);
        assert_eq!(refused((0..1_000).map(|n| (n * 2_000, n as u64 * 2_000, 8 * MIB))), None);
        let after = |n: i64| if n < 240 { 8_000 } else { n as u64 * 33 };
        assert_eq!(refused((0..1_000).map(|n| (n * 33, after(n), 250_000))), None);
        // The clock of a slow picture: a frame in ten seconds.
        assert_eq!(refused((0..1_000).map(|n| (n * 10_000, n as u64 * 10_000, MIB))), None);
    }
}
