//! A worker with viewers that lose packets, measure their ways and change layers: once everything has its size, nothing of it
//! allocates.

use super::*;
use crate::allocations;
use crate::config::HubConfig;
use crate::ejected::KnownAs;
use crate::hub::Hub;
use crate::model::{BroadcastId, ViewerId};
use crate::places::{PlaceLimits, Places};
use crate::rtc::dtls::Identity;
use crate::rtc::feedback::network::{Conditions, Link};
use crate::rtc::feedback::twcc::TwccRecorder;
use crate::rtc::ice::Credentials;
use crate::rtc::negotiate::Offer;
use crate::rtc::route::Route;
use crate::rtc::rtcp::write_nack;
use crate::rtc::srtp::{Sealer, SrtpProfile};
use crate::rtp::header::{RtpHeader, extensions};
use crate::rtp::packetize::RtpPayload;
use crate::seam::{Deaf, Protocol, PublishGrant};
use crate::webrtc::inbox;
use crate::webrtc::peer::NewPeer;
use crate::whep::burst::{Burst, Lane};
use crate::whep::feed::{FeedLease, Feeds};
use crate::whep::path::Path;
use crate::whep::roster::Roster;
use crate::whep::send_lane::LaneSetup;
use crate::whep::viewer::{Seat, Viewer};
use bytes::Bytes;
use rtc::shared::marshal::Marshal;
use std::net::UdpSocket as PlainSocket;
use std::sync::Arc;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const OFFER: &str = include_str!("../../rtc/negotiate/testdata/chromium-156-receives.sdp");
const TRANSPORT_CC: u8 = 3;
const VIDEO: u32 = 7;
const RTX: u32 = 8;
const AUDIO: u32 = 9;
const VIDEO_LANE: LaneSetup = LaneSetup {
    lane: Lane::Video,
    m_line: 0,
    ssrc: VIDEO,
    payload_type: 96,
    rtx: Some((RTX, 97)),
    first_sequence: 100,
    transport_cc: Some(TRANSPORT_CC),
};
const AUDIO_LANE: LaneSetup = LaneSetup {
    lane: Lane::Audio,
    m_line: 1,
    ssrc: AUDIO,
    payload_type: 111,
    rtx: None,
    first_sequence: 100,
    transport_cc: Some(TRANSPORT_CC),
};
const VIEWERS: usize = 6;
/// Of them, those that measure their ways.
const MEASURING: usize = 3;
/// Bits per second, the smallest first.
const LAYERS: [usize; 3] = [200_000, 800_000, 2_500_000];
const FRAME: Duration = Duration::from_millis(30);
const GOP: u32 = 60;
/// Viewers come in the middle of a GOP and catch up.
const JOINS: u32 = 50;
/// Every so many packets one is reported as lost.
const LOST: u64 = 40;

/// What is at the other end of one viewer's network.
struct Client {
    socket: PlainSocket,
    there: Link<Vec<u8>>,
    back: Link<Vec<u8>>,
    recorder: TwccRecorder,
    sealer: Sealer,
    packets: u64,
    repeated: u64,
    /// As the first byte of the newest picture names it.
    layers: Vec<u8>,
}

fn keys() -> SessionKeys {
    // Both directions have the same key.
    SessionKeys::from_exporter(SrtpProfile::AeadAes128Gcm, &[7; 56])
}

fn burst(lane: Lane, layer: usize, frame: u32, first: u64) -> Arc<Burst> {
    let (keyframe, rate) = match lane {
        Lane::Video => (frame.is_multiple_of(GOP), LAYERS[layer]),
        Lane::Audio => (true, 64_000),
    };
    let bytes = rate / 8 * 30 / 1_000 * if keyframe && lane == Lane::Video { 4 } else { 1 };
    let packets = bytes.div_ceil(1_150);
    let body = Bytes::from(vec![layer as u8; bytes / packets]);
    let packets = (0..packets).map(|_| RtpPayload::new(&[], body.clone())).collect();
    let (timestamp, wall) = (frame * 2_700, SystemTime::UNIX_EPOCH + FRAME * frame);
    Arc::new(Burst { lane, layer: layer as u8, first, timestamp, wall, keyframe, packets })
}

