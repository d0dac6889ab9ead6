//! One publisher on its worker: its tracks, what is asked of it, and the end of it.
//!
//! In: decrypted packets, the clock. Out: frames into the hub, RTCP into the worker's batch.

use super::sources::{MarkIds, Marks, Sources};
use super::to_hub::{Arrival, ToHub};
use super::track::{Source, Track};
use crate::codec::opus;
use crate::hub::{Publisher, Revoked};
use crate::metrics;
use crate::rtc::feedback::twcc::TwccRecorder;
use crate::rtc::negotiate::{PublisherAgreement, SectionKind};
use crate::rtc::outlet::Outlet;
use crate::rtc::rtcp::{SENDER_REPORT, SenderReport, blocks, write_nack, write_pli, write_receiver_report};
use crate::rtp::header::RtpHeader;
use crate::webrtc::peer::PeerEnd;
use rtc::shared::marshal::Marshal;
use std::time::{Duration, Instant, SystemTime};

#[derive(Debug)]
pub(crate) struct Receiver {
    tracks: Vec<Track>,
    sources: Sources,
    marks: MarkIds,
    to_hub: ToHub,
    publisher: Publisher,
    /// Our name in RTCP.
    ssrc: u32,
    /// Arrivals by transport-wide number: from them the client learns how much its network carries.
    arrivals: TwccRecorder,
    round_trip: Duration,
    since: Instant,
    last_media: Instant,
    /// The last keyframe of the layer that leads.
    keyframe_seen: Instant,
    /// By track.
    keyframes: Vec<KeyframeWish>,
    reported: Instant,
    bytes: ::metrics::Counter,
    video_frames: ::metrics::Counter,
    audio_frames: ::metrics::Counter,
}

/// A keyframe that has not come.
#[derive(Debug, Clone, Default)]
struct KeyframeWish {
    asked: Option<Instant>,
    by_viewer: bool,
}

/// Not more often, however many viewers ask; a keyframe of the smallest layer costs little.
const KEYFRAME_EVERY: Duration = Duration::from_millis(1_000);
const SMALL_KEYFRAME_EVERY: Duration = Duration::from_millis(500);
/// Segments are cut at keyframes, so one is asked for when the encoder makes none by itself.
const GOP_MAX: Duration = Duration::from_secs(2);
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// A publisher's round trip is what its handshake took, for it sends no reports that would tell it. Assumed where a flight of
/// the handshake was lost.
const RTT_ASSUMED: Duration = Duration::from_millis(70);
/// From the connection to the first packet, and between packets.
const MEDIA_WAIT: Duration = Duration::from_secs(20);

impl Receiver {
    pub(crate) fn new(agreement: &PublisherAgreement, publisher: Publisher, now: Instant) -> Self {
        let tracks: Vec<_> = agreement.sections.iter().flat_map(Track::of).collect();
        let layers: Vec<_> = tracks.iter().filter(|track| track.source != Source::Audio).map(Track::rid).collect();
        let has_audio = agreement.sections.iter().any(|section| section.kind == SectionKind::Audio);
        // What was agreed on is stereo; a decoder is set up for that whatever the first packet says.
        let audio = has_audio.then(|| opus::format_of_packet(&[STEREO_TOC]).ok()).flatten();
        let ssrc = rand::random();
        Self {
            keyframes: vec![KeyframeWish::default(); tracks.len()],
            tracks,
            sources: Sources::default(),
            marks: MarkIds::of(agreement),
            to_hub: ToHub::new(layers, audio),
            publisher,
            ssrc,
            arrivals: TwccRecorder::new(now, ssrc),
            round_trip: RTT_ASSUMED,
            since: now,
            last_media: now,
            keyframe_seen: now,
            reported: now,
            bytes: ::metrics::counter!(metrics::INGEST_BYTES, "protocol" => "whip"),
            video_frames: ::metrics::counter!(metrics::INGEST_FRAMES, "kind" => "video"),
            audio_frames: ::metrics::counter!(metrics::INGEST_FRAMES, "kind" => "audio"),
        }
    }

