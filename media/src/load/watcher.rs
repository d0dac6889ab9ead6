//! A viewer: counts what comes, reports on it and asks for what is missing, as a browser does.
//!
//! In: SRTP and SRTCP of the server, the clock. Out: reports (RFC 3550 section 6.4.2), NACKs and PLIs (RFC 4585), transport
//! feedback where it was agreed on; the figures. Pure. Numbers stand in the clear, so a packet is opened only up to the
//! first keyframe, when it is a retransmission, or when every packet of this viewer is to be proved authentic.

use super::answer::{Agreed, AgreedLane};
use super::report::LaneReport;
use super::window::Window;
use crate::rtc::feedback::nack::NackGenerator;
use crate::rtc::feedback::reception::{Counted, Reception};
use crate::rtc::feedback::twcc::TwccRecorder;
use crate::rtc::outlet::Outlet;
use crate::rtc::rtcp::{SENDER_REPORT, SenderReport, blocks, write_nack, write_pli, write_receiver_report};
use crate::rtc::srtp::Opener;
use crate::rtp::header::{RtpHeader, extensions};
use crate::whep::burst::Lane;
use rtc::shared::marshal::Marshal;
use std::time::{Duration, Instant};

pub(super) struct Watcher {
    lanes: Vec<Received>,
    ssrc: u32,
    verify_all: bool,
    transport_cc: Option<(u8, TwccRecorder)>,
    pub(super) first_packet: Option<Instant>,
    pub(super) first_keyframe: Option<Instant>,
    pub(super) verified: u64,
    pub(super) forged: u64,
    pub(super) keyframe_requests: u64,
    reported: Instant,
    requested: Option<Instant>,
    /// The packet under work, opened.
    packet: Vec<u8>,
}

/// One track.
struct Received {
    agreed: AgreedLane,
    source: Option<Source>,
    report: LaneReport,
}

struct Source {
    ssrc: u32,
    window: Window,
    nack: NackGenerator,
    reception: Reception,
}

const REPORT_EVERY: Duration = Duration::from_secs(1);
/// A picture that cannot be decoded is asked for again once a second, and first when this long without one.
const KEYFRAME_PATIENCE: Duration = Duration::from_millis(300);
const SOURCE_DESCRIPTION: u8 = 202;
const CNAME: &[u8] = b"bench";

impl Watcher {
    pub(super) fn new(agreed: &Agreed, verify_all: bool, now: Instant) -> Self {
        let ssrc = agreed.sources.video;
        let transport_cc = agreed.lanes.iter().find_map(|lane| lane.transport_cc);
        let lane =
            |agreed: &AgreedLane| Received { agreed: agreed.clone(), source: None, report: LaneReport::default() };
        Self {
            lanes: agreed.lanes.iter().map(lane).collect(),
            ssrc,
            verify_all,
            transport_cc: transport_cc.map(|id| (id, TwccRecorder::new(now, ssrc))),
            first_packet: None,
            first_keyframe: None,
            verified: 0,
            forged: 0,
            keyframe_requests: 0,
            reported: now,
            requested: None,
            packet: Vec::with_capacity(2_048),
        }
    }

