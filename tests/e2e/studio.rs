//! The studio with a real browser and its made-up camera: a host goes live from the page, is seen and heard, comes back after a
//! reload, a restart and a takeover, and ends the show. Whoever may not use a camera is told why, and what to do.

use crate::harness::wait::holds;
use crate::harness::{Account, Api, Browser, Limit, Page, Picture, Room, Server, Show, Visit, report, until};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::Path;

const SCRIPT: &str = include_str!("browser/studio.js");
const WEBRTC: &str = include_str!("browser/webrtc.js");

fn studio(server: &Server) -> String {
    format!("{}/studio", server.base())
}

async fn enter<'a>(browser: &Browser, url: &str, visit: Visit<'a>) -> Result<Page> {
    let page = browser.open(url, visit).await?;
    page.evaluate(SCRIPT).await?;
    Ok(page)
}

/// A host with a camera, at home in the studio.
async fn host_at_work(browser: &Browser, server: &Server, host: &Account) -> Result<Page> {
    let visit = Visit { lang: Some("en"), account: Some(host), devices: true, ..Visit::default() };
    let page = enter(browser, &studio(server), visit).await?;
    page.says("studioState", "setup").await?;
    page.says("studioSource", "camera").await?;
    Ok(page)
}

async fn look(page: &Page) -> Result<Value> {
    page.evaluate("lookAround()").await
}

/// Waits until what the host sees is so.
async fn sees(page: &Page, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
    until(Limit::MEDIA, what, async || {
        let seen = look(page).await?;
        ensure!(is_so(&seen), "the page shows {seen}");
        Ok(Some(seen))
    })
    .await
}

async fn reload(page: &Page) -> Result<()> {
    page.reload().await?;
    page.evaluate(SCRIPT).await.map(drop)
}

async fn begin(page: &Page, title: &str) -> Result<String> {
    page.say("#field-title", title).await?;
    page.says("broadcastState", "live").await?;
    look(page).await?["kept"]["sessionId"].as_str().map(str::to_owned).context("the show this tab keeps")
}

async fn end(page: &Page) -> Result<()> {
    page.click("#end-show").await?;
    page.click("#confirm-end").await?;
    page.says("studioState", "ended").await
}

#[tokio::test]
async fn host_goes_live_from_the_page_and_is_seen_through_a_reload() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let host = api.register("host").await?;
    let fan = api.register("fan").await?;
    let browser = Browser::start()?;
    let page = host_at_work(&browser, &server, &host).await?;
    let before = sees(&page, "the host's own picture", |seen| seen["preview"]["frames"].as_f64() > Some(10.0)).await?;
    ensure!(before["preview"]["muted"] == true && before["card"].is_null(), "muted, and nothing over it: {before}");
    ensure!(!before["cameras"][0].as_str().unwrap_or_default().is_empty(), "devices have names: {before}");
    page.says("heard", "true").await.context("the meter hears the microphone")?;

    let id = begin(&page, "أمسية عود").await?;
    let room = Room::join(&server, &id, None).await?;
    // It is live with the first keyframe of every layer, a moment after the connection.
    until(Limit::EVENT, "the show to be listed", async || {
        let listed = api.query("streaming.getActiveSessions", json!({})).await?;
        let first = &listed["sessions"][0];
        ensure!(first["id"] == id.as_str() && first["title"] == "أمسية عود", "{listed}");
        Ok(Some(()))
    })
    .await?;
    let address = format!("{}/watch/{id}", server.base());
    let watch = browser.open(&address, Visit { lang: Some("ar"), ..Visit::default() }).await?;
    watch.player_state("playing").await?;
    watch.plays_on(2_000).await?;
    ensure!(watch.dataset("playerTransport").await?.as_deref() == Some("whep"), "the viewer watches by WebRTC");
    page.says("viewers", "1").await?;
    fan.api.mutate("chat.sendMessage", json!({ "sessionId": id, "message": "مساء النور" })).await?;
    let seen = sees(&page, "the chat, the clock and the health", |seen| {
        seen["chat"][0] == "مساء النور" && seen["onAir"]["elapsed"].is_string() && seen["state"]["sentKbps"] != "0"
    })
    .await?;
    ensure!(seen["onAir"]["title"] == "أمسية عود", "{seen}");
    ensure!(
        seen["onAir"]["address"].as_str().is_some_and(|address| address.ends_with(&format!("/watch/{id}"))),
        "{seen}"
    );
    ensure!(seen["lines"] == json!([]), "the key is nowhere in the page until it is asked for: {seen}");
    report!("on air: {} kbit/s in {} layers, {}", seen["state"]["sentKbps"], seen["state"]["layers"], seen["onAir"]);

    // A click has been seen, so the browser asks before it leaves; then the show goes on by itself.
    page.click("#microphone").await?;
    page.click("#microphone").await?;
    reload(&page).await?;
    ensure!(page.log().await?.dialogs == ["beforeunload"], "leaving while live is asked about");
    page.says("broadcastState", "live").await?;
    ensure!(look(&page).await?["kept"]["sessionId"] == id.as_str(), "the same show");
    watch.plays_on(2_000).await?;
    ensure!(room.all("viewer_left").is_empty(), "the viewer stayed through the reload");

    // Camera off and on again: viewers see the mark, and then the host, on the same connection.
    page.click("#camera").await?;
    page.says("studioSource", "off").await?;
    watch.plays_on(1_000).await?;
    page.click("#camera").await?;
    page.says("studioSource", "camera").await?;
    watch.plays_on(1_000).await?;

    end(&page).await?;
    watch.player_state("ended").await?;
    let found = api.query("streaming.getSession", json!({ "sessionId": id })).await?;
    ensure!(found["status"] == "ended", "the session is over: {found}");
    let over = sees(&page, "the figures of the show", |seen| {
        seen["card"].as_str().is_some_and(|card| card.contains("1 viewer"))
    })
    .await?;
    ensure!(over["kept"].is_null() && over["preview"]["width"] == 0, "nothing is kept, the camera is off: {over}");
    let log = page.log().await?;
    ensure!(log.errors.is_empty() && log.foreign.is_empty(), "{log:?}");
    holds(Limit::EVENT, "the publisher to be gone", async || Ok(server.metric("chobi_webrtc_peers").await? == 0.0))
        .await
}

