//! How much a viewer's network carries, estimated where the packets leave (draft-ietf-rmcat-gcc-02).
//!
//! In: packets as they leave, the viewer's transport-wide feedback, the round trip, the clock. Out: bits per second, and how
//! many bytes to probe with. Driven by the worker, one per viewer with whom transport-cc was agreed on. Pure; all memory is
//! allocated in [`SendEstimate::new`].
//!
//! [`report`] reads the feedback, [`history`] knows what was sent, [`delay`] and [`loss`] say what the network does with it,
//! [`acked`] how much comes through, [`rate`] makes a rate of it, [`probe`] finds out whether there is more.

mod acked;
mod delay;
mod history;
mod loss;
mod probe;
mod rate;
mod report;
#[cfg(test)]
mod tests;

pub(crate) use probe::Probe;
pub(crate) use report::ReportError;

use crate::model::CounterUnwrapper;
use acked::AckedRate;
use delay::{DelayDetector, Usage};
use history::History;
use loss::{LossVerdict, LossWatch};
use probe::{Outcome, Prober};
use rate::RateControl;
use report::{Report, Status};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct SendEstimate {
    origin: Instant,
    history: History,
    delay: DelayDetector,
    loss: LossWatch,
    acked: AckedRate,
    rate: RateControl,
    prober: Prober,
    reference: CounterUnwrapper<24>,
    /// The highest number that a report spoke of.
    reported: Option<u64>,
    /// So many packets more may be told of, and how many had been sent when that was counted.
    credit: (u64, u64),
    /// When the last report came, or silence was last answered.
    heard: Instant,
    rtt: Duration,
}

/// What a report brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Acked {
    /// Packets of which no earlier report said so.
    pub(crate) arrived: u32,
    pub(crate) lost: u32,
    /// The estimate is another than before.
    pub(crate) changed: bool,
}

/// Fits 720p, and most networks; a better layer is probed for, a worse one chosen within a second.
pub(crate) const START_BPS: u64 = 2_500_000;
/// A round trip before one is known, and the longest that is believed.
const RTT_FIRST: Duration = Duration::from_millis(100);
const RTT_MAX: Duration = Duration::from_secs(2);
const MICROS_PER_TICK: i64 = 250;
const TICKS_PER_REFERENCE: i64 = 256;
/// Reports come every 100 ms or so. When they stay away this long the network carries nothing.
const SILENCE: Duration = Duration::from_secs(1);
const SILENCE_FACTOR: f64 = 0.8;
/// How often a packet may be told of: browsers tell once, and again of the last half second where packets overtake each other.
/// Without a limit a few hundred bytes would be walked for a millisecond, over and over.
const TOLD_MAX: u64 = 8;
/// As many as may be told of at once.
const CREDIT_MAX: u64 = 16_384;
/// After a decrease there is nothing to probe for.
const CALM: Duration = Duration::from_secs(3);

impl SendEstimate {
    pub(crate) fn new(now: Instant, start_bps: u64) -> Self {
        Self {
            origin: now,
            history: History::new(),
            delay: DelayDetector::new(),
            loss: LossWatch::new(now),
            acked: AckedRate::default(),
            rate: RateControl::new(now, start_bps as f64),
            prober: Prober::new(now),
            reference: CounterUnwrapper::default(),
            reported: None,
            credit: (0, 0),
            heard: now,
            rtt: RTT_FIRST,
        }
    }

    /// Bits per second that may be sent, with everything above UDP.
    pub(crate) fn bitrate(&self) -> u64 {
        self.rate.bps() as u64
    }

    /// The share of packets lost lately, between 0 and 1.
    #[cfg(test)]
    fn loss(&self) -> f32 {
        self.loss.share()
    }

    #[cfg(test)]
    fn rtt(&self) -> Duration {
        self.rtt
    }

    /// The round trip was measured.
    pub(crate) fn round_trip(&mut self, rtt: Duration) {
        self.rtt = rtt.min(RTT_MAX);
    }

    /// A packet leaves: its transport-wide number.
    pub(crate) fn sent(&mut self, now: Instant, bytes: usize) -> u16 {
        let micros = now.duration_since(self.origin).as_micros() as i64;
        if self.outstanding() == 0 {
            // Nobody owes a report for the time in which nothing was sent.
            self.heard = now;
        }
        let number = self.history.next();
        let probing = self.prober.sent(now, micros, number, bytes, self.rtt);
        self.history.push(micros as u32, bytes, probing) as u16
    }

