//! The RTCP that is exchanged with viewers and publishers, read and written without allocation.
//!
//! In: decrypted compound packets. Out: [`Feedback`] and [`Block`]s, sender reports, keyframe requests, NACKs.
//! RFC 3550 section 6, RFC 4585 section 6, RFC 5104 section 4.3.1.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// NTP time in 32.32 bits (RFC 3550 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NtpTime(pub(crate) u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SenderReport {
    pub(crate) ssrc: u32,
    pub(crate) ntp: NtpTime,
    pub(crate) rtp_timestamp: u32,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
}

/// What a receiver of ours says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Feedback<'a> {
    Nack {
        media_ssrc: u32,
        sequences: NackSequences<'a>,
    },
    /// PLI or FIR.
    KeyframeRequest {
        media_ssrc: u32,
    },
    RoundTrip(Duration),
    /// When packets arrived: the body of a transport-wide report.
    Arrivals(&'a [u8]),
    Other,
}

/// The sequence numbers of a generic NACK (RFC 4585 section 6.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NackSequences<'a> {
    pairs: &'a [u8],
    base: u16,
    mask: u16,
}

/// One packet of a compound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    pub(crate) count: u8,
    pub(crate) kind: u8,
    /// Behind the four-byte header.
    pub(crate) body: &'a [u8],
}

pub(crate) const SENDER_REPORT: u8 = 200;
pub(crate) const RECEIVER_REPORT: u8 = 201;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
const FORMAT_NACK: u8 = 1;
const FORMAT_TRANSPORT_CC: u8 = 15;
const FORMAT_PLI: u8 = 1;
const FORMAT_FIR: u8 = 4;
const RECEPTION_BLOCK_BYTES: usize = 24;
/// Seconds from 1900 to 1970.
const NTP_UNIX_OFFSET: u64 = 2_208_988_800;
/// A packet in one pair of a NACK: the named one and sixteen behind it.
const NACK_PAIR_SPAN: u16 = 16;

impl From<SystemTime> for NtpTime {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        Self(((since.as_secs() + NTP_UNIX_OFFSET) << 32) | fraction)
    }
}

impl NtpTime {
    /// Microseconds since 1900.
    pub(crate) fn as_micros(self) -> i64 {
        let fraction = ((self.0 & 0xffff_ffff) * 1_000_000) >> 32;
        ((self.0 >> 32) * 1_000_000 + fraction) as i64
    }

    /// The middle 32 bits, as reports name it.
    pub(crate) fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

impl SenderReport {
    /// Appends the report, without reception blocks.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0x80, SENDER_REPORT, 0, 6]);
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&self.ntp.0.to_be_bytes());
        out.extend_from_slice(&self.rtp_timestamp.to_be_bytes());
        out.extend_from_slice(&self.packets.to_be_bytes());
        out.extend_from_slice(&self.octets.to_be_bytes());
    }

    /// Reads the body of a sender report.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let word =
            |at: usize| body.get(at..at + 4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        let ntp = NtpTime((u64::from(word(4)?) << 32) | u64::from(word(8)?));
        Some(Self { ssrc: word(0)?, ntp, rtp_timestamp: word(12)?, packets: word(16)?, octets: word(20)? })
    }
}

/// Appends a receiver report (RFC 3550 section 6.4.2). `blocks` appends a reception block per source, at most 31.
pub(crate) fn write_receiver_report(out: &mut Vec<u8>, sender_ssrc: u32, blocks: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0x80, RECEIVER_REPORT, 0, 0]);
    out.extend_from_slice(&sender_ssrc.to_be_bytes());
    let head = out.len();
    blocks(out);
    out[start] |= ((out.len() - head) / RECEPTION_BLOCK_BYTES) as u8;
    let words = ((out.len() - start) / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

/// Appends a picture loss indication (RFC 4585 section 6.3.1).
pub(crate) fn write_pli(out: &mut Vec<u8>, sender_ssrc: u32, media_ssrc: u32) {
    out.extend_from_slice(&[0x80 | FORMAT_PLI, PAYLOAD_FEEDBACK, 0, 2]);
    out.extend_from_slice(&sender_ssrc.to_be_bytes());
    out.extend_from_slice(&media_ssrc.to_be_bytes());
}

/// Appends a generic NACK for `sequences`, which are in order. At most 64 pairs: what is beyond is asked for next time.
pub(crate) fn write_nack(out: &mut Vec<u8>, sender_ssrc: u32, media_ssrc: u32, sequences: &[u16]) {
    let start = out.len();
    out.extend_from_slice(&[0x80 | FORMAT_NACK, TRANSPORT_FEEDBACK, 0, 0]);
    out.extend_from_slice(&sender_ssrc.to_be_bytes());
    out.extend_from_slice(&media_ssrc.to_be_bytes());
    let (mut pairs, mut rest) = (0_u16, sequences);
    while let (Some((&base, behind)), true) = (rest.split_first(), pairs < 64) {
        let within = behind.iter().take_while(|&&next| (1..=NACK_PAIR_SPAN).contains(&next.wrapping_sub(base))).count();
        let mask = behind[..within].iter().fold(0_u16, |mask, next| mask | 1 << (next.wrapping_sub(base) - 1));
        out.extend_from_slice(&base.to_be_bytes());
        out.extend_from_slice(&mask.to_be_bytes());
        rest = &behind[within..];
        pairs += 1;
    }
    out[start + 2..start + 4].copy_from_slice(&(pairs + 2).to_be_bytes());
}

/// The packets of a compound; ends at the first that is not whole.
pub(crate) fn blocks(mut compound: &[u8]) -> impl Iterator<Item = Block<'_>> {
    std::iter::from_fn(move || {
        let &[first, kind, high, low, ..] = compound else { return None };
        let length = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        if first >> 6 != 2 || compound.len() < length {
            return None;
        }
        let block = Block { count: first & 0x1f, kind, body: &compound[4..length] };
        compound = &compound[length..];
        Some(block)
    })
}

