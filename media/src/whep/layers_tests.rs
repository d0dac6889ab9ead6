//! Three layers to one viewer over a network that changes: estimate, probes, selector and pacer in one loop, with the reports a
//! browser would send.

use super::burst::{Burst, Lane};
use super::feed::{Feeds, Tracks};
use super::forwarder;
use super::line_up::LineUp;
use super::network_tests::{FRAME, GOP, RTX_SSRC, SETUP, TICK, TRANSPORT_CC, keys};
use super::path::Path;
use super::roster::Roster;
use super::send_lane::LaneSetup;
use super::shelf::Shelf;
use super::showing::Showing;
use super::viewer::{Seat, Viewer};
use super::wish::{Choice, LayerFormat, NoSuchLayer, Wish};
use crate::config::HubConfig;
use crate::ejected::KnownAs;
use crate::hub::{Hub, Publisher};
use crate::model::{BroadcastId, Rid, VideoCodec, ViewerId};
use crate::rtc::feedback::nack::NackGenerator;
use crate::rtc::feedback::network::{Conditions, Link};
use crate::rtc::feedback::twcc::TwccRecorder;
use crate::rtc::negotiate::{Offer, answer_viewer, testing};
use crate::rtc::outlet::Outlet;
use crate::rtc::route::Route;
use crate::rtc::rtcp::{Feedback, NtpTime, blocks, write_nack};
use crate::rtc::socket::SendBatch;
use crate::rtp::header::{RtpHeader, extensions};
use crate::rtp::packetize::RtpPayload;
use crate::seam::{Deaf, Protocol, PublishGrant};
use bytes::Bytes;
use rtc::shared::marshal::Marshal;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Bits per second, the smallest first.
const LAYERS: [usize; 3] = [200_000, 800_000, 2_500_000];
const RTT: Duration = Duration::from_millis(50);

/// One frame of a layer; the first byte of each packet names the layer. A keyframe is as large as so many others.
fn burst(layer: usize, frame: u32, first: u64, keyframe_of: usize) -> Burst {
    let keyframe = frame.is_multiple_of(GOP);
    let gop = GOP as usize;
    let bytes = LAYERS[layer] / 8 / 30 * gop / (gop - 1 + keyframe_of) * if keyframe { keyframe_of } else { 1 };
    let packets = bytes.div_ceil(1_150);
    let body = Bytes::from(vec![layer as u8; bytes / packets]);
    let payloads = (0..packets).map(|_| RtpPayload::new(&[], body.clone())).collect();
    let (timestamp, wall) = (frame * 3_000, SystemTime::UNIX_EPOCH + FRAME * frame);
    Burst { lane: Lane::Video, layer: layer as u8, first, timestamp, wall, keyframe, packets: payloads }
}

/// What happens in a show; times in seconds.
struct Story {
    /// From then on the viewer's network carries so many bits per second.
    rates: Vec<(u64, u64)>,
    /// The viewer makes a choice.
    wishes: Vec<(u64, Wish)>,
    /// The publisher sends nothing of a layer.
    silence: Option<(usize, Range<u64>)>,
    /// Frames that a keyframe is as large as.
    keyframe_of: usize,
    /// In front of the viewer's link.
    queue_bytes: usize,
}

impl Default for Story {
    fn default() -> Self {
        let (rates, wishes) = (Vec::new(), Vec::new());
        Self { rates, wishes, silence: None, keyframe_of: 4, queue_bytes: 100_000 }
    }
}

fn rid(name: &str) -> Rid {
    Rid::parse(name).unwrap()
}

fn wish(name: &str) -> Wish {
    Wish { rid: Some(rid(name)), ..Wish::default() }
}

fn formats() -> Arc<[LayerFormat]> {
    let format = |(name, width)| LayerFormat { rid: rid(name), width, height: width / 16 * 9 };
    [("l", 320), ("m", 640), ("h", 1_280)].map(format).into()
}

/// Somebody publishes; their broadcast lives as long as the publisher.
async fn on_air() -> (Publisher, Feeds) {
    let (hub, _opened) = Hub::new(HubConfig::default(), Arc::new(Deaf));
    let broadcast = BroadcastId::parse("session_1").unwrap();
    let publisher = hub.claim(PublishGrant::of_host(broadcast, "host"), Protocol::Whip).await.unwrap();
    (publisher, Feeds::new(Vec::new(), TaskTracker::new(), CancellationToken::new()))
}

