//! In: transport-wide sequence numbers of a publisher's packets with their time of arrival. Out: a feedback packet every
//! 100 ms, from which the publisher estimates its uplink. Driven by the worker, one per peer.
//! draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1.

use crate::model::CounterUnwrapper;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, RunLengthChunk, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc,
    SymbolTypeTcc, TransportLayerCc,
};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What mediasoup sends at; a faster rhythm pays above 3 Mbit/s only.
const INTERVAL: Duration = Duration::from_millis(100);
/// Arrivals already reported are kept so long: a packet that comes late makes its neighbours be reported once more,
/// for a gap in a later report would read as their loss.
const KEPT_FOR: Duration = Duration::from_millis(500);
/// Deltas take two bytes at most: with 400 of them a report fits a packet of 1 200 bytes.
const MAX_ARRIVALS_PER_REPORT: usize = 400;
/// 500 ms of 80 Mbit/s. Beyond it the oldest are forgotten.
const MAX_ARRIVALS: usize = 4_096;
/// Farther jumps are a publisher that started over.
const MAX_JUMP: i64 = 8_192;
const TICK_MICROS: u64 = 250;
/// Reference time counts in 64 ms.
const TICKS_PER_REFERENCE: i64 = 256;

/// Records arrivals and writes the feedback.
#[derive(Debug)]
pub(crate) struct TwccRecorder {
    sender_ssrc: u32,
    /// The publisher's, of its newest packet: browsers pass over reports about sources that are not theirs.
    media_ssrc: u32,
    origin: Instant,
    unwrapper: CounterUnwrapper<16>,
    /// Arrival in 250 µs ticks since `origin`, by sequence number; both reported and not.
    arrivals: BTreeMap<i64, i64>,
    /// The first number the next report speaks of.
    next: Option<i64>,
    /// Whether anything at or after `next` has arrived.
    due: Option<Instant>,
    feedback_count: u8,
}

impl TwccRecorder {
    /// `sender_ssrc` is ours; `now` is the origin of the reported clock.
    pub(crate) fn new(now: Instant, sender_ssrc: u32) -> Self {
        Self {
            sender_ssrc,
            media_ssrc: 0,
            origin: now,
            unwrapper: CounterUnwrapper::default(),
            arrivals: BTreeMap::new(),
            next: None,
            due: None,
            feedback_count: 0,
        }
    }

    /// A packet of `ssrc` arrived. The first arrival of a number counts.
    pub(crate) fn received(&mut self, now: Instant, ssrc: u32, seq: u16) {
        self.media_ssrc = ssrc;
        let number = self.unwrapper.unwrap_counter(seq.into());
        let tick = (now.saturating_duration_since(self.origin).as_micros() as u64 / TICK_MICROS) as i64;
        let next = self.next.unwrap_or(number);
        if (number - next).abs() > MAX_JUMP {
            self.arrivals.clear();
            self.next = Some(number);
        } else {
            // A late one reopens the range from itself on, as far back as arrivals are still known.
            let known_from = self.arrivals.keys().next().copied().unwrap_or(number).min(next);
            if number < known_from && self.next.is_some() {
                return;
            }
            self.next = Some(next.min(number));
        }
        self.arrivals.entry(number).or_insert(tick);
        if self.arrivals.len() > MAX_ARRIVALS
            && let Some((oldest, _)) = self.arrivals.pop_first()
        {
            self.next = self.next.map(|next| next.max(oldest + 1));
        }
        self.due.get_or_insert(now + INTERVAL);
    }

    /// The feedback due now; call until there is none, for what does not fit one packet follows in another.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<TransportLayerCc> {
        let due = self.due.filter(|due| *due <= now)?;
        let base = self.next?;
        let Some((&first, &first_tick)) = self.arrivals.range(base..).next() else {
            self.due = None;
            return None;
        };
        let reference = first_tick.div_euclid(TICKS_PER_REFERENCE);
        let mut symbols = vec![SymbolTypeTcc::PacketNotReceived; (first - base) as usize];
        let mut recv_deltas = Vec::new();
        let mut last_tick = reference * TICKS_PER_REFERENCE;
        let mut end = base;
        for (&number, &tick) in self.arrivals.range(base..).take(MAX_ARRIVALS_PER_REPORT) {
            let ticks = tick - last_tick;
            if i16::try_from(ticks).is_err() {
                break; // more than 8 s apart: a later report has its own reference time
            }
            let small = u8::try_from(ticks).is_ok();
            let type_tcc_packet =
                if small { SymbolTypeTcc::PacketReceivedSmallDelta } else { SymbolTypeTcc::PacketReceivedLargeDelta };
            symbols.resize((number - base) as usize, SymbolTypeTcc::PacketNotReceived);
            symbols.push(type_tcc_packet);
            recv_deltas.push(RecvDelta { type_tcc_packet, delta: ticks * TICK_MICROS as i64 });
            last_tick = tick;
            end = number + 1;
        }
        self.next = Some(end);
        let more = self.arrivals.range(end..).next().is_some();
        self.due = more.then_some(due);
        self.forget(now, end);
        let feedback_count = self.feedback_count;
        self.feedback_count = feedback_count.wrapping_add(1);
        Some(TransportLayerCc {
            sender_ssrc: self.sender_ssrc,
            media_ssrc: self.media_ssrc,
            base_sequence_number: base as u16,
            packet_status_count: symbols.len() as u16,
            reference_time: (reference & 0x00FF_FFFF) as u32,
            fb_pkt_count: feedback_count,
            packet_chunks: chunks(&symbols),
            recv_deltas,
        })
    }

    fn forget(&mut self, now: Instant, reported_to: i64) {
        let Some(limit) = now.checked_sub(KEPT_FOR) else { return };
        let limit = (limit.saturating_duration_since(self.origin).as_micros() as u64 / TICK_MICROS) as i64;
        while let Some(oldest) = self.arrivals.first_entry()
            && *oldest.key() < reported_to
            && *oldest.get() < limit
        {
            oldest.remove();
        }
    }
}

