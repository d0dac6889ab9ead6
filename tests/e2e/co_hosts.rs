//! Several people on air in one show: over one WHEP peer, over HLS beside the host, and from the pages.

use crate::harness::api::text;
use crate::harness::wait::{absence, holds};
use crate::harness::{Account, Api, Browser, Limit, Page, Room, Server, Show, Visit, report, until};
use crate::webrtc::{call, stage};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// What the room hears of somebody's place.
async fn co_host_in(room: &Room, is_so: impl Fn(&Value) -> bool + Clone) -> Result<Value> {
    let frame = room
        .next("co_hosts", |frame| frame["data"]["coHosts"].as_array().is_some_and(|all| all.iter().any(is_so.clone())))
        .await?;
    Ok(frame["data"]["coHosts"].clone())
}

async fn ticket_of_co_host(guest: &Account, session_id: &str) -> Result<String> {
    let joined =
        guest.api.mutate("streaming.joinSession", json!({ "sessionId": session_id, "role": "co-host" })).await?;
    text(&joined["viewerSession"], "token")
}

/// Waits until what a peer receives, by stream, is so.
async fn receives(page: &Page, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
    until(Limit::MEDIA, what, async || {
        // Loudness is that of the time since the last look: each look needs some.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let seen = call(page, &format!("lookAtStreams('{name}')")).await?;
        ensure!(is_so(&seen), "it receives {seen}");
        Ok(Some(seen))
    })
    .await
}

fn plays(stream: &Value) -> bool {
    stream["frames"].as_f64() > Some(30.0) && stream["loudness"].as_f64() > Some(0.01)
}

