//! Answers, and what they agree on.

use super::offer::{Codec, Extension, FeedbackKinds, Offer, OfferedCodec, Section, SectionKind};
use std::fmt::{self, Write};
use std::net::SocketAddr;

/// Our side of the connection.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
    pub(crate) fingerprint_sha256: String,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) session_id: u64,
}

/// An address of ours (RFC 8445 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) address: SocketAddr,
    pub(crate) kind: CandidateKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CandidateKind {
    Udp,
    /// The client connects (RFC 6544).
    TcpPassive,
}

/// One track of a show, as it is named to a viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) codec: Codec,
    /// A viewer who asks for a picture is not to go without this one.
    pub(crate) needed: bool,
    pub(crate) ssrc: u32,
    pub(crate) rtx_ssrc: Option<u32>,
    /// Tracks of one stream are played in step.
    pub(crate) stream: String,
    pub(crate) track: String,
}

/// What a publisher will send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublisherAgreement {
    pub(crate) sections: Vec<ReceiveSection>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReceiveSection {
    pub(crate) kind: SectionKind,
    pub(crate) codecs: Vec<AgreedCodec>,
    /// Media and retransmission sources, where the offer names them.
    pub(crate) repairs: Vec<(u32, u32)>,
    /// Id of the transport-wide sequence number extension.
    pub(crate) transport_cc: Option<u8>,
    /// Id of the audio level extension (RFC 6464).
    pub(crate) audio_level: Option<u8>,
    pub(crate) simulcast: Option<Simulcast>,
}

/// Layers of one picture, told apart by an extension of their packets (RFC 8852).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Simulcast {
    pub(crate) rids: Vec<String>,
    /// Ids of the extensions that name the layer, and the layer that a retransmission mends.
    pub(crate) rid: u8,
    pub(crate) repaired_rid: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AgreedCodec {
    pub(crate) payload_type: u8,
    pub(crate) codec: Codec,
    pub(crate) rtx: Option<u8>,
    pub(crate) feedback: FeedbackKinds,
}

