//! A bent client's side of a DTLS handshake: no panic, nothing left of it, and no matter to others.
#![no_main]

use chobi_media::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::dtls(bytes));
