//! What a viewer's network or a broadcaster's choice leaves of a show: no way for WebRTC, no picture, pictures in an
//! order that WebRTC cannot carry, another protocol in the middle. The page finds what plays, and whoever watches
//! stays.

use crate::harness::wait::holds;
use crate::harness::{Api, Browser, Limit, Page, Picture, Room, Server, Show, Visit, report, until};
use crate::webrtc::{call, sees, stage, watch};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// Where browsers look for the server's media, and a firewall stands that lets nothing through and says nothing.
const BLOCKED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

async fn open(browser: &Browser, server: &Server, show: &Show) -> Result<Page> {
    let address = format!("{}/watch/{}", server.base(), show.session_id);
    browser.open(&address, Visit { lang: Some("en"), ..Visit::default() }).await
}

async fn transport(page: &Page) -> Result<String> {
    page.dataset("playerTransport").await?.context("the page says what plays")
}

#[tokio::test]
async fn a_network_that_blocks_udp_and_tcp_gets_the_show_by_hls_and_the_page_says_so() -> Result<()> {
    let outside = BLOCKED.to_string();
    let server = Server::start_with(&[("CHOBI_WEBRTC__EXTERNAL_ADDRESSES", outside.as_str())], &[]).await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Behind a firewall").await?;
    // What comes is taken and never answered, over both.
    let address = (BLOCKED, server.webrtc_port);
    let (_udp, _tcp) = (UdpSocket::bind(address)?, TcpListener::bind(address)?);
    let _encoder = show.publish(&server, &Picture::CLOCK)?;
    show.listed(&api).await?;
    let browser = Browser::start()?;
    let page = open(&browser, &server, &show).await?;
    page.player_state("playing").await?;
    ensure!(transport(&page).await? == "hls", "which one plays");
    ensure!(page.dataset("playerFallback").await?.as_deref() == Some("ice"), "and why: no path");
    page.plays_on(3_000).await?;
    let sent = server.metric("chobi_webrtc_sent_packets_total").await?;
    ensure!(sent == 0.0, "nothing came through the firewall: {sent} packets");
    report!("no path by UDP and TCP: the page plays by HLS");
    Ok(())
}

#[tokio::test]
async fn sound_alone_is_heard_by_whep_and_on_the_page() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Radio").await?;
    let browser = Browser::start()?;
    let host = stage(&browser, &server).await?;
    let answer = call(&host, &format!("publishByWhip('host', '/whip', '{}', null, 0)", show.stream_key)).await?;
    ensure!(answer["status"] == 201, "an offer without a picture: {answer}");
    show.listed(&api).await?;

    let guest = stage(&browser, &server).await?;
    watch(&guest, "guest", &show).await?;
    let heard = until(Limit::MEDIA, "sound", async || {
        let seen = call(&guest, "look('guest')").await?;
        let energy = seen["audio"]["totalAudioEnergy"].as_f64().unwrap_or(0.0);
        Ok((energy > 0.001).then_some(seen))
    })
    .await?;
    ensure!(heard["video"].is_null() || heard["video"]["packetsReceived"] == 0, "no picture: {heard}");
    ensure!(heard["audio"]["packetsLost"] == 0, "nothing is lost on loopback: {heard}");

    let page = open(&browser, &server, &show).await?;
    page.player_state("playing").await?;
    ensure!(transport(&page).await? == "whep", "sound is enough to stay with WebRTC");
    page.plays_on(6_000).await?;
    ensure!(transport(&page).await? == "whep" && page.dataset("playerFallback").await?.is_none(), "and stays enough");
    Ok(())
}

#[tokio::test]
async fn the_host_hears_of_b_frames_while_others_do_not() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Reordered").await?;
    let hosts = Room::join(&server, &show.session_id, Some(&show.host.token)).await?;
    let guests = Room::join(&server, &show.session_id, None).await?;
    let _encoder = show.publish(&server, &Picture::B_FRAMES)?;
    show.listed(&api).await?;
    let warning = hosts.next("ingest_warning", |_| true).await?;
    ensure!(warning["data"]["code"] == "b_frames", "{warning}");
    // What everybody hears after it is a sign that this has had its time too.
    let said = serde_json::json!({ "sessionId": show.session_id, "message": "later" });
    show.host.api.mutate("chat.sendMessage", said).await?;
    guests.next("new_message", |_| true).await?;
    ensure!(guests.all("ingest_warning").is_empty(), "it is the host's business: {:?}", guests.all("ingest_warning"));
    ensure!(hosts.all("ingest_warning").len() == 1, "told once: {:?}", hosts.all("ingest_warning"));
    Ok(())
}

fn frames(seen: &Value) -> f64 {
    seen["video"]["framesDecoded"].as_f64().unwrap_or(0.0)
}

#[tokio::test]
async fn a_viewer_stays_while_the_host_moves_from_an_encoder_to_the_browser() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "From OBS to a phone").await?;
    let room = Room::join(&server, &show.session_id, None).await?;
    let browser = Browser::start()?;
    let (host, guest) = (stage(&browser, &server).await?, stage(&browser, &server).await?);
    let encoder = show.publish(&server, &Picture::CLOCK)?;
    show.listed(&api).await?;
    watch(&guest, "guest", &show).await?;
    let before = sees(&guest, "guest", 60.0).await?;

    let answer = call(&host, &format!("publishByWhip('host', '/whip', '{}')", show.stream_key)).await?;
    ensure!(answer["status"] == 201, "the same key takes over: {answer}");
    encoder.kill()?;
    let now = frames(&sees(&guest, "guest", frames(&before)).await?);
    let seen = sees(&guest, "guest", now + 90.0).await?;
    ensure!(seen["state"] == "connected", "{seen}");
    let energy = |seen: &Value| seen["audio"]["totalAudioEnergy"].as_f64().unwrap_or(0.0);
    holds(Limit::MEDIA, "sound to go on", async || Ok(energy(&call(&guest, "look('guest')").await?) > energy(&seen)))
        .await?;
    ensure!(server.metric("chobi_webrtc_peers_closed_total").await? == 0.0, "the viewer's connection is the same");
    ensure!(room.all("viewer_joined").len() == 1 && room.all("viewer_left").is_empty(), "one viewer, who never left");
    Ok(())
}
