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
