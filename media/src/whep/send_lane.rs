//! One lane of a feed as one viewer is sent it: its numbers, what was lost of it, and its reports.
//!
//! In: bursts, lost sequence numbers, the clock. Out: sealed packets into the worker's batch. No lock and no allocation per
//! packet.

use super::burst::{Burst, Lane};
use super::forwarder::{Forwarder, Placed, Sent};
use super::shelf::Shelf;
use crate::rtc::feedback::resend::ResendPolicy;
use crate::rtc::outlet::Outlet;
use crate::rtc::rtcp::{NtpTime, SenderReport};
use std::time::{Duration, Instant, SystemTime};

#[derive(Debug)]
pub(super) struct SendLane {
    pub(super) setup: LaneSetup,
    pub(super) forwarder: Forwarder,
    rtx_index: u64,
    resend: ResendPolicy,
    packets: u32,
    octets: u32,
    /// RTP timestamp and wall clock of the newest frame that was sent unshifted.
    clock: Option<(u32, SystemTime)>,
}

/// How one lane is to be sent, as negotiated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneSetup {
    pub(crate) lane: Lane,
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
    /// SSRC and payload type of retransmissions (RFC 4588); without it nothing is sent again.
    pub(crate) rtx: Option<(u32, u8)>,
    pub(crate) first_sequence: u16,
}

impl SendLane {
    pub(super) fn new(setup: LaneSetup) -> Self {
        Self {
            setup,
            forwarder: Forwarder::new(setup.lane, setup.first_sequence),
            rtx_index: u64::from(setup.first_sequence >> 1),
            resend: ResendPolicy::default(),
            packets: 0,
            octets: 0,
            clock: None,
        }
    }

    /// How many packets left.
    pub(super) fn send(&mut self, burst: &Burst, shift: u32, out: &mut Outlet<'_>) -> usize {
        let Some(Placed { mut index, timestamp }) = self.forwarder.place(burst, shift) else { return 0 };
        if shift == 0 {
            self.clock = Some((burst.timestamp, burst.wall));
        }
        let LaneSetup { ssrc, payload_type, .. } = self.setup;
        for packet in &burst.packets {
            out.rtp(ssrc, index, |arena| {
                write_header(arena, payload_type, packet.marker, index as u16, timestamp, ssrc);
                packet.write(arena);
            });
            index += 1;
            self.octets = self.octets.wrapping_add(packet.len() as u32);
        }
        self.packets = self.packets.wrapping_add(burst.packets.len() as u32);
        burst.packets.len()
    }

    /// Answers one lost packet. `true`: it was sent again.
    pub(super) fn resend(
        &mut self,
        sequence: u16,
        shelf: &Shelf,
        now: Instant,
        rtt: Duration,
        out: &mut Outlet<'_>,
    ) -> bool {
        let Some(Sent { layer, number, shift }) = self.forwarder.sent(sequence) else { return false };
        let Some(burst) = shelf.find(self.setup.lane, layer, number) else { return false };
        let packet = &burst.packets[(number - burst.first) as usize];
        if !self.resend.allow(now, number, rtt, packet.len()) {
            return false;
        }
        let timestamp = burst.timestamp.wrapping_add(shift);
        match self.setup.rtx {
            Some((ssrc, payload_type)) => {
                let index = self.rtx_index;
                self.rtx_index += 1;
                out.rtp(ssrc, index, |arena| {
                    write_header(arena, payload_type, packet.marker, index as u16, timestamp, ssrc);
                    // The original sequence number stands before the payload (RFC 4588 section 4).
                    arena.extend_from_slice(&sequence.to_be_bytes());
                    packet.write(arena);
                });
            }
            // Without RTX nothing can be sent again: under the same index the cipher would repeat its nonce for a
            // packet that must be byte for byte the same, and a viewer without RTX asks for keyframes anyway.
            None => return false,
        }
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

/// The fixed header of RFC 3550 section 5.1; viewers are sent no extensions.
fn write_header(out: &mut Vec<u8>, payload_type: u8, marker: bool, sequence: u16, timestamp: u32, ssrc: u32) {
    let mut header = [0_u8; 12];
    header[0] = 0x80;
    header[1] = payload_type | (u8::from(marker) << 7);
    header[2..4].copy_from_slice(&sequence.to_be_bytes());
    header[4..8].copy_from_slice(&timestamp.to_be_bytes());
    header[8..12].copy_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&header);
}

#[cfg(test)]
mod tests {
    use super::super::forwarder::testing::burst;
    use super::*;
    use crate::allocations;
    use crate::rtc::route::Route;
    use crate::rtc::socket::{SendBatch, UdpSocket};
    use crate::rtc::srtp::{SessionKeys, SrtpProfile};

    const RTT: Duration = Duration::from_millis(70);
    const SETUP: LaneSetup =
        LaneSetup { lane: Lane::Video, ssrc: 7, payload_type: 96, rtx: Some((8, 97)), first_sequence: 1 };

    /// From a frame to the system call, for 200 viewers: nothing is allocated once the batch has its size.
    #[test]
    fn nothing_is_allocated_per_packet_on_the_way_out() {
        let bind = || UdpSocket::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let (here, there) = (bind(), bind());
        let route = Route::Udp(there.local_addr().unwrap());
        let keys = SessionKeys::from_exporter(SrtpProfile::AeadAes128Gcm, &[7; 56]);
        let mut viewers: Vec<_> = (0..200).map(|_| (SendLane::new(SETUP), keys.sealer())).collect();
        let mut batch = SendBatch::default();
        let frames: Vec<_> = (0..50_u64).map(|frame| burst(Lane::Video, frame * 8, 8, frame == 0)).collect();
        let mut turn = |frame: &Burst| {
            for (lane, sealer) in &mut viewers {
                lane.send(frame, 0, &mut Outlet { sealer, batch: &mut batch, route: &route });
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
        let frame = burst(Lane::Video, 100, 3, true);
        shelf.put(&frame, now);
        let mut out = Outlet { sealer: &mut sealer, batch: &mut batch, route: &route };
        assert_eq!(lane.send(&frame, 0, &mut out), 3);
        assert!(lane.resend(2, &shelf, now, RTT, &mut out));
        assert!(!lane.resend(2, &shelf, now, RTT, &mut out), "a round trip is waited for");
        assert!(!lane.resend(77, &shelf, now, RTT, &mut out), "never sent");
        assert_eq!(batch.flush(&here).packets, 4);
    }
}
