//! Control plane.

pub mod auth;
pub mod caller;
pub mod clock;
pub mod config;
pub mod db;
pub mod error;
pub mod id;
pub mod secret;
#[cfg(any(test, feature = "test-support"))]
pub mod testing;
pub mod trpc;