const RUN_MAX: usize = 0x1FFF;
const ONE_BIT_SYMBOLS: usize = 14;
const TWO_BIT_SYMBOLS: usize = 7;

/// Run lengths where they save something, else vectors of one bit per packet, or of two where a delta is large
/// (sections 3.1.3 and 3.1.4).
fn chunks(mut symbols: &[SymbolTypeTcc]) -> Vec<PacketStatusChunk> {
    let mut chunks = Vec::new();
    while let Some(&symbol) = symbols.first() {
        let run = symbols.iter().take(RUN_MAX).take_while(|other| **other == symbol).count();
        let window = &symbols[..symbols.len().min(ONE_BIT_SYMBOLS)];
        let large = window.contains(&SymbolTypeTcc::PacketReceivedLargeDelta);
        let vector_len = if large { TWO_BIT_SYMBOLS } else { ONE_BIT_SYMBOLS }.min(symbols.len());
        let (chunk, taken) = if run >= vector_len {
            let run_length = run as u16;
            let chunk = RunLengthChunk {
                type_tcc: StatusChunkTypeTcc::RunLengthChunk,
                packet_status_symbol: symbol,
                run_length,
            };
            (PacketStatusChunk::RunLengthChunk(chunk), run)
        } else {
            let chunk = StatusVectorChunk {
                type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
                symbol_size: if large { SymbolSizeTypeTcc::TwoBit } else { SymbolSizeTypeTcc::OneBit },
                symbol_list: symbols[..vector_len].to_vec(),
            };
            (PacketStatusChunk::StatusVectorChunk(chunk), vector_len)
        };
        chunks.push(chunk);
        symbols = &symbols[taken..];
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc::shared::marshal::{Marshal, Unmarshal};

    /// One packet of a feedback report: its number, and its arrival in microseconds since some fixed point of the
    /// receiver's clock (modulo 2^24 × 64 ms), or nothing when it has not arrived.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct TwccStatus {
        /// Transport-wide sequence number.
        seq: u16,
        /// Microseconds.
        arrival_micros: Option<i64>,
    }

    /// Reads a feedback report packet by packet. Lengths that lie end the walk early.
    fn statuses(feedback: &TransportLayerCc) -> impl Iterator<Item = TwccStatus> + '_ {
        let symbols = feedback.packet_chunks.iter().flat_map(|chunk| {
            let (run, list): (usize, &[SymbolTypeTcc]) = match chunk {
                PacketStatusChunk::RunLengthChunk(run) => {
                    (run.run_length.into(), std::slice::from_ref(&run.packet_status_symbol))
                }
                PacketStatusChunk::StatusVectorChunk(vector) => (1, &vector.symbol_list),
            };
            list.iter().flat_map(move |symbol| std::iter::repeat_n(*symbol, run))
        });
        let mut deltas = feedback.recv_deltas.iter();
        let mut clock = i64::from(feedback.reference_time) * TICKS_PER_REFERENCE * TICK_MICROS as i64;
        symbols.take(feedback.packet_status_count.into()).enumerate().map_while(move |(i, symbol)| {
            let arrival_micros = match symbol {
                SymbolTypeTcc::PacketNotReceived | SymbolTypeTcc::PacketReceivedWithoutDelta => None,
                SymbolTypeTcc::PacketReceivedSmallDelta | SymbolTypeTcc::PacketReceivedLargeDelta => {
                    clock += deltas.next()?.delta;
                    Some(clock)
                }
            };
            Some(TwccStatus { seq: feedback.base_sequence_number.wrapping_add(i as u16), arrival_micros })
        })
    }

    const MS: Duration = Duration::from_millis(1);

    /// Over the wire and back, as (sequence, milliseconds of arrival).
    fn read(feedback: &TransportLayerCc) -> Vec<(u16, Option<i64>)> {
        let wire = feedback.marshal().unwrap();
        assert!(wire.len() <= 1_200 && wire.len().is_multiple_of(4), "{} bytes", wire.len());
        let parsed = TransportLayerCc::unmarshal(&mut wire.clone()).unwrap();
        assert_eq!(parsed.packet_status_count, feedback.packet_status_count);
        assert_eq!(parsed.recv_deltas, feedback.recv_deltas);
        statuses(&parsed).map(|status| (status.seq, status.arrival_micros.map(|micros| micros / 1_000))).collect()
    }

    #[test]
    fn arrivals_losses_and_the_wrap_are_reported_after_100_ms() {
        let start = Instant::now();
        let mut recorder = TwccRecorder::new(start, 1);
        for (ms, seq) in [(10, 65_534), (11, 65_535), (15, 1), (90, 2)] {
            recorder.received(start + ms * MS, 2, seq);
        }
        assert_eq!(recorder.poll(start + 109 * MS), None);
        let feedback = recorder.poll(start + 110 * MS).unwrap();
        assert_eq!((feedback.sender_ssrc, feedback.media_ssrc), (1, 2));
        let expected = [(65_534, Some(10)), (65_535, Some(11)), (0, None), (1, Some(15)), (2, Some(90))];
        assert_eq!(read(&feedback), expected);
        assert_eq!((recorder.poll(start + 300 * MS), recorder.due), (None, None));

        recorder.received(start + 310 * MS, 2, 4);
        let feedback = recorder.poll(start + 410 * MS).unwrap();
        assert_eq!(read(&feedback), [(3, None), (4, Some(310))], "what was lost between reports is lost too");
        assert_eq!(feedback.fb_pkt_count, 1);
    }

    #[test]
    fn a_late_packet_makes_its_neighbours_be_reported_again() {
        let start = Instant::now();
        let mut recorder = TwccRecorder::new(start, 1);
        for seq in [10, 12, 13] {
            recorder.received(start + 5 * MS, 2, seq);
        }
        recorder.poll(start + 105 * MS).unwrap();
        recorder.received(start + 120 * MS, 2, 11);
        recorder.received(start + 121 * MS, 2, 14);
        let feedback = recorder.poll(start + 220 * MS).unwrap();
        assert_eq!(read(&feedback), [(11, Some(120)), (12, Some(5)), (13, Some(5)), (14, Some(121))]);
    }

    #[test]
    fn large_and_negative_deltas_take_two_bytes() {
        let start = Instant::now();
        let mut recorder = TwccRecorder::new(start, 1);
        for (ms, seq) in [(1_000, 1), (1_090, 3), (1_010, 2), (1_091, 4)] {
            recorder.received(start + ms * MS, 2, seq);
        }
        let feedback = recorder.poll(start + 1_100 * MS).unwrap();
        assert_eq!(read(&feedback), [(1, Some(1_000)), (2, Some(1_010)), (3, Some(1_090)), (4, Some(1_091))]);
    }

    #[test]
    fn many_packets_take_several_reports_and_long_losses_few_bytes() {
        let start = Instant::now();
        let mut recorder = TwccRecorder::new(start, 1);
        for seq in 0..1_000 {
            recorder.received(start + MS, 2, seq);
        }
        recorder.received(start + 2 * MS, 2, 6_000);
        let now = start + 101 * MS;
        let reports: Vec<_> = std::iter::from_fn(|| recorder.poll(now)).map(|feedback| read(&feedback)).collect();
        assert_eq!(reports.len(), 3);
        let all = reports.concat();
        assert_eq!(all.len(), 6_001);
        assert_eq!(all.iter().filter(|(_, arrival)| arrival.is_some()).count(), 1_001);
        assert!(all.iter().enumerate().all(|(i, (seq, _))| i == usize::from(*seq)));
    }

    #[test]
    fn silence_of_more_than_eight_seconds_starts_a_new_reference() {
        let start = Instant::now();
        let mut recorder = TwccRecorder::new(start, 1);
        recorder.received(start, 2, 1);
        recorder.received(start + 9_000 * MS, 2, 2);
        let now = start + 9_100 * MS;
        let reports: Vec<_> = std::iter::from_fn(|| recorder.poll(now)).map(|feedback| read(&feedback)).collect();
        assert_eq!(reports, [[(1, Some(0))], [(2, Some(9_000))]]);
    }

    #[test]
    fn memory_stays_bounded_without_polling_and_a_jump_starts_over() {
        let start = Instant::now();
        let mut recorder = TwccRecorder::new(start, 1);
        for number in 0..70_000_u32 {
            recorder.received(start, 2, number as u16);
        }
        assert!(recorder.arrivals.len() <= MAX_ARRIVALS);
        recorder.received(start, 2, 40_000);
        let feedback = recorder.poll(start + 100 * MS).unwrap();
        assert_eq!(read(&feedback), [(40_000, Some(0))]);
    }

    #[test]
    fn lengths_that_lie_end_the_walk() {
        let run = |run_length| {
            PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                packet_status_symbol: SymbolTypeTcc::PacketReceivedSmallDelta,
                run_length,
                ..Default::default()
            })
        };
        let lying = TransportLayerCc {
            packet_status_count: 60_000,
            packet_chunks: vec![run(8_191), run(0)],
            recv_deltas: vec![RecvDelta::default(); 3],
            ..Default::default()
        };
        assert_eq!(statuses(&lying).count(), 3);
    }
}
