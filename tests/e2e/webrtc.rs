//! WebRTC with a real browser: an RTMP show is watched by WHEP with picture and sound, a browser publishes by WHIP and is
//! watched by WHEP and by HLS, and who watches is known exactly.

use crate::harness::wait::holds;
use crate::harness::{Api, Browser, Limit, Page, Picture, Room, Server, Show, Visit, report, until};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

const SCRIPT: &str = include_str!("browser/webrtc.js");

/// A page of the server with the few lines of WebRTC in it.
pub(crate) async fn stage(browser: &Browser, server: &Server) -> Result<Page> {
    let page = browser.open(&server.base(), Visit { lang: Some("en"), ..Visit::default() }).await?;
    page.evaluate(SCRIPT).await?;
    Ok(page)
}

pub(crate) async fn call(page: &Page, what: &str) -> Result<Value> {
    page.evaluate(&format!("(async () => await {what})()")).await
}

pub(crate) async fn watch(page: &Page, name: &str, show: &Show) -> Result<()> {
    let answer = call(page, &format!("watchByWhep('{name}', '/whep/{}')", show.session_id)).await?;
    ensure!(answer["status"] == 201, "the offer to watch: {answer}");
    Ok(())
}

/// Waits until so many frames were decoded, and gives back what the browser says then.
pub(crate) async fn sees(page: &Page, name: &str, frames: f64) -> Result<Value> {
    until(Limit::MEDIA, &format!("{frames} frames to be decoded"), async || {
        let seen = call(page, &format!("look('{name}')")).await?;
        let decoded = seen["video"]["framesDecoded"].as_f64().unwrap_or(0.0);
        ensure!(decoded >= frames, "so far {seen}");
        Ok(Some(seen))
    })
    .await
}

#[tokio::test]
async fn rtmp_show_is_seen_and_heard_by_whep_at_once() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "WebRTC").await?;
    let room = Room::join(&server, &show.session_id, None).await?;
    let browser = Browser::start()?;
    let page = stage(&browser, &server).await?;
    let early = call(&page, &format!("watchByWhep('early', '/whep/{}')", show.session_id)).await?;
    ensure!(early["status"] == 409, "not live yet: {early}");

    let mut encoder = show.publish(&server, &Picture::CLOCK)?;
    show.listed(&api).await?;
    let mut first = Vec::new();
    for name in ["one", "two", "three"] {
        watch(&page, name, &show).await?;
        let seen = sees(&page, name, 30.0).await?;
        first.push(seen["firstFrameMs"].as_f64().context("a first frame")?);
    }
    let seen = sees(&page, "one", 150.0).await?;
    ensure!(seen["srtp"] == "SRTP_AEAD_AES_128_GCM", "the fast cipher: {seen}");
    ensure!(seen["video"]["packetsLost"] == 0, "nothing is lost on loopback: {seen}");
    ensure!(seen["audio"]["totalAudioEnergy"].as_f64().is_some_and(|energy| energy > 0.001), "sound: {seen}");
    report!("first frame after {first:.0?} ms in three joins at any moment of a 2 s GOP; then {seen}");

    // A network without UDP: the same port over TCP.
    let answer = call(&page, &format!("watchByWhep('tcp', '/whep/{}', null, 'tcp')", show.session_id)).await?;
    ensure!(answer["status"] == 201, "the offer to watch over TCP: {answer}");
    sees(&page, "tcp", 60.0).await?;
    ensure!(call(&page, "hangUp('tcp')").await? == 200, "DELETE ends it over TCP as well");
    let gone = room.next("viewer_left", |_| true).await?;
    ensure!(gone["data"]["viewerCount"] == 3, "the viewer over TCP left: {gone}");

    let joined = room.next("viewer_joined", |_| true).await?;
    ensure!(joined["data"]["viewerCount"] == 1, "the first viewer: {joined}");
    room.next("viewer_joined", |frame| frame["data"]["viewerCount"] == 3).await?;
    ensure!(call(&page, "hangUp('three')").await? == 200, "DELETE ends it");
    let left = room.next("viewer_left", |frame| frame["data"]["viewerCount"] == 2).await?;
    ensure!(left["data"]["viewerCount"] == 2, "one left: {left}");
    ensure!(room.all("viewer_joined").len() == 4, "one join each");

    // The picture outlives the encoder: the same peers see the next one.
    encoder.must_run()?;
    encoder.kill()?;
    let before = sees(&page, "one", 0.0).await?["video"]["framesDecoded"].as_f64().unwrap_or(0.0);
    let _again = show.publish(&server, &Picture::CLOCK)?;
    sees(&page, "one", before + 60.0).await?;

    show.end().await?;
    holds(Limit::EVENT, "the peers to be closed", async || Ok(server.metric("chobi_webrtc_peers").await? == 0.0))
        .await?;
    holds(Limit::EVENT, "both viewers to have left", async || Ok(room.all("viewer_left").len() == 4)).await
}