fn seat(publisher: &Publisher) -> Seat {
    let (broadcast, viewer) = (publisher.broadcast().id().clone(), ViewerId::parse("viewer").unwrap());
    let (events, roster, known_as) = (Arc::new(Deaf), Roster::default(), KnownAs::default());
    Seat { events, roster, broadcast, viewer, identity: None, known_as }
}

/// Which layer arrived last in each second, and how many packets were lost to the bottleneck.
async fn watched(story: Story, seconds: u64) -> (Vec<u8>, u64) {
    let start = Instant::now();
    let (publisher, feeds) = on_air().await;
    let showing = Showing::new(&[SETUP], feeds.attach(publisher.broadcast()));
    let mut viewer = Viewer::new(vec![showing], Path::new(true, 1, start), seat(&publisher), start);
    let (route, mut sent) = mpsc::channel(4_096);
    let (mut sealer, mut opener, route) = (keys().sealer(), keys().opener(), Route::Tcp(route));
    let (mut batch, mut shelf) = (SendBatch::default(), Shelf::default());
    shelf.describe(formats());
    let at = Duration::from_secs;
    let rates = story.rates.iter().map(|(from, bps)| (at(*from), *bps)).collect();
    let mut wishes = story.wishes.into_iter().peekable();
    let mut there = Link::new(start, 1, Conditions { rates, queue_bytes: story.queue_bytes, ..Conditions::default() });
    let mut back = Link::new(start, 2, Conditions::default());
    let (mut recorder, mut missing) = (TwccRecorder::new(start, 1), NackGenerator::default());
    let (mut seen, mut last, mut frame, mut numbers) = (Vec::new(), 0, 0_u32, [0_u64; 3]);
    let mut now = start;
    while now < start + Duration::from_secs(seconds) {
        let out = &mut Outlet { sealer: &mut sealer, batch: &mut batch, route: &route };
        if now >= start + FRAME * frame {
            for (layer, next) in numbers.iter_mut().enumerate() {
                let second = now.duration_since(start).as_secs();
                if story.silence.as_ref().is_some_and(|(silent, span)| *silent == layer && span.contains(&second)) {
                    continue;
                }
                let burst = Arc::new(burst(layer, frame, *next, story.keyframe_of));
                *next = burst.end();
                shelf.put(&burst, now);
                viewer.forward(0, &burst, now, out);
            }
            if frame == 0 {
                viewer.start(0, &shelf, now, out);
            }
            frame += 1;
        }
        viewer.feedback(&Feedback::RoundTrip(RTT), |_| Some(&shelf), now, out);
        while let Some((_, report)) = back.receive(now) {
            let report: Vec<u8> = report;
            for block in blocks(&report) {
                viewer.feedback(&block.feedback(NtpTime(0)), |_| Some(&shelf), now, out);
            }
        }
        if let Some((_, wish)) = wishes.next_if(|(from, _)| now >= start + at(*from)) {
            viewer.layers(Some(Choice { m_line: None, wish }), |_| Some(&shelf), now).unwrap();
        }
        viewer.tick(|_| Some(&shelf), now, out);
        while let Ok(packet) = sent.try_recv() {
            there.send(now, packet.len() + 28, packet);
        }
        while let Some((at, packet)) = there.receive(now) {
            if (192..=223).contains(&packet[1]) {
                continue; // a sender report
            }
            let mut packet = packet.to_vec();
            opener.open_rtp(&mut packet).unwrap();
            let header = RtpHeader::parse(&packet).unwrap();
            let (_, number) = extensions(&packet).find(|(id, _)| *id == TRANSPORT_CC).unwrap();
            recorder.received(at, header.ssrc, u16::from_be_bytes([number[0], number[1]]));
            if header.ssrc != RTX_SSRC {
                last = packet[header.payload.start];
                missing.received(at, header.sequence);
            }
        }
        let asked = missing.poll(now, RTT);
        if !asked.is_empty() {
            let mut nack = Vec::new();
            write_nack(&mut nack, 1, SETUP.ssrc, &asked);
            back.send(now, nack.len(), nack);
        }
        while let Some(report) = recorder.poll(now) {
            let report = report.marshal().unwrap().to_vec();
            back.send(now, report.len(), report);
        }
        now += TICK;
        seen.resize(now.duration_since(start).as_secs() as usize + 1, last);
        *seen.last_mut().unwrap() = last;
    }
    (seen, there.lost)
}

