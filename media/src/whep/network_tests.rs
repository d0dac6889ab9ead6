//! The whole way of a picture over a network that is not there: packetizer, viewer with its forwarder, shelf and RTX, SRTP;
//! then loss, jitter, reordering; then what receives from publishers: SRTP, NACK, jitter buffer, depacketizer.

use super::burst::{Burst, Lane};
use super::feed::Feeds;
use super::forwarder::testing::burst;
use super::path::Path;
use super::roster::Roster;
use super::send_lane::LaneSetup;
use super::shelf::Shelf;
use super::showing::Showing;
use super::viewer::{Seat, Viewer};
use crate::codec::{h264, nal};
use crate::config::HubConfig;
use crate::ejected::KnownAs;
use crate::hub::{Hub, Publisher};
use crate::ingest::flv::{TagKind, read_tags};
use crate::model::{BroadcastId, Frame, TrackId, VideoFormat, ViewerId};
use crate::rtc::feedback::nack::NackGenerator;
use crate::rtc::feedback::network::{Conditions, Link, Loss};
use crate::rtc::outlet::Outlet;
use crate::rtc::route::Route;
use crate::rtc::rtcp::{Feedback, NtpTime, blocks, write_nack, write_pli};
use crate::rtc::socket::SendBatch;
use crate::rtc::srtp::{Opener, Sealer, SessionKeys, SrtpProfile};
use crate::rtp::depacketize::Depacketizer;
use crate::rtp::header::RtpHeader;
use crate::rtp::jitter::JitterBuffer;
use crate::rtp::packetize::Packetizer;
use crate::seam::{Deaf, EventSink, Protocol, PublishGrant};
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SSRC: u32 = 7;
pub(super) const RTX_SSRC: u32 = 8;
const PAYLOAD_TYPE: u8 = 96;
const RTX_PAYLOAD_TYPE: u8 = 97;
pub(super) const SETUP: LaneSetup = LaneSetup {
    lane: Lane::Video,
    m_line: 0,
    ssrc: SSRC,
    payload_type: PAYLOAD_TYPE,
    rtx: Some((RTX_SSRC, RTX_PAYLOAD_TYPE)),
    first_sequence: 0x7ff0,
    transport_cc: Some(TRANSPORT_CC),
};
pub(super) const TRANSPORT_CC: u8 = 3;
pub(super) const TICK: Duration = Duration::from_millis(5);
pub(super) const FRAME: Duration = Duration::from_nanos(33_333_333);
/// 2.5 Mbit/s at 30 frames a second with a keyframe of five frames every two seconds.
pub(super) const GOP: u32 = 60;
/// Of a keyframe and of the others.
const BYTES: [usize; 2] = [5 * 9_766, 9_766];
/// Runs whose mean counts: where many packets are lost, and requests for them too, one run alone says little.
const SEEDS: u64 = 8;
const PLI_EVERY: Duration = Duration::from_secs(1);

/// The server's side: one viewer of a show that is made here.
struct Server {
    viewer: Viewer,
    /// Its broadcast lives as long as this.
    _publisher: Publisher,
    shelf: Shelf,
    packetizer: Packetizer,
    /// Of a keyframe and of the others.
    bytes: [usize; 2],
    is_watched: bool,
    frames: Vec<Bytes>,
    packets: u64,
    sealer: Sealer,
    batch: SendBatch,
    route: Route,
    sent: mpsc::Receiver<Bytes>,
}

/// The viewer's side.
struct Client {
    opener: Opener,
    nack: NackGenerator,
    jitter: JitterBuffer<(u32, bool, Bytes)>,
    depacketizer: Depacketizer,
    /// Which frames came out whole.
    whole: Vec<bool>,
    pli: Option<Instant>,
}

pub(super) fn keys() -> SessionKeys {
    // Both directions have the same key, so that the client's opener reads what the server sealed.
    SessionKeys::from_exporter(SrtpProfile::AeadAes128Gcm, &[7; 56])
}

pub(crate) fn format() -> VideoFormat {
    // The first video tag of an FLV holds the record behind five bytes.
    let clip = Bytes::from_static(include_bytes!("../../tests/fixtures/ffmpeg-5.1-h264-aac.flv"));
    let tags = read_tags(&clip).unwrap();
    let first = tags.iter().find(|tag| tag.kind == TagKind::Video && tag.body.get(1) == Some(&0));
    let record = first.unwrap().body.slice(5..);
    h264::Configuration::parse(&record).unwrap().format(record).unwrap()
}

