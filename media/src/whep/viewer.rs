//! One WHEP viewer: what it is sent, what it asks for again, and when it counts as present.
//!
//! In: bursts of its feed, its RTCP, the clock. Out: sealed packets into the worker's batch. Driven by the worker that
//! owns the peer; no lock, no allocation per packet.

use super::burst::{Burst, Lane};
use super::feed::FeedLease;
use super::forwarder::{Forwarder, Placed};
use super::roster::{PlaceGuard, Roster};
use super::shelf::Shelf;
use crate::metrics;
use crate::model::{BroadcastId, ViewerId};
use crate::rtc::feedback::resend::ResendPolicy;
use crate::rtc::outlet::Outlet;
use crate::rtc::rtcp::{Feedback, NtpTime, SenderReport};
use crate::seam::{EventSink, Transport, ViewerGuard, ViewerIdentity};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

#[derive(Debug)]
pub(crate) struct Viewer {
    lanes: [Option<SendLane>; 2],
    /// Frames of the past that are on their way, each with the shift of its timestamp. While it is not empty, new video
    /// queues behind it.
    backlog: VecDeque<(Arc<Burst>, u32)>,
    presence: Presence,
    /// Keeps the feed alive.
    lease: FeedLease,
    reported: Instant,
    caught_up: Option<Instant>,
    rtt: Duration,
    resent: ::metrics::Counter,
}

/// How one lane is to be sent, as negotiated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneSetup {
    pub(crate) lane: Lane,
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
    /// SSRC and payload type of retransmissions (RFC 4588); without it a packet is sent again as it was.
    pub(crate) rtx: Option<(u32, u8)>,
    pub(crate) first_sequence: u16,
}

/// Who watches, until the first media packet makes it a fact.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) roster: Roster,
    pub(crate) broadcast: BroadcastId,
    pub(crate) viewer: ViewerId,
    pub(crate) identity: Option<ViewerIdentity>,
}

#[derive(Debug)]
enum Presence {
    /// Waits for the first media packet.
    Expected(Seat),
    Joined {
        guard: ViewerGuard,
        _place: PlaceGuard,
    },
    Between,
}

#[derive(Debug)]
struct SendLane {
    setup: LaneSetup,
    forwarder: Forwarder,
    rtx_index: u64,
    resend: ResendPolicy,
    packets: u32,
    octets: u32,
    /// RTP timestamp and wall clock of the newest frame that was sent unshifted.
    clock: Option<(u32, SystemTime)>,
}

/// Packets of the past sent per tick while catching up: a 1080p keyframe then does not overrun an access link.
const BACKLOG_PACKETS_PER_TICK: usize = 24;
/// Bursts that may queue behind a catch-up. Beyond it the viewer waits for the next keyframe.
const BACKLOG_MAX: usize = 1_024;
/// A longer GOP is not sent again to mend a loss; the next keyframe is nearer.
const MEND_PACKETS_MAX: usize = 400;
/// Catching up again is a burst; once a second is often enough.
const CATCH_UP_EVERY: Duration = Duration::from_secs(1);
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Frames of the past are shown a millisecond apart: the decoder runs through them and the newest is on time.
const CATCH_UP_STEP_TICKS: u32 = 90;
const RTT_FIRST: Duration = Duration::from_millis(70);

impl Viewer {
    pub(crate) fn new(setups: &[LaneSetup], seat: Seat, lease: FeedLease, now: Instant) -> Self {
        let mut lanes = [None, None];
        for setup in setups {
            lanes[setup.lane.index()] = Some(SendLane::new(*setup));
        }
        Self {
            lanes,
            backlog: VecDeque::new(),
            presence: Presence::Expected(seat),
            lease,
            reported: now,
            caught_up: None,
            rtt: RTT_FIRST,
            resent: ::metrics::counter!(metrics::WHEP_RESENT),
        }
    }

    pub(crate) fn feed(&self) -> &FeedLease {
        &self.lease
    }

    /// Whether an order about this viewer means this peer.
    pub(crate) fn is(&self, broadcast: &BroadcastId, viewer: &ViewerId) -> bool {
        let same = |id: &ViewerId, identity: Option<&ViewerIdentity>| {
            id == viewer || identity.is_some_and(|identity| identity.id == viewer.as_str())
        };
        self.lease.broadcast().id() == broadcast
            && match &self.presence {
                Presence::Expected(seat) => same(&seat.viewer, seat.identity.as_ref()),
                Presence::Joined { guard, .. } => same(&guard.present().viewer, guard.present().identity.as_ref()),
                Presence::Between => false,
            }
    }

    /// Keys are there: what the feed has kept is sent first, so that the first picture does not wait for a keyframe.
    pub(crate) fn start(&mut self, shelf: &Shelf, now: Instant, out: &mut Outlet<'_>) {
        self.catch_up(shelf, now);
        self.drain(out);
    }

    /// Sends one frame, or queues it behind what is catching up.
    pub(crate) fn forward(&mut self, burst: &Arc<Burst>, out: &mut Outlet<'_>) {
        let Some(lane) = &mut self.lanes[burst.lane.index()] else { return };
        if burst.lane == Lane::Video && !self.backlog.is_empty() {
            if self.backlog.len() < BACKLOG_MAX {
                self.backlog.push_back((Arc::clone(burst), 0));
            } else {
                self.backlog.clear();
                lane.forwarder.interrupt();
            }
            return;
        }
        let sent = lane.send(burst, 0, out);
        if sent > 0 {
            self.joined();
        }
    }

