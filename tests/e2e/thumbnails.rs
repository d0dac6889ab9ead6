//! A live show has a picture that follows it; its replay has a poster and shows what is where on its seek bar. A private show
//! shows nobody anything.

use crate::harness::api::text;
use crate::harness::wait::holds;
use crate::harness::{Account, Api, Browser, Limit, Page, Picture, Server, Show, Visit, probe, until};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::Path;

/// Often, so that a short show has several.
const SETTINGS: [(&str, &str); 1] = [("CHOBI_HLS__THUMBNAIL_INTERVAL", "2s")];
/// The newest picture of a show's seek bar, as the page shows it.
const PREVIEW: &str = "(() => { const image = document.querySelector('#seek-preview-image'); \
    return document.querySelector('#seek-preview').hidden || image.hidden || !image.complete ? null \
    : [new URL(image.src).pathname, image.naturalWidth, image.naturalHeight, document.querySelector('#seek-preview-time').textContent]; })()";

/// The thumbnail of a session in what everybody sees as live.
async fn thumbnail(show: &Show, api: &Api) -> Result<String> {
    until(Limit::MEDIA, "the show to have a picture", async || {
        let listed = show.in_list(api).await?;
        Ok(listed.and_then(|session| session["thumbnail"].as_str().map(str::to_owned)))
    })
    .await
}

async fn is_picture(url: &str) -> Result<()> {
    let tracks = probe::tracks(url).await?;
    let seen = &tracks.first().context("a picture")?;
    ensure!(seen["codec_name"] == "mjpeg" && seen["width"] == 320 && seen["height"] == 180, "{seen}");
    probe::decodes(url).await
}

/// The address of the picture that a card or a poster shows; null while it is the generated cover.
async fn shown(page: &Page, holder: &str) -> Result<Option<String>> {
    let script = format!(
        "(() => {{ const first = document.querySelector('{holder}')?.firstElementChild; \
         return first instanceof HTMLImageElement && first.naturalWidth === 320 ? first.src : null; }})()"
    );
    Ok(page.evaluate(&script).await?.as_str().map(str::to_owned))
}

#[tokio::test]
async fn a_show_is_seen_before_it_is_opened_and_its_replay_before_it_is_sought() -> Result<()> {
    let server = Server::start_with(&SETTINGS, &[]).await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "ليلة في بغداد").await?;
    let (id, watch) = (&show.session_id, format!("{}/watch/{}", server.base(), show.session_id));
    let encoder = show.publish(&server, &Picture::CLOCK)?;
    let url = thumbnail(&show, &api).await?;
    ensure!(url == format!("{}/hls/{id}/thumbnail.jpg", server.base()), "{url}");
    is_picture(&url).await?;
    let answer = reqwest::get(&url).await?;
    ensure!(answer.headers()["cache-control"] == "max-age=5" && answer.headers().contains_key("etag"), "{answer:?}");

    // The card follows the show, in place.
    let browser = Browser::start()?;
    let home = browser.open(&server.base(), Visit { lang: Some("ar"), ..Visit::default() }).await?;
    let first = until(Limit::EVENT, "the card to show the picture", async || shown(&home, ".card-art").await).await?;
    home.evaluate("void (window.card = document.querySelector('.card'))").await?;
    holds(Limit::MEDIA, "the card to show a newer picture", async || {
        Ok(shown(&home, ".card-art").await?.is_some_and(|now| now != first))
    })
    .await?;
    ensure!(home.evaluate("window.card === document.querySelector('.card')").await? == true, "the card stays");
    ensure!(home.log().await?.errors.is_empty(), "{:?}", home.log().await?);
    home.close().await?;
    until(Limit::MEDIA, "some seconds of the show", async || {
        let viewer = show.viewer()?;
        let video = viewer.renditions().await?.video.context("a picture")?;
        Ok((viewer.playlist(&video).await?.segments.len() >= 6).then_some(()))
    })
    .await?;

    show.end().await?;
    drop(encoder);
    let video = until(Limit::EVENT, "the replay to be listed", async || {
        let list = api.query("videos.getVideos", json!({})).await?;
        Ok(list["videos"].as_array().context("a list")?.first().cloned())
    })
    .await?;
    ensure!(video["thumbnail"] == url, "{video}");
    is_picture(&format!("{}/hls/{id}/replay/thumbnail.jpg", server.base())).await?;
    let index = reqwest::get(format!("{}/hls/{id}/replay/thumbnails.vtt", server.base())).await?.text().await?;
    let pictures: Vec<&str> = index.lines().filter(|line| line.ends_with(".jpg")).collect();
    ensure!(pictures.len() >= 3, "{index}");
    for picture in pictures {
        is_picture(&format!("{}/hls/{id}/replay/{picture}", server.base())).await?;
    }

    for (lang, width) in [("en", 1280), ("ar", 1280), ("en", 360), ("ar", 360)] {
        let page = browser.open(&watch, Visit { lang: Some(lang), width: Some(width), ..Visit::default() }).await?;
        page.says("playerMode", "replay").await?;
        page.player_state("playing").await?;
        page.click("#toggle").await?;
        page.player_state("paused").await?;
        until(Limit::EVENT, "the poster", async || shown(&page, "#poster").await).await?;
        let (early, late) = (previewed(&page, 0.05, width).await?, previewed(&page, 0.9, width).await?);
        ensure!(early[0] != late[0], "another picture elsewhere: {early} {late}");
        let length = page.evaluate("Number(document.querySelector('#seek-bar').max)").await?;
        let place = length.as_f64().context("a length")? * 0.05;
        let shown = early[3].as_str().and_then(|time| time.strip_prefix("00:")?.parse::<f64>().ok());
        ensure!(
            lang == "ar" || shown.is_some_and(|shown| (shown - place).abs() <= 1.1),
            "its time, {place}, is beneath: {early}"
        );
        is_above_its_place(&page, 0.9).await?;
        page.screenshot(&shots()?.join(format!("replay-preview-{lang}-{width}.png"))).await?;
        ensure!(page.log().await?.errors.is_empty(), "{:?}", page.log().await?);
        page.close().await?;
    }
    ensure!(server.metric("chobi_thumbnails_made_total").await? >= 3.0, "they are counted");
    ensure!(server.metric("chobi_thumbnails_failed_total").await? == 0.0, "none failed");
    Ok(())
}

