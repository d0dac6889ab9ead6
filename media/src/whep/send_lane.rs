//! One lane of a feed as one viewer is sent it: its numbers, what was lost of it, and its reports.
//!
//! In: bursts, lost sequence numbers, the clock. Out: sealed packets into the worker's batch. No lock and no allocation per
//! packet.

use super::burst::{Burst, Lane};
use super::forwarder::{Forwarder, Placed, Sent};
use super::path::Path;
use super::shelf::Shelf;
use crate::rtc::feedback::resend::ResendPolicy;
use crate::rtc::outlet::Outlet;
use crate::rtc::rtcp::{NtpTime, SenderReport};
use crate::rtp::header::SentHeader;
use crate::rtp::packetize::RtpPayload;
use std::time::SystemTime;

#[derive(Debug)]
pub(super) struct SendLane {
    pub(super) setup: LaneSetup,
    pub(super) forwarder: Forwarder,
    /// Of a frame that leaves in parts: its place, and which packet is next.
    under_way: Option<(Placed, usize)>,
    rtx_index: u64,
    resend: ResendPolicy,
    packets: u32,
    octets: u32,
    /// RTP timestamp and wall clock of the newest frame that was sent unshifted.
    clock: Option<(u32, SystemTime)>,
    /// How many packets back the last probe was.
    probed: u16,
}

/// What has left of a frame.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) packets: usize,
    pub(super) bytes: usize,
    /// Nothing of the frame is left to be sent.
    pub(super) is_last: bool,
}

/// A packet that was sent.
struct Found<'a> {
    packet: &'a RtpPayload,
    /// In its layer's feed.
    number: u64,
    timestamp: u32,
}

/// How one lane is to be sent, as negotiated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneSetup {
    pub(crate) lane: Lane,
    /// Which media section of the answer it is.
    pub(crate) m_line: usize,
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
    /// SSRC and payload type of retransmissions (RFC 4588); without it nothing is sent again.
    pub(crate) rtx: Option<(u32, u8)>,
    pub(crate) first_sequence: u16,
    /// The id of transport-wide numbers, where its section has them.
    pub(crate) transport_cc: Option<u8>,
}

impl SendLane {
    pub(super) fn new(setup: LaneSetup) -> Self {
        Self {
            setup,
            forwarder: Forwarder::new(setup.lane, setup.first_sequence),
            under_way: None,
            rtx_index: u64::from(setup.first_sequence >> 1),
            resend: ResendPolicy::default(),
            packets: 0,
            octets: 0,
            clock: None,
            probed: 0,
        }
    }

    /// Sends a frame as far as `room` bytes go, and a little further: a packet is not cut. What is left of it is sent before any
    /// other frame. A frame that does not pass counts as sent.
    pub(super) fn send(
        &mut self,
        burst: &Burst,
        shift: u32,
        room: usize,
        path: &mut Path,
        out: &mut Outlet<'_>,
    ) -> Part {
        let none = Part { packets: 0, bytes: 0, is_last: true };
        let begun = self.under_way.take().or_else(|| self.begin(burst, shift));
        let Some((Placed { index, timestamp }, begun)) = begun else { return none };
        let LaneSetup { ssrc, payload_type, transport_cc, .. } = self.setup;
        let (mut next, mut bytes) = (begun, 0);
        while next < burst.packets.len() && bytes < room {
            let packet = &burst.packets[next];
            let stamp = path.stamp(transport_cc, packet.len() + OVERHEAD);
            let header = SentHeader { payload_type, marker: packet.marker, timestamp, ssrc, stamp };
            out.rtp(&header, index + next as u64, |arena| packet.write(arena));
            next += 1;
            bytes += packet.len();
        }
        self.octets = self.octets.wrapping_add(bytes as u32);
        self.packets = self.packets.wrapping_add((next - begun) as u32);
        let is_last = next == burst.packets.len();
        self.under_way = (!is_last).then_some((Placed { index, timestamp }, next));
        Part { packets: next - begun, bytes, is_last }
    }

    fn begin(&mut self, burst: &Burst, shift: u32) -> Option<(Placed, usize)> {
        let placed = self.forwarder.place(burst, shift)?;
        if shift == 0 {
            self.clock = Some((burst.timestamp, burst.wall));
        }
        Some((placed, 0))
    }

    /// Whether a part of a frame has left.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Answers one lost packet: how many bytes were sent again.
    pub(super) fn resend(
        &mut self,
        sequence: u16,
        shelf: &Shelf,
        path: &mut Path,
        out: &mut Outlet<'_>,
    ) -> Option<usize> {
        let found = self.find(sequence, shelf)?;
        let sent = self.setup.rtx.is_some()
            && self.resend.allow(path.now(), found.number, path.rtt(), found.packet.len())
            && self.repeat(sequence, &found, path, out);
        sent.then_some(found.packet.len())
    }

    /// Sends one of the newest packets again, for the sake of its size. `false`: there is none.
    pub(super) fn probe(&mut self, shelf: &Shelf, path: &mut Path, out: &mut Outlet<'_>) -> bool {
        self.probed = (self.probed + 1) % PROBED_PACKETS;
        let sequence = self.forwarder.newest_sequence().wrapping_sub(self.probed);
        self.find(sequence, shelf).is_some_and(|found| self.repeat(sequence, &found, path, out))
    }

