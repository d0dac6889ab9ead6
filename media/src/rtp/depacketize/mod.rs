//! RTP payloads to access units. Packets come in order; one that is missing costs its access unit, and for video every
//! one up to the next keyframe.

mod av1;
#[cfg(test)]
mod encoder_tests;
mod h264;
#[cfg(test)]
mod tests;
mod vp8;
mod vp9;

use crate::codec::opus;
use crate::model::{AudioFormat, VideoFormat};
use bytes::Bytes;

/// One access unit in the layout of [`crate::model::VideoCodec`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessUnit {
    pub(crate) timestamp: u32,
    pub(crate) keyframe: bool,
    pub(crate) payload: Bytes,
    /// Parameters that differ from those told before.
    pub(crate) format: Option<UnitFormat>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UnitFormat {
    Video(VideoFormat),
    Audio(AudioFormat),
}

/// Reads the payloads of one track.
#[derive(Debug)]
pub(crate) struct Depacketizer {
    codec: Assembler,
    timestamp: Option<u32>,
    /// The unit under way has a hole.
    damaged: bool,
    waits_for_keyframe: bool,
    bytes: usize,
    packets: usize,
}

#[derive(Debug)]
enum Assembler {
    H264(h264::H264Assembler),
    Vp8(vp8::Vp8Assembler),
    Vp9(vp9::Vp9Assembler),
    Av1(av1::Av1Assembler),
    Opus { told: Option<AudioFormat> },
}

/// A keyframe of 4K at the highest quality has 2 MiB.
const UNIT_BYTES_MAX: usize = 8 << 20;
const UNIT_PACKETS_MAX: usize = 8_192;

impl Depacketizer {
    pub(crate) fn h264() -> Self {
        Self::new(Assembler::H264(h264::H264Assembler::default()), true)
    }

    pub(crate) fn vp8() -> Self {
        Self::new(Assembler::Vp8(vp8::Vp8Assembler::default()), true)
    }

    pub(crate) fn vp9() -> Self {
        Self::new(Assembler::Vp9(vp9::Vp9Assembler::default()), true)
    }

    pub(crate) fn av1() -> Self {
        Self::new(Assembler::Av1(av1::Av1Assembler::default()), true)
    }

    pub(crate) fn opus() -> Self {
        Self::new(Assembler::Opus { told: None }, false)
    }

    fn new(codec: Assembler, waits_for_keyframe: bool) -> Self {
        Self { codec, timestamp: None, damaged: false, waits_for_keyframe, bytes: 0, packets: 0 }
    }

    /// Whether nothing can be decoded before the next keyframe.
    pub(crate) fn needs_keyframe(&self) -> bool {
        self.waits_for_keyframe
    }

    /// Takes the next packet; `gap`: packets before it are missing for good. Gives back the unit that it completes.
    pub(crate) fn push(&mut self, timestamp: u32, marker: bool, payload: &Bytes, gap: bool) -> Option<AccessUnit> {
        if let Assembler::Opus { told } = &mut self.codec {
            return opus_unit(told, timestamp, payload);
        }
        let mut whole = None;
        if self.timestamp.is_some_and(|before| before != timestamp) {
            // The last one came without its marker. In H.264 that says nothing (RFC 6184 section 5.1). Elsewhere its end is
            // missing, and no hole in the numbers need tell: Chromium forgets what it has not sent yet of a frame when a
            // keyframe follows.
            self.damaged |= gap || !matches!(self.codec, Assembler::H264(_));
            whole = self.finish();
        }
        self.timestamp = Some(timestamp);
        self.bytes += payload.len();
        self.packets += 1;
        self.damaged |= gap || self.bytes > UNIT_BYTES_MAX || self.packets > UNIT_PACKETS_MAX;
        if !self.damaged && !payload.is_empty() {
            self.damaged = !match &mut self.codec {
                Assembler::H264(assembler) => assembler.push(payload),
                Assembler::Vp8(assembler) => assembler.push(payload),
                Assembler::Vp9(assembler) => assembler.push(payload),
                Assembler::Av1(assembler) => assembler.push(payload),
                Assembler::Opus { .. } => true,
            };
        }
        if marker && whole.is_none() { self.finish() } else { whole }
    }

    fn finish(&mut self) -> Option<AccessUnit> {
        let timestamp = self.timestamp.take()?;
        (self.bytes, self.packets) = (0, 0);
        let damaged = std::mem::take(&mut self.damaged);
        let unit = match &mut self.codec {
            Assembler::H264(assembler) => assembler.finish(timestamp),
            Assembler::Vp8(assembler) => assembler.finish(timestamp),
            Assembler::Vp9(assembler) => assembler.finish(timestamp),
            Assembler::Av1(assembler) => assembler.finish(timestamp),
            Assembler::Opus { .. } => None,
        };
        self.waits_for_keyframe |= damaged;
        let unit = unit.filter(|_| !damaged)?;
        self.waits_for_keyframe &= !unit.keyframe;
        (!self.waits_for_keyframe).then_some(unit)
    }
}

/// Silence that is not sent (DTX) needs nothing: the next packet's timestamp says how long it was.
fn opus_unit(told: &mut Option<AudioFormat>, timestamp: u32, payload: &Bytes) -> Option<AccessUnit> {
    let found = opus::format_of_packet(payload).ok()?;
    // A sender changes between mono and stereo as it likes; what was told first is what decoders are set up for.
    let format = told.is_none().then(|| told.insert(found).clone()).map(UnitFormat::Audio);
    Some(AccessUnit { timestamp, keyframe: true, payload: payload.clone(), format })
}
