//! A publisher: plays a clip in a loop and does what the server's feedback asks.
//!
//! In: SRTCP of the server, the clock. Out: packets at their times, sender reports (RFC 3550 section 6.4.1), what a NACK
//! asks for as RTX (RFC 4588). A keyframe that is asked for is the clip's next one, at once. Pure.

use super::answer::Agreed;
use super::clip::Clip;
use super::report::LaneReport;
use crate::rtc::outlet::Outlet;
use crate::rtc::rtcp::{Feedback, NtpTime, RECEIVER_REPORT, SENDER_REPORT, SenderReport, blocks};
use crate::rtc::srtp::Opener;
use crate::rtp::header::SentHeader;
use crate::whep::burst::Lane;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub(super) struct Sender {
    clip: Arc<Clip>,
    began: Instant,
    /// The next frame of which lap.
    next: usize,
    lap: u32,
    /// How much of the clip was passed over for keyframes.
    skipped: Duration,
    lanes: [Option<SentLane>; 2],
    pub(super) keyframe_requests: u64,
    jumped: Option<Instant>,
    reported: Instant,
    packet: Vec<u8>,
}

struct SentLane {
    ssrc: u32,
    payload_type: u8,
    rtx: Option<(u32, u8)>,
    /// SRTP index of the next packet: rollover counter and sequence number.
    index: u64,
    rtx_index: u64,
    timestamp_base: u32,
    history: VecDeque<Sent>,
    octets: u32,
    report: LaneReport,
}

#[derive(Clone, Copy)]
struct Sent {
    index: u64,
    frame: usize,
    packet: usize,
    timestamp: u32,
}

/// More than two seconds at 5 Mbit/s.
const HISTORY: usize = 1_024;
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// A server may ask more often than it means it.
const JUMP_EVERY: Duration = Duration::from_millis(500);

impl Sender {
    pub(super) fn new(agreed: &Agreed, clip: Arc<Clip>, now: Instant) -> Self {
        let sources = agreed.sources;
        let lane = |lane, ssrc, rtx_ssrc| {
            let &(payload_type, rtx) = agreed.lane(lane)?.payload_types.first()?;
            Some(SentLane {
                ssrc,
                payload_type,
                rtx: rtx.map(|payload_type| (rtx_ssrc, payload_type)),
                index: u64::from(rand::random::<u16>() >> 1),
                rtx_index: u64::from(rand::random::<u16>() >> 1),
                timestamp_base: rand::random(),
                history: VecDeque::with_capacity(HISTORY),
                octets: 0,
                report: LaneReport::default(),
            })
        };
        let lanes = [lane(Lane::Video, sources.video, sources.rtx), lane(Lane::Audio, sources.audio, 0)];
        Self {
            clip,
            began: now,
            next: 0,
            lap: 0,
            skipped: Duration::ZERO,
            lanes,
            keyframe_requests: 0,
            jumped: None,
            reported: now,
            packet: Vec::with_capacity(2_048),
        }
    }

    /// Keys are there: the clip begins.
    pub(super) fn start(&mut self, now: Instant) {
        self.began = now;
        self.reported = now;
    }

    /// Sends what is due.
    pub(super) fn poll(&mut self, now: Instant, out: &mut Outlet<'_>) {
        let clip = Arc::clone(&self.clip);
        loop {
            let frame = &clip.frames[self.next];
            let due = clip.length * self.lap + frame.at - self.skipped;
            if self.began + due > now {
                break;
            }
            if let Some(lane) = &mut self.lanes[frame.lane.index()] {
                let ticks = due.as_micros() * u128::from(frame.lane.clock_rate()) / 1_000_000;
                lane.send(&clip, self.next, ticks as u32, out);
            }
            self.step();
        }
        if now.duration_since(self.reported) >= REPORT_EVERY {
            self.reported = now;
            let (ntp, since) = (NtpTime::from(SystemTime::now()), now.duration_since(self.began));
            for (lane, sent) in [Lane::Video, Lane::Audio].iter().zip(&self.lanes) {
                let Some(sent) = sent else { continue };
                let ticks = since.as_micros() * u128::from(lane.clock_rate()) / 1_000_000;
                let report = SenderReport {
                    ssrc: sent.ssrc,
                    ntp,
                    rtp_timestamp: sent.timestamp_base.wrapping_add(ticks as u32),
                    packets: sent.report.packets as u32,
                    octets: sent.octets,
                };
                out.rtcp(|arena| report.write(arena));
            }
        }
    }

