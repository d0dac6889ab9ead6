//! Whole shows over HLS, from the hub's write side to HTTP responses: what players, CDNs and people with bad intentions
//! see. Frames come from real encoders (ffmpeg) where bytes matter.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod clip;
mod co_hosts;
mod codecs;
mod decode;
mod delivery;
mod dvr;
mod film;
mod film_probe;
mod holding;
mod private;
mod replays;
mod restart;
mod stage;
mod thumbnails;
mod viewing;

#[path = "../support/counters.rs"]
#[allow(dead_code, unreachable_pub, reason = "the counters are shared with the tests of RTMP")]
mod counters;