    /// Keys are there.
    pub(crate) fn start(&mut self, now: Instant, round_trip: Option<Duration>, out: &mut Outlet<'_>) {
        self.round_trip = round_trip.unwrap_or(RTT_ASSUMED);
        (self.last_media, self.keyframe_seen) = (now, now);
        self.tick(now, out);
    }

    pub(crate) fn rtp(&mut self, packet: &[u8], now: Instant) {
        let Some(header) = RtpHeader::parse(packet) else { return };
        self.last_media = now;
        self.bytes.increment(packet.len() as u64);
        let marks = Marks::read(packet, &self.marks);
        if let Some(sequence) = marks.transport_sequence {
            self.arrivals.received(now, header.ssrc, sequence);
        }
        let Some(track) = self.sources.track_of(&header, &marks, &self.tracks) else { return };
        if let (Source::Audio, Some(level)) = (self.tracks[track].source, marks.audio_level) {
            self.publisher.broadcast().heard(level);
        }
        self.tracks[track].receive(&header, packet, now, self.round_trip);
        self.hand_on(now);
    }

    pub(crate) fn rtcp(&mut self, compound: &[u8], now: Instant) {
        for block in blocks(compound) {
            let Some(report) = SenderReport::parse(block.body).filter(|_| block.kind == SENDER_REPORT) else {
                continue;
            };
            for track in &mut self.tracks {
                if track.sender_report(&report, now) {
                    self.to_hub.report(track.source, report.ntp, report.rtp_timestamp);
                }
            }
        }
    }

    /// Asks for what is missing and reports; `Some` when this publisher must go.
    pub(crate) fn tick(&mut self, now: Instant, out: &mut Outlet<'_>) -> Option<PeerEnd> {
        if let Some(end) = self.revoked() {
            return Some(end);
        }
        if now.duration_since(self.last_media) > MEDIA_WAIT {
            return Some(PeerEnd::NoMedia);
        }
        self.hand_on(now);
        self.tell_arrivals(now, out);
        self.ask_for_packets(now, out);
        self.ask_for_keyframes(now, out);
        if now.duration_since(self.reported) >= REPORT_EVERY {
            self.reported = now;
            self.report(now, out);
        }
        None
    }

    /// The show is another's now, or over.
    pub(crate) fn revoked(&self) -> Option<PeerEnd> {
        self.publisher.is_revoked().map(|revoked| match revoked {
            Revoked::Replaced => PeerEnd::Replaced,
            Revoked::Ended => PeerEnd::Ended,
        })
    }

    /// Whole access units go to the hub.
    fn hand_on(&mut self, now: Instant) {
        let arrival = Arrival { elapsed: now.duration_since(self.since), wall: SystemTime::now() };
        for (track, wish) in self.tracks.iter_mut().zip(&mut self.keyframes) {
            while let Some(unit) = track.next(now) {
                match track.source {
                    Source::Audio => self.audio_frames.increment(1),
                    Source::Layer(layer) => {
                        self.video_frames.increment(1);
                        if unit.keyframe {
                            wish.by_viewer = false;
                            if self.to_hub.leads(layer) {
                                self.keyframe_seen = now;
                            }
                        }
                    }
                }
                self.to_hub.take(&mut self.publisher, track.source, unit, arrival);
            }
        }
    }

    fn tell_arrivals(&mut self, now: Instant, out: &mut Outlet<'_>) {
        while let Some(report) = self.arrivals.poll(now) {
            // A report that cannot be written is one that the next makes up for.
            if let Ok(report) = report.marshal() {
                out.rtcp(|arena| arena.extend_from_slice(&report));
            }
        }
    }

    fn ask_for_packets(&mut self, now: Instant, out: &mut Outlet<'_>) {
        for track in &mut self.tracks {
            let lost = track.lost(now, self.round_trip);
            if let (false, Some(ssrc)) = (lost.is_empty(), track.ssrc()) {
                out.rtcp(|arena| write_nack(arena, self.ssrc, ssrc, &lost));
            }
        }
    }

