//! RTP clocks of one publisher on one time.
//!
//! In: RTP timestamps with their arrival, sender reports. Out: times since the publication began. Pure. RFC 3550 section 6.4.1.
//!
//! Each clock is anchored where its first unit arrived; from there timestamps alone count, so that network jitter never
//! reaches a viewer. Sender reports then tell how far the clocks stand apart in truth.

use crate::model::CounterUnwrapper;
use crate::rtc::rtcp::NtpTime;
use std::time::Duration;

/// One source's RTP clock.
#[derive(Debug)]
pub(super) struct SourceClock {
    pub(super) rate: u32,
    unwrapper: CounterUnwrapper<32>,
    /// Ticks and microseconds of the first unit.
    anchor: Option<(i64, i64)>,
    /// From the newest sender report: how much later units are shown than their anchor says; microseconds.
    error: i64,
}

/// The publisher's own clock: what its reports have in common.
#[derive(Debug, Default)]
pub(super) struct SenderClock {
    /// Ours less theirs, in microseconds, as the first source that reported was anchored.
    offset: Option<i64>,
}

/// Where a unit stands since the publication began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    micros: i64,
    /// Ticks behind the anchor and the anchor itself, so that ticks stay exact.
    ticks: i64,
    anchor: i64,
}

/// Farther apart, a report is nonsense.
const ERROR_MAX: i64 = 5_000_000;

impl SourceClock {
    pub(super) fn new(rate: u32) -> Self {
        Self { rate, unwrapper: CounterUnwrapper::default(), anchor: None, error: 0 }
    }

    pub(super) fn place(&mut self, timestamp: u32, elapsed: Duration) -> Place {
        let ticks = self.unwrapper.unwrap_counter(timestamp);
        let (first, anchor) = *self.anchor.get_or_insert((ticks, elapsed.as_micros() as i64));
        self.at(ticks - first, anchor)
    }

    fn at(&self, ticks: i64, anchor: i64) -> Place {
        Place { micros: anchor + ticks * 1_000_000 / i64::from(self.rate), ticks, anchor }
    }

    /// Takes a sender report: at `ntp` of the publisher's clock this source's stands at `timestamp`. Measures the error of
    /// the anchor; [`Self::mend`] removes it.
    pub(super) fn report(&mut self, ntp: NtpTime, timestamp: u32, sender: &mut SenderClock) {
        let Some((first, anchor)) = self.anchor else { return };
        let ticks = self.unwrapper.clone().unwrap_counter(timestamp);
        let placed = self.at(ticks - first, anchor).micros;
        let offset = *sender.offset.get_or_insert(placed - ntp.as_micros());
        let error = ntp.as_micros() + offset - placed;
        self.error = if error.abs() <= ERROR_MAX { error } else { 0 };
    }

    /// By how much this source is shown too early (above zero) or too late.
    pub(super) fn error(&self) -> i64 {
        self.error
    }

    pub(super) fn mend(&mut self) {
        let error = std::mem::take(&mut self.error);
        if let Some((_, anchor)) = &mut self.anchor {
            *anchor += error;
        }
    }
}

impl Place {
    pub(super) fn time(self) -> Duration {
        Duration::from_micros(self.micros.max(0) as u64)
    }

    pub(super) fn ticks_since(self, zero: Duration, rate: u32) -> i64 {
        self.ticks + (self.anchor - zero.as_micros() as i64) * i64::from(rate) / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn reports_bring_sources_together_that_arrived_apart() {
        let (mut sender, ms) = (SenderClock::default(), Duration::from_millis);
        let (mut video, mut audio) = (SourceClock::new(90_000), SourceClock::new(48_000));
        let captured = |at: u64| NtpTime::from(UNIX_EPOCH + ms(1_000_000_000 + at));
        // Both were captured at 0; the picture was 30 ms on the way, the sound 110, and the clocks wrap.
        video.place(u32::MAX, ms(30));
        audio.place(5, ms(110));
        video.report(captured(500), 45_000 - 1, &mut sender);
        audio.report(captured(2_500), 120_005, &mut sender);
        assert_eq!((video.error() / 1_000, audio.error() / 1_000), (0, -80));
        audio.mend();
        assert_eq!(audio.place(120_005, ms(9_999)).time().as_millis(), 2_530);
        assert_eq!(video.place(225_000 - 1, ms(9_999)).time().as_millis(), 2_530);
    }

    #[test]
    fn a_report_of_another_age_is_not_believed() {
        let mut sender = SenderClock::default();
        let (mut video, mut audio) = (SourceClock::new(90_000), SourceClock::new(48_000));
        video.place(0, Duration::ZERO);
        audio.place(0, Duration::ZERO);
        video.report(NtpTime::from(UNIX_EPOCH + Duration::from_secs(1_000)), 0, &mut sender);
        audio.report(NtpTime::from(UNIX_EPOCH + Duration::from_secs(2_000)), 0, &mut sender);
        assert_eq!(audio.error(), 0);
    }
}
