//! The server stops in the middle of it all and starts again over the same data.

use super::clip::{CLIP, OTHER_CLIP};
use super::line::State;
use super::stage::{SHOW, Stage, beside, id, uris, write};
use super::theatre::{PREFIX, SEGMENTS, Theatre, WHOLE, play, play_and_stop, watch};
use chobi_media::hls::HlsConfig;
use chobi_media::seam::Recorded;
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
    let before = theatre.play_and_lose_the_disk().await;

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
        has_noted(&theatre, SHOW, WHOLE * 2).await;
        // The publisher is lost with the process.
        std::mem::forget(publisher);
        stage
    });
    crash(process_one, stage);
    let mut spooled = theatre.spooled();
    // An object is there before its line; the process may have died between the two, for the picture.
    let journal = std::fs::read_to_string(theatre.folder(SHOW).join("index.jsonl")).unwrap();
    spooled.retain(|key, _| !key.ends_with(".jpg") || journal.contains(r#""entry":"thumbnail""#));
    assert!(spooled.len() as u64 >= WHOLE * 2, "{:?}", spooled.keys());

    theatre.line.set(State::Good);
    process().block_on(async {
        // Its session ended while the server was away.
        let stage = theatre.open();
        assert!(matches!(stage.settled(SHOW).await, Recorded::Kept { .. }));
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

/// Waits until so many segments of a show are in its journal.
async fn has_noted(theatre: &Theatre, show: &str, segments: u64) {
    let journal = theatre.folder(show).join("index.jsonl");
    theatre
        .eventually("segments in the journal", |_| {
            let journal = std::fs::read_to_string(&journal).unwrap_or_default();
            journal.matches(r#""entry":"segment""#).count() as u64 >= segments
        })
        .await;
}

/// What a co-host sent before the process died: they never come back, and the host ends the show later or not at all.
#[test]
fn what_co_hosts_sent_before_a_crash_is_closed_with_the_show() {
    let guest = beside(SHOW, "user_7").to_string();
    for host_comes_back in [true, false] {
        let world = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let theatre = world.block_on(Theatre::new());
        let process_one = process();
        let stage = process_one.block_on(async {
            let stage = theatre.open();
            let publishers = (play(&stage).await, stage.publish_beside(SHOW, "user_7").await);
            let (host, mut beside) = publishers;
            write(&mut beside, CLIP.epoch(), &CLIP.frames).await;
            has_noted(&theatre, SHOW, WHOLE * 2).await;
            has_noted(&theatre, &guest, WHOLE * 2).await;
            std::mem::forget((host, beside));
            stage
        });
        crash(process_one, stage);

        process().block_on(async {
            let stage = theatre.open();
            if host_comes_back {
                stage.expect(SHOW).await;
                let host = play(&stage).await;
                stage.end(SHOW, host).await;
            } else {
                assert!(matches!(stage.settled(SHOW).await, Recorded::Kept { .. }));
            }
            theatre.complete().await;
            theatre.complete_of(&guest).await;
            let (disk, bucket) = (theatre.spooled_of(&guest), theatre.service.objects());
            assert!(disk.len() as u64 >= WHOLE * 2 + 2);
            let mut sent = disk.iter().filter(|(key, _)| !key.ends_with(".jpg"));
            assert!(sent.all(|(key, bytes)| bucket.get(key) == Some(bytes)));
            let replay = stage.fetch_text(&format!("/hls/{guest}/v0/index.m3u8")).await;
            assert!(replay.contains("VOD") && replay.ends_with("#EXT-X-ENDLIST\n"), "{replay}");
            assert_eq!(theatre.service.text(&format!("{PREFIX}/{guest}/v0/index.m3u8")), Some(replay));
            // All of it goes by its journal, also where the disk is lost.
            stage.stop().await;
            std::fs::remove_dir_all(theatre.data.path().join("hls")).unwrap();
            let stage = theatre.open();
            for show in [&guest, SHOW] {
                assert!(stage.service.delete_recording(&id(show)).await.unwrap());
            }
            assert_eq!(theatre.service.objects().keys().collect::<Vec<_>>(), Vec::<&String>::new());
            assert_eq!(theatre.service.lists(), 0);
            stage.stop().await;
        });
    }
}

/// After a restart a live show knows the names in its window alone; its replay and the bucket know them all.
#[tokio::test]
async fn a_show_longer_than_its_window_loses_nothing_by_a_restart() {
    const ROUNDS: u64 = 4;
    let theatre = Theatre::new().await;
    let open = || theatre.open_with(HlsConfig { window_segments: 6, ..HlsConfig::default() });
    let stage = open();
    for round in 1..=ROUNDS {
        drop(play(&stage).await);
        watch(&stage, round * SEGMENTS - 1).await;
    }
    stage.stop().await;
    let before = theatre.service.texts(&format!("{PREFIX}/{SHOW}/v0/index.m3u8")).len();

    let stage = open();
    stage.expect(SHOW).await;
    let last = (ROUNDS + 1) * SEGMENTS;
    let publisher = play(&stage).await;
    stage.playlist_with("v0", last - 1).await;
    theatre
        .eventually("the last whole segment in the live playlist", |theatre| {
            let newest = format!("{ROUNDS}/{}.m4s", last - 1);
            theatre.playlist("v0/index.m3u8").is_some_and(|text| text.contains(&newest))
        })
        .await;
    stage.end(SHOW, publisher).await;
    theatre.complete().await;
    theatre.assert_whole(last);
    // Each text of the live playlist names its segments in order, and none goes back behind the one before.
    let texts = theatre.service.texts(&format!("{PREFIX}/{SHOW}/v0/index.m3u8"));
    let mut newest = (0, 0);
    for text in texts[before..].iter().filter(|text| !text.contains("VOD")) {
        let parsed = m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap();
        let first = parsed.media_sequence;
        let numbers: Vec<u64> = uris(text, "").iter().map(|uri| number(uri)).collect();
        assert!(numbers.iter().copied().eq(first..first + numbers.len() as u64), "{text}");
        assert!(first > 1 && numbers.len() >= 6, "the window goes on, neither all nor the beginning: {text}");
        let now = (first, *numbers.last().unwrap());
        assert!(now >= newest && !text.contains("GAP"), "{text}");
        newest = now;
    }
    assert_eq!(newest.1, last);
    stage.stop().await;
}

fn number(uri: &str) -> u64 {
    uri.rsplit('/').next().unwrap().strip_suffix(".m4s").unwrap().parse().unwrap()
}

/// Half of a show, then the disk is lost with the process. How many segments of each rendition the bucket's journal has, where it
/// was to be told of any.
async fn half_of_a_show(theatre: &mut Theatre, journal: bool) -> usize {
    let every = if journal { Duration::from_millis(20) } else { Duration::from_secs(600) };
    theatre.storage.journal_every = every;
    let stage = theatre.open();
    let publisher = play(&stage).await;
    watch(&stage, WHOLE).await;
    let first = format!("{PREFIX}/{SHOW}/v0/0/1.m4s");
    let told = |theatre: &Theatre, rendition: &str| {
        let text = theatre.service.text(&format!("{PREFIX}/{SHOW}/index.jsonl")).unwrap_or_default();
        let is_told =
            |line: &&str| line.contains(r#""kept":true"#) && line.contains(&format!(r#""rendition":"{rendition}""#));
        text.lines().filter(is_told).count()
    };
    let is_there = |theatre: &Theatre| {
        let whole = WHOLE as usize;
        theatre.service.objects().contains_key(&first)
            && (!journal || (told(theatre, "v0") >= whole && told(theatre, "a0") >= whole))
    };
    theatre.eventually("the first half in the bucket", is_there).await;
    stage.stop().await;
    drop(publisher);
    std::fs::remove_dir_all(theatre.data.path().join("hls")).unwrap();
    told(theatre, "v0")
}

/// The segments that a playlist lists as being there.
fn present(playlist: &str) -> Vec<String> {
    let mut is_gap = false;
    let uri = |line: &str| match line {
        "#EXT-X-GAP" => {
            is_gap = true;
            None
        }
        line if line.starts_with('#') => None,
        line => (!std::mem::take(&mut is_gap)).then(|| line.to_owned()),
    };
    playlist.lines().filter_map(uri).collect()
}

#[tokio::test]
async fn a_disk_that_is_lost_in_mid_show_takes_nothing_from_it_that_the_bucket_was_told_of() {
    let mut theatre = Theatre::new().await;
    let told = half_of_a_show(&mut theatre, true).await;
    let before = theatre.service.objects();

    let stage = theatre.open_later();
    stage.expect(SHOW).await;
    let waiting = stage.fetch_text(&format!("/hls/{SHOW}/v0/index.m3u8")).await;
    let first: Vec<_> = (1..=told).map(|number| format!("0/{number}.m4s")).collect();
    assert_eq!(present(&waiting), first, "{waiting}");
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, OTHER_CLIP.epoch(), &OTHER_CLIP.frames).await;
    stage.end(SHOW, publisher).await;
    theatre.complete().await;
    for rendition in ["v0", "a0"] {
        let own = stage.fetch_text(&format!("/hls/{SHOW}/replay/{rendition}/index.m3u8")).await;
        assert_eq!(theatre.playlist(&format!("{rendition}/index.m3u8")), Some(own.clone()));
        let listed = present(&own);
        assert!(listed.len() >= WHOLE as usize + 3 && listed[..WHOLE as usize] == first[..WHOLE as usize], "{own}");
        assert_eq!(own.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{own}");
        for uri in listed {
            assert!(!stage.fetch(&format!("/hls/{SHOW}/replay/{rendition}/{uri}")).await.is_empty());
        }
    }
    let after = theatre.service.objects();
    let kept = before.iter().filter(|(key, _)| key.ends_with(".m4s") || key.ends_with(".mp4"));
    kept.for_each(|(key, bytes)| assert!(after.get(key) == Some(bytes), "{key}"));
    theatre.service.assert_never_wrong();
    // Also what no journal names.
    theatre.service.place(&format!("{PREFIX}/{SHOW}/v0/0/77.m4s"), b"uploaded after the journal");
    assert!(stage.service.delete_recording(&id(SHOW)).await.unwrap());
    assert_eq!(theatre.service.objects().keys().collect::<Vec<_>>(), Vec::<&String>::new());
    stage.stop().await;
}

/// Its session ended while the server was away.
#[tokio::test]
async fn a_show_whose_disk_was_lost_before_its_end_is_closed_from_the_bucket() {
    let mut theatre = Theatre::new().await;
    let told = half_of_a_show(&mut theatre, true).await;
    let stage = theatre.open_later();
    assert!(matches!(stage.settled(SHOW).await, Recorded::Kept { .. }));
    theatre.complete().await;
    let replay = stage.fetch_text(&format!("/hls/{SHOW}/v0/index.m3u8")).await;
    assert!(replay.contains("VOD") && present(&replay).len() == told, "{replay}");
    assert_eq!(theatre.playlist("v0/index.m3u8"), Some(replay));
    stage.stop().await;
}

/// Somebody empties the folder of a server that goes on.
#[tokio::test]
async fn a_disk_that_is_emptied_under_a_show_leaves_the_bucket_a_whole_replay_and_all_of_it_can_be_deleted() {
    // The encoder goes on as before, or sends something else.
    for second in [&CLIP, &OTHER_CLIP] {
        let mut theatre = Theatre::new().await;
        theatre.storage.journal_every = Duration::from_millis(20);
        let stage = theatre.open();
        let mut publisher = play(&stage).await;
        watch(&stage, WHOLE).await;
        let journal = format!("{PREFIX}/{SHOW}/index.jsonl");
        theatre
            .eventually("the first half in the bucket", |theatre| {
                let text = theatre.service.text(&journal).unwrap_or_default();
                text.matches(r#""kept":true"#).count() as u64 >= 2 * WHOLE
            })
            .await;
        std::fs::remove_dir_all(theatre.folder(SHOW)).unwrap();
        write(&mut publisher, second.epoch(), &second.frames).await;
        stage.end(SHOW, publisher).await;
        theatre.complete().await;
        assert_both_halves(&theatre, "1/");
        theatre.service.assert_never_wrong();
        while !stage.service.delete_recording(&id(SHOW)).await.unwrap() {
            tokio::task::yield_now().await;
        }
        assert_eq!(theatre.service.objects().keys().collect::<Vec<_>>(), Vec::<&String>::new());
        stage.stop().await;
    }
}

/// The replay in the bucket has the first half, and the second under an epoch of its own.
fn assert_both_halves(theatre: &Theatre, second: &str) {
    let replay = theatre.playlist("v0/index.m3u8").unwrap();
    let listed = present(&replay);
    assert_eq!(listed[..WHOLE as usize], ["0/1.m4s", "0/2.m4s", "0/3.m4s"], "{replay}");
    let after = listed.iter().filter(|uri| uri.starts_with(second)).count();
    assert!(after >= 2 && replay.contains("VOD"), "{after} of the second half in {replay}");
}

/// As a co-host does, of whom nobody knows that they were live: they begin anew, and the bucket keeps what was before.
#[tokio::test]
async fn who_begins_anew_on_a_lost_disk_keeps_the_first_half_in_the_bucket() {
    let mut theatre = Theatre::new().await;
    half_of_a_show(&mut theatre, true).await;
    let stage = theatre.open_later();
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, OTHER_CLIP.epoch(), &OTHER_CLIP.frames).await;
    stage.end(SHOW, publisher).await;
    theatre.complete().await;
    let replay = theatre.playlist("v0/index.m3u8").unwrap();
    let second = present(&replay).last().unwrap().split('/').next().unwrap().to_owned();
    assert_ne!(second, "0");
    assert_both_halves(&theatre, &format!("{second}/"));
    assert!(stage.service.delete_recording(&id(SHOW)).await.unwrap());
    assert_eq!(theatre.service.objects().keys().collect::<Vec<_>>(), Vec::<&String>::new());
    stage.stop().await;
}

/// The bucket was not told of it either, or does not answer.
#[tokio::test]
async fn a_disk_that_is_lost_in_mid_show_has_no_key_stand_for_other_bytes() {
    for is_down in [false, true] {
        let mut theatre = Theatre::new().await;
        half_of_a_show(&mut theatre, false).await;
        let first = format!("{PREFIX}/{SHOW}/v0/0/1.m4s");
        let before = theatre.service.objects()[&first].clone();
        if is_down {
            theatre.line.set(State::Down);
        }
        let stage = theatre.open_later();
        stage.expect(SHOW).await;
        let mut publisher = stage.publish(SHOW).await;
        write(&mut publisher, OTHER_CLIP.epoch(), &OTHER_CLIP.frames).await;
        stage.playlist_with("v0", 1).await;
        theatre.line.set(State::Good);
        stage.end(SHOW, publisher).await;
        theatre.complete().await;
        assert!(theatre.service.objects()[&first] == before);
        theatre.service.assert_never_wrong();
        assert!(stage.service.delete_recording(&id(SHOW)).await.unwrap());
        assert_eq!(theatre.service.objects().contains_key(&first), !is_down, "who could not ask looks when it deletes");
        stage.stop().await;
    }
}
