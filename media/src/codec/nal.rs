//! NAL units as H.264 and H.265 frames carry them: each behind its length (ISO/IEC 14496-15 section 5.3.4.2).

use super::CodecError;
use bytes::{BufMut, Bytes, BytesMut};

/// The NAL units of one frame. An empty one is skipped: some phone encoders pad with them. After a length that lies,
/// one error, then the end.
#[derive(Debug, Clone)]
pub struct NalUnits<'a> {
    rest: &'a [u8],
    length_size: usize,
}

impl<'a> NalUnits<'a> {
    /// `length_size` is 1 to 4 bytes, as the configuration record says.
    pub fn new(payload: &'a [u8], length_size: u8) -> Self {
        Self { rest: payload, length_size: usize::from(length_size.clamp(1, 4)) }
    }
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = Result<&'a [u8], CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let Some((length, rest)) = self.rest.split_at_checked(self.length_size) else {
                self.rest = &[];
                return Some(Err(CodecError::Truncated { what: "frame", field: "NALUnitLength" }));
            };
            let length = length.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
            let Some((unit, rest)) = rest.split_at_checked(length) else {
                self.rest = &[];
                return Some(Err(CodecError::Truncated { what: "frame", field: "NALUnit" }));
            };
            self.rest = rest;
            if !unit.is_empty() {
                return Some(Ok(unit));
            }
        }
    }
}

/// The reverse of [`NalUnits`], with four-byte lengths.
pub fn join(units: &[impl AsRef<[u8]>]) -> Bytes {
    let mut payload = BytesMut::with_capacity(units.iter().map(|unit| unit.as_ref().len() + 4).sum());
    for unit in units {
        let unit = unit.as_ref();
        payload.put_u32(unit.len() as u32);
        payload.put_slice(unit);
    }
    payload.freeze()
}

/// A NAL unit's payload without its emulation prevention bytes (ITU-T H.264 section 7.4.1), header left out.
pub(super) fn raw_payload(unit: &[u8], header: usize) -> Vec<u8> {
    let unit = unit.get(header..).unwrap_or_default();
    let mut raw = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for &byte in unit {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        raw.push(byte);
    }
    raw
}

/// Takes a 16-bit length and as many bytes, as configuration records hold parameter sets.
pub(super) fn take_sized(bytes: &mut Bytes, what: &'static str, field: &'static str) -> Result<Bytes, CodecError> {
    let truncated = CodecError::Truncated { what, field };
    let length = take_u16(bytes, what, field)?;
    if bytes.len() < usize::from(length) {
        return Err(truncated);
    }
    Ok(bytes.split_to(usize::from(length)))
}

pub(super) fn take_u16(bytes: &mut Bytes, what: &'static str, field: &'static str) -> Result<u16, CodecError> {
    if bytes.len() < 2 {
        return Err(CodecError::Truncated { what, field });
    }
    let value = bytes.split_to(2);
    Ok(u16::from_be_bytes([value[0], value[1]]))
}

pub(super) fn take_u8(bytes: &mut Bytes, what: &'static str, field: &'static str) -> Result<u8, CodecError> {
    if bytes.is_empty() {
        return Err(CodecError::Truncated { what, field });
    }
    Ok(bytes.split_to(1)[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn units_joined_and_split_are_the_same(units in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..8)) {
            let payload = join(&units);
            let split: Result<Vec<_>, _> = NalUnits::new(&payload, 4).collect();
            prop_assert_eq!(split.unwrap(), units);
        }

        #[test]
        fn no_bytes_make_the_splitter_panic_or_loop(payload in prop::collection::vec(any::<u8>(), 0..300), size in 0u8..8) {
            prop_assert!(NalUnits::new(&payload, size).count() <= payload.len());
        }
    }

    #[test]
    fn a_lying_length_is_one_error_and_then_the_end() {
        let mut units = NalUnits::new(&[0, 0, 0, 1, 0x65, 0, 0, 0, 9, 1], 4);
        assert_eq!(units.next(), Some(Ok(&[0x65][..])));
        assert_eq!(units.next(), Some(Err(CodecError::Truncated { what: "frame", field: "NALUnit" })));
        assert_eq!(units.next(), None);
        let mut short = NalUnits::new(&[0, 0], 4);
        assert_eq!(short.next(), Some(Err(CodecError::Truncated { what: "frame", field: "NALUnitLength" })));
        assert_eq!(short.next(), None);
    }

    #[test]
    fn emulation_prevention_is_taken_out() {
        assert_eq!(raw_payload(&[0x67, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3], 1), [0, 0, 1, 0, 0, 0, 0]);
        assert!(raw_payload(&[], 1).is_empty());
    }
}