impl Client {
    fn new(number: usize, start: Instant) -> Self {
        let socket = PlainSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        // Their ways get narrow and wide again, once before anything is counted and once after.
        let at = Duration::from_secs;
        let rates = if number < MEASURING {
            vec![(at(0), 6_000_000), (at(6), 1_300_000), (at(12), 6_000_000), (at(36), 500_000), (at(44), 6_000_000)]
        } else {
            Vec::new()
        };
        let seed = number as u64 + 1;
        Self {
            socket,
            there: Link::new(start, seed, Conditions { rates, queue_bytes: 100_000, ..Conditions::default() }),
            back: Link::new(start, !seed, Conditions::default()),
            recorder: TwccRecorder::new(start, 1),
            sealer: keys().sealer(),
            packets: 0,
            repeated: 0,
            layers: Vec::new(),
        }
    }

    fn turn(&mut self, now: Instant) {
        let mut buffer = [0; 2_048];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            self.there.send(now, length + 28, buffer[..length].to_vec());
        }
        let mut lost = Vec::new();
        while let Some((at, mut packet)) = self.there.receive(now) {
            if (192..=223).contains(&packet[1]) {
                continue;
            }
            keys().opener().open_rtp(&mut packet).unwrap();
            let header = RtpHeader::parse(&packet).unwrap();
            if let Some((_, number)) = extensions(&packet).find(|(id, _)| *id == TRANSPORT_CC) {
                self.recorder.received(at, header.ssrc, u16::from_be_bytes([number[0], number[1]]));
            }
            self.packets += 1;
            self.repeated += u64::from(header.ssrc == RTX);
            if header.ssrc == VIDEO {
                let layer = packet[header.payload.start];
                if self.layers.last() != Some(&layer) {
                    self.layers.push(layer);
                }
                if self.packets.is_multiple_of(LOST) {
                    lost.push(header.sequence);
                }
            }
        }
        let mut said = Vec::new();
        if !lost.is_empty() {
            write_nack(&mut said, 1, VIDEO, &lost);
        }
        while let Some(report) = self.recorder.poll(now) {
            said.extend_from_slice(&report.marshal().unwrap());
        }
        if !said.is_empty() {
            self.sealer.seal_rtcp(&mut said, 0);
            self.back.send(now, said.len(), said);
        }
    }
}

fn worker() -> Worker {
    let data_dir = tempfile::tempdir().unwrap();
    let identity = Identity::load_or_create(data_dir.path()).unwrap();
    let (inbox, receiver) = inbox::channel().unwrap();
    Worker::new(Parts {
        index: 0,
        socket: UdpSocket::bind("127.0.0.1:0".parse().unwrap(), false).unwrap(),
        dtls: DtlsServer::new(&identity),
        inbox: receiver,
        workers: vec![inbox],
        directory: Directory::default(),
        doorkeeper: Doorkeeper::default(),
        ejected: Ejected::default(),
        silence_timeout: Duration::from_secs(600),
    })
}

/// As if it had shaken hands.
fn connect(worker: &mut Worker, number: usize, at: SocketAddr, lease: FeedLease, places: &Arc<Places>) {
    let now = worker.now;
    let seat = Seat {
        events: Arc::new(Deaf),
        roster: Roster::default(),
        broadcast: lease.broadcast().id().clone(),
        viewer: ViewerId::parse(&format!("viewer_{number}")).unwrap(),
        identity: None,
        known_as: KnownAs::default(),
    };
    let showing = Showing::new(&[VIDEO_LANE, AUDIO_LANE], lease);
    let path = Path::new(number < MEASURING, 1, now);
    let resource = ResourceId::generate();
    worker.add(NewPeer {
        resource: resource.clone(),
        credentials: Credentials::generate(),
        fingerprint: Offer::parse(OFFER).unwrap().fingerprint,
        media: Media::Viewer(Box::new(Viewer::new(vec![showing], path, seat, now))),
        place: places.take(std::net::Ipv4Addr::LOCALHOST.into()).unwrap(),
        audience: None,
    });
    let slot = worker.by_resource[&resource];
    let peer = worker.peers[slot].as_mut().unwrap();
    peer.route = Some(Route::Udp(at));
    peer.keys = Some(Keys { sealer: keys().sealer(), opener: keys().opener() });
    peer.sources.push(Source::Udp(at));
    worker.by_source.insert(Source::Udp(at), slot);
    worker.start(slot, None);
}

