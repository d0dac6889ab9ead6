//! One track of a publisher: packets put in order, losses asked for, access units out.

use crate::model::Rid;
use crate::rtc::copies::Copies;
use crate::rtc::feedback::nack::NackGenerator;
use crate::rtc::feedback::reception::{Counted, Reception};
use crate::rtc::negotiate::{AgreedCodec, Codec, ReceiveSection, SectionKind, Simulcast};
use crate::rtc::rtcp::SenderReport;
use crate::rtp::depacketize::{AccessUnit, Depacketizer};
use crate::rtp::header::RtpHeader;
use crate::rtp::jitter::JitterBuffer;
use bytes::Bytes;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Track {
    pub(super) source: Source,
    /// Which packets are of this layer, where the picture comes in several.
    rid: Option<String>,
    codecs: Vec<AgreedCodec>,
    repairs: Vec<(u32, u32)>,
    active: Option<Active>,
}

/// What a track is of the show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Audio,
    /// Video, by its place among the layers.
    Layer(u8),
}

/// The source that sends, once its first packet has come.
#[derive(Debug)]
struct Active {
    ssrc: u32,
    codec: AgreedCodec,
    copies: Copies,
    jitter: JitterBuffer<Packet>,
    depacketizer: Depacketizer,
    nack: NackGenerator,
    /// Extended sequence numbers, for reports.
    first: u64,
    newest: u64,
    received: u64,
    reception: Reception,
}

#[derive(Debug)]
struct Packet {
    timestamp: u32,
    marker: bool,
    payload: Bytes,
}

impl Track {
    /// One track per layer.
    pub(super) fn of(section: &ReceiveSection) -> Vec<Self> {
        let track = |source, rid| Self {
            source,
            rid,
            codecs: section.codecs.clone(),
            repairs: section.repairs.clone(),
            active: None,
        };
        match (&section.simulcast, section.kind) {
            (_, SectionKind::Audio | SectionKind::Other) => vec![track(Source::Audio, None)],
            (None, SectionKind::Video) => vec![track(Source::Layer(0), None)],
            (Some(Simulcast { rids, .. }), SectionKind::Video) => {
                rids.iter().enumerate().map(|(at, rid)| track(Source::Layer(at as u8), Some(rid.clone()))).collect()
            }
        }
    }

    /// Whether a packet from a source not yet known is this track's. `rid`: the layer it says it is of.
    pub(super) fn takes(&self, payload_type: u8, rid: Option<&[u8]>) -> bool {
        let fits = |codec: &AgreedCodec| codec.payload_type == payload_type || codec.rtx == Some(payload_type);
        self.codecs.iter().any(fits) && self.rid.as_ref().is_none_or(|own| rid == Some(own.as_bytes()))
    }

    /// What the publisher calls this layer.
    pub(super) fn rid(&self) -> Option<Rid> {
        self.rid.as_deref().and_then(|rid| Rid::parse(rid).ok())
    }

    pub(super) fn is_video(&self) -> bool {
        matches!(self.source, Source::Layer(_))
    }

    pub(super) fn ssrc(&self) -> Option<u32> {
        self.active.as_ref().map(|active| active.ssrc)
    }

