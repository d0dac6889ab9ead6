//! Requests for what is not there yet (rfc8216bis sections 6.2.5.2 and 6.2.6), on a clock that tests move.

use super::clip::CLIP;
use super::stage::{SHOW, Stage, uris, write, write_on};
use chobi_media::model::Frame;
use http::StatusCode;
use std::time::Duration;
use tokio::time::Instant;

/// Frames up to this many milliseconds of decode time.
fn until(millis: i64) -> usize {
    CLIP.frames.iter().position(|frame| frame.track.0 == 0 && frame.dts >= millis).unwrap()
}

fn frames(from: i64, to: i64) -> &'static [Frame] {
    &CLIP.frames[until(from)..until(to)]
}

fn playlist(query: &str) -> String {
    format!("/hls/{SHOW}/v0/index.m3u8{query}")
}

#[tokio::test(start_paused = true)]
async fn a_playlist_is_held_until_it_has_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), frames(0, 1_000)).await;
    let now = stage.fetch_text(&playlist("")).await;
    assert_eq!(uris(&now, "#EXT-X-PART:").last().unwrap(), "0/1.4.m4s");

    let path = playlist("?_HLS_msn=1&_HLS_part=6");
    let mut held = std::pin::pin!(stage.fetch_text(&path));
    assert!(futures_util::poll!(held.as_mut()).is_pending());
    write_on(&mut publisher, frames(1_000, 1_300)).await;
    assert!(futures_util::poll!(held.as_mut()).is_pending(), "part 5 is not part 6");
    write_on(&mut publisher, frames(1_300, 1_400)).await;
    assert_eq!(uris(&held.await, "#EXT-X-PART:").last().unwrap(), "0/1.6.m4s");
}

#[tokio::test(start_paused = true)]
async fn a_hinted_part_is_held_until_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), frames(0, 1_000)).await;
    let hint = uris(&stage.fetch_text(&playlist("")).await, "#EXT-X-PRELOAD-HINT").remove(0);
    assert_eq!(hint, "0/1.5.m4s");
    let path = format!("/hls/{SHOW}/v0/{hint}");
    let mut held = std::pin::pin!(stage.fetch(&path));
    assert!(futures_util::poll!(held.as_mut()).is_pending());
    write_on(&mut publisher, frames(1_000, 1_300)).await;
    assert_eq!(&held.await[4..8], b"moof");
    // One further on was not hinted.
    assert_eq!(stage.get(&format!("/hls/{SHOW}/v0/0/1.9.m4s")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_part_beyond_the_last_means_the_next_segment() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), frames(0, 1_900)).await;
    let path = playlist("?_HLS_msn=1&_HLS_part=12");
    let mut held = std::pin::pin!(stage.fetch_text(&path));
    assert!(futures_util::poll!(held.as_mut()).is_pending());
    write_on(&mut publisher, frames(1_900, 2_200)).await;
    assert_eq!(uris(&held.await, "#EXT-X-PART:").last().unwrap(), "0/2.0.m4s");
}