#[tokio::test]
async fn show_comes_back_after_a_restart_and_a_takeover() -> Result<()> {
    let mut server = Server::start().await?;
    let api = Api::of(&server)?;
    let host = api.register("host").await?;
    let browser = Browser::start()?;
    let page = host_at_work(&browser, &server, &host).await?;
    let id = begin(&page, "Through thick and thin").await?;

    server.restart().await?;
    holds(Limit::MEDIA, "the show to be live again", async || {
        let found = api.query("streaming.getSession", json!({ "sessionId": id })).await?;
        Ok(found["status"] == "live" && found["isInterrupted"] == false)
    })
    .await?;
    page.says("broadcastState", "live").await?;

    // The same key elsewhere: this page lets go instead of fighting for it, and takes the show back when told to.
    let key = look(&page).await?["kept"]["streamKey"].as_str().map(str::to_owned).context("the kept key")?;
    let other = browser.open(&server.base(), Visit::default()).await?;
    other.evaluate(WEBRTC).await?;
    let publish = format!("(async () => await publishByWhip('other', '/whip', '{key}'))()");
    let answer = other.evaluate(&publish).await?;
    ensure!(answer["status"] == 201, "the other one: {answer}");
    page.says("broadcastState", "taken").await?;
    page.click("#card-actions .button").await?;
    page.says("broadcastState", "live").await?;
    let now = look(&page).await?["kept"]["streamKey"].as_str().map(str::to_owned).context("the new key")?;
    ensure!(now != key, "with a key of its own");
    let late = other.evaluate(&publish).await?;
    ensure!(late["status"] == 401, "the old key lets nobody in: {late}");
    end(&page).await
}

#[tokio::test]
async fn host_goes_on_with_an_open_show_by_encoder_and_then_by_browser() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Begun in the app").await?;
    let browser = Browser::start()?;
    let page = host_at_work(&browser, &server, &show.host).await?;
    let seen = sees(&page, "the open show", |seen| seen["unfinished"][0] == "Begun in the app").await?;
    ensure!(seen["ways"] == 2, "from here, or by another program: {seen}");
    page.click(".unfinished-actions .open-room").await?;
    page.says("studioState", "show").await?;
    page.click(".key-maker button").await?;
    let seen =
        sees(&page, "the lines for encoders", |seen| seen["lines"].as_array().is_some_and(|l| l.len() == 6)).await?;
    let value = |id: &str| {
        let lines = seen["lines"].as_array().into_iter().flatten();
        lines
            .clone()
            .find(|line| line["id"] == id)
            .map(|line| (line["value"].as_str().unwrap_or_default().to_owned(), line["type"] == "password"))
    };
    let (rtmp, rtmp_hidden) = value("copy-server").context("the RTMP server")?;
    let (key, key_hidden) = value("copy-key").context("the key")?;
    ensure!(rtmp == show.rtmp_url && !rtmp_hidden && key_hidden && key != show.stream_key, "{seen}");
    let whip = value("copy-ffmpeg-whip").context("the WHIP line")?;
    ensure!(whip.0.contains(&format!("-authorization \"{key}\" \"{}/whip\"", server.base())) && whip.1, "{seen}");

    let again = Show { stream_key: key, ..show };
    let _encoder = again.publish(&server, &Picture::CLOCK)?;
    page.says("showStatus", "live").await?;
    ensure!(page.dataset("broadcastState").await?.is_none_or(|state| state == "idle"), "not from this page");

    // The page takes over; viewers would not notice.
    page.click("#card-actions .button").await?;
    page.says("broadcastState", "live").await?;
    end(&page).await?;
    let log = page.log().await?;
    ensure!(log.errors.is_empty(), "{log:?}");
    Ok(())
}

