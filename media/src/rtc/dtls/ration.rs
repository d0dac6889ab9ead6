//! How much of a handshake one peer may say.
//!
//! In: its datagrams. Out: whether the endpoint is to see them. The endpoint keeps the parts of a message that is not whole,
//! and joins them by a function that calls itself for every part: ten thousand of them, which need no more than 120 KB, would
//! overflow the thread's stack and end the process.

use super::{DtlsError, HANDSHAKE, HANDSHAKE_HEADER, records, three_bytes};

/// What was said so far.
#[derive(Debug, Default)]
pub(super) struct Ration {
    /// In datagrams, until the handshake was done.
    bytes: usize,
    /// Parts of handshake messages that anybody could read.
    parts: usize,
    /// Bytes of those that nobody could.
    sealed: usize,
}

/// What a client says until the handshake is done, its certificate a few kilobytes, and all of it again on a bad network.
const BYTES_MAX: usize = 128 * 1024;
/// A client's messages have about ten parts, twenty where its network takes small packets only. It repeats the last of them
/// whenever ours are repeated, which is a dozen times until it has to be done.
const PARTS_MAX: usize = 512;
/// A client seals one message, of about sixty bytes, and repeats it when ours was lost. What is inside is not known before it
/// is opened; twelve bytes could be a part.
const SEALED_MAX: usize = 8 * 1024;

impl Ration {
    /// An error when it is used up.
    pub(super) fn take(&mut self, datagram: &[u8], is_shaking: bool) -> Result<(), DtlsError> {
        if is_shaking {
            self.bytes += datagram.len();
        }
        for record in records(datagram).filter(|record| record.kind == HANDSHAKE) {
            if record.is_plain {
                self.parts += parts(record.body);
            } else {
                self.sealed += record.body.len();
            }
        }
        let is_sane = self.bytes <= BYTES_MAX && self.parts <= PARTS_MAX && self.sealed <= SEALED_MAX;
        is_sane.then_some(()).ok_or_else(|| DtlsError::Protocol("more than a handshake needs".to_owned()))
    }
}

/// As the endpoint takes them apart: each is as long as the whole message would be, or as what is left of the record.
fn parts(mut body: &[u8]) -> usize {
    let mut parts = 0;
    while let Some(head) = body.get(..HANDSHAKE_HEADER) {
        parts += 1;
        body = body.get(HANDSHAKE_HEADER + three_bytes(head, 1)..).unwrap_or_default();
    }
    parts
}
