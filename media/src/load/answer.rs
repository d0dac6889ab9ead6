//! A server's answer, as far as a light peer needs it.
//!
//! In: SDP. Out: where the server is, who it is, and under which numbers media travels. Tolerant: servers of others differ.

use super::handshake::{Identity, Role};
use super::offer::{Offering, Sources};
use crate::rtc::ice::Credentials;
use crate::rtc::negotiate::{Codec, Fingerprint, Section, SectionKind, attribute, attributes};
use crate::whep::burst::Lane;
use std::net::SocketAddr;

/// Both sides' word: a peer can be made of it.
#[derive(Debug)]
pub struct Agreed {
    pub(super) identity: Identity,
    pub(super) local: Credentials,
    pub(super) remote: Credentials,
    pub(super) fingerprint: Fingerprint,
    pub(super) candidates: Vec<SocketAddr>,
    pub(super) role: Role,
    pub(super) lanes: Vec<AgreedLane>,
    pub(super) sources: Sources,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AgreedLane {
    pub(super) lane: Lane,
    /// Payload types with that of their retransmissions, the preferred one first.
    pub(super) payload_types: Vec<(u8, Option<u8>)>,
    /// Id of the transport-wide sequence number.
    pub(super) transport_cc: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    #[error("the answer is no SDP")]
    NotSdp,
    #[error("the answer lacks a={0}")]
    Missing(&'static str),
    #[error("the answer says a=setup:{0}; it has to choose: active or passive")]
    NoRole(String),
    #[error("the answer names no address to reach the server at over UDP")]
    NoCandidate,
    #[error("the answer takes neither H.264 nor Opus")]
    NothingAgreed,
}

/// More are not tried.
const CANDIDATES_MAX: usize = 8;
const TRANSPORT_CC: &str = "transport-wide-cc-extensions-01";

impl Agreed {
    pub(super) fn read(offering: Offering, answer: &str) -> Result<Self, AnswerError> {
        let lines: Vec<&str> = answer.lines().map(|line| line.trim_end_matches('\r')).collect();
        if lines.first() != Some(&"v=0") {
            return Err(AnswerError::NotSdp);
        }
        let needed = |name| attribute(&lines, name).ok_or(AnswerError::Missing(name));
        let remote = Credentials { ufrag: needed("ice-ufrag")?.to_owned(), pwd: needed("ice-pwd")?.to_owned() };
        let fingerprint = needed("fingerprint")?.parse().map_err(|()| AnswerError::Missing("fingerprint"))?;
        // RFC 8842 section 5.3: `actpass` is for offers, and would leave open who greets.
        let role = match needed("setup")? {
            "active" => Role::Server,
            "passive" => Role::Client,
            other => return Err(AnswerError::NoRole(other.to_owned())),
        };
        let mut candidates: Vec<(u32, SocketAddr)> = attributes(&lines, "candidate").filter_map(candidate).collect();
        candidates.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
        let mut candidates: Vec<SocketAddr> = candidates.into_iter().map(|(_, address)| address).collect();
        let mut known = std::collections::HashSet::new();
        candidates.retain(|address| known.insert(*address));
        candidates.truncate(CANDIDATES_MAX);
        if candidates.is_empty() {
            return Err(AnswerError::NoCandidate);
        }
        let starts: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].starts_with("m=")).collect();
        let ends = starts.iter().skip(1).copied().chain([lines.len()]);
        let lanes: Vec<_> = starts.iter().zip(ends).filter_map(|(start, end)| lane(&lines[*start..end])).collect();
        if lanes.is_empty() {
            return Err(AnswerError::NothingAgreed);
        }
        let Offering { credentials: local, identity, sources, .. } = offering;
        Ok(Self { identity, local, remote, fingerprint, candidates, role, lanes, sources })
    }

    pub(super) fn lane(&self, lane: Lane) -> Option<&AgreedLane> {
        self.lanes.iter().find(|agreed| agreed.lane == lane)
    }
}

/// `1 1 udp 2130706431 192.0.2.1 8189 typ host`: priority and address of one that UDP reaches.
fn candidate(value: &str) -> Option<(u32, SocketAddr)> {
    let mut words = value.split(' ').skip(1);
    let (component, transport) = (words.next()?, words.next()?);
    let priority = words.next()?.parse().ok()?;
    let address = SocketAddr::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (component == "1" && transport.eq_ignore_ascii_case("udp") && address.port() != 0).then_some((priority, address))
}

