//! Frames become RTP payloads and RTP payloads become frames: pure, once per track.
//!
//! H.264 (RFC 6184), VP8 (RFC 7741), VP9 (RFC 9628), AV1 (RTP Payload Format For AV1), Opus (RFC 7587). A codec that is not here cannot travel by WebRTC in this server.

pub(crate) mod depacketize;
pub(crate) mod header;
pub(crate) mod jitter;
pub(crate) mod packetize;
