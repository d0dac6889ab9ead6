//! The wire, from HTTP request to HTTP answer: without a database, but for who may call what.

mod access;
mod probes;
mod replay;
mod shape;
mod wire;
