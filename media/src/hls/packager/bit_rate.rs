//! The densest stretch of a rendition, which is what BANDWIDTH claims.
//!
//! In: the sizes of closed segments, in order. Out: the peak segment bit rate. Pure.
//! Driven by the rendition, and by the recording for shows that are over. rfc8216bis section 4.1.

use std::collections::VecDeque;
use std::time::Duration;

/// The largest bit rate of any segments in a row that last from 0.5 to 1.5 target durations together. So a segment that
/// was cut short, all keyframe, counts beside its neighbours and not alone.
#[derive(Debug, Default)]
pub(crate) struct PeakBitRate {
    /// The newest segments, as far back as they can stand in one row with the next. When full, the oldest goes.
    recent: VecDeque<(u64, Duration)>,
    /// Bits a second; 0 before anything was measured.
    highest: u64,
}

/// More segments than this in three seconds are shorter than a part.
const MAX_RECENT: usize = 64;

impl PeakBitRate {
    pub(crate) fn add(&mut self, bytes: u64, duration: Duration, target: Duration) {
        if self.recent.len() >= MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((bytes, duration));
        let (mut bytes, mut lasts, mut row) = (0, Duration::ZERO, 0);
        for (more, longer) in self.recent.iter().rev() {
            if row > 0 && lasts + *longer > target * 3 / 2 {
                break;
            }
            bytes += more;
            lasts += *longer;
            row += 1;
            if lasts >= target / 2 {
                self.highest = self.highest.max(bits_per_second(bytes, lasts));
            }
        }
        self.recent.drain(..self.recent.len() - row);
    }

    /// `None` before half a target duration was measured.
    pub(crate) fn get(&self) -> Option<u64> {
        (self.highest > 0).then_some(self.highest)
    }
}

pub(crate) fn bits_per_second(bytes: u64, duration: Duration) -> u64 {
    (bytes as f64 * 8.0 / duration.as_secs_f64()).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TARGET: Duration = Duration::from_secs(2);

    fn peak(segments: &[(u64, u64)]) -> Option<u64> {
        let mut peak = PeakBitRate::default();
        for (bytes, millis) in segments {
            peak.add(*bytes, Duration::from_millis(*millis), TARGET);
        }
        peak.get()
    }

    #[test]
    fn a_segment_cut_short_counts_beside_its_neighbours() {
        assert_eq!(peak(&[(20_000, 200)]), None);
        assert_eq!(peak(&[(80_000, 2_000)]), Some(320_000));
        assert_eq!(peak(&[(80_000, 2_000), (20_000, 200)]), Some(363_637));
        assert_eq!(peak(&[(20_000, 200), (80_000, 2_000)]), Some(363_637));
        // Three in a row, and no more than fit into one and a half target durations.
        assert_eq!(peak(&[(9_000, 100), (80_000, 2_000), (20_000, 200), (80_000, 2_000)]), Some(379_131));
        assert_eq!(peak(&[(50_000, 1_000), (50_000, 1_500), (50_000, 1_000)]), Some(400_000));
    }

    proptest! {
        /// Segments of up to half a target duration can always be divided into rows that are measured.
        #[test]
        fn the_peak_is_never_below_the_average(
            segments in proptest::collection::vec((1_u64..200_000, 1_u64..=1_000), 2..60),
        ) {
            let (bytes, millis) = segments.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            if let Some(peak) = peak(&segments) {
                prop_assert!(peak >= bits_per_second(bytes, Duration::from_millis(millis)));
            }
        }
    }
}
