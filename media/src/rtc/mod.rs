//! THE WEBRTC TRANSPORT under whip and whep; it knows neither the hub nor HTTP.
#![allow(dead_code, unreachable_pub)]

pub(crate) mod feedback;
pub(crate) mod ice;
pub(crate) mod negotiate;
pub(crate) mod socket;
pub(crate) mod srtp;
