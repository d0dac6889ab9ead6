//! Payloads of VP9 in any order, torn and lost.
#![no_main]

use chobi_media::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::depacketize_vp9(bytes));
