//! AAC-LC → samples → 48 kHz → Opus.
//!
//! In: access units with their decoding times. Out: Opus packets on a 48 kHz clock that follows the source's: samples are
//! counted, and where the source has a gap the count jumps with it, so that sound and picture stay in step.

use crate::model::AudioFormat;
use bytes::Bytes;
use opusic_c::{Application, Bitrate, Channels, Encoder, InbandFec, SampleRate};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};
use symphonia_codec_aac::AacDecoder;
use symphonia_core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia_core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia_core::packet::PacketRef;
use symphonia_core::units::{Duration as Samples, Timestamp};

pub(crate) struct AacToOpus {
    decoder: AacDecoder,
    /// `None`: the source has 48 kHz already.
    resampler: Option<Box<Fft<f32>>>,
    encoder: Encoder,
    rate: i64,
    channels: usize,
    /// Interleaved samples of one access unit.
    decoded: Vec<f32>,
    /// Interleaved 48 kHz samples that do not fill a packet yet.
    pending: Vec<f32>,
    packet: Vec<u8>,
    clock: Option<Clock>,
}

/// Where the sound stands.
#[derive(Debug, Clone, Copy)]
struct Clock {
    /// Decoding time at which the next access unit is expected.
    expected: i64,
    /// 48 kHz time of the first pending sample.
    pts: i64,
}