    /// The publisher went away or its formats changed: the picture goes on with a keyframe.
    pub(crate) fn interrupt(&mut self) {
        self.backlog.clear();
        for lane in self.lanes.iter_mut().flatten() {
            lane.forwarder.interrupt();
        }
    }

    /// Sends what is due.
    pub(crate) fn tick(&mut self, now: Instant, out: &mut Outlet<'_>) {
        self.drain(out);
        if now.duration_since(self.reported) >= REPORT_EVERY && self.backlog.is_empty() {
            self.reported = now;
            let wall = SystemTime::now();
            for lane in self.lanes.iter().flatten() {
                lane.report(wall, out);
            }
        }
    }

    /// Whether video waits to be sent at the next tick.
    pub(crate) fn is_busy(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Acts on feedback. `true`: a keyframe would help and cannot be taken from the shelf.
    pub(crate) fn feedback(
        &mut self,
        feedback: &Feedback<'_>,
        shelf: &Shelf,
        now: Instant,
        out: &mut Outlet<'_>,
    ) -> bool {
        match feedback {
            Feedback::Nack { media_ssrc, sequences } => {
                let rtt = self.rtt;
                if let Some(lane) = self.lanes.iter_mut().flatten().find(|lane| lane.setup.ssrc == *media_ssrc) {
                    for sequence in sequences.clone() {
                        self.resent.increment(u64::from(lane.resend(sequence, shelf, now, rtt, out)));
                    }
                }
                false
            }
            Feedback::KeyframeRequest { .. } => {
                let lately = self.caught_up.is_some_and(|at| now.duration_since(at) < CATCH_UP_EVERY);
                if lately || self.is_busy() {
                    return false;
                }
                if self.lease.broadcast().request_keyframe() {
                    return true;
                }
                if !shelf.gop().is_empty() && shelf.gop_packets() <= MEND_PACKETS_MAX {
                    self.catch_up(shelf, now);
                    self.drain(out);
                }
                false
            }
            Feedback::RoundTrip(rtt) => {
                self.rtt = *rtt;
                false
            }
            Feedback::Other => false,
        }
    }

    /// Queues the GOP under way with its timestamps drawn together in front of its newest frame.
    fn catch_up(&mut self, shelf: &Shelf, now: Instant) {
        let (Some(lane), Some(newest)) = (&mut self.lanes[Lane::Video.index()], shelf.gop().last()) else { return };
        self.caught_up = Some(now);
        self.backlog.clear();
        lane.forwarder.interrupt();
        let mut behind = shelf.gop().len() as u32;
        for burst in shelf.gop() {
            behind -= 1;
            let shown_at = newest.timestamp.wrapping_sub(behind * CATCH_UP_STEP_TICKS);
            self.backlog.push_back((Arc::clone(burst), shown_at.wrapping_sub(burst.timestamp)));
        }
    }

    fn drain(&mut self, out: &mut Outlet<'_>) {
        let mut room = BACKLOG_PACKETS_PER_TICK;
        let mut sent = 0;
        while let Some((burst, shift)) = self.backlog.pop_front() {
            if let Some(lane) = &mut self.lanes[burst.lane.index()] {
                sent += lane.send(&burst, shift, out);
            }
            // A keyframe larger than a tick's share still leaves whole: its packets belong together.
            room = room.saturating_sub(burst.packets.len());
            if room == 0 {
                break;
            }
        }
        if sent > 0 {
            self.joined();
        }
    }

    /// Media left for this viewer: it is present from now on.
    fn joined(&mut self) {
        if !matches!(self.presence, Presence::Expected(_)) {
            return;
        }
        if let Presence::Expected(seat) = std::mem::replace(&mut self.presence, Presence::Between) {
            let Seat { events, roster, broadcast, viewer, identity } = seat;
            let guard = ViewerGuard::join(events, broadcast.clone(), viewer, identity, Transport::Whep);
            let _place = roster.enter(&broadcast, guard.present());
            self.presence = Presence::Joined { guard, _place };
        }
    }
}

impl SendLane {
    fn new(setup: LaneSetup) -> Self {
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
    fn send(&mut self, burst: &Burst, shift: u32, out: &mut Outlet<'_>) -> usize {
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
    fn resend(&mut self, sequence: u16, shelf: &Shelf, now: Instant, rtt: Duration, out: &mut Outlet<'_>) -> bool {
        let Some((number, shift)) = self.forwarder.sent(sequence) else { return false };
        let Some(burst) = shelf.find(self.setup.lane, number) else { return false };
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

    fn report(&self, wall: SystemTime, out: &mut Outlet<'_>) {
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
        assert!(lane.resend(2, &shelf, now, RTT_FIRST, &mut out));
        assert!(!lane.resend(2, &shelf, now, RTT_FIRST, &mut out), "a round trip is waited for");
        assert!(!lane.resend(77, &shelf, now, RTT_FIRST, &mut out), "never sent");
        assert_eq!(batch.flush(&here).packets, 4);
    }
}
