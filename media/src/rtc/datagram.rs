//! What a datagram is, by its first bytes (RFC 7983, RFC 5761 section 4).

/// The protocols that share the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
    Unknown,
}

/// Looks at the first two bytes only.
pub(crate) fn classify(datagram: &[u8]) -> Kind {
    match *datagram {
        [0..=3, ..] => Kind::Stun,
        [20..=63, ..] => Kind::Dtls,
        [128..=191, 192..=223, ..] => Kind::Rtcp,
        [128..=191, _, ..] => Kind::Rtp,
        _ => Kind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_told_apart_by_their_first_bytes() {
        for (bytes, kind) in [
            (&[0x00, 0x01][..], Kind::Stun),
            (&[22, 0xfe], Kind::Dtls),
            (&[0x80, 96], Kind::Rtp),
            (&[0x90, 0x80 | 111], Kind::Rtp),
            (&[0x80, 200], Kind::Rtcp),
            (&[0x81, 206], Kind::Rtcp),
            (&[0x80], Kind::Unknown),
            (&[], Kind::Unknown),
            (&[64, 0], Kind::Unknown),
            (&[255, 255], Kind::Unknown),
        ] {
            assert_eq!(classify(bytes), kind, "{bytes:?}");
        }
    }
}
