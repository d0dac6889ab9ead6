//! A network that is not there: one direction of a path with a bottleneck, on a virtual clock, from a seed.
//!
//! In: packets as they leave. Out: the same as they arrive, unless they were lost. In the order of the path: losses of the
//! radio, the queue of the bottleneck (drop-tail), propagation with jitter, reordering.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How a direction behaves.
#[derive(Debug, Clone)]
pub(crate) struct Conditions {
    /// Bits per second from the given time on; the first is from the start. Empty: no bottleneck.
    pub(crate) rates: Vec<(Duration, u64)>,
    /// Bytes that wait before the bottleneck at most; what comes then is lost.
    pub(crate) queue_bytes: usize,
    pub(crate) loss: Loss,
    pub(crate) delay: Duration,
    /// Added to the delay, evenly between nothing and this. Packets keep their order.
    pub(crate) jitter: Duration,
    /// Share of packets that are overtaken by those of the next 15 ms.
    pub(crate) reordered: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Loss {
    /// Each packet by itself.
    Random(f64),
    /// A share of packets, lost in runs of this mean length (a Gilbert model).
    Bursts { share: f64, length: f64 },
}

#[derive(Debug)]
pub(crate) struct Link<T> {
    conditions: Conditions,
    start: Instant,
    rng: StdRng,
    in_burst: bool,
    queue: VecDeque<(Instant, usize, T)>,
    queued_bytes: usize,
    /// When the bottleneck has sent what it is sending.
    free: Instant,
    /// When the last packet in order arrives.
    last: Instant,
    under_way: BTreeMap<(Instant, u64), T>,
    serial: u64,
    pub(crate) lost: u64,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            rates: Vec::new(),
            queue_bytes: usize::MAX,
            loss: Loss::Random(0.0),
            delay: Duration::from_millis(25),
            jitter: Duration::ZERO,
            reordered: 0.0,
        }
    }
}

const OVERTAKEN_BY: Duration = Duration::from_millis(15);

impl<T> Link<T> {
    pub(crate) fn new(start: Instant, seed: u64, conditions: Conditions) -> Self {
        Self {
            conditions,
            start,
            rng: StdRng::seed_from_u64(seed),
            in_burst: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
            free: start,
            last: start,
            under_way: BTreeMap::new(),
            serial: 0,
            lost: 0,
        }
    }

    pub(crate) fn send(&mut self, now: Instant, bytes: usize, packet: T) {
        self.serve(now);
        if self.is_lost() || self.queued_bytes + bytes > self.conditions.queue_bytes {
            self.lost += 1;
            return;
        }
        self.queued_bytes += bytes;
        self.queue.push_back((now, bytes, packet));
        self.serve(now);
    }

    /// The next packet that has arrived by now, and when.
    pub(crate) fn receive(&mut self, now: Instant) -> Option<(Instant, T)> {
        self.serve(now);
        let first = self.under_way.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((at, _), packet) = first.remove_entry();
        Some((at, packet))
    }

    /// How long a packet that is sent now waits for the bottleneck.
    pub(crate) fn waiting(&self, now: Instant) -> Duration {
        let rate = self.rate(now).unwrap_or(u64::MAX);
        Duration::from_secs_f64(self.queued_bytes as f64 * 8.0 / rate as f64)
    }

    /// Lets leave what the bottleneck has sent by now.
    fn serve(&mut self, now: Instant) {
        while let Some((entered, bytes, _)) = self.queue.front() {
            let begins = self.free.max(*entered);
            let takes = self
                .rate(begins)
                .map_or(Duration::ZERO, |bps| Duration::from_secs_f64(*bytes as f64 * 8.0 / bps as f64));
            if begins + takes > now {
                return;
            }
            self.free = begins + takes;
            if let Some((_, bytes, packet)) = self.queue.pop_front() {
                self.queued_bytes -= bytes;
                self.propagate(packet);
            }
        }
    }

