//! Any bytes as a check of ICE: no panic, and an answer of a few bytes.
#![no_main]

use chobi_media::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::stun(bytes));
