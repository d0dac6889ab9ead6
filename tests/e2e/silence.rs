//! Peers that are gone from one moment to the next, without a goodbye: missed once, their places free again, and whoever
//! is left goes on.

use crate::harness::peer::{Peer, Script, Way};
use crate::harness::wait::holds;
use crate::harness::{Api, Limit, Room, Server, Show, report};
use anyhow::{Context, Result, ensure};
use reqwest::StatusCode;
use serde_json::json;
use std::time::{Duration, Instant};

/// `webrtc.silence_timeout` as it is by default, and how long before a peer's end the server may have heard it last: it
/// reports and checks every few seconds.
const SILENCE: Duration = Duration::from_secs(15);
const HEARD_EVERY: Duration = Duration::from_secs(6);

/// Open now, by role; closed for silence; watching.
async fn figures(server: &Server) -> Result<[f64; 4]> {
    Ok([
        server.metric_where("chobi_webrtc_peers", "role=\"publisher\"").await?,
        server.metric_where("chobi_webrtc_peers", "role=\"viewer\"").await?,
        server.metric_where("chobi_webrtc_peers_closed_total", "reason=\"silent\"").await?,
        server.metric_where("chobi_viewers", "transport=\"whep\"").await?,
    ])
}

#[tokio::test]
async fn whoever_falls_silent_is_missed_once_and_a_host_who_returns_finds_the_others_waiting() -> Result<()> {
    // With the host and both viewers it is full.
    let server = Server::start_with(&[("CHOBI_WEBRTC__MAX_PEERS", "3")], &[]).await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Without a goodbye").await?;
    let room = Room::join(&server, &show.session_id, None).await?;
    let way = Way::loopback(&server);
    let (whip, whep) = (format!("{}/whip", server.base()), format!("{}/whep/{}", server.base(), show.session_id));
    let key = Some(show.stream_key.as_str());
    let host = Peer::open(&whip, key, Some(Script::new()), way).await?;
    show.listed(&api).await?;
    let (stays, dies) = (Peer::open(&whep, None, None, way).await?, Peer::open(&whep, None, None, way).await?);
    holds(Limit::MEDIA, "both to watch", async || Ok(stays.pictures() >= 30 && dies.pictures() >= 30)).await?;
    room.next("viewer_joined", |frame| frame["data"]["viewerCount"] == 2).await?;
    let refused = Peer::open(&whep, None, None, way).await.err().context("nobody else has a place")?;
    ensure!(format!("{refused:#}").contains("503"), "the reason: {refused:#}");

    let (cut, resource) = (Instant::now(), dies.resource.clone());
    dies.vanish().await?;
    host.vanish().await?;
    holds(Limit::MEDIA, "both to be missed", async || {
        let figures = figures(&server).await?;
        ensure!(figures == [0.0, 1.0, 2.0, 1.0], "publishers, viewers, silent, watching: {figures:?}");
        Ok(true)
    })
    .await?;
    let missed = cut.elapsed();
    ensure!(missed > SILENCE - HEARD_EVERY, "a pause of {missed:?} is no end");
    report!("missed {missed:.1?} after they were gone");
    room.next("viewer_left", |frame| frame["data"]["viewerCount"] == 1).await?;
    room.next("session_status", |frame| frame["data"]["status"] == "interrupted").await?;
    holds(Limit::EVENT, "the API to say so", async || {
        let found = api.query("streaming.getSession", json!({ "sessionId": show.session_id })).await?;
        ensure!(found["isInterrupted"] == true && found["session"]["viewerCount"] == 1, "it says {found}");
        Ok(true)
    })
    .await?;
    let gone = reqwest::Client::new().delete(&resource).send().await?.status();
    ensure!(gone == StatusCode::NOT_FOUND, "nothing is left to delete: {gone}");

    let seen = stays.pictures();
    let _host = Peer::open(&whip, key, Some(Script::new()), way).await.context("the host's own place is free")?;
    holds(Limit::MEDIA, "the viewer who stayed to see the host again", async || Ok(stays.pictures() >= seen + 30))
        .await?;
    holds(Limit::EVENT, "the room to hear that it goes on", async || {
        Ok(room.all("session_status").last().is_some_and(|last| last["data"]["status"] == "live"))
    })
    .await?;
    let newcomer = Peer::open(&whep, None, None, way).await.context("the dead viewer's place is free")?;
    holds(Limit::MEDIA, "a newcomer to watch", async || Ok(newcomer.pictures() >= 30)).await?;
    holds(Limit::EVENT, "the room to hear of the third", async || Ok(room.all("viewer_joined").len() >= 3)).await?;
    let (joined, left) = (room.all("viewer_joined"), room.all("viewer_left"));
    ensure!(joined.len() == 3 && joined[2]["data"]["viewerCount"] == 2, "nobody came twice: {joined:?}");
    ensure!(left.len() == 1, "missed once: {left:?}");
    let figures = figures(&server).await?;
    ensure!(figures == [1.0, 2.0, 2.0, 2.0], "publishers, viewers, silent, watching: {figures:?}");
    Ok(())
}