    fn propagate(&mut self, packet: T) {
        let jitter = self.conditions.jitter.mul_f64(self.rng.random::<f64>());
        let mut arrives = (self.free + self.conditions.delay + jitter).max(self.last);
        if self.rng.random_bool(self.conditions.reordered) {
            arrives += OVERTAKEN_BY;
        } else {
            self.last = arrives;
        }
        self.under_way.insert((arrives, self.serial), packet);
        self.serial += 1;
    }

    fn rate(&self, at: Instant) -> Option<u64> {
        let since = at.duration_since(self.start);
        self.conditions.rates.iter().rev().find(|(from, _)| *from <= since).map(|(_, bps)| *bps)
    }

    fn is_lost(&mut self) -> bool {
        match self.conditions.loss {
            Loss::Random(share) => self.rng.random_bool(share),
            Loss::Bursts { share, length } => {
                let ends = 1.0 / length;
                let begins = ends * share / (1.0 - share);
                let turns = if self.in_burst { ends } else { begins };
                self.in_burst ^= self.rng.random_bool(turns);
                self.in_burst
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Sends a packet of 1 250 bytes every millisecond and gives back number and millisecond of what arrives.
    fn arrivals(conditions: Conditions, packets: u64) -> Vec<(u64, u64)> {
        let start = Instant::now();
        let (mut link, mut arrived) = (Link::new(start, 7, conditions), Vec::new());
        for ms in 0..packets + 10_000 {
            if ms < packets {
                link.send(start + millis(ms), 1_250, ms);
            }
            while let Some((at, packet)) = link.receive(start + millis(ms)) {
                arrived.push((packet, (at - start).as_millis() as u64));
            }
        }
        arrived
    }

    #[test]
    fn the_bottleneck_spaces_packets_and_drops_what_its_queue_does_not_hold() {
        let rates = vec![(millis(0), 5_000_000), (millis(1_000), 20_000_000)];
        let held = arrivals(Conditions { rates: rates.clone(), ..Conditions::default() }, 500);
        assert_eq!((held.len(), held[9], held[499]), (500, (9, 45), (499, 1_025)));
        let dropped = arrivals(Conditions { rates, queue_bytes: 12_500, ..Conditions::default() }, 500);
        assert!((250..=262).contains(&dropped.len()), "half, and what the queue holds: {}", dropped.len());
        assert!(dropped.iter().all(|(sent, at)| at - sent <= 25 + 22), "none waited longer than for ten others");
    }

    #[test]
    fn losses_come_in_the_share_and_the_runs_that_were_ordered() {
        let lost = |loss| {
            let arrived: Vec<_> = arrivals(Conditions { loss, ..Conditions::default() }, 50_000);
            let runs = arrived.windows(2).filter(|pair| pair[1].0 != pair[0].0 + 1).count();
            ((50_000 - arrived.len()) as f64 / 50_000.0, (50_000 - arrived.len()) as f64 / runs as f64)
        };
        let (share, run) = lost(Loss::Random(0.1));
        assert!((0.09..0.11).contains(&share) && run < 1.2, "{share} {run}");
        let (share, run) = lost(Loss::Bursts { share: 0.1, length: 8.0 });
        assert!((0.085..0.115).contains(&share) && (7.0..9.0).contains(&run), "{share} {run}");
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let jittered = arrivals(Conditions { jitter: millis(40), ..Conditions::default() }, 1_000);
        assert!(jittered.is_sorted_by_key(|(sent, _)| *sent));
        assert!(jittered.iter().any(|(sent, at)| at - sent > 50), "it jitters");
        let reordered = arrivals(Conditions { reordered: 0.1, ..Conditions::default() }, 1_000);
        let overtaken = reordered.windows(2).filter(|pair| pair[1].0 < pair[0].0).count();
        assert!((60..140).contains(&overtaken), "{overtaken}");
    }
}