impl<'a> Block<'a> {
    /// What it means to a sender. `now`: for the round trip.
    pub(crate) fn feedback(&self, now: NtpTime) -> Feedback<'a> {
        let word = |at: usize| {
            self.body.get(at..at + 4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        match (self.kind, self.count, word(4)) {
            (TRANSPORT_FEEDBACK, FORMAT_NACK, Some(media_ssrc)) => {
                let pairs = &self.body[8..];
                Feedback::Nack { media_ssrc, sequences: NackSequences { pairs, base: 0, mask: 0 } }
            }
            (TRANSPORT_FEEDBACK, FORMAT_TRANSPORT_CC, _) => Feedback::Arrivals(self.body),
            (PAYLOAD_FEEDBACK, FORMAT_PLI, Some(media_ssrc)) => Feedback::KeyframeRequest { media_ssrc },
            // FIR names the source in its own entries (RFC 5104 section 4.3.1.1).
            (PAYLOAD_FEEDBACK, FORMAT_FIR, Some(_)) => match word(8) {
                Some(media_ssrc) => Feedback::KeyframeRequest { media_ssrc },
                None => Feedback::Other,
            },
            // The first reception block starts at 4; its last report and delay stand at 20 and 24.
            (RECEIVER_REPORT, 1.., Some(_)) => match (word(20), word(24)) {
                (Some(last), Some(delay)) if last != 0 => {
                    let trip = now.middle().wrapping_sub(last).wrapping_sub(delay);
                    let trip = Duration::from_micros(u64::from(trip) * 1_000_000 / 65_536);
                    // A clock that is off makes nonsense; two seconds is longer than any path that still works.
                    if trip <= Duration::from_secs(2) { Feedback::RoundTrip(trip) } else { Feedback::Other }
                }
                _ => Feedback::Other,
            },
            _ => Feedback::Other,
        }
    }
}

impl Iterator for NackSequences<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if self.mask != 0 {
            let bit = self.mask.trailing_zeros() as u16;
            self.mask &= self.mask - 1;
            return Some(self.base.wrapping_add(bit + 1));
        }
        let &[a, b, c, d, ref rest @ ..] = self.pairs else { return None };
        self.pairs = rest;
        (self.base, self.mask) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        Some(self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nack_names_the_same_packets_after_writing_and_reading() {
        let lost = [65_530_u16, 65_535, 0, 3, 10, 11, 500];
        let mut out = Vec::new();
        write_nack(&mut out, 1, 42, &lost);
        let block = blocks(&out).next().unwrap();
        let Feedback::Nack { media_ssrc, sequences } = block.feedback(NtpTime(0)) else { panic!("{block:?}") };
        assert_eq!((media_ssrc, sequences.collect::<Vec<_>>()), (42, lost.to_vec()));
    }

    #[test]
    fn a_report_is_read_as_written_and_its_round_trip_is_measured() {
        let at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
        let report = SenderReport { ssrc: 7, ntp: at.into(), rtp_timestamp: 9, packets: 3, octets: 4 };
        let mut out = Vec::new();
        report.write(&mut out);
        let block = blocks(&out).next().unwrap();
        assert_eq!((block.kind, SenderReport::parse(block.body)), (SENDER_REPORT, Some(report)));

        let mut answer = vec![0x81, RECEIVER_REPORT, 0, 7];
        answer.extend_from_slice(&[0; 20]);
        answer.extend_from_slice(&report.ntp.middle().to_be_bytes());
        answer.extend_from_slice(&(65_536_u32 / 10).to_be_bytes());
        let now = NtpTime::from(at + Duration::from_millis(150));
        let Feedback::RoundTrip(trip) = blocks(&answer).next().unwrap().feedback(now) else { panic!("no round trip") };
        assert!((49..=51).contains(&trip.as_millis()), "{trip:?}");
    }

    #[test]
    fn lying_lengths_end_the_compound() {
        for bytes in [&[][..], &[0x80], &[0x80, 201, 0, 9, 1, 2], &[0x40, 201, 0, 0], &[0x81, 206, 0, 0]] {
            for block in blocks(bytes) {
                assert_eq!(block.feedback(NtpTime(0)), Feedback::Other);
            }
        }
    }
}
