//! AMF0 values, bounded (AMF 0 specification section 2).
//!
//! In: the payload of a command or data message. Out: `rml_amf0` values. Driven by `net_connection` and the FLV reader.
//! The crate's own decoder recurses as deep as the peer likes; this one stops at [`MAX_DEPTH`].

use rml_amf0::Amf0Value;
use std::collections::HashMap;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Amf0Error {
    #[error("an AMF0 value ends early at byte {at}")]
    Truncated { at: usize },
    #[error("AMF0 marker {marker:#04x} at byte {at} is not supported")]
    Marker { marker: u8, at: usize },
    #[error("AMF0 values nest deeper than {MAX_DEPTH}")]
    TooDeep,
    #[error("more than {MAX_VALUES} AMF0 values in one message")]
    TooMany,
}

/// `connect` of an Enhanced RTMP encoder nests two deep.
pub const MAX_DEPTH: usize = 16;
/// A value in memory is larger than its byte on the wire; this keeps a 64 KiB message below 256 KiB.
pub const MAX_VALUES: usize = 2_048;

/// All values of a message.
pub fn decode(bytes: &[u8]) -> Result<Vec<Amf0Value>, Amf0Error> {
    let mut decoder = Decoder { bytes, at: 0, values: 0 };
    let mut values = Vec::new();
    while decoder.at < bytes.len() {
        values.push(decoder.value(0)?);
    }
    Ok(values)
}

struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    values: usize,
}

const END_OF_OBJECT: u8 = 9;

impl<'a> Decoder<'a> {
    fn value(&mut self, depth: usize) -> Result<Amf0Value, Amf0Error> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(Amf0Error::TooMany);
        }
        if depth > MAX_DEPTH {
            return Err(Amf0Error::TooDeep);
        }
        let at = self.at;
        Ok(match self.u8()? {
            0 => Amf0Value::Number(self.number()?),
            1 => Amf0Value::Boolean(self.u8()? != 0),
            2 => Amf0Value::Utf8String(self.short_text()?),
            3 => Amf0Value::Object(self.properties(depth)?),
            5 => Amf0Value::Null,
            // Undefined, a reference (nobody sends shared objects here), unsupported.
            6 | 13 => Amf0Value::Undefined,
            7 => {
                self.take(2)?;
                Amf0Value::Undefined
            }
            8 => {
                // The count of an ECMA array is a hint only; several encoders leave it at zero.
                self.take(4)?;
                Amf0Value::Object(self.properties(depth)?)
            }
            10 => Amf0Value::StrictArray(self.elements(depth)?),
            11 => {
                let milliseconds = self.number()?;
                self.take(2)?;
                Amf0Value::Number(milliseconds)
            }
            12 | 15 => Amf0Value::Utf8String(self.long_text()?),
            16 => {
                self.short_text()?;
                Amf0Value::Object(self.properties(depth)?)
            }
            marker => return Err(Amf0Error::Marker { marker, at }),
        })
    }

    /// Name and value pairs up to the end marker. Some encoders forget the marker on the last object of a message.
    fn properties(&mut self, depth: usize) -> Result<HashMap<String, Amf0Value>, Amf0Error> {
        let mut properties = HashMap::new();
        while self.at < self.bytes.len() {
            let name = self.short_text()?;
            if name.is_empty() && self.bytes.get(self.at) == Some(&END_OF_OBJECT) {
                self.at += 1;
                break;
            }
            properties.insert(name, self.value(depth + 1)?);
        }
        Ok(properties)
    }

    fn elements(&mut self, depth: usize) -> Result<Vec<Amf0Value>, Amf0Error> {
        let count = self.take(4)?.iter().fold(0usize, |count, byte| count << 8 | usize::from(*byte));
        // Each element takes a byte at least: a count beyond the message lies.
        if count > self.bytes.len() - self.at {
            return Err(Amf0Error::Truncated { at: self.at });
        }
        (0..count).map(|_| self.value(depth + 1)).collect()
    }

    fn number(&mut self) -> Result<f64, Amf0Error> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        Ok(f64::from_be_bytes(bytes))
    }

    fn short_text(&mut self) -> Result<String, Amf0Error> {
        let length = self.take(2)?.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
        self.text(length)
    }

    fn long_text(&mut self) -> Result<String, Amf0Error> {
        let length = self.take(4)?.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
        self.text(length)
    }

    fn text(&mut self, length: usize) -> Result<String, Amf0Error> {
        self.take(length).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn u8(&mut self) -> Result<u8, Amf0Error> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Amf0Error> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(Amf0Error::Truncated { at: self.bytes.len() })?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Amf0Value> {
        let leaf = prop_oneof![
            any::<f64>().prop_filter("not comparable", |number| !number.is_nan()).prop_map(Amf0Value::Number),
            any::<bool>().prop_map(Amf0Value::Boolean),
            ".{0,40}".prop_map(Amf0Value::Utf8String),
            Just(Amf0Value::Null),
            Just(Amf0Value::Undefined),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                prop::collection::hash_map("[a-zA-Z]{1,12}", inner.clone(), 0..8).prop_map(Amf0Value::Object),
                prop::collection::vec(inner, 0..8).prop_map(Amf0Value::StrictArray),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_survive_writing_and_reading(values in prop::collection::vec(values(), 0..6)) {
            let bytes = rml_amf0::serialize(&values).unwrap();
            prop_assert_eq!(decode(&bytes), Ok(values));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn every_cut_of_a_message_is_no_panic(values in prop::collection::vec(values(), 1..4), cut in 0usize..400) {
            let bytes = rml_amf0::serialize(&values).unwrap();
            let _ = decode(&bytes[..cut.min(bytes.len())]);
        }
    }

    #[test]
    fn a_depth_bomb_is_an_error() {
        let mut bomb = Vec::new();
        for _ in 0..10_000 {
            bomb.extend([10, 0, 0, 0, 1]);
        }
        assert_eq!(decode(&bomb), Err(Amf0Error::TooDeep));
        let mut deep_enough = [10, 0, 0, 0, 1].repeat(MAX_DEPTH);
        deep_enough.push(5);
        assert!(decode(&deep_enough).is_ok());
    }

    #[test]
    fn counts_that_lie_and_values_without_end_are_errors() {
        assert_eq!(decode(&[10, 0xff, 0xff, 0xff, 0xff, 5]), Err(Amf0Error::Truncated { at: 5 }));
        assert_eq!(decode(&[12, 0xff, 0xff, 0xff, 0xff, 5]), Err(Amf0Error::Truncated { at: 6 }));
        assert_eq!(decode(&[5; MAX_VALUES + 1]), Err(Amf0Error::TooMany));
        assert_eq!(decode(&[0x11, 4]), Err(Amf0Error::Marker { marker: 0x11, at: 0 }));
    }

    #[test]
    fn an_ecma_array_without_count_and_end_is_read() {
        let bytes = [8, 0, 0, 0, 0, 0, 1, b'a', 0, 0x40, 0, 0, 0, 0, 0, 0, 0];
        let expected = Amf0Value::Object([("a".to_owned(), Amf0Value::Number(2.0))].into());
        assert_eq!(decode(&bytes), Ok(vec![expected]));
    }
}
