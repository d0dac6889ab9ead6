//! Going back in a live show, on the page and in the playlist: what is older than the window in memory comes from the disk.

use crate::harness::wait::holds;
use crate::harness::{Api, Browser, Limit, Page, Picture, Server, Show, Visit, report};
use crate::pages::shots;
use anyhow::{Result, ensure};

/// How far behind live the picture is, by its own clock.
async fn delay_ms(page: &Page) -> Result<f64> {
    Ok(page.dataset("delayMs").await?.and_then(|text| text.parse().ok()).unwrap_or(f64::NAN))
}

/// Sets the knob as a finger does.
pub(crate) async fn move_knob(page: &Page, seconds: i32) -> Result<()> {
    let script = format!(
        "(() => {{ const bar = document.querySelector('#rewind-bar'); bar.value = '{seconds}'; \
         for (const name of ['input', 'change']) bar.dispatchEvent(new Event(name)); return bar.value; }})()"
    );
    let value = page.evaluate(&script).await?;
    ensure!(value == seconds.to_string().as_str(), "the bar goes that far: {value}");
    Ok(())
}

#[tokio::test]
async fn viewer_goes_back_in_a_live_show_and_returns() -> Result<()> {
    let settings =
        [("CHOBI_HLS__SEGMENT_DURATION", "1s"), ("CHOBI_HLS__WINDOW_SEGMENTS", "6"), ("CHOBI_HLS__DVR_WINDOW", "2h")];
    let server = Server::start_with(&settings, &[]).await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "مساء طويل").await?;
    let _encoder = show.publish(&server, &Picture::CLOCK)?;
    show.listed(&api).await?;
    let browser = Browser::start()?;
    let watch = format!("{}/watch/{}", server.base(), show.session_id);
    for (lang, shot) in [("ar", "rewind-ar.png"), ("en", "rewind-en.png")] {
        let page = browser.open(&watch, Visit { lang: Some(lang), ..Visit::default() }).await?;
        page.player_state("playing").await?;
        page.says("playerTransport", "whep").await?;
        holds(Limit::MEDIA, "something to go back to", async || {
            let shown =
                "!document.querySelector('#rewind').hidden && Number(document.querySelector('#rewind-bar').min) <= -15";
            Ok(page.evaluate(shown).await? == true)
        })
        .await?;

        move_knob(&page, -14).await?;
        page.says("playerTransport", "hls").await?;
        holds(Limit::MEDIA, "the picture of fourteen seconds ago", async || {
            Ok((11_000.0..18_000.0).contains(&delay_ms(&page).await?))
        })
        .await?;
        page.player_state("playing").await?;
        page.plays_on(3_000).await?;
        // Six segments of one second are in memory.
        let back = page.seen_delay_ms(18_000.0).await?;
        ensure!(back > 11_000.0, "it plays on there and does not catch up: {back} ms");
        report!("went back to {back} ms behind live by the picture's clock");
        page.evaluate("document.querySelector('#stage').dispatchEvent(new PointerEvent('pointermove'))").await?;
        page.screenshot(&shots()?.join(shot)).await?;

        page.click("#to-live").await?;
        page.says("playerTransport", "whep").await?;
        holds(Limit::MEDIA, "the live picture", async || Ok(delay_ms(&page).await? < 3_000.0)).await?;
        page.player_state("playing").await?;
        page.close().await?;
    }
    Ok(())
}
