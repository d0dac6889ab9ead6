//! VP8 (RFC 7741 section 4): the descriptor is taken off, partitions are joined.

use super::{AccessUnit, UnitFormat};
use crate::model::{VideoCodec, VideoFormat};
use bytes::{Bytes, BytesMut};

#[derive(Debug, Default)]
pub(super) struct Vp8Assembler {
    frame: BytesMut,
    begun: bool,
    told: Option<(u16, u16)>,
}

/// Body of the `vpcC` box: profile 0, level 1, eight bits of 4:2:0, no initialization data.
const CONFIGURATION: &[u8] = &[1, 0, 0, 0, 0, 10, 0x82, 2, 2, 2, 0, 0];

impl Vp8Assembler {
    /// `false`: this payload does not fit to what came before it.
    pub(super) fn push(&mut self, payload: &Bytes) -> bool {
        let Some((starts, at)) = descriptor(payload) else { return false };
        if starts && !self.begun {
            self.begun = true;
        } else if !self.begun {
            return false;
        }
        self.frame.extend_from_slice(&payload[at..]);
        true
    }

    pub(super) fn finish(&mut self, timestamp: u32) -> Option<AccessUnit> {
        self.begun = false;
        let payload = self.frame.split().freeze();
        // The frame tag: the lowest bit is 0 for a keyframe (RFC 6386 section 9.1).
        let keyframe = payload.first()? & 1 == 0;
        let size = if keyframe { size(&payload) } else { None };
        if keyframe && size.is_none() {
            return None;
        }
        let format = size.filter(|size| self.told.replace(*size) != Some(*size)).map(|(width, height)| {
            UnitFormat::Video(VideoFormat {
                codec: VideoCodec::Vp8,
                configuration: Bytes::from_static(CONFIGURATION),
                rfc6381: "vp08.00.10.08".to_owned(),
                width,
                height,
                frame_rate: None,
            })
        });
        Some(AccessUnit { timestamp, keyframe, payload, format })
    }
}

/// Whether the payload begins a frame, and where the frame's bytes begin.
fn descriptor(payload: &[u8]) -> Option<(bool, usize)> {
    let first = *payload.first()?;
    let starts = first & 0x10 != 0 && first & 0x07 == 0;
    let mut at = 1;
    if first & 0x80 != 0 {
        let extensions = *payload.get(1)?;
        at = 2;
        if extensions & 0x80 != 0 {
            at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
        }
        at += usize::from(extensions & 0x40 != 0);
        at += usize::from(extensions & 0x30 != 0);
    }
    (at < payload.len()).then_some((starts, at))
}

/// Width and height of a keyframe (RFC 6386 section 9.1).
fn size(frame: &[u8]) -> Option<(u16, u16)> {
    let &[_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = frame else { return None };
    let (width, height) = (u16::from_le_bytes([w0, w1]) & 0x3fff, u16::from_le_bytes([h0, h1]) & 0x3fff);
    (width > 0 && height > 0).then_some((width, height))
}
