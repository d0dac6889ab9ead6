//! The server stops in the middle of it all and starts again over the same data.

use super::line::State;
use super::stage::{SHOW, Stage, id, uris};
use super::theatre::{PREFIX, SEGMENTS, Theatre, WHOLE, play, play_and_stop, watch};
use http::StatusCode;
use std::time::Duration;
use tokio::runtime::Runtime;

/// What the server runs on: like every other test, on one thread.
fn process() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The process dies: nothing says goodbye, nothing on its way arrives.
fn crash(process: Runtime, stage: Stage) {
    process.shutdown_timeout(Duration::from_secs(5));
    drop(stage);
}

#[tokio::test]
async fn what_waits_when_the_server_stops_is_uploaded_by_the_next_run() {
    let theatre = Theatre::new().await;
    theatre.line.set(State::Down);
    play_and_stop(theatre.open()).await;
    assert_eq!(theatre.service.objects().len(), 0);

    theatre.line.set(State::Good);
    let stage = theatre.open();
    theatre.complete().await;
    theatre.assert_whole(SEGMENTS);
    stage.stop().await;
    // Nothing is left to do, and nothing is done twice.
    let before = theatre.service.texts(&format!("{PREFIX}/{SHOW}/index.m3u8")).len();
    let stage = theatre.open();
    stage.stop().await;
    assert_eq!(theatre.service.texts(&format!("{PREFIX}/{SHOW}/index.m3u8")).len(), before);
}

#[tokio::test]
async fn a_show_from_before_there_was_a_bucket_is_brought_to_it() {
    let theatre = Theatre::new().await;
    play_and_stop(Stage::new(theatre.data.path())).await;

    let stage = theatre.open();
    theatre.complete().await;
    theatre.assert_whole(SEGMENTS);
    stage.stop().await;
}

#[tokio::test]
async fn a_replay_outlives_the_disk_of_the_server_and_can_be_deleted_without_it() {
    let theatre = Theatre::new().await;
    let stage = theatre.open();
    let publisher = play(&stage).await;
    stage.end(SHOW, publisher).await;
    theatre.complete().await;
    stage.stop().await;
    let before = theatre.spooled();
    std::fs::remove_dir_all(theatre.data.path().join("hls")).unwrap();

    let stage = theatre.open();
    for rendition in ["v0", "a0"] {
        let playlist = stage.fetch_text(&format!("/hls/{SHOW}/{rendition}/index.m3u8")).await;
        assert_eq!(uris(&playlist, "").len() as u64, SEGMENTS, "{playlist}");
        assert!(playlist.contains("VOD") && !playlist.contains("GAP"), "{playlist}");
        for uri in uris(&playlist, "") {
            let served = stage.fetch(&format!("/hls/{SHOW}/{rendition}/{uri}")).await;
            assert_eq!(served, before[&format!("{PREFIX}/{SHOW}/{rendition}/{uri}")], "{uri}");
        }
    }
    assert!(stage.fetch_text(&format!("/hls/{SHOW}/thumbnails.vtt")).await.contains("0/1.jpg"));
    // Of a show that never was the bucket is asked once, however often that is asked for.
    let reads = theatre.service.reads();
    for _ in 0..5 {
        assert_eq!(stage.get("/hls/session_2/v0/index.m3u8").await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(theatre.service.reads(), reads + 1);

    let lists = theatre.service.lists();
    assert!(stage.service.delete_recording(&id(SHOW)).await.unwrap());
    assert_eq!(theatre.service.objects().keys().collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(theatre.service.lists(), lists, "its journal in the bucket says what there is");
    stage.stop().await;
}

#[test]
fn a_crash_in_the_middle_of_uploads_loses_nothing() {
    let world = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let theatre = world.block_on(Theatre::new());
    theatre.line.set(State::Slow(Duration::from_millis(10)));
    let process_one = process();
    let stage = process_one.block_on(async {
        let stage = theatre.open();
        let publisher = play(&stage).await;
        watch(&stage, WHOLE).await;
        theatre.eventually("the first object in the bucket", |theatre| !theatre.service.objects().is_empty()).await;
        let journal = theatre.data.path().join("hls").join(SHOW).join("index.jsonl");
        theatre
            .eventually("all whole segments in the journal", |_| {
                let journal = std::fs::read_to_string(&journal).unwrap_or_default();
                journal.matches(r#""entry":"segment""#).count() as u64 == WHOLE * 2
            })
            .await;
        // The publisher is lost with the process.
        std::mem::forget(publisher);
        stage
    });
    crash(process_one, stage);
    let spooled = theatre.spooled();
    assert!(spooled.len() as u64 >= WHOLE * 2, "{:?}", spooled.keys());

    theatre.line.set(State::Good);
    process().block_on(async {
        // Its session ended while the server was away.
        let stage = theatre.open();
        assert!(stage.service.end_recording(&id(SHOW)).await.unwrap());
        theatre.complete().await;
        let bucket = theatre.service.objects();
        for (key, bytes) in &spooled {
            assert!(bucket.get(key) == Some(bytes), "{key}");
        }
        let playlist = theatre.playlist("v0/index.m3u8").unwrap();
        assert!(playlist.ends_with("#EXT-X-ENDLIST\n") && !playlist.contains("GAP"), "{playlist}");
        assert!(uris(&playlist, "").len() as u64 >= WHOLE);
        theatre.service.assert_never_wrong();
        stage.stop().await;
    });
}

#[tokio::test]
async fn a_show_that_is_taken_up_after_a_restart_goes_on_in_the_bucket_with_its_numbers() {
    let theatre = Theatre::new().await;
    let stage = theatre.open();
    let publisher = play(&stage).await;
    watch(&stage, WHOLE).await;
    stage.stop().await;
    drop(publisher);

    let stage = theatre.open();
    stage.expect(SHOW).await;
    let publisher = play(&stage).await;
    stage.playlist_with("v0", SEGMENTS + WHOLE).await;
    theatre
        .eventually("the new epoch in the live playlist", |theatre| {
            theatre.playlist("v0/index.m3u8").is_some_and(|text| text.contains(&format!("1/{}.m4s", SEGMENTS + WHOLE)))
        })
        .await;
    let (live, low_latency) =
        (theatre.playlist("v0/index.m3u8").unwrap(), stage.playlist_with("v0", SEGMENTS + WHOLE).await);
    assert_eq!(uris(&live, ""), uris(&low_latency, ""));
    assert_eq!(live.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{live}");
    stage.end(SHOW, publisher).await;
    theatre.complete().await;
    theatre.assert_whole(SEGMENTS * 2);
}
