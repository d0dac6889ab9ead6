//! WebRTC stacks that share no code with ours or with Chromium's: aiortc and GStreamer watch by WHEP and publish by WHIP, each
//! watched by the other and by a browser.

use crate::harness::stack::Peer;
use crate::harness::{Api, Browser, Limit, Picture, Room, Server, Show, Stack, report, until};
use crate::webrtc::{sees, stage, watch};
use anyhow::{Result, ensure};
use serde_json::Value;

#[tokio::test]
async fn aiortc_watches_an_rtmp_show() -> Result<()> {
    rtmp_show_is_watched(|server, path| Stack::Aiortc.watch(server, path)).await
}

#[tokio::test]
async fn gstreamer_watches_an_rtmp_show() -> Result<()> {
    rtmp_show_is_watched(|server, path| Stack::Gstreamer.watch(server, path)).await
}

#[tokio::test]
async fn gstreamer_watches_an_rtmp_show_over_tcp() -> Result<()> {
    rtmp_show_is_watched(|server, path| Stack::Gstreamer.watch_over_tcp(server, path)).await
}

#[tokio::test]
async fn aiortc_publishes_to_chromium_and_gstreamer() -> Result<()> {
    publishes(Stack::Aiortc, Stack::Gstreamer).await
}

#[tokio::test]
async fn gstreamer_publishes_to_chromium_and_aiortc() -> Result<()> {
    publishes(Stack::Gstreamer, Stack::Aiortc).await
}

async fn rtmp_show_is_watched(by: impl FnOnce(&Server, &str) -> Result<Peer>) -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "For every stack").await?;
    let room = Room::join(&server, &show.session_id, None).await?;
    let _encoder = show.publish(&server, &Picture::CLOCK)?;
    show.listed(&api).await?;
    let mut viewer = by(&server, &format!("/whep/{}", show.session_id))?;
    decodes(&mut viewer, 60).await?;
    room.next("viewer_joined", |frame| frame["data"]["viewerCount"] == 1).await?;
    ensure!(viewer.hang_up().await? == 200, "DELETE ends it");
    room.next("viewer_left", |frame| frame["data"]["viewerCount"] == 0).await?;
    ensure!(room.all("viewer_joined").len() == 1, "one viewer, joined once");
    Ok(())
}

async fn publishes(publisher: Stack, watcher: Stack) -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "From every stack").await?;
    let room = Room::join(&server, &show.session_id, None).await?;
    let mut host = publisher.publish(&server, &show.stream_key)?;
    host.tells("the offer to publish to be answered", |told| told["status"] == 201).await?;
    show.listed(&api).await?;

    let browser = Browser::start()?;
    let page = stage(&browser, &server).await?;
    watch(&page, "viewer", &show).await?;
    let seen = until(Limit::MEDIA, "the browser to see and hear it", async || {
        let seen = sees(&page, "viewer", 60.0).await?;
        ensure!(seen["audio"]["totalAudioEnergy"].as_f64() > Some(0.001), "sound: {seen}");
        Ok(Some(seen))
    })
    .await?;
    ensure!(seen["video"]["frameWidth"] == 640, "the picture's size: {seen}");
    report!("{publisher:?} to Chromium: {seen}");

    let mut viewer = watcher.watch(&server, &format!("/whep/{}", show.session_id))?;
    let told = decodes(&mut viewer, 150).await?;
    // Two seconds of the picture may be from before the viewer came; the sound of the others is to be there.
    ensure!(told["audio"]["frames"].as_u64() > Some(75), "sound that does not stop: {}", told["audio"]);
    room.next("viewer_joined", |frame| frame["data"]["viewerCount"] == 2).await?;
    ensure!(viewer.hang_up().await? == 200, "DELETE ends it");
    room.next("viewer_left", |frame| frame["data"]["viewerCount"] == 1).await?;
    ensure!(host.hang_up().await? == 200, "DELETE ends the publishing");
    Ok(())
}

/// The peer shows the picture in its size, and its sound is not silence.
async fn decodes(peer: &mut Peer, frames: u64) -> Result<Value> {
    let told = peer
        .tells(&format!("{frames} frames and a sound to be decoded"), |told| {
            let Value::Object(video) = &told["video"] else { return false };
            let shown = video["frames"].as_u64() >= Some(frames) && video.get("width") == Some(&Value::from(640));
            shown && told["audio"]["energy"].as_f64() > Some(0.001)
        })
        .await?;
    report!("decoded: {} {}", told["video"], told["audio"]);
    Ok(told)
}