fn settled(seen: &[u8], from: usize, to: usize) -> BTreeSet<u8> {
    seen[from..to].iter().copied().collect()
}

#[tokio::test]
async fn a_viewer_is_sent_the_layer_that_its_network_carries() {
    let rates = vec![(0, 6_000_000), (20, 1_300_000), (50, 400_000), (70, 6_000_000)];
    let (seen, lost) = watched(Story { rates, ..Story::default() }, 150).await;
    assert!(seen[22..30].iter().all(|layer| *layer < 2), "down within two seconds: {seen:?}");
    println!("layer in each second: {seen:?}; {lost} packets lost");
    let settled = |from, to| settled(&seen, from, to);
    assert_eq!(settled(15, 20), [2].into(), "6 Mbit/s carry the best: {seen:?}");
    assert_eq!(settled(42, 50), [1].into(), "1.3 Mbit/s carry the middle one, found again after the fall: {seen:?}");
    assert_eq!(settled(56, 70), [0].into(), "400 kbit/s carry the smallest: {seen:?}");
    assert_eq!(settled(115, 150), [2].into(), "and back: {seen:?}");
}

/// A keyframe of 123 KB every two seconds, over links whose queues hold much less.
#[tokio::test]
async fn a_keyframe_overruns_no_queue_and_does_not_cost_the_layer() {
    for (mbps, queue_kb, lost_max) in
        [(100, 32, 0), (50, 32, 0), (20, 32, 200), (20, 64, 10), (10, 64, 60), (6, 100, 50)]
    {
        let rates = vec![(0, mbps * 1_000_000)];
        let story = Story { rates, keyframe_of: 12, queue_bytes: queue_kb * 1_000, ..Story::default() };
        let (seen, lost) = watched(story, 60).await;
        let link = format!("{mbps} Mbit/s behind {queue_kb} KB");
        println!("{link}: {lost} of some 13 000 packets lost");
        assert_eq!(settled(&seen, 12, 60), [2].into(), "{link}: {seen:?}");
        assert!(lost <= lost_max, "{link}: {lost} packets lost");
    }
}

#[tokio::test]
async fn a_choice_is_followed_with_the_next_keyframe_and_the_way_back_is_as_short() {
    let wishes = vec![(15, wish("l")), (30, wish("m")), (45, Wish::default())];
    let (seen, _) = watched(Story { rates: vec![(0, 6_000_000)], wishes, ..Story::default() }, 60).await;
    println!("layer in each second: {seen:?}");
    assert_eq!(settled(&seen, 12, 15), [2].into(), "the server's choice: {seen:?}");
    assert_eq!(settled(&seen, 18, 30), [0].into(), "the smallest, though the network carries more: {seen:?}");
    assert_eq!(settled(&seen, 36, 45), [1].into(), "the middle one and no more: {seen:?}");
    assert_eq!(settled(&seen, 52, 60), [2].into(), "the server chooses again: {seen:?}");
}

#[tokio::test]
async fn a_choice_that_the_network_does_not_carry_waits_until_it_does() {
    let rates = vec![(0, 6_000_000), (20, 1_300_000), (60, 6_000_000)];
    let (seen, lost) = watched(Story { rates, wishes: vec![(10, wish("h"))], ..Story::default() }, 110).await;
    println!("layer in each second: {seen:?}; {lost} packets lost");
    assert_eq!(settled(&seen, 15, 20), [2].into(), "it fits: {seen:?}");
    assert!(seen[23..60].iter().all(|layer| *layer < 2), "sound goes on in a smaller picture: {seen:?}");
    assert_eq!(settled(&seen, 95, 110), [2].into(), "nothing needs to be chosen again: {seen:?}");
}

#[tokio::test]
async fn a_chosen_layer_that_goes_leaves_the_choice_to_the_server_and_is_back_when_it_comes() {
    let story = Story {
        rates: vec![(0, 6_000_000)],
        wishes: vec![(15, wish("m"))],
        silence: Some((1, 25..45)),
        ..Story::default()
    };
    let (seen, _) = watched(story, 60).await;
    println!("layer in each second: {seen:?}");
    assert_eq!(settled(&seen, 20, 25), [1].into(), "{seen:?}");
    assert_eq!(settled(&seen, 38, 45), [2].into(), "the best that the network carries: {seen:?}");
    assert_eq!(settled(&seen, 50, 60), [1].into(), "{seen:?}");
}

