//! RTP clocks of one publisher on one time.
//!
//! In: RTP timestamps with their arrival, sender reports. Out: times since the publication began. Pure. RFC 3550 section 6.4.1.
//!
//! Each clock is anchored where its first unit arrived; from there timestamps alone count, so that network jitter never
//! reaches a viewer. Sender reports then tell how far the clocks stand apart in truth: apart from each other, since a
//! publisher's wall clock may drift, and be set, while its RTP clocks run on.

use super::track::Source;
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
    /// The newest report: the publisher's time, and how far this clock was ahead of it; microseconds.
    reported: Option<(i64, i64)>,
}

/// The publisher's own clock: what its reports have in common.
#[derive(Debug, Default)]
pub(super) struct SenderClock {
    /// Ours less theirs, in microseconds, by the newest report of the source that the others are measured by.
    reference: Option<(Source, i64)>,
}

/// Where a unit stands since the publication began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    micros: i64,
    /// Ticks behind the anchor and the anchor itself, so that ticks stay exact.
    ticks: i64,
    anchor: i64,
}

/// A picture that stood still before the connection keeps its old timestamp, and the next one jumps ahead. Such is mended while
/// a publication is young; microseconds. A first unit may also have been this late.
const AHEAD_MAX: i64 = 1_000_000;
const YOUNG: i64 = 10_000_000;
/// Farther apart, a report is nonsense.
const ERROR_MAX: i64 = 5_000_000;
/// From one report to the next a clock may gain or lose this many microseconds, and a hundredth of the time between.
/// GStreamer 1.22 reports clocks that run at double speed.
const UNSTEADY: i64 = 30_000;

impl SourceClock {
    pub(super) fn new(rate: u32) -> Self {
        Self { rate, unwrapper: CounterUnwrapper::default(), anchor: None, error: 0, reported: None }
    }

    pub(super) fn place(&mut self, timestamp: u32, elapsed: Duration) -> Place {
        let ticks = self.unwrapper.unwrap_counter(timestamp);
        let elapsed = elapsed.as_micros() as i64;
        let (first, anchor) = *self.anchor.get_or_insert((ticks, elapsed));
        let place = self.at(ticks - first, anchor);
        if elapsed - anchor < YOUNG && place.micros - elapsed > AHEAD_MAX {
            // No unit comes before it was made: the first one was stamped long before it was sent.
            self.anchor = Some((ticks, elapsed));
            return self.at(0, elapsed);
        }
        place
    }

    fn at(&self, ticks: i64, anchor: i64) -> Place {
        Place { micros: anchor + ticks * 1_000_000 / i64::from(self.rate), ticks, anchor }
    }

    /// Takes a sender report: at `ntp` of the publisher's clock this source's stands at `timestamp`. Measures the error of
    /// the anchor; [`Self::mend`] removes it.
    pub(super) fn report(&mut self, source: Source, ntp: NtpTime, timestamp: u32, sender: &mut SenderClock) {
        let Some((first, anchor)) = self.anchor else { return };
        let ticks = self.unwrapper.clone().unwrap_counter(timestamp);
        let ahead = self.at(ticks - first, 0).micros - ntp.as_micros();
        self.error = 0;
        let before = self.reported.replace((ntp.as_micros(), ahead));
        let steady = |(at, then): (i64, i64)| (ahead - then).abs() <= UNSTEADY + (ntp.as_micros() - at).abs() / 100;
        if !before.is_none_or(steady) {
            // The wall clock was set, or this one is nonsense: what was measured before says nothing of what comes.
            sender.reference = None;
            return;
        }
        let offset = ahead + anchor;
        match sender.reference {
            Some((other, reference)) if other != source => {
                let error = reference - offset;
                self.error = if error.abs() <= ERROR_MAX { error } else { 0 };
            }
            _ => sender.reference = Some((source, offset)),
        }
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

    const VIDEO: Source = Source::Layer(0);

    #[test]
    fn reports_bring_sources_together_that_arrived_apart() {
        let (mut sender, ms) = (SenderClock::default(), Duration::from_millis);
        let (mut video, mut audio) = (SourceClock::new(90_000), SourceClock::new(48_000));
        let captured = |at: u64| NtpTime::from(UNIX_EPOCH + ms(1_000_000_000 + at));
        // Both were captured at 0; the picture was 30 ms on the way, the sound 110, and the clocks wrap.
        video.place(u32::MAX, ms(30));
        audio.place(5, ms(110));
        video.report(VIDEO, captured(500), 45_000 - 1, &mut sender);
        audio.report(Source::Audio, captured(2_500), 120_005, &mut sender);
        assert_eq!((video.error() / 1_000, audio.error() / 1_000), (0, -80));
        audio.mend();
        assert_eq!(audio.place(120_005, ms(9_999)).time().as_millis(), 2_530);
        assert_eq!(video.place(225_000 - 1, ms(9_999)).time().as_millis(), 2_530);
    }

    #[test]
    fn a_first_picture_with_an_old_timestamp_does_not_put_the_show_ahead_of_time() {
        let (mut video, ms) = (SourceClock::new(90_000), Duration::from_millis);
        assert_eq!(video.place(7, ms(100)).time(), ms(100));
        assert_eq!(video.place(7 + 270_000, ms(133)).time(), ms(133), "stamped three seconds later, sent at once");
        assert_eq!(video.place(7 + 273_000, ms(140)).time().as_millis(), 166, "and timestamps alone count again");
    }

    #[test]
    fn a_report_of_another_age_is_not_believed() {
        let mut sender = SenderClock::default();
        let (mut video, mut audio) = (SourceClock::new(90_000), SourceClock::new(48_000));
        video.place(0, Duration::ZERO);
        audio.place(0, Duration::ZERO);
        video.report(VIDEO, NtpTime::from(UNIX_EPOCH + Duration::from_secs(1_000)), 0, &mut sender);
        audio.report(Source::Audio, NtpTime::from(UNIX_EPOCH + Duration::from_secs(2_000)), 0, &mut sender);
        assert_eq!(audio.error(), 0);
    }

    #[test]
    fn a_wall_clock_that_drifts_or_is_set_moves_no_source() {
        let mut sender = SenderClock::default();
        let (mut video, mut audio) = (SourceClock::new(90_000), SourceClock::new(48_000));
        video.place(0, Duration::ZERO);
        audio.place(0, Duration::ZERO);
        for second in 0..3_600_u32 {
            // A tenth of a millisecond slow each second, and set forward by a minute on the way.
            let wall = u64::from(second) * 999_900 + if second < 1_800 { 0 } else { 60_000_000 };
            let ntp = NtpTime::from(UNIX_EPOCH + Duration::from_micros(wall));
            // Sound reports every fifth second, the picture each.
            if second % 5 == 0 {
                audio.report(Source::Audio, ntp, second * 48_000, &mut sender);
            }
            video.report(VIDEO, ntp, second * 90_000, &mut sender);
            let worst = video.error().abs().max(audio.error().abs());
            assert!(worst < 1_000, "{worst} us apart in second {second}");
        }
    }
}
