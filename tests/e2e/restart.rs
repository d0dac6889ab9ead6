//! SIGTERM in the middle of a show, and the server again on the same data: exit code 0, and the show goes on.

use crate::harness::wait::holds;
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
    holds(Limit::EVENT, "EXT-X-ENDLIST", async || Ok(viewer.playlist(&video).await?.ended)).await?;

    server.restart().await?;
    let replay = viewer.playlist(&video).await?;
    ensure!(replay.text.contains("#EXT-X-PLAYLIST-TYPE:VOD"), "a show that is over is its replay:\n{}", replay.text);
    let list = api.query("videos.getVideos", json!({})).await?;
    let told = list["videos"][0]["durationMs"].as_f64().context("one video of both runs")? / 1000.0;
    let adds_up: f64 = replay.segments.iter().map(|segment| segment.seconds).sum();
    ensure!(list["total"] == 1 && (told - adds_up).abs() < 0.1, "{adds_up} s are there: {list}");
    let kept = stored_segments(&server)?;
    ensure!(kept as u64 > last + 2, "its segments are kept: {kept} files");
    ensure!(show.in_list(&api).await?.is_none(), "what has ended stays ended");
    Ok(())
}

/// Segments of all renditions on the disk.
fn stored_segments(server: &Server) -> Result<usize> {
    let (mut folders, mut count) = (vec![server.data_dir()], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "m4s") {
                count += 1;
            }
        }
    }
    Ok(count)
}
