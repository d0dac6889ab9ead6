//! Any text as an offer: no panic, and no line of the answer is the client's.
#![no_main]

use chobi_media::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| fuzzing::offer(text));
