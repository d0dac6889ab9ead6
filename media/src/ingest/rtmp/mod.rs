//! RTMP: an encoder connects, names its key, and pushes media.
//!
//! The layers, in the order a byte meets them:
//!
//! 1. `listener` accepts, plain and over TLS; `crate::places` counts and caps both together.
//! 2. `handshake`: C0 to S2 (RTMP 1.0 section 5.2), through `rml_rtmp`.
//! 3. `chunk`: chunks become messages, bounded (section 5.3).
//! 4. `amf0`: command arguments, bounded; `net_connection`: connect, createStream, publish (section 7.2), with
//!    `publish_name` for what the encoder means and `writer` for our answers.
//! 5. [`super::flv`]: message bodies become epochs and frames and go to the hub.
//!
//! `connection` is the one file here that awaits, on what `socket` offers. The limits stand in [`RtmpConfig`]; each end of a connection has a
//! name in [`ConnectionEnd`] and is counted.

pub mod amf0;
pub mod chunk;
mod config;
mod connection;
mod error;
mod handshake;
mod listener;
mod net_connection;
mod publish_name;
mod socket;
mod writer;

pub use amf0::Amf0Error;
pub use config::RtmpConfig;
pub use error::{ChunkError, ConnectionEnd, Deadline};
pub use listener::Listener;
