//! Any bytes: no panic, no deep recursion, no more values than are allowed.
#![no_main]

use chobi_media::ingest::rtmp::amf0;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(values) = amf0::decode(bytes) {
        assert!(values.len() <= amf0::MAX_VALUES);
    }
});
