//! Each limit, from outside, while a show runs on the same listener.

use crate::support::rtmp_client::{RtmpClient, VIDEO, text};
use crate::support::rtmp_server::{Server, frames, next_epoch};
use crate::support::{eventually, in_time, resident_bytes};
use bytes::Bytes;
use chobi_media::hub::Subscriber;
use chobi_media::ingest::rtmp::RtmpConfig;
use rml_amf0::Amf0Value;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

static CLIP: &[u8] = include_bytes!("../fixtures/ffmpeg-5.1-h264-aac.flv");
const MIB: u64 = 1024 * 1024;

/// A publication that must not notice what happens beside it.
struct Show {
    subscriber: Subscriber,
    publisher: JoinHandle<()>,
}

impl Show {
    async fn start(server: &Server) -> Self {
        let mut client = RtmpClient::publish(server.address, "live", "key-show").await.expect("the show is admitted");
        let mut subscriber = server.next_broadcast().await;
        client.clip(&Bytes::from_static(CLIP), 0).await;
        next_epoch(&mut subscriber).await;
        let publisher = tokio::spawn(async move {
            let mut timestamp = 2_000;
            let mut pace = tokio::time::interval(Duration::from_millis(10));
            loop {
                pace.tick().await;
                client.video(timestamp, &[0x27, 1, 0, 0, 0, 0, 0, 0, 2, 0x41, 0x9a][..]).await;
                timestamp += 10;
            }
        });
        // The clip is read when the first of the later pictures is there.
        while frames(&mut subscriber, 1).await[0].dts < 2_000 * 90 {}
        Self { subscriber, publisher }
    }

    /// More frames come, in the same epoch, and none is missing.
    async fn goes_on(&mut self) {
        assert!(!self.publisher.is_finished(), "the show's publisher still sends");
        while self.subscriber.try_recv().is_some() {}
        let frames = frames(&mut self.subscriber, 20).await;
        assert!(frames.windows(2).all(|pair| pair[1].dts - pair[0].dts == 900), "every frame of the show arrives");
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        self.publisher.abort();
    }
}

fn short(timeout_ms: u64) -> RtmpConfig {
    let short = Duration::from_millis(timeout_ms);
    RtmpConfig { handshake_timeout: short, publish_timeout: short, first_media_timeout: short, ..RtmpConfig::default() }
}

/// A chunk header of format 0.
fn header(chunk_stream: u8, length: u32, type_id: u8) -> Vec<u8> {
    [&[chunk_stream, 0, 0, 0][..], &length.to_be_bytes()[1..], &[type_id, 1, 0, 0, 0]].concat()
}

async fn expect_closed(server: &Server, mut client: RtmpClient, reason: &str) {
    let before = server.closed(reason);
    client.closed().await;
    eventually(reason, || server.closed(reason) > 0).await;
    assert!(server.closed(reason) >= before);
}

#[tokio::test]
async fn whoever_dawdles_is_closed() {
    let server = Server::start_with(short(300)).await;
    let mut show = Show::start(&server).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut drip = TcpStream::connect(server.address).await.unwrap();
    drip.write_all(&[3; 700]).await.unwrap();
    in_time("the silent one to be closed", tokio::io::copy(&mut silent, &mut tokio::io::sink())).await.ok();
    in_time("the dripping one to be closed", tokio::io::copy(&mut drip, &mut tokio::io::sink())).await.ok();
    eventually("both to be counted", || server.closed("slow_handshake") == 2).await;
    let mut polite = RtmpClient::connect(server.address).await;
    polite.open("live").await.unwrap();
    expect_closed(&server, polite, "slow_publish").await;
    let quiet = RtmpClient::publish(server.address, "live", "key-quiet").await.unwrap();
    expect_closed(&server, quiet, "no_media").await;
    let mut chatty = RtmpClient::publish(server.address, "live", "key-chatty").await.unwrap();
    let chatter = async {
        // Bytes alone are no media: a flood of pings does not keep the place.
        loop {
            chatty.send(4, 0, 0, Bytes::from_static(&[0, 6, 0, 0, 0, 0])).await;
            tokio::task::yield_now().await;
            if server.closed("no_media") == 2 {
                break;
            }
        }
    };
    in_time("the chatty one to be closed", chatter).await;
    show.goes_on().await;
    server.stop().await;
}

