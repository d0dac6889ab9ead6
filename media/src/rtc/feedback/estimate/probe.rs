//! Probes: a short burst at a higher rate, to learn that a better layer would fit before it is sent.
//!
//! In: the rate somebody wants, packets as they leave and arrive. Out: how many bytes of padding to send now, and the rate
//! that the burst came through at. Pure. What leaves between the first and the last packet of a probe belongs to it, media
//! too: the padding only fills up.

use super::history::Sent;
use std::time::{Duration, Instant};

/// Bytes that should be sent now on top of the media, as retransmissions nobody asked for (RFC 4588) or as padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) bytes: usize,
}

#[derive(Debug)]
pub(super) struct Prober {
    phase: Phase,
    next: Instant,
    /// How long the next failure pauses it.
    pause: Duration,
    /// Until then a queue that a probe made may still be there.
    settled: Instant,
}

#[derive(Debug)]
enum Phase {
    Idle,
    /// Is being sent.
    Sending(Cluster),
    /// Was sent, until a report speaks of its last packet or none comes.
    Awaiting(Cluster, Instant),
}

#[derive(Debug)]
struct Cluster {
    bps: f64,
    bytes: usize,
    started: Instant,
    /// Numbers of its packets.
    first: u64,
    last: u64,
    sent: Span,
    /// Bytes that left at the last instant: they say nothing of the rate before it.
    last_instant_bytes: usize,
    arrived: Span,
    arrived_packets: u64,
    first_arrival_bytes: usize,
}

/// Bytes between two instants in microseconds.
#[derive(Debug, Default, Clone, Copy)]
struct Span {
    bytes: usize,
    from: i64,
    to: i64,
}

/// What became of a probe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    /// It came through at about its own rate.
    Through(f64),
    /// The network made it slower: this is about what it carries.
    Slowed(f64),
    /// Too little is known of it.
    Nothing,
}

/// Long enough to span several turns of the worker, short enough that a queue it makes is 40 ms.
const LENGTH: Duration = Duration::from_millis(40);
/// Fewer packets measure nothing.
const BYTES_MIN: usize = 7_200;
/// One step asks for no more than twice what is known, so that a failed probe harms little.
pub(super) const STEP: f64 = 2.0;
/// Above what is wanted, for the measure comes out a little low.
const ABOVE: f64 = 1.08;
/// After a success the next step may follow; after failures it waits for twice as long each time.
const AGAIN: Duration = Duration::from_millis(500);
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Sending must not take more than this times its length: nobody had anything to send.
const PATIENCE: u32 = 3;
const ANSWER_MAX: Duration = Duration::from_millis(700);
/// A queue of a probe is gone by then, unless the media alone is too much.
const SETTLE: Duration = Duration::from_millis(300);
/// Shares of packets that must arrive and of the rate that count as through.
const ARRIVED_MIN: f64 = 0.8;
const THROUGH_MIN: f64 = 0.9;
/// A link is not filled to the brim with what was just measured.
const SLOWED_USABLE: f64 = 0.95;

impl Prober {
    pub(super) fn new(now: Instant) -> Self {
        Self { phase: Phase::Idle, next: now, pause: PAUSE_MIN, settled: now }
    }

    /// What to send now. `next`: the number of the next packet.
    pub(super) fn poll(&mut self, now: Instant, wanted_bps: f64, known_bps: f64, next: u64) -> Option<Probe> {
        if matches!(self.phase, Phase::Idle) && now >= self.next && wanted_bps > known_bps {
            let bps = (wanted_bps * ABOVE).min(known_bps * STEP);
            self.phase = Phase::Sending(Cluster::new(now, bps, next));
        }
        let Phase::Sending(cluster) = &self.phase else { return None };
        let elapsed = now.duration_since(cluster.started);
        if elapsed > cluster.length() * PATIENCE {
            self.fail(now);
            return None;
        }
        let due = (cluster.bps / 8.0 * (elapsed + TURN).as_secs_f64()) as usize;
        let bytes = due.min(cluster.bytes).saturating_sub(cluster.sent.bytes);
        (bytes > 0).then_some(Probe { bytes })
    }

