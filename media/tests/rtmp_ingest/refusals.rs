//! Who may publish, and what others hear.

use crate::support::rtmp_client::{Denied, RtmpClient, text};
use crate::support::rtmp_server::{Server, frames, next_epoch};
use crate::support::{counters, eventually, in_time, log};
use bytes::Bytes;
use chobi_media::hub::Feed;
use chobi_media::seam::BroadcastEnd;
use rml_amf0::Amf0Value;
use std::sync::atomic::Ordering;

static CLIP: &[u8] = include_bytes!("../fixtures/ffmpeg-5.1-h264-aac.flv");

async fn denied(server: &Server, app: &str, name: &str) -> String {
    match RtmpClient::publish(server.address, app, name).await {
        Ok(_) => panic!("{app}/{name} is not to be admitted"),
        Err(Denied::Status(code)) => code,
        Err(Denied::Closed) => panic!("{app}/{name} hears a reason before it is closed"),
    }
}

#[tokio::test]
async fn a_wrong_key_hears_bad_name_and_is_closed() {
    let server = Server::start().await;
    let mut client = RtmpClient::connect(server.address).await;
    client.open("live").await.unwrap();
    client.command(1, "publish", 5.0, &[Amf0Value::Null, text("wrong"), text("live")]).await;
    assert_eq!(client.status().await, Ok("NetStream.Publish.BadName".to_owned()));
    client.closed().await;
    eventually("the end to be counted", || server.closed("refused") == 1).await;
    assert_eq!(counters::read("chobi_publish_refused_total", "reason", "bad_credentials"), 1);
    assert_eq!(server.asked.load(Ordering::Relaxed), 1, "admission is asked once");
    assert_eq!(denied(&server, "live", "session_2?key=key-1").await, "NetStream.Publish.BadName");
    assert_eq!(denied(&server, "vod", "key-1").await, "NetConnection.Connect.Rejected");
    server.stop().await;
}

#[tokio::test]
async fn players_are_told_that_rtmp_is_not_for_them() {
    let server = Server::start().await;
    let mut client = RtmpClient::connect(server.address).await;
    client.open("live").await.unwrap();
    client.command(1, "play", 0.0, &[Amf0Value::Null, text("session_1")]).await;
    assert_eq!(client.status().await, Ok("NetStream.Play.Failed".to_owned()));
    client.closed().await;
    assert_eq!(server.closed("play"), 1);
    server.stop().await;
}

#[tokio::test]
async fn the_same_key_takes_over_and_another_identity_does_not() {
    let server = Server::start().await;
    let clip = Bytes::from_static(CLIP);
    let mut first = RtmpClient::publish(server.address, "live", "key-1").await.unwrap();
    let mut subscriber = server.next_broadcast().await;
    first.clip(&clip, 0).await;
    next_epoch(&mut subscriber).await;
    assert_eq!(denied(&server, "live", "rival-1").await, "NetStream.Publish.BadName");
    let mut second = RtmpClient::publish(server.address, "live", "key-1").await.unwrap();
    assert_eq!(first.status().await, Ok("NetStream.Unpublish.Success".to_owned()), "the first is told");
    first.closed().await;
    second.clip(&clip, 0).await;
    next_epoch(&mut subscriber).await;
    frames(&mut subscriber, 100).await;
    assert_eq!(server.closed("replaced"), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_publisher_may_go_and_come_back_on_the_same_connection_or_another() {
    let server = Server::start().await;
    let clip = Bytes::from_static(CLIP);
    let mut client = RtmpClient::publish(server.address, "live", "key-1").await.unwrap();
    let mut subscriber = server.next_broadcast().await;
    client.clip(&clip, 0).await;
    next_epoch(&mut subscriber).await;
    client.command(0, "FCUnpublish", 6.0, &[Amf0Value::Null, text("key-1")]).await;
    assert_eq!(client.status().await, Ok("NetStream.Unpublish.Success".to_owned()));
    client.command(1, "publish", 7.0, &[Amf0Value::Null, text("key-1"), text("live")]).await;
    assert_eq!(client.status().await, Ok("NetStream.Publish.Start".to_owned()));
    client.clip(&clip, 0).await;
    next_epoch(&mut subscriber).await;
    drop(client);
    eventually("the end to be counted", || server.closed("peer_closed") == 1).await;
    let mut again = RtmpClient::publish(server.address, "live", "key-1").await.unwrap();
    again.clip(&clip, 5_000).await;
    next_epoch(&mut subscriber).await;
    server.stop().await;
}

#[tokio::test]
async fn an_ended_broadcast_cuts_its_publisher() {
    let server = Server::start().await;
    let mut client = RtmpClient::publish(server.address, "live", "key-1").await.unwrap();
    let mut subscriber = server.next_broadcast().await;
    client.clip(&Bytes::from_static(CLIP), 0).await;
    next_epoch(&mut subscriber).await;
    server.hub.end(subscriber.broadcast().id(), BroadcastEnd::Ejected);
    assert_eq!(client.status().await, Ok("NetStream.Unpublish.Success".to_owned()));
    client.closed().await;
    in_time("the end", async { while !matches!(subscriber.recv().await, Feed::Ended(BroadcastEnd::Ejected)) {} }).await;
    assert_eq!(server.closed("ended"), 1);
    server.stop().await;
}

#[tokio::test]
async fn parameters_nobody_could_decode_are_refused_in_words() {
    let server = Server::start().await;
    let mut client = RtmpClient::publish(server.address, "live", "key-1").await.unwrap();
    client.video(0, &[0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1f, 0xff, 0xe1, 0xff, 0xff, 0][..]).await;
    assert_eq!(client.status().await, Ok("NetStream.Publish.Rejected".to_owned()));
    client.closed().await;
    assert_eq!(server.closed("media"), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_says_so() {
    let server = Server::start().await;
    let mut client = RtmpClient::publish(server.address, "live", "key-1").await.unwrap();
    let waiting = RtmpClient::connect(server.address).await;
    server.stop().await;
    assert_eq!(client.status().await, Ok("NetStream.Unpublish.Success".to_owned()));
    client.closed().await;
    drop(waiting);
}

#[tokio::test]
async fn no_key_is_ever_logged() {
    let server = Server::start().await;
    log::keep();
    for name in ["s3cret", "session_1?key=s3cret", "key-s3cret", "session_s3cret?key=key-s3cret"] {
        if let Ok(mut client) = RtmpClient::publish(server.address, "live", name).await {
            client.clip(&Bytes::from_static(CLIP), 0).await;
        }
    }
    let mut one_field = RtmpClient::connect(server.address).await;
    one_field.open("live/s3cret?key=s3cret").await.unwrap();
    one_field.command(1, "publish", 5.0, &[Amf0Value::Null, text(""), text("live")]).await;
    assert_eq!(one_field.status().await, Ok("NetStream.Publish.BadName".to_owned()));
    eventually("the ends to be logged", || log::text().matches("publishing ends").count() == 2).await;
    let log = log::text();
    assert!(log.contains("publishing refused") && log.contains("publishing starts"), "the log is heard");
    // The session is named after the key here, and sessions are logged; nothing else may look like it.
    assert!(!log.replace("session_s3cret", "").contains("s3cret"), "{log}");
    server.stop().await;
}