#[tokio::test]
async fn nothing_is_allocated_per_packet_while_viewers_lose_measure_and_change_layers() {
    let (hub, _opened) = Hub::new(HubConfig::default(), Arc::new(Deaf));
    let show = PublishGrant::of_host(BroadcastId::parse("session_1").unwrap(), "host");
    let publisher = hub.claim(show, Protocol::Whip).await.unwrap();
    let feeds = Feeds::new(Vec::new(), TaskTracker::new(), CancellationToken::new());
    let keeps = feeds.attach(publisher.broadcast());
    let feed = keeps.id();
    let places = Places::new(PlaceLimits { connections: 99, per_address: 99, handshakes: 99 });
    let mut worker = worker();
    let start = worker.now;
    let mut clients: Vec<_> = (0..VIEWERS).map(|number| Client::new(number, start)).collect();

    let (mut frame, mut numbers) = (0_u32, [0_u64; 4]);
    let (mut allocated, mut counted_from) = (0, [(0, 0, 0); VIEWERS]);
    let warm = start + Duration::from_secs(30);
    let mut turns = 0_u64;
    while worker.now < start + Duration::from_secs(60) {
        worker.now += TICK;
        let now = worker.now;
        let mut bursts = Vec::new();
        if now >= start + FRAME * frame {
            for (at, next) in numbers.iter_mut().enumerate() {
                let (lane, layer) = if at < LAYERS.len() { (Lane::Video, at) } else { (Lane::Audio, 0) };
                let burst = burst(lane, layer, frame, *next);
                *next = burst.end();
                bursts.push(burst);
            }
            frame += 1;
        }
        if frame == JOINS && worker.by_resource.is_empty() {
            for (number, client) in clients.iter().enumerate() {
                let lease = feeds.attach(publisher.broadcast());
                connect(&mut worker, number, client.socket.local_addr().unwrap(), lease, &places);
            }
        }
        let mut heard = Vec::new();
        for client in &mut clients {
            let from = client.socket.local_addr().unwrap();
            while let Some((_, said)) = client.back.receive(now) {
                heard.push((from, said));
            }
        }
        let turn = allocations::during(|| {
            for burst in bursts {
                worker.command(Command::Burst(feed, burst));
            }
            for (from, said) in &heard {
                worker.datagram(*from, said, Way::Socket);
            }
            if worker.next_tick <= now {
                worker.tick();
            }
            worker.dtls();
            worker.flush();
        });
        if now >= warm {
            if counted_from[0].0 == 0 {
                counted_from = std::array::from_fn(|at| {
                    let Client { packets, repeated, layers, .. } = &clients[at];
                    (*packets, *repeated, layers.len())
                });
            }
            allocated += turn;
            turns += u64::from(turn > 0);
        }
        clients.iter_mut().for_each(|client| client.turn(now));
    }

    let mut sent = 0;
    for (number, (client, (packets, repeated, layers))) in clients.iter().zip(counted_from).enumerate() {
        sent += client.packets - packets;
        assert!(client.repeated - repeated > 30, "{} packets were sent again", client.repeated - repeated);
        assert!(client.packets - packets > 2_000, "{} packets arrived", client.packets - packets);
        let changes = client.layers.len() > layers;
        assert_eq!(changes, number < MEASURING, "layers {:?}, of which {layers} before", client.layers);
    }
    assert_eq!(allocated, 0, "in {turns} turns, for {sent} packets");
}
