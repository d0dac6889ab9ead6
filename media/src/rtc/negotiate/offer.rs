//! An offer as far as it matters here. Lines that are not understood are passed over; what is missing is named.

use std::str::FromStr;

/// What a client offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) ice_ufrag: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) sections: Vec<Section>,
    /// Extension ids above 14 are allowed (RFC 8285 section 6).
    pub(crate) mixed_extensions: bool,
}

/// One m-line with its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) mid: String,
    pub(crate) kind: SectionKind,
    pub(crate) protocol: String,
    /// Both are false for a section whose port is 0 (RFC 3264 section 5.1).
    pub(crate) sends: bool,
    pub(crate) receives: bool,
    /// In the order of the client's preference.
    pub(crate) codecs: Vec<OfferedCodec>,
    pub(crate) extensions: Vec<Extension>,
    /// Media and retransmission sources (RFC 5576, RFC 4588).
    pub(crate) repairs: Vec<(u32, u32)>,
    /// Simulcast layers that the client will send, in the order of `a=simulcast:send` (RFC 8853, RFC 8851).
    pub(crate) rids: Vec<String>,
    pub(crate) reduced_size: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SectionKind {
    Audio,
    Video,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OfferedCodec {
    pub(crate) payload_type: u8,
    pub(crate) codec: Codec,
    pub(crate) rtx: Option<u8>,
    pub(crate) format: String,
    pub(crate) feedback: FeedbackKinds,
}

/// Which feedback is understood for a codec (RFC 4585 section 4.2, RFC 5104 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FeedbackKinds {
    pub(crate) nack: bool,
    pub(crate) pli: bool,
    pub(crate) fir: bool,
    pub(crate) transport_cc: bool,
}

/// A header extension (RFC 8285 section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) id: u8,
    pub(crate) uri: String,
    /// The client will send it, will read it.
    pub(crate) sends: bool,
    pub(crate) receives: bool,
}

/// What can travel in RTP here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Packetization mode 1; profile, constraints and level (RFC 6184 section 8.1).
    H264 {
        profile_level_id: [u8; 3],
    },
    H265,
    Av1,
    Vp8,
    Vp9,
    Opus,
}

/// Of the client's certificate (RFC 8122).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    algorithm: Hash,
    digest: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OfferError {
    #[error("this is not SDP: it must begin with v=0")]
    NotSdp,
    #[error("a line has a CR or NUL in it (RFC 8866 section 9)")]
    ControlCharacter,
    #[error("no media: at least one m= line is needed")]
    NoMedia,
    #[error("more than {SECTIONS_MAX} m= lines")]
    TooManySections,
    #[error("a=ice-ufrag and a=ice-pwd are missing")]
    NoIceCredentials,
    #[error("a=fingerprint with sha-256, sha-384 or sha-512 is missing")]
    NoFingerprint,
    #[error("a=setup must be actpass or active: this server is passive (RFC 9725 section 4.4)")]
    Setup,
    #[error("a=group:BUNDLE must name every m= line (RFC 9725 section 4.4)")]
    NotBundled,
    #[error("a=rtcp-mux is missing in the m= line {0:?} (RFC 9725 section 4.4)")]
    NoRtcpMux(String),
}

const SECTIONS_MAX: usize = 16;
const CODECS_MAX: usize = 128;
const LAYERS_MAX: usize = 4;
/// Longer ones do not fit the one-byte form of header extensions (RFC 8285 section 4.2).
const RID_MAX: usize = 16;

impl Offer {
    pub(crate) fn parse(text: &str) -> Result<Self, OfferError> {
        let mut lines = text.lines().map(|line| line.trim_end_matches('\r'));
        if lines.next() != Some("v=0") {
            return Err(OfferError::NotSdp);
        }
        let lines: Vec<&str> = lines.collect();
        // What is written into the answer must stay within its line for readers that end lines at CR.
        if lines.iter().any(|line| line.contains(['\r', '\0'])) {
            return Err(OfferError::ControlCharacter);
        }
        let starts: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].starts_with("m=")).collect();
        if starts.is_empty() {
            return Err(OfferError::NoMedia);
        }
        if starts.len() > SECTIONS_MAX {
            return Err(OfferError::TooManySections);
        }
        let session = &lines[..starts[0]];
        let ends = starts.iter().skip(1).copied().chain([lines.len()]);
        let bodies: Vec<&[&str]> = starts.iter().zip(ends).map(|(start, end)| &lines[*start..end]).collect();
        // ICE, DTLS and fingerprint stand in the session or in every section; bundled, the first one counts.
        let shared =
            |name: &str| attribute(session, name).or_else(|| bodies.iter().find_map(|body| attribute(body, name)));
        let ice_ufrag = shared("ice-ufrag").filter(|ufrag| (4..=256).contains(&ufrag.len()));
        let (Some(ice_ufrag), Some(_)) = (ice_ufrag, shared("ice-pwd")) else {
            return Err(OfferError::NoIceCredentials);
        };
        let fingerprint =
            shared("fingerprint").and_then(|value| value.parse().ok()).ok_or(OfferError::NoFingerprint)?;
        if !matches!(shared("setup"), Some("actpass" | "active")) {
            return Err(OfferError::Setup);
        }
        let sections = bodies.iter().map(|body| Section::parse(body)).collect::<Vec<_>>();
        let bundle = session.iter().find_map(|line| line.strip_prefix("a=group:BUNDLE")).unwrap_or_default();
        let bundled: Vec<&str> = bundle.split_whitespace().collect();
        if sections.len() > 1 && !sections.iter().all(|section| bundled.contains(&section.mid.as_str())) {
            return Err(OfferError::NotBundled);
        }
        for (section, body) in sections.iter().zip(&bodies) {
            if section.kind != SectionKind::Other && !body.contains(&"a=rtcp-mux") {
                return Err(OfferError::NoRtcpMux(section.mid.clone()));
            }
        }
        let mixed_extensions = lines.contains(&"a=extmap-allow-mixed");
        Ok(Self { ice_ufrag: ice_ufrag.to_owned(), fingerprint, sections, mixed_extensions })
    }
}