/// One NAL unit that holds its number.
fn picture(number: u32, [keyframe, other]: [usize; 2]) -> Bytes {
    let (kind, length) = if number.is_multiple_of(GOP) { (0x65, keyframe) } else { (0x41, other) };
    let mut unit = BytesMut::with_capacity(length);
    unit.put_u8(kind);
    unit.resize(length - 4, number as u8);
    unit.put_u32(number);
    nal::join(&[unit.freeze()])
}

impl Server {
    async fn new(now: Instant, bytes: [usize; 2]) -> Self {
        let events: Arc<dyn EventSink> = Arc::new(Deaf);
        let (hub, _opened) = Hub::new(HubConfig::default(), Arc::clone(&events));
        let broadcast = BroadcastId::parse("session_1").unwrap();
        let publisher = hub.claim(PublishGrant::of_host(broadcast.clone(), "host"), Protocol::Rtmp).await.unwrap();
        let feeds = Feeds::new(Vec::new(), TaskTracker::new(), CancellationToken::new());
        let lease = feeds.attach(publisher.broadcast());
        let viewer = ViewerId::parse("viewer").unwrap();
        let seat =
            Seat { events, roster: Roster::default(), broadcast, viewer, identity: None, known_as: KnownAs::default() };
        let (route, sent) = mpsc::channel(4_096);
        Self {
            viewer: Viewer::new(vec![Showing::new(&[SETUP], lease)], Path::new(false, 1, now), seat, now),
            _publisher: publisher,
            shelf: Shelf::default(),
            packetizer: Packetizer::video(&format()).unwrap(),
            bytes,
            is_watched: false,
            frames: Vec::new(),
            packets: 0,
            sealer: keys().sealer(),
            batch: SendBatch::default(),
            route: Route::Tcp(route),
            sent,
        }
    }

    /// Makes the next frame and sends it.
    fn frame(&mut self, now: Instant) {
        let number = self.frames.len() as u32;
        let (payload, keyframe) = (picture(number, self.bytes), number.is_multiple_of(GOP));
        let frame = Frame { track: TrackId(0), dts: 0, pts: 0, keyframe, payload: payload.clone() };
        let mut packets = Vec::new();
        self.packetizer.packetize(&frame, &mut packets);
        let (first, timestamp) = (self.packets, number * 3_000);
        self.packets += packets.len() as u64;
        let wall = SystemTime::UNIX_EPOCH + FRAME * number;
        let burst = Arc::new(Burst { lane: Lane::Video, layer: 0, first, timestamp, wall, keyframe, packets });
        self.frames.push(payload);
        self.shelf.put(&burst, now);
        let Self { viewer, sealer, batch, route, .. } = self;
        if self.is_watched {
            viewer.forward(0, &burst, now, &mut Outlet { sealer, batch, route });
        }
    }

    /// The viewer is there from here on.
    fn admit(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.is_watched, true) {
            let Self { viewer, sealer, batch, route, shelf, .. } = self;
            viewer.start(0, shelf, now, &mut Outlet { sealer, batch, route });
        }
    }

    fn turn(&mut self, now: Instant, feedback: &mut Link<Vec<u8>>, rtt: Duration) {
        let Self { viewer, sealer, batch, route, shelf, .. } = self;
        let out = &mut Outlet { sealer, batch, route };
        viewer.feedback(&Feedback::RoundTrip(rtt), |_| Some(&*shelf), now, out);
        while let Some((_, compound)) = feedback.receive(now) {
            for block in blocks(&compound) {
                viewer.feedback(&block.feedback(NtpTime(0)), |_| Some(&*shelf), now, out);
            }
        }
        viewer.tick(|_| Some(&*shelf), now, out);
    }
}

impl Client {
    fn new(rtt: Duration) -> Self {
        Self {
            opener: keys().opener(),
            nack: NackGenerator::default(),
            jitter: JitterBuffer::for_round_trip(rtt),
            depacketizer: Depacketizer::h264(),
            whole: Vec::new(),
            pli: None,
        }
    }

    fn take(&mut self, now: Instant, packet: &Bytes) {
        if (192..=223).contains(&packet[1]) {
            return; // a sender report
        }
        let mut packet = packet.to_vec();
        self.opener.open_rtp(&mut packet).unwrap();
        let header = RtpHeader::parse(&packet).unwrap();
        let mut payload = Bytes::copy_from_slice(&packet[header.payload.clone()]);
        let sequence = match header.payload_type {
            PAYLOAD_TYPE => header.sequence,
            RTX_PAYLOAD_TYPE => {
                let original = payload.split_to(2);
                u16::from_be_bytes([original[0], original[1]])
            }
            other => panic!("payload type {other}"),
        };
        self.nack.received(now, sequence);
        self.jitter.push(now, sequence, (header.timestamp, header.marker, payload));
    }

