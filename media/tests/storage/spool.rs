//! The disk before the bucket: what goes when it is full, and what a viewer then gets.

use super::line::State;
use super::stage::{SHOW, uris};
use super::theatre::{SEGMENTS, Theatre, WHOLE, play, watch};
use http::StatusCode;
use std::time::Duration;

#[tokio::test]
async fn an_ended_show_plays_from_the_bucket_when_the_disk_has_let_it_go() {
    let theatre = Theatre::new().await;
    let stage = theatre.open();
    let publisher = play(&stage).await;
    stage.end(SHOW, publisher).await;
    theatre.complete().await;
    theatre.assert_whole(SEGMENTS);
    stage.stop().await;

    // What the show took is all there is: the next one needs the room.
    let before = theatre.spooled();
    let bytes: usize = before.values().map(Vec::len).sum();
    let mut small = theatre;
    small.storage.spool_max_bytes = u64::try_from(bytes).unwrap();
    let stage = small.open();
    let mut publisher = stage.publish("session_2").await;
    super::stage::write(&mut publisher, super::clip::CLIP.epoch(), &super::clip::CLIP.frames).await;
    stage.end("session_2", publisher).await;
    small
        .eventually("segments to go", |theatre| {
            theatre.spooled().keys().filter(|key| key.ends_with(".m4s")).count() == 0
        })
        .await;

    small.complete_of("session_2").await;
    let asked = small.service.reads();
    for rendition in ["v0", "a0"] {
        let playlist = stage.fetch_text(&format!("/hls/{SHOW}/{rendition}/index.m3u8")).await;
        assert_eq!(uris(&playlist, "").len() as u64, SEGMENTS);
        for uri in uris(&playlist, "") {
            let served = stage.fetch(&format!("/hls/{SHOW}/{rendition}/{uri}")).await;
            assert_eq!(served, before[&format!("live/{SHOW}/{rendition}/{uri}")], "{rendition}/{uri}");
        }
    }
    // A bucket is paid by the question: what no playlist names is not asked for.
    let reads = small.service.reads();
    assert_eq!((reads - asked) as u64, SEGMENTS * 2);
    for path in ["v0/0/5.m4s", "v0/7/1.m4s", "v1/0/1.m4s", "v0/3/init.mp4"] {
        assert_eq!(stage.get(&format!("/hls/{SHOW}/{path}")).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(small.service.reads(), reads);
}

#[tokio::test]
async fn a_full_spool_refuses_new_segments_and_viewers_do_not_notice() {
    let mut theatre = Theatre::new().await;
    theatre.line.set(State::Down);
    theatre.storage.gap_after = Duration::from_millis(100);
    // Room for about a quarter of the clip.
    let clip: usize = super::clip::CLIP.frames.iter().map(|frame| frame.payload.len()).sum();
    theatre.storage.spool_max_bytes = u64::try_from(clip / 4).unwrap();
    let stage = theatre.open();
    let publisher = play(&stage).await;
    watch(&stage, WHOLE).await;
    stage.end(SHOW, publisher).await;
    watch(&stage, SEGMENTS).await;
    let kept = theatre.spooled();
    assert!(kept.values().map(|bytes| bytes.len() as u64).sum::<u64>() <= theatre.storage.spool_max_bytes);

    theatre.line.set(State::Good);
    theatre.complete().await;
    // What was kept is in the bucket; what was refused is a gap in the replay.
    let bucket = theatre.service.objects();
    assert!(kept.iter().all(|(key, bytes)| bucket.get(key) == Some(bytes)));
    let playlist = theatre.playlist("a0/index.m3u8").or_else(|| theatre.playlist("v0/index.m3u8")).unwrap();
    assert!(playlist.contains("#EXT-X-GAP") && playlist.ends_with("#EXT-X-ENDLIST\n"), "{playlist}");
    theatre.service.assert_never_wrong();
}
