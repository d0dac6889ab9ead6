//! RTMP ingest from outside: real sockets, real encoders, hostile bytes.

#[path = "../support/mod.rs"]
mod support;

mod encoders;
mod formats;
mod limits;
mod refusals;