#[tokio::test]
async fn a_publisher_that_falls_silent_is_closed() {
    let config = RtmpConfig { idle_timeout: Duration::from_millis(300), ..RtmpConfig::default() };
    let server = Server::start_with(config).await;
    let mut show = Show::start(&server).await;
    let mut client = RtmpClient::publish(server.address, "live", "key-1").await.unwrap();
    client.clip(&Bytes::from_static(CLIP), 0).await;
    expect_closed(&server, client, "idle").await;
    show.goes_on().await;
    server.stop().await;
}

#[tokio::test]
async fn messages_that_announce_too_much_are_refused_at_their_header() {
    let server = Server::start().await;
    let mut show = Show::start(&server).await;
    let mut published = RtmpClient::publish(server.address, "live", "key-1").await.unwrap();
    published.send_raw(&header(9, 16 * 1024 * 1024 - 1, VIDEO)).await;
    published.closed().await;
    eventually("the first", || server.closed("message_too_long") == 1).await;
    let mut early = RtmpClient::connect(server.address).await;
    early.send_raw(&header(9, 64 * 1024 + 1, VIDEO)).await;
    early.closed().await;
    eventually("the second", || server.closed("message_too_long") == 2).await;
    let mut command = RtmpClient::publish(server.address, "live", "key-2").await.unwrap();
    command.send_raw(&header(9, 64 * 1024 + 1, 20)).await;
    command.closed().await;
    eventually("the third", || server.closed("message_too_long") == 3).await;
    show.goes_on().await;
    server.stop().await;
}

#[tokio::test]
async fn memory_follows_what_arrives_and_not_what_is_announced() {
    const CLIENTS: usize = 40;
    const UNFINISHED: u8 = 50;
    let server = Server::start().await;
    let mut show = Show::start(&server).await;
    let mut clients = Vec::new();
    for index in 0..CLIENTS {
        let name = format!("key-{index}");
        clients.push(RtmpClient::publish(server.address, "live", &name).await.unwrap());
    }
    let before = resident_bytes();
    let received = received_bytes();
    let lies: Vec<u8> =
        (7..7 + UNFINISHED).flat_map(|id| [header(id, 8 * 1024 * 1024, VIDEO), vec![0; 4_096]].concat()).collect();
    for client in &mut clients {
        client.send_raw(&lies).await;
    }
    let sent = (CLIENTS * lies.len()) as u64;
    eventually("all lies to be read", || received_bytes() - received >= sent).await;
    let grown = resident_bytes().saturating_sub(before);
    // 16 GiB are announced, 8 MiB were sent; a first buffer of 16 KiB each makes 32 MiB.
    assert!(grown < 64 * MIB, "{} MiB more", grown / MIB);
    show.goes_on().await;
    server.stop().await;
}

fn received_bytes() -> u64 {
    crate::support::counters::read("chobi_ingest_bytes_total", "protocol", "rtmp")
}

#[tokio::test]
async fn an_amf_depth_bomb_is_closed() {
    let server = Server::start().await;
    let mut show = Show::start(&server).await;
    let mut bomber = RtmpClient::connect(server.address).await;
    let mut bomb = rml_amf0::serialize(&vec![text("connect"), Amf0Value::Number(1.0)]).unwrap();
    bomb.extend([10, 0, 0, 0, 1].repeat(10_000));
    bomber.send(20, 0, 0, bomb.into()).await;
    expect_closed(&server, bomber, "amf0").await;
    show.goes_on().await;
    server.stop().await;
}

#[tokio::test]
async fn interleaved_chunks_are_put_together() {
    let server = Server::start().await;
    let mut client = RtmpClient::publish(server.address, "live", "key-1").await.unwrap();
    let mut subscriber = server.next_broadcast().await;
    client.clip(&Bytes::from_static(CLIP), 0).await;
    next_epoch(&mut subscriber).await;
    let clip_frames = 60 + 94;
    frames(&mut subscriber, clip_frames).await;
    // Two chunks of a picture with a sound, an unknown message and a ping between them.
    let picture = [&[0x27, 1, 0, 0, 0, 0, 0, 0x13, 0x87][..], &[0x41; 4_999]].concat();
    let stamp = |mut header: Vec<u8>, ms: u32| {
        header[1..4].copy_from_slice(&ms.to_be_bytes()[1..]);
        header
    };
    let mut bytes = stamp(header(20, picture.len() as u32, VIDEO), 2_040);
    bytes.extend(&picture[..4_096]);
    bytes.extend(stamp(header(21, 4, 8), 2_050));
    bytes.extend([0xaf, 1, 0x21, 0x22]);
    bytes.extend([header(22, 3, 77), vec![1, 2, 3]].concat());
    bytes.extend([header(2, 6, 4), vec![0, 6, 0, 0, 0, 9]].concat());
    bytes.push(0xc0 | 20);
    bytes.extend(&picture[4_096..]);
    client.send_raw(&bytes).await;
    let last = frames(&mut subscriber, 2).await;
    assert_eq!(&last[0].payload[..], [0x21, 0x22], "the sound was whole first");
    assert_eq!(&last[1].payload[..], &picture[5..]);
    server.stop().await;
}