/// One packet of 20 ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpusPacket {
    /// In 48 kHz ticks of the epoch.
    pub(crate) pts: i64,
    pub(crate) payload: Bytes,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TranscodeError {
    #[error("AAC that cannot be decoded here (only AAC-LC, mono or stereo): {0}")]
    Unsupported(String),
    #[error("a damaged access unit: {0}")]
    Damaged(String),
    #[error("the Opus encoder refused: {0}")]
    Encoder(&'static str),
}

const OPUS_RATE: i64 = 48_000;
/// 20 ms.
const PACKET_SAMPLES: usize = 960;
/// Samples of an AAC-LC access unit.
const UNIT_SAMPLES: usize = 1_024;
/// A longer step of the source is a gap; a shorter one is rounding.
const GAP_MS: i64 = 40;
/// Good speech and music at half the work of the highest (10).
const COMPLEXITY: u8 = 5;
/// In-band correction is dimensioned for this loss.
const EXPECTED_LOSS_PERCENT: u8 = 5;
/// Longer than any packet of 20 ms (RFC 6716 section 3.2.1).
const PACKET_BYTES_MAX: usize = 1_275;

impl AacToOpus {
    /// `bitrate`: bits per second for stereo; mono gets two thirds.
    pub(crate) fn new(format: &AudioFormat, bitrate: u32) -> Result<Self, TranscodeError> {
        let unsupported = |error: &dyn std::fmt::Display| TranscodeError::Unsupported(error.to_string());
        let mut parameters = AudioCodecParameters::new();
        parameters.for_codec(CODEC_ID_AAC).with_sample_rate(format.sample_rate);
        parameters.with_extra_data(format.configuration.to_vec().into_boxed_slice());
        let decoder =
            AacDecoder::try_new(&parameters, &AudioDecoderOptions::default()).map_err(|error| unsupported(&error))?;
        let parameters = decoder.codec_params();
        let rate = parameters.sample_rate.unwrap_or(format.sample_rate);
        let channels = parameters.channels.as_ref().map_or(usize::from(format.channels), |channels| channels.count());
        let resampler = match i64::from(rate) == OPUS_RATE {
            true => None,
            false => {
                let made = Fft::new(rate as usize, OPUS_RATE as usize, UNIT_SAMPLES, channels, FixedSync::Input);
                Some(Box::new(made.map_err(|error| unsupported(&error))?))
            }
        };
        let (layout, bitrate) =
            if channels == 1 { (Channels::Mono, bitrate / 3 * 2) } else { (Channels::Stereo, bitrate) };
        let encoder = encoder(layout, bitrate).map_err(|error| TranscodeError::Encoder(error.message()))?;
        Ok(Self {
            decoder,
            resampler,
            encoder,
            rate: i64::from(format.sample_rate),
            channels,
            decoded: Vec::new(),
            pending: Vec::with_capacity(4 * PACKET_SAMPLES),
            packet: vec![0; PACKET_BYTES_MAX],
            clock: None,
        })
    }

    /// Takes one access unit with its decoding time in samples of the source. A damaged one is replaced by silence and told
    /// of; the sound goes on.
    pub(crate) fn push(&mut self, dts: i64, unit: &[u8], out: &mut Vec<OpusPacket>) -> Result<(), TranscodeError> {
        self.keep_time(dts);
        let packet = PacketRef::new(0, Timestamp::new(0), Samples::new(UNIT_SAMPLES as u64), unit);
        let decoded = match self.decoder.decode_ref(&packet) {
            Ok(samples) => {
                samples.copy_to_vec_interleaved(&mut self.decoded);
                Ok(())
            }
            Err(error) => Err(TranscodeError::Damaged(error.to_string())),
        };
        // The decoder gives whole units or nothing.
        if decoded.is_err() || self.decoded.len() != UNIT_SAMPLES * self.channels {
            self.decoded.clear();
            self.decoded.resize(UNIT_SAMPLES * self.channels, 0.0);
        }
        self.resample()?;
        self.encode(out)?;
        decoded
    }

    fn keep_time(&mut self, dts: i64) {
        let gap = GAP_MS * self.rate / 1_000;
        let next = match self.clock {
            Some(clock) if (dts - clock.expected).abs() <= gap => Clock { expected: clock.expected, ..clock },
            // What is pending belongs before the gap and is too short for a packet.
            _ => {
                self.pending.clear();
                let delay = self.resampler.as_ref().map_or(0, |resampler| resampler.output_delay() as i64);
                Clock { expected: dts, pts: dts * OPUS_RATE / self.rate - delay }
            }
        };
        // Rounding may not add up to a drift.
        let drift = (dts - next.expected) / 16;
        self.clock = Some(Clock {
            expected: next.expected + UNIT_SAMPLES as i64 + drift,
            pts: next.pts + drift * OPUS_RATE / self.rate,
        });
    }

    fn resample(&mut self) -> Result<(), TranscodeError> {
        let Some(resampler) = &mut self.resampler else {
            self.pending.extend_from_slice(&self.decoded);
            return Ok(());
        };
        let damaged = |error: &dyn std::fmt::Display| TranscodeError::Damaged(error.to_string());
        let input =
            InterleavedSlice::new(&self.decoded, self.channels, UNIT_SAMPLES).map_err(|error| damaged(&error))?;
        let output = resampler.process(&input, None).map_err(|error| damaged(&error))?;
        self.pending.extend_from_slice(&output.take_data());
        Ok(())
    }

    fn encode(&mut self, out: &mut Vec<OpusPacket>) -> Result<(), TranscodeError> {
        let Some(clock) = &mut self.clock else { return Ok(()) };
        let whole = PACKET_SAMPLES * self.channels;
        let mut done = 0;
        while self.pending.len() - done >= whole {
            let samples = &self.pending[done..done + whole];
            let encoded = self.encoder.encode_float_to_slice(samples, &mut self.packet);
            let length = encoded.map_err(|error| TranscodeError::Encoder(error.message()))?;
            out.push(OpusPacket { pts: clock.pts, payload: Bytes::copy_from_slice(&self.packet[..length]) });
            clock.pts += PACKET_SAMPLES as i64;
            done += whole;
        }
        self.pending.drain(..done);
        Ok(())
    }
}

fn encoder(channels: Channels, bitrate: u32) -> Result<Encoder, opusic_c::ErrorCode> {
    let mut encoder = Encoder::new(channels, SampleRate::Hz48000, Application::Audio)?;
    encoder.set_bitrate(Bitrate::Value(bitrate))?;
    encoder.set_complexity(COMPLEXITY)?;
    encoder.set_inband_fec(InbandFec::Mode2)?;
    encoder.set_packet_loss(EXPECTED_LOSS_PERCENT)?;
    Ok(encoder)
}

impl std::fmt::Debug for AacToOpus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AacToOpus").field("rate", &self.rate).field("channels", &self.channels).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::aac;
    use opusic_c::Decoder;
    use std::path::Path;
    use std::process::Command;

    /// A tone of 1 kHz as ffmpeg's encoder makes it: the AudioSpecificConfig and the access units.
    fn tone(dir: &Path, rate: u32, channels: u32, seconds: u32) -> (AudioFormat, Vec<Vec<u8>>) {
        let path = dir.join("tone.aac");
        let source = format!("sine=frequency=1000:sample_rate={rate}:duration={seconds}");
        let status = Command::new("ffmpeg")
            .args(["-y", "-v", "error", "-f", "lavfi", "-i", &source, "-ac", &channels.to_string()])
            .args(["-c:a", "aac", "-b:a", "128k", "-f", "adts"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(status.success());
        let bytes = std::fs::read(path).unwrap();
        let (mut units, mut at) = (Vec::new(), 0);
        // ADTS: thirteen bits of length at bit 30 (ISO/IEC 13818-7 section 6.2); seven bytes of header without a checksum.
        while let Some(&[_, _, profile, mixed, middle, low, _, ..]) = bytes.get(at..) {
            let _ = profile;
            let length = usize::from(mixed & 3) << 11 | usize::from(middle) << 3 | usize::from(low >> 5);
            units.push(bytes[at + 7..at + length].to_vec());
            at += length;
        }
        let index = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000].iter().position(|known| *known == rate).unwrap();
        let config = (2_u16 << 11 | (index as u16) << 7 | (channels as u16) << 3).to_be_bytes();
        (aac::format(Bytes::copy_from_slice(&config)).unwrap(), units)
    }

    /// Crossings of zero per second, and the mean of the squares, of the left channel.
    fn measured(packets: &[OpusPacket], channels: usize) -> (f64, f64) {
        let layout = if channels == 1 { Channels::Mono } else { Channels::Stereo };
        let mut decoder = Decoder::new(layout, SampleRate::Hz48000).unwrap();
        let mut samples = Vec::new();
        for packet in packets {
            let mut out = vec![0.0; PACKET_SAMPLES * channels];
            decoder.decode_float_to_slice(&packet.payload, &mut out, false).unwrap();
            samples.extend(out.chunks(channels).map(|frame| f64::from(frame[0])));
        }
        let steady = &samples[48_000..samples.len() - 48_000];
        let crossings = steady.windows(2).filter(|pair| (pair[0] < 0.0) != (pair[1] < 0.0)).count();
        let seconds = steady.len() as f64 / 48_000.0;
        (crossings as f64 / seconds, steady.iter().map(|sample| sample * sample).sum::<f64>() / steady.len() as f64)
    }

    #[test]
    fn a_tone_keeps_its_pitch_and_level_and_time_at_every_rate() {
        let dir = tempfile::tempdir().unwrap();
        for (rate, channels) in [(48_000, 2), (44_100, 2), (44_100, 1)] {
            let (format, units) = tone(dir.path(), rate, channels, 6);
            let mut transcoder = AacToOpus::new(&format, 96_000).unwrap();
            let mut packets = Vec::new();
            for (number, unit) in units.iter().enumerate() {
                transcoder.push(number as i64 * 1_024, unit, &mut packets).unwrap();
            }
            assert!(packets.windows(2).all(|pair| pair[1].pts - pair[0].pts == 960), "20 ms each");
            let (last, ends) = (packets.last().unwrap().pts, units.len() as i64 * 1_024 * 48_000 / i64::from(rate));
            assert!((ends - last).abs() < 4_000, "{last} of {ends}");
            let (crossings, power) = measured(&packets, channels as usize);
            assert!((1_980.0..2_020.0).contains(&crossings), "{rate}: {crossings} crossings a second");
            // ffmpeg's sine has an amplitude of an eighth, and its power is shared between the channels.
            let decibels = 10.0 * (power / (0.125_f64.powi(2) / 2.0 / f64::from(channels))).log10();
            assert!(decibels.abs() < 3.0, "{rate}/{channels}: {decibels} dB");
        }
    }

    #[test]
    fn a_gap_moves_the_clock_and_a_damaged_unit_is_silence() {
        let dir = tempfile::tempdir().unwrap();
        let (format, units) = tone(dir.path(), 48_000, 2, 2);
        let mut transcoder = AacToOpus::new(&format, 96_000).unwrap();
        let mut packets = Vec::new();
        for (number, unit) in units.iter().take(20).enumerate() {
            transcoder.push(number as i64 * 1_024, unit, &mut packets).unwrap();
        }
        let before = packets.len();
        assert!(transcoder.push(20 * 1_024, &units[20][..40], &mut packets).is_err());
        assert!(packets.len() > before, "and the sound goes on");
        let before = packets.len();
        for (number, unit) in units.iter().skip(20).take(3).enumerate() {
            transcoder.push(480_000 + number as i64 * 1_024, unit, &mut packets).unwrap();
        }
        assert_eq!(packets[before].pts, 480_000);
    }
}