    fn step(&mut self) {
        self.next += 1;
        if self.next == self.clip.frames.len() {
            self.next = 0;
            self.lap += 1;
        }
    }

    pub(super) fn rtcp(&mut self, now: Instant, sealed: &[u8], opener: &mut Opener, out: &mut Outlet<'_>) {
        let mut packet = std::mem::take(&mut self.packet);
        packet.clear();
        packet.extend_from_slice(sealed);
        if opener.open_rtcp(&mut packet).is_ok() {
            let ntp = NtpTime::from(SystemTime::now());
            for block in blocks(&packet) {
                if matches!(block.kind, RECEIVER_REPORT | SENDER_REPORT) {
                    self.losses(block.kind, block.body);
                }
                match block.feedback(ntp) {
                    Feedback::Nack { media_ssrc, sequences } => {
                        let clip = Arc::clone(&self.clip);
                        let lane = self.lanes.iter_mut().flatten().find(|lane| lane.ssrc == media_ssrc);
                        if let Some(lane) = lane {
                            sequences.for_each(|sequence| lane.resend(&clip, sequence, out));
                        }
                    }
                    Feedback::KeyframeRequest { .. } => {
                        self.keyframe_requests += 1;
                        self.jump(now);
                    }
                    Feedback::RoundTrip(_) | Feedback::Arrivals(_) | Feedback::Other => {}
                }
            }
        }
        self.packet = packet;
    }

    /// What the server says it never got (RFC 3550 section 6.4.1).
    fn losses(&mut self, kind: u8, body: &[u8]) {
        let reporter = if kind == SENDER_REPORT { 24 } else { 4 };
        for block in body.get(reporter..).unwrap_or_default().chunks_exact(24) {
            let word = |at: usize| u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
            if let Some(lane) = self.lanes.iter_mut().flatten().find(|lane| lane.ssrc == word(0)) {
                lane.report.lost = u64::from(word(4) & 0x7f_ffff);
            }
        }
    }

    /// On to the next keyframe.
    fn jump(&mut self, now: Instant) {
        if self.jumped.is_some_and(|at| now.duration_since(at) < JUMP_EVERY) {
            return;
        }
        self.jumped = Some(now);
        let clip = Arc::clone(&self.clip);
        let place = |next: usize, lap: u32| clip.length * lap + clip.frames[next].at;
        let from = place(self.next, self.lap);
        while clip.frames[self.next].lane != Lane::Video || !clip.frames[self.next].keyframe {
            self.step();
        }
        self.skipped += place(self.next, self.lap) - from;
    }

    pub(super) fn report(&self, lane: Lane) -> LaneReport {
        self.lanes[lane.index()].as_ref().map_or(LaneReport::default(), |lane| lane.report)
    }
}

impl SentLane {
    fn send(&mut self, clip: &Clip, frame: usize, ticks: u32, out: &mut Outlet<'_>) {
        let timestamp = self.timestamp_base.wrapping_add(ticks);
        let (ssrc, payload_type) = (self.ssrc, self.payload_type);
        for (at, packet) in clip.frames[frame].packets.iter().enumerate() {
            let index = self.index;
            self.index += 1;
            let header = SentHeader { payload_type, marker: packet.marker, timestamp, ssrc, stamp: None };
            out.rtp(&header, index, |arena| packet.write(arena));
            if self.history.len() == HISTORY {
                self.history.pop_front();
            }
            self.history.push_back(Sent { index, frame, packet: at, timestamp });
            self.report.packets += 1;
            self.report.bytes += packet.len() as u64 + 28;
            self.octets = self.octets.wrapping_add(packet.len() as u32);
        }
    }

    fn resend(&mut self, clip: &Clip, sequence: u16, out: &mut Outlet<'_>) {
        self.report.asked += 1;
        let Some((ssrc, payload_type)) = self.rtx else { return };
        let Some(sent) = self.history.iter().rev().find(|sent| sent.index as u16 == sequence) else { return };
        let packet = &clip.frames[sent.frame].packets[sent.packet];
        let (index, timestamp) = (self.rtx_index, sent.timestamp);
        self.rtx_index += 1;
        let header = SentHeader { payload_type, marker: packet.marker, timestamp, ssrc, stamp: None };
        out.rtp(&header, index, |arena| {
            arena.extend_from_slice(&sequence.to_be_bytes());
            packet.write(arena);
        });
        self.report.resent += 1;
    }
}
