//! SIGTERM in the middle of a show, and the server again on the same data: exit code 0, and the show goes on.

use crate::harness::{Api, Limit, Picture, Room, Server, Show, until};
use anyhow::{Context, Result, ensure};
use serde_json::json;

/// The close code that tells the app to connect again.
const RESTARTING: u16 = 4001;

#[tokio::test]
async fn show_goes_on_after_a_restart_of_the_server() -> Result<()> {
    let mut server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Deployed during the show").await?;
    let room = Room::join(&server, &show.session_id, None).await?;
    let encoder = show.publish(&server, &Picture::CLOCK)?;
    show.listed(&api).await?;
    let said = json!({ "sessionId": show.session_id, "message": "kept" });
    show.host.api.mutate("chat.sendMessage", said).await?;
    let viewer = show.viewer()?;
    let video = until(Limit::MEDIA, "the playlists", async || Ok(viewer.renditions().await?.video)).await?;
    let before = until(Limit::MEDIA, "three segments", async || {
        let playlist = viewer.playlist(&video).await?;
        Ok((playlist.segments.len() >= 3).then_some(playlist))
    })
    .await?;
    let first = before.segments.first().context("three segments")?;
    let first_bytes = viewer.bytes(&first.url).await?;

    server.restart().await?;
    ensure!(u16::from(room.closed().await?.code) == RESTARTING, "sockets are told to come back");
    drop(encoder);

    ensure!(show.in_list(&api).await?.is_some(), "the session is still there");
    let messages = api.query("chat.getMessages", json!({ "sessionId": show.session_id })).await?;
    ensure!(messages["messages"][0]["message"] == "kept", "what was said is still there: {messages}");
    ensure!(viewer.bytes(&first.url).await? == first_bytes, "a segment's address means the same bytes for ever");

    let _encoder = show.publish(&server, &Picture::CLOCK)?;
    let last = before.last_number().context("three segments")?;
    let after = until(Limit::MEDIA, "new segments in the same playlist", async || {
        let playlist = viewer.playlist(&video).await?;
        ensure!(playlist.last_number() >= Some(last + 2), "{}", playlist.text);
        Ok(Some(playlist))
    })
    .await?;
    ensure!(after.discontinuities() == 1, "exactly one discontinuity:\n{}", after.text);
    for segment in &before.segments {
        let now = after.segments.iter().find(|later| later.number == segment.number);
        ensure!(now.is_none_or(|now| now.url == segment.url), "segment {} moved:\n{}", segment.number, after.text);
    }
    let dates: Vec<i64> = after.segments.iter().map(|segment| segment.date_ms).collect();
    ensure!(dates.is_sorted(), "dates go forward: {dates:?}");

    let stats = show.end().await?;
    ensure!(stats["stats"]["totalMessages"] == 1, "counters outlive the restart: {stats}");
    ensure!(viewer.playlist(&video).await?.ended, "the end is written");

    server.restart().await?;
    let replay = viewer.playlist(&video).await?;
    ensure!(replay.ended && replay.last_number() >= Some(last + 2), "an ended show can still be played:\n{}", replay.text);
    ensure!(show.in_list(&api).await?.is_none(), "what has ended stays ended");
    Ok(())
}