/// What the seek bar shows for a place: under the mouse, or on a phone under a finger that holds the knob.
async fn previewed(page: &Page, share: f64, width: u32) -> Result<Value> {
    if width >= 600 {
        page.hover("#seek-bar", share).await?;
    } else {
        let held = format!(
            "(() => {{ const bar = document.querySelector('#seek-bar'); bar.value = bar.max * {share}; \
             bar.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()"
        );
        page.evaluate(&held).await?;
    }
    let seen = until(Limit::EVENT, "the picture of that place", async || {
        let seen = page.evaluate(PREVIEW).await?;
        Ok((!seen.is_null()).then_some(seen))
    })
    .await?;
    ensure!(seen[1] == 320 && seen[2] == 180, "{seen}");
    Ok(seen)
}

/// Left to right in both languages, within the bar.
async fn is_above_its_place(page: &Page, share: f64) -> Result<()> {
    let boxes = page
        .evaluate(
            "['#seek-bar', '#seek-preview', '#stage'].map((name) => { const box = document.querySelector(name).getBoundingClientRect(); \
             return [box.left, box.right, box.top, box.bottom]; })",
        )
        .await?;
    let at = |one: usize, side: usize| boxes[one][side].as_f64().unwrap_or(f64::NAN);
    let place = at(0, 0) + share * (at(0, 1) - at(0, 0));
    ensure!(at(1, 0) <= place && place <= at(1, 1), "the preview stands elsewhere: {boxes}");
    ensure!(at(1, 0) >= at(0, 0) - 1.0 && at(1, 1) <= at(0, 1) + 1.0, "it hangs out at the side: {boxes}");
    ensure!(at(1, 3) <= at(0, 2) + 1.0 && at(1, 2) >= at(2, 2), "it is above the bar and within the player: {boxes}");
    Ok(())
}

#[tokio::test]
async fn a_private_show_is_seen_with_a_ticket_alone() -> Result<()> {
    let server = Server::start_with(&SETTINGS, &[]).await?;
    let api = Api::of(&server)?;
    let host = api.register("host").await?;
    let show = Show::create_with(host, json!({ "title": "Among us", "type": "video", "isPrivate": true })).await?;
    let encoder = show.publish(&server, &Picture::CLOCK)?;
    let picture = format!("{}/hls/{}/thumbnail.jpg", server.base(), show.session_id);
    let ticket = until(Limit::MEDIA, "the host's ticket", async || ticket(&show.host, &show.session_id).await).await?;
    holds(Limit::MEDIA, "the picture for the ticket", async || {
        Ok(reqwest::get(format!("{picture}?ticket={ticket}")).await?.status() == 200)
    })
    .await?;
    let refused = reqwest::get(&picture).await?;
    ensure!(refused.status() == 403, "{refused:?}");
    let own = show.in_list(&show.host.api).await?.context("the host sees it")?;
    ensure!(own["thumbnail"].is_null(), "nobody is told of a picture that needs a ticket: {own}");
    until(Limit::MEDIA, "some seconds of the show", async || {
        Ok((server.metric("chobi_thumbnails_made_total").await? >= 3.0).then_some(()))
    })
    .await?;
    show.end().await?;
    drop(encoder);

    let watch = format!("{}/watch/{}", server.base(), show.session_id);
    let browser = Browser::start()?;
    let visit = Visit { account: Some(&show.host), lang: Some("en"), width: Some(1280), ..Visit::default() };
    let page = browser.open(&watch, visit).await?;
    page.says("playerMode", "replay").await?;
    page.player_state("playing").await?;
    previewed(&page, 0.5, 1280).await?;
    ensure!(page.log().await?.errors.is_empty(), "{:?}", page.log().await?);
    for path in ["thumbnail.jpg", "thumbnails.vtt", "replay/thumbnail.jpg", "replay/v0/0/1.jpg"] {
        let status = reqwest::get(format!("{}/hls/{}/{path}", server.base(), show.session_id)).await?.status();
        ensure!(status == 403, "{path} answers {status}");
    }
    Ok(())
}

async fn ticket(host: &Account, session_id: &str) -> Result<Option<String>> {
    let joined = host.api.mutate("streaming.joinSession", json!({ "sessionId": session_id })).await?;
    Ok(Some(text(&joined["viewerSession"], "token")?))
}

fn shots() -> Result<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../e2e-screenshots");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
