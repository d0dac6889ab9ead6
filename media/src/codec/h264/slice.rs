//! What the first bits of a slice tell: whether it is predicted from both directions.

use crate::codec::CodecError;
use crate::codec::bits::Bits;
use crate::codec::nal::NalUnits;

/// `nal_unit_type` as far as it matters here (ITU-T H.264 table 7-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitKind {
    Slice,
    Idr,
    Sps,
    Pps,
    Other,
}

impl UnitKind {
    pub fn of(unit: &[u8]) -> Self {
        match unit.first().map_or(0, |header| header & 0x1f) {
            1 => Self::Slice,
            5 => Self::Idr,
            7 => Self::Sps,
            8 => Self::Pps,
            _ => Self::Other,
        }
    }
}

/// Whether the frame's first slice is a B slice (section 7.4.3, `slice_type` 1 or 6). A frame without a readable slice
/// has none.
pub fn has_b_slice(payload: &[u8], length_size: u8) -> bool {
    let units = NalUnits::new(payload, length_size).map_while(Result::ok);
    let mut slices = units.filter(|unit| UnitKind::of(unit) == UnitKind::Slice);
    slices.next().is_some_and(|slice| matches!(slice_type(slice), Ok(1 | 6)))
}

/// Whether nothing refers to this frame: `nal_ref_idc` is zero in every slice (section 7.4.1), so it can be left out.
pub fn is_disposable(payload: &[u8], length_size: u8) -> bool {
    let units = NalUnits::new(payload, length_size).map_while(Result::ok);
    let mut slices = units.filter(|unit| matches!(UnitKind::of(unit), UnitKind::Slice | UnitKind::Idr)).peekable();
    slices.peek().is_some() && slices.all(|slice| slice[0] & 0x60 == 0)
}

fn slice_type(slice: &[u8]) -> Result<u32, CodecError> {
    // Two short codes: no emulation prevention can fall into them before they are read, except in a picture that
    // starts with 2^16 macroblocks.
    let mut bits = Bits::new("H.264 slice header", slice.get(1..).unwrap_or_default());
    bits.exp_golomb("first_mb_in_slice")?;
    bits.exp_golomb("slice_type")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::nal::join;

    #[test]
    fn b_slices_are_told_from_p_slices() {
        // first_mb 0 = "1"; slice_type: 0 (P) = "1", 1 (B) = "010", 6 (all B) = "00111".
        let slice = |bits: u8| join(&[&[0x09, 0xf0][..], &[0x41, bits]]);
        assert!(!has_b_slice(&slice(0b1100_0000), 4));
        assert!(has_b_slice(&slice(0b1010_0000), 4));
        assert!(has_b_slice(&slice(0b1001_1100), 4));
        assert!(!has_b_slice(&join(&[&[0x65u8, 0b1010_0000][..]]), 4), "an IDR picture is not looked at");
        assert!(!has_b_slice(&[0, 0, 0, 9, 1], 4), "a broken frame has none");
    }
}
