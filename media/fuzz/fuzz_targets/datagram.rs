//! Any datagram, on the way that a worker takes.
#![no_main]

use chobi_media::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::datagram(bytes));
