//! How much arrives at the viewer: bits per second over the last half second of its own clock.

#[derive(Debug, Default)]
pub(super) struct AckedRate {
    /// Bytes by span of arrival; a ring.
    spans: [u32; SPANS],
    /// The newest span, and the newest arrival within it in microseconds.
    newest: Option<(i64, i64)>,
    /// The first span of the present run of arrivals.
    first: i64,
}

/// Half a second: many frames, and yet a rate that has halved is seen in time.
const SPANS: usize = 10;
const SPAN_MICROS: i64 = 50_000;

impl AckedRate {
    pub(super) fn add(&mut self, arrival: i64, bytes: usize) {
        let span = arrival.div_euclid(SPAN_MICROS);
        let (newest, latest) = self.newest.unwrap_or((span, arrival));
        let ahead = span - newest;
        if ahead <= -(SPANS as i64) {
            // Too late to count, unless the viewer's clock was set back.
            if ahead > -JUMP_SPANS {
                return;
            }
            *self = Self::default();
        } else if ahead >= SPANS as i64 {
            *self = Self::default();
        }
        if self.newest.is_none() {
            (self.newest, self.first) = (Some((span, arrival)), span);
        } else {
            for passed in newest + 1..=span {
                self.spans[place(passed)] = 0;
            }
            self.newest = Some((newest.max(span), latest.max(arrival)));
        }
        let total = &mut self.spans[place(span)];
        *total = total.saturating_add(bytes as u32);
    }

    /// `None` until half a second is known.
    pub(super) fn bits_per_second(&self) -> Option<f64> {
        let (newest, latest) = self.newest?;
        let oldest = newest - SPANS as i64 + 1;
        if self.first > oldest {
            return None;
        }
        let bytes: u64 = self.spans.iter().map(|bytes| u64::from(*bytes)).sum();
        let micros = latest - oldest * SPAN_MICROS;
        Some(bytes as f64 * 8e6 / micros as f64)
    }
}

const JUMP_SPANS: i64 = 60;

fn place(span: i64) -> usize {
    span.rem_euclid(SPANS as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_half_second() {
        let mut rate = AckedRate::default();
        for packet in 0..40_i64 {
            rate.add(packet * 10_000 - 5_000_000, 1_250);
        }
        assert_eq!(rate.bits_per_second(), None, "400 ms");
        for packet in 40..100_i64 {
            rate.add(packet * 10_000 - 5_000_000, 1_250);
        }
        let bps = rate.bits_per_second().unwrap();
        assert!((950_000.0..1_050_000.0).contains(&bps), "{bps}");
        rate.add(-4_600_000, 1_250);
        assert!(rate.bits_per_second().unwrap() <= bps, "half a second late counts no more");
        for packet in 0..20_i64 {
            rate.add(packet * 40_000 - 4_000_000, 1_250);
        }
        let bps = rate.bits_per_second().unwrap();
        assert!((220_000.0..290_000.0).contains(&bps), "{bps}");
    }

    #[test]
    fn silence_and_a_clock_that_was_set_start_over() {
        let mut rate = AckedRate::default();
        for (arrival, known) in [(0, false), (460_000, true), (9_000_000, false), (9_460_000, true), (1_000, false)] {
            rate.add(arrival, 1_000);
            assert_eq!(rate.bits_per_second().is_some(), known, "at {arrival}");
        }
        rate.add(i64::MAX / 2, 1);
        rate.add(i64::MIN / 2, 1);
        assert_eq!(rate.bits_per_second(), None);
    }
}
