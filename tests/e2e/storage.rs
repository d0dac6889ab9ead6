//! The whole binary with a bucket: one that is not there, one of another maker, and one that outlives the server.

use crate::harness::api::text;
use crate::harness::hls::adds_up;
use crate::harness::wait::holds;
use crate::harness::{Api, Bucket, Limit, Picture, Server, Show, probe, report, until};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[tokio::test]
async fn a_bucket_that_is_down_is_told_to_operators_and_the_show_goes_on() -> Result<()> {
    // Nothing listens on port 9, the discard service of old.
    let settings = [
        ("S3_BUCKET", "chobi-shows"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2hunter2"),
    ];
    let mut server = Server::start_with(&settings, &[]).await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "No room").await?;
    let encoder = show.publish(&server, &Picture::CLOCK)?;
    let readyz = format!("http://127.0.0.1:{}/readyz", server.ops_port);
    holds(Limit::MEDIA, "a word about the bucket", async || {
        let answer = reqwest::get(&readyz).await?;
        ensure!(answer.status().is_success(), "the server takes traffic: {answer:?}");
        Ok(answer.text().await?.contains("degraded: the bucket takes nothing"))
    })
    .await?;
    ensure!(server.metric("chobi_store_upload_failures_total").await? > 0.0, "failures are counted");
    let backlog = async || Ok(server.metric("chobi_store_backlog_segments").await? > 0.0);
    holds(Limit::MEDIA, "the backlog to be seen", backlog).await?;

    let viewer = show.viewer()?;
    let video = viewer.renditions().await?.video.context("a picture")?;
    let playlist = viewer.playlist(&video).await?.text;
    ensure!(playlist.contains(".m4s") && !playlist.contains("#EXT-X-GAP"), "viewers notice nothing: {playlist}");
    ensure!(!server.log().contains("hunter2"), "keys are in no log");
    drop(encoder);
    server.stop().await
}

/// Keys that a playlist in the bucket names, without gaps; inits too.
fn named(playlist: &str, folder: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let mut is_gap = false;
    for line in playlist.lines() {
        if let Some(rest) = line.strip_prefix("#EXT-X-MAP:URI=\"") {
            named.insert(format!("{folder}/{}", rest.trim_end_matches('"')));
        } else if line == "#EXT-X-GAP" {
            is_gap = true;
        } else if !line.starts_with('#') && !line.is_empty() && !std::mem::take(&mut is_gap) {
            named.insert(format!("{folder}/{line}"));
        }
    }
    named
}

/// What the show's playlists in the bucket name, each with its bytes.
async fn named_objects(bucket: &Bucket, session_id: &str) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for rendition in ["v0", "a0"] {
        let folder = format!("{session_id}/{rendition}");
        let Some(playlist) = bucket.text(&format!("{folder}/index.m3u8")).await? else { continue };
        for key in named(&playlist, &folder) {
            let bytes = bucket.object(&key).await?;
            found.insert(key.clone(), bytes.with_context(|| format!("{key} is named and not there:\n{playlist}"))?);
        }
    }
    Ok(found)
}

async fn whole_in_the_bucket(bucket: &Bucket, session_id: &str) -> Result<String> {
    let key = format!("{session_id}/v0/index.m3u8");
    until(Limit::MEDIA, "the whole recording in the bucket", async || {
        let playlist = bucket.text(&key).await?;
        Ok(playlist.filter(|text| text.contains("#EXT-X-PLAYLIST-TYPE:VOD") && !text.contains("#EXT-X-GAP")))
    })
    .await
}

#[tokio::test]
async fn another_makers_bucket_has_the_show_and_nothing_of_it_once_it_is_deleted() -> Result<()> {
    let bucket = Bucket::start().await?;
    // The recording takes the place of the live playlist then.
    let server = bucket.server(&[("CHOBI_HLS__END_LINGER", "6s")]).await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "In a bucket").await?;
    let unkept = Show::create_with(
        api.register("shy").await?,
        json!({ "title": "Never kept", "type": "video", "recording": false }),
    );
    let unkept = unkept.await?;
    let id = show.session_id.as_str();
    let encoders = (show.publish(&server, &Picture::CLOCK)?, unkept.publish(&server, &Picture::CLOCK)?);
    holds(Limit::MEDIA, "the live playlist in the bucket", async || Ok(named_objects(&bucket, id).await?.len() >= 8))
        .await?;
    probe::tracks(&bucket.url(&format!("{id}/index.m3u8"))).await?;
    show.end().await?;
    unkept.end().await?;
    drop(encoders);
    let playlist = whole_in_the_bucket(&bucket, id).await?;
    let adds_up = adds_up(&playlist);
    let (from_bucket, from_server) =
        (probe::duration(&bucket.url(&format!("{id}/index.m3u8"))).await?, probe::duration(&show.playback_url).await?);
    ensure!(
        (from_bucket - adds_up).abs() < 0.1 && (from_server - from_bucket).abs() < 0.05,
        "{adds_up} s are listed, {from_bucket} in the bucket, {from_server} at the server"
    );
    probe::decodes(&bucket.url(&format!("{id}/index.m3u8"))).await?;
    let kept = named_objects(&bucket, id).await?;
    ensure!(bucket.keys(&format!("{}/", unkept.session_id)).await?.is_empty(), "what is not kept is not uploaded");

    let list = api.query("videos.getVideos", json!({})).await?;
    let video = list["videos"].as_array().and_then(|videos| videos.iter().find(|video| video["sessionId"] == id));
    let video = video.with_context(|| format!("its replay is listed: {list}"))?["id"].clone();
    show.host.api.mutate("videos.deleteVideo", json!({ "videoId": video })).await?;
    holds(Limit::MEDIA, "an empty bucket", async || Ok(bucket.keys(&format!("{id}/")).await?.is_empty())).await?;
    report!("{} objects were kept and deleted", kept.len());
    Ok(())
}

