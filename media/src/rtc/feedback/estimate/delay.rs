//! Whether the queue in the network grows: the delay-based half of the estimate.
//!
//! In: when packets left and arrived, in the order in which they left. Out: [`Usage`]. Pure. Packets of one burst are one
//! group (draft-ietf-rmcat-gcc-02 section 5.2); the delay that builds up from group to group is smoothed, and the slope of a
//! line through the last twenty is compared with a threshold that adapts (section 5.4), so that a flow that fills queues
//! beside ours does not starve us.

/// What the last groups say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    Normal,
    /// More is sent than the network carries.
    Over,
    /// A queue is being emptied.
    Under,
}

#[derive(Debug)]
pub(super) struct DelayDetector {
    current: Option<Group>,
    before: Option<Group>,
    line: Trendline,
    usage: Usage,
    threshold_ms: f64,
    /// Milliseconds that the slope has been too steep, and groups.
    over: Option<(f64, u32)>,
    slope: f64,
}

/// Times in microseconds of two clocks that know nothing of each other; the sender's wraps.
#[derive(Debug, Clone, Copy)]
struct Group {
    first_sent: u32,
    last_sent: u32,
    first_arrival: i64,
    last_arrival: i64,
}

/// Packets that leave within this are one group: the worker's tick.
const BURST_MICROS: i64 = 5_000;
/// A group that a stalled link lets go at once is not joined for longer than this.
const BURST_MICROS_MAX: i64 = 100_000;
/// The clock of one side was set, or nothing was sent for so long that the path may be another.
const JUMP_MICROS: i64 = 3_000_000;
/// Slopes are small numbers; the threshold is compared with slope × groups × this.
const GAIN: f64 = 4.0;
const GROUPS_COUNTED_MAX: u32 = 60;
/// Where the threshold starts and how far it may go. It comes down faster than in the draft, whose values are for a filter
/// of another kind.
const THRESHOLD_FIRST_MS: f64 = 12.5;
const THRESHOLD_MS: std::ops::RangeInclusive<f64> = 6.0..=600.0;
const THRESHOLD_UP: f64 = 0.008_7;
const THRESHOLD_DOWN: f64 = 0.039;
/// A single spike beyond the threshold by this is no reason to adapt to it.
const SPIKE_MS: f64 = 15.0;
const ADAPT_MS_MAX: f64 = 100.0;
/// A slope that is too steep for less is noise.
const OVER_MS: f64 = 10.0;