/// The value of the first `a=name:value`.
pub(crate) fn attribute<'a>(lines: &[&'a str], name: &str) -> Option<&'a str> {
    attributes(lines, name).next()
}

pub(crate) fn attributes<'a>(lines: &[&'a str], name: &str) -> impl Iterator<Item = &'a str> {
    let value = move |line: &&'a str| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':').map(str::trim);
    lines.iter().filter_map(value)
}

impl Section {
    pub(crate) fn parse(lines: &[&str]) -> Self {
        let mut words = lines[0].trim_start_matches("m=").split(' ');
        let kind = match words.next() {
            Some("audio") => SectionKind::Audio,
            Some("video") => SectionKind::Video,
            _ => SectionKind::Other,
        };
        let is = |flag: &str| lines.iter().any(|line| line.strip_prefix("a=") == Some(flag));
        // A section that is only sent bundled has port 0 as well (RFC 9143 section 6).
        let alive = words.next().is_some_and(|port| port != "0") || is("bundle-only");
        let protocol = words.next().unwrap_or("UDP/TLS/RTP/SAVPF").to_owned();
        let payload_types: Vec<u8> = words.filter_map(|word| word.parse().ok()).take(CODECS_MAX).collect();
        let repairs = attributes(lines, "ssrc-group").filter_map(|value| {
            let mut words = value.strip_prefix("FID ")?.split(' ');
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        });
        Self {
            mid: attribute(lines, "mid").unwrap_or("0").to_owned(),
            kind,
            protocol,
            sends: alive && !is("recvonly") && !is("inactive"),
            receives: alive && !is("sendonly") && !is("inactive"),
            codecs: codecs(lines, &payload_types),
            extensions: attributes(lines, "extmap").filter_map(extension).take(32).collect(),
            repairs: repairs.take(16).collect(),
            rids: layers(lines),
            reduced_size: is("rtcp-rsize"),
        }
    }
}

/// `3 http://…`, `3/sendonly http://…`.
fn extension(value: &str) -> Option<Extension> {
    let (id, uri) = value.split_once(' ')?;
    let (id, direction) = id.split_once('/').unwrap_or((id, "sendrecv"));
    Some(Extension {
        id: id.parse().ok()?,
        uri: uri.split(' ').next()?.to_owned(),
        sends: matches!(direction, "sendrecv" | "sendonly"),
        receives: matches!(direction, "sendrecv" | "recvonly"),
    })
}

/// `a=simulcast:send h;~m;l`: of alternatives the first, paused ones too (RFC 8853 section 5.1). A layer must have its own
/// `a=rid` line.
fn layers(lines: &[&str]) -> Vec<String> {
    let Some(sent) = attribute(lines, "simulcast").and_then(|value| {
        let mut words = value.split(' ');
        words.find(|word| *word == "send").and_then(|_| words.next())
    }) else {
        return Vec::new();
    };
    let described = |rid: &str| {
        attributes(lines, "rid").any(|value| {
            let mut words = value.split(' ');
            words.next() == Some(rid) && words.next() == Some("send")
        })
    };
    let mut layers: Vec<String> = Vec::new();
    for layer in sent.split(';').take(LAYERS_MAX) {
        let rid = layer.split(',').next().unwrap_or_default().trim_start_matches('~');
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let fits = (1..=RID_MAX).contains(&rid.len()) && rid.bytes().all(legal);
        if fits && described(rid) && layers.iter().all(|known| known != rid) {
            layers.push(rid.to_owned());
        }
    }
    layers
}

/// What the lines say about each payload type, gathered in one pass: an offer may have thousands of lines.
struct Described<'a> {
    map: Option<&'a str>,
    format: &'a str,
    feedback: FeedbackKinds,
}