    pub(super) fn rtp(&mut self, now: Instant, sealed: &[u8], opener: &mut Opener) {
        let &[_, kind, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3, ..] = sealed else { return };
        let (kind, sequence) = (kind & 0x7f, u16::from_be_bytes([s0, s1]));
        let (timestamp, ssrc) = (u32::from_be_bytes([t0, t1, t2, t3]), u32::from_be_bytes([r0, r1, r2, r3]));
        let place = self.lanes.iter().enumerate().find_map(|(at, lane)| {
            let known = |(media, rtx): &(u8, Option<u8>)| match kind {
                _ if kind == *media => Some((at, false)),
                _ if Some(kind) == *rtx => Some((at, true)),
                _ => None,
            };
            lane.agreed.payload_types.iter().find_map(known)
        });
        let Some((at, is_rtx)) = place else { return };
        if let Some((id, recorder)) = &mut self.transport_cc
            && let Some((_, &[high, low])) = extensions(sealed).find(|(one, _)| one == id)
        {
            recorder.received(now, ssrc, u16::from_be_bytes([high, low]));
        }
        let awaits_keyframe = self.first_keyframe.is_none() && self.lanes[at].agreed.lane == Lane::Video;
        let payload = if self.verify_all || awaits_keyframe || is_rtx {
            match self.open(sealed, opener) {
                Some(payload) => Some(payload),
                None => return,
            }
        } else {
            None
        };
        self.first_packet.get_or_insert(now);
        let lane = &mut self.lanes[at];
        lane.report.packets += 1;
        lane.report.bytes += sealed.len() as u64;
        if is_rtx {
            // The number it was lost under stands in front (RFC 4588 section 4).
            let original = payload.and_then(|range| self.packet.get(range)?.first_chunk::<2>().copied());
            if let (Some(source), Some(original)) = (&mut lane.source, original) {
                let original = u16::from_be_bytes(original);
                source.nack.received(now, original);
                if source.window.note(original) {
                    lane.report.resent += 1;
                }
            }
            return;
        }
        if awaits_keyframe && payload.is_some_and(|range| begins_keyframe(&self.packet[range])) {
            self.first_keyframe = Some(now);
        }
        match lane.source.as_mut().filter(|source| source.ssrc == ssrc) {
            Some(source) => {
                source.window.note(sequence);
                source.nack.received(now, sequence);
            }
            None => lane.begin(ssrc, sequence, now),
        }
        let rate = f64::from(lane.agreed.lane.clock_rate());
        if let Some(source) = &mut lane.source {
            source.reception.arrived(timestamp, rate, now);
        }
    }

    /// Where the payload of an authentic packet stands in `self.packet`.
    fn open(&mut self, sealed: &[u8], opener: &mut Opener) -> Option<std::ops::Range<usize>> {
        self.packet.clear();
        self.packet.extend_from_slice(sealed);
        if opener.open_rtp(&mut self.packet).is_err() {
            self.forged += 1;
            return None;
        }
        self.verified += 1;
        RtpHeader::parse(&self.packet).map(|header| header.payload)
    }

    pub(super) fn rtcp(&mut self, now: Instant, sealed: &[u8], opener: &mut Opener) {
        self.packet.clear();
        self.packet.extend_from_slice(sealed);
        if opener.open_rtcp(&mut self.packet).is_err() {
            self.forged += 1;
            return;
        }
        for report in blocks(&self.packet).filter(|block| block.kind == SENDER_REPORT) {
            let Some(report) = SenderReport::parse(report.body) else { continue };
            let sources = self.lanes.iter_mut().filter_map(|lane| lane.source.as_mut());
            for source in sources.filter(|source| source.ssrc == report.ssrc) {
                source.reception.sender_report(&report, now);
            }
        }
    }

    /// Sends what is due.
    pub(super) fn poll(&mut self, now: Instant, rtt: Duration, out: &mut Outlet<'_>) {
        let ssrc = self.ssrc;
        for lane in self.lanes.iter_mut().filter(|lane| lane.agreed.lane == Lane::Video) {
            let Some(source) = &mut lane.source else { continue };
            let missing = source.nack.poll(now, rtt);
            if !missing.is_empty() {
                lane.report.asked += missing.len() as u64;
                out.rtcp(|arena| write_nack(arena, ssrc, source.ssrc, &missing));
            }
            let blind = self.first_keyframe.is_none()
                && self.first_packet.is_some_and(|first| now.duration_since(first) >= KEYFRAME_PATIENCE)
                && self.requested.is_none_or(|at| now.duration_since(at) >= REPORT_EVERY);
            if blind {
                self.requested = Some(now);
                self.keyframe_requests += 1;
                out.rtcp(|arena| write_pli(arena, ssrc, source.ssrc));
            }
        }
        if let Some((_, recorder)) = &mut self.transport_cc {
            while let Some(feedback) = recorder.poll(now) {
                if let Ok(feedback) = feedback.marshal() {
                    out.rtcp(|arena| arena.extend_from_slice(&feedback));
                }
            }
        }
        if now.duration_since(self.reported) >= REPORT_EVERY {
            self.reported = now;
            out.rtcp(|arena| self.write_report(now, arena));
        }
    }

