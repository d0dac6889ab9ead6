//! A client's greeting, put together before the endpoint sees any of it: it says which cipher is to be taken.

use super::{CLIENT_HELLO, HANDSHAKE, HANDSHAKE_HEADER, records, three_bytes};
use bytes::BytesMut;

/// A ClientHello on its way: with post-quantum key shares it does not fit into one datagram, and what decides about the
/// cipher may be in any part.
#[derive(Default)]
pub(super) struct Greeting {
    pub(super) message: Vec<u8>,
    /// From and to of what is there of the message.
    pub(super) pieces: Vec<(usize, usize)>,
    pub(super) datagrams: Vec<BytesMut>,
}

/// What a datagram did to a [`Greeting`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// No part of a ClientHello, or one that is there already.
    Nothing,
    Part,
    /// The message is whole, or will not be.
    Whole,
}

/// A greeting that is not whole after so many datagrams is taken as it is.
pub(super) const GREETING_DATAGRAMS_MAX: usize = 8;
pub(super) const GREETING_BYTES_MAX: usize = 16 * 1024;

impl Greeting {
    /// Takes a datagram. What is no ClientHello is not kept: it must not decide about the cipher of those that follow.
    pub(super) fn add(&mut self, datagram: &[u8]) -> Added {
        let before = self.covered();
        records(datagram).filter(|record| record.kind == HANDSHAKE && record.is_plain).for_each(|record| {
            self.piece(record.body);
        });
        let covered = self.covered();
        if covered == before {
            return Added::Nothing;
        }
        self.datagrams.push(BytesMut::from(datagram));
        let is_last = covered == self.message.len() || self.datagrams.len() >= GREETING_DATAGRAMS_MAX;
        if is_last { Added::Whole } else { Added::Part }
    }

    fn piece(&mut self, body: &[u8]) {
        let Some((head, fragment)) = body.split_at_checked(HANDSHAKE_HEADER) else { return };
        let number = |at| three_bytes(head, at);
        let (total, offset, end) = (number(1), number(6), number(6) + fragment.len());
        let is_known_length = self.message.is_empty() || self.message.len() == total;
        let fits = total <= GREETING_BYTES_MAX && end <= total && number(9) == fragment.len();
        if head[0] != CLIENT_HELLO || fragment.is_empty() || !is_known_length || !fits {
            return;
        }
        self.message.resize(total, 0);
        self.message[offset..end].copy_from_slice(fragment);
        self.pieces.push((offset, end));
    }

    /// How much of the message is there; parts may come twice and overlap.
    fn covered(&mut self) -> usize {
        self.pieces.sort_unstable();
        self.pieces.dedup_by(|next, piece| {
            let touches = next.0 <= piece.1;
            if touches {
                piece.1 = piece.1.max(next.1);
            }
            touches
        });
        self.pieces.iter().map(|(start, end)| end - start).sum()
    }
}

/// Whether a ClientHello lists AEAD_AES_128_GCM in its use_srtp extension (RFC 5764 section 4.1.1): extension 14, its
/// length, the length of the list, the profiles, an empty key identifier.
pub(super) fn offers_gcm(hello: &[u8]) -> bool {
    const AEAD_AES_128_GCM: [u8; 2] = [0, 7];
    (0..hello.len()).any(|at| {
        let Some(&[0, 14, e0, e1, l0, l1, ref rest @ ..]) = hello.get(at..) else { return false };
        let (extension, list) = (u16::from_be_bytes([e0, e1]), usize::from(u16::from_be_bytes([l0, l1])));
        usize::from(extension) == list + 3
            && rest.get(..list).is_some_and(|profiles| profiles.chunks(2).any(|profile| profile == AEAD_AES_128_GCM))
    })
}
