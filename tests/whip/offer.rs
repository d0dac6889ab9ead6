//! Offers of a browser's shape, with credentials that no offer had before.

use ring::rand::{SecureRandom, SystemRandom};

/// An offer under construction.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
    fingerprint: String,
    setup: &'static str,
    sections: Vec<String>,
}

/// A name that IANA does not know.
pub(crate) const UNKNOWN_CODEC: &str = "a=rtpmap:96 X-NOBODYS/90000\r\n";
const OPUS: &str = "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n";
const VIDEO: &str = "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 ccm fir\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n\
    a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
    a=rtpmap:103 H264/90000\r\na=rtcp-fb:103 ccm fir\r\na=rtcp-fb:103 nack\r\na=rtcp-fb:103 nack pli\r\n\
    a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
    a=rtpmap:104 rtx/90000\r\na=fmtp:104 apt=103\r\n";

impl Offer {
    /// Sound and picture: `direction` is `sendonly`, `recvonly` or `sendrecv`.
    pub(crate) fn new(direction: &str) -> Self {
        Self::empty().audio(direction).video(direction, VIDEO)
    }

    pub(crate) fn empty() -> Self {
        let fingerprint = random::<32>().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
        Self { ufrag: text::<4>(), pwd: text::<12>(), fingerprint, setup: "actpass", sections: Vec::new() }
    }

    pub(crate) fn audio(self, direction: &str) -> Self {
        self.section("audio 9 UDP/TLS/RTP/SAVPF 111", direction, OPUS)
    }

    pub(crate) fn video(self, direction: &str, codecs: &str) -> Self {
        let numbers = if codecs == VIDEO { "96 97 103 104" } else { "96" };
        self.section(&format!("video 9 UDP/TLS/RTP/SAVPF {numbers}"), direction, codecs)
    }

    /// One more picture, as the second camera of a page would be.
    pub(crate) fn second_video(self, direction: &str) -> Self {
        self.video(direction, VIDEO)
    }

    pub(crate) fn data_channel(self) -> Self {
        self.section("application 9 UDP/DTLS/SCTP webrtc-datachannel", "sendrecv", "a=sctp-port:5000\r\n")
    }

    /// Everything behind the first section has no address of its own (RFC 9143 section 6).
    pub(crate) fn bundle_only(mut self) -> Self {
        for section in self.sections.iter_mut().skip(1) {
            *section = section.replacen(" 9 ", " 0 ", 1) + "a=bundle-only\r\n";
        }
        self
    }

    /// The last picture is sent in three layers.
    pub(crate) fn simulcast(mut self) -> Self {
        if let Some(section) = self.sections.last_mut() {
            section.push_str(
                "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
                 a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n\
                 a=rid:h send\r\na=rid:m send\r\na=rid:l send\r\na=simulcast:send h;m;l\r\n",
            );
        }
        self
    }

    pub(crate) fn setup(self, setup: &'static str) -> Self {
        Self { setup, ..self }
    }

    fn section(mut self, line: &str, direction: &str, codecs: &str) -> Self {
        let mid = self.sections.len();
        let media = if line.starts_with("application") {
            codecs.to_owned()
        } else {
            let track = text::<9>();
            format!(
                "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na={direction}\r\na=msid:- {track}\r\na=rtcp-mux\r\n\
                 a=rtcp-mux-only\r\na=rtcp-rsize\r\n{codecs}"
            )
        };
        self.sections.push(format!(
            "m={line}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=ice-options:trickle\r\n\
             a=fingerprint:sha-256 {}\r\na=setup:SETUP\r\na=mid:{mid}\r\n{media}",
            self.ufrag, self.pwd, self.fingerprint
        ));
        self
    }

    pub(crate) fn text(&self) -> String {
        let mids = (0..self.sections.len()).map(|mid| mid.to_string()).collect::<Vec<_>>().join(" ");
        let id = u64::from_be_bytes(random()) >> 2;
        format!(
            "v=0\r\no=- {id} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mids}\r\na=extmap-allow-mixed\r\n\
             a=msid-semantic: WMS\r\n{}",
            self.sections.concat().replace("a=setup:SETUP", &format!("a=setup:{}", self.setup))
        )
    }
}

/// A fragment for PATCH: credentials, then candidates (RFC 8840 section 9).
pub(crate) fn fragment(ufrag: &str, pwd: &str, candidates: &str) -> String {
    format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n{candidates}")
}

pub(crate) const CANDIDATE: &str = "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\n";

/// Two characters a byte.
pub(crate) fn text<const N: usize>() -> String {
    random::<N>().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system gives random bytes");
    bytes
}