fn codecs(lines: &[&str], payload_types: &[u8]) -> Vec<OfferedCodec> {
    let mut described: [Described<'_>; 128] =
        std::array::from_fn(|_| Described { map: None, format: "", feedback: FeedbackKinds::default() });
    let mut common = FeedbackKinds::default();
    for line in lines {
        let Some((name, value)) = line.strip_prefix("a=").and_then(|line| line.split_once(':')) else { continue };
        let Some((number, rest)) = value.trim().split_once(' ') else { continue };
        if name == "rtcp-fb" && number == "*" {
            common.add(rest);
            continue;
        }
        let Some(entry) = number.parse().ok().and_then(|number: usize| described.get_mut(number)) else { continue };
        match name {
            "rtpmap" => entry.map = entry.map.or(Some(rest)),
            "fmtp" if entry.format.is_empty() => entry.format = rest,
            "rtcp-fb" => entry.feedback.add(rest),
            _ => {}
        }
    }
    let (mut codecs, mut seen, mut rtx_of) = (Vec::new(), [false; 128], [None; 128]);
    for &number in payload_types {
        let place = usize::from(number);
        let Some(Described { map: Some(map), format, feedback }) = described.get(place) else { continue };
        if std::mem::replace(&mut seen[place], true) {
            continue;
        }
        let map = map.to_ascii_lowercase();
        if map.starts_with("rtx/") {
            let repaired = parameter(format, "apt").and_then(|apt| apt.parse().ok());
            if let Some(rtx) = repaired.and_then(|apt: usize| rtx_of.get_mut(apt)) {
                *rtx = rtx.or(Some(number));
            }
        } else if let Some(codec) = codec(&map, format) {
            let (format, feedback) = ((*format).to_owned(), feedback.or(common));
            codecs.push(OfferedCodec { payload_type: number, codec, rtx: None, format, feedback });
        }
    }
    for codec in &mut codecs {
        codec.rtx = rtx_of[usize::from(codec.payload_type)];
    }
    codecs
}

impl FeedbackKinds {
    fn add(&mut self, named: &str) {
        match named.trim() {
            "nack" => self.nack = true,
            "nack pli" => self.pli = true,
            "ccm fir" => self.fir = true,
            "transport-cc" => self.transport_cc = true,
            _ => {}
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            nack: self.nack || other.nack,
            pli: self.pli || other.pli,
            fir: self.fir || other.fir,
            transport_cc: self.transport_cc || other.transport_cc,
        }
    }
}

fn codec(map: &str, format: &str) -> Option<Codec> {
    match map.split(' ').next()? {
        "h264/90000" if parameter(format, "packetization-mode") == Some("1") => {
            // Baseline where nothing is said (RFC 6184 section 8.1).
            let id = parameter(format, "profile-level-id").and_then(|id| u32::from_str_radix(id, 16).ok());
            let [_, profile, constraints, level] = id.unwrap_or(0x42_00_0a).to_be_bytes();
            Some(Codec::H264 { profile_level_id: [profile, constraints, level] })
        }
        "h265/90000" => Some(Codec::H265),
        // Main profile only, as for VP9 below.
        "av1/90000" if parameter(format, "profile").is_none_or(|profile| profile == "0") => Some(Codec::Av1),
        "vp8/90000" => Some(Codec::Vp8),
        // Profile 0 only: eight bits, 4:2:0 (RFC 9628 section 6).
        "vp9/90000" if parameter(format, "profile-id").is_none_or(|id| id == "0") => Some(Codec::Vp9),
        "opus/48000/2" => Some(Codec::Opus),
        _ => None,
    }
}

fn parameter<'a>(format: &'a str, name: &str) -> Option<&'a str> {
    format.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

impl FromStr for Fingerprint {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (algorithm, digest) = text.split_once(' ').ok_or(())?;
        let (algorithm, length) = match algorithm.to_ascii_lowercase().as_str() {
            "sha-256" => (Hash::Sha256, 32),
            "sha-384" => (Hash::Sha384, 48),
            "sha-512" => (Hash::Sha512, 64),
            _ => return Err(()),
        };
        let digest: Result<Vec<u8>, _> = digest.trim().split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
        digest.ok().filter(|digest| digest.len() == length).map(|digest| Self { algorithm, digest }).ok_or(())
    }
}

impl Fingerprint {
    /// Whether this is the fingerprint of a certificate (DER).
    pub(crate) fn matches(&self, certificate: &[u8]) -> bool {
        let algorithm = match self.algorithm {
            Hash::Sha256 => &ring::digest::SHA256,
            Hash::Sha384 => &ring::digest::SHA384,
            Hash::Sha512 => &ring::digest::SHA512,
        };
        ring::digest::digest(algorithm, certificate).as_ref() == self.digest
    }
}
