//! Any bytes, in two portions: no panic, and never more kept than was sent allows.
#![no_main]

use chobi_media::ingest::rtmp::chunk::{ChunkLimits, ChunkReader};
use libfuzzer_sys::fuzz_target;

const LIMITS: ChunkLimits = ChunkLimits {
    media_message_max_bytes: 8 << 20,
    command_message_max_bytes: 64 << 10,
    unfinished_max_bytes: 16 << 20,
    chunk_streams_max: 64,
};

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let mut reader = ChunkReader::new(LIMITS);
    reader.set_media_accepted(true);
    let cut = usize::from(cut).min(bytes.len());
    for mut portion in [&bytes[..cut], &bytes[cut..]] {
        loop {
            match reader.next(&mut portion) {
                Ok(Some(message)) => assert!(message.payload.len() <= bytes.len()),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
});
