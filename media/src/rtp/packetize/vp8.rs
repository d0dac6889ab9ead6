//! VP8 with a picture id of 15 bits (RFC 7741 section 4.2).

use super::{PAYLOAD_MAX, RtpPayload, parts};
use bytes::Bytes;

#[derive(Debug, Default)]
pub(crate) struct Vp8Packetizer {
    picture: u16,
}

const EXTENDED: u8 = 0x80;
const START_OF_PARTITION: u8 = 0x10;
const HAS_PICTURE_ID: u8 = 0x80;
const LONG_PICTURE_ID: u16 = 0x8000;

impl Vp8Packetizer {
    pub(super) fn packetize(&mut self, frame: &Bytes, out: &mut Vec<RtpPayload>) {
        let [high, low] = (LONG_PICTURE_ID | self.picture).to_be_bytes();
        for part in parts(frame.len(), PAYLOAD_MAX - 4) {
            let start = if part.start == 0 { START_OF_PARTITION } else { 0 };
            out.push(RtpPayload::new(&[EXTENDED | start, HAS_PICTURE_ID, high, low], frame.slice(part)));
        }
        self.picture = (self.picture + 1) & 0x7fff;
    }
}