/// WebRTC cannot carry frames that are shown in another order than they are sent.
#[tokio::test]
async fn b_frames_are_refused_with_the_address_that_plays_them() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "B-frames").await?;
    let browser = Browser::start()?;
    let page = stage(&browser, &server).await?;
    let _encoder = show.publish(&server, &Picture::B_FRAMES)?;
    show.listed(&api).await?;
    let refused = until(Limit::MEDIA, "the offer to be refused", async || {
        let answer = call(&page, &format!("watchByWhep('late', '/whep/{}')", show.session_id)).await?;
        Ok((answer["status"] == 409).then_some(answer))
    })
    .await?;
    let problem = refused["problem"].as_str().unwrap_or_default();
    ensure!(problem.contains("B-frames") && problem.contains("/hls/"), "why, and where it plays: {problem}");
    // The page turns to HLS by itself, and says so.
    let watch = format!("{}/watch/{}", server.base(), show.session_id);
    let page = browser.open(&watch, Visit { lang: Some("en"), ..Visit::default() }).await?;
    page.player_state("playing").await?;
    ensure!(page.dataset("playerTransport").await?.as_deref() == Some("hls"), "which one plays");
    Ok(())
}

#[tokio::test]
async fn watch_page_plays_by_whep_first() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "مساء الخير").await?;
    let room = Room::join(&server, &show.session_id, None).await?;
    let browser = Browser::start()?;
    let _encoder = show.publish(&server, &Picture::CLOCK)?;
    show.listed(&api).await?;
    let watch = format!("{}/watch/{}", server.base(), show.session_id);
    let page = browser.open(&watch, Visit { lang: Some("ar"), ..Visit::default() }).await?;
    page.player_state("playing").await?;
    ensure!(page.dataset("playerTransport").await?.as_deref() == Some("whep"), "which one plays");
    page.plays_on(3_000).await?;
    let delay = page.seen_delay_ms(600.0).await?;
    report!("watch page over WebRTC: {delay:.0} ms from the encoder's clock to the screen");
    let log = page.log().await?;
    ensure!(log.errors.is_empty() && log.media.is_empty(), "no complaint, and no HLS beside it: {log:?}");
    page.close().await?;
    room.next("viewer_left", |frame| frame["data"]["viewerCount"] == 0).await?;
    ensure!(room.all("viewer_joined").len() == 1, "one viewer, joined once");
    Ok(())
}

#[tokio::test]
async fn browser_publishes_by_whip_to_whep_and_hls() -> Result<()> {
    // Several threads on one port: datagrams that reach the wrong one find their way.
    let server = Server::start_with(&[("CHOBI_WEBRTC__WORKERS", "3")], &[]).await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "From a browser").await?;
    let browser = Browser::start()?;
    let page = stage(&browser, &server).await?;
    let wrong = call(&page, "publishByWhip('wrong', '/whip', 'chobi_sk_wrong')").await?;
    ensure!(wrong["status"] == 401, "a wrong key: {wrong}");

    let key = &show.stream_key;
    let answer = call(&page, &format!("publishByWhip('host', '/whip', '{key}')")).await?;
    ensure!(answer["status"] == 201, "the key alone finds the session: {answer}");
    show.listed(&api).await?;
    watch(&page, "viewer", &show).await?;
    let seen = sees(&page, "viewer", 60.0).await?;
    ensure!(seen["audio"]["totalAudioEnergy"].as_f64().is_some_and(|energy| energy > 0.001), "sound: {seen}");
    report!("WHIP to WHEP: {seen}");
    // Our reports of what arrives are what lets the browser send more than the trickle it begins with.
    let sent = until(Limit::MEDIA, "the upload to grow", async || {
        let sent = call(&page, "look('host')").await?;
        Ok(sent["uploadBitrate"].as_f64().is_some_and(|bitrate| bitrate > 1_000_000.0).then_some(sent))
    })
    .await?;
    report!("the browser found {} bit/s for its upload", sent["uploadBitrate"]);

    let viewer = show.viewer()?;
    let renditions = viewer.renditions().await?;
    let video = renditions.video.clone().context("a picture over HLS")?;
    ensure!(renditions.text.contains("opus"), "Opus in fMP4: {}", renditions.text);
    let playlist = until(Limit::MEDIA, "three segments", async || {
        let playlist = viewer.playlist(&video).await?;
        Ok((playlist.segments.len() >= 3).then_some(playlist))
    })
    .await?;
    let longest = playlist.segments.iter().map(|segment| segment.seconds).fold(0.0, f64::max);
    ensure!(longest <= 4.2, "keyframes are asked for, so segments keep their length: {longest} s");
    let file = viewer.save(&playlist.segments, server.scratch(), "whip").await?;
    crate::harness::probe::decodes(&file.to_string_lossy()).await?;

    // From the browser to an encoder and nobody is thrown out.
    let before = sees(&page, "viewer", 0.0).await?["video"]["framesDecoded"].as_f64().unwrap_or(0.0);
    let _encoder = show.publish(&server, &Picture::CLOCK)?;
    sees(&page, "viewer", before + 90.0).await?;
    Ok(())
}