    fn find<'a>(&self, sequence: u16, shelf: &'a Shelf) -> Option<Found<'a>> {
        let Sent { layer, number, shift } = self.forwarder.sent(sequence)?;
        let burst = shelf.find(self.setup.lane, layer, number)?;
        let packet = &burst.packets[(number - burst.first) as usize];
        Some(Found { packet, number, timestamp: burst.timestamp.wrapping_add(shift) })
    }

    /// Under RTX (RFC 4588). Without it nothing is sent again: under the same index the cipher would repeat its nonce, and a
    /// viewer without RTX asks for keyframes anyway.
    fn repeat(&mut self, sequence: u16, found: &Found<'_>, path: &mut Path, out: &mut Outlet<'_>) -> bool {
        let Some((ssrc, payload_type)) = self.setup.rtx else { return false };
        let &Found { packet, timestamp, .. } = found;
        let index = self.rtx_index;
        self.rtx_index += 1;
        let stamp = path.stamp(self.setup.transport_cc, packet.len() + OVERHEAD);
        let header = SentHeader { payload_type, marker: packet.marker, timestamp, ssrc, stamp };
        out.rtp(&header, index, |arena| {
            // The original sequence number stands before the payload (section 4).
            arena.extend_from_slice(&sequence.to_be_bytes());
            packet.write(arena);
        });
        true
    }

    pub(super) fn report(&self, wall: SystemTime, out: &mut Outlet<'_>) {
        let Some((timestamp, at)) = self.clock else { return };
        let since = wall.duration_since(at).unwrap_or_default();
        let ticks = (since.as_micros() * u128::from(self.setup.lane.clock_rate()) / 1_000_000) as u32;
        let report = SenderReport {
            ssrc: self.setup.ssrc,
            ntp: NtpTime::from(wall),
            rtp_timestamp: timestamp.wrapping_add(ticks),
            packets: self.packets,
            octets: self.octets,
        };
        out.rtcp(|arena| report.write(arena));
    }
}

/// What a packet has on the network beside its payload: IP, UDP, RTP, the cipher's tag.
const OVERHEAD: usize = 20 + 8 + SentHeader::BYTES_MAX + 16;
/// Probes repeat these newest packets in turn.
const PROBED_PACKETS: u16 = 16;

#[cfg(test)]
mod tests {
    use super::super::forwarder::testing::burst;
    use super::*;
    use crate::allocations;
    use crate::rtc::route::Route;
    use crate::rtc::socket::{SendBatch, UdpSocket};
    use crate::rtc::srtp::{SessionKeys, SrtpProfile};
    use std::time::Instant;

    const SETUP: LaneSetup = LaneSetup {
        lane: Lane::Video,
        m_line: 0,
        ssrc: 7,
        payload_type: 96,
        rtx: Some((8, 97)),
        first_sequence: 1,
        transport_cc: Some(3),
    };

    /// From a frame to the system call, for 200 viewers: nothing is allocated once the batch has its size.
    #[test]
    fn nothing_is_allocated_per_packet_on_the_way_out() {
        let bind = || UdpSocket::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let (here, there) = (bind(), bind());
        let route = Route::Udp(there.local_addr().unwrap());
        let keys = SessionKeys::from_exporter(SrtpProfile::AeadAes128Gcm, &[7; 56]);
        // With transport-wide numbers and an estimate: the costly half of the viewers.
        let path = || Path::new(true, 1, Instant::now());
        let mut viewers: Vec<_> = (0..200).map(|_| (SendLane::new(SETUP), keys.sealer(), path())).collect();
        let mut batch = SendBatch::default();
        let frames: Vec<_> = (0..50_u64).map(|frame| burst(Lane::Video, frame * 8, 8, frame == 0)).collect();
        let mut turn = |frame: &Burst| {
            for (lane, sealer, path) in &mut viewers {
                lane.send(frame, 0, usize::MAX, path, &mut Outlet { sealer, batch: &mut batch, route: &route });
            }
            batch.flush(&here).packets
        };
        assert_eq!(turn(&frames[0]), 1_600);
        let allocated = allocations::during(|| frames[1..].iter().for_each(|frame| assert_eq!(turn(frame), 1_600)));
        assert_eq!(allocated, 0, "in 78 400 packets");
    }

    #[test]
    fn a_lost_packet_is_sent_again_under_its_own_source() {
        let bind = || UdpSocket::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let (here, there) = (bind(), bind());
        let route = Route::Udp(there.local_addr().unwrap());
        let keys = SessionKeys::from_exporter(SrtpProfile::AeadAes128Gcm, &[7; 56]);
        let (mut lane, mut sealer, mut batch) = (SendLane::new(SETUP), keys.sealer(), SendBatch::default());
        let (mut shelf, now) = (Shelf::default(), Instant::now());
        let mut path = Path::new(false, 1, now);
        let frame = burst(Lane::Video, 100, 3, true);
        shelf.put(&frame, now);
        let mut out = Outlet { sealer: &mut sealer, batch: &mut batch, route: &route };
        assert_eq!(lane.send(&frame, 0, usize::MAX, &mut path, &mut out).packets, 3);
        assert_eq!(lane.resend(2, &shelf, &mut path, &mut out), Some(0));
        assert_eq!(lane.resend(2, &shelf, &mut path, &mut out), None, "a round trip is waited for");
        assert_eq!(lane.resend(77, &shelf, &mut path, &mut out), None, "never sent");
        assert_eq!(batch.flush(&here).packets, 4);
    }
}