impl DelayDetector {
    pub(super) fn new() -> Self {
        Self {
            current: None,
            before: None,
            line: Trendline::default(),
            usage: Usage::Normal,
            threshold_ms: THRESHOLD_FIRST_MS,
            over: None,
            slope: 0.0,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// Starts the line anew: what is coming does not continue what was.
    pub(super) fn restart(&mut self) {
        *self = Self { threshold_ms: self.threshold_ms, ..Self::new() };
    }

    pub(super) fn arrived(&mut self, sent: u32, arrival: i64) {
        let Some(group) = &mut self.current else {
            self.current = Some(Group::new(sent, arrival));
            return;
        };
        match group.relation(sent, arrival) {
            Relation::Earlier => {}
            Relation::Same => group.join(sent, arrival),
            Relation::Later => {
                let group = *group;
                self.current = Some(Group::new(sent, arrival));
                if let Some(before) = self.before.replace(group) {
                    self.compare(&before, &group);
                }
            }
        }
    }

    fn compare(&mut self, before: &Group, group: &Group) {
        let sent_apart = since(before.last_sent, group.last_sent);
        let variation = group.last_arrival - before.last_arrival - sent_apart;
        if variation.abs() > JUMP_MICROS || sent_apart > JUMP_MICROS {
            return self.restart();
        }
        self.line.add(group.last_arrival as f64 / 1_000.0, variation as f64 / 1_000.0);
        let sent_apart_ms = sent_apart as f64 / 1_000.0;
        self.detect(sent_apart_ms);
    }

    fn detect(&mut self, elapsed_ms: f64) {
        let Some(slope) = self.line.slope() else { return };
        let steepness_ms = slope * f64::from(self.line.groups.min(GROUPS_COUNTED_MAX)) * GAIN;
        if steepness_ms > self.threshold_ms {
            let (over_ms, groups) =
                self.over.map_or((elapsed_ms / 2.0, 1), |(ms, groups)| (ms + elapsed_ms, groups + 1));
            self.over = Some((over_ms, groups));
            if over_ms > OVER_MS && groups > 1 && slope >= self.slope {
                (self.over, self.usage) = (None, Usage::Over);
            }
        } else {
            self.over = None;
            self.usage = if steepness_ms < -self.threshold_ms { Usage::Under } else { Usage::Normal };
        }
        self.slope = slope;
        self.adapt(steepness_ms.abs(), elapsed_ms);
    }

    fn adapt(&mut self, steepness_ms: f64, elapsed_ms: f64) {
        let beyond = steepness_ms - self.threshold_ms;
        if beyond > SPIKE_MS {
            return;
        }
        let pace = if beyond > 0.0 { THRESHOLD_UP } else { THRESHOLD_DOWN };
        let threshold = self.threshold_ms + pace * beyond * elapsed_ms.min(ADAPT_MS_MAX);
        self.threshold_ms = threshold.clamp(*THRESHOLD_MS.start(), *THRESHOLD_MS.end());
    }
}

enum Relation {
    Earlier,
    Same,
    Later,
}

impl Group {
    fn new(sent: u32, arrival: i64) -> Self {
        Self { first_sent: sent, last_sent: sent, first_arrival: arrival, last_arrival: arrival }
    }

    fn join(&mut self, sent: u32, arrival: i64) {
        self.last_sent = sent;
        self.last_arrival = self.last_arrival.max(arrival);
    }

    fn relation(&self, sent: u32, arrival: i64) -> Relation {
        let behind_first = since(self.first_sent, sent);
        if behind_first < 0 || since(self.last_sent, sent) < 0 {
            return Relation::Earlier;
        }
        let apart = arrival - self.last_arrival;
        // A link that was held up lets several groups go in one burst; their delay says nothing about each.
        let released = apart <= BURST_MICROS
            && apart < since(self.last_sent, sent)
            && arrival - self.first_arrival < BURST_MICROS_MAX;
        if behind_first <= BURST_MICROS || released { Relation::Same } else { Relation::Later }
    }
}

/// Microseconds from `earlier` to `later`, over the wrap.
fn since(earlier: u32, later: u32) -> i64 {
    i64::from(later.wrapping_sub(earlier).cast_signed())
}

/// The slope of the delay over the last groups: least squares through (arrival, smoothed sum of variations).
#[derive(Debug, Default)]
struct Trendline {
    points: [(f64, f64); POINTS],
    groups: u32,
    sum_ms: f64,
    smoothed_ms: f64,
    first_ms: f64,
}

const POINTS: usize = 20;
const SMOOTHING: f64 = 0.9;

impl Trendline {
    fn add(&mut self, arrival_ms: f64, variation_ms: f64) {
        if self.groups == 0 {
            self.first_ms = arrival_ms;
        }
        self.sum_ms += variation_ms;
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * self.sum_ms;
        self.points[self.groups as usize % POINTS] = (arrival_ms - self.first_ms, self.smoothed_ms);
        // Beyond its first rounds only the place in the ring matters.
        self.groups = if self.groups == 2_000_000_000 { 1_000_000_000 } else { self.groups + 1 };
    }

    fn slope(&self) -> Option<f64> {
        if (self.groups as usize) < POINTS {
            return None;
        }
        let count = POINTS as f64;
        let (x_sum, y_sum) = self.points.iter().fold((0.0, 0.0), |(xs, ys), (x, y)| (xs + x, ys + y));
        let (x_mean, y_mean) = (x_sum / count, y_sum / count);
        let (above, below) = self.points.iter().fold((0.0, 0.0), |(above, below), (x, y)| {
            (above + (x - x_mean) * (y - y_mean), below + (x - x_mean) * (x - x_mean))
        });
        (below > 0.0).then(|| above / below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds groups of two packets every 20 ms whose delay in microseconds is told by `delay`.
    fn usages(detector: &mut DelayDetector, groups: std::ops::Range<u32>, delay: impl Fn(i64) -> i64) -> Vec<Usage> {
        let mut usages = Vec::new();
        for group in groups {
            let sent = group.wrapping_mul(20_000).wrapping_add(4_294_000_000);
            let arrival = i64::from(group) * 20_000 + delay(i64::from(group)) + 987_654_321;
            detector.arrived(sent, arrival);
            detector.arrived(sent.wrapping_add(1_000), arrival + 1_000);
            usages.push(detector.usage());
        }
        usages
    }

    #[test]
    fn a_queue_that_grows_is_over_use_and_one_that_shrinks_is_under_use() {
        let mut detector = DelayDetector::new();
        let flat = usages(&mut detector, 0..100, |group| (group * 7_919) % 3_000);
        assert!(flat.iter().all(|usage| *usage == Usage::Normal), "three milliseconds of jitter are no queue");
        let grows = usages(&mut detector, 100..130, |group| (group - 100) * 4_000);
        assert!(grows[..15].contains(&Usage::Over), "{grows:?}");
        let shrinks = usages(&mut detector, 130..170, |group| (170 - group) * 3_000);
        assert!(shrinks.ends_with(&[Usage::Under]), "{shrinks:?}");
    }

    #[test]
    fn a_clock_that_was_set_is_no_queue() {
        let mut detector = DelayDetector::new();
        usages(&mut detector, 0..100, |_| 0);
        let after = usages(&mut detector, 100..200, |_| 40_000_000);
        assert!(after.iter().all(|usage| *usage == Usage::Normal));
        let after = usages(&mut detector, 200..300, |_| -40_000_000);
        assert!(after.iter().all(|usage| *usage == Usage::Normal));
    }

    #[test]
    fn packets_out_of_order_and_groups_let_go_at_once_are_no_queue() {
        let mut detector = DelayDetector::new();
        for group in 0..200_u32 {
            let held = i64::from(group % 4 == 0) * 30_000;
            detector.arrived(group * 20_000, i64::from(group) * 20_000 + held);
            detector.arrived((group * 20_000).saturating_sub(40_000), i64::from(group) * 20_000);
            assert_ne!(detector.usage(), Usage::Over, "group {group}");
        }
    }
}
