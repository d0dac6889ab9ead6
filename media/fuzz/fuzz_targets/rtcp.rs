//! Any bytes as a compound of RTCP: blocks do not overlap, lists end.
#![no_main]

use chobi_media::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::rtcp(bytes));
