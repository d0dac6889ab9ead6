//! WebRTC for all broadcasts of this process: one UDP port, a thread per core, each owning its peers.
//!
//! In: offers over HTTP (`desk`), datagrams, bursts of the feeds. Out: answers, sealed packets, frames into the hub. A peer
//! lives on one [`worker`] and is touched by no other thread; what is told to it goes through its [`inbox`].

pub(crate) mod config;
pub(crate) mod desk;
pub(crate) mod directory;
#[cfg(test)]
mod ejection_tests;
pub(crate) mod inbox;
mod listen;
pub(crate) mod peer;
#[cfg(test)]
mod places_tests;
mod service;
pub(crate) mod tcp;
mod ufrag;
pub(crate) mod worker;

pub use config::WebrtcConfig;
pub use service::{Ejector, Service, ServiceError, Surroundings};