#[tokio::test]
async fn one_peer_sees_and_hears_the_host_and_whoever_was_let_in() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Together").await?;
    let (id, seat) = (&show.session_id, json!({ "sessionId": show.session_id }));
    let guest = api.register("guest").await?;
    let their_seat = json!({ "sessionId": id, "userId": guest.id });
    let room = Room::join(&server, id, None).await?;
    let host_room = Room::join(&server, id, Some(&show.host.token)).await?;
    let browser = Browser::start()?;
    let page = stage(&browser, &server).await?;

    // A viewer's ticket is none to publish with, before the host agrees and after.
    let joined = guest.api.mutate("streaming.joinSession", seat.clone()).await?;
    let viewer_ticket = text(&joined["viewerSession"], "token")?;
    let refused = call(&page, &format!("publishByWhip('nobody', '/whip', '{viewer_ticket}')")).await?;
    ensure!(refused["status"] == 403, "a viewer publishes nothing: {refused}");
    guest.api.mutate("coHosts.request", seat.clone()).await?;
    let asked = host_room.next("co_host_requested", |_| true).await?;
    ensure!(asked["data"]["userId"] == guest.id.as_str(), "the host hears who asks: {asked}");
    let early =
        guest.api.refusal("mutate", "streaming.joinSession", json!({ "sessionId": id, "role": "co-host" })).await?;
    ensure!(early.code.as_deref() == Some("FORBIDDEN"), "not yet: {early}");
    show.host.api.mutate("coHosts.approve", their_seat.clone()).await?;
    co_host_in(&room, |one| one["isLive"] == false).await.context("the room sees a new co-host")?;

    let host = stage(&browser, &server).await?;
    let answer = call(&host, &format!("publishByWhip('host', '/whip', '{}')", show.stream_key)).await?;
    ensure!(answer["status"] == 201, "the host publishes: {answer}");
    let ticket = ticket_of_co_host(&guest, id).await?;
    let answer = call(&page, &format!("publishByWhip('guest', '/whip', '{ticket}')")).await?;
    ensure!(answer["status"] == 201, "the co-host publishes: {answer}");
    show.listed(&api).await?;
    let list = co_host_in(&room, |one| one["isLive"] == true).await.context("the co-host is live")?;
    let theirs = text(&list[0], "broadcastId")?;
    ensure!(theirs == format!("{id}-{}", guest.id), "{list}");

    // Room for two: both come over one peer, each under its own stream. Room for one: the host alone.
    let watch = async |name: &str, url: String, places: u32| -> Result<()> {
        let answer = call(&page, &format!("watchByWhep('{name}', '{url}', null, null, {places})")).await?;
        ensure!(answer["status"] == 201, "{name}: {answer}");
        Ok(())
    };
    watch("both", format!("/whep/{id}"), 2).await?;
    watch("one", format!("/whep/{id}"), 1).await?;
    watch("guest_alone", format!("/whep/{theirs}"), 1).await?;
    let seen =
        receives(&page, "both", "both to be seen and heard", |seen| plays(&seen["chobi"]) && plays(&seen[&theirs]))
            .await?;
    let alone = receives(&page, "one", "the host to be seen", |seen| plays(&seen["chobi"])).await?;
    ensure!(alone.as_object().is_some_and(|streams| streams.len() == 1), "no room for more: {alone}");
    receives(&page, "guest_alone", "the co-host at an address of their own", |seen| plays(&seen["chobi"])).await?;
    report!("one peer receives {seen}");
    room.next("viewer_joined", |frame| frame["data"]["viewerCount"] == 2).await?;
    ensure!(room.all("viewer_joined").len() == 2, "whoever watches a co-host is not counted again");

    room.next("active_speaker", |_| true).await.context("somebody is heard")?;

    // HLS has the co-host beside the host.
    let playlist = holds_playlist(&server, id, &guest.id).await?;
    ensure!(playlist.contains(&format!("URI=\"../{theirs}/v0/index.m3u8\"")), "{playlist}");

    // Muted: the picture goes on, the sound is silence; then it is heard again.
    show.host.api.mutate("coHosts.mute", json!({ "sessionId": id, "userId": guest.id, "muted": true })).await?;
    co_host_in(&room, |one| one["isMuted"] == true).await?;
    receives(&page, "both", "the co-host to be silent", |seen| {
        seen[&theirs]["loudness"].as_f64() < Some(0.001) && plays(&seen["chobi"])
    })
    .await?;
    holds(Limit::EVENT, "the host to have the floor, now that the other is silent", async || {
        let told = room.all("active_speaker");
        let last = told.last().map(|frame| &frame["data"]["userId"]);
        ensure!(last == Some(&Value::Null), "the last was {last:?}");
        Ok(true)
    })
    .await?;
    show.host.api.mutate("coHosts.mute", json!({ "sessionId": id, "userId": guest.id, "muted": false })).await?;
    receives(&page, "both", "the co-host to be heard again", |seen| plays(&seen[&theirs])).await?;

    // Sent away: cut at once, for good, and the host goes on over the same peer.
    show.host.api.mutate("coHosts.remove", their_seat).await?;
    room.next("co_hosts", |frame| frame["data"]["coHosts"] == json!([])).await?;
    holds(Limit::EVENT, "the co-host's connection to be closed", async || {
        let state = call(&page, "peers.guest.connection.getSenders()[0].transport.state").await?;
        ensure!(state == "closed", "it is {state}");
        Ok(true)
    })
    .await?;
    let again = call(&page, &format!("publishByWhip('again', '/whip', '{ticket}')")).await?;
    ensure!(again["status"] == 403, "the ticket is worth nothing now: {again}");
    let before = call(&page, "lookAtStreams('both')").await?;
    receives(&page, "both", "the host to go on", |seen| {
        seen["chobi"]["frames"].as_f64() > before["chobi"]["frames"].as_f64().map(|frames| frames + 30.0)
    })
    .await?;
    Ok(())
}

/// The multivariant playlist, once it names this co-host.
async fn holds_playlist(server: &Server, session_id: &str, user_id: &str) -> Result<String> {
    let address = format!("{}/hls/{session_id}/index.m3u8", server.base());
    until(Limit::MEDIA, "the co-host to stand in the playlist", async || {
        let text = reqwest::get(&address).await?.text().await?;
        ensure!(text.contains(&format!("NAME=\"{user_id}\"")), "it says {text}");
        Ok(Some(text))
    })
    .await
}

