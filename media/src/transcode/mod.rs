//! 2b. SOUND OF ANOTHER KIND: what RTMP brings as AAC becomes Opus for viewers by WebRTC.
//!
//! In: AAC-LC access units of one track. Out: Opus packets of 20 ms. Pure; made by a feed, once per broadcast and only while
//! somebody watches by WebRTC.

mod aac_to_opus;

pub(crate) use aac_to_opus::{AacToOpus, OpusPacket};
