//! Reports of arrivals that lie: the estimate stays a rate.
#![no_main]

use chobi_media::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::transport_cc(bytes));