    /// A receiver report and, as a compound must have, who sends it (RFC 3550 sections 6.4.2 and 6.5).
    fn write_report(&mut self, now: Instant, out: &mut Vec<u8>) {
        let sources = self.lanes.iter_mut().filter_map(|lane| lane.source.as_mut());
        write_receiver_report(out, self.ssrc, |out| sources.for_each(|source| source.write_block(now, out)));
        out.extend_from_slice(&[0x81, SOURCE_DESCRIPTION, 0, 3]);
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&[1, CNAME.len() as u8]);
        out.extend_from_slice(CNAME);
        out.push(0);
    }

    pub(super) fn report(&self, lane: Lane) -> LaneReport {
        self.lanes.iter().find(|received| received.agreed.lane == lane).map_or(LaneReport::default(), Received::figures)
    }
}

impl Received {
    /// A source that is new, or one that took over; what the old one lacked stays lost.
    fn begin(&mut self, ssrc: u32, sequence: u16, now: Instant) {
        self.report = self.figures();
        let mut nack = NackGenerator::default();
        nack.received(now, sequence);
        self.source = Some(Source { ssrc, window: Window::new(sequence), nack, reception: Reception::default() });
    }

    fn figures(&self) -> LaneReport {
        let Some(Source { window, .. }) = &self.source else { return self.report };
        LaneReport {
            lost: self.report.lost + window.lost(),
            reordered: self.report.reordered + window.reordered,
            duplicates: self.report.duplicates + window.duplicates,
            ..self.report
        }
    }
}

impl Source {
    fn write_block(&mut self, now: Instant, out: &mut Vec<u8>) {
        let Self { window, reception, ssrc, .. } = self;
        let counted = Counted { expected: window.expected(), received: window.unique, newest: window.extended() };
        reception.write_block(*ssrc, counted, now, out);
    }
}

/// Whether the first packet of an IDR picture is this payload (RFC 6184 sections 5.6 to 5.8).
fn begins_keyframe(payload: &[u8]) -> bool {
    const IDR: u8 = 5;
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    match *payload {
        [first, ref rest @ ..] if first & 0x1f == STAP_A => {
            let mut rest = rest;
            while let [high, low, unit @ ..] = rest {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                if unit.first().is_some_and(|first| first & 0x1f == IDR) {
                    return true;
                }
                rest = unit.get(length..).unwrap_or_default();
            }
            false
        }
        [first, second, ..] if first & 0x1f == FU_A => second & 0x80 != 0 && second & 0x1f == IDR,
        [first, ..] => first & 0x1f == IDR,
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyframe_is_known_by_its_first_packet() {
        for (payload, is_keyframe) in [
            (&[0x65, 1, 2][..], true),
            (&[0x41, 1, 2], false),
            (&[0x7c, 0x85, 1], true),
            (&[0x7c, 0x05, 1], false),
            (&[0x7c, 0x81, 1], false),
            (&[0x78, 0, 2, 0x67, 1, 0, 1, 0x68], false),
            (&[0x78, 0, 2, 0x67, 1, 0, 1, 0x65], true),
            (&[0x78, 0xff, 0xff, 0x67], false),
            (&[], false),
        ] {
            assert_eq!(begins_keyframe(payload), is_keyframe, "{payload:x?}");
        }
    }
}
