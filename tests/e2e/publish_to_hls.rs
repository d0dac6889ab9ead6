//! The main walk: a host creates a session through the app's client, ffmpeg publishes to it, everybody sees it live,
//! Chromium plays it with little delay, joins and leaves and chat arrive in the room, and the end ends it everywhere.

use crate::harness::wait::holds;
use crate::harness::{Account, Api, Browser, Limit, Page, Picture, Room, Server, Show, Visit, report, until};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// The delay to be proud of, and the delay that fails the walk.
const GOAL_MS: f64 = 800.0;
const REFUSED_MS: f64 = 1500.0;

#[tokio::test]
async fn rtmp_show_is_a_low_latency_picture_in_a_browser() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "First light").await?;
    let room = Room::join(&server, &show.session_id, None).await?;
    ensure!(show.in_list(&api).await?.is_none(), "a session that waits for its publisher is not live");

    let mut encoder = show.publish(&server, &Picture::CLOCK)?;
    everybody_sees_it(&show, &api).await?;
    encoder.must_run()?;

    let browser = Browser::start()?;
    let guest = api.register("guest").await?;
    let watch = format!("{}/watch/{}?player=hls", server.base(), show.session_id);
    let page = browser.open(&watch, Visit { lang: Some("en"), account: Some(&guest), ..Visit::default() }).await?;
    it_plays_with_little_delay(&page).await?;
    let joined = room.next("viewer_joined", |_| true).await?;
    ensure!(joined["data"]["viewerCount"] == 1, "the first viewer: {joined}");
    let counted = async || Ok(show.listed(&api).await?["viewerCount"] == 1);
    holds(Limit::EVENT, "the list to count the viewer", counted).await?;

    what_the_guest_says_arrives(&page, &room, &guest, &show).await?;

    page.close().await?;
    let left = room.next("viewer_left", |_| true).await?;
    ensure!(left["data"]["viewerCount"] == 0, "the only viewer left: {left}");
    ensure!(left["data"]["userId"] == joined["data"]["userId"], "the same viewer left: {joined} {left}");
    ensure!(room.all("viewer_joined").len() == 1, "one join: {:?}", room.all("viewer_joined"));
    ensure!(room.all("viewer_left").len() == 1, "one leave: {:?}", room.all("viewer_left"));

    let page = browser.open(&watch, Visit { lang: Some("en"), ..Visit::default() }).await?;
    page.player_state("playing").await?;
    it_ends_everywhere(&show, &api, &room, &page).await?;
    holds(Limit::EVENT, "the publisher to be cut off", async || encoder.has_ended()).await?;
    no_secret_is_in_sight(&server, &show, &room);
    Ok(())
}

async fn everybody_sees_it(show: &Show, api: &Api) -> Result<()> {
    let item = show.listed(api).await?;
    ensure!(item["isLive"] == true && item["title"] == "First light", "as the app lists it: {item}");
    ensure!(item["startedAt"]["$date"].is_string(), "startedAt arrives as a Date: {item}");
    ensure!(item.get("streamKey").is_none(), "lists hold no keys: {item}");
    Ok(())
}

async fn it_plays_with_little_delay(page: &Page) -> Result<()> {
    page.player_state("playing").await?;
    page.plays_on(5_000).await?;
    let seen = page.seen_delay_ms(REFUSED_MS).await?;
    let said = until(Limit::EVENT, "the page's own figure", async || {
        let said: f64 = page.dataset("delayMs").await?.context("the page knows its delay")?.parse()?;
        ensure!(said <= REFUSED_MS, "{said} ms by program date");
        Ok(Some(said))
    })
    .await?;
    let goal = if seen <= GOAL_MS { "goal met" } else { "goal missed" };
    report!(
        "delay: {seen:.0} ms from the encoder's clock to the screen, {said:.0} ms by program date ({goal}: {GOAL_MS} ms)"
    );
    let log = page.log().await?;
    ensure!(log.blocking_reloads > 5, "low-latency mode holds requests: {log:?}");
    ensure!(log.media.iter().any(|path| is_part(path)), "low-latency mode fetches parts: {log:?}");
    ensure!(log.errors.is_empty() && log.foreign.is_empty(), "nothing to complain about: {log:?}");
    Ok(())
}

/// `…/<segment>.<part>.m4s`
fn is_part(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".m4s");
    name.split_once('.').is_some_and(|(segment, part)| segment.parse::<u64>().is_ok() && part.parse::<u64>().is_ok())
}

async fn what_the_guest_says_arrives(page: &Page, room: &Room, guest: &Account, show: &Show) -> Result<()> {
    const GREETING: &str = "مرحبا from a browser";
    page.say("#chat-field", GREETING).await?;
    let heard = room.next("new_message", |frame| frame["data"]["message"] == GREETING).await?;
    ensure!(heard["data"]["userId"] == guest.id.as_str(), "it says who spoke: {heard}");
    ensure!(room.all("new_message").len() == 1, "it is heard once");
    let page_of = guest.api.query("chat.getMessages", json!({ "sessionId": show.session_id })).await?;
    let kept = &page_of["messages"][0];
    ensure!(kept["message"] == GREETING && kept["id"] == heard["data"]["id"], "it is kept: {page_of}");
    ensure!(kept["timestamp"]["$date"].is_string(), "timestamp arrives as a Date: {kept}");
    Ok(())
}

async fn it_ends_everywhere(show: &Show, api: &Api, room: &Room, page: &Page) -> Result<()> {
    let viewer = show.viewer()?;
    let renditions = viewer.renditions().await?;
    let stats = show.end().await?["stats"].clone();
    ensure!(stats["totalViewers"].as_u64() >= Some(1) && stats["totalMessages"] == 1, "the show in figures: {stats}");
    room.next("session_ended", |_| true).await?;
    for url in renditions.all() {
        holds(Limit::EVENT, "EXT-X-ENDLIST", async || Ok(viewer.playlist(url).await?.ended)).await?;
    }
    page.player_state("ended").await?;
    ensure!(show.in_list(api).await?.is_none(), "what has ended is not listed");
    let again: Value = show.end().await?;
    ensure!(again["stats"] == stats, "ending twice is ending once: {again}");
    ensure!(room.all("session_ended").len() == 1, "the end is told once");
    Ok(())
}

fn no_secret_is_in_sight(server: &Server, show: &Show, room: &Room) {
    assert!(!server.log().contains(&show.stream_key), "the log holds the stream key");
    assert!(!server.log().contains(&show.host.token), "the log holds an access token");
    let frames = format!("{:?}{:?}", room.all("viewer_joined"), room.all("session_ended"));
    assert!(!frames.contains(&show.stream_key), "a frame holds the stream key");
}