    /// A packet leaves; `true`: it belongs to a probe or to the queue that one may have made.
    pub(super) fn sent(&mut self, now: Instant, micros: i64, number: u64, bytes: usize, rtt: Duration) -> bool {
        match &mut self.phase {
            Phase::Idle => now < self.settled,
            Phase::Awaiting(..) => true,
            Phase::Sending(cluster) => {
                cluster.leave(micros, number, bytes);
                if cluster.sent.bytes >= cluster.bytes {
                    let until = now + rtt + ANSWER_MAX;
                    if let Phase::Sending(cluster) = std::mem::replace(&mut self.phase, Phase::Idle) {
                        self.phase = Phase::Awaiting(cluster, until);
                    }
                }
                true
            }
        }
    }

    pub(super) fn arrived(&mut self, packet: &Sent, micros: i64) {
        if let Phase::Sending(cluster) | Phase::Awaiting(cluster, _) = &mut self.phase
            && (cluster.first..=cluster.last).contains(&packet.number)
        {
            cluster.arrive(micros, packet.bytes);
        }
    }

    /// Whether one has ended. `reported`: the highest number that a report spoke of.
    pub(super) fn outcome(&mut self, now: Instant, reported: Option<u64>) -> Option<Outcome> {
        let Phase::Awaiting(cluster, until) = &self.phase else { return None };
        let answered = reported.is_some_and(|reported| reported >= cluster.last);
        if !answered && now < *until {
            return None;
        }
        let outcome = cluster.outcome();
        self.settled = now + SETTLE;
        match outcome {
            Outcome::Through(_) => {
                (self.phase, self.next, self.pause) = (Phase::Idle, now + AGAIN, PAUSE_MIN);
            }
            Outcome::Slowed(_) | Outcome::Nothing => self.fail(now),
        }
        Some(outcome)
    }

    /// The network is full: what was learnt is void, and the next one waits.
    pub(super) fn abandon(&mut self, now: Instant) {
        (self.phase, self.next) = (Phase::Idle, self.next.max(now + PAUSE_MIN));
    }

