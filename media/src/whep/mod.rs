//! 3a. FRAMES BECOME RTP FOR WHEP VIEWERS.
//!
//! In: the hub's frames. Out: sealed packets in a worker's send batch. A [`feed`] reads the hub once per broadcast and
//! packetizes once for everybody ([`burst`]); each worker keeps the newest GOP and the last seconds of a feed ([`shelf`]). A
//! [`viewer`] has a [`showing`] per feed of its [`line_up`], which picks a layer ([`selector`]) by what its [`path`] carries and
//! by what its viewer asks for ([`wish`]); a [`send_lane`] rewrites numbers ([`forwarder`]) and seals.
//!
//! RTP: RFC 3550. Payload formats: `crate::rtp`. Retransmission: RFC 4585, RFC 4588.

pub(crate) mod burst;
pub(crate) mod feed;
pub(crate) mod forwarder;
#[cfg(test)]
mod layers_tests;
pub(crate) mod line_up;
#[cfg(test)]
pub(crate) mod network_tests;
mod owed;
pub(crate) mod path;
pub(crate) mod roster;
pub(crate) mod selector;
pub(crate) mod send_lane;
pub(crate) mod shelf;
pub(crate) mod showing;
pub(crate) mod viewer;
pub(crate) mod wish;
