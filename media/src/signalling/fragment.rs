//! SDP fragments of PATCH (RFC 8840 section 9).

use crate::rtc::negotiate::{Candidate, write_candidate};

/// What a client trickles, or the credentials of its ICE restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SdpFragment {
    ufrag: Option<String>,
    pwd: Option<String>,
    candidates: usize,
    ended: bool,
}

const BYTES_MAX: usize = 16 * 1024;

impl SdpFragment {
    /// `None`: not a fragment.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > BYTES_MAX {
            return None;
        }
        let mut fragment = Self::default();
        for line in text.lines().map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty()) {
            if line.starts_with("m=") {
                continue;
            }
            let attribute = line.strip_prefix("a=")?;
            match attribute.split_once(':') {
                Some(("ice-ufrag", ufrag)) => fragment.ufrag = Some(ufrag.to_owned()),
                Some(("ice-pwd", pwd)) => fragment.pwd = Some(pwd.to_owned()),
                Some(("candidate", _)) => fragment.candidates += 1,
                Some(_) => {}
                None => fragment.ended |= attribute == "end-of-candidates",
            }
        }
        let says_something = fragment.ufrag.is_some() || fragment.candidates > 0 || fragment.ended;
        says_something.then_some(fragment)
    }

    pub(crate) fn ufrag(&self) -> Option<&str> {
        self.ufrag.as_deref()
    }

    /// Both credentials are there.
    pub(super) fn has_credentials(&self) -> bool {
        self.ufrag.is_some() && self.pwd.is_some()
    }
}

/// Our half of an ICE restart: new credentials, the same candidates.
pub(crate) fn answer_fragment(ufrag: &str, pwd: &str, mid: &str, candidates: &[Candidate]) -> String {
    let mut text = format!(
        "a=ice-lite\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{mid}\r\n"
    );
    for (index, candidate) in candidates.iter().enumerate() {
        text.push_str("a=");
        write_candidate(&mut text, index, candidate);
        text.push_str("\r\n");
    }
    text.push_str("a=end-of-candidates\r\n");
    text
}
