//! Packets that outlive the buffer they were read into: many to an allocation, and the same memory again once nobody has any of
//! them.

use bytes::{Bytes, BytesMut};

/// Nothing is allocated before the first copy.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    chunk: BytesMut,
}

/// One copy that is kept keeps this much: some twenty-five packets of a picture, or a few seconds of sound.
const CHUNK: usize = 32 * 1024;

impl Copies {
    pub(crate) fn copy(&mut self, packet: &[u8]) -> Bytes {
        if self.chunk.capacity() < packet.len() {
            self.chunk.reserve(CHUNK.max(packet.len()));
        }
        self.chunk.extend_from_slice(packet);
        self.chunk.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocations;

    #[test]
    fn packets_that_are_handed_on_cost_next_to_no_allocation() {
        let mut copies = Copies::default();
        let packet: Vec<u8> = (0..1_200).map(|byte| byte as u8).collect();
        assert_eq!(copies.copy(&packet), packet);
        let allocated = allocations::during(|| {
            for _ in 0..1_000 {
                drop(copies.copy(&packet));
            }
        });
        assert!(allocated <= 2, "{allocated} allocations for packets that are read at once");
        let mut kept = Vec::with_capacity(1_000);
        let allocated = allocations::during(|| kept.extend((0..1_000).map(|_| copies.copy(&packet))));
        assert!(allocated <= 1_000 / 10, "{allocated} allocations for a thousand packets that are kept");
        assert!(kept.iter().all(|copy| *copy == packet));
    }
}
