//! A viewer chooses how good the picture is: by the menu of the watch page, over WebRTC and over HLS, and by HTTP. The screenshots
//! stay in `target/e2e-screenshots`.

use crate::harness::wait::holds;
use crate::harness::{Api, Browser, Limit, Page, Server, Show, Visit, report, until};
use crate::pages::shots;
use crate::rewind::move_knob;
use crate::webrtc::{call, sees, stage, watch};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// A browser publishes one picture in three sizes.
async fn three_sizes(title: &str) -> Result<(Server, Show, Browser, Page)> {
    three_sizes_on(Server::start().await?, title).await
}

async fn three_sizes_on(server: Server, title: &str) -> Result<(Server, Show, Browser, Page)> {
    let api = Api::of(&server)?;
    let show = Show::create(&api, title).await?;
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
    Ok((server, show, browser, page))
}

/// Waits until the picture on the page is so wide.
async fn is_wide(page: &Page, width: u32) -> Result<()> {
    holds(Limit::MEDIA, &format!("a picture {width} pixels wide"), async || {
        let seen = page.evaluate("document.querySelector('#video').videoWidth").await?;
        ensure!(seen == width, "it is {seen}");
        Ok(true)
    })
    .await
}

/// Waits until the menu offers so many sizes besides the server's choice. Its words, and the value of what is chosen.
async fn menu(page: &Page, sizes: usize) -> Result<Value> {
    const MENU: &str = "(({ hidden, value, options }) => ({ hidden, value, options: [...options].map(({ value, text }) => [value, text]) }))
        (document.querySelector('#quality'))";
    until(Limit::MEDIA, &format!("a menu of {sizes} sizes"), async || {
        let menu = page.evaluate(MENU).await?;
        let options = menu["options"].as_array().context("options")?;
        ensure!(options.len() == sizes + 1 && menu["hidden"] == (sizes < 2), "it is {menu}");
        Ok(Some(menu))
    })
    .await
}

/// Takes an entry of the menu, and watches on.
async fn take(page: &Page, menu: &Value, place: usize) -> Result<()> {
    let value = menu["options"][place][0].as_str().context("an entry")?;
    page.choose("#quality", value).await
}

async fn chosen(page: &Page, value: &Value) -> Result<()> {
    holds(Limit::MEDIA, "the menu to say what is chosen", async || {
        let chosen = page.evaluate("document.querySelector('#quality').value").await?;
        ensure!(chosen == *value, "it says {chosen}, not {value}");
        Ok(true)
    })
    .await
}

#[tokio::test]
async fn a_viewer_chooses_the_smallest_picture_on_the_page_and_leaves_the_choice_to_the_server_again() -> Result<()> {
    let (server, show, browser, _host) = three_sizes("مساء الطرب من بغداد").await?;
    let address = format!("{}/watch/{}", server.base(), show.session_id);
    for (lang, width, words) in [
        ("ar", 360, ["تلقائية", "٧٢٠p", "٣٦٠p", "١٨٠p"]),
        ("ar", 1280, ["تلقائية", "٧٢٠p", "٣٦٠p", "١٨٠p"]),
        ("en", 360, ["Auto", "720p", "360p", "180p"]),
        ("en", 1280, ["Auto", "720p", "360p", "180p"]),
    ] {
        let page = browser.open(&address, Visit { lang: Some(lang), width: Some(width), ..Visit::default() }).await?;
        page.player_state("playing").await?;
        let menu = menu(&page, 3).await?;
        let offered: Vec<&str> = (0..4).filter_map(|place| menu["options"][place][1].as_str()).collect();
        ensure!(offered == words, "{lang}: {menu}");
        ensure!(page.dataset("playerTransport").await?.as_deref() == Some("whep"), "which one plays");
        is_wide(&page, 1280).await.context("the server's choice")?;
        take(&page, &menu, 3).await?;
        is_wide(&page, 320).await.context("the smallest")?;
        chosen(&page, &menu["options"][3][0]).await?;
        page.plays_on(2_000).await?;
        is_wide(&page, 320).await.context("and it stays")?;
        // The buttons rest while nobody moves.
        page.hover("#stage", 0.5).await?;
        page.screenshot(&shots()?.join(format!("quality-{lang}-{width}.png"))).await?;
        let hidden =
            "(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.querySelector('.controls'))";
        ensure!(page.evaluate(hidden).await? == 0, "{lang} {width}: buttons hang out of the player");
        take(&page, &menu, 0).await?;
        is_wide(&page, 1280).await.context("the server's choice again")?;
        chosen(&page, &json!("auto")).await?;
        let log = page.log().await?;
        ensure!(
            log.errors.is_empty() && log.refused.is_empty() && log.media.is_empty(),
            "nothing to see in red: {log:?}"
        );
        page.close().await?;
    }

    let page = browser.open(&format!("{address}?player=hls"), Visit { lang: Some("ar"), ..Visit::default() }).await?;
    page.player_state("playing").await?;
    let menu = menu(&page, 3).await?;
    take(&page, &menu, 3).await?;
    is_wide(&page, 320).await.context("the smallest over HLS")?;
    chosen(&page, &menu["options"][3][0]).await?;
    page.plays_on(2_000).await?;
    let log = page.log().await?;
    ensure!(log.errors.is_empty(), "over HLS: {log:?}");
    Ok(())
}

