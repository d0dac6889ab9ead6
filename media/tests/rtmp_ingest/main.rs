//! RTMP ingest from outside: real sockets, real encoders, hostile bytes.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod encoders;
mod formats;
mod limits;
mod refusals;
