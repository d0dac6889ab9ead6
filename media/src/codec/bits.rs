//! Reads bit fields from a short header. H.264 sequence parameter sets have `h264-reader`; everything else reads here.

use super::CodecError;

/// A position in bytes that are already free of emulation prevention.
#[derive(Debug, Clone)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// In bits from the start.
    position: usize,
    what: &'static str,
}

impl<'a> Bits<'a> {
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, what }
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, CodecError> {
        self.bits(1, field).map(|bit| bit == 1)
    }

    /// At most 32 bits, most significant first.
    pub(super) fn bits(&mut self, count: u32, field: &'static str) -> Result<u32, CodecError> {
        debug_assert!(count <= 32, "a field is at most 32 bits wide");
        let mut value = 0u64;
        for _ in 0..count {
            let byte = self.bytes.get(self.position / 8);
            let byte = *byte.ok_or(CodecError::Truncated { what: self.what, field })?;
            value = value << 1 | u64::from(byte >> (7 - self.position % 8) & 1);
            self.position += 1;
        }
        Ok(value as u32)
    }

    pub(super) fn skip(&mut self, count: usize, field: &'static str) -> Result<(), CodecError> {
        if self.remaining() < count {
            return Err(CodecError::Truncated { what: self.what, field });
        }
        self.position += count;
        Ok(())
    }

    /// Unsigned Exp-Golomb code (ITU-T H.265 section 9.2).
    pub(super) fn exp_golomb(&mut self, field: &'static str) -> Result<u32, CodecError> {
        let zeros = self.leading_zeros(field)?;
        Ok((1u32 << zeros) - 1 + self.bits(zeros, field)?)
    }

    /// AV1's `uvlc()` (section 4.10.3) has the same shape.
    fn leading_zeros(&mut self, field: &'static str) -> Result<u32, CodecError> {
        let mut zeros = 0;
        while !self.flag(field)? {
            zeros += 1;
            if zeros > 31 {
                return Err(CodecError::Malformed { what: self.what, field });
            }
        }
        Ok(zeros)
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() * 8 - self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_most_significant_bit_first_and_end_with_an_error() {
        let mut bits = Bits::new("test", &[0b1010_0110, 0b0101_0000]);
        assert_eq!(bits.bits(3, "a"), Ok(0b101));
        assert_eq!(bits.exp_golomb("b"), Ok(5));
        assert_eq!(bits.remaining(), 8);
        assert_eq!(bits.exp_golomb("c"), Ok(1));
        assert_eq!(bits.bits(6, "d"), Err(CodecError::Truncated { what: "test", field: "d" }));
        assert_eq!(Bits::new("test", &[0; 5]).exp_golomb("e"), Err(CodecError::Malformed { what: "test", field: "e" }));
    }
}