#[tokio::test]
async fn a_choice_means_the_same_picture_whichever_others_come_and_go() -> Result<()> {
    let (server, show, browser, host) = three_sizes("Three sizes").await?;
    let address = format!("{}/watch/{}", server.base(), show.session_id);
    let page = browser.open(&address, Visit { lang: Some("en"), ..Visit::default() }).await?;
    page.player_state("playing").await?;
    let three = menu(&page, 3).await?;
    take(&page, &three, 2).await?;
    is_wide(&page, 640).await.context("the middle one")?;

    call(&host, "send('host', 'r2', false)").await?;
    let two = menu(&page, 2).await.context("the smallest is off the air")?;
    ensure!(two["value"] == three["options"][2][0], "still chosen: {two}");
    page.plays_on(3_000).await?;
    is_wide(&page, 640).await.context("though its place is another one now")?;

    call(&host, "send('host', 'r1', false)").await?;
    is_wide(&page, 1280).await.context("what was chosen is off the air too")?;
    let one = menu(&page, 1).await.context("nothing to choose from")?;
    ensure!(one["value"] == "auto", "{one}");
    call(&host, "send('host', 'r1', true)").await?;
    is_wide(&page, 640).await.context("it is back, and so is the choice")?;
    chosen(&page, &three["options"][2][0]).await?;

    // A page that is left and come back to connects anew, and asks for the same.
    const LEFT: &str = "for (const name of ['pagehide', 'pageshow']) dispatchEvent(new PageTransitionEvent(name, { persisted: true }))";
    page.evaluate(&format!("void (() => {{ {LEFT} }})()")).await?;
    holds(Limit::MEDIA, "another connection", async || {
        Ok(server.metric("chobi_webrtc_peers_closed_total").await? >= 1.0)
    })
    .await?;
    page.plays_on(3_000).await?;
    is_wide(&page, 640).await.context("the choice outlives its connection")?;
    let log = page.log().await?;
    ensure!(log.errors.is_empty(), "nothing to see in red: {log:?}");
    Ok(())
}