#[tokio::test]
async fn whoever_gets_no_camera_is_told_why_and_what_to_do() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let host = api.register("host").await?;
    let browser = Browser::start()?;
    let nobody = enter(&browser, &studio(&server), Visit { lang: Some("en"), ..Visit::default() }).await?;
    nobody.says("studioState", "gate").await?;

    let visit = || Visit { lang: Some("en"), account: Some(&host), ..Visit::default() };
    let refused = enter(&browser, &studio(&server), visit()).await?;
    refused.says("studioState", "setup").await?;
    refused.click("#card-actions .button").await?;
    refused.says("studioFault", "denied").await?;
    let seen = look(&refused).await?;
    ensure!(seen["card"].as_str().is_some_and(|card| card.contains("allow both")), "what to do: {seen}");
    refused.say("#field-title", "No camera, no show").await?;
    let mine = host.api.query("streaming.getMySessions", Value::Null).await?;
    ensure!(mine["sessions"] == json!([]), "no show is made before there is something to show: {mine}");

    let plain = format!("http://lan.test:{}/studio", server.http_port);
    let plain = enter(&browser, &plain, visit()).await?;
    plain.says("studioFault", "insecure").await?;
    let seen = look(&plain).await?;
    ensure!(seen["card"].as_str().is_some_and(|card| card.contains("chobi serve --self-signed")), "the mend: {seen}");
    ensure!(seen["ways"] == 1, "other programs can broadcast all the same: {seen}");
    plain.say("#field-title", "With OBS").await?;
    plain.says("studioState", "show").await?;
    sees(&plain, "the lines for OBS", |seen| seen["lines"].as_array().is_some_and(|lines| lines.len() == 6)).await?;
    Ok(())
}

/// Both languages, a phone and a desk: nothing red, nothing from elsewhere, nothing to scroll sideways. The pictures stay in
/// `target/e2e-screenshots`.
#[tokio::test]
async fn studio_is_clean_in_both_languages_on_phone_and_desk() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "حديث المساء").await?;
    let browser = Browser::start()?;
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../e2e-screenshots");
    std::fs::create_dir_all(&shots)?;
    for (lang, title) in [("ar", "أمسية عود من بغداد"), ("en", "An evening of oud from Baghdad")] {
        for width in [390, 1280] {
            let visit = Visit { lang: Some(lang), width: Some(width), account: Some(&show.host), devices: true };
            let page = enter(&browser, &studio(&server), visit).await?;
            let shot = async |name: &str| {
                let looked = format!("studio-{name}-{lang}-{width}");
                page.screenshot(&shots.join(format!("{looked}.png"))).await?;
                let aside =
                    page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
                ensure!(aside.await? == 0, "{looked}: something hangs out at the side");
                let log = page.log().await?;
                ensure!(log.errors.is_empty() && log.foreign.is_empty(), "{looked}: {log:?}");
                ensure!(log.refused.is_empty(), "{looked}: asked for what is not there: {log:?}");
                Ok(())
            };
            page.says("studioSource", "camera").await?;
            sees(&page, "the open show", |seen| seen["unfinished"][0] == "حديث المساء").await?;
            shot("setup").await?;
            begin(&page, title).await?;
            sees(&page, "figures", |seen| seen["state"]["sentKbps"].as_str().is_some_and(|rate| rate != "0")).await?;
            shot("live").await?;
            page.click("#encoders summary").await?;
            shot("lines").await?;
            end(&page).await?;
            shot("ended").await?;
            page.close().await?;
        }
    }
    Ok(())
}
