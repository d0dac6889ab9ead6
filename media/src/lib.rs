//! The media plane: bytes arrive from broadcasters, frames fan out, low-latency HLS leaves.
//!
//! In route order: [`ingest`] turns bytes into frames, [`hub`] fans them out, [`hls`] packages and serves them,
//! [`store`] keeps what must last. [`seam`] holds what this plane asks of others and tells them; it knows nothing of
//! the control plane.

pub mod config;
pub mod hub;
mod metrics;
pub mod model;
pub mod seam;
