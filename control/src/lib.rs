//! Control plane.

mod admission;
pub mod auth;
mod bus;
pub mod caller;
mod chat;
pub mod clock;
pub mod config;
pub mod db;
pub mod error;
pub mod id;
mod plain_text;
mod ports;
mod presence;
mod rate;
pub mod secret;
mod session;
#[cfg(any(test, feature = "test-support"))]
pub mod testing;
pub mod trpc;
mod ws;
