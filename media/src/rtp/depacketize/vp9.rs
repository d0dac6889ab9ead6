//! VP9 (RFC 9628 section 4.2): the descriptor is taken off, packets of a frame are joined.
//!
//! Of several spatial layers the lowest is taken. It never refers to the others, so they can be left out; joined they
//! would be a stream that few players of HLS decode.

use super::{AccessUnit, UnitFormat};
use crate::codec::vp9;
use crate::model::VideoFormat;
use bytes::{Bytes, BytesMut};

#[derive(Debug, Default)]
pub(super) struct Vp9Assembler {
    frame: BytesMut,
    stage: Stage,
    told: Option<VideoFormat>,
}

/// How much of the picture's lowest layer has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Nothing,
    Begun,
    Whole,
}

impl Vp9Assembler {
    /// `false`: this payload does not fit to what came before it.
    pub(super) fn push(&mut self, payload: &Bytes) -> bool {
        let Some(descriptor) = Descriptor::parse(payload) else { return false };
        if descriptor.spatial_layer > 0 {
            return true;
        }
        if descriptor.begins != (self.stage == Stage::Nothing) || self.stage == Stage::Whole {
            return false;
        }
        self.stage = if descriptor.ends { Stage::Whole } else { Stage::Begun };
        self.frame.extend_from_slice(&payload[descriptor.length..]);
        true
    }

    pub(super) fn finish(&mut self, timestamp: u32) -> Option<AccessUnit> {
        let stage = std::mem::take(&mut self.stage);
        let payload = self.frame.split().freeze();
        if stage != Stage::Whole {
            return None;
        }
        let keyframe = vp9::is_keyframe(&payload)?;
        let mut format = None;
        if keyframe {
            let found = vp9::format_of_keyframe(&payload).ok()?;
            if self.told.as_ref() != Some(&found) {
                self.told = Some(found.clone());
                format = Some(UnitFormat::Video(found));
            }
        }
        Some(AccessUnit { timestamp, keyframe, payload, format })
    }
}

/// What matters of the payload descriptor.
///
/// ```text
///  0 1 2 3 4 5 6 7
/// |I|P|L|F|B|E|V|Z|
/// |M| picture id  |  with I; a second byte with M
/// | TID |U| SID |D|  with L
/// |   TL0PICIDX   |  with L and without F
/// |   P_DIFF    |N|  with P and F; up to three, as long as N is set
/// | scalability structure  with V
/// ```
#[derive(Debug, PartialEq, Eq)]
struct Descriptor {
    begins: bool,
    ends: bool,
    spatial_layer: u8,
    /// The frame's bytes stand behind it.
    length: usize,
}

const HAS_PICTURE_ID: u8 = 0x80;
const PREDICTED: u8 = 0x40;
const HAS_LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const BEGINS: u8 = 0x08;
const ENDS: u8 = 0x04;
const HAS_STRUCTURE: u8 = 0x02;
const REFERENCES_MAX: usize = 3;

impl Descriptor {
    /// `None`: it lies about its length, or no byte of a frame is behind it.
    fn parse(payload: &[u8]) -> Option<Self> {
        let mut bytes = payload.iter().copied();
        let head = bytes.next()?;
        if head & HAS_PICTURE_ID != 0 && bytes.next()? & 0x80 != 0 {
            bytes.next()?;
        }
        let mut spatial_layer = 0;
        if head & HAS_LAYERS != 0 {
            spatial_layer = bytes.next()? >> 1 & 0x07;
            if head & FLEXIBLE == 0 {
                bytes.next()?;
            }
        }
        if head & PREDICTED != 0 && head & FLEXIBLE != 0 {
            let mut references = 1;
            while bytes.next()? & 1 != 0 {
                references += 1;
                if references > REFERENCES_MAX {
                    return None;
                }
            }
        }
        if head & HAS_STRUCTURE != 0 {
            skip_structure(&mut bytes)?;
        }
        let length = payload.len() - bytes.len();
        let (begins, ends) = (head & BEGINS != 0, head & ENDS != 0);
        (length < payload.len()).then_some(Self { begins, ends, spatial_layer, length })
    }
}

