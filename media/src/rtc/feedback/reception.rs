//! What the receiver of one source tells its sender: loss since the last report, jitter, and when the sender's own report came.
//!
//! In: arrivals and sender reports. Out: a reception block. Pure. RFC 3550 sections 6.4.1, A.3 and A.8.

use crate::rtc::rtcp::SenderReport;
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(crate) struct Reception {
    /// The newest sender report: the middle of its time, and when it came.
    last_report: Option<(u32, Instant)>,
    interarrival: f64,
    transit: Option<f64>,
    /// Expected and received when the last block was written.
    told: (u64, u64),
}

/// What came of a source so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) expected: u64,
    pub(crate) received: u64,
    /// The newest sequence number, with its wraps above it.
    pub(crate) newest: u32,
}

/// The field for packets lost in all has three bytes.
const LOST_MAX: u64 = 0x7f_ffff;

impl Reception {
    /// A packet came; `rate`: ticks per second of its timestamp.
    pub(crate) fn arrived(&mut self, timestamp: u32, rate: f64, now: Instant) {
        let since = self.last_report.map_or(Duration::ZERO, |(_, at)| now.duration_since(at));
        let transit = since.as_secs_f64() * rate - f64::from(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let apart = (transit - before).abs();
            // A wrap of the timestamp or a new sender report is no jitter.
            if apart < rate {
                self.interarrival += (apart - self.interarrival) / 16.0;
            }
        }
    }

    pub(crate) fn sender_report(&mut self, report: &SenderReport, now: Instant) {
        self.last_report = Some((report.ntp.middle(), now));
    }

    /// Appends the block of source `ssrc`.
    pub(crate) fn write_block(&mut self, ssrc: u32, counted: Counted, now: Instant, out: &mut Vec<u8>) {
        let Counted { expected, received, newest } = counted;
        let (expected_before, received_before) = std::mem::replace(&mut self.told, (expected, received));
        let interval = expected - expected_before;
        let lost = interval.saturating_sub(received - received_before);
        let fraction = (lost * 256).checked_div(interval).unwrap_or(0).min(255) as u32;
        let lost_in_all = expected.saturating_sub(received).min(LOST_MAX) as u32;
        let (last, delay) = self
            .last_report
            .map_or((0, 0), |(ntp, at)| (ntp, (now.duration_since(at).as_micros() * 65_536 / 1_000_000) as u32));
        for word in [ssrc, fraction << 24 | lost_in_all, newest, self.interarrival as u32, last, delay] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtc::rtcp::NtpTime;

    fn words(block: &[u8]) -> Vec<u32> {
        block.chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect()
    }

    #[test]
    fn a_block_tells_the_loss_since_the_last_one_and_in_all() {
        let (mut reception, now, mut out) = (Reception::default(), Instant::now(), Vec::new());
        reception.write_block(7, Counted { expected: 100, received: 75, newest: 99 }, now, &mut out);
        assert_eq!(words(&out), [7, 64 << 24 | 25, 99, 0, 0, 0], "a quarter of 256");
        out.clear();
        // Repeated packets make up for lost ones, and never for more.
        reception.write_block(7, Counted { expected: 200, received: 210, newest: 199 }, now, &mut out);
        assert_eq!(words(&out), [7, 0, 199, 0, 0, 0]);
    }

    #[test]
    fn jitter_and_the_delay_since_the_sender_s_report_are_told() {
        let (mut reception, start, mut out) = (Reception::default(), Instant::now(), Vec::new());
        let ms = Duration::from_millis;
        let report =
            SenderReport { ssrc: 7, ntp: NtpTime(0x1234_5678_9abc_def0), rtp_timestamp: 0, packets: 0, octets: 0 };
        reception.sender_report(&report, start);
        // Sent 20 ms apart, the second came 10 ms late: 900 ticks, a sixteenth of which counts.
        reception.arrived(1_000, 90_000.0, start + ms(100));
        reception.arrived(2_800, 90_000.0, start + ms(130));
        reception.arrived(2_801_000_000, 90_000.0, start + ms(131));
        let counted = Counted { expected: 3, received: 3, newest: 3 };
        reception.write_block(7, counted, start + ms(500), &mut out);
        assert_eq!(words(&out), [7, 0, 3, 56, 0x5678_9abc, 32_768]);
    }
}
