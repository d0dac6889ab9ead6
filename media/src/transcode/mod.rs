//! 2b. SOUND FOR BROWSERS: the AAC of an RTMP show as the Opus that WebRTC carries.
//!
//! In: AAC access units with dts in ticks of the source track. Out: Opus packets of 20 ms with pts at 48 kHz. Driven by
//! whoever watches the source for WebRTC viewers; one engine per source, pure, about half a percent of a core.
//!
//! `aac_decoder` turns an access unit into samples of the core coder (ISO/IEC 14496-3 section 4), `resampler` brings
//! them to 48 kHz, `aac_to_opus` keeps the clock and encodes (RFC 6716, carried as RFC 7587 wants it).
//!
//! What is decoded: AAC-LC, mono and stereo, frames of 1024 samples. HE-AAC loses its replicated upper band, so it
//! sounds like its core at half the rate, and HE-AAC v2 is mono. More channels are refused, not mixed down: the
//! decoder has two at most.

mod aac_decoder;
mod aac_to_opus;
mod error;
mod resampler;

pub(crate) use aac_to_opus::{AacToOpus, OpusPacket};

/// Bits per second where nobody asked for others: enough for music, little for a viewer on a phone.
pub(crate) fn default_bitrate(channels: u8) -> u32 {
    if channels > 1 { 96_000 } else { 64_000 }
}
