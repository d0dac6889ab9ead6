//! AV1 (RTP Payload Format For AV1 v1.0 section 4): OBU elements are joined to units, units to a temporal unit in the
//! low-overhead format.
//!
//! ```text
//!  0 1 2 3 4 5 6 7
//! |Z|Y| W |N|-|-|-|  aggregation header: the first element goes on from the last packet, the last goes on in the next,
//!                    elements (0: each has a length), a coded video sequence begins
//! | length (leb128) | element |  …, the last of W without a length
//! ```

use super::{AccessUnit, UnitFormat};
use crate::codec::av1::obu::{Obu, PADDING, TEMPORAL_DELIMITER, TILE_LIST, leb128};
use crate::codec::av1::{self, is_keyframe};
use bytes::{Bytes, BytesMut};

#[derive(Debug, Default)]
pub(super) struct Av1Assembler {
    /// Units that are whole, each with its size.
    unit: Vec<u8>,
    fragment: Option<BytesMut>,
    /// The newest one, with its size.
    sequence_header: Option<Bytes>,
    told: Option<Bytes>,
}

const CONTINUES: u8 = 0x80;
const TO_BE_CONTINUED: u8 = 0x40;

impl Av1Assembler {
    /// `false`: this payload does not fit to what came before it.
    pub(super) fn push(&mut self, payload: &Bytes) -> bool {
        let Some((&head, mut rest)) = payload.split_first() else { return false };
        let counted = usize::from(head >> 4 & 0x03);
        let mut index = 0;
        while !rest.is_empty() {
            index += 1;
            let element;
            if counted == 0 || index < counted {
                let Some((found, behind)) =
                    leb128(rest).ok().and_then(|(length, behind)| behind.split_at_checked(length))
                else {
                    return false;
                };
                (element, rest) = (found, behind);
            } else {
                (element, rest) = (rest, &[]);
            }
            let continues = index == 1 && head & CONTINUES != 0;
            let to_be_continued = rest.is_empty() && head & TO_BE_CONTINUED != 0;
            if !self.element(element, continues, to_be_continued) {
                return false;
            }
        }
        index > 0 && (counted == 0 || index == counted)
    }

    fn element(&mut self, element: &[u8], continues: bool, to_be_continued: bool) -> bool {
        if continues != self.fragment.is_some() {
            return false;
        }
        if !continues && !to_be_continued {
            return self.whole(element);
        }
        let mut fragment = self.fragment.take().unwrap_or_default();
        fragment.extend_from_slice(element);
        if to_be_continued {
            self.fragment = Some(fragment);
            return true;
        }
        self.whole(&fragment)
    }

    fn whole(&mut self, bytes: &[u8]) -> bool {
        let Ok((obu, _)) = Obu::take(bytes) else { return false };
        // What only a file needs (section 5). Others are of no concern here, also those that are not invented yet.
        if !matches!(obu.kind, TEMPORAL_DELIMITER | TILE_LIST | PADDING) {
            obu.write(&mut self.unit);
        }
        true
    }

    /// The temporal unit that is whole now; `None` for one without a picture.
    pub(super) fn finish(&mut self, timestamp: u32) -> Option<AccessUnit> {
        let payload = Bytes::from(std::mem::take(&mut self.unit));
        let torn = self.fragment.take().is_some();
        if torn || payload.is_empty() {
            return None;
        }
        if let Ok(Some(header)) = av1::sequence_header(&payload) {
            let mut own = Vec::with_capacity(header.payload.len() + 4);
            header.write(&mut own);
            self.sequence_header = Some(own.into());
        }
        let in_force = self.sequence_header.as_ref().and_then(|bytes| Obu::take(bytes).ok()).map(|(obu, _)| obu);
        let keyframe = is_keyframe(&payload, in_force.as_ref());
        let format = in_force.filter(|_| keyframe && self.told != self.sequence_header).and_then(|header| {
            let format = av1::format(av1::record(&header).ok()?).ok()?;
            Some(UnitFormat::Video(format))
        });
        if format.is_some() {
            self.told.clone_from(&self.sequence_header);
        }
        Some(AccessUnit { timestamp, keyframe, payload, format })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(packets: &[&[u8]]) -> (Vec<bool>, Vec<u8>) {
        let mut assembler = Av1Assembler::default();
        let taken = packets.iter().map(|packet| assembler.push(&Bytes::copy_from_slice(packet))).collect();
        (taken, assembler.unit)
    }

    #[test]
    fn elements_are_joined_and_get_their_sizes() {
        // Three elements, the last without a length; a temporal delimiter on the way.
        let (taken, unit) = pushed(&[&[0x30, 1, 0x10, 2, 0x28, 7, 0x30, 8, 9]]);
        assert_eq!((taken, unit), (vec![true], vec![0x2a, 1, 7, 0x32, 2, 8, 9]));
        // Every element with a length; a unit that has its own size, and one with layers.
        let (taken, unit) = pushed(&[&[0x00, 3, 0x32, 1, 7, 3, 0x34, 0x28, 8]]);
        assert_eq!((taken, unit), (vec![true], vec![0x32, 1, 7, 0x36, 0x28, 1, 8]));
        // Over three packets.
        let (taken, unit) = pushed(&[&[0x60, 1, 0x28, 0x30, 1], &[0xd0, 2, 3], &[0xa0, 1, 4, 0x28]]);
        assert_eq!((taken, unit), (vec![true; 3], vec![0x2a, 0, 0x32, 4, 1, 2, 3, 4, 0x2a, 0]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for packet in [
            &[][..],
            &[0x10],
            &[0x90, 1],
            &[0x20, 9, 1],
            &[0x20, 1, 0x30],
            &[0x00, 1],
            &[0x00, 0x80],
            &[0x10, 0xb0],
            &[0x10, 0x32, 5, 1],
            &[0x00, 0],
        ] {
            assert_eq!(pushed(&[packet]).0, [false], "{packet:?}");
        }
        assert_eq!(pushed(&[&[0x50, 0x30, 1], &[0x10, 0x30, 1]]).0, [true, false], "the rest of the first is missing");
    }
}
