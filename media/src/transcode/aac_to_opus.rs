//! AAC access units to Opus packets on one clock.
//!
//! In: access units with dts. Out: packets of 20 ms, each 960 ticks after the one before, until the source's clock
//! leaves the count of samples by more than [`TOLERANCE_MS`]. Driven by the task that feeds WebRTC viewers of a source.
//!
//! Sound keeps its place: what an access unit says at its dts is heard at the same pts. The delays of resampler and
//! encoder are taken off by leaving out that many samples where the clock starts, not by moving timestamps, so the first
//! packet has exactly the pts of the first unit.

use super::aac_decoder::AacDecoder;
use super::error::TranscodeError;
use super::resampler::Resampler;
use crate::codec::opus;
use crate::model::{AudioFormat, MediaTime, Timescale};
use bytes::Bytes;
use opusic_c::{Application, Bitrate, Channels, Encoder, InbandFec, SampleRate};

/// One packet: 960 samples per channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpusPacket {
    /// Ticks of 48 kHz, on the source's timeline.
    pub pts: i64,
    pub payload: Bytes,
}

/// Transcodes one AAC track. Buffers are reused; at most one packet and one access unit of samples wait inside.
pub(crate) struct AacToOpus {
    decoder: AacDecoder,
    resampler: Resampler,
    encoder: Encoder,
    source: Source,
    /// `None` before the first unit.
    clock: Option<Clock>,
    /// Samples per channel to leave out before the next that is kept.
    skip: usize,
    /// What `skip` is where a clock starts: the delay of resampler and encoder together.
    delay: usize,
    /// One access unit at the core's rate, interleaved.
    pcm: Vec<f32>,
    /// Samples at 48 kHz that are not in a packet yet, interleaved.
    pending: Vec<f32>,
    packet: [u8; PACKET_MAX_BYTES],
    damaged: u64,
}

/// The source track's clock.
#[derive(Debug, Clone, Copy)]
struct Source {
    scale: Timescale,
    /// Ticks of one access unit: twice the core's samples where bands are replicated.
    unit_ticks: i64,
}

/// Counts from a start that the source's dts gave.
#[derive(Debug, Clone, Copy)]
struct Clock {
    /// Where the next unit is expected, in ticks of the source.
    next_dts: i64,
    /// Ticks of the source since the start.
    taken: i64,
    start_pts: i64,
    next_pts: i64,
}

/// Where a unit stands against the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Close enough to go on counting.
    Follows,
    /// Its time is filled already: the source sends more samples than its clock has room for.
    Surplus,
    /// Nothing was sent for a while, or the source's clock began anew.
    Elsewhere,
}

/// 20 ms, what WebRTC senders use (RFC 7587 section 4.2): less costs headers, more costs delay.
const PACKET_SAMPLES: usize = 960;
/// A frame of at most 1275 bytes (RFC 6716 section 3.4) and its TOC.
const PACKET_MAX_BYTES: usize = 1_276;
/// Distance between sound and picture before somebody notices (ITU-R BT.1359), which also covers the jitter of
/// timestamps in milliseconds.
const TOLERANCE_MS: i64 = 40;
/// A clock that falls back further than this has begun anew; leaving out sound until it catches up would be silence.
const RESTART_MS: i64 = 1_000;
/// Of 10. Encoding takes about 0.5 % of a core per stereo source; from 8 on it would take half as much again.
const COMPLEXITY: u8 = 5;
/// Percent of packets the encoder prepares for. Where it codes with SILK it then repeats the packet before (in-band
/// FEC); music at these rates it codes with CELT, which leans less on the packet before instead.
const EXPECTED_LOSS_PERCENT: u8 = 5;
/// What libopus takes for one or two channels.
const BITRATE: std::ops::RangeInclusive<u32> = 6_000..=510_000;

impl AacToOpus {
    /// `format` is an AAC track's, `bits_per_second` what the Opus may take (see
    /// [`default_bitrate`](super::default_bitrate)), 6 000 to 510 000.
    pub(crate) fn new(format: &AudioFormat, bits_per_second: u32) -> Result<Self, TranscodeError> {
        if !BITRATE.contains(&bits_per_second) {
            return Err(TranscodeError::Bitrate { bits_per_second, allowed: BITRATE });
        }
        let decoder = AacDecoder::new(format)?;
        let resampler = Resampler::new(decoder.core_rate(), decoder.channels())?;
        let mut encoder = open_encoder(decoder.channels(), bits_per_second).map_err(TranscodeError::Opus)?;
        let look_ahead = encoder.get_look_ahead().map_err(TranscodeError::Opus)?;
        let source =
            Source { scale: Timescale::new(format.sample_rate), unit_ticks: i64::from(format.samples_per_frame) };
        Ok(Self {
            delay: resampler.delay() + look_ahead as usize,
            decoder,
            resampler,
            encoder,
            source,
            clock: None,
            skip: 0,
            pcm: Vec::new(),
            pending: Vec::new(),
            packet: [0; PACKET_MAX_BYTES],
            damaged: 0,
        })
    }

