//! The binary composes the two planes and decides nothing: configuration in, running server out.

pub mod app;
pub mod bench;
mod bridge;
pub mod config;
mod demo;
mod http;
mod open_files;
mod ops;
pub mod shutdown;
pub mod telemetry;
mod tls;
mod welcome;
