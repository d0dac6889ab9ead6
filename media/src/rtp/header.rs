//! The RTP header, read and written (RFC 3550 section 5.1, RFC 8285).
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

/// The number of a packet over everything that a peer is sent (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 2),
/// under the id that was agreed on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) id: u8,
    pub(crate) sequence: u16,
}

/// The fixed header of RFC 3550 section 5.1, with the transport-wide number behind it where that was agreed on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentHeader {
    pub(crate) payload_type: u8,
    pub(crate) marker: bool,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) stamp: Option<Stamp>,
}

const FIXED_BYTES: usize = 12;
const STAMP_BYTES: usize = 8;
impl SentHeader {
    pub(crate) const BYTES_MAX: usize = FIXED_BYTES + STAMP_BYTES;

    pub(crate) fn bytes(&self) -> usize {
        FIXED_BYTES + self.stamp.map_or(0, |_| STAMP_BYTES)
    }

    pub(crate) fn write(&self, sequence: u16, out: &mut Vec<u8>) {
        let mut fixed = [0_u8; FIXED_BYTES];
        fixed[0] = 0x80 | (u8::from(self.stamp.is_some()) << 4);
        fixed[1] = self.payload_type | (u8::from(self.marker) << 7);
        fixed[2..4].copy_from_slice(&sequence.to_be_bytes());
        fixed[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        fixed[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&fixed);
        if let Some(Stamp { id, sequence }) = self.stamp {
            let [high, low] = sequence.to_be_bytes();
            // One element of two bytes in the one-byte form, padded to a word (RFC 8285 section 4.2); ids above 14 need the
            // other form (section 4.3).
            let block = match id {
                ..=14 => [0xbe, 0xde, 0, 1, id << 4 | 1, high, low, 0],
                _ => [0x10, 0, 0, 1, id, 2, high, low],
            };
            out.extend_from_slice(&block);
        }
    }
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

    #[test]
    fn transport_wide_numbers_stand_in_either_form_of_extension() {
        for id in [3, 14, 16, 255] {
            let stamp = Some(Stamp { id, sequence: 0x1234 });
            let header = SentHeader { payload_type: 96, marker: true, timestamp: 6, ssrc: 7, stamp };
            let mut packet = Vec::new();
            header.write(5, &mut packet);
            assert_eq!(packet.len(), header.bytes());
            packet.push(9);
            let read = RtpHeader::parse(&packet).unwrap();
            assert_eq!((read.marker, read.sequence, read.ssrc, read.payload), (true, 5, 7, 20..21));
            assert_eq!(extensions(&packet).collect::<Vec<_>>(), [(id, &[0x12, 0x34][..])]);
        }
    }
}
