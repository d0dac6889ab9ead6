//! Where a peer's packets go: sealed into the worker's batch, or framed into its TCP connection.
//!
//! In: plain packets written by the caller. Out: SRTP (RFC 3711, RFC 7714) on the way to the peer's address.

use super::route::Route;
use super::socket::SendBatch;
use super::srtp::Sealer;
use crate::rtp::header::SentHeader;
use bytes::Bytes;

/// One peer's way out, borrowed for as long as something is sent.
pub(crate) struct Outlet<'a> {
    pub(crate) sealer: &'a mut Sealer,
    pub(crate) batch: &'a mut SendBatch,
    pub(crate) route: &'a Route,
}

impl Outlet<'_> {
    /// Sends an RTP packet: `header`, numbered by the last 16 bits of its SRTP `index`, then what `payload` appends.
    pub(crate) fn rtp(&mut self, header: &SentHeader, index: u64, payload: impl FnOnce(&mut Vec<u8>)) {
        let start = self.batch.begin();
        let arena = self.batch.arena();
        header.write(index as u16, arena);
        payload(arena);
        self.sealer.seal(arena, start, header.bytes(), header.ssrc, index);
        finish(self.batch, start, self.route);
    }

    /// Sends an RTCP packet, compound or of reduced size (RFC 5506).
    pub(crate) fn rtcp(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.batch.begin();
        let arena = self.batch.arena();
        write(arena);
        self.sealer.seal_rtcp(arena, start);
        finish(self.batch, start, self.route);
    }
}

/// Hands on what was written to the arena since `start`.
pub(crate) fn finish(batch: &mut SendBatch, start: usize, route: &Route) {
    match route {
        Route::Udp(address) => batch.commit(start, *address),
        Route::Tcp(connection) => {
            let arena = batch.arena();
            // A connection that does not take it loses the packet, as a full network would.
            let _ = connection.try_send(Bytes::copy_from_slice(&arena[start..]));
            arena.truncate(start);
        }
    }
}
