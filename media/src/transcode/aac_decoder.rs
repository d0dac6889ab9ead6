//! One access unit to samples of the core coder.
//!
//! In: raw access units (no ADTS header). Out: 1024 interleaved samples per channel, always, within ±1. Driven by
//! `aac_to_opus`. ISO/IEC 14496-3 section 4.4.

use super::error::TranscodeError;
use crate::model::{AudioCodec, AudioFormat};
use symphonia_codec_aac::AacDecoder as Symphonia;
use symphonia_core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia_core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia_core::packet::PacketRef;
use symphonia_core::units::{Duration, Timestamp};

/// Decodes the core of AAC-LC and HE-AAC.
pub(super) struct AacDecoder {
    symphonia: Symphonia,
    parameters: AudioCodecParameters,
    channels: u8,
    core_rate: u32,
    /// A damaged unit may have left the wrong layout of elements behind, which would make every later unit fail.
    stale: bool,
}

/// Samples per channel in one access unit of the core.
pub(super) const CORE_SAMPLES: usize = 1_024;

/// What 13 bits of an ADTS header can say (ISO/IEC 14496-3 section 1.A.2.2); the standard's own bound, 768 bytes per
/// channel, is lower. Anything longer is not one access unit.
const ACCESS_UNIT_MAX_BYTES: usize = 8_191;

/// By samplingFrequencyIndex (ISO/IEC 14496-3 table 1.18).
const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

impl AacDecoder {
    pub(super) fn new(format: &AudioFormat) -> Result<Self, TranscodeError> {
        if format.codec != AudioCodec::Aac {
            return Err(TranscodeError::NotAac);
        }
        let object_type = format.configuration.first().map_or(0, |byte| byte >> 3);
        // Low complexity, or SBR and PS, whose core is low complexity in every profile in use.
        if !matches!(object_type, 2 | 5 | 29) {
            return Err(TranscodeError::Profile { object_type });
        }
        // Band replication doubles rate and frame alike.
        let core_rate = match format.samples_per_frame {
            1_024 => format.sample_rate,
            2_048 => format.sample_rate / 2,
            samples => return Err(TranscodeError::FrameLength { samples }),
        };
        let index = SAMPLE_RATES.iter().position(|rate| *rate == core_rate);
        let index = index.ok_or(TranscodeError::SampleRate { hertz: core_rate })? as u8;
        let channels = format.channels;
        if !matches!(channels, 1 | 2) {
            return Err(TranscodeError::Channels { channels });
        }
        // object type 5 | rate index 4 | channels 4 | frame length, core coder, extension 1 each: the core alone,
        // because the decoder refuses a configuration that tells of band replication.
        let configuration = [2 << 3 | index >> 1, index << 7 | channels << 3];
        let mut parameters = AudioCodecParameters::new();
        parameters.for_codec(CODEC_ID_AAC).with_extra_data(Box::new(configuration));
        let symphonia = open(&parameters).map_err(TranscodeError::Decoder)?;
        Ok(Self { symphonia, parameters, channels, core_rate, stale: false })
    }

    pub(super) fn channels(&self) -> u8 {
        self.channels
    }

    /// Hertz of the decoded samples: half the format's where bands are replicated.
    pub(super) fn core_rate(&self) -> u32 {
        self.core_rate
    }

    /// Replaces `pcm`. `false`: the unit is damaged and `pcm` is silence.
    pub(super) fn decode(&mut self, access_unit: &[u8], pcm: &mut Vec<f32>) -> bool {
        pcm.clear();
        let intact = access_unit.len() <= ACCESS_UNIT_MAX_BYTES && has_channel_element(access_unit);
        if intact && self.reopen() {
            let packet = PacketRef::new(0, Timestamp::ZERO, Duration::new(CORE_SAMPLES as u64), access_unit);
            match self.symphonia.decode_ref(&packet) {
                Ok(decoded) => decoded.copy_to_vec_interleaved(pcm),
                Err(_) => self.stale = true,
            }
        }
        let decoded = pcm.len() == CORE_SAMPLES * usize::from(self.channels);
        pcm.resize(CORE_SAMPLES * usize::from(self.channels), 0.0);
        // Bits of a damaged unit can decode to any size of number, and the encoder's arithmetic must stay finite.
        for sample in pcm {
            *sample = if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 };
        }
        decoded
    }

    /// Forgets the half window that waits for its other half: what follows does not continue what was.
    pub(super) fn reset(&mut self) {
        self.symphonia.reset();
    }

    /// A decoder that was made once can be made again; should that fail, units count as damaged.
    fn reopen(&mut self) -> bool {
        if self.stale
            && let Ok(symphonia) = open(&self.parameters)
        {
            (self.symphonia, self.stale) = (symphonia, false);
        }
        !self.stale
    }
}

fn open(parameters: &AudioCodecParameters) -> symphonia_core::errors::Result<Symphonia> {
    Symphonia::try_new(parameters, &AudioDecoderOptions::default())
}

/// Whether an audio element comes before the end of the unit (ISO/IEC 14496-3 table 4.3). For a unit without any the
/// decoder would hand out the sound of the unit before.
fn has_channel_element(access_unit: &[u8]) -> bool {
    const DATA_STREAM: u32 = 4;
    const FILL: u32 = 6;
    const END: u32 = 7;
    let mut position = 0;
    let read = |position: &mut usize, bits: usize| {
        let mut value = 0;
        for _ in 0..bits {
            let byte = access_unit.get(*position / 8)?;
            value = value << 1 | u32::from(byte >> (7 - *position % 8) & 1);
            *position += 1;
        }
        Some(value)
    };
    let mut skip_element = || {
        match read(&mut position, 3)? {
            DATA_STREAM => {
                let aligned = read(&mut position, 5)? & 1 == 1;
                let mut bytes = read(&mut position, 8)?;
                if bytes == 255 {
                    bytes += read(&mut position, 8)?;
                }
                if aligned {
                    position = position.next_multiple_of(8);
                }
                position += bytes as usize * 8;
            }
            FILL => {
                let mut bytes = read(&mut position, 4)?;
                if bytes == 15 {
                    bytes = bytes + read(&mut position, 8)? - 1;
                }
                position += bytes as usize * 8;
            }
            END => return None,
            _ => return Some(true),
        }
        Some(false)
    };
    // Every pass reads three bits at least, so the bytes bound the loop.
    loop {
        match skip_element() {
            Some(false) => {}
            found => return found.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_without_an_audio_element_is_told_apart() {
        assert!(has_channel_element(&[0x20, 0x00]), "a channel pair");
        assert!(has_channel_element(&[0b1100_0011, 0b1111_1110, 0b0100_0000]), "a fill of one byte, then one");
        assert!(!has_channel_element(&[]));
        assert!(!has_channel_element(&[0xff; 8]), "the end at once");
        assert!(!has_channel_element(&[0b1100_1111]), "a fill that is cut");
        assert!(!has_channel_element(&[0b1000_0001, 0xff, 0xff, 0xff]), "a data element longer than the unit");
    }
}
