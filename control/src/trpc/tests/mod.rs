//! The wire, from HTTP request to HTTP answer, without a database.

mod probes;
mod replay;
mod shape;
mod wire;