    /// Channels of the Opus: 1 for a mono source, else 2.
    #[cfg(test)]
    pub(crate) fn channels(&self) -> u8 {
        self.decoder.channels()
    }

    /// Access units so far that could not be decoded and became silence.
    #[cfg(test)]
    pub(crate) fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Takes one raw access unit; packets that are full are appended to `out`. `dts_ticks` counts samples of the
    /// format's rate. An error is never the unit's fault; the next unit may be pushed all the same.
    pub(crate) fn push(
        &mut self,
        dts_ticks: i64,
        access_unit: &[u8],
        out: &mut Vec<OpusPacket>,
    ) -> Result<(), TranscodeError> {
        match self.clock.map(|clock| self.source.place(dts_ticks, clock.next_dts)) {
            Some(Place::Follows) => {}
            Some(Place::Surplus) => return Ok(()),
            Some(Place::Elsewhere) => {
                self.flush(out)?;
                self.start(dts_ticks);
            }
            None => self.start(dts_ticks),
        }
        if !self.decoder.decode(access_unit, &mut self.pcm) {
            self.damaged += 1;
        }
        let unit_ticks = self.source.unit_ticks;
        let clock = self.clock.as_mut().expect("started above");
        clock.next_dts += unit_ticks;
        clock.taken += unit_ticks;
        self.resample()?;
        self.encode(i64::MAX, out)
    }

    /// Ends the sound that was pushed: the last packet is filled up with silence. The next unit starts a new clock.
    pub(crate) fn flush(&mut self, out: &mut Vec<OpusPacket>) -> Result<(), TranscodeError> {
        let Some(clock) = self.clock else { return Ok(()) };
        let end_pts = clock.start_pts + self.source.to_opus(clock.taken);
        self.pcm.fill(0.0);
        // Enough silence to push the last sample out of resampler and encoder: some 20 ms, at most a unit's worth more.
        while self.clock.is_some_and(|clock| clock.next_pts < end_pts) {
            self.resample()?;
            self.encode(end_pts, out)?;
        }
        self.clock = None;
        Ok(())
    }

    fn start(&mut self, dts_ticks: i64) {
        let start_pts = self.source.to_opus(dts_ticks);
        self.clock = Some(Clock { next_dts: dts_ticks, taken: 0, start_pts, next_pts: start_pts });
        self.skip = self.delay;
        self.pending.clear();
        self.decoder.reset();
        self.resampler.reset();
    }

    /// Appends the unit in `pcm` to `pending`.
    fn resample(&mut self) -> Result<(), TranscodeError> {
        let channels = usize::from(self.decoder.channels());
        let samples = self.resampler.resample(&self.pcm)?;
        let skipped = self.skip.min(samples.len() / channels);
        self.skip -= skipped;
        self.pending.extend_from_slice(&samples[skipped * channels..]);
        Ok(())
    }

    /// Packets out of `pending`, as long as they begin before `end_pts`.
    fn encode(&mut self, end_pts: i64, out: &mut Vec<OpusPacket>) -> Result<(), TranscodeError> {
        let samples = PACKET_SAMPLES * usize::from(self.decoder.channels());
        while let Some(clock) = &mut self.clock
            && clock.next_pts < end_pts
            && self.pending.len() >= samples
        {
            let pts = clock.next_pts;
            clock.next_pts += PACKET_SAMPLES as i64;
            let encoded = self.encoder.encode_float_to_slice(&self.pending[..samples], &mut self.packet);
            self.pending.drain(..samples);
            let bytes = encoded.map_err(TranscodeError::Opus)?;
            out.push(OpusPacket { pts, payload: Bytes::copy_from_slice(&self.packet[..bytes]) });
        }
        Ok(())
    }
}

impl Source {
    fn place(self, dts_ticks: i64, expected: i64) -> Place {
        let ahead_ms = dts_ticks.saturating_sub(expected).saturating_mul(1_000) / i64::from(self.scale.get());
        if ahead_ms.abs() <= TOLERANCE_MS {
            Place::Follows
        } else if (-RESTART_MS..0).contains(&ahead_ms) {
            Place::Surplus
        } else {
            Place::Elsewhere
        }
    }

    fn to_opus(self, ticks: i64) -> i64 {
        MediaTime::new(ticks, self.scale).rescale_nearest(Timescale::new(opus::SAMPLE_RATE)).ticks
    }
}

fn open_encoder(channels: u8, bits_per_second: u32) -> Result<Encoder, opusic_c::ErrorCode> {
    let channels = if channels == 1 { Channels::Mono } else { Channels::Stereo };
    let mut encoder = Encoder::new(channels, SampleRate::Hz48000, Application::Audio)?;
    encoder.set_bitrate(Bitrate::Value(bits_per_second))?;
    encoder.set_complexity(COMPLEXITY)?;
    // The mode that does not push music into SILK for the sake of FEC.
    encoder.set_inband_fec(InbandFec::Mode2)?;
    encoder.set_packet_loss(EXPECTED_LOSS_PERCENT)?;
    Ok(encoder)
}

#[cfg(test)]
#[path = "aac_to_opus_tests.rs"]
mod tests;
