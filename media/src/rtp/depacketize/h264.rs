//! H.264: single NAL units, STAP-A and FU-A (RFC 6184 sections 5.6 to 5.8); parameter sets are learnt on the way.

use super::{AccessUnit, UnitFormat};
use crate::codec::h264::{Configuration, UnitKind};
use crate::codec::nal;
use bytes::{Bytes, BytesMut};

#[derive(Debug, Default)]
pub(super) struct H264Assembler {
    units: Vec<Bytes>,
    fragment: Option<BytesMut>,
    sps: Vec<Bytes>,
    pps: Vec<Bytes>,
    /// Those that were told.
    told: Option<(Vec<Bytes>, Vec<Bytes>)>,
}

const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;
const LENGTH_SIZE: u8 = 4;
/// More than any encoder uses.
const SETS_MAX: usize = 8;

impl H264Assembler {
    /// `false`: this payload does not fit to what came before it.
    pub(super) fn push(&mut self, payload: &Bytes) -> bool {
        match payload[0] & 0x1f {
            1..=23 => self.unit(payload.clone()),
            STAP_A => {
                let mut rest = payload.slice(1..);
                while rest.len() > 2 {
                    let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                    if length == 0 || rest.len() < 2 + length {
                        return false;
                    }
                    if !self.unit(rest.slice(2..2 + length)) {
                        return false;
                    }
                    rest = rest.slice(2 + length..);
                }
                true
            }
            FU_A if payload.len() > 2 => self.fragment(payload),
            _ => false,
        }
    }

    fn fragment(&mut self, payload: &Bytes) -> bool {
        let (indicator, header) = (payload[0], payload[1]);
        if header & FU_START != 0 {
            let mut unit = BytesMut::with_capacity(payload.len() * 4);
            unit.extend_from_slice(&[indicator & 0xe0 | header & 0x1f]);
            self.fragment = Some(unit);
        }
        let Some(unit) = &mut self.fragment else { return false };
        unit.extend_from_slice(&payload[2..]);
        if header & FU_END != 0 {
            return self.fragment.take().is_none_or(|unit| self.unit(unit.freeze()));
        }
        true
    }

    fn unit(&mut self, unit: Bytes) -> bool {
        match UnitKind::of(&unit) {
            UnitKind::Sps => keep(&mut self.sps, &unit, true),
            UnitKind::Pps => keep(&mut self.pps, &unit, false),
            UnitKind::Slice | UnitKind::Idr | UnitKind::Other => {}
        }
        self.units.push(unit);
        true
    }

    /// The unit that is whole now; `None` for one without a picture.
    pub(super) fn finish(&mut self, timestamp: u32) -> Option<AccessUnit> {
        let units = std::mem::take(&mut self.units);
        let torn = self.fragment.take().is_some();
        let has = |kind| units.iter().any(|unit| UnitKind::of(unit) == kind);
        let keyframe = has(UnitKind::Idr);
        if torn || !(keyframe || has(UnitKind::Slice)) {
            return None;
        }
        let format = if keyframe { self.news() } else { None };
        Some(AccessUnit { timestamp, keyframe, payload: nal::join(&units), format })
    }

    fn news(&mut self) -> Option<UnitFormat> {
        if self.told.as_ref().is_some_and(|(sps, pps)| (sps, pps) == (&self.sps, &self.pps)) {
            return None;
        }
        let (sps, pps) = (self.sps.clone(), self.pps.clone());
        let configuration = Configuration::from_parameter_sets(sps, pps, LENGTH_SIZE).ok()?;
        let format = configuration.format(configuration.write()).ok()?;
        self.told = Some((self.sps.clone(), self.pps.clone()));
        Some(UnitFormat::Video(format))
    }
}

/// A set replaces those before it when it is an SPS of another size: an encoder that changed begins anew.
fn keep(sets: &mut Vec<Bytes>, set: &Bytes, alone: bool) {
    if sets.contains(set) {
        return;
    }
    if alone || sets.len() >= SETS_MAX {
        sets.clear();
    }
    // A PPS replaces the one with its id; ids are short codes in the first byte, told apart well enough by it.
    sets.retain(|known| known.get(1) != set.get(1));
    sets.push(set.clone());
}