    fn ask_for_keyframes(&mut self, now: Instant, out: &mut Outlet<'_>) {
        let broadcast = self.publisher.broadcast();
        broadcast.keyframes_on_request(self.tracks.iter().any(|track| track.is_video() && track.hears_pli()));
        let asked_by_viewers = broadcast.take_keyframe_requests();
        let all = self.to_hub.wants_keyframes() || now.duration_since(self.keyframe_seen) >= GOP_MAX;
        for (track, wish) in self.tracks.iter().zip(&mut self.keyframes) {
            let (Source::Layer(layer), Some(ssrc), true) = (track.source, track.ssrc(), track.hears_pli()) else {
                continue;
            };
            wish.by_viewer |= self.to_hub.track_of(layer).is_some_and(|track| asked_by_viewers.contains(track));
            let awaited = self.to_hub.awaits_keyframe(layer);
            let small = self.to_hub.leads(layer) || self.to_hub.wants_keyframes() || awaited;
            let pause = if small { SMALL_KEYFRAME_EVERY } else { KEYFRAME_EVERY };
            let lately = wish.asked.is_some_and(|at| now.duration_since(at) < pause);
            if (all || awaited || wish.by_viewer || track.needs_keyframe()) && !lately {
                wish.asked = Some(now);
                out.rtcp(|arena| write_pli(arena, self.ssrc, ssrc));
            }
        }
    }

    fn report(&mut self, now: Instant, out: &mut Outlet<'_>) {
        if self.tracks.iter().all(|track| track.ssrc().is_none()) {
            return;
        }
        let tracks = &mut self.tracks;
        out.rtcp(|arena| {
            write_receiver_report(arena, self.ssrc, |arena| {
                tracks.iter_mut().for_each(|track| track.write_block(now, arena));
            });
        });
    }
}

/// A stereo packet of 20 ms.
const STEREO_TOC: u8 = 0xfc;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HubConfig;
    use crate::hub::Hub;
    use crate::model::{BroadcastId, TrackId};
    use crate::rtc::negotiate::{Offer, answer_publisher, testing};
    use crate::rtc::route::Route;
    use crate::rtc::socket::SendBatch;
    use crate::rtc::srtp::{SessionKeys, SrtpProfile};
    use crate::rtp::header::SentHeader;
    use crate::seam::{Deaf, Protocol, PublishGrant};
    use std::sync::Arc;

    #[tokio::test]
    async fn viewers_are_told_whether_this_publisher_can_be_asked_for_keyframes() {
        let pli = include_str!("../../rtc/negotiate/testdata/aiortc-1.16-sends.sdp");
        for (offer, hears) in [(pli.to_owned(), true), (pli.replace(" nack pli", " goog-remb"), false)] {
            let (agreement, _) = answer_publisher(&Offer::parse(&offer).unwrap(), &testing::local()).unwrap();
            let (hub, _opened) = Hub::new(HubConfig::default(), Arc::new(Deaf));
            let show = PublishGrant::of_host(BroadcastId::parse("session_1").unwrap(), "host");
            let publisher = hub.claim(show, Protocol::Whip).await.unwrap();
            let (broadcast, now) = (Arc::clone(publisher.broadcast()), Instant::now());
            let payload_type = agreement.sections[0].codecs[0].payload_type;
            let mut receiver = Receiver::new(&agreement, publisher, now);
            assert!(!broadcast.request_keyframe(TrackId(0)), "what it sends is not known");
            let mut packet = Vec::new();
            SentHeader { payload_type, marker: true, timestamp: 0, ssrc: 100, stamp: None }.write(1, &mut packet);
            packet.extend_from_slice(&[0x10, 1, 2, 3]);
            receiver.rtp(&packet, now);
            let mut sealer = SessionKeys::from_exporter(SrtpProfile::AeadAes128Gcm, &[7; 56]).sealer();
            let (mut batch, (route, _sent)) = (SendBatch::default(), tokio::sync::mpsc::channel(64));
            let out = &mut Outlet { sealer: &mut sealer, batch: &mut batch, route: &Route::Tcp(route) };
            assert_eq!(receiver.tick(now, out), None);
            assert_eq!(broadcast.request_keyframe(TrackId(0)), hears);
        }
    }
}
