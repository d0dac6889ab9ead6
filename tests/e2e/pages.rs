//! The pages as people see them: both languages, a phone and a desk, nothing red in the developer tools, nothing from
//! elsewhere, nothing to scroll sideways. The screenshots stay in `target/e2e-screenshots` for whoever wants to look.

use crate::harness::{Api, Browser, Page, Picture, Server, Show, Visit};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

const WIDTHS: [u32; 2] = [360, 1280];
const LANGUAGES: [(&str, &str); 2] = [("ar", "rtl"), ("en", "ltr")];

#[tokio::test]
async fn pages_are_clean_in_both_languages_on_phone_and_desk() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let browser = Browser::start()?;
    each_look(&browser, &server.base(), "home-empty", async |_| Ok(())).await?;

    let show = Show::create(&api, "مساء الطرب من بغداد").await?;
    let waiting = format!("{}/watch/{}?player=hls", server.base(), show.session_id);
    each_look(&browser, &waiting, "watch-waiting", async |page| page.player_state("waiting").await).await?;

    let _encoder = show.publish(&server, &Picture::CLOCK)?;
    show.listed(&api).await?;
    each_look(&browser, &server.base(), "home-live", async |page| {
        let title = format!("document.body.innerText.includes({:?})", "مساء الطرب من بغداد");
        crate::harness::wait::holds(crate::harness::Limit::EVENT, "the show to be listed on the page", async || {
            Ok(page.evaluate(&title).await? == true)
        })
        .await
    })
    .await?;
    each_look(&browser, &waiting, "watch-live", async |page| page.player_state("playing").await).await?;

    crate::harness::until(crate::harness::Limit::MEDIA, "some seconds of the show", async || {
        let viewer = show.viewer()?;
        let video = viewer.renditions().await?.video.context("a picture")?;
        Ok((viewer.playlist(&video).await?.segments.len() >= 4).then_some(()))
    })
    .await?;
    let said = serde_json::json!({ "sessionId": show.session_id, "message": "يا سلام، صوت جميل!" });
    show.host.api.mutate("chat.sendMessage", said).await?;
    let (never_live, _) = (Show::create_for(api.register("quiet").await?, "Never begun").await?, show.end().await?);
    never_live.end().await?;
    each_look(&browser, &waiting, "watch-replay", async |page| {
        page.says("playerMode", "replay").await?;
        page.player_state("playing").await?;
        // Near the end, where the line is, and still, with its buttons.
        page.evaluate(
            "void (document.querySelector('video').currentTime = document.querySelector('#seek-bar').max - 0.5)",
        )
        .await?;
        crate::harness::wait::holds(crate::harness::Limit::EVENT, "the line to be shown", async || {
            Ok(page.evaluate("document.querySelectorAll('.chat-line').length").await? == 1)
        })
        .await?;
        page.player_state("paused").await
    })
    .await?;
    each_look(&browser, &server.base(), "home-replays", async |page| {
        crate::harness::wait::holds(crate::harness::Limit::EVENT, "the replay to be listed on the page", async || {
            Ok(page.evaluate("document.querySelectorAll('#replays article').length").await? == 1)
        })
        .await?;
        page.evaluate("document.querySelector('#replays').scrollIntoView({ block: 'end' })").await.map(drop)
    })
    .await?;
    let ended = format!("{}/watch/{}", server.base(), never_live.session_id);
    each_look(&browser, &ended, "watch-ended", async |page| page.player_state("ended").await).await
}

async fn each_look(browser: &Browser, url: &str, name: &str, ready: impl AsyncFn(&Page) -> Result<()>) -> Result<()> {
    for (lang, dir) in LANGUAGES {
        for width in WIDTHS {
            let look = format!("{name}-{lang}-{width}");
            let page = browser.open(url, Visit { lang: Some(lang), width: Some(width), ..Visit::default() }).await?;
            ready(&page).await.with_context(|| look.clone())?;
            page.screenshot(&shots()?.join(format!("{look}.png"))).await?;
            is_clean(&page, lang, dir).await.with_context(|| look.clone())?;
            page.close().await?;
        }
    }
    Ok(())
}

async fn is_clean(page: &Page, lang: &str, dir: &str) -> Result<()> {
    let shown =
        page.evaluate("[document.documentElement.lang, getComputedStyle(document.documentElement).direction]").await?;
    ensure!(shown[0] == lang && shown[1] == dir, "language and direction: {shown}");
    let room = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth").await?;
    ensure!(room == 0, "{room} pixels hang out at the side");
    let log = page.log().await?;
    ensure!(log.errors.is_empty(), "red in the console: {:?}", log.errors);
    ensure!(log.foreign.is_empty(), "fetched from elsewhere: {:?}", log.foreign);
    // A show without a playlist yet is a 404 that the page asks for again.
    let refused: Vec<_> = log.refused.iter().filter(|line| !line.contains("/hls/")).collect();
    ensure!(refused.is_empty(), "asked for what is not there: {refused:?}");
    Ok(())
}

pub(crate) fn shots() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../e2e-screenshots");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
