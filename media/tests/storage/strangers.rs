//! A bucket is paid by the question. Strangers may ask a live show for anything; what no playlist named costs no read, and
//! a player that lags behind the list still gets what it was told of.

use super::clip::CLIP;
use super::stage::{SHOW, Stage, write};
use super::theatre::{PREFIX, SEGMENTS, Theatre};
use chobi_media::hls::HlsConfig;
use http::StatusCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The smallest window there may be.
const WINDOW: usize = 6;
const ROUNDS: u64 = 4;

/// The show, once all but the window of it is in memory no more.
async fn play_on(stage: &Stage) {
    for round in 0..ROUNDS {
        let mut publisher = stage.publish(SHOW).await;
        write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
        stage.playlist_with("v0", round * SEGMENTS + SEGMENTS - 1).await;
    }
}

async fn ask_for_what_was_never_named(stage: &Stage) {
    for path in [
        // An epoch, a number, a number of another epoch, a rendition that there never was.
        "v0/7/1.m4s",
        "v0/0/900.m4s",
        "v0/0/5.m4s",
        "v0/1/1.m4s",
        "v7/0/1.m4s",
        "a9/0/1.m4s",
        "v0/9/init.mp4",
        "v7/0/init.mp4",
        // Pictures are for who looks back.
        "v0/0/1.jpg",
        "v7/0/1.jpg",
    ] {
        assert_eq!(stage.get(&format!("/hls/{SHOW}/{path}")).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_live_show_reads_the_bucket_for_what_it_named_and_for_nothing_else() {
    for dvr_window in [Duration::ZERO, Duration::from_secs(12)] {
        let theatre = Theatre::new().await;
        let stage = theatre.open_with(HlsConfig { window_segments: WINDOW, dvr_window, ..HlsConfig::default() });
        play_on(&stage).await;
        let playlist = stage.fetch_text(&format!("/hls/{SHOW}/v0/index.m3u8")).await;
        assert!(!playlist.contains("\n0/1.m4s"), "the first segment has left the list: {playlist}");
        let segment = format!("{PREFIX}/{SHOW}/v0/0/1.m4s");
        let is_there = |theatre: &Theatre| theatre.service.objects().contains_key(&segment);
        theatre.eventually("the first segment in the bucket", is_there).await;
        let spooled = theatre.spooled();
        std::fs::remove_file(theatre.data.path().join("hls").join(SHOW).join("v0/0/1.m4s")).unwrap();

        let before = theatre.service.reads();
        ask_for_what_was_never_named(&stage).await;
        assert_eq!(theatre.service.reads(), before, "strangers cost nothing");
        let served = stage.fetch(&format!("/hls/{SHOW}/v0/0/1.m4s")).await;
        assert_eq!(served, spooled[&segment], "a player that lags finds what it was told of");
        assert_eq!(theatre.service.reads(), before + 1);
        stage.stop().await;
    }
}

/// The journal of two hours is two megabytes.
#[tokio::test]
async fn nothing_is_read_for_who_asks_a_live_show_for_its_replay() {
    let theatre = Theatre::new().await;
    let stage = theatre.open();
    play_on(&stage).await;
    let journal = theatre.folder(SHOW).join("index.jsonl");
    theatre.eventually("the journal", |_| journal.exists()).await;
    // Whoever reads it from now on fails, and says so.
    std::fs::remove_file(&journal).unwrap();
    std::fs::create_dir(&journal).unwrap();
    let reads = theatre.service.reads();
    for path in ["index.m3u8", "v0/index.m3u8", "v0/0/1.m4s", "thumbnail.jpg", "thumbnails.vtt"] {
        let answer = stage.get(&format!("/hls/{SHOW}/replay/{path}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {}", answer.text());
    }
    assert_eq!(theatre.service.reads(), reads);
    stage.stop().await;
}

#[tokio::test]
async fn nothing_of_a_show_that_is_not_kept_is_looked_for_in_the_bucket() {
    let theatre = Theatre::new().await;
    let stage = theatre.open_with(HlsConfig { window_segments: WINDOW, ..HlsConfig::default() });
    stage.door.keeps_nothing.store(true, Ordering::Relaxed);
    play_on(&stage).await;
    let reads = theatre.service.reads();
    ask_for_what_was_never_named(&stage).await;
    for path in ["v0/0/1.m4s", "a0/0/1.m4s"] {
        assert_eq!(stage.get(&format!("/hls/{SHOW}/{path}")).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(theatre.service.reads(), reads);
    stage.stop().await;
}
