//! The core's samples to 48 kHz.
//!
//! In: 1024 interleaved samples per channel at the source's rate. Out: as many as that makes at 48 kHz, give or take a
//! block. Driven by `aac_to_opus`.

use super::aac_decoder::CORE_SAMPLES;
use super::error::TranscodeError;
use crate::codec::opus;
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

/// Passes 48 kHz through untouched.
pub(super) struct Resampler {
    fft: Option<Fft<f32>>,
    channels: usize,
    output: Vec<f32>,
}

/// Two blocks of 512 samples in each access unit: at 44.1 kHz the filter cuts at 21.5 kHz and
/// the delay is 7 ms. More blocks cut lower, fewer delay longer.
const BLOCKS: usize = 2;

impl Resampler {
    /// `rate` in hertz.
    pub(super) fn new(rate: u32, channels: u8) -> Result<Self, TranscodeError> {
        let channels = usize::from(channels);
        let mut resampler = Self { fft: None, channels, output: Vec::new() };
        if rate != opus::SAMPLE_RATE {
            let fft = Fft::new_custom(
                rate as usize,
                opus::SAMPLE_RATE as usize,
                CORE_SAMPLES,
                BLOCKS,
                channels,
                WindowFunction::BlackmanHarris2,
                FixedSync::Input,
            )?;
            resampler.output.resize(fft.output_frames_max() * channels, 0.0);
            resampler.fft = Some(fft);
        }
        Ok(resampler)
    }

    /// Samples at 48 kHz by which the output is late.
    pub(super) fn delay(&self) -> usize {
        self.fft.as_ref().map_or(0, |fft| fft.output_delay())
    }

    /// Takes exactly 1024 samples per channel. The result is interleaved too.
    pub(super) fn resample<'a>(&'a mut self, pcm: &'a [f32]) -> Result<&'a [f32], TranscodeError> {
        let Some(fft) = &mut self.fft else { return Ok(pcm) };
        let frames = self.output.len() / self.channels;
        let input = InterleavedSlice::new(pcm, self.channels, CORE_SAMPLES).expect("1024 samples per channel");
        let mut output = InterleavedSlice::new_mut(&mut self.output, self.channels, frames).expect("the length fits");
        let (_, written) = fft.process_into_buffer(&input, &mut output, None)?;
        Ok(&self.output[..written * self.channels])
    }

    /// Forgets what is still inside.
    pub(super) fn reset(&mut self) {
        if let Some(fft) = &mut self.fft {
            fft.reset();
        }
    }
}
