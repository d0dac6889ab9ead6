//! Three layers to one viewer over a network that changes: estimate, probes, selector and pacer in one loop, with the reports a
//! browser would send.

use super::burst::{Burst, Lane};
use super::feed::Feeds;
use super::network_tests::{Deaf, FRAME, GOP, RTX_SSRC, SETUP, TICK, keys};
use super::path::Path;
use super::roster::Roster;
use super::shelf::Shelf;
use super::showing::Showing;
use super::viewer::{Seat, Viewer};
use crate::config::HubConfig;
use crate::hub::Hub;
use crate::model::{BroadcastId, ViewerId};
use crate::rtc::feedback::network::{Conditions, Link};
use crate::rtc::feedback::twcc::TwccRecorder;
use crate::rtc::outlet::Outlet;
use crate::rtc::route::Route;
use crate::rtc::rtcp::{Feedback, NtpTime, blocks};
use crate::rtc::socket::SendBatch;
use crate::rtp::header::{RtpHeader, extensions};
use crate::rtp::packetize::RtpPayload;
use crate::seam::{EventSink, Protocol, PublishGrant};
use bytes::Bytes;
use rtc::shared::marshal::Marshal;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Bits per second, the smallest first.
const LAYERS: [usize; 3] = [200_000, 800_000, 2_500_000];
const TRANSPORT_CC: u8 = 3;

/// One frame of a layer; the first byte of each packet names the layer.
fn burst(layer: usize, frame: u32, first: u64) -> Burst {
    let keyframe = frame.is_multiple_of(GOP);
    // A keyframe of four frames, and the others so much smaller.
    let bytes = LAYERS[layer] / 8 / 30 * GOP as usize / (GOP as usize + 3) * if keyframe { 4 } else { 1 };
    let packets = bytes.div_ceil(1_150);
    let body = Bytes::from(vec![layer as u8; bytes / packets]);
    let payloads = (0..packets).map(|_| RtpPayload::new(&[], body.clone())).collect();
    let (timestamp, wall) = (frame * 3_000, SystemTime::UNIX_EPOCH + FRAME * frame);
    Burst { lane: Lane::Video, layer: layer as u8, first, timestamp, wall, keyframe, packets: payloads }
}

/// Which layer arrived last in each second, and how many packets were lost to the bottleneck.
async fn watched(rates: Vec<(Duration, u64)>, seconds: u64) -> (Vec<u8>, u64) {
    let start = Instant::now();
    let events: Arc<dyn EventSink> = Arc::new(Deaf);
    let (hub, _opened) = Hub::new(HubConfig::default(), Arc::clone(&events));
    let broadcast = BroadcastId::parse("session_1").unwrap();
    let publisher = hub.claim(PublishGrant::of_host(broadcast.clone(), "host"), Protocol::Whip).await.unwrap();
    let feeds = Feeds::new(Vec::new(), TaskTracker::new(), CancellationToken::new());
    let showing = Showing::new(&[SETUP], feeds.attach(publisher.broadcast()));
    let viewer = ViewerId::parse("viewer").unwrap();
    let seat = Seat { events, roster: Roster::default(), broadcast, viewer, identity: None };
    let mut viewer = Viewer::new(vec![showing], Path::new(Some(TRANSPORT_CC), 1, start), seat, start);
    let (route, mut sent) = mpsc::channel(4_096);
    let (mut sealer, mut opener, route) = (keys().sealer(), keys().opener(), Route::Tcp(route));
    let (mut batch, mut shelf) = (SendBatch::default(), Shelf::default());
    let mut there = Link::new(start, 1, Conditions { rates, queue_bytes: 100_000, ..Conditions::default() });
    let mut back = Link::new(start, 2, Conditions::default());
    let mut recorder = TwccRecorder::new(start, 1);
    let (mut seen, mut last, mut frame, mut numbers) = (Vec::new(), 0, 0_u32, [0_u64; 3]);
    let mut now = start;
    while now < start + Duration::from_secs(seconds) {
        let out = &mut Outlet { sealer: &mut sealer, batch: &mut batch, route: &route };
        if now >= start + FRAME * frame {
            for (layer, next) in numbers.iter_mut().enumerate() {
                let burst = Arc::new(burst(layer, frame, *next));
                *next = burst.end();
                shelf.put(&burst, now);
                viewer.forward(0, &burst, now, out);
            }
            if frame == 0 {
                viewer.start(0, &shelf, now, out);
            }
            frame += 1;
        }
        viewer.feedback(&Feedback::RoundTrip(Duration::from_millis(50)), |_| Some(&shelf), now, out);
        while let Some((_, report)) = back.receive(now) {
            let report: Vec<u8> = report;
            for block in blocks(&report) {
                viewer.feedback(&block.feedback(NtpTime(0)), |_| Some(&shelf), now, out);
            }
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
            }
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

#[tokio::test]
async fn a_viewer_is_sent_the_layer_that_its_network_carries() {
    let at = Duration::from_secs;
    let rates = vec![(at(0), 6_000_000), (at(20), 1_300_000), (at(50), 400_000), (at(70), 6_000_000)];
    let (seen, lost) = watched(rates, 150).await;
    assert!(seen[22..30].iter().all(|layer| *layer < 2), "down within two seconds: {seen:?}");
    println!("layer in each second: {seen:?}; {lost} packets lost");
    let settled = |from: usize, to: usize| seen[from..to].iter().copied().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(settled(15, 20), [2].into(), "6 Mbit/s carry the best: {seen:?}");
    assert_eq!(settled(42, 50), [1].into(), "1.3 Mbit/s carry the middle one, found again after the fall: {seen:?}");
    assert_eq!(settled(56, 70), [0].into(), "400 kbit/s carry the smallest: {seen:?}");
    assert_eq!(settled(115, 150), [2].into(), "and back: {seen:?}");
}
