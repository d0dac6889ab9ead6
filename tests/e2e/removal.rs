//! Whoever loses their place in a private show is cut from all of it: the peer, the pass, the room. An invitation opens it
//! again.

use crate::harness::api::text;
use crate::harness::wait::holds;
use crate::harness::{Account, Api, Browser, Limit, Picture, Room, Server, Show, Viewer, report, until};
use crate::webrtc::{call, sees, stage};
use anyhow::{Context, Result, ensure};
use reqwest::StatusCode;
use serde_json::json;
use std::time::Instant;

async fn ticket(account: &Account, session_id: &str) -> Result<String> {
    let joined = account.api.mutate("streaming.joinSession", json!({ "sessionId": session_id })).await?;
    text(&joined["viewerSession"], "token")
}

async fn status(url: &reqwest::Url) -> Result<StatusCode> {
    Ok(reqwest::get(url.clone()).await?.status())
}

#[tokio::test]
async fn co_host_who_is_removed_from_a_private_show_is_cut_from_all_of_it() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let (host, guest) = (api.register("host").await?, api.register("guest").await?);
    let show = Show::create_with(host, json!({ "title": "Among us", "type": "video", "isPrivate": true })).await?;
    let id = &show.session_id;
    let (own, theirs) = (json!({ "sessionId": id }), json!({ "sessionId": id, "userId": guest.id }));
    show.host.api.mutate("coHosts.invite", theirs.clone()).await?;
    guest.api.mutate("coHosts.accept", own.clone()).await?;
    let (hosts_ticket, guests_ticket) = (ticket(&show.host, id).await?, ticket(&guest, id).await?);
    let _encoder = show.publish(&server, &Picture::CLOCK)?;

    // The guest watches in every way there is.
    let by_ticket = Viewer::of(&format!("{}?ticket={guests_ticket}", show.playback_url))?;
    let playlist = until(Limit::MEDIA, "the show to play", async || {
        let renditions = by_ticket.renditions().await?;
        Ok(renditions.video)
    })
    .await?;
    let segment = by_ticket.playlist(&playlist).await?.segments.last().context("a segment")?.url.clone();
    let whole = playlist.join("../index.m3u8")?;
    for url in [&whole, &playlist, &segment] {
        ensure!(url.path().contains("/~") && status(url).await? == StatusCode::OK, "{url} plays with the pass");
    }
    let room = Room::join(&server, id, Some(&guest.token)).await?;
    let host_room = Room::join(&server, id, Some(&show.host.token)).await?;
    let browser = Browser::start()?;
    let page = stage(&browser, &server).await?;
    let watch =
        async |name: &str, ticket: &str| call(&page, &format!("watchByWhep('{name}', '/whep/{id}', '{ticket}')")).await;
    for (name, ticket) in [("host", &hosts_ticket), ("guest", &guests_ticket)] {
        let answer = watch(name, ticket).await?;
        ensure!(answer["status"] == 201, "{name}: {answer}");
        sees(&page, name, 30.0).await?;
    }

    let removed = Instant::now();
    show.host.api.mutate("coHosts.remove", theirs.clone()).await?;
    let told = room.next("error", |_| true).await.context("the room says that it is closed")?;
    ensure!(told["data"]["reason"] == "private_session", "{told}");
    holds(Limit::EVENT, "the guest's peer to be closed", async || {
        let state = call(&page, "peers.guest.connection.getReceivers()[0].transport.state").await?;
        ensure!(state == "closed", "it is {state}");
        Ok(true)
    })
    .await?;
    report!("a removed co-host's peer is seen to be closed {:.0?} after the order", removed.elapsed());
    for url in [&whole, &playlist, &segment] {
        let status = status(url).await?;
        ensure!(status == StatusCode::FORBIDDEN, "the pass is worth nothing: {url} answers {status}");
    }
    ensure!(status(&by_ticket.url).await? == StatusCode::UNAUTHORIZED, "and neither is the ticket");
    let answer = watch("again", &guests_ticket).await?;
    ensure!(answer["status"] == 401, "by WHEP as well: {answer}");
    let refused = guest.api.refusal("mutate", "streaming.joinSession", own.clone()).await?;
    ensure!(refused.code.as_deref() == Some("FORBIDDEN"), "nor is there another: {refused}");
    show.host.api.mutate("chat.sendMessage", json!({ "sessionId": id, "message": "among us" })).await?;
    host_room.next("new_message", |_| true).await?;
    ensure!(room.all("new_message").is_empty(), "the guest hears nothing of it");

    // The others watch on.
    let before = sees(&page, "host", 0.0).await?["video"]["framesDecoded"].as_f64().context("frames")?;
    sees(&page, "host", before + 30.0).await?;

    // Asked again, they are let in again, with what they have.
    show.host.api.mutate("coHosts.invite", theirs).await?;
    holds(Limit::EVENT, "the pass to be good again", async || Ok(status(&playlist).await? == StatusCode::OK)).await?;
    let answer = watch("back", &guests_ticket).await?;
    ensure!(answer["status"] == 201, "and the ticket: {answer}");
    sees(&page, "back", 30.0).await?;
    Room::join(&server, id, Some(&guest.token)).await?;
    Ok(())
}