    fn turn(&mut self, now: Instant, frames: &[Bytes], feedback: &mut Link<Vec<u8>>, rtt: Duration) {
        while let Some(((timestamp, marker, payload), gap)) = self.jitter.pop(now) {
            if let Some(unit) = self.depacketizer.push(timestamp, marker, &payload, gap) {
                let number = unit.payload.last_chunk().map(|bytes| u32::from_be_bytes(*bytes)).unwrap() as usize;
                assert!(unit.payload.ends_with(&frames[number]), "frame {number} is another than was sent");
                self.whole.resize(frames.len(), false);
                self.whole[number] = true;
            }
        }
        let mut compound = Vec::new();
        let lost = self.nack.poll(now, rtt);
        if !lost.is_empty() {
            write_nack(&mut compound, 1, SSRC, &lost);
        }
        let lately = self.pli.is_some_and(|at| now.duration_since(at) < PLI_EVERY);
        if self.depacketizer.needs_keyframe() && !lately && !frames.is_empty() {
            self.pli = Some(now);
            write_pli(&mut compound, 1, SSRC);
        }
        if !compound.is_empty() {
            feedback.send(now, compound.len(), compound);
        }
    }
}

/// What a viewer saw.
struct Watched {
    /// Which frames came out whole, of all but those of the last second.
    whole: Vec<bool>,
    /// Packets that the network lost on their way to the viewer.
    lost: u64,
}

impl Watched {
    fn share_whole(&self) -> f64 {
        self.whole.iter().filter(|whole| **whole).count() as f64 / self.whole.len() as f64
    }
}

/// `bytes`: of a keyframe and of the other frames. Feedback goes back by a network that has the same delay and loss.
async fn watched(seed: u64, bytes: [usize; 2], conditions: Conditions, length: Duration) -> Watched {
    watched_from(Duration::ZERO, seed, bytes, conditions, length).await
}

/// By a viewer who comes so late to the show.
async fn watched_from(
    late: Duration,
    seed: u64,
    bytes: [usize; 2],
    conditions: Conditions,
    length: Duration,
) -> Watched {
    let (start, rtt) = (Instant::now(), conditions.delay * 2);
    let back = Conditions { rates: Vec::new(), queue_bytes: usize::MAX, ..conditions.clone() };
    let (mut there, mut back) = (Link::new(start, seed, conditions), Link::new(start, !seed, back));
    let (mut server, mut client) = (Server::new(start, bytes).await, Client::new(rtt));
    let (mut now, mut next_frame) = (start, start);
    while now < start + length {
        if now >= next_frame {
            server.frame(now);
            next_frame += FRAME;
        }
        if now >= start + late {
            server.admit(now);
            server.turn(now, &mut back, rtt);
            while let Ok(packet) = server.sent.try_recv() {
                there.send(now, packet.len(), packet);
            }
            while let Some((_, packet)) = there.receive(now) {
                client.take(now, &packet);
            }
            client.turn(now, &server.frames, &mut back, rtt);
        }
        now += TICK;
    }
    client.whole.resize(server.frames.len() - 30, false);
    Watched { whole: client.whole, lost: there.lost }
}

/// Over a network that loses packets and delays and reorders them a little.
async fn share_whole(loss: Loss, rtt: Duration, length: Duration) -> f64 {
    let (jitter, reordered) = (Duration::from_millis(5), 0.002);
    let conditions = Conditions { loss, delay: rtt / 2, jitter, reordered, ..Conditions::default() };
    let mut share = 0.0;
    for seed in 1..=SEEDS {
        share += watched(seed, BYTES, conditions.clone(), length).await.share_whole();
    }
    share / SEEDS as f64
}

/// Asserts that at least so many percent of the frames arrive whole, in the mean of some seeds.
async fn at_least(floor: f64, loss: Loss, rtt_ms: u64) {
    let whole = 100.0 * share_whole(loss, Duration::from_millis(rtt_ms), Duration::from_secs(10)).await;
    assert!(whole >= floor, "{loss:?}, round trip {rtt_ms} ms: {whole} % arrive whole");
}

#[tokio::test]
async fn all_frames_arrive_whole_where_a_round_trip_is_short() {
    at_least(100.0, Loss::Random(0.05), 20).await;
    at_least(95.0, Loss::Random(0.2), 50).await;
    at_least(98.0, Loss::Random(0.05), 100).await;
    at_least(99.0, Loss::Bursts { share: 0.05, length: 12.0 }, 100).await;
    at_least(99.0, Loss::Random(0.05), 200).await;
    at_least(95.0, Loss::Random(0.02), 400).await;
}

