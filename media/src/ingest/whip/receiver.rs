//! One publisher on its worker: its tracks, what is asked of it, and the end of it.
//!
//! In: decrypted packets, the clock. Out: frames into the hub, RTCP into the worker's batch.

use super::to_hub::{Arrival, ToHub};
use super::track::Track;
use crate::codec::opus;
use crate::hub::{Publisher, Revoked};
use crate::metrics;
use crate::model::Lane;
use crate::rtc::feedback::twcc::TwccRecorder;
use crate::rtc::negotiate::{PublisherAgreement, SectionKind};
use crate::rtc::outlet::Outlet;
use crate::rtc::rtcp::{RECEIVER_REPORT, SENDER_REPORT, SenderReport, blocks, write_nack, write_pli};
use crate::rtp::header::{RtpHeader, extension};
use crate::webrtc::peer::PeerEnd;
use rtc::shared::marshal::Marshal;
use std::time::{Duration, Instant, SystemTime};

#[derive(Debug)]
pub(crate) struct Receiver {
    tracks: Vec<Track>,
    to_hub: ToHub,
    publisher: Publisher,
    /// Our name in RTCP.
    ssrc: u32,
    /// Arrivals by transport-wide number, and the id of the extension that holds it: from them the client learns how much
    /// its network carries.
    arrivals: Option<(u8, TwccRecorder)>,
    since: Instant,
    last_media: Instant,
    keyframe_seen: Instant,
    keyframe_asked: Option<Instant>,
    reported: Instant,
    bytes: ::metrics::Counter,
    video_frames: ::metrics::Counter,
    audio_frames: ::metrics::Counter,
}

/// Not more often, however many viewers ask.
const KEYFRAME_EVERY: Duration = Duration::from_millis(1_000);
/// Segments are cut at keyframes, so one is asked for when the encoder makes none by itself.
const GOP_MAX: Duration = Duration::from_secs(2);
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// A publisher's round trip is not measured: it sends no reports that would tell it.
const RTT_ASSUMED: Duration = Duration::from_millis(70);
/// From the connection to the first packet, and between packets.
const MEDIA_WAIT: Duration = Duration::from_secs(20);
const RECEPTION_BLOCK_BYTES: usize = 24;

impl Receiver {
    pub(crate) fn new(agreement: &PublisherAgreement, publisher: Publisher, now: Instant) -> Self {
        let tracks: Vec<_> = agreement.sections.iter().map(Track::new).collect();
        let expects_video = agreement.sections.iter().any(|section| section.kind == SectionKind::Video);
        let has_audio = agreement.sections.iter().any(|section| section.kind == SectionKind::Audio);
        // What was agreed on is stereo; a decoder is set up for that whatever the first packet says.
        let audio = has_audio.then(|| opus::format_of_packet(&[STEREO_TOC]).ok()).flatten();
        let ssrc = rand::random();
        let arrivals = agreement.sections.iter().find_map(|section| section.transport_cc);
        Self {
            tracks,
            to_hub: ToHub::new(expects_video, audio),
            publisher,
            ssrc,
            arrivals: arrivals.map(|id| (id, TwccRecorder::new(now, ssrc, 0))),
            since: now,
            last_media: now,
            keyframe_seen: now,
            keyframe_asked: None,
            reported: now,
            bytes: ::metrics::counter!(metrics::INGEST_BYTES, "protocol" => "whip"),
            video_frames: ::metrics::counter!(metrics::INGEST_FRAMES, "kind" => "video"),
            audio_frames: ::metrics::counter!(metrics::INGEST_FRAMES, "kind" => "audio"),
        }
    }

    /// Keys are there.
    pub(crate) fn start(&mut self, now: Instant, out: &mut Outlet<'_>) {
        (self.last_media, self.keyframe_seen) = (now, now);
        self.tick(now, out);
    }

    pub(crate) fn rtp(&mut self, packet: &[u8], now: Instant) {
        let Some(header) = RtpHeader::parse(packet) else { return };
        let Some(track) = self.tracks.iter_mut().find(|track| track.takes(header.payload_type)) else { return };
        self.last_media = now;
        if let Some((id, arrivals)) = &mut self.arrivals
            && let Some(&[high, low]) = extension(packet, *id)
        {
            arrivals.received(now, u16::from_be_bytes([high, low]));
        }
        self.bytes.increment(packet.len() as u64);
        track.receive(&header, packet, now);
        self.hand_on(now);
    }

