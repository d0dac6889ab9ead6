//! The hub's promises, on a paused clock.

use super::*;
use crate::codec::opus;
use crate::config::HubConfig;
use crate::model::{
    AudioCodec, AudioFormat, BroadcastId, Epoch, Frame, MediaFormat, Timescale, TrackFormat, TrackId, VideoCodec,
    VideoFormat,
};
use crate::seam::{BroadcastEnd, EventSink, MediaEvent, Part, Protocol, PublishGrant};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

#[derive(Debug)]
struct Told(mpsc::Sender<MediaEvent>);

#[async_trait]
impl EventSink for Told {
    fn try_emit(&self, event: MediaEvent) -> bool {
        self.0.try_send(event).is_ok()
    }

    async fn emit(&self, event: MediaEvent) {
        self.0.send(event).await.expect("the test listens");
    }
}

struct Bench {
    hub: Hub,
    events: mpsc::Receiver<MediaEvent>,
    opened: Mutex<mpsc::Receiver<Arc<Broadcast>>>,
}

fn bench() -> Bench {
    let (sender, events) = mpsc::channel(64);
    let (hub, opened) = Hub::new(HubConfig::default(), Arc::new(Told(sender)));
    Bench { hub, events, opened: Mutex::new(opened) }
}

fn id() -> BroadcastId {
    BroadcastId::parse("session_1").unwrap()
}

fn video_and_audio() -> Epoch {
    let video = VideoFormat {
        codec: VideoCodec::H264,
        configuration: Bytes::from_static(b"avcC"),
        rfc6381: "avc1.64001f".into(),
        width: 1280,
        height: 720,
        frame_rate: None,
    };
    let tracks = [(Timescale::VIDEO, MediaFormat::Video(video)), (Timescale::new(48_000), audio())];
    let track =
        |(index, (timescale, media))| Arc::new(TrackFormat { id: TrackId(index as u8), rid: None, timescale, media });
    Epoch { tracks: tracks.into_iter().enumerate().map(track).collect(), zero: SystemTime::UNIX_EPOCH }
}

fn audio() -> MediaFormat {
    MediaFormat::Audio(AudioFormat {
        codec: AudioCodec::Aac,
        configuration: Bytes::from_static(&[0x11, 0x90]),
        rfc6381: "mp4a.40.2".into(),
        sample_rate: 48_000,
        channels: 2,
        samples_per_frame: 1_024,
    })
}

fn frame(track: u8, dts: i64, keyframe: bool) -> Frame {
    Frame { track: TrackId(track), dts, pts: dts, keyframe, payload: Bytes::from_static(b"payload") }
}

fn dts(feed: Option<Feed>) -> i64 {
    match feed {
        Some(Feed::Frame(frame)) => frame.dts,
        other => panic!("a frame was expected, not {other:?}"),
    }
}

async fn live(bench: &mut Bench) -> Publisher {
    let mut publisher = bench.hub.claim(PublishGrant::of_host(id(), "host"), Protocol::Rtmp).await.unwrap();
    publisher.begin_epoch(video_and_audio());
    assert!(matches!(bench.events.recv().await, Some(MediaEvent::BroadcastStarted { .. })));
    publisher
}

#[tokio::test(start_paused = true)]
async fn a_late_subscriber_starts_with_the_cached_gop() {
    let mut bench = bench();
    let mut publisher = live(&mut bench).await;
    publisher.write(frame(0, 0, true));
    publisher.write(frame(0, 3_000, false));
    publisher.write(frame(0, 6_000, true));
    publisher.write(frame(1, 3_200, true));
    let mut subscriber = publisher.broadcast().subscribe(16);
    publisher.write(frame(0, 9_000, false));
    assert!(matches!(subscriber.try_recv(), Some(Feed::Epoch(_))));
    let heard: Vec<i64> = std::iter::from_fn(|| subscriber.try_recv()).map(|feed| dts(Some(feed))).collect();
    assert_eq!(heard, [6_000, 3_200, 9_000]);
}

