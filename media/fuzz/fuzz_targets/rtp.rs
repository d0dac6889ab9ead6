//! Any bytes as an RTP packet: payload and extensions lie within it.
#![no_main]

use chobi_media::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::rtp(bytes));
