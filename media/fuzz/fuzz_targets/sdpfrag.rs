//! Any text as a fragment of PATCH: no panic.
#![no_main]

use chobi_media::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| fuzzing::sdpfrag(text));
