//! Payloads of H.264 in any order, torn and lost: what comes out is whole.
#![no_main]

use chobi_media::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::depacketize_h264(bytes));
