//! Open Bitstream Units and the length code in front of them (AV1 specification sections 4.10.5, 5.3 and 5.4).
//!
//! ```text
//! forbidden 1, type 4, extension 1, has_size 1, reserved 1 | temporal_id 3, spatial_id 2, reserved 3 | size (leb128) | payload
//! ```

use super::WHAT;
use crate::codec::CodecError;

/// One unit, whatever was its framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Obu<'a> {
    pub kind: u8,
    /// Temporal and spatial layer, as they stand behind the header.
    pub extension: Option<u8>,
    pub payload: &'a [u8],
}

pub const SEQUENCE_HEADER: u8 = 1;
pub const TEMPORAL_DELIMITER: u8 = 2;
pub const FRAME_HEADER: u8 = 3;
pub const FRAME: u8 = 6;
pub const TILE_LIST: u8 = 8;
pub const PADDING: u8 = 15;

const FORBIDDEN: u8 = 0x80;
const HAS_EXTENSION: u8 = 0x04;
const HAS_SIZE: u8 = 0x02;
/// A 32-bit number takes no more (section 4.10.5 allows eight, for numbers with leading zeros).
const LEB128_BYTES_MAX: usize = 8;

impl<'a> Obu<'a> {
    /// The unit at the start of `bytes`, and what is behind it. One without a size reaches to the end.
    pub fn take(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), CodecError> {
        let truncated = || CodecError::Truncated { what: WHAT, field: "obu_size" };
        let (&header, rest) = bytes.split_first().ok_or_else(truncated)?;
        if header & FORBIDDEN != 0 {
            return Err(CodecError::Malformed { what: WHAT, field: "obu_forbidden_bit" });
        }
        let (extension, rest) = if header & HAS_EXTENSION == 0 {
            (None, rest)
        } else {
            let (&extension, rest) = rest.split_first().ok_or_else(truncated)?;
            (Some(extension), rest)
        };
        let (size, rest) = if header & HAS_SIZE == 0 { (rest.len(), rest) } else { leb128(rest)? };
        let (payload, rest) = rest.split_at_checked(size).ok_or_else(truncated)?;
        Ok((Self { kind: header >> 3 & 0xf, extension, payload }, rest))
    }

    /// The header without a size field: one byte, two with layers.
    pub fn header(&self) -> ([u8; 2], usize) {
        let kind = self.kind << 3;
        match self.extension {
            Some(extension) => ([kind | HAS_EXTENSION, extension], 2),
            None => ([kind, 0], 1),
        }
    }

    /// Appends the unit with its size (section 5.2, "low overhead bitstream format").
    pub fn write(&self, out: &mut Vec<u8>) {
        let (header, length) = self.header();
        out.push(header[0] | HAS_SIZE);
        out.extend_from_slice(&header[1..length]);
        write_leb128(self.payload.len(), out);
        out.extend_from_slice(self.payload);
    }
}

/// All units of a low-overhead stream. Ends behind the first that cannot be read.
#[derive(Debug, Clone)]
pub struct Obus<'a>(&'a [u8]);

impl<'a> Obus<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Obus<'a> {
    type Item = Result<Obu<'a>, CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let taken = Obu::take(self.0);
        self.0 = taken.as_ref().map_or(&[], |(_, rest)| rest);
        Some(taken.map(|(obu, _)| obu))
    }
}

/// Seven bits a byte, least significant first: the number, and what is behind it.
pub fn leb128(bytes: &[u8]) -> Result<(usize, &[u8]), CodecError> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate().take(LEB128_BYTES_MAX) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let size = u32::try_from(value).map_err(|_| CodecError::Malformed { what: WHAT, field: "obu_size" })?;
            return Ok((size as usize, &bytes[index + 1..]));
        }
    }
    Err(CodecError::Truncated { what: WHAT, field: "obu_size" })
}

pub fn write_leb128(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that [`write_leb128`] appends.
pub fn leb128_len(value: usize) -> usize {
    (value | 1).ilog2() as usize / 7 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_size_that_lies_is_an_error() {
        assert!(Obu::take(&[]).is_err(), "empty");
        assert!(Obu::take(&[0x80, 0]).is_err(), "the forbidden bit");
        assert!(Obu::take(&[0x36]).is_err(), "one byte short of its layers");
        assert!(Obu::take(&[0x32]).is_err(), "one byte short of its size");
        assert!(Obu::take(&[0x32, 2, 1]).is_err(), "a byte more than there is");
        assert!(Obu::take(&[0x32, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]).is_err(), "a length without end");
        assert!(leb128(&[0xff, 0xff, 0xff, 0xff, 0x7f]).is_err(), "more than 32 bits");
        assert_eq!(leb128(&[0x85, 0x80, 0x00, 9]), Ok((5, &[9][..])), "leading zeros are legal");
        let (obu, rest) = Obu::take(&[0x36, 0x28, 1, 7, 9]).unwrap();
        assert_eq!((obu, rest), (Obu { kind: FRAME, extension: Some(0x28), payload: &[7] }, &[9][..]));
        assert_eq!(Obu::take(&[0x30, 7, 9]).unwrap().0.payload, [7, 9], "without a size it reaches to the end");
        assert_eq!(Obus::new(&[0x32, 1, 7, 0x32, 9]).filter(Result::is_ok).count(), 1);
    }

    proptest! {
        #[test]
        fn units_read_back_as_they_were_written(
            units in prop::collection::vec((0_u8..16, prop::option::of(any::<u8>()), prop::collection::vec(any::<u8>(), 0..300)), 0..6),
            number in 0_usize..=u32::MAX as usize,
        ) {
            let mut out = Vec::new();
            for (kind, extension, payload) in &units {
                Obu { kind: *kind, extension: *extension, payload }.write(&mut out);
            }
            let read: Vec<_> = Obus::new(&out).map(|obu| obu.unwrap()).collect();
            prop_assert_eq!(read.len(), units.len());
            for (obu, (kind, extension, payload)) in read.iter().zip(&units) {
                prop_assert_eq!((obu.kind, obu.extension, obu.payload), (*kind, *extension, &payload[..]));
            }
            let mut written = Vec::new();
            write_leb128(number, &mut written);
            prop_assert_eq!(written.len(), leb128_len(number));
            prop_assert_eq!(leb128(&written).unwrap().0, number);
        }
    }
}