#[tokio::test]
async fn who_asks_for_what_is_not_there_hears_what_is() {
    let now = Instant::now();
    let (publisher, feeds) = on_air().await;
    let viewer = |setups: &[LaneSetup]| {
        let showing = Showing::new(setups, feeds.attach(publisher.broadcast()));
        Viewer::new(vec![showing], Path::new(true, 1, now), seat(&publisher), now)
    };
    let mut shelf = Shelf::default();
    shelf.describe(formats());
    shelf.put(&Arc::new(burst(1, 0, 0, 4)), now);
    let choice = |m_line, wish| Some(Choice { m_line, wish });
    let mut watching = viewer(&[LaneSetup { m_line: 2, ..SETUP }]);
    let unknown = watching.layers(choice(None, wish("x")), |_| Some(&shelf), now).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no layer x on the air now; there are: [h, m, l]");
    let elsewhere = watching.layers(choice(Some(0), wish("m")), |_| Some(&shelf), now).unwrap_err();
    assert_eq!(elsewhere, NoSuchLayer::MediaSection { asked: 0, present: vec![2] });
    let pictures = watching.layers(choice(Some(2), wish("m")), |_| Some(&shelf), now).unwrap();
    let [picture] = pictures.as_slice() else { panic!("one picture") };
    assert_eq!((picture.m_line, &picture.wish), (2, &wish("m")));
    let seen: Vec<_> = picture.layers.iter().map(|layer| (layer.format.rid.as_str(), layer.bps > 0)).collect();
    assert_eq!(seen, [("h", false), ("m", true), ("l", false)]);
    // Nothing has come yet of a show that has just begun: its layers are not known.
    assert_eq!(watching.layers(None, |_| None, now).unwrap()[0].layers, []);
    let mut listening = viewer(&[LaneSetup { lane: Lane::Audio, ..SETUP }]);
    assert_eq!(listening.layers(choice(None, wish("m")), |_| Some(&shelf), now), Err(NoSuchLayer::NoPicture));
    assert_eq!(listening.layers(None, |_| Some(&shelf), now), Ok(Vec::new()));
}

/// As Firefox offers it. Sound that nobody reports about would be taken for lost, and the picture would pay for it.
#[tokio::test]
async fn only_what_was_agreed_to_have_them_has_transport_wide_numbers() {
    let now = Instant::now();
    let (publisher, feeds) = on_air().await;
    let both = include_str!("../rtc/negotiate/testdata/chromium-156-receives.sdp");
    let picture_only = both.replace("a=rtcp-fb:111 transport-cc", "a=rtcp-fb:111 nack");
    for (offer, numbered) in [(both, [3, 2]), (picture_only.as_str(), [3, 0])] {
        let profile = Some([0x42, 0xe0, 0x1f]);
        let tracks = Tracks { video: Some(VideoCodec::H264), profile, audio: true, layers: 3 };
        let line_up = LineUp::new(feeds.attach(publisher.broadcast()), &tracks);
        let offer = Offer::parse(offer).unwrap();
        let (agreement, _) = answer_viewer(&offer, &testing::local(), line_up.tracks(), true).unwrap();
        let mut viewer = Viewer::new(line_up.showings(&agreement), Path::new(true, 1, now), seat(&publisher), now);
        let (route, mut sent) = mpsc::channel(64);
        let (mut sealer, mut batch, route) = (keys().sealer(), SendBatch::default(), Route::Tcp(route));
        for burst in
            [forwarder::testing::burst(Lane::Video, 0, 3, true), forwarder::testing::burst(Lane::Audio, 0, 2, true)]
        {
            viewer.forward(0, &burst, now, &mut Outlet { sealer: &mut sealer, batch: &mut batch, route: &route });
        }
        let (mut packets, mut with_number) = ([0, 0], [0, 0]);
        while let Ok(packet) = sent.try_recv() {
            let lane = usize::from(packet[1] & 0x7f == 111);
            packets[lane] += 1;
            with_number[lane] += usize::from(extensions(&packet).any(|(id, _)| id == 4));
        }
        assert_eq!((packets, with_number), ([3, 2], numbered));
    }
}
