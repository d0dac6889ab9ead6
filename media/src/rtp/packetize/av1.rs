//! AV1 (RTP Payload Format For AV1 v1.0 section 4): units without their sizes, as many as fit into a packet, the last one
//! cut where it does not fit.
//!
//! A packet that holds a piece of one unit shares the frame's bytes. One that holds several (the sequence header and the
//! beginning of a keyframe, mostly) is written anew: it needs lengths between them.

use super::{PAYLOAD_MAX, RtpPayload};
use crate::codec::av1::obu::{FRAME, FRAME_HEADER, Obu, Obus, PADDING, SEQUENCE_HEADER, TEMPORAL_DELIMITER, TILE_LIST};
use crate::codec::av1::obu::{leb128_len, write_leb128};
use crate::codec::av1::sequence_header;
use crate::model::{Frame, VideoFormat};
use bytes::Bytes;

#[derive(Debug)]
pub(crate) struct Av1Packetizer {
    /// With its size. Sent in front of every keyframe that does not bring its own: a viewer joins at any of them.
    sequence_header: Option<Bytes>,
}

const CONTINUES: u8 = 0x80;
const TO_BE_CONTINUED: u8 = 0x40;
const SEQUENCE_BEGINS: u8 = 0x08;
/// What the two bits of W can say.
const ELEMENTS_MAX: usize = 3;
/// A unit is not begun at the end of a packet for less than this.
const PIECE_MIN: usize = 64;
const AGGREGATION_HEADER_BYTES: usize = 1;

impl Av1Packetizer {
    /// `None`: not the main profile, which alone is what browsers decode.
    pub(super) fn new(format: &VideoFormat) -> Option<Self> {
        let configuration = &format.configuration;
        if configuration.len() < 4 || configuration[1] >> 5 != 0 {
            return None;
        }
        let header = sequence_header(&configuration[4..]).ok()?.map(|header| {
            let mut own = Vec::with_capacity(header.payload.len() + 4);
            header.write(&mut own);
            own.into()
        });
        Some(Self { sequence_header: header })
    }

    pub(super) fn packetize(&mut self, frame: &Frame, out: &mut Vec<RtpPayload>) {
        let units = || Obus::new(&frame.payload).map_while(Result::ok);
        if !units().any(|obu| matches!(obu.kind, FRAME | FRAME_HEADER)) {
            return;
        }
        let brings_header = units().any(|obu| obu.kind == SEQUENCE_HEADER);
        let mut packer = Packer { begins: frame.keyframe, packet: Vec::new(), continues: false, out };
        if frame.keyframe
            && !brings_header
            && let Some(header) = &self.sequence_header
            && let Ok((obu, _)) = Obu::take(header)
        {
            packer.put(&obu, header.slice_ref(obu.payload));
        }
        for obu in units() {
            if !matches!(obu.kind, TEMPORAL_DELIMITER | TILE_LIST | PADDING) {
                packer.put(&obu, frame.payload.slice_ref(obu.payload));
            }
        }
        packer.close(false);
    }
}

/// One temporal unit on its way into packets.
struct Packer<'a> {
    /// The next packet is the first of a coded video sequence.
    begins: bool,
    packet: Vec<Element>,
    /// The packet's first element goes on from the one before.
    continues: bool,
    out: &'a mut Vec<RtpPayload>,
}

/// A unit or a piece of one.
struct Element {
    header: [u8; 2],
    header_bytes: usize,
    body: Bytes,
}

impl Element {
    fn len(&self) -> usize {
        self.header_bytes + self.body.len()
    }
}

impl Packer<'_> {
    /// Adds a unit; what does not fit goes into packets of about equal size, since the kernel cuts equal packets.
    fn put(&mut self, obu: &Obu<'_>, mut body: Bytes) {
        let (header, mut header_bytes) = obu.header();
        loop {
            let left = header_bytes + body.len();
            let used = self.used();
            let free = PAYLOAD_MAX.saturating_sub(used);
            if !self.packet.is_empty() && (self.packet.len() == ELEMENTS_MAX || free < left.min(PIECE_MIN)) {
                self.turn_over();
                continue;
            }
            if left <= free {
                self.packet.push(Element { header, header_bytes, body });
                return;
            }
            let packets = 1 + (left - free).div_ceil(PAYLOAD_MAX - AGGREGATION_HEADER_BYTES);
            let each = (used + left + packets - 1).div_ceil(packets);
            let piece = each.saturating_sub(used).clamp(header_bytes + 1, free);
            self.packet.push(Element { header, header_bytes, body: body.split_to(piece - header_bytes) });
            header_bytes = 0;
            self.close(true);
        }
    }

    /// Bytes of the packet if another element is put behind those there are.
    fn used(&self) -> usize {
        let element = |element: &Element| leb128_len(element.len()) + element.len();
        AGGREGATION_HEADER_BYTES + self.packet.iter().map(element).sum::<usize>()
    }

    /// Closes a full packet in the middle of a unit, even where it would end with one. Without the dependency descriptor
    /// libwebrtc takes a packet that ends with a unit for the last of its frame, and a decoder that is given a frame which
    /// is not to be shown without the one that is gives up.
    fn turn_over(&mut self) {
        let Some(last) = self.packet.last_mut().filter(|last| last.body.len() > 1) else { return self.close(false) };
        let body = last.body.split_off(last.body.len() - 1);
        self.close(true);
        self.packet.push(Element { header: [0; 2], header_bytes: 0, body });
    }

    /// Writes the packet, if there is anything in it.
    fn close(&mut self, to_be_continued: bool) {
        let count = self.packet.len();
        let Some(last) = self.packet.pop() else { return };
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let aggregation = flag(std::mem::replace(&mut self.continues, to_be_continued), CONTINUES)
            | flag(to_be_continued, TO_BE_CONTINUED)
            | (count as u8) << 4
            | flag(std::mem::take(&mut self.begins), SEQUENCE_BEGINS);
        if self.packet.is_empty() {
            let prefix = [aggregation, last.header[0], last.header[1]];
            self.out.push(RtpPayload::new(&prefix[..1 + last.header_bytes], last.body));
            return;
        }
        let mut body = Vec::with_capacity(self.used() + last.len());
        for element in self.packet.drain(..) {
            write_leb128(element.len(), &mut body);
            body.extend_from_slice(&element.header[..element.header_bytes]);
            body.extend_from_slice(&element.body);
        }
        body.extend_from_slice(&last.header[..last.header_bytes]);
        body.extend_from_slice(&last.body);
        self.out.push(RtpPayload::new(&[aggregation], body.into()));
    }
}