#[tokio::test(start_paused = true)]
async fn impossible_requests_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), frames(0, 4_500)).await;
    stage.playlist_with("v0", 2).await;
    let begun = Instant::now();
    for query in [
        "?_HLS_msn=5",
        "?_HLS_msn=5&_HLS_part=0",
        "?_HLS_msn=99999",
        "?_HLS_part=1",
        "?_HLS_msn=3&_HLS_part=200",
        "?_HLS_msn=abc",
        "?_HLS_msn=-1",
        "?_HLS_msn=3&_HLS_part=x",
    ] {
        assert_eq!(stage.get(&playlist(query)).await.status, StatusCode::BAD_REQUEST, "{query}");
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_live_show_that_stands_still_times_out_after_three_target_durations() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), frames(0, 4_500)).await;
    stage.playlist_with("v0", 2).await;
    let begun = Instant::now();
    let answer = stage.get(&playlist("?_HLS_msn=4")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(!answer.header("retry-after").is_empty());
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(6) && waited < Duration::from_millis(6_100), "{waited:?}");
    let part = stage.get(&format!("/hls/{SHOW}/v0/0/4.0.m4s")).await;
    assert_eq!(part.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn while_the_publisher_is_gone_players_are_kept_with_the_unchanged_playlist() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), frames(0, 4_500)).await;
    drop(publisher);
    let before = stage.playlist_with("v0", 3).await;
    assert!(!before.contains("ENDLIST") && !before.contains("PRELOAD-HINT"), "{before}");
    let begun = Instant::now();
    let after = stage.fetch_text(&playlist("?_HLS_msn=4")).await;
    assert_eq!(after, before);
    assert!(begun.elapsed() >= Duration::from_secs(1) && begun.elapsed() < Duration::from_millis(1_100));

    // Back within the grace: the held request is answered once picture and sound have the first part of the new epoch.
    let path = playlist("?_HLS_msn=4&_HLS_part=0");
    let mut held = std::pin::pin!(stage.fetch_text(&path));
    assert!(futures_util::poll!(held.as_mut()).is_pending());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), frames(0, 300)).await;
    let resumed = held.await;
    assert_eq!(resumed.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{resumed}");
    assert_eq!(uris(&resumed, "#EXT-X-PART:").last().unwrap(), "1/4.0.m4s");
    assert_eq!(uris(&resumed, "#EXT-X-MAP"), ["0/init.mp4"]);
}

#[tokio::test(start_paused = true)]
async fn when_the_grace_is_over_the_playlist_ends() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), frames(0, 4_500)).await;
    drop(publisher);
    let mut playlist_now = String::new();
    for _ in 0..200 {
        playlist_now = stage.fetch_text(&playlist("?_HLS_msn=4")).await;
        if playlist_now.contains("ENDLIST") {
            break;
        }
    }
    assert!(playlist_now.ends_with("#EXT-X-ENDLIST\n"), "{playlist_now}");
}

#[tokio::test(start_paused = true)]
async fn the_first_playlist_waits_for_the_first_segments() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    let path = format!("/hls/{SHOW}/index.m3u8");
    let mut held = std::pin::pin!(stage.fetch_text(&path));
    assert!(futures_util::poll!(held.as_mut()).is_pending());
    write(&mut publisher, CLIP.epoch(), frames(0, 1_000)).await;
    stage.has_opened().await;
    assert!(stage.fetch_text(&playlist("")).await.contains("#EXT-X-PART:"), "parts are there");
    assert!(futures_util::poll!(held.as_mut()).is_pending(), "no segment is whole");
    write_on(&mut publisher, frames(1_000, 2_300)).await;
    let multivariant = held.await;
    assert!(multivariant.contains("v0/index.m3u8") && multivariant.contains("a0/index.m3u8"), "{multivariant}");
}

#[tokio::test(start_paused = true)]
async fn a_show_without_a_whole_segment_is_not_waited_for_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), frames(0, 1_000)).await;
    let begun = Instant::now();
    let answer = stage.get(&format!("/hls/{SHOW}/index.m3u8")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(!answer.header("retry-after").is_empty());
    assert!(begun.elapsed() <= Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_show_that_never_begins_is_not_waited_for_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let _publisher = stage.publish(SHOW).await;
    let begun = Instant::now();
    assert_eq!(stage.get(&format!("/hls/{SHOW}/index.m3u8")).await.status, StatusCode::NOT_FOUND);
    assert!(begun.elapsed() <= Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn stopping_releases_held_requests_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), frames(0, 4_500)).await;
    stage.playlist_with("v0", 2).await;
    let begun = Instant::now();
    let path = playlist("?_HLS_msn=4");
    let (answer, ()) = tokio::join!(stage.get(&path), async { stage.cancel.cancel() });
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(begun.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_delta_update_skips_what_readers_have() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    stage.has_opened().await;
    publisher = {
        drop(publisher);
        stage.publish(SHOW).await
    };
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    let full = stage.playlist_with("v0", 7).await;
    let delta = stage.fetch_text(&playlist("?_HLS_skip=YES")).await;
    let skipped: usize = delta.split_once("SKIPPED-SEGMENTS=").unwrap().1.lines().next().unwrap().parse().unwrap();
    assert!(skipped > 0 && delta.len() < full.len());
    assert_eq!(uris(&delta, ""), uris(&full, "")[skipped..]);
}