#[tokio::test]
async fn private_shows_play_from_here_where_public_ones_play_from_a_cdn() -> Result<()> {
    let settings = [("HLS_SERVER_URL", "https://cdn.test/hls"), ("CHOBI_HLS__END_LINGER", "6s")];
    let server = Server::start_with(&settings, &[]).await?;
    let api = Api::of(&server)?;
    let public = Show::create(&api, "For everybody").await?;
    ensure!(public.playback_url == format!("https://cdn.test/hls/{}/index.m3u8", public.session_id));

    let input = json!({ "title": "Among us", "type": "video", "isPrivate": true });
    let show = Show::create_with(api.register("quiet").await?, input).await?;
    let here = format!("{}/hls/{}/index.m3u8", server.base(), show.session_id);
    ensure!(show.playback_url == here, "a CDN asks nobody for a ticket: {}", show.playback_url);
    let encoder = show.publish(&server, &Picture::CLOCK)?;
    let of_show = json!({ "sessionId": show.session_id });
    let joined = show.host.api.mutate("streaming.joinSession", of_show.clone()).await?;
    ensure!(joined["playbackUrl"] == here.as_str(), "{joined}");
    let with_ticket = format!("{here}?ticket={}", text(&joined["viewerSession"], "token")?);
    holds(Limit::MEDIA, "the show to begin", async || Ok(reqwest::get(&with_ticket).await?.status().is_success()))
        .await?;
    ensure!(reqwest::get(&here).await?.status() == 403, "not without a ticket");
    probe::tracks(&with_ticket).await?;

    show.end().await?;
    drop(encoder);
    let playing = until(Limit::EVENT, "the replay", async || {
        let list = show.host.api.query("videos.getVideos", json!({})).await?;
        let is_ready =
            list["videos"].as_array().is_some_and(|videos| videos.iter().any(|one| one["status"] == "ready"));
        Ok(if is_ready { Some(show.host.api.mutate("videos.playVideo", of_show.clone()).await?) } else { None })
    })
    .await?;
    ensure!(playing["playbackUrl"] == here.as_str() && playing["video"]["videoUrl"] == here.as_str(), "{playing}");
    Ok(())
}

/// SIGKILLs in a show; CHOBI_KILL_ROUNDS=100 for a long night.
const KILL_ROUNDS: u64 = 3;

#[tokio::test]
async fn sigkill_at_any_moment_loses_nothing_that_a_playlist_in_the_bucket_ever_named() -> Result<()> {
    let rounds = std::env::var("CHOBI_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(KILL_ROUNDS);
    let bucket = Bucket::start().await?;
    let settings = [("CHOBI_HLS__SEGMENT_DURATION", "1s"), ("CHOBI_HLS__END_LINGER", "3s")];
    let mut server = bucket.server(&settings).await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Killed again and again").await?;
    let id = show.session_id.as_str();
    let mut ever: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut shown = BTreeSet::new();
    for round in 0..rounds {
        let encoder = show.publish(&server, &Picture::CLOCK)?;
        let before = ever.len();
        until(Limit::MEDIA, "more of the show in the bucket", async || {
            ever.extend(named_objects(&bucket, id).await?);
            Ok((ever.len() >= before + 4).then_some(()))
        })
        .await?;
        // Somewhere in a segment, another place in every round.
        tokio::time::sleep(Duration::from_millis(round * 377 % 1_000)).await;
        let viewer = show.viewer()?;
        if let Some(video) = viewer.renditions().await?.video {
            shown.extend(named(&viewer.playlist(&video).await?.text, &format!("{id}/v0")));
        }
        server.kill_and_start().await?;
        drop(encoder);
        ever.extend(named_objects(&bucket, id).await?);
    }
    show.end().await?;
    recorded_in_the_bucket(&bucket, id).await?;
    let last = named_objects(&bucket, id).await?;
    for (key, bytes) in &ever {
        ensure!(last.get(key) == Some(bytes), "{key} was named before a kill and is not what it was");
    }
    let missing: Vec<_> = shown.iter().filter(|key| !last.contains_key(*key)).collect();
    report!(
        "{rounds} kills: {} objects named in the bucket, all there; of {} shown live {} are missing",
        ever.len(),
        shown.len(),
        missing.len()
    );
    // What was on its way to the disk in the moment of the kill: one segment at most.
    ensure!(missing.len() as u64 <= rounds, "these were shown and are gone: {missing:?}");
    probe::tracks(&bucket.url(&format!("{id}/index.m3u8"))).await?;
    Ok(())
}

/// With a gap where a segment was open when the server was killed.
async fn recorded_in_the_bucket(bucket: &Bucket, session_id: &str) -> Result<()> {
    let key = format!("{session_id}/v0/index.m3u8");
    holds(Limit::MEDIA, "the recording in the bucket", async || {
        let playlist = bucket.text(&key).await?;
        Ok(playlist.is_some_and(|text| text.contains("#EXT-X-PLAYLIST-TYPE:VOD")))
    })
    .await
}