fn lane(lines: &[&str]) -> Option<AgreedLane> {
    let section = Section::parse(lines);
    let rejected = lines[0].split(' ').nth(1) == Some("0") || (!section.sends && !section.receives);
    let lane = match section.kind {
        SectionKind::Audio => Lane::Audio,
        SectionKind::Video => Lane::Video,
        SectionKind::Other => return None,
    };
    let is_ours =
        |codec: &Codec| matches!((lane, codec), (Lane::Audio, Codec::Opus) | (Lane::Video, Codec::H264 { .. }));
    let codecs = section.codecs.iter().filter(|codec| is_ours(&codec.codec));
    let payload_types: Vec<_> = codecs.map(|codec| (codec.payload_type, codec.rtx)).collect();
    let transport_cc = section.extensions.iter().find(|one| one.uri.ends_with(TRANSPORT_CC)).map(|one| one.id);
    (!rejected && !payload_types.is_empty()).then_some(AgreedLane { lane, payload_types, transport_cc })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtc::negotiate::{Candidate, CandidateKind, Local, Offer, Outgoing, answer_viewer};

    fn answer(offer: &str) -> String {
        let kinds = [CandidateKind::Udp, CandidateKind::TcpPassive];
        let at = |kind| Candidate { address: "192.0.2.1:8189".parse().unwrap(), kind };
        let local = Local {
            ufrag: "theirs".to_owned(),
            pwd: "their password".to_owned(),
            fingerprint_sha256: ["AB"; 32].join(":"),
            candidates: kinds.map(at).to_vec(),
            session_id: 1,
        };
        let track = |codec, ssrc, rtx_ssrc| Outgoing {
            codec,
            needed: true,
            ssrc,
            rtx_ssrc,
            stream: "show".to_owned(),
            track: format!("track{ssrc}"),
        };
        let tracks =
            [track(Codec::H264 { profile_level_id: [0x64, 0, 0x1f] }, 1, Some(2)), track(Codec::Opus, 3, None)];
        answer_viewer(&Offer::parse(offer).unwrap(), &local, &tracks, false).unwrap().1
    }

    #[test]
    fn the_servers_answer_is_understood() {
        let offering = Offering::viewer(&Identity::generate().unwrap());
        let text = answer(offering.sdp());
        let agreed = offering.accept(&text).unwrap();
        assert_eq!((agreed.remote.ufrag.as_str(), agreed.role), ("theirs", Role::Client));
        let address: SocketAddr = "192.0.2.1:8189".parse().unwrap();
        assert_eq!(agreed.candidates, [address], "without the one over TCP");
        let lane =
            |lane, payload_types: &[_]| AgreedLane { lane, payload_types: payload_types.to_vec(), transport_cc: None };
        assert_eq!(agreed.lanes, [lane(Lane::Audio, &[(111, None)]), lane(Lane::Video, &[(112, Some(113))])]);
    }

    #[test]
    fn what_an_answer_lacks_is_named() {
        let identity = Identity::generate().unwrap();
        let offering = || Offering::viewer(&identity);
        let whole = answer(offering().sdp());
        assert_eq!(offering().accept("<html>").unwrap_err(), AnswerError::NotSdp);
        let without = |text: &str| whole.lines().filter(|line| !line.contains(text)).collect::<Vec<_>>().join("\r\n");
        for (text, error) in [
            ("a=ice-pwd", AnswerError::Missing("ice-pwd")),
            ("a=fingerprint", AnswerError::Missing("fingerprint")),
            ("a=candidate", AnswerError::NoCandidate),
            ("a=rtpmap", AnswerError::NothingAgreed),
        ] {
            assert_eq!(offering().accept(&without(text)).unwrap_err(), error);
        }
        let active = whole.replace("setup:passive", "setup:active");
        assert_eq!(offering().accept(&active).unwrap().role, Role::Server);
        let undecided = whole.replace("setup:passive", "setup:actpass");
        assert_eq!(offering().accept(&undecided).unwrap_err(), AnswerError::NoRole("actpass".to_owned()));
    }
}