/// Section 4.2.1.
///
/// ```text
/// | N_S |Y|G|-|-|-|
/// | width 16, height 16 |  with Y, for each of N_S + 1 layers
/// |      N_G      |        with G
/// | TID |U| R |-|-|        N_G times, with R bytes of P_DIFF behind each
/// ```
fn skip_structure(bytes: &mut impl Iterator<Item = u8>) -> Option<()> {
    let head = bytes.next()?;
    if head & 0x10 != 0 {
        for _ in 0..4 * (usize::from(head >> 5) + 1) {
            bytes.next()?;
        }
    }
    if head & 0x08 != 0 {
        for _ in 0..bytes.next()? {
            for _ in 0..bytes.next()? >> 2 & 0x03 {
                bytes.next()?;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(payload: &[u8]) -> Option<(bool, bool, u8, usize)> {
        for end in 0..payload.len() {
            let _ = Descriptor::parse(&payload[..end]);
        }
        Descriptor::parse(payload).map(|found| (found.begins, found.ends, found.spatial_layer, found.length))
    }

    #[test]
    fn descriptors_of_both_modes_are_read() {
        assert_eq!(parsed(&[0x0c, 9]), Some((true, true, 0, 1)), "as short as it gets");
        assert_eq!(parsed(&[0x88, 0x7f, 9]), Some((true, false, 0, 2)), "seven bits of picture id");
        assert_eq!(parsed(&[0x84, 0x80, 1, 9]), Some((false, true, 0, 3)), "fifteen bits");
        // As Chromium sends: layers and TL0PICIDX, a structure with a size and a GOP of one.
        let keyframe = [0xae, 0x81, 2, 0x00, 7, 0x18, 2, 0x80, 1, 0x68, 1, 0x04, 1, 9];
        assert_eq!(parsed(&keyframe), Some((true, true, 0, 13)));
        // Flexible: two references, the second spatial layer.
        assert_eq!(parsed(&[0xf8, 0x80, 1, 0x02, 0x03, 0x04, 9]), Some((true, false, 1, 6)));
    }

    #[test]
    fn a_descriptor_that_lies_is_none() {
        assert_eq!(parsed(&[]), None);
        assert_eq!(parsed(&[0x0c]), None, "no frame behind it");
        assert_eq!(parsed(&[0x88, 0x80]), None, "half a picture id");
        assert_eq!(parsed(&[0x50, 3, 3, 3, 2, 9]), None, "more references than there may be");
        assert_eq!(parsed(&[0x0a, 0xf8, 0, 0, 0]), None, "sizes of eight layers that are not there");
        assert_eq!(parsed(&[0x0a, 0x08, 255, 0x0c, 1, 1]), None, "a longer GOP than packet");
    }

    #[test]
    fn upper_layers_are_left_out() {
        const KEYFRAME: [u8; 9] = [0x82, 0x49, 0x83, 0x42, 0x20, 0x4f, 0xf0, 0x2c, 0xf0];
        let mut assembler = Vp9Assembler::default();
        let packet = |head: &[u8], body: &[u8]| Bytes::from([head, body].concat());
        assert!(assembler.push(&packet(&[0x28, 0x00, 5], &KEYFRAME[..5])));
        assert!(assembler.push(&packet(&[0x24, 0x00, 5], &KEYFRAME[5..])));
        assert!(assembler.push(&packet(&[0x2c, 0x02, 5], &[0x86, 1, 2, 3])), "the second layer");
        let unit = assembler.finish(1).unwrap();
        assert_eq!((unit.keyframe, &unit.payload[..]), (true, &KEYFRAME[..]));
        assert!(assembler.finish(2).is_none(), "upper layers alone are no picture");
        assert!(!assembler.push(&packet(&[0x20, 0x00, 5], &[1])), "the middle of a frame that never began");
    }
}