/// One picture in three sizes: each viewer gets the one that fits, and HLS has a ladder without a transcoder.
#[tokio::test]
async fn simulcast_layers_are_chosen_from_and_are_hls_renditions() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Three sizes").await?;
    let browser = Browser::start()?;
    let page = stage(&browser, &server).await?;
    let key = &show.stream_key;
    let answer = call(&page, &format!("publishByWhip('host', '/whip', '{key}', null, 3)")).await?;
    ensure!(answer["status"] == 201, "the offer of three layers: {answer}");
    until(Limit::MEDIA, "every layer to be sent", async || {
        let sent = call(&page, "look('host')").await?;
        let layers = sent["layers"].as_object().context("layers")?;
        let all = layers.len() == 3 && layers.values().all(|frames| frames.as_f64() > Some(30.0));
        ensure!(all, "so far {sent}");
        Ok(Some(()))
    })
    .await?;
    show.listed(&api).await?;
    watch(&page, "viewer", &show).await?;
    let seen = until(Limit::MEDIA, "the largest picture", async || {
        let seen = sees(&page, "viewer", 30.0).await?;
        Ok((seen["video"]["frameWidth"] == 1280).then_some(seen))
    })
    .await?;
    report!("the largest of three layers: {seen}");

    let viewer = show.viewer()?;
    let renditions = until(Limit::MEDIA, "a ladder of three", async || {
        let renditions = viewer.renditions().await?;
        let all = ["1280x720", "640x360", "320x180"].iter().all(|size| renditions.text.contains(size));
        Ok(all.then_some(renditions))
    })
    .await?;
    report!("HLS:\n{}", renditions.text);
    for (place, variant) in renditions.variants.iter().enumerate() {
        let playlist = until(Limit::MEDIA, "two segments of each", async || {
            let playlist = viewer.playlist(variant).await?;
            Ok((playlist.segments.len() >= 2).then_some(playlist))
        })
        .await?;
        let file = viewer.save(&playlist.segments, server.scratch(), &format!("layer-{place}")).await?;
        crate::harness::probe::decodes(&file.to_string_lossy()).await?;
    }
    Ok(())
}

/// A browser changes the size of its picture as it likes; whoever comes by HLS then, plays all the same.
#[tokio::test]
async fn hls_plays_a_browser_s_show_whatever_size_it_has_now() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Sizes").await?;
    let browser = Browser::start()?;
    let host = stage(&browser, &server).await?;
    let answer = call(&host, &format!("publishByWhip('host', '/whip', '{}')", show.stream_key)).await?;
    ensure!(answer["status"] == 201, "{answer}");
    show.listed(&api).await?;
    let watch = format!("{}/watch/{}?player=hls", server.base(), show.session_id);
    let stays = browser.open(&watch, Visit { lang: Some("en"), ..Visit::default() }).await?;
    stays.player_state("playing").await.context("from the start")?;
    for by in ["2", "4", "1"] {
        call(&host, &format!("scale('host', {by})")).await?;
        let page = browser.open(&watch, Visit { lang: Some("en"), ..Visit::default() }).await?;
        page.player_state("playing").await.with_context(|| format!("a viewer who comes when it is scaled by {by}"))?;
        page.plays_on(2_000).await.with_context(|| format!("scaled by {by}"))?;
        page.close().await?;
    }
    stays.plays_on(2_000).await.context("who was there all the time")?;
    Ok(())
}