/// The whole picture: `cargo test -p chobi-media --lib network_tests -- --ignored --nocapture`. A packet can be asked for four
/// times where a round trip is 200 ms or less, twice at 400 ms; a frame has many packets, and one that is lost costs all
/// frames up to the next keyframe.
#[tokio::test]
#[ignore = "takes a minute; the test above asserts a part of it"]
async fn the_share_of_whole_frames_by_loss_and_round_trip() {
    let losses = [0, 1, 2, 5, 10, 20];
    let floors = [
        (20, [100, 100, 100, 100, 99, 95]),
        (50, [100, 100, 100, 99, 97, 90]),
        (100, [100, 100, 99, 97, 93, 40]),
        (200, [100, 100, 99, 96, 85, 25]),
        (400, [100, 97, 88, 60, 15, 0]),
    ];
    println!("percent of frames that arrive whole\nround trip  {}", losses.map(|loss| format!("{loss:>6} %")).join(""));
    for (rtt, floors) in floors {
        print!("{rtt:>7} ms  ");
        for (loss, floor) in losses.into_iter().zip(floors) {
            let (loss, rtt) = (Loss::Random(f64::from(loss) / 100.0), Duration::from_millis(rtt));
            let whole = 100.0 * share_whole(loss, rtt, Duration::from_secs(20)).await;
            print!("{whole:>8.2}");
            assert!(whole >= f64::from(floor), "{loss:?}, round trip {rtt:?}: {whole} %");
        }
        println!();
    }
}

/// A show of 6 Mbit/s whose keyframes are 130 packets, over an access link with so many Mbit/s and a queue of so many KB.
async fn over_a_link(mbps: u64, queue_kb: usize, rtt_ms: u64, seconds: u64) -> Watched {
    let conditions = Conditions {
        rates: vec![(Duration::ZERO, mbps * 1_000_000)],
        queue_bytes: queue_kb * 1_000,
        delay: Duration::from_millis(rtt_ms) / 2,
        jitter: Duration::from_millis(2),
        ..Conditions::default()
    };
    watched(1, [150_000, 22_900], conditions, Duration::from_secs(seconds)).await
}

/// Sent at once, a keyframe is lost in the queue and so is what is sent again: not one frame arrives whole.
#[tokio::test]
async fn a_keyframe_does_not_overrun_the_queue_in_front_of_a_link() {
    for (mbps, queue_kb) in [(100, 32), (50, 32), (50, 64)] {
        for rtt_ms in [20, 60, 150] {
            let watched = over_a_link(mbps, queue_kb, rtt_ms, 10).await;
            let told = format!("{mbps} Mbit/s, {queue_kb} KB, round trip {rtt_ms} ms");
            assert_eq!((watched.lost, watched.share_whole()), (0, 1.0), "{told}");
        }
    }
}

#[tokio::test]
async fn losses_by_overrun_spread_frames_until_they_fit() {
    for (mbps, queue_kb, rtt_ms) in [(20, 32, 60), (20, 64, 20), (10, 64, 60), (10, 128, 150)] {
        let watched = over_a_link(mbps, queue_kb, rtt_ms, 30).await;
        assert!(watched.lost > 0, "{mbps} Mbit/s and {queue_kb} KB are too little at first");
        let late = &watched.whole[10 * 30..];
        let whole = late.iter().filter(|whole| **whole).count();
        assert_eq!(whole, late.len(), "{mbps} Mbit/s, {queue_kb} KB, round trip {rtt_ms} ms: after ten seconds");
    }
}

/// The GOP of the past leaves faster than the show is made, and what is made meanwhile does not make it faster still.
#[tokio::test]
async fn who_comes_in_the_middle_of_a_gop_does_not_overrun_the_queue_either() {
    for late in [300, 1_000, 1_900] {
        let conditions =
            Conditions { rates: vec![(Duration::ZERO, 100_000_000)], queue_bytes: 64_000, ..Conditions::default() };
        let (late, length) = (Duration::from_millis(late), Duration::from_secs(6));
        let watched = watched_from(late, 1, [300_000, 46_000], conditions, length).await;
        assert_eq!((watched.lost, watched.share_whole()), (0, 1.0), "{late:?} after the keyframe");
    }
}

