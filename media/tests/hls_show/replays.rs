//! What is kept of a show is told at its end, watched at once, and deleted when that is ordered; or never kept.

use super::clip::CLIP;
use super::stage::{SHOW, Stage, id, uris, write};
use chobi_media::hls::HlsConfig;
use chobi_media::seam::Recorded;
use http::StatusCode;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Seconds of a media playlist.
fn adds_up(playlist: &str) -> f64 {
    let duration = |line: &str| line.strip_prefix("#EXTINF:")?.split(',').next()?.parse::<f64>().ok();
    playlist.lines().filter_map(duration).sum()
}

fn segments_on_disk(data_dir: &Path) -> usize {
    let folder = data_dir.join("hls").join(SHOW);
    let below = |folder: &Path| match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect::<Vec<_>>(),
        Err(_) => Vec::new(),
    };
    let epochs = below(&folder).into_iter().flat_map(|rendition| below(&rendition));
    let files = epochs.flat_map(|epoch| std::fs::read_dir(epoch).unwrap().map(|entry| entry.unwrap().path()));
    files.filter(|path| path.extension().is_some_and(|extension| extension == "m4s")).count()
}

#[tokio::test(start_paused = true)]
async fn a_show_is_a_replay_the_moment_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    for round in 0..4 {
        let mut publisher = stage.publish(SHOW).await;
        write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
        stage.playlist_with("v0", round * 4 + 3).await;
        if round == 3 {
            stage.end(SHOW, publisher).await;
        }
    }
    let Recorded::Kept { duration, has_video } = stage.heard.recorded(SHOW).await else { panic!("it was kept") };
    assert!(has_video);
    // Those who watched are shown the end of what they have; who comes now is given all of it.
    let live = stage.fetch_text(&format!("/hls/{SHOW}/v0/index.m3u8")).await;
    assert!(live.ends_with("#EXT-X-ENDLIST\n") && !live.contains("#EXT-X-PLAYLIST-TYPE:VOD"), "{live}");
    let multivariant = stage.fetch_text(&format!("/hls/{SHOW}/index.m3u8")).await;
    assert!(multivariant.contains("\nreplay/v0/index.m3u8"), "{multivariant}");
    let whole = stage.fetch_text(&format!("/hls/{SHOW}/replay/v0/index.m3u8")).await;
    assert!(whole.contains("#EXT-X-PLAYLIST-TYPE:VOD") && whole.ends_with("#EXT-X-ENDLIST\n"), "{whole}");
    assert!(uris(&whole, "").len() > uris(&live, "").len(), "from the beginning");
    for uri in uris(&whole, "").iter().chain(&uris(&whole, "#EXT-X-MAP")) {
        assert!(!stage.fetch(&format!("/hls/{SHOW}/replay/v0/{uri}")).await.is_empty());
    }
    let audio = stage.fetch_text(&format!("/hls/{SHOW}/replay/a0/index.m3u8")).await;
    let longest = adds_up(&whole).max(adds_up(&audio));
    assert!((duration.as_secs_f64() - longest).abs() < 0.001, "{duration:?} told, {longest} in the playlist");

    // Deleting it does not wait for the last player.
    assert!(stage.service.delete_recording(&id(SHOW)).await.unwrap());
    assert!(!folder.path().join("hls").join(SHOW).exists());
    for path in ["index.m3u8", "v0/index.m3u8", "replay/index.m3u8", "replay/v0/index.m3u8"] {
        assert_eq!(stage.get(&format!("/hls/{SHOW}/{path}")).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_private_replay_is_told_below_the_pass() {
    let folder = tempfile::tempdir().unwrap();
    let (stage, show) = (Stage::new(folder.path()), "session_private");
    let mut publisher = stage.publish(show).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    stage.end(show, publisher).await;
    assert!(matches!(stage.heard.recorded(show).await, Recorded::Kept { .. }));
    assert_eq!(stage.get(&format!("/hls/{show}/index.m3u8")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(stage.get(&format!("/hls/{show}/replay/v0/index.m3u8")).await.status, StatusCode::FORBIDDEN);
    let multivariant = stage.fetch_text(&format!("/hls/{show}/index.m3u8?ticket=user_1")).await;
    let address = multivariant.lines().find(|line| line.ends_with("v0/index.m3u8")).unwrap();
    assert!(address.starts_with('~') && address.contains("/replay/"), "{address}");
    let playlist = stage.get(&format!("/hls/{show}/{address}")).await;
    assert_eq!((playlist.status, playlist.header("cache-control")), (StatusCode::OK, "private, no-cache"));
    let first = &uris(playlist.text(), "")[0];
    let segment = stage.get(&format!("/hls/{show}/{}{first}", address.strip_suffix("index.m3u8").unwrap())).await;
    assert_eq!(segment.status, StatusCode::OK);
    assert!(segment.header("cache-control").starts_with("private"));
    // Asked for below `replay/`, it leads to the same addresses.
    let multivariant = stage.fetch_text(&format!("/hls/{show}/replay/index.m3u8?ticket=user_1")).await;
    let address = multivariant.lines().find(|line| line.ends_with("v0/index.m3u8")).unwrap();
    let path = address.strip_prefix("../").unwrap();
    assert!(path.starts_with('~') && path.contains("/replay/"), "{address}");
    assert_eq!(stage.get(&format!("/hls/{show}/{path}")).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_show_that_is_not_kept_leaves_nothing_and_still_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    stage.door.keeps_nothing.store(true, Ordering::Relaxed);
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    let playlist = stage.playlist_with("v0", 3).await;
    for uri in uris(&playlist, "") {
        assert!(!stage.fetch(&format!("/hls/{SHOW}/v0/{uri}")).await.is_empty(), "it is live");
    }
    stage.stop().await;
    assert_eq!(segments_on_disk(folder.path()), 0);

    let stage = Stage::new(folder.path());
    stage.door.keeps_nothing.store(true, Ordering::Relaxed);
    stage.expect(SHOW).await;
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    let last = uris(&playlist, "").len() as u64;
    let after = stage.playlist_with("v0", last + 3).await;
    assert!(after.contains("#EXT-X-GAP\n") && uris(&after, "").iter().any(|uri| uri.starts_with("1/")), "{after}");
    stage.end(SHOW, publisher).await;
    assert_eq!(stage.heard.recorded(SHOW).await, Recorded::Nothing);
    assert!(!folder.path().join("hls").join(SHOW).exists());
    let end = stage.ended_playlist("v0").await;
    let newest = uris(&end, "").pop().unwrap();
    assert!(!stage.fetch(&format!("/hls/{SHOW}/v0/{newest}")).await.is_empty(), "its end is shown all the same");
    assert!(!stage.fetch_text(&format!("/hls/{SHOW}/index.m3u8")).await.contains("replay/"));
}

#[tokio::test]
async fn what_a_stopped_server_left_is_told_and_closed_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    stage.playlist_with("v0", 3).await;
    stage.stop().await;

    let stage = Stage::new(folder.path());
    stage.service.settle_recording(&id(SHOW)).await.unwrap();
    let Recorded::Kept { duration, .. } = stage.heard.recorded(SHOW).await else { panic!("it was kept") };
    let whole = stage.fetch_text(&format!("/hls/{SHOW}/v0/index.m3u8")).await;
    assert!(whole.ends_with("#EXT-X-ENDLIST\n") && duration.as_secs_f64() + 0.001 > adds_up(&whole), "{whole}");
    stage.service.settle_recording(&id("session_unknown")).await.unwrap();
    assert_eq!(stage.heard.recorded("session_unknown").await, Recorded::Nothing);
}

#[tokio::test]
async fn a_disk_that_took_nothing_is_a_loss_once_it_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("hls");
    std::fs::write(&root, "not a folder").unwrap();
    let config = HlsConfig { end_linger: Duration::from_millis(100), ..HlsConfig::default() };
    let stage = Stage::with(folder.path(), config);
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    stage.end(SHOW, publisher).await;
    stage.ended_playlist("v0").await;
    stage.was_told_nothing(SHOW).await;
    std::fs::remove_file(&root).unwrap();
    assert_eq!(stage.settled(SHOW).await, Recorded::Lost);
}
