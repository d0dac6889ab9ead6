//! The RTP header, read (RFC 3550 section 5.1, RFC 8285).
//!
//! ```text
//!  0                   1                   2                   3
//! |V=2|P|X|  CC   |M|     PT      |       sequence number         |
//! |                           timestamp                           |
//! |                              SSRC                             |
//! |                     CSRC (CC words), extension                |
//! ```

use std::ops::Range;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RtpHeader {
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    /// Without padding; may be empty.
    pub(crate) payload: Range<usize>,
}

impl RtpHeader {
    /// `None`: not a whole RTP packet.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let &[first, second, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3, ..] = packet else { return None };
        if first >> 6 != 2 {
            return None;
        }
        let mut start = 12 + usize::from(first & 0x0f) * 4;
        if first & 0x10 != 0 {
            let words = u16::from_be_bytes([*packet.get(start + 2)?, *packet.get(start + 3)?]);
            start += 4 + usize::from(words) * 4;
        }
        let padding = if first & 0x20 != 0 { usize::from(*packet.last()?) } else { 0 };
        let end = packet.len().checked_sub(padding).filter(|end| *end >= start)?;
        Some(Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([r0, r1, r2, r3]),
            payload: start..end,
        })
    }
}

/// The header extensions of a packet that [`RtpHeader::parse`] took: id and value (RFC 8285 sections 4.2 and 4.3). Ends at
/// the first that is not whole.
pub(crate) fn extensions(packet: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let (profile, mut rest) = extension_block(packet).unwrap_or_default();
    std::iter::from_fn(move || {
        // Padding between elements.
        while let [0, behind @ ..] = rest {
            rest = behind;
        }
        let (id, length, behind) = match (profile, rest) {
            (0xbede, [head, behind @ ..]) => (head >> 4, usize::from(head & 0x0f) + 1, behind),
            (0x1000..=0x100f, [id, length, behind @ ..]) => (*id, usize::from(*length), behind),
            _ => return None,
        };
        let (value, behind) = behind.split_at_checked(length)?;
        rest = behind;
        Some((id, value))
    })
}

/// The profile and the body of the extension.
fn extension_block(packet: &[u8]) -> Option<(u16, &[u8])> {
    let first = *packet.first()?;
    if first & 0x10 == 0 {
        return None;
    }
    let start = 12 + usize::from(first & 0x0f) * 4;
    let &[p0, p1, l0, l1] = packet.get(start..start + 4)? else { return None };
    let words = usize::from(u16::from_be_bytes([l0, l1]));
    Some((u16::from_be_bytes([p0, p1]), packet.get(start + 4..start + 4 + words * 4)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_extensions_and_padding_are_not_payload() {
        let mut packet = vec![0xb1, 0xe0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 5];
        packet.extend_from_slice(&[1; 4]);
        packet.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x10, 5, 0, 0]);
        packet.extend_from_slice(b"media");
        packet.extend_from_slice(&[0, 0, 3]);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!((header.marker, header.payload_type, header.sequence, header.ssrc), (true, 96, 7, 5));
        assert_eq!(&packet[header.payload], b"media");
        assert_eq!(extensions(&packet).collect::<Vec<_>>(), [(1, &[5][..])]);
        for end in 0..packet.len() {
            let _ = RtpHeader::parse(&packet[..end]);
            let _ = extensions(&packet[..end]).count();
        }
        assert_eq!(RtpHeader::parse(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200]), None, "more padding than packet");
    }
}
