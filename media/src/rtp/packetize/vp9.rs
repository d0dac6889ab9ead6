//! VP9 in flexible mode with a picture id of 15 bits (RFC 9628 section 4.2).
//!
//! Flexible, because a receiver wants to know what a frame refers to, and a source that is forwarded does not promise a
//! fixed pattern. Each frame is said to refer to the one before it: what a receiver must not miss is then the whole GOP,
//! which is true of every encoder.

use super::{PAYLOAD_MAX, RtpPayload, parts};
use crate::codec::vp9::profile;
use crate::model::{Frame, VideoFormat};

#[derive(Debug, Default)]
pub(crate) struct Vp9Packetizer {
    picture: u16,
}

const HAS_PICTURE_ID: u8 = 0x80;
const PREDICTED: u8 = 0x40;
const FLEXIBLE: u8 = 0x10;
const BEGINS: u8 = 0x08;
const ENDS: u8 = 0x04;
const LONG_PICTURE_ID: u16 = 0x8000;
/// P_DIFF 1, and no other.
const THE_ONE_BEFORE: u8 = 1 << 1;

impl Vp9Packetizer {
    /// `None`: not profile 0, eight bits of 4:2:0, which alone is what every browser decodes.
    pub(super) fn new(format: &VideoFormat) -> Option<Self> {
        (profile(&format.configuration) == Some(0)).then(Self::default)
    }

    pub(super) fn packetize(&mut self, frame: &Frame, out: &mut Vec<RtpPayload>) {
        let [high, low] = (LONG_PICTURE_ID | self.picture).to_be_bytes();
        let body = &frame.payload;
        for part in parts(body.len(), PAYLOAD_MAX - 4) {
            let begins = if part.start == 0 { BEGINS } else { 0 };
            let ends = if part.end == body.len() { ENDS } else { 0 };
            let head = HAS_PICTURE_ID | FLEXIBLE | begins | ends;
            let payload = if frame.keyframe {
                RtpPayload::new(&[head, high, low], body.slice(part))
            } else {
                RtpPayload::new(&[head | PREDICTED, high, low, THE_ONE_BEFORE], body.slice(part))
            };
            out.push(payload);
        }
        self.picture = (self.picture + 1) & 0x7fff;
    }
}