    fn fail(&mut self, now: Instant) {
        (self.phase, self.next) = (Phase::Idle, now + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

/// The worker's tick: what is due by the next one is sent now.
const TURN: Duration = Duration::from_millis(5);

impl Cluster {
    fn new(now: Instant, bps: f64, first: u64) -> Self {
        Self {
            bps,
            bytes: ((bps / 8.0 * LENGTH.as_secs_f64()) as usize).max(BYTES_MIN),
            started: now,
            first,
            last: first,
            sent: Span::default(),
            last_instant_bytes: 0,
            arrived: Span::default(),
            arrived_packets: 0,
            first_arrival_bytes: 0,
        }
    }

    fn length(&self) -> Duration {
        Duration::from_secs_f64(self.bytes as f64 * 8.0 / self.bps)
    }

    fn leave(&mut self, micros: i64, number: u64, bytes: usize) {
        if self.sent.bytes == 0 {
            self.sent.from = micros;
        }
        if self.sent.to != micros {
            self.last_instant_bytes = 0;
        }
        self.sent.to = micros;
        self.sent.bytes += bytes;
        self.last_instant_bytes += bytes;
        self.last = number;
    }

    fn arrive(&mut self, micros: i64, bytes: usize) {
        if self.arrived_packets == 0 {
            self.arrived = Span { bytes: 0, from: micros, to: micros };
            self.first_arrival_bytes = bytes;
        }
        let Span { from, to, .. } = self.arrived;
        self.arrived = Span { bytes: self.arrived.bytes + bytes, from: from.min(micros), to: to.max(micros) };
        self.arrived_packets += 1;
    }

    fn outcome(&self) -> Outcome {
        let packets = self.last - self.first + 1;
        if (self.arrived_packets as f64) < packets as f64 * ARRIVED_MIN {
            return Outcome::Nothing;
        }
        let rate = |bytes: usize, span: Span| {
            let micros = span.to.saturating_sub(span.from);
            (micros > 0).then(|| bytes as f64 * 8e6 / micros as f64)
        };
        let Some(sent) = rate(self.sent.bytes - self.last_instant_bytes, self.sent) else { return Outcome::Nothing };
        // Packets that all arrive in one instant were held up together and say nothing against the rate they left at.
        let lost = (packets - self.arrived_packets) as f64 / packets as f64;
        let arrived =
            rate(self.arrived.bytes - self.first_arrival_bytes, self.arrived).map_or(sent, |bps| bps / (1.0 - lost));
        if arrived < sent * THROUGH_MIN {
            Outcome::Slowed(arrived * SLOWED_USABLE)
        } else {
            Outcome::Through(sent.min(arrived).min(self.bps))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    /// Sends one probe for `wanted` and lets it arrive over a link of so many bits per second.
    fn probed(prober: &mut Prober, start: Instant, wanted: f64, known: f64, link: f64) -> (usize, Option<Outcome>) {
        let (mut number, mut sent) = (100, Vec::new());
        for tick in 0..40_u32 {
            let now = start + Duration::from_millis(5) * tick;
            while let Some(probe) = prober.poll(now, wanted, known, number) {
                let (bytes, micros) = (probe.bytes.clamp(200, 1_200), i64::from(tick) * 5_000);
                assert!(prober.sent(now, micros, number, bytes, RTT));
                sent.push(Sent { number, micros: micros as u32, bytes, probing: true, was_lost: false });
                number += 1;
            }
        }
        let mut free_at = 0.0_f64;
        for packet in &sent {
            free_at = free_at.max(f64::from(packet.micros)) + packet.bytes as f64 * 8e6 / link;
            prober.arrived(packet, free_at as i64);
        }
        let bytes = sent.iter().map(|packet| packet.bytes).sum();
        (bytes, prober.outcome(start + Duration::from_millis(300), Some(number)))
    }

    #[test]
    fn a_link_that_is_wide_enough_shows_the_rate_and_a_narrow_one_its_own() {
        let start = Instant::now();
        let (bytes, outcome) = probed(&mut Prober::new(start), start, 4e6, 2.5e6, 100e6);
        assert!((21_000..24_000).contains(&bytes), "40 ms of 4.3 Mbit/s: {bytes}");
        let Some(Outcome::Through(bps)) = outcome else { panic!("{outcome:?}") };
        assert!((4.0e6..4.4e6).contains(&bps), "{bps}");
        let (_, outcome) = probed(&mut Prober::new(start), start, 4e6, 2.5e6, 3e6);
        let Some(Outcome::Slowed(bps)) = outcome else { panic!("{outcome:?}") };
        assert!((2.6e6..3.0e6).contains(&bps), "{bps}");
    }

    #[test]
    fn a_step_is_no_more_than_twice_what_is_known() {
        let start = Instant::now();
        let (bytes, outcome) = probed(&mut Prober::new(start), start, 20e6, 2e6, 100e6);
        assert!((20_000..22_000).contains(&bytes), "{bytes}");
        let Some(Outcome::Through(bps)) = outcome else { panic!("{outcome:?}") };
        assert!((3.5e6..=4.0e6).contains(&bps), "{bps}");
    }

    #[test]
    fn failures_are_followed_by_longer_and_longer_pauses() {
        let start = Instant::now();
        let (mut prober, mut now, mut pauses) = (Prober::new(start), start, Vec::new());
        for _ in 0..6 {
            let (_, outcome) = probed(&mut prober, now, 4e6, 2.5e6, 1e6);
            assert!(matches!(outcome, Some(Outcome::Slowed(_))), "{outcome:?}");
            let ended = now + Duration::from_millis(300);
            now = ended;
            while prober.poll(now, 4e6, 2.5e6, 0).is_none() {
                now += Duration::from_millis(100);
            }
            pauses.push((now - ended).as_secs());
            prober.phase = Phase::Idle;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn a_probe_that_cannot_be_sent_or_is_never_reported_ends_too() {
        let start = Instant::now();
        let mut prober = Prober::new(start);
        assert!(prober.poll(start, 4e6, 2.5e6, 7).is_some());
        assert_eq!(prober.poll(start + Duration::from_secs(1), 4e6, 2.5e6, 7), None);
        assert!(matches!(prober.phase, Phase::Idle), "nothing to send it with");
        let start = start + Duration::from_secs(6);
        assert!(prober.poll(start, 4e6, 2.5e6, 7).is_some());
        prober.sent(start, 0, 7, 100_000, RTT);
        assert_eq!(prober.outcome(start + RTT, Some(6)), None);
        assert_eq!(prober.outcome(start + RTT + ANSWER_MAX, Some(6)), Some(Outcome::Nothing));
    }
}
