//! 1. BYTES ARRIVE, FRAMES LEAVE.
//!
//! Every ingest promises the hub: an epoch before its frames, video starting at a keyframe, decoding times that never
//! decrease within a track and an epoch, audio and video on one zero, and nothing at all before admission.

pub mod demo;
pub mod flv;
pub mod rtmp;
pub(crate) mod whip;
