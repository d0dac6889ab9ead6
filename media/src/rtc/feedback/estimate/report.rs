//! A viewer's transport-wide feedback, read where it lies.
//!
//! In: the body of an RTCP packet (RTPFB, format 15). Out: which packets arrived, when, and which did not. Pure, without
//! allocation; a report whose lengths lie is refused as a whole.
//! draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1.
//!
//! ```text
//! |                     SSRC of packet sender                     |
//! |                      SSRC of media source                     |
//! |      base sequence number     |      packet status count      |
//! |                 reference time                | fb pkt. count |
//! |          packet chunk         |         packet chunk          |
//! |    ...        | receive deltas, one or two bytes each, padding |
//! ```

use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report<'a> {
    /// The transport-wide number of the first packet that is spoken of.
    pub(super) base: u16,
    /// 64 ms each, modulo 2^24.
    pub(super) reference: u32,
    /// Of packets that are spoken of.
    pub(super) count: u16,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

/// What is said of one packet, or of several that are missing. Packets are named by their distance from the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    Missing(Range<u16>),
    /// Ticks of 250 µs since the reference time.
    Arrived {
        offset: u16,
        ticks: i64,
    },
    /// It arrived, and the viewer does not say when.
    Untimed(u16),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReportError {
    #[error("the report ends at {0} bytes, within its fixed part of {FIXED_BYTES}")]
    Short(usize),
    #[error("the chunks tell of {told} packets, the report promised {promised}")]
    Chunks { told: u16, promised: u16 },
    #[error("the arrivals take {needed} bytes, the report has {found}")]
    Deltas { needed: usize, found: usize },
    #[error("the report tells of {told} packets, of which {known} were sent")]
    Unsent { told: u16, known: u64 },
    #[error("the reports tell of {told} packets more than once too often")]
    Again { told: u16 },
}

const FIXED_BYTES: usize = 16;
const CHUNK_BYTES: usize = 2;
/// Two-bit symbols of a packet's status (section 3.1.1).
const MISSING: u8 = 0;
const SMALL_DELTA: u8 = 1;
const LARGE_DELTA: u8 = 2;

impl<'a> Report<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, ReportError> {
        let Some((fixed, rest)) = body.split_at_checked(FIXED_BYTES) else {
            return Err(ReportError::Short(body.len()));
        };
        let count = u16::from_be_bytes([fixed[10], fixed[11]]);
        let (mut told, mut chunks_end, mut needed) = (0_u16, 0, 0_usize);
        while told < count {
            let Some(&[high, low]) = rest.get(chunks_end..chunks_end + CHUNK_BYTES) else {
                return Err(ReportError::Chunks { told, promised: count });
            };
            chunks_end += CHUNK_BYTES;
            let chunk = Chunk::parse([high, low]);
            let packets = chunk.packets().min(count - told);
            needed += chunk.delta_bytes(packets);
            told += packets;
            // A run of nothing would be read for ever, were there bytes for ever; there are at most 64 KiB.
        }
        let deltas = &rest[chunks_end..];
        if deltas.len() < needed {
            return Err(ReportError::Deltas { needed, found: deltas.len() });
        }
        Ok(Self {
            base: u16::from_be_bytes([fixed[8], fixed[9]]),
            reference: u32::from_be_bytes([0, fixed[12], fixed[13], fixed[14]]),
            count,
            chunks: &rest[..chunks_end],
            deltas,
        })
    }

    /// In the order of the numbers.
    pub(super) fn statuses(&self) -> Statuses<'a> {
        Statuses { report: *self, chunk: Chunk::Run { symbol: MISSING, length: 0 }, within: 0, offset: 0, ticks: 0 }
    }
}

/// Walks a report.
#[derive(Debug)]
pub(super) struct Statuses<'a> {
    report: Report<'a>,
    chunk: Chunk,
    /// Packets of the chunk that were read.
    within: u16,
    offset: u16,
    ticks: i64,
}

impl Iterator for Statuses<'_> {
    type Item = Status;

    fn next(&mut self) -> Option<Status> {
        if self.offset >= self.report.count {
            return None;
        }
        while self.within >= self.chunk.packets() {
            let (&[high, low], rest) = self.report.chunks.split_first_chunk()?;
            self.report.chunks = rest;
            (self.chunk, self.within) = (Chunk::parse([high, low]), 0);
        }
        let offset = self.offset;
        if let Chunk::Run { symbol: MISSING, length } = self.chunk {
            let missing = (length - self.within).min(self.report.count - offset);
            self.within += missing;
            self.offset += missing;
            return Some(Status::Missing(offset..offset + missing));
        }
        let symbol = self.chunk.symbol(self.within);
        self.within += 1;
        self.offset += 1;
        let (ticks, rest) = match (symbol, self.report.deltas) {
            (MISSING, _) => return Some(Status::Missing(offset..offset + 1)),
            (SMALL_DELTA, &[delta, ref rest @ ..]) => (i64::from(delta), rest),
            (LARGE_DELTA, &[high, low, ref rest @ ..]) => (i64::from(i16::from_be_bytes([high, low])), rest),
            _ => return Some(Status::Untimed(offset)),
        };
        self.report.deltas = rest;
        self.ticks += ticks;
        Some(Status::Arrived { offset, ticks: self.ticks })
    }
}

