//! WHIP: a browser's or OBS's WebRTC becomes epochs and frames.
//!
//! In: decrypted RTP and RTCP of one peer. Out: frames into the hub's publisher, feedback back to the sender. [`receiver`] is
//! driven by the media worker that owns the peer; [`to_hub`] decides when an epoch begins and how frames are timed.
//! HTTP stands in `crate::signalling`, ICE and DTLS in `crate::rtc`.

mod clock;
mod receiver;
mod sources;
mod to_hub;
mod track;

pub(crate) use receiver::Receiver;