#[tokio::test(start_paused = true)]
async fn full_queue_drops_to_the_next_keyframe_for_that_subscriber_only() {
    let mut bench = bench();
    let mut publisher = live(&mut bench).await;
    let mut slow = publisher.broadcast().subscribe(4);
    let mut quick = publisher.broadcast().subscribe(64);
    publisher.write(frame(0, 0, true));
    for index in 1..10 {
        publisher.write(frame(0, index, false));
    }
    assert!(matches!(slow.try_recv(), Some(Feed::Epoch(_))));
    let heard: Vec<i64> = std::iter::from_fn(|| slow.try_recv()).map(|feed| dts(Some(feed))).collect();
    assert_eq!(heard, [0, 1, 2]);
    publisher.write(frame(0, 10, false));
    publisher.write(frame(1, 10, true));
    assert!(slow.try_recv().is_none(), "neither a delta frame nor sound is a start");
    publisher.write(frame(0, 11, true));
    assert!(matches!(slow.try_recv(), Some(Feed::Lagged { frames: 9 })));
    assert_eq!(dts(slow.try_recv()), 11);
    assert!(matches!(quick.try_recv(), Some(Feed::Epoch(_))));
    assert_eq!(std::iter::from_fn(|| quick.try_recv()).count(), 13);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_stays_through_an_interruption_and_hears_the_new_epoch() {
    let mut bench = bench();
    let mut publisher = live(&mut bench).await;
    let mut subscriber = publisher.broadcast().subscribe(16);
    publisher.write(frame(0, 0, true));
    drop(publisher);
    assert!(matches!(bench.events.recv().await, Some(MediaEvent::BroadcastInterrupted { .. })));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut publisher = bench.hub.claim(PublishGrant::of_host(id(), "host"), Protocol::Rtmp).await.unwrap();
    publisher.begin_epoch(video_and_audio());
    publisher.write(frame(0, 7, true));
    assert!(matches!(bench.events.recv().await, Some(MediaEvent::BroadcastResumed { .. })));
    assert!(matches!(subscriber.recv().await, Feed::Epoch(_)));
    assert!(matches!(subscriber.recv().await, Feed::Frame(_)));
    assert!(matches!(subscriber.recv().await, Feed::Interrupted));
    assert!(matches!(subscriber.recv().await, Feed::Epoch(_)));
    assert_eq!(dts(subscriber.try_recv()), 7);
    assert_eq!(bench.opened.lock().try_recv().unwrap().id(), &id());
    assert!(bench.opened.lock().try_recv().is_err(), "it is the same broadcast");
}

#[tokio::test(start_paused = true)]
async fn the_same_identity_takes_over_and_another_is_refused() {
    let mut bench = bench();
    let mut first = live(&mut bench).await;
    assert_eq!(
        bench.hub.claim(PublishGrant::of_host(id(), "stranger"), Protocol::Rtmp).await.unwrap_err(),
        ClaimError::Busy
    );
    let hub = bench.hub.clone();
    let takeover = tokio::spawn(async move { hub.claim(PublishGrant::of_host(id(), "host"), Protocol::Rtmp).await });
    assert_eq!(first.revoked().await, Revoked::Replaced);
    drop(first);
    assert!(takeover.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_will_not_let_go_is_busy_for_its_successor() {
    let mut bench = bench();
    let _stuck = live(&mut bench).await;
    assert_eq!(
        bench.hub.claim(PublishGrant::of_host(id(), "host"), Protocol::Rtmp).await.unwrap_err(),
        ClaimError::Busy
    );
}

#[tokio::test(start_paused = true)]
async fn ending_cuts_the_publisher_and_tells_every_subscriber_after_the_last_frame() {
    let mut bench = bench();
    let mut publisher = live(&mut bench).await;
    let broadcast = Arc::clone(publisher.broadcast());
    let mut subscriber = broadcast.subscribe(16);
    publisher.write(frame(0, 0, true));
    let mut never_attached = broadcast.subscribe(16);
    bench.hub.end(&id(), BroadcastEnd::Ejected);
    assert_eq!(publisher.revoked().await, Revoked::Ended);
    drop(publisher);
    assert!(matches!(
        bench.events.recv().await,
        Some(MediaEvent::BroadcastEnded { reason: BroadcastEnd::Ejected, .. })
    ));
    assert!(matches!(subscriber.recv().await, Feed::Epoch(_)));
    assert!(matches!(subscriber.recv().await, Feed::Frame(_)));
    assert!(matches!(subscriber.recv().await, Feed::Ended(BroadcastEnd::Ejected)));
    assert!(matches!(subscriber.recv().await, Feed::Ended(BroadcastEnd::Ejected)));
    assert!(matches!(never_attached.recv().await, Feed::Ended(BroadcastEnd::Ejected)));
    assert!(matches!(broadcast.subscribe(16).recv().await, Feed::Ended(BroadcastEnd::Ejected)));
    assert!(bench.hub.get(&id()).is_none());
}

#[tokio::test(start_paused = true)]
async fn the_grace_ends_the_broadcast_and_frees_its_name() {
    let mut bench = bench();
    drop(live(&mut bench).await);
    assert!(matches!(bench.events.recv().await, Some(MediaEvent::BroadcastInterrupted { .. })));
    let began = tokio::time::Instant::now();
    assert!(matches!(
        bench.events.recv().await,
        Some(MediaEvent::BroadcastEnded { reason: BroadcastEnd::GraceOver, .. })
    ));
    assert_eq!(began.elapsed(), HubConfig::default().grace_rtmp);
}

#[tokio::test(start_paused = true)]
async fn an_expected_broadcast_waits_for_its_publisher_after_a_restart() {
    let mut bench = bench();
    bench.hub.expect(id()).await.unwrap();
    let broadcast = bench.opened.lock().try_recv().unwrap();
    assert!(matches!(broadcast.phase(), Phase::Lingering { .. }));
    let mut publisher = bench.hub.claim(PublishGrant::of_host(id(), "host"), Protocol::Rtmp).await.unwrap();
    publisher.begin_epoch(video_and_audio());
    assert!(matches!(bench.events.recv().await, Some(MediaEvent::BroadcastResumed { .. })));
}

#[tokio::test(start_paused = true)]
async fn any_frame_is_a_start_where_there_is_no_video() {
    let mut bench = bench();
    let mut publisher = bench.hub.claim(PublishGrant::of_host(id(), "host"), Protocol::Rtmp).await.unwrap();
    let track = TrackFormat { id: TrackId(0), rid: None, timescale: Timescale::new(48_000), media: audio() };
    publisher.begin_epoch(Epoch { tracks: vec![Arc::new(track)], zero: SystemTime::UNIX_EPOCH });
    let mut subscriber = publisher.broadcast().subscribe(2);
    for index in 0..8 {
        publisher.write(frame(0, index, true));
    }
    assert!(matches!(subscriber.recv().await, Feed::Epoch(_)));
    assert_eq!(dts(subscriber.try_recv()), 0);
    drop(bench.events.try_recv());
}

fn co_host(user: &str, muted: bool) -> PublishGrant {
    let broadcast = BroadcastId::parse(&format!("session_1-{user}")).unwrap();
    PublishGrant { broadcast, publisher: user.to_owned(), part: Some(Part { of: id(), muted }) }
}

#[tokio::test(start_paused = true)]
async fn co_hosts_are_parts_of_the_show_and_end_with_it() {
    let mut bench = bench();
    let mut late = bench.hub.claim(co_host("user_2", false), Protocol::Whip).await.unwrap();
    let mut early = bench.hub.claim(co_host("user_1", false), Protocol::Whip).await.unwrap();
    let _silent = bench.hub.claim(co_host("user_3", false), Protocol::Whip).await.unwrap();
    for publisher in [&mut late, &mut early] {
        publisher.begin_epoch(video_and_audio());
        assert!(matches!(bench.events.recv().await, Some(MediaEvent::BroadcastStarted { .. })));
    }
    let host = live(&mut bench).await;
    let parts = || bench.hub.live_parts(&id()).iter().map(|part| part.id().to_string()).collect::<Vec<_>>();
    assert_eq!(parts(), ["session_1-user_1", "session_1-user_2"], "those with media");
    drop(host);
    assert!(matches!(bench.events.recv().await, Some(MediaEvent::BroadcastInterrupted { .. })));
    assert_eq!(parts().len(), 2, "an interrupted host does not stop them");
    // The grace of the host runs out.
    assert_eq!(early.revoked().await, Revoked::Ended);
    assert_eq!(late.revoked().await, Revoked::Ended);
    assert!(parts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_co_host_of_a_show_that_never_began_ends_when_the_session_does() {
    let bench = bench();
    let mut co_host = bench.hub.claim(co_host("user_1", false), Protocol::Whip).await.unwrap();
    bench.hub.end(&id(), BroadcastEnd::Ended);
    assert_eq!(co_host.revoked().await, Revoked::Ended);
}

#[tokio::test(start_paused = true)]
async fn who_is_muted_is_seen_and_not_heard() {
    let bench = bench();
    let mut publisher = bench.hub.claim(co_host("user_1", true), Protocol::Whip).await.unwrap();
    let broadcast = Arc::clone(publisher.broadcast());
    let mut epoch = video_and_audio();
    epoch.tracks[1] = Arc::new(TrackFormat {
        media: MediaFormat::Audio(opus::format_of_packet(&[0xfc]).unwrap()),
        ..TrackFormat::clone(&epoch.tracks[1])
    });
    publisher.begin_epoch(epoch);
    let mut subscriber = broadcast.subscribe(16);
    let speech = |dts| Frame { payload: Bytes::from_static(&[0xfc, 1, 2, 3]), ..frame(1, dts, true) };
    publisher.write(frame(0, 0, true));
    publisher.write(speech(0));
    broadcast.mute(false);
    publisher.write(speech(960));
    let mut payloads = Vec::new();
    while let Some(feed) = subscriber.try_recv() {
        if let Feed::Frame(frame) = feed {
            payloads.push(frame.payload.clone());
        }
    }
    assert_eq!(payloads, [&b"payload"[..], &[0xfc, 0xff, 0xfe], &[0xfc, 1, 2, 3]]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_given_up_while_outputs_are_busy_leaves_nothing_behind() {
    let (sender, _events) = mpsc::channel(64);
    let (hub, mut opened) = Hub::new(HubConfig::default(), Arc::new(Told(sender)));
    let claim = async |number: usize| {
        let grant = PublishGrant::of_host(BroadcastId::parse(&format!("session_{number}")).unwrap(), "host");
        tokio::time::timeout(Duration::from_secs(1), hub.claim(grant, Protocol::Rtmp)).await
    };
    let mut publishers = Vec::new();
    let late = loop {
        match claim(publishers.len()).await {
            Ok(publisher) => publishers.push(publisher.unwrap()),
            Err(_given_up) => break publishers.len(),
        }
    };
    let id = BroadcastId::parse(&format!("session_{late}")).unwrap();
    assert!(hub.get(&id).is_none(), "nobody would ever package it");
    while opened.try_recv().is_ok() {}
    let publisher = claim(late).await.unwrap().unwrap();
    let heard = opened.try_recv().unwrap();
    assert!(Arc::ptr_eq(&heard, publisher.broadcast()), "as soon as there is room it is heard of like any other");
}
