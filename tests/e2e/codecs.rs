//! Codecs other than H.264, each on every way it can go: VP9 and AV1 from a browser and from an encoder to WebRTC and HLS,
//! H.265 to HLS alone, VP8 to WebRTC alone; and what viewers and hosts are told where there is no way.

use crate::harness::{
    Api, Browser, Coding, EnhancedRtmp, Limit, Page, Room, Server, Show, Sound, Viewer, Visit, probe, report, until,
};
use crate::webrtc::{call, sees, stage, watch};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

const SCRIPT: &str = include_str!("browser/codecs.js");

/// A page with the lines of webrtc.js and codecs.js in it.
async fn bench(browser: &Browser, server: &Server) -> Result<Page> {
    let page = stage(browser, server).await?;
    page.evaluate(SCRIPT).await?;
    Ok(page)
}

async fn video_flow(page: &Page, peer: &str) -> Result<Value> {
    Ok(call(page, &format!("flowOf('{peer}')")).await?["video"].clone())
}

/// Three segments of each rendition are there, and ffmpeg decodes them without a word.
async fn decodes_by_hls(viewer: &Viewer, server: &Server, video: &str, audio: Option<&str>) -> Result<String> {
    let renditions = until(Limit::MEDIA, "three segments of every rendition", async || {
        let renditions = viewer.renditions().await?;
        for url in renditions.all() {
            ensure!(viewer.playlist(url).await?.segments.len() >= 3, "not yet three");
        }
        Ok(Some(renditions))
    })
    .await?;
    ensure!(renditions.audio.is_some() == audio.is_some(), "sound or not:\n{}", renditions.text);
    for (url, name, codec) in [(&renditions.video, "video.mp4", Some(video)), (&renditions.audio, "audio.mp4", audio)] {
        let Some(url) = url else { continue };
        // A busy browser makes its picture smaller: then another init holds.
        let segments = viewer.playlist(url).await?.segments;
        for stretch in segments.chunk_by(|one, next| one.init == next.init) {
            let file = viewer.save(stretch, server.scratch(), name).await?;
            let file = file.to_str().context("UTF-8")?;
            probe::decodes(file).await.with_context(|| format!("{name}\n{}", renditions.text))?;
            let tracks = probe::tracks(file).await?;
            ensure!(tracks.len() == 1 && tracks[0]["codec_name"].as_str() == codec, "{name}: {tracks:?}");
        }
    }
    Ok(renditions.text)
}

/// Published by one page, watched by another, and by HLS.
async fn browser_to_everybody(mime_type: &str, probed: &str, rfc6381: &str) -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, mime_type).await?;
    let room = Room::join(&server, &show.session_id, Some(&show.host.token)).await?;
    let browser = Browser::start()?;
    let (host, guest) = (bench(&browser, &server).await?, bench(&browser, &server).await?);
    let key = &show.stream_key;
    let answer = call(&host, &format!("publishByWhip('host', '/whip', '{key}', '{mime_type}')")).await?;
    ensure!(answer["status"] == 201, "the offer of {mime_type}: {answer}");
    show.listed(&api).await?;
    watch(&guest, "guest", &show).await?;
    sees(&guest, "guest", 90.0).await?;
    let (sent, seen) = (video_flow(&host, "host").await?, video_flow(&guest, "guest").await?);
    ensure!(sent["mimeType"] == mime_type && seen["mimeType"] == mime_type, "sent {sent}, seen {seen}");
    ensure!(seen["packetsLost"] == 0, "nothing is lost on loopback: {seen}");
    // Who comes later begins at a keyframe that is cached or asked for.
    watch(&guest, "late", &show).await?;
    sees(&guest, "late", 30.0).await?;
    report!("{mime_type}: sent {sent}; seen {seen}");

    let text = decodes_by_hls(&show.viewer()?, &server, probed, Some("opus")).await?;
    ensure!(text.contains(&format!("CODECS=\"{rfc6381}")) && text.contains(",opus\""), "what it is made of:\n{text}");
    let page = format!("{}/watch/{}?player=hls", server.base(), show.session_id);
    let page = browser.open(&page, Visit { lang: Some("en"), ..Visit::default() }).await?;
    page.player_state("playing").await?;
    page.plays_on(1_000).await?;
    ensure!(room.all("ingest_warning").is_empty(), "nothing to warn of: {:?}", room.all("ingest_warning"));
    Ok(())
}

#[tokio::test]
async fn vp9_from_a_browser_goes_everywhere() -> Result<()> {
    browser_to_everybody("video/VP9", "vp9", "vp09.00.").await
}

#[tokio::test]
async fn av1_from_a_browser_goes_everywhere() -> Result<()> {
    browser_to_everybody("video/AV1", "av1", "av01.0.").await
}