    /// Reads a report: the body of an RTCP packet of type 205, format 15. One whose lengths lie changes nothing.
    pub(crate) fn feedback(&mut self, now: Instant, body: &[u8]) -> Result<Acked, ReportError> {
        let report = Report::parse(body)?;
        let mut acked = Acked::default();
        let Some(base) = self.history.number(report.base) else { return Ok(acked) };
        self.charge(base, report.count)?;
        let reference = self.reference.unwrap_counter(report.reference) * TICKS_PER_REFERENCE;
        let mut found = 0;
        for status in report.statuses() {
            let last = match status {
                Status::Missing(missing) => {
                    let numbers = base + u64::from(missing.start)..base + u64::from(missing.end);
                    acked.lost += self.history.lose(numbers.clone());
                    numbers.end - 1
                }
                Status::Arrived { offset, ticks } => {
                    let number = base + u64::from(offset);
                    let arrival = (reference + ticks) * MICROS_PER_TICK;
                    if let Some(was_lost) = self.arrived(number, Some(arrival)) {
                        acked.arrived += 1;
                        found += u32::from(was_lost);
                    }
                    number
                }
                Status::Untimed(offset) => {
                    let number = base + u64::from(offset);
                    if let Some(was_lost) = self.arrived(number, None) {
                        acked.arrived += 1;
                        found += u32::from(was_lost);
                    }
                    number
                }
            };
            if last < self.history.next() {
                self.reported = self.reported.max(Some(last));
            }
        }
        self.heard = now;
        self.loss.count(acked.arrived, acked.lost, found);
        let before = self.bitrate();
        self.adjust(now);
        acked.changed = before != self.bitrate();
        Ok(acked)
    }

    /// Whether a report is worth walking through.
    fn charge(&mut self, base: u64, told: u16) -> Result<(), ReportError> {
        let next = self.history.next();
        let known = next - base;
        if u64::from(told) > known {
            return Err(ReportError::Unsent { told, known });
        }
        let (credit, counted) = self.credit;
        let credit = (credit + (next - counted) * TOLD_MAX).min(CREDIT_MAX);
        let left = credit.checked_sub(told.into());
        self.credit = (left.unwrap_or(credit), next);
        left.map(|_| ()).ok_or(ReportError::Again { told })
    }

    /// Acts on silence; call at every turn, or at least every second. `true`: the estimate is another than before.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        // Who never reported anything may not be able to; then the start stands.
        if self.reported.is_none() || self.outstanding() == 0 || now.duration_since(self.heard) < SILENCE + self.rtt {
            return false;
        }
        self.heard = now;
        self.prober.abandon(now);
        let before = self.bitrate();
        self.rate.decrease(now, self.rate.bps() * SILENCE_FACTOR);
        before != self.bitrate()
    }

    /// Asks whether `wanted_bps` would pass. `Some`: send so many bytes now that nobody needs, through [`Self::sent`] like
    /// all others, and ask again at every turn. A success shows in [`Self::bitrate`]; after failures it says `None` for 5 s
    /// up to a minute.
    pub(crate) fn poll_probe(&mut self, now: Instant, wanted_bps: u64) -> Option<Probe> {
        let calm = self.rate.decreased().is_none_or(|at| now.duration_since(at) >= CALM);
        let wanted_bps = if calm { (wanted_bps as f64).min(*rate::BPS.end()) } else { 0.0 };
        self.prober.poll(now, wanted_bps, self.rate.bps(), self.history.next())
    }

    /// Takes note of an arrival. `Some`: the first word of it, and whether it was called lost.
    fn arrived(&mut self, number: u64, arrival: Option<i64>) -> Option<bool> {
        let sent = self.history.arrive(number)?;
        let Some(arrival) = arrival else { return Some(sent.was_lost) };
        self.acked.add(arrival, sent.bytes);
        if sent.probing {
            self.prober.arrived(&sent, arrival);
            // A probe makes a queue on purpose, and what follows it waits in that queue.
            self.delay.restart();
        } else {
            self.delay.arrived(sent.micros, arrival);
        }
        Some(sent.was_lost)
    }

    fn adjust(&mut self, now: Instant) {
        let (usage, acked) = (self.delay.usage(), self.acked.bits_per_second());
        let loss = self.loss.poll(now, self.rtt);
        self.rate.update(now, usage, loss, acked, self.rtt);
        if usage == Usage::Over || matches!(loss, LossVerdict::Cut(_)) {
            self.prober.abandon(now);
        }
        match self.prober.outcome(now, self.reported) {
            Some(Outcome::Through(bps)) => self.rate.raise(bps),
            Some(Outcome::Slowed(bps)) if bps > self.rate.bps() => self.rate.raise(bps),
            Some(Outcome::Slowed(bps)) => self.rate.limit(bps, acked),
            Some(Outcome::Nothing) | None => {}
        }
    }

    /// Packets of which no report spoke.
    fn outstanding(&self) -> u64 {
        self.history.next() - self.reported.map_or(0, |reported| reported + 1)
    }
}
