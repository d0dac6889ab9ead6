//! How soon there is something: the server ready, the demo's picture on a newcomer's screen.

use crate::harness::wait::holds;
use crate::harness::{Api, Browser, Encoder, Limit, Picture, Server, Show, Visit, loopback_addresses, report, until};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Instant;

#[tokio::test]
async fn starts_ready_and_stops_clean() -> Result<()> {
    let mut server = Server::start().await?;
    let log = server.log();
    let said = log.split_once("is ready in ").and_then(|(_, rest)| rest.split_once(" ms")).map(|(ms, _)| ms);
    report!("ready in {} ms by its own clock", said.context("it says so")?);
    let alive = reqwest::get(format!("http://127.0.0.1:{}/healthz", server.ops_port)).await?;
    ensure!(alive.status().is_success(), "alive: {alive:?}");
    let outside = reqwest::get(format!("{}/metrics", server.base())).await?;
    ensure!(outside.status() == 404, "operators' pages are not on the public port: {outside:?}");
    let status = reqwest::get(format!("{}/api", server.base())).await?.text().await?;
    ensure!(status.contains("\"status\":\"ok\""), "as the app asks for it: {status}");
    let newer = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build()?;
    let status = newer.get(format!("{}/api", server.base())).send().await?;
    ensure!(
        status.version() == reqwest::Version::HTTP_2 && status.status().is_success(),
        "HTTP/2 without TLS: {status:?}"
    );
    let asked = Instant::now();
    server.stop().await?;
    report!("stopped after {} ms", asked.elapsed().as_millis());
    Ok(())
}

#[tokio::test]
async fn each_port_takes_ipv6_and_ipv4() -> Result<()> {
    let server = Server::start_on_both_versions(&[]).await?;
    let api = Api::of(&server)?;
    for host in loopback_addresses() {
        let name = if host.is_ipv6() { "six" } else { "four" };
        let show = Show::create_for(api.register(name).await?, "By one version of IP").await?;
        let (rtmp, http) = (SocketAddr::new(host, server.rtmp_port), SocketAddr::new(host, server.http_port));
        let url = format!("rtmp://{rtmp}/live/{}", show.stream_key);
        let _encoder = Encoder::ffmpeg(&Picture::CLOCK, &url, server.scratch())?;
        show.listed(&api).await?;
        let playlist = format!("http://{http}/hls/{}/index.m3u8", show.session_id);
        holds(Limit::MEDIA, "a playlist", async || Ok(reqwest::get(&playlist).await?.status().is_success())).await?;
    }
    let log = server.log();
    ensure!(!log.contains("::ffff:"), "IPv4 addresses are written as such: {log}");
    Ok(())
}

#[tokio::test]
async fn demo_is_a_picture_within_seconds() -> Result<()> {
    let server = Server::start_with(&[], &["--demo"]).await?;
    // From here, for the walk may have waited for its turn before.
    let asked = Instant::now();
    let api = Api::of(&server)?;
    let item = until(Limit::MEDIA, "the demo to be live", async || {
        let answer = api.query("streaming.getActiveSessions", json!({})).await?;
        Ok(answer["sessions"].get(0).cloned())
    })
    .await?;
    let id = item["id"].as_str().context("it has an id")?;
    let browser = Browser::start()?;
    let page = browser.open(&format!("{}/watch/{id}?player=hls", server.base()), Visit::default()).await?;
    page.player_state("playing").await?;
    report!(
        "the demo is on the screen {} ms after the server is ready, the start of the browser included",
        asked.elapsed().as_millis()
    );
    let clip_loops =
        async || Ok(page.played_ms().await? > 0 && page.dataset("playerState").await?.as_deref() == Some("playing"));
    holds(Limit::EVENT, "the clip to move", clip_loops).await?;
    page.plays_on(4_000).await?;
    let log = page.log().await?;
    ensure!(log.errors.is_empty() && log.foreign.is_empty(), "nothing to complain about: {log:?}");
    Ok(())
}