    /// Whether the client can be asked for a keyframe (RFC 4585 section 6.3.1).
    pub(super) fn hears_pli(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.codec.feedback.pli)
    }

    pub(super) fn needs_keyframe(&self) -> bool {
        self.is_video() && self.active.as_ref().is_some_and(|active| active.depacketizer.needs_keyframe())
    }

    /// Takes a packet; what it completes is read with [`Self::next`].
    pub(super) fn receive(&mut self, header: &RtpHeader, packet: &[u8], now: Instant, round_trip: Duration) {
        let payload = &packet[header.payload.clone()];
        let retransmitted = self.codecs.iter().find(|codec| codec.rtx == Some(header.payload_type));
        if retransmitted.is_some() {
            // The original sequence number stands before the payload (RFC 4588 section 4); an empty one is a probe.
            let &[high, low, ref original @ ..] = payload else { return };
            let named = self.repairs.iter().find(|(_, rtx)| *rtx == header.ssrc).map(|(media, _)| *media);
            if let Some(active) = self.active.as_mut().filter(|active| named.is_none_or(|media| media == active.ssrc)) {
                let sequence = u16::from_be_bytes([high, low]);
                active.nack.received(now, sequence);
                let payload = active.copies.copy(original);
                active.jitter.push(
                    now,
                    sequence,
                    Packet { timestamp: header.timestamp, marker: header.marker, payload },
                );
            }
            return;
        }
        let Some(codec) = self.codecs.iter().find(|codec| codec.payload_type == header.payload_type) else { return };
        if self.active.as_ref().is_none_or(|active| active.ssrc != header.ssrc || active.codec != *codec) {
            self.active = Active::new(*codec, header, round_trip);
        }
        if let Some(active) = &mut self.active {
            active.count(header, self.source, now);
            active.nack.received(now, header.sequence);
            if payload.is_empty() {
                // Padding keeps its place in the order.
                active.jitter.push(
                    now,
                    header.sequence,
                    Packet { timestamp: header.timestamp, marker: false, payload: Bytes::new() },
                );
                return;
            }
            let payload = active.copies.copy(payload);
            let packet = Packet { timestamp: header.timestamp, marker: header.marker, payload };
            active.jitter.push(now, header.sequence, packet);
        }
    }

    /// The next access unit that is whole.
    pub(super) fn next(&mut self, now: Instant) -> Option<AccessUnit> {
        let active = self.active.as_mut()?;
        loop {
            let (packet, gap) = active.jitter.pop(now)?;
            if packet.payload.is_empty() && !gap {
                continue;
            }
            let unit = active.depacketizer.push(packet.timestamp, packet.marker, &packet.payload, gap);
            if unit.is_some() {
                return unit;
            }
        }
    }

    /// Sequence numbers to ask for now. Sound is not asked for: its own correction is faster (RFC 7587 section 2.1.7).
    pub(super) fn lost(&mut self, now: Instant, rtt: Duration) -> Vec<u16> {
        match (&mut self.active, self.source) {
            (Some(active), Source::Layer(_)) if active.codec.feedback.nack => active.nack.poll(now, rtt),
            _ => Vec::new(),
        }
    }

    /// `true`: the report is about this track.
    pub(super) fn sender_report(&mut self, report: &SenderReport, now: Instant) -> bool {
        let active = self.active.as_mut().filter(|active| active.ssrc == report.ssrc);
        active.map(|active| active.reception.sender_report(report, now)).is_some()
    }

    /// Appends a reception block, if anything came.
    pub(super) fn write_block(&mut self, now: Instant, out: &mut Vec<u8>) {
        let Some(active) = &mut self.active else { return };
        let Active { ssrc, first, newest, received, .. } = *active;
        let counted = Counted { expected: newest + 1 - first, received, newest: (newest - (1 << 16)) as u32 };
        active.reception.write_block(ssrc, counted, now, out);
    }
}

impl Active {
    fn new(codec: AgreedCodec, header: &RtpHeader, round_trip: Duration) -> Option<Self> {
        let depacketizer = match codec.codec {
            Codec::H264 { .. } => Depacketizer::h264(),
            Codec::Vp8 => Depacketizer::vp8(),
            Codec::Vp9 => Depacketizer::vp9(),
            Codec::Av1 => Depacketizer::av1(),
            Codec::Opus => Depacketizer::opus(),
            // Never agreed on.
            Codec::H265 => return None,
        };
        let first = u64::from(header.sequence) + (1 << 16);
        Some(Self {
            ssrc: header.ssrc,
            codec,
            copies: Copies::default(),
            jitter: JitterBuffer::for_round_trip(round_trip),
            depacketizer,
            nack: NackGenerator::default(),
            first,
            newest: first,
            received: 0,
            reception: Reception::default(),
        })
    }

    fn count(&mut self, header: &RtpHeader, source: Source, now: Instant) {
        self.received += 1;
        let step = i64::from(header.sequence.wrapping_sub(self.newest as u16).cast_signed());
        self.newest = self.newest.max(self.newest.saturating_add_signed(step));
        let rate = if source == Source::Audio { 48_000.0 } else { 90_000.0 };
        self.reception.arrived(header.timestamp, rate, now);
    }
}
