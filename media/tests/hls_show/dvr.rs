//! Viewers of a live show go back further than the window in memory.

use super::clip::CLIP;
use super::stage::{LIMIT, SHOW, Stage, uris, write};
use chobi_media::hls::HlsConfig;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn two_hours() -> HlsConfig {
    HlsConfig { dvr_window: Duration::from_secs(7_200), ..HlsConfig::default() }
}

/// Publishes the clip again and again; each time begins an epoch and has three whole segments at least.
async fn play(stage: &Stage, rounds: u64) -> String {
    play_on(stage, 0..rounds).await
}

async fn play_on(stage: &Stage, rounds: Range<u64>) -> String {
    let mut listed = String::new();
    for round in rounds {
        let mut publisher = stage.publish(SHOW).await;
        write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
        listed = stage.playlist_with("v0", round * 4 + 3).await;
    }
    listed
}

#[tokio::test(start_paused = true)]
async fn every_segment_of_a_show_can_be_gone_back_to_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::with(folder.path(), two_hours());
    let listed = play(&stage, 5).await;
    assert!(listed.contains("#EXT-X-MEDIA-SEQUENCE:1\n") && !listed.contains("#EXT-X-GAP"), "{listed}");
    assert!(uris(&listed, "").len() > 15, "more than the window: {listed}");
    for uri in uris(&listed, "").iter().chain(&uris(&listed, "#EXT-X-MAP")) {
        assert!(!stage.fetch(&format!("/hls/{SHOW}/v0/{uri}")).await.is_empty(), "{uri}");
    }
    let last = listed.lines().filter(|line| line.ends_with(".m4s") && !line.starts_with('#')).count() as u64;
    let skipped = stage.fetch_text(&format!("/hls/{SHOW}/v0/index.m3u8?_HLS_msn={last}&_HLS_skip=YES")).await;
    assert!(skipped.contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=14\n") && !skipped.contains("0/1.m4s"), "{skipped}");
    stage.stop().await;

    let stage = Stage::with(folder.path(), two_hours());
    stage.expect(SHOW).await;
    let again = stage.fetch_text(&format!("/hls/{SHOW}/v0/index.m3u8")).await;
    assert_eq!(uris(&again, "")[..15], uris(&listed, "")[..15]);
    assert_eq!(uris(&again, "#EXT-X-MAP"), uris(&listed, "#EXT-X-MAP"));
    for uri in uris(&again, "").iter().chain(&uris(&again, "#EXT-X-MAP")) {
        assert!(!stage.fetch(&format!("/hls/{SHOW}/v0/{uri}")).await.is_empty(), "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_disk_did_not_take_is_a_gap_behind_the_window() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::with(folder.path(), two_hours());
    // A file stands where the folder of the second epoch should be.
    std::fs::create_dir_all(folder.path().join("hls").join(SHOW).join("v0")).unwrap();
    std::fs::write(folder.path().join("hls").join(SHOW).join("v0/1"), "in the way").unwrap();
    play_on(&stage, 0..2).await;
    // It is forgotten when the disk has done well for half a minute, and the clock of this test goes in leaps.
    let begun = Instant::now();
    let trouble = loop {
        match stage.service.storage_health().trouble() {
            Some(trouble) => break trouble,
            None => assert!(begun.elapsed() < LIMIT, "the disk is said to be well"),
        }
        tokio::task::yield_now().await;
    };
    assert!(trouble.contains("the disk fails the shows") && trouble.contains("Not a directory"), "{trouble}");
    let listed = play_on(&stage, 2..5).await;
    let gaps: Vec<_> =
        listed.lines().skip_while(|line| *line != "#EXT-X-GAP").filter(|line| line.ends_with(".m4s")).collect();
    assert!(gaps.first().is_some_and(|uri| uri.starts_with("1/")), "{listed}");
    let mut is_gap = false;
    for line in listed.lines() {
        match line {
            "#EXT-X-GAP" => is_gap = true,
            uri if uri.ends_with(".m4s") && !uri.starts_with('#') => {
                assert_eq!(is_gap, uri.starts_with("1/"), "{uri}\n{listed}");
                if !is_gap {
                    assert!(!stage.fetch(&format!("/hls/{SHOW}/v0/{uri}")).await.is_empty(), "{uri}");
                }
                is_gap = false;
            }
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_show_that_is_not_kept_goes_no_further_back_than_memory() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::with(folder.path(), two_hours());
    stage.door.keeps_nothing.store(true, Ordering::Relaxed);
    let listed = play(&stage, 5).await;
    assert!(!listed.contains("#EXT-X-MEDIA-SEQUENCE:1\n"), "{listed}");
    for uri in uris(&listed, "") {
        assert!(!stage.fetch(&format!("/hls/{SHOW}/v0/{uri}")).await.is_empty(), "{uri}");
    }
}
