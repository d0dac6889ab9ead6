//! AVCDecoderConfigurationRecord, the body of `avcC` (ISO/IEC 14496-15 section 5.3.3.1).
//!
//! ```text
//! 1 | profile | compatibility | level | 111111 + lengthSizeMinusOne (2) | 111 + number of SPS (5) | { length 16, SPS } ...
//!   | number of PPS 8 | { length 16, PPS } ... | High profiles: chroma format, bit depths, SPS extensions
//! ```

use super::sps::Sps;
use crate::codec::CodecError;
use crate::codec::nal::{take_sized, take_u8};
use crate::model::{VideoCodec, VideoFormat};
use bytes::{BufMut, Bytes, BytesMut};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Bytes of each NAL unit's length prefix.
    pub length_size: u8,
    /// Whole NAL units; at least one of each.
    pub sps: Vec<Bytes>,
    pub pps: Vec<Bytes>,
    /// What follows the parameter sets, kept as it is.
    tail: Bytes,
}

const WHAT: &str = "avcC";

impl Configuration {
    pub fn parse(record: &Bytes) -> Result<Self, CodecError> {
        let mut rest = record.clone();
        if rest.len() < 7 {
            return Err(CodecError::Truncated { what: WHAT, field: "numOfSequenceParameterSets" });
        }
        let head = rest.split_to(6);
        if head[0] != 1 {
            let value = u32::from(head[0]);
            return Err(CodecError::Unsupported { what: WHAT, field: "configurationVersion", value });
        }
        let sps = take_sets(&mut rest, head[5] & 0x1f, "sequenceParameterSetNALUnit")?;
        let count = take_u8(&mut rest, WHAT, "numOfPictureParameterSets")?;
        let pps = take_sets(&mut rest, count, "pictureParameterSetNALUnit")?;
        if sps.first().is_none_or(|sps| sps.len() < 4) {
            return Err(CodecError::Malformed { what: WHAT, field: "numOfSequenceParameterSets" });
        }
        if pps.is_empty() {
            return Err(CodecError::Malformed { what: WHAT, field: "numOfPictureParameterSets" });
        }
        Ok(Self { length_size: (head[4] & 3) + 1, sps, pps, tail: rest })
    }

    /// For a publication that sends its parameter sets inside the frames.
    pub fn from_parameter_sets(sps: Vec<Bytes>, pps: Vec<Bytes>, length_size: u8) -> Result<Self, CodecError> {
        let first = sps.first().ok_or(CodecError::Malformed { what: WHAT, field: "numOfSequenceParameterSets" })?;
        let facts = Sps::parse(first)?;
        let mut tail = BytesMut::new();
        if matches!(first[1], 100 | 110 | 122 | 144) {
            tail.put_u8(0xfc | facts.chroma_format);
            tail.put_u8(0xf8 | facts.bit_depths.0 & 7);
            tail.put_u8(0xf8 | facts.bit_depths.1 & 7);
            tail.put_u8(0);
        }
        Ok(Self { length_size, sps, pps, tail: tail.freeze() })
    }

    pub fn write(&self) -> Bytes {
        let mut record = BytesMut::new();
        // profile, compatibility and level as the first set states them
        record.put_u8(1);
        record.put_slice(&self.sps[0][1..4]);
        record.put_u8(0xfc | (self.length_size - 1));
        record.put_u8(0xe0 | self.sps.len() as u8 & 0x1f);
        put_sets(&mut record, &self.sps);
        record.put_u8(self.pps.len() as u8);
        put_sets(&mut record, &self.pps);
        record.put_slice(&self.tail);
        record.freeze()
    }

    pub fn format(&self, record: Bytes) -> Result<VideoFormat, CodecError> {
        let sps = Sps::parse(&self.sps[0])?;
        let [profile, compatibility, level] = [self.sps[0][1], self.sps[0][2], self.sps[0][3]];
        Ok(VideoFormat {
            codec: VideoCodec::H264,
            configuration: record,
            rfc6381: format!("avc1.{profile:02x}{compatibility:02x}{level:02x}"),
            width: sps.width,
            height: sps.height,
            frame_rate: sps.frame_rate,
        })
    }
}

fn take_sets(rest: &mut Bytes, count: u8, field: &'static str) -> Result<Vec<Bytes>, CodecError> {
    (0..count).map(|_| take_sized(rest, WHAT, field)).collect()
}

fn put_sets(record: &mut BytesMut, sets: &[Bytes]) {
    for set in sets {
        record.put_u16(set.len() as u16);
        record.put_slice(set);
    }
}

#[cfg(test)]
mod tests {
    use super::super::sps::tests::HIGH_720P;
    use super::*;

    fn high() -> Configuration {
        let pps = Bytes::from_static(&[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0]);
        Configuration::from_parameter_sets(vec![Bytes::from_static(HIGH_720P)], vec![pps], 4).unwrap()
    }

    #[test]
    fn a_record_survives_writing_and_parsing() {
        let record = high().write();
        assert_eq!(Configuration::parse(&record), Ok(high()));
        assert_eq!(&record[record.len() - 4..], [0xfd, 0xf8, 0xf8, 0], "High carries 4:2:0, 8 bit, no extension");
        let format = high().format(record.clone()).unwrap();
        assert_eq!((format.width, format.height), (1280, 720));
        assert_eq!(format.rfc6381, "avc1.64001f");
        assert_eq!(format.configuration, record);
    }

    #[test]
    fn every_cut_and_every_lying_length_is_an_error() {
        let record = high().write();
        for end in 0..record.len() - 4 {
            assert!(Configuration::parse(&record.slice(..end)).is_err(), "{end} bytes");
        }
        for index in [6, 7, 35, 36] {
            let mut lying = BytesMut::from(&record[..]);
            lying[index] = 0xff;
            assert!(Configuration::parse(&lying.freeze()).is_err(), "byte {index}");
        }
        assert!(Configuration::parse(&Bytes::from_static(&[1, 0x64, 0, 0x1f, 0xff, 0xe0, 0])).is_err(), "no sets");
    }
}
