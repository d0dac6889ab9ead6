//! What a light peer offers, in the words of Chromium 156.
//!
//! In: what to do and credentials. Out: SDP (RFC 8866, RFC 8829). No candidates: servers learn where a peer is from its
//! checks.

use super::answer::{Agreed, AnswerError};
use super::clip::Clip;
use super::handshake::Identity;
use crate::rtc::ice::Credentials;
use std::fmt::Write;

/// An offer that waits for its answer.
#[derive(Debug)]
pub struct Offering {
    sdp: String,
    pub(super) credentials: Credentials,
    pub(super) identity: Identity,
    pub(super) sources: Sources,
}

/// Sources of a publisher (RFC 3550 section 8); a viewer has only the one it reports under.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sources {
    pub(super) audio: u32,
    pub(super) video: u32,
    pub(super) rtx: u32,
}

const AUDIO_EXTENSIONS: &str = "a=extmap:14 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n";
const EXTENSIONS: &str = "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n";
/// Payload type and profile: baseline, constrained baseline, main, high.
const H264: [(u8, &str); 4] = [(102, "42001f"), (106, "42e01f"), (127, "4d001f"), (112, "64001f")];
const OPUS: u8 = 111;

impl Offering {
    /// To watch: H.264 and Opus.
    pub fn viewer(identity: &Identity) -> Self {
        Self::new(identity, |text, credentials, _| {
            section(text, "audio", &[OPUS], identity, credentials);
            text.push_str(AUDIO_EXTENSIONS);
            text.push_str("a=recvonly\r\n");
            opus(text);
            let types: Vec<u8> = H264.iter().flat_map(|(number, _)| [*number, *number + 1]).collect();
            section(text, "video", &types, identity, credentials);
            text.push_str("a=recvonly\r\n");
            H264.iter().for_each(|(number, profile)| h264(text, *number, profile));
        })
    }

    /// To publish a clip.
    pub fn publisher(identity: &Identity, clip: &Clip) -> Self {
        Self::new(identity, |text, credentials, sources| {
            if clip.has_audio() {
                section(text, "audio", &[OPUS], identity, credentials);
                text.push_str(AUDIO_EXTENSIONS);
                line(text, format_args!("a=sendonly\r\na=msid:bench audio\r\na=ssrc:{} cname:bench", sources.audio));
                opus(text);
            }
            let number = H264[0].0;
            section(text, "video", &[number, number + 1], identity, credentials);
            let Sources { video, rtx, .. } = sources;
            line(text, format_args!("a=sendonly\r\na=msid:bench video\r\na=ssrc-group:FID {video} {rtx}"));
            line(text, format_args!("a=ssrc:{video} cname:bench\r\na=ssrc:{rtx} cname:bench"));
            h264(text, number, &clip.profile_level_id());
        })
    }

    fn new(identity: &Identity, sections: impl FnOnce(&mut String, &Credentials, Sources)) -> Self {
        let credentials = Credentials::generate();
        let first = rand::random::<u32>() | 1;
        let sources = Sources { audio: first, video: first.wrapping_add(2), rtx: first.wrapping_add(4) };
        let mut body = String::new();
        sections(&mut body, &credentials, sources);
        let count = body.matches("m=").count();
        let mids = (0..count).map(|mid| mid.to_string()).collect::<Vec<_>>().join(" ");
        let mut sdp = String::new();
        line(&mut sdp, format_args!("v=0\r\no=- {} 2 IN IP4 127.0.0.1", rand::random::<u64>() >> 2));
        line(&mut sdp, format_args!("s=-\r\nt=0 0\r\na=group:BUNDLE {mids}"));
        sdp.push_str("a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n");
        // The sections are numbered in the order they stand in.
        let mut pieces = body.split("a=mid:?\r\n");
        sdp.push_str(pieces.next().unwrap_or_default());
        for (mid, piece) in pieces.enumerate() {
            line(&mut sdp, format_args!("a=mid:{mid}"));
            sdp.push_str(piece);
        }
        Self { sdp, credentials, identity: identity.clone(), sources }
    }

    pub fn sdp(&self) -> &str {
        &self.sdp
    }

    /// What the server's answer agrees to.
    pub fn accept(self, answer: &str) -> Result<Agreed, AnswerError> {
        Agreed::read(self, answer)
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a String takes everything");
    text.push_str("\r\n");
}

fn section(text: &mut String, kind: &str, types: &[u8], identity: &Identity, credentials: &Credentials) {
    let types = types.iter().map(u8::to_string).collect::<Vec<_>>().join(" ");
    line(text, format_args!("m={kind} 9 UDP/TLS/RTP/SAVPF {types}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0"));
    line(text, format_args!("a=ice-ufrag:{}\r\na=ice-pwd:{}", credentials.ufrag, credentials.pwd));
    line(text, format_args!("a=ice-options:trickle\r\na=fingerprint:sha-256 {}", identity.fingerprint_sha256()));
    text.push_str("a=setup:actpass\r\na=mid:?\r\n");
    text.push_str(EXTENSIONS);
    text.push_str("a=rtcp-mux\r\na=rtcp-rsize\r\n");
}

fn opus(text: &mut String) {
    line(text, format_args!("a=rtpmap:{OPUS} opus/48000/2\r\na=rtcp-fb:{OPUS} transport-cc"));
    line(text, format_args!("a=fmtp:{OPUS} minptime=10;useinbandfec=1"));
}

fn h264(text: &mut String, number: u8, profile: &str) {
    line(text, format_args!("a=rtpmap:{number} H264/90000"));
    for feedback in ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"] {
        line(text, format_args!("a=rtcp-fb:{number} {feedback}"));
    }
    line(
        text,
        format_args!("a=fmtp:{number} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}"),
    );
    line(text, format_args!("a=rtpmap:{} rtx/90000\r\na=fmtp:{} apt={number}", number + 1, number + 1));
}
