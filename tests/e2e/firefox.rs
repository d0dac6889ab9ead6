//! The pages in Firefox, which shares no code of its network or its WebRTC signalling with Chromium. Debian's has no H.264 for
//! WebRTC: an RTMP show comes to it by HLS, and what it sends itself is VP9 or VP8.

use crate::harness::wait::holds;
use crate::harness::{Api, Browser, Limit, Picture, Server, Show, Visit, report, until};
use crate::pages::shots;
use anyhow::{Context, Result, ensure};
use serde_json::json;

#[tokio::test]
async fn firefox_watches_a_show_and_finds_the_way_that_it_can_play() -> Result<()> {
    let Some(firefox) = Browser::firefox()? else {
        report!("there is no Firefox here");
        return Ok(());
    };
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "ليالي الشمال").await?;
    let _encoder = show.publish(&server, &Picture::CLOCK)?;
    show.listed(&api).await?;
    let page = firefox.open(&format!("{}/watch/{}", server.base(), show.session_id), Visit::default()).await?;
    page.player_state("playing").await?;
    page.plays_on(4_000).await?;
    let transport = page.dataset("playerTransport").await?.context("which one plays")?;
    // With a decoder for H.264 it is WebRTC.
    if transport == "hls" {
        page.says("playerFallback", "codec").await?;
        report!("Firefox plays by HLS, {:?} ms behind the encoder", page.dataset("delayMs").await?);
    }
    let width = page.evaluate("document.querySelector('#video').videoWidth").await?;
    ensure!(width.as_u64() > Some(0), "a picture: {width}");
    page.screenshot(&shots()?.join("firefox-watch.png")).await?;
    let log = page.log().await?;
    ensure!(log.errors.is_empty(), "{:?}", log.errors);
    Ok(())
}

/// The lines of the picture, and those of the sizes that the menu offers: a busy machine's encoder may leave the largest out.
const SEEN: &str = "(({ options }, { videoHeight }) => {
    const lines = [...options].map(({ text }) => parseInt(text)).filter((lines) => lines > 0);
    return { sizes: lines.length, largest: Math.max(...lines), shown: videoHeight };
})(document.querySelector('#quality'), document.querySelector('#video'))";

#[tokio::test]
async fn firefox_broadcasts_from_the_studio_and_both_browsers_watch_it() -> Result<()> {
    let Some(firefox) = Browser::firefox()? else {
        report!("there is no Firefox here");
        return Ok(());
    };
    // Firefox does not look for anybody on loopback.
    let server = Server::start_with(&[("CHOBI_WEBRTC__LISTEN", "0.0.0.0:0")], &[]).await?;
    let api = Api::of(&server)?;
    let host = api.register("host").await?;
    let visit = || Visit { account: Some(&host), ..Visit::default() };
    let studio = firefox.open(&format!("{}/studio", server.base()), visit()).await?;
    studio.says("studioState", "setup").await?;
    studio.say("#field-title", "From Firefox").await?;
    studio.says("broadcastState", "live").await?;
    studio.says("showStatus", "live").await?;
    let listed = until(Limit::MEDIA, "the show to be listed", async || {
        let answer = api.query("streaming.getActiveSessions", json!({})).await?;
        Ok(answer["sessions"][0]["id"].as_str().map(str::to_owned))
    })
    .await?;
    let watch = format!("{}/watch/{listed}", server.base());
    let chromium = Browser::start()?;
    for (name, browser) in [("Firefox", &firefox), ("Chromium", &chromium)] {
        let page = browser.open(&watch, Visit::default()).await?;
        page.says("playerTransport", "whep").await?;
        page.player_state("playing").await?;
        page.plays_on(4_000).await?;
        // Firefox lets its sound go without the numbers by which a way is measured; it is sent the best picture all the same.
        holds(Limit::MEDIA, "the largest of the three sizes", async || {
            let seen = page.evaluate(SEEN).await?;
            ensure!(seen["sizes"].as_u64() > Some(1) && seen["shown"] == seen["largest"], "{name} shows {seen}");
            Ok(true)
        })
        .await?;
        let log = page.log().await?;
        ensure!(log.errors.is_empty(), "{name}: {:?}", log.errors);
    }
    studio.screenshot(&shots()?.join("firefox-studio.png")).await?;
    studio.says("health", "good").await?;
    let log = studio.log().await?;
    ensure!(log.errors.is_empty(), "{:?}", log.errors);
    studio.click("#end-show").await?;
    studio.click("#confirm-end").await?;
    studio.says("studioState", "ended").await
}