/// A few hundred bytes name thousands of packets, and the worker that looks them up serves others too.
#[tokio::test]
async fn who_asks_for_everything_again_is_heard_a_little_at_a_time() {
    let start = Instant::now();
    let mut server = Server::new(start, BYTES).await;
    server.admit(start);
    let frame = burst(Lane::Video, 0, 1_500, true);
    server.shelf.put(&frame, start);
    let Server { viewer, sealer, batch, route, shelf, sent, .. } = &mut server;
    let out = &mut Outlet { sealer, batch, route };
    viewer.forward(0, &frame, start, out);
    let mut count = || std::iter::from_fn(|| sent.try_recv().ok()).count();
    assert_eq!(count(), 1_500);
    let mut ask = |first: u16, count: u16, now| {
        let (mut compound, lost) = (Vec::new(), (first..first + count).map(|at| SETUP.first_sequence + at));
        write_nack(&mut compound, 1, SSRC, &lost.collect::<Vec<_>>());
        let block = blocks(&compound).next().unwrap();
        viewer.feedback(&block.feedback(NtpTime(0)), |_| Some(&*shelf), now, out);
    };
    (0..3).for_each(|block| ask(block * 500, 500, start));
    assert_eq!(count(), 512, "of all that a turn brings");
    ask(600, 900, start + Duration::from_millis(50));
    assert_eq!(count(), 204, "and then as many as time went by");
}

/// The pictures of a stage share one way: none of them waits for the others to be done.
#[tokio::test]
async fn eight_feeds_share_the_pace_of_one_way_and_none_is_late() {
    let start = Instant::now();
    let events: Arc<dyn EventSink> = Arc::new(Deaf);
    let (hub, _opened) = Hub::new(HubConfig::default(), Arc::clone(&events));
    let feeds = Feeds::new(Vec::new(), TaskTracker::new(), CancellationToken::new());
    let (mut showings, mut publishers) = (Vec::new(), Vec::new());
    for feed in 0..8_u32 {
        let broadcast = BroadcastId::parse(&format!("session_{feed}")).unwrap();
        publishers.push(hub.claim(PublishGrant::of_host(broadcast, "host"), Protocol::Rtmp).await.unwrap());
        let setup = LaneSetup { m_line: feed as usize, ssrc: feed, ..SETUP };
        showings.push(Showing::new(&[setup], feeds.attach(publishers[feed as usize].broadcast())));
    }
    let broadcast = publishers[0].broadcast().id().clone();
    let viewer = ViewerId::parse("viewer").unwrap();
    let seat =
        Seat { events, roster: Roster::default(), broadcast, viewer, identity: None, known_as: KnownAs::default() };
    let mut viewer = Viewer::new(showings, Path::new(false, 8, start), seat, start);
    let (route, mut sent) = mpsc::channel(65_536);
    let (mut sealer, mut batch, route, shelf) =
        (keys().sealer(), SendBatch::default(), Route::Tcp(route), Shelf::default());
    let mut packetizers: Vec<_> = (0..8).map(|_| Packetizer::video(&format()).unwrap()).collect();
    let (mut firsts, mut frames, mut whole, mut late) = ([0_u64; 8], 0_u32, 0_u32, Duration::ZERO);
    let mut now = start;
    while now < start + Duration::from_secs(10) {
        let out = &mut Outlet { sealer: &mut sealer, batch: &mut batch, route: &route };
        if now >= start + FRAME * frames {
            for (feed, packetizer) in packetizers.iter_mut().enumerate() {
                let (payload, keyframe) = (picture(frames, BYTES), frames.is_multiple_of(GOP));
                let mut packets = Vec::new();
                let frame = Frame { track: TrackId(0), dts: 0, pts: 0, keyframe, payload };
                packetizer.packetize(&frame, &mut packets);
                let (first, timestamp, wall) = (firsts[feed], frames * 3_000, SystemTime::UNIX_EPOCH);
                firsts[feed] += packets.len() as u64;
                let burst = Burst { lane: Lane::Video, layer: 0, first, timestamp, wall, keyframe, packets };
                viewer.forward(feed, &Arc::new(burst), now, out);
            }
            frames += 1;
        }
        viewer.tick(|_| Some(&shelf), now, out);
        while let Ok(packet) = sent.try_recv() {
            let is_media = !(192..=223).contains(&packet[1]);
            if is_media && packet[1] & 0x80 != 0 {
                let timestamp = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
                whole += 1;
                late = late.max(now.duration_since(start + FRAME * (timestamp / 3_000)));
            }
        }
        now += TICK;
    }
    assert!(whole >= 8 * (frames - 4), "{whole} of {} frames left", 8 * frames);
    assert!(late <= Duration::from_millis(120), "a frame left after {late:?}");
}
