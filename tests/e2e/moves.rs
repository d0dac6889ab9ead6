//! A client that moves stays the same peer: behind a router that gives it other ports, and through ICE restarts that the browser
//! asks for. Nobody is counted twice, and the picture goes on.

use crate::harness::{Api, Browser, Limit, Page, Router, Server, Show, report, router, until};
use crate::webrtc::{call, sees, stage, watch};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A browser publishes, and watches itself.
async fn on_air(server: &Server, title: &str) -> Result<(Show, Browser, Page)> {
    let api = Api::of(server)?;
    let show = Show::create(&api, title).await?;
    let browser = Browser::start()?;
    let page = stage(&browser, server).await?;
    let answer = call(&page, &format!("publishByWhip('host', '/whip', '{}')", show.stream_key)).await?;
    ensure!(answer["status"] == 201, "{answer}");
    show.listed(&api).await?;
    watch(&page, "viewer", &show).await?;
    sees(&page, "viewer", 60.0).await?;
    Ok((show, browser, page))
}

/// Frames that the viewer has decoded.
async fn decoded(page: &Page) -> Result<f64> {
    let seen = call(page, "look('viewer')").await?;
    seen["video"]["framesDecoded"].as_f64().with_context(|| format!("frames in {seen}"))
}

/// Open now.
async fn peers(server: &Server, role: &str) -> Result<f64> {
    server.metric_where("chobi_webrtc_peers", &format!("role=\"{role}\"")).await
}

#[tokio::test]
async fn a_router_that_gives_other_ports_is_not_noticed() -> Result<()> {
    let outside = router::ADDRESS.to_string();
    // Several workers: the new port may lead to another than the one that has the peer.
    let settings = [("CHOBI_WEBRTC__EXTERNAL_ADDRESSES", outside.as_str()), ("CHOBI_WEBRTC__WORKERS", "3")];
    let server = Server::start_with(&settings, &[]).await?;
    let router = Router::before(server.webrtc_port).await?;
    let (_show, _browser, page) = on_air(&server, "On the move").await?;
    for round in 1..=2 {
        let before = decoded(&page).await?;
        router.restart();
        let seen = sees(&page, "viewer", before + 90.0).await?;
        ensure!(seen["state"] == "connected", "{seen}");
        report!("after restart {round} of the router: {seen}");
    }
    ensure!(peers(&server, "publisher").await? == 1.0 && peers(&server, "viewer").await? == 1.0, "the same two peers");
    ensure!(server.metric("chobi_webrtc_peers_closed_total").await? == 0.0, "and never others");
    Ok(())
}

#[tokio::test]
async fn ice_restarts_of_a_browser_keep_picture_and_peer() -> Result<()> {
    let server = Server::start().await?;
    let (show, _browser, page) = on_air(&server, "Once more").await?;
    let key = &show.stream_key;
    for (name, token) in
        [("viewer", "undefined".to_owned()), ("host", format!("'{key}'")), ("viewer", "undefined".to_owned())]
    {
        let restarted = call(&page, &format!("restartIce('{name}', {token})")).await?;
        ensure!(restarted["status"] == 200, "{name}: {restarted}");
        ensure!(restarted["before"] != restarted["after"], "{name} has other credentials: {restarted}");
        let before = decoded(&page).await?;
        let seen = sees(&page, "viewer", before + 60.0).await?;
        ensure!(seen["state"] == "connected", "{name}: {seen}");
        // The browser gathers anew first, and this page encodes and decodes in software meanwhile.
        until(Limit::MEDIA, "the path of the new credentials", async || {
            let pair: Value = call(&page, &format!("pathOf('{name}')")).await?;
            Ok((pair == restarted["after"]).then_some(()))
        })
        .await
        .with_context(|| format!("{name} after {restarted}"))?;
    }
    ensure!(peers(&server, "publisher").await? == 1.0 && peers(&server, "viewer").await? == 1.0, "the same two peers");
    Ok(())
}
