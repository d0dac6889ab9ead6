//! H.264: single NAL units, STAP-A for parameter sets, FU-A for what is too long (RFC 6184 sections 5.6 to 5.8).

use super::{PAYLOAD_MAX, RtpPayload, parts};
use crate::codec::h264::{Configuration, UnitKind};
use crate::codec::nal::NalUnits;
use crate::model::{Frame, VideoFormat};
use bytes::{BufMut, Bytes, BytesMut};

#[derive(Debug)]
pub(crate) struct H264Packetizer {
    length_size: u8,
    /// Sent in front of every keyframe that does not bring its own: a viewer joins at any of them.
    parameter_sets: Bytes,
}

const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;
const ACCESS_UNIT_DELIMITER: u8 = 9;
const FILLER: u8 = 12;

impl H264Packetizer {
    pub(super) fn new(format: &VideoFormat) -> Option<Self> {
        let configuration = Configuration::parse(&format.configuration).ok()?;
        let mut sets = BytesMut::new();
        sets.put_u8(0x60 | STAP_A);
        for set in configuration.sps.iter().chain(&configuration.pps) {
            sets.put_u16(set.len() as u16);
            sets.put_slice(set);
        }
        Some(Self { length_size: configuration.length_size, parameter_sets: sets.freeze() })
    }

    pub(super) fn packetize(&mut self, frame: &Frame, out: &mut Vec<RtpPayload>) {
        let units = || NalUnits::new(&frame.payload, self.length_size).map_while(Result::ok);
        let brings_sets = units().any(|unit| UnitKind::of(unit) == UnitKind::Sps);
        if frame.keyframe && !brings_sets && self.parameter_sets.len() <= PAYLOAD_MAX {
            out.push(RtpPayload::new(&[], self.parameter_sets.clone()));
        }
        for unit in units() {
            if matches!(unit[0] & 0x1f, ACCESS_UNIT_DELIMITER | FILLER) {
                continue;
            }
            let unit = frame.payload.slice_ref(unit);
            if unit.len() <= PAYLOAD_MAX {
                out.push(RtpPayload::new(&[], unit));
            } else {
                fragment(&unit, out);
            }
        }
    }
}

fn fragment(unit: &Bytes, out: &mut Vec<RtpPayload>) {
    let (importance, kind, body) = (unit[0] & 0xe0, unit[0] & 0x1f, unit.slice(1..));
    for part in parts(body.len(), PAYLOAD_MAX - 2) {
        let start = if part.start == 0 { FU_START } else { 0 };
        let end = if part.end == body.len() { FU_END } else { 0 };
        out.push(RtpPayload::new(&[importance | FU_A, start | end | kind], body.slice(part)));
    }
}