#[tokio::test]
async fn garbage_is_closed() {
    let server = Server::start().await;
    let mut show = Show::start(&server).await;
    let mut web = TcpStream::connect(server.address).await.unwrap();
    web.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    in_time("the browser to be closed", tokio::io::copy(&mut web, &mut tokio::io::sink())).await.ok();
    eventually("the browser", || server.closed("handshake") == 1).await;
    for seed in 0..20_u64 {
        let mut client = RtmpClient::connect(server.address).await;
        // Noise that is the same in every run.
        let mut state = seed + 1;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(8_000)
        .collect();
        client.send_raw(&noise).await;
        client.socket.shutdown().await.ok();
        client.closed().await;
    }
    show.goes_on().await;
    server.stop().await;
}

#[tokio::test]
async fn half_open_connections_stay_below_their_cap() {
    const CAP: usize = 100;
    const FLOOD: usize = 2_000;
    let config = RtmpConfig { max_handshakes: CAP, max_connections_per_ip: CAP * 3, ..RtmpConfig::default() };
    let server = Server::start_with(config).await;
    let mut show = Show::start(&server).await;
    let before = resident_bytes();
    let mut flood = Vec::new();
    for _ in 0..FLOOD {
        flood.push(TcpStream::connect(server.address).await.unwrap());
    }
    let refused = (FLOOD - CAP) as u64;
    eventually("the flood to be refused", || server.closed("too_many_handshakes") == refused).await;
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 32 * MIB, "{} MiB more", grown / MIB);
    show.goes_on().await;
    drop(flood);
    eventually("the places to be free", || server.closed("peer_closed") == CAP as u64).await;
    RtmpClient::publish(server.address, "live", "key-1").await.expect("there is room again");
    server.stop().await;
}

#[tokio::test]
async fn connections_are_capped_in_all_and_per_address() {
    for (config, reason) in [
        (RtmpConfig { max_connections: 3, ..RtmpConfig::default() }, "too_many_connections"),
        (RtmpConfig { max_connections_per_ip: 3, ..RtmpConfig::default() }, "too_many_from_address"),
    ] {
        let server = Server::start_with(config).await;
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(RtmpClient::connect(server.address).await);
        }
        let mut fourth = TcpStream::connect(server.address).await.unwrap();
        in_time("the fourth to be closed", tokio::io::copy(&mut fourth, &mut tokio::io::sink())).await.ok();
        eventually(reason, || server.closed(reason) == 1).await;
        drop(clients);
        eventually("the places to be free", || server.closed("peer_closed") >= 3).await;
        RtmpClient::connect(server.address).await;
        server.stop().await;
    }
}

/// Frames of one moment, as fast as the line takes them, would be one part of a segment that never ends.
#[tokio::test]
async fn a_publisher_whose_clock_stands_still_is_closed_and_told_why() {
    let server = Server::start_with(RtmpConfig { media_max_bps: 8_000_000, ..RtmpConfig::default() }).await;
    let mut show = Show::start(&server).await;
    let mut stuck = RtmpClient::publish(server.address, "live", "key-stuck").await.expect("it is admitted");
    stuck.clip(&Bytes::from_static(CLIP), 0).await;
    let frame = Bytes::from([&[0x27, 1, 0, 0, 0, 0, 8, 0, 0, 0x41][..], &vec![0x9a; 512 * 1024 - 1]].concat());
    let flood = async {
        while server.closed("clock") + server.closed("rate") == 0 {
            stuck.video(2_000, frame.clone()).await;
            tokio::task::yield_now().await;
        }
    };
    in_time("the stuck one to be closed", flood).await;
    let told = stuck.status().await.unwrap();
    assert_eq!(told, "NetStream.Publish.Rejected");
    show.goes_on().await;
    server.stop().await;
}
