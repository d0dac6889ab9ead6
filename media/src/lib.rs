//! The media plane: bytes arrive from broadcasters, frames fan out, low-latency HLS leaves.
//!
//! In route order: [`ingest`] turns bytes into frames, [`hub`] fans them out, [`hls`] packages and serves them, [`webrtc`]
//! sends them on at once, `thumbnail` makes pictures of keyframes, [`store`] keeps what must last. [`seam`] holds what this
//! plane asks of others and tells them; it knows nothing of the control plane.

pub mod addresses;
#[cfg(test)]
mod allocations;
mod cache;
pub mod codec;
pub mod config;
pub mod ejected;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod hls;
pub mod hub;
pub mod ingest;
pub mod listen;
pub mod load;
mod metrics;
pub mod model;
mod places;
mod plane;
mod private_file;
pub(crate) mod rtc;
pub(crate) mod rtp;
pub mod seam;
pub(crate) mod signalling;
pub mod store;
pub(crate) mod thumbnail;
pub mod tls;
pub(crate) mod transcode;
pub mod webrtc;
pub(crate) mod whep;

pub use plane::{Media, MediaConfig, StartError};