#[tokio::test]
async fn vp8_plays_by_webrtc_and_hls_says_so() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "VP8").await?;
    let room = Room::join(&server, &show.session_id, Some(&show.host.token)).await?;
    let browser = Browser::start()?;
    let (host, guest) = (bench(&browser, &server).await?, bench(&browser, &server).await?);
    let supported = "MediaSource.isTypeSupported('video/mp4; codecs=\"vp08.00.10.08\"')";
    ensure!(guest.evaluate(supported).await? == false, "if browsers take VP8 from HLS, so can this server");

    let answer = call(&host, &format!("publishByWhip('host', '/whip', '{}', 'video/VP8')", show.stream_key)).await?;
    ensure!(answer["status"] == 201, "the offer: {answer}");
    show.listed(&api).await?;
    let warning = room.next("ingest_warning", |_| true).await?;
    ensure!(warning["data"]["code"] == "webrtc_only", "the host is told: {warning}");
    watch(&guest, "guest", &show).await?;
    sees(&guest, "guest", 60.0).await?;

    let refused = call(&guest, &format!("answerOf('/hls/{}/index.m3u8')", show.session_id)).await?;
    let whep = format!("/whep/{}", show.session_id);
    ensure!(refused["status"] == 409 && refused["retryAfter"].is_null(), "no reason to ask again: {refused}");
    ensure!(refused["text"].as_str().is_some_and(|text| text.contains("VP8") && text.contains(&whep)), "{refused}");
    ensure!(refused["link"] == format!("<{whep}>; rel=\"alternate\"; type=\"application/sdp\""), "{refused}");

    // The page plays it by WebRTC; one that insists on HLS says that it cannot.
    let address = format!("{}/watch/{}", server.base(), show.session_id);
    let visit = || Visit { lang: Some("ar"), ..Visit::default() };
    let page = browser.open(&address, visit()).await?;
    page.player_state("playing").await?;
    let page = browser.open(&format!("{address}?player=hls"), visit()).await?;
    page.player_state("unsupported").await?;
    ensure!(room.all("ingest_warning").len() == 1, "told once: {:?}", room.all("ingest_warning"));

    // The broadcaster changes codec: what could not be played plays, and nobody had to reload.
    let answer = call(&host, &format!("publishByWhip('again', '/whip', '{}', 'video/VP9')", show.stream_key)).await?;
    ensure!(answer["status"] == 201, "the offer of another codec: {answer}");
    page.player_state("playing").await?;
    page.plays_on(1_000).await
}

/// With AAC, with Opus, and without sound.
#[tokio::test]
async fn h265_from_an_encoder_plays_by_hls_and_whep_says_so() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let browser = Browser::start()?;
    let page = bench(&browser, &server).await?;
    for (sound, probed, listed) in
        [(Sound::Aac, Some("aac"), ",mp4a.40.2\""), (Sound::Opus, Some("opus"), ",opus\""), (Sound::None, None, "\"")]
    {
        let show = Show::create_for(api.register(&format!("host_{sound:?}").to_lowercase()).await?, "H.265").await?;
        let mut encoder = EnhancedRtmp::start(Coding::H265, sound, &show.publish_url(), server.scratch()).await?;
        show.listed(&api).await?;
        let text = decodes_by_hls(&show.viewer()?, &server, "hevc", probed).await?;
        encoder.must_run().await?;
        ensure!(text.contains("CODECS=\"hvc1.1.") && text.contains(listed), "what it is made of:\n{text}");

        let refused = call(&page, &format!("offerToWatch('/whep/{}')", show.session_id)).await?;
        let hls = format!("/hls/{}/index.m3u8", show.session_id);
        ensure!(refused["status"] == 409 && refused["retryAfter"].is_null(), "no reason to ask again: {refused}");
        ensure!(
            refused["text"].as_str().is_some_and(|text| text.contains("H.265") && text.contains(&hls)),
            "{refused}"
        );
        let link = format!("<{hls}>; rel=\"alternate\"; type=\"application/vnd.apple.mpegurl\"");
        ensure!(refused["link"] == link, "{refused}");

        // The page turns to HLS by itself, and says so where the browser has no decoder.
        let codecs =
            text.split_once("CODECS=\"").and_then(|(_, rest)| rest.split(['"', ',']).next()).context("codecs")?;
        let supported = format!("MediaSource.isTypeSupported('video/mp4; codecs=\"{codecs}\"')");
        let state = if page.evaluate(&supported).await? == true { "playing" } else { "unsupported" };
        let address = format!("{}/watch/{}", server.base(), show.session_id);
        let watching = browser.open(&address, Visit { lang: Some("en"), ..Visit::default() }).await?;
        watching.player_state(state).await?;
        ensure!(watching.dataset("playerTransport").await?.as_deref() == Some("hls"), "which one it tried last");
        report!("H.265 with {sound:?}: {codecs}, in this browser {state}");
        watching.close().await?;
        show.end().await?;
    }
    Ok(())
}

/// SVT-AV1 orders frames anew, libvpx does not: both are shown in the order they come in.
#[tokio::test]
async fn av1_and_vp9_from_an_encoder_are_seen_by_webrtc() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let browser = Browser::start()?;
    let page = bench(&browser, &server).await?;
    for (coding, mime_type, sound) in [(Coding::Av1, "video/AV1", Sound::Opus), (Coding::Vp9, "video/VP9", Sound::Aac)]
    {
        let show = Show::create_for(api.register(&format!("host_{coding:?}").to_lowercase()).await?, mime_type).await?;
        let mut encoder = EnhancedRtmp::start(coding, sound, &show.publish_url(), server.scratch()).await?;
        show.listed(&api).await?;
        watch(&page, mime_type, &show).await?;
        let seen = sees(&page, mime_type, 150.0).await?;
        encoder.must_run().await?;
        ensure!(seen["audio"]["totalAudioEnergy"].as_f64().is_some_and(|energy| energy > 0.001), "sound: {seen}");
        let flow = video_flow(&page, mime_type).await?;
        ensure!(flow["mimeType"] == mime_type && flow["frameWidth"] == 320, "{flow}");
        // A decoder that stumbles over a frame asks for a keyframe, again and again.
        ensure!(flow["pliCount"].as_u64().is_some_and(|asked| asked <= 2), "every frame is decodable: {flow}");
        report!("{mime_type} by RTMP: {flow}");
        show.end().await?;
    }
    Ok(())
}