/// What a viewer will be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ViewerAgreement {
    pub(crate) sections: Vec<SendSection>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SendSection {
    /// Which section of the offer and of the answer it is.
    pub(crate) m_line: usize,
    /// Index into the tracks that were offered to [`answer_viewer`].
    pub(crate) track: Option<usize>,
    pub(crate) payload_type: u8,
    pub(crate) rtx_payload_type: Option<u8>,
    /// Id of the transport-wide sequence number extension.
    pub(crate) transport_cc: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NegotiationError {
    #[error("the show is {ours}, the client plays {theirs}: no codec in common")]
    NoCommonCodec { ours: String, theirs: String },
    #[error("nothing to receive: a sendonly m= line of H.264, VP9, AV1, VP8 or Opus is needed")]
    NothingSent,
    #[error("the m= line of {0} has none of H.264, VP9, AV1, VP8 and Opus, which are what can be received")]
    NothingToReceive(&'static str),
    #[error("more than one m= line of {0}: one picture and one sound make a show (RFC 9725 section 4.4.2)")]
    SecondTrack(&'static str),
    #[error("the offer is not ready to receive anything: a recvonly m= line is needed")]
    NothingToSend,
}

const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";

/// WHIP: agrees to one picture and one sound, in every codec of theirs that we can carry.
pub(crate) fn answer_publisher(offer: &Offer, local: &Local) -> Result<(PublisherAgreement, String), NegotiationError> {
    let accepted = taken(offer)?;
    let mut text = head(offer, local, &accepted);
    let (mut sections, mut first) = (Vec::new(), true);
    for (section, accepted) in offer.sections.iter().zip(accepted) {
        if !accepted {
            reject(&mut text, section);
            continue;
        }
        let codecs = receivable(section);
        begin(&mut text, section, local, &codecs, std::mem::take(&mut first));
        text.push_str("a=recvonly\r\n");
        for codec in &codecs {
            codec_lines(&mut text, codec, codec.feedback);
        }
        let mut agree = |uri| extension(&mut text, offer, section, uri, |offered| offered.sends);
        let transport_cc = agree(TRANSPORT_CC);
        let mid = agree(MID);
        let audio_level = if section.kind == SectionKind::Audio { agree(AUDIO_LEVEL) } else { None };
        let simulcast = simulcast(section, mid, &mut agree);
        if let Some(Simulcast { rids, .. }) = &simulcast {
            rids.iter().for_each(|rid| write(&mut text, format_args!("a=rid:{rid} recv\r\n")));
            write(&mut text, format_args!("a=simulcast:recv {}\r\n", rids.join(";")));
        }
        let codecs = codecs
            .iter()
            .map(|codec| AgreedCodec {
                payload_type: codec.payload_type,
                codec: codec.codec,
                rtx: codec.rtx,
                feedback: codec.feedback,
            })
            .collect();
        let (kind, repairs) = (section.kind, section.repairs.clone());
        sections.push(ReceiveSection { kind, codecs, repairs, transport_cc, audio_level, simulcast });
    }
    Ok((PublisherAgreement { sections }, text))
}

/// Which sections are taken: each that sends sound or a picture, or none. A show that lacks half of what its host sends would
/// look whole to them (RFC 9725 sections 4.4.2 and 4.4.3). Anything else, a data channel say, is rejected alone.
fn taken(offer: &Offer) -> Result<Vec<bool>, NegotiationError> {
    let mut taken = Vec::with_capacity(offer.sections.len());
    for (at, section) in offer.sections.iter().enumerate() {
        let sends = section.sends && section.kind != SectionKind::Other;
        if sends && receivable(section).is_empty() {
            return Err(NegotiationError::NothingToReceive(kind(section)));
        }
        if sends && offer.sections[..at].iter().zip(&taken).any(|(before, taken)| *taken && before.kind == section.kind)
        {
            return Err(NegotiationError::SecondTrack(kind(section)));
        }
        taken.push(sends);
    }
    if taken.contains(&true) { Ok(taken) } else { Err(NegotiationError::NothingSent) }
}

/// All layers, if their packets will say which one they are of (RFC 8853 section 5.5).
fn simulcast(
    section: &Section,
    mid: Option<u8>,
    agree: &mut impl FnMut(&'static str) -> Option<u8>,
) -> Option<Simulcast> {
    if section.kind != SectionKind::Video || section.rids.is_empty() || mid.is_none() {
        return None;
    }
    let rid = agree(RID)?;
    let repaired_rid = agree(REPAIRED_RID);
    Some(Simulcast { rids: section.rids.clone(), rid, repaired_rid })
}

fn receivable(section: &Section) -> Vec<&OfferedCodec> {
    let fits = |codec: &&OfferedCodec| match section.kind {
        SectionKind::Audio => codec.codec == Codec::Opus,
        SectionKind::Video => !matches!(codec.codec, Codec::Opus | Codec::H265),
        SectionKind::Other => false,
    };
    let mut codecs: Vec<_> = section.codecs.iter().filter(fits).collect();
    // A client sends the first codec of the answer. H.264 plays everywhere; VP9 and AV1 wherever they are new enough, over
    // HLS too; VP8 only by WebRTC.
    codecs.sort_by_key(|codec| match codec.codec {
        Codec::H264 { .. } => 0,
        Codec::Vp8 => 2,
        _ => 1,
    });
    codecs
}

/// WHEP: gives each receiving section the next track of its kind that the client can decode. `measures`: the client is to
/// report arrivals, since there is something to choose by them.
pub(crate) fn answer_viewer(
    offer: &Offer,
    local: &Local,
    tracks: &[Outgoing],
    measures: bool,
) -> Result<(ViewerAgreement, String), NegotiationError> {
    let mut free: Vec<usize> = (0..tracks.len()).collect();
    let mut chosen = Vec::new();
    for section in &offer.sections {
        let fitting = free.iter().enumerate().find_map(|(place, track)| {
            section.receives.then(|| best(section, tracks[*track].codec)).flatten().map(|codec| (place, codec))
        });
        chosen.push(fitting.map(|(place, codec)| (free.remove(place), codec)));
    }
    if !offer.sections.iter().any(|section| section.receives && section.kind != SectionKind::Other) {
        return Err(NegotiationError::NothingToSend);
    }
    let video_missed = free.iter().any(|track| {
        tracks[*track].needed
            && offer.sections.iter().any(|section| section.receives && section.kind == SectionKind::Video)
    });
    if chosen.iter().all(Option::is_none) || video_missed {
        let ours = names(tracks.iter().map(|track| track.codec));
        let theirs = names(offer.sections.iter().flat_map(|section| &section.codecs).map(|codec| codec.codec));
        return Err(NegotiationError::NoCommonCodec { ours, theirs });
    }
    // A section without a track stays, inactive: the client need not ask anew when a track comes.
    let kept = |section: &Section| {
        section.kind != SectionKind::Other && !section.codecs.is_empty() && (section.receives || section.sends)
    };
    let kept: Vec<bool> = offer.sections.iter().map(kept).collect();
    let mut text = head(offer, local, &kept);
    let (mut sections, mut first) = (Vec::new(), true);
    for (m_line, ((section, chosen), kept)) in offer.sections.iter().zip(chosen).zip(kept).enumerate() {
        if !kept {
            reject(&mut text, section);
            continue;
        }
        let codec = chosen.map_or(&section.codecs[0], |(_, codec)| codec);
        begin(&mut text, section, local, &[codec], std::mem::take(&mut first));
        text.push_str(if chosen.is_some() { "a=sendonly\r\n" } else { "a=inactive\r\n" });
        let feedback = FeedbackKinds { transport_cc: measures && codec.feedback.transport_cc, ..codec.feedback };
        codec_lines(&mut text, codec, feedback);
        let mut agree = |uri| extension(&mut text, offer, section, uri, |offered| offered.receives);
        agree(MID);
        let transport_cc = if measures && codec.feedback.transport_cc { agree(TRANSPORT_CC) } else { None };
        if let Some((track, _)) = chosen {
            source_lines(&mut text, &tracks[track], codec.rtx.is_some());
        }
        let (payload_type, rtx_payload_type) = (codec.payload_type, codec.rtx);
        let track = chosen.map(|(track, _)| track);
        sections.push(SendSection { m_line, track, payload_type, rtx_payload_type, transport_cc });
    }
    Ok((ViewerAgreement { sections }, text))
}

/// The client's payload type for a codec. Decoders list constrained baseline and decode High as well, so for H.264 the
/// same profile is best, constrained baseline good, anything else tried.
fn best(section: &Section, ours: Codec) -> Option<&OfferedCodec> {
    // What an m-line says it is counts, whatever codecs it lists.
    let kind = if ours == Codec::Opus { SectionKind::Audio } else { SectionKind::Video };
    if section.kind != kind {
        return None;
    }
    let score = |codec: &&OfferedCodec| match (ours, codec.codec) {
        (Codec::H264 { profile_level_id: ours }, Codec::H264 { profile_level_id: theirs }) => {
            Some(if theirs[0] == ours[0] {
                3
            } else if theirs[..2] == [0x42, 0xe0] {
                2
            } else {
                1
            })
        }
        (ours, theirs) => (ours == theirs).then_some(1),
    };
    // The last of equal maxima wins, so the client's first preference is looked at last.
    section.codecs.iter().rev().filter(|codec| score(codec).is_some()).max_by_key(score)
}

fn names(codecs: impl Iterator<Item = Codec>) -> String {
    let mut names: Vec<&str> = codecs
        .map(|codec| match codec {
            Codec::H264 { .. } => "H.264",
            Codec::H265 => "H.265",
            Codec::Av1 => "AV1",
            Codec::Vp8 => "VP8",
            Codec::Vp9 => "VP9",
            Codec::Opus => "Opus",
        })
        .collect();
    names.dedup();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn write(text: &mut String, line: fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a String takes everything");
}

fn head(offer: &Offer, local: &Local, accepted: &[bool]) -> String {
    let mids = offer.sections.iter().zip(accepted).filter(|(_, accepted)| **accepted).map(|(section, _)| &section.mid);
    let mids = mids.map(String::as_str).collect::<Vec<_>>().join(" ");
    let mut text = format!("v=0\r\no=- {} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", local.session_id);
    write(&mut text, format_args!("a=group:BUNDLE {mids}\r\na=ice-lite\r\n"));
    if offer.mixed_extensions {
        text.push_str("a=extmap-allow-mixed\r\n");
    }
    text.push_str("a=msid-semantic: WMS *\r\n");
    text
}

fn kind(section: &Section) -> &'static str {
    match section.kind {
        SectionKind::Audio => "audio",
        SectionKind::Video => "video",
        SectionKind::Other => "application",
    }
}

fn reject(text: &mut String, section: &Section) {
    let format = section.codecs.first().map_or("0".to_owned(), |codec| codec.payload_type.to_string());
    let format = if section.kind == SectionKind::Other { "webrtc-datachannel".to_owned() } else { format };
    let (kind, protocol, mid) = (kind(section), &section.protocol, &section.mid);
    write(text, format_args!("m={kind} 0 {protocol} {format}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=inactive\r\n"));
}

fn begin(text: &mut String, section: &Section, local: &Local, codecs: &[&OfferedCodec], first: bool) {
    write(text, format_args!("m={} 9 {}", kind(section), section.protocol));
    for codec in codecs {
        write(text, format_args!(" {}", codec.payload_type));
        if let Some(rtx) = codec.rtx {
            write(text, format_args!(" {rtx}"));
        }
    }
    text.push_str("\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n");
    if first {
        for (index, candidate) in local.candidates.iter().enumerate() {
            text.push_str("a=");
            write_candidate(text, index, candidate);
            text.push_str("\r\n");
        }
        text.push_str("a=end-of-candidates\r\n");
    }
    write(text, format_args!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", local.ufrag, local.pwd));
    write(text, format_args!("a=fingerprint:sha-256 {}\r\na=setup:passive\r\n", local.fingerprint_sha256));
    write(text, format_args!("a=mid:{}\r\na=rtcp-mux\r\n", section.mid));
    if section.reduced_size {
        text.push_str("a=rtcp-rsize\r\n");
    }
}

/// A candidate without `a=` (RFC 8839 section 5.1); earlier ones are preferred.
pub(crate) fn write_candidate(text: &mut String, index: usize, candidate: &Candidate) {
    let (ip, port) = (candidate.address.ip(), candidate.address.port());
    // Type preference, local preference, component (RFC 8445 section 5.1.2.1); TCP behind every UDP.
    let (transport, suffix, preference) = match candidate.kind {
        CandidateKind::Udp => ("udp", "", 126_u32),
        CandidateKind::TcpPassive => ("tcp", " tcptype passive", 90),
    };
    let priority = (preference << 24) + ((65_535 - index as u32) << 8) + 255;
    let foundation = index + 1;
    write(text, format_args!("candidate:{foundation} 1 {transport} {priority} {ip} {port} typ host{suffix}"));
}

fn codec_lines(text: &mut String, codec: &OfferedCodec, feedback: FeedbackKinds) {
    let number = codec.payload_type;
    let (name, clock) = match codec.codec {
        Codec::H264 { .. } => ("H264", "90000"),
        Codec::H265 => ("H265", "90000"),
        Codec::Av1 => ("AV1", "90000"),
        Codec::Vp8 => ("VP8", "90000"),
        Codec::Vp9 => ("VP9", "90000"),
        Codec::Opus => ("opus", "48000/2"),
    };
    write(text, format_args!("a=rtpmap:{number} {name}/{clock}\r\n"));
    if codec.codec == Codec::Opus {
        write(text, format_args!("a=fmtp:{number} minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1\r\n"));
    } else if !codec.format.is_empty() {
        write(text, format_args!("a=fmtp:{number} {}\r\n", codec.format));
    }
    let FeedbackKinds { nack, pli, fir, transport_cc } = feedback;
    let kinds = [(nack, "nack"), (pli, "nack pli"), (fir, "ccm fir"), (transport_cc, "transport-cc")];
    for (_, kind) in kinds.into_iter().filter(|(offered, _)| *offered) {
        write(text, format_args!("a=rtcp-fb:{number} {kind}\r\n"));
    }
    if let Some(rtx) = codec.rtx {
        write(text, format_args!("a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={number}\r\n"));
    }
}

/// Agrees to an extension, under the client's number, if it was offered in the direction that matters.
fn extension(
    text: &mut String,
    offer: &Offer,
    section: &Section,
    uri: &str,
    fits: impl Fn(&Extension) -> bool,
) -> Option<u8> {
    let id = section.extensions.iter().find(|offered| offered.uri == uri && fits(offered))?.id;
    let usable = (1..=14).contains(&id) || (offer.mixed_extensions && id > 15);
    if usable {
        write(text, format_args!("a=extmap:{id} {uri}\r\n"));
    }
    usable.then_some(id)
}

fn source_lines(text: &mut String, track: &Outgoing, with_rtx: bool) {
    let Outgoing { ssrc, rtx_ssrc, stream, track: name, .. } = track;
    write(text, format_args!("a=msid:{stream} {name}\r\n"));
    let rtx = rtx_ssrc.filter(|_| with_rtx);
    if let Some(rtx) = rtx {
        write(text, format_args!("a=ssrc-group:FID {ssrc} {rtx}\r\n"));
    }
    for ssrc in std::iter::once(*ssrc).chain(rtx) {
        write(text, format_args!("a=ssrc:{ssrc} cname:{stream}\r\na=ssrc:{ssrc} msid:{stream} {name}\r\n"));
    }
}