    pub(crate) fn rtcp(&mut self, compound: &[u8], now: Instant) {
        for block in blocks(compound) {
            if block.kind == SENDER_REPORT
                && let Some(report) = SenderReport::parse(block.body)
            {
                self.tracks.iter_mut().for_each(|track| track.sender_report(&report, now));
            }
        }
    }

    /// Asks for what is missing and reports; `Some` when this publisher must go.
    pub(crate) fn tick(&mut self, now: Instant, out: &mut Outlet<'_>) -> Option<PeerEnd> {
        match self.publisher.is_revoked() {
            Some(Revoked::Replaced) => return Some(PeerEnd::Replaced),
            Some(Revoked::Ended) => return Some(PeerEnd::Ended),
            None => {}
        }
        if now.duration_since(self.last_media) > MEDIA_WAIT {
            return Some(PeerEnd::NoMedia);
        }
        self.hand_on(now);
        self.tell_arrivals(now, out);
        self.ask_for_packets(now, out);
        self.ask_for_keyframe(now, out);
        if now.duration_since(self.reported) >= REPORT_EVERY {
            self.reported = now;
            self.report(now, out);
        }
        None
    }

    /// Whole access units go to the hub.
    fn hand_on(&mut self, now: Instant) {
        let arrival = Arrival { elapsed: now.duration_since(self.since), wall: SystemTime::now() };
        for track in &mut self.tracks {
            while let Some(unit) = track.next(now) {
                if track.lane == Lane::Video {
                    self.video_frames.increment(1);
                    if unit.keyframe {
                        (self.keyframe_seen, self.keyframe_asked) = (now, None);
                    }
                } else {
                    self.audio_frames.increment(1);
                }
                self.to_hub.take(&mut self.publisher, track.lane, unit, arrival);
            }
        }
    }

    fn tell_arrivals(&mut self, now: Instant, out: &mut Outlet<'_>) {
        let Some((_, arrivals)) = &mut self.arrivals else { return };
        while let Some(report) = arrivals.poll(now) {
            // A report that cannot be written is one that the next makes up for.
            if let Ok(report) = report.marshal() {
                out.rtcp(|arena| arena.extend_from_slice(&report));
            }
        }
    }

    fn ask_for_packets(&mut self, now: Instant, out: &mut Outlet<'_>) {
        for track in &mut self.tracks {
            let lost = track.lost(now, RTT_ASSUMED);
            if let (false, Some(ssrc)) = (lost.is_empty(), track.ssrc()) {
                out.rtcp(|arena| write_nack(arena, self.ssrc, ssrc, &lost));
            }
        }
    }

    fn ask_for_keyframe(&mut self, now: Instant, out: &mut Outlet<'_>) {
        let Some(track) = self.tracks.iter().find(|track| track.lane == Lane::Video) else { return };
        let Some(ssrc) = track.ssrc() else { return };
        let asked_by_viewers = self.publisher.broadcast().take_keyframe_request();
        let wanted = asked_by_viewers
            || track.needs_keyframe()
            || !self.to_hub.has_begun()
            || now.duration_since(self.keyframe_seen) >= GOP_MAX;
        let lately = self.keyframe_asked.is_some_and(|at| now.duration_since(at) < KEYFRAME_EVERY);
        if wanted && !lately {
            self.keyframe_asked = Some(now);
            out.rtcp(|arena| write_pli(arena, self.ssrc, ssrc));
        }
    }

    fn report(&mut self, now: Instant, out: &mut Outlet<'_>) {
        let (tracks, ssrc) = (&mut self.tracks, self.ssrc);
        if tracks.iter().all(|track| track.ssrc().is_none()) {
            return;
        }
        out.rtcp(|arena| {
            let start = arena.len();
            arena.extend_from_slice(&[0x80, RECEIVER_REPORT, 0, 0]);
            arena.extend_from_slice(&ssrc.to_be_bytes());
            let count = tracks.iter_mut().map(|track| u8::from(track.write_block(now, arena))).sum::<u8>();
            arena[start] |= count;
            let words = 1 + usize::from(count) * RECEPTION_BLOCK_BYTES / 4;
            arena[start + 2..start + 4].copy_from_slice(&(words as u16).to_be_bytes());
        });
    }
}

/// A stereo packet of 20 ms.
const STEREO_TOC: u8 = 0xfc;