/// Sections 3.1.3 and 3.1.4.
#[derive(Debug, Clone, Copy)]
enum Chunk {
    Run { symbol: u8, length: u16 },
    OneBit(u16),
    TwoBit(u16),
}

impl Chunk {
    fn parse(bytes: [u8; 2]) -> Self {
        let word = u16::from_be_bytes(bytes);
        match word >> 14 {
            0 | 1 => Self::Run { symbol: (word >> 13) as u8, length: word & 0x1fff },
            2 => Self::OneBit(word & 0x3fff),
            _ => Self::TwoBit(word & 0x3fff),
        }
    }

    fn packets(self) -> u16 {
        match self {
            Self::Run { length, .. } => length,
            Self::OneBit(_) => 14,
            Self::TwoBit(_) => 7,
        }
    }

    fn symbol(self, at: u16) -> u8 {
        match self {
            Self::Run { symbol, .. } => symbol,
            Self::OneBit(bits) => (bits >> (13 - at) & 1) as u8,
            Self::TwoBit(bits) => (bits >> (12 - 2 * at) & 3) as u8,
        }
    }

    /// Bytes of the arrival times of its first packets.
    fn delta_bytes(self, packets: u16) -> usize {
        let bytes = |symbol| match symbol {
            SMALL_DELTA => 1,
            LARGE_DELTA => 2,
            _ => 0,
        };
        match self {
            Self::Run { symbol, .. } => usize::from(packets) * bytes(symbol),
            Self::OneBit(_) | Self::TwoBit(_) => (0..packets).map(|at| bytes(self.symbol(at))).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A body with its fixed part, chunks and deltas.
    fn body(base: u16, count: u16, chunks: &[u16], deltas: &[u8]) -> Vec<u8> {
        let mut body = vec![0, 0, 0, 1, 0, 0, 0, 2];
        body.extend_from_slice(&base.to_be_bytes());
        body.extend_from_slice(&count.to_be_bytes());
        body.extend_from_slice(&[0xff, 0xff, 0xfe, 9]);
        chunks.iter().for_each(|chunk| body.extend_from_slice(&chunk.to_be_bytes()));
        body.extend_from_slice(deltas);
        body
    }

    #[test]
    fn every_kind_of_chunk_is_read_in_order() {
        let chunks = [0x2002, 0x0003, 0b1010_0000_0000_0000, 0b1110_0100_1100_0000];
        let body = body(65_534, 23, &chunks, &[4, 8, 1, 0xff, 0xfe, 7, 0, 0]);
        let report = Report::parse(&body).unwrap();
        assert_eq!((report.base, report.reference), (65_534, 0xff_fffe));
        let timed = |status: &Status| !matches!(status, Status::Missing(_));
        let told: Vec<_> = report.statuses().filter(timed).collect();
        let arrived = |offset, ticks| Status::Arrived { offset, ticks };
        let expected = [arrived(0, 4), arrived(1, 12), arrived(5, 13), arrived(19, 11), arrived(20, 18)];
        assert_eq!(told[..5], expected);
        assert_eq!(told[5..], [Status::Untimed(22)]);
        let missing: u16 = report
            .statuses()
            .filter_map(|s| if let Status::Missing(m) = s { Some(m.end - m.start) } else { None })
            .sum();
        assert_eq!(missing, 3 + 13 + 1);
    }

    #[test]
    fn lengths_that_lie_are_refused_with_the_reason() {
        let good = body(1, 2, &[0x2002], &[4, 8]);
        assert!(Report::parse(&good).is_ok());
        assert_eq!(Report::parse(&[]), Err(ReportError::Short(0)));
        assert_eq!(Report::parse(&good[..15]), Err(ReportError::Short(15)));
        assert_eq!(Report::parse(&good[..17]), Err(ReportError::Chunks { told: 0, promised: 2 }));
        assert_eq!(Report::parse(&good[..19]), Err(ReportError::Deltas { needed: 2, found: 1 }));
        let all = body(1, 65_535, &[0x3fff; 9], &[0; 1_400]);
        assert_eq!(Report::parse(&all), Err(ReportError::Deltas { needed: 65_535, found: 1_400 }));
        let runs_of_nothing = body(1, 9, &[0x2000; 700], &[]);
        assert_eq!(Report::parse(&runs_of_nothing), Err(ReportError::Chunks { told: 0, promised: 9 }));
        let lost = body(1, 65_535, &[0x1fff; 9], &[]);
        assert_eq!(Report::parse(&lost).unwrap().statuses().count(), 9, "many missing packets are few steps");
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_walked_to_the_promised_count(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(report) = Report::parse(&bytes) {
                let mut next = 0;
                for status in report.statuses() {
                    let told = match status {
                        Status::Missing(missing) => missing,
                        Status::Arrived { offset, .. } | Status::Untimed(offset) => offset..offset + 1,
                    };
                    prop_assert_eq!(told.start, next);
                    next = told.end;
                }
                prop_assert_eq!(next, report.count);
            }
        }
    }
}