#[tokio::test]
async fn a_choice_goes_along_when_the_picture_comes_another_way() -> Result<()> {
    let settings = [("CHOBI_HLS__SEGMENT_DURATION", "1s"), ("CHOBI_HLS__DVR_WINDOW", "2h")];
    let (server, show, browser, _host) = three_sizes_on(Server::start_with(&settings, &[]).await?, "Two ways").await?;
    let address = format!("{}/watch/{}", server.base(), show.session_id);
    let page = browser.open(&address, Visit { lang: Some("en"), ..Visit::default() }).await?;
    page.says("playerTransport", "whep").await?;
    page.player_state("playing").await?;
    let whep = menu(&page, 3).await?;
    take(&page, &whep, 3).await?;
    is_wide(&page, 320).await.context("by WebRTC")?;
    holds(Limit::MEDIA, "something to go back to", async || {
        Ok(page.evaluate("Number(document.querySelector('#rewind-bar').min) <= -12").await? == true)
    })
    .await?;
    move_knob(&page, -10).await?;
    page.says("playerTransport", "hls").await?;
    page.player_state("playing").await?;
    page.plays_on(3_000).await?;
    is_wide(&page, 320).await.context("by HLS")?;
    let hls = menu(&page, 3).await?;
    chosen(&page, &hls["options"][3][0]).await?;

    take(&page, &hls, 2).await?;
    is_wide(&page, 640).await.context("another choice")?;
    page.click("#to-live").await?;
    page.says("playerTransport", "whep").await?;
    is_wide(&page, 640).await.context("by WebRTC again")?;
    chosen(&page, &whep["options"][2][0]).await?;
    Ok(())
}

#[tokio::test]
async fn layers_are_listed_and_chosen_from_by_http() -> Result<()> {
    let (_server, show, _browser, page) = three_sizes("By HTTP").await?;
    watch(&page, "viewer", &show).await?;
    let width = async |wanted: u32| {
        until(Limit::MEDIA, &format!("a picture {wanted} pixels wide"), async || {
            let seen = sees(&page, "viewer", 30.0).await?;
            Ok((seen["video"]["frameWidth"] == wanted).then_some(()))
        })
        .await
    };
    width(1280).await?;
    let listed = call(&page, "layersOf('viewer')").await?;
    report!("layers: {}", listed["said"]);
    let layers = listed["said"]["0"]["layers"].as_array().context("a list")?;
    let sizes: Vec<_> = layers.iter().map(|layer| (layer["rid"].as_str(), layer["width"].as_u64())).collect();
    ensure!(sizes == [(Some("r0"), Some(1280)), (Some("r1"), Some(640)), (Some("r2"), Some(320))], "{listed}");
    ensure!(layers.iter().all(|layer| layer["bitrate"].as_u64() > Some(0)), "measured: {listed}");
    ensure!(layers[0]["sent"] == true && layers[1]["sent"] == false, "which one is sent: {listed}");

    let answer = call(&page, "layersOf('viewer', { mediaId: '0', encodingId: 'r2' })").await?;
    ensure!(answer["status"] == 200 && answer["said"]["0"]["chosen"] == json!({ "rid": "r2" }), "{answer}");
    width(320).await?;
    let answer = call(&page, "layersOf('viewer', { maxHeight: 400 })").await?;
    ensure!(answer["said"]["0"]["chosen"] == json!({ "maxHeight": 400 }), "{answer}");
    width(640).await?;
    let unknown = call(&page, "layersOf('viewer', { rid: 'r9' })").await?;
    let reason = unknown["said"]["detail"].as_str().unwrap_or_default();
    ensure!(unknown["status"] == 422 && reason.contains("r0, r1, r2"), "{unknown}");
    let elsewhere = call(&page, "layersOf('viewer', { mediaId: '1' })").await?;
    ensure!(elsewhere["status"] == 422, "sound has no layers: {elsewhere}");
    let wrong = call(&page, "layersOf('viewer', { quality: 'best' })").await?;
    ensure!(wrong["status"] == 400, "{wrong}");
    let stranger = call(&page, "layersOf('viewer', null, '/whep/r/0123456789')").await?;
    ensure!(stranger["status"] == 404, "{stranger}");
    ensure!(call(&page, "layersOf('viewer', {})").await?["said"]["0"]["chosen"] == json!({}), "the server's choice");
    width(1280).await?;
    let location = call(&page, "peers.viewer.location").await?;
    ensure!(call(&page, "hangUp('viewer')").await? == 200, "DELETE ends it");
    let gone = call(&page, &format!("layersOf('viewer', null, {location})")).await?;
    ensure!(gone["status"] == 404, "{gone}");
    Ok(())
}
