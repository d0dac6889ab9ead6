//! Our side of a connection, for those who try offers on it.

use super::{Candidate, CandidateKind, Local};

pub(crate) fn local() -> Local {
    let candidate = |text: &str, kind| Candidate { address: text.parse().expect("a good address"), kind };
    Local {
        ufrag: "00ours".to_owned(),
        pwd: "ours-ours-ours-ours-ours".to_owned(),
        fingerprint_sha256: "AA:BB".to_owned(),
        candidates: vec![
            candidate("203.0.113.5:8189", CandidateKind::Udp),
            candidate("[2001:db8::5]:8189", CandidateKind::Udp),
            candidate("203.0.113.5:8189", CandidateKind::TcpPassive),
        ],
        session_id: 77,
    }
}