#[tokio::test]
async fn a_viewer_asks_is_let_in_and_is_on_air_from_the_page() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let (host, fan) = (api.register("host").await?, api.register("fan").await?);
    let browser = Browser::start()?;
    let visit = |account, lang| Visit { lang: Some(lang), account: Some(account), devices: true, ..Visit::default() };
    let studio = browser.open(&format!("{}/studio", server.base()), visit(&host, "en")).await?;
    studio.says("studioState", "setup").await?;
    studio.says("studioSource", "camera").await?;
    studio.say("#field-title", "Two of us").await?;
    studio.says("broadcastState", "live").await?;
    let kept = studio.evaluate("JSON.parse(sessionStorage.getItem('chobi.studio.show'))").await?;
    let address = format!("{}/watch/{}", server.base(), text(&kept, "sessionId")?);

    let theirs = browser.open(&address, visit(&fan, "ar")).await?;
    let viewer = browser.open(&address, Visit { lang: Some("en"), ..Visit::default() }).await?;
    theirs.player_state("playing").await?;
    theirs.says("booth", "none").await?;
    theirs.click("#booth-actions button:first-child").await?;
    theirs.says("booth", "requested").await?;
    studio.says("callers", "1").await?;
    shot(&studio, "co-host-asks.en").await?;
    studio.click("[data-step=approve]").await?;
    theirs.says("booth", "approved").await?;
    studio.says("callers", "0").await?;
    theirs.says("guests", "0").await.context("nobody is seen before they say so")?;
    theirs.click("#booth-actions button:first-child").await?;
    theirs.says("booth", "onair").await?;
    theirs.says("broadcastState", "live").await?;

    let tile = format!(".guest[data-user=\"{}\"]", fan.id);
    for page in [&studio, &viewer] {
        page.says("guests", "1").await?;
        tile_is(page, &tile, "plays", "true").await?;
    }
    viewer.player_state("playing").await?;
    for (page, name) in [(&studio, "co-host-studio.en"), (&viewer, "co-host-watch.en"), (&theirs, "co-host-self.ar")] {
        shot(page, name).await?;
    }

    studio.click(&format!("{tile} [data-tool=mute]")).await?;
    tile_is(&viewer, &tile, "muted", "true").await?;
    holds(Limit::EVENT, "the muted one to know whose word it is", async || {
        Ok(theirs.evaluate("document.querySelector('#booth-microphone').disabled").await? == true)
    })
    .await?;
    studio.click(&format!("{tile} [data-tool=remove]")).await?;
    theirs.says("booth", "none").await?;
    viewer.says("guests", "0").await?;
    studio.says("guests", "0").await?;
    viewer.plays_on(1_000).await.context("the host goes on")?;
    let asks = theirs.evaluate("document.querySelectorAll('#booth-actions button').length").await?;
    ensure!(asks == 0, "whoever was sent away does not ask again");
    Ok(())
}

/// Where others need a ticket the host's page has one too; and a guest who goes on air on another device is not thrown out by the first.
#[tokio::test]
async fn a_private_show_has_its_guests_in_the_studio_and_a_guest_on_one_device_at_a_time() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let (host, fan) = (api.register("host").await?, api.register("fan").await?);
    let browser = Browser::start()?;
    let visit = |account| Visit { lang: Some("en"), account: Some(account), devices: true, ..Visit::default() };
    let studio = browser.open(&format!("{}/studio", server.base()), visit(&host)).await?;
    studio.says("studioSource", "camera").await?;
    studio.click("#field-private").await?;
    studio.say("#field-title", "Among us").await?;
    studio.says("broadcastState", "live").await?;
    let kept = studio.evaluate("JSON.parse(sessionStorage.getItem('chobi.studio.show'))").await?;
    let id = text(&kept, "sessionId")?;
    host.api.mutate("coHosts.invite", json!({ "sessionId": id, "userId": fan.id })).await?;
    let address = format!("{}/watch/{id}", server.base());
    let first = browser.open(&address, visit(&fan)).await?;
    first.says("booth", "invited").await?;
    first.click("#booth-actions button:first-child").await?;
    first.says("broadcastState", "live").await?;
    let tile = format!(".guest[data-user=\"{}\"]", fan.id);
    tile_is(&studio, &tile, "plays", "true").await?;

    let second = browser.open(&address, visit(&fan)).await?;
    second.says("booth", "approved").await?;
    second.click("#booth-actions button:first-child").await?;
    second.says("broadcastState", "live").await?;
    first.says("booth", "approved").await.context("the first one steps back")?;
    absence(Duration::from_secs(3)).await;
    second.says("broadcastState", "live").await.context("and does not come again")?;
    tile_is(&studio, &tile, "plays", "true").await
}

async fn tile_is(page: &Page, tile: &str, name: &str, wanted: &str) -> Result<()> {
    holds(Limit::MEDIA, &format!("the tile to say {name} is {wanted}"), async || {
        let said = page.evaluate(&format!("document.querySelector('{tile}')?.dataset.{name} ?? null")).await?;
        ensure!(said == wanted, "it says {said}");
        Ok(true)
    })
    .await
}

async fn shot(page: &Page, name: &str) -> Result<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../e2e-screenshots");
    std::fs::create_dir_all(&folder)?;
    page.screenshot(&folder.join(format!("{name}.png"))).await
}
