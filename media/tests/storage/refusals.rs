//! A local disk that refuses, for a while: what it costs a show, and that nothing is told that is not so.

use super::clip::CLIP;
use super::line::State;
use super::service::Mood;
use super::stage::{LIMIT, SHOW, Stage, uris, write, write_on};
use super::theatre::{SEGMENTS, Theatre, play_and_stop, play_half, watch};
use chobi_media::seam::Recorded;
use chobi_media::store::journal::{self, Entry};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A folder that stands where a file is to be written.
struct InTheWay {
    path: PathBuf,
    aside: PathBuf,
}

impl InTheWay {
    fn of(path: PathBuf) -> Self {
        let aside = path.with_extension("aside");
        fs::rename(&path, &aside).unwrap();
        fs::create_dir(&path).unwrap();
        Self { path, aside }
    }

    fn clear(self) {
        fs::remove_dir(&self.path).unwrap();
        fs::rename(&self.aside, &self.path).unwrap();
    }
}

fn folder(data: &Path) -> PathBuf {
    data.join("hls").join(SHOW)
}

#[tokio::test]
async fn a_disk_that_refuses_when_a_show_begins_costs_it_only_what_was_shown_meanwhile() {
    let data = tempfile::tempdir().unwrap();
    let stage = Stage::new(data.path());
    let folder = folder(data.path());
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    fs::write(&folder, "a file where the show's folder is to be").unwrap();
    let (mut publisher, second) = play_half(&stage).await;
    // The disk has said no to two inits, to the line of the epoch, and to a segment of each rendition and its line.
    let health = stage.service.storage_health();
    let has_refused = |trouble: &str| {
        let failures = trouble.split_once(": ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        failures >= Some(7)
    };
    let refused = async {
        while !health.trouble().is_some_and(|trouble| has_refused(&trouble)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, refused).await.expect("refused in time");
    fs::remove_file(&folder).unwrap();
    write_on(&mut publisher, second).await;
    stage.end(SHOW, publisher).await;
    assert!(matches!(stage.heard.recorded(SHOW).await, Recorded::Kept { .. }));
    stage.stop().await;

    let stage = Stage::new(data.path());
    let playlist = stage.fetch_text(&format!("/hls/{SHOW}/v0/index.m3u8")).await;
    let parsed = m3u8_rs::parse_media_playlist_res(playlist.as_bytes()).unwrap();
    assert_eq!(parsed.segments.len() as u64, SEGMENTS, "{playlist}");
    let is_gap = |segment: &m3u8_rs::MediaSegment| segment.unknown_tags.iter().any(|tag| tag.tag == "X-GAP");
    let gaps: Vec<bool> = parsed.segments.iter().map(is_gap).collect();
    assert!(gaps[0] && !gaps[SEGMENTS as usize - 1], "{playlist}");
    for uri in uris(&playlist, "#EXT-X-MAP").iter().chain(uris(&playlist, "").last()) {
        assert!(!stage.fetch(&format!("/hls/{SHOW}/v0/{uri}")).await.is_empty());
    }
}

#[tokio::test]
async fn a_full_disk_makes_room_of_what_the_bucket_has() {
    let theatre = Theatre::new().await;
    let stage = theatre.open();
    let (mut publisher, second) = play_half(&stage).await;
    let folder = folder(theatre.data.path());
    theatre
        .eventually("the first segment to be noted as uploaded", |_| {
            fs::read_to_string(folder.join("uploads.jsonl")).is_ok_and(|text| text.contains("v0/0/1.m4s"))
        })
        .await;
    // Where the last segment is written before it has its name: the kernel says once that the disk is full.
    std::os::unix::fs::symlink("/dev/full", folder.join(format!("v0/0/{SEGMENTS}.m4s+"))).unwrap();
    write_on(&mut publisher, second).await;
    stage.end(SHOW, publisher).await;
    theatre.complete().await;
    let left = theatre.spooled();
    let is_left = |number: u64| left.contains_key(&format!("live/{SHOW}/v0/0/{number}.m4s"));
    assert!(is_left(SEGMENTS) && !(1..SEGMENTS).all(is_left), "{:?}", left.keys());
    theatre.assert_whole(SEGMENTS);
    stage.stop().await;
}

#[tokio::test]
async fn a_segment_that_the_disk_does_not_give_back_is_said_to_be_the_disks_fault() {
    let theatre = Theatre::new().await;
    theatre.service.set_mood(Mood::Picky("v0/0/1.m4s"));
    let stage = theatre.open();
    let (mut publisher, second) = play_half(&stage).await;
    let segment = theatre.folder(SHOW).join("v0/0/1.m4s");
    theatre.eventually("the segment on the disk", |_| segment.exists()).await;
    // The bucket would refuse it still, so what was read before arrives no more than what cannot be read.
    let in_the_way = InTheWay::of(segment);
    write_on(&mut publisher, second).await;
    let health = stage.service.storage_health();
    theatre
        .eventually("the disk, and the disk alone, to be in trouble", |_| {
            let trouble = health.trouble().unwrap_or_default();
            let segment = trouble.contains("cannot read") && trouble.contains("v0/0/1.m4s: Is a directory");
            segment && trouble.starts_with("the disk fails") && !trouble.contains("the bucket")
        })
        .await;
    in_the_way.clear();
    theatre.service.set_mood(Mood::Fine);
    stage.end(SHOW, publisher).await;
    theatre.complete().await;
    theatre.assert_whole(SEGMENTS);
    stage.stop().await;
}

#[tokio::test]
async fn what_the_bucket_has_and_the_disk_was_not_told_of_is_no_gap() {
    let theatre = Theatre::new().await;
    let stage = theatre.open();
    let (mut publisher, second) = play_half(&stage).await;
    let uploads = folder(theatre.data.path()).join("uploads.jsonl");
    let marks = || fs::read_to_string(&uploads).map_or(0, |text| text.lines().count());
    // Two inits, two segments or more, a picture.
    theatre
        .eventually("all so far to be in the bucket, and noted", |theatre| {
            marks() >= 5 && marks() == theatre.spooled().len()
        })
        .await;
    let in_the_way = InTheWay::of(uploads);
    write_on(&mut publisher, second).await;
    stage.end(SHOW, publisher).await;
    watch(&stage, SEGMENTS).await;
    theatre
        .eventually("everything to be in the bucket", |theatre| {
            let bucket = theatre.service.objects();
            theatre.spooled().keys().filter(|key| bucket.contains_key(*key)).count() as u64 >= 2 + SEGMENTS * 2
        })
        .await;
    in_the_way.clear();
    theatre.complete().await;
    theatre.assert_whole(SEGMENTS);
    stage.stop().await;
}

#[tokio::test]
async fn a_recording_that_could_not_be_deleted_is_not_said_to_be_gone() {
    let theatre = Theatre::new().await;
    let stage = theatre.open();
    stage.door.keeps_nothing.store(true, Ordering::Relaxed);
    let (mut publisher, second) = play_half(&stage).await;
    let journal = folder(theatre.data.path()).join("index.jsonl");
    theatre.eventually("a segment in the journal", |_| journal.exists()).await;
    let in_the_way = InTheWay::of(journal.clone());
    write_on(&mut publisher, second).await;
    stage.end(SHOW, publisher).await;
    let playlist = stage.ended_playlist("v0").await;
    assert!(!playlist.contains("VOD"), "{playlist}");
    stage.was_told_nothing(SHOW).await;
    in_the_way.clear();
    assert_eq!(stage.settled(SHOW).await, Recorded::Nothing);
    assert!(!journal.exists());
    stage.stop().await;
}

/// More than are finished at one time, and each begins anew until the disk says what there is.
#[tokio::test]
async fn shows_of_earlier_runs_that_cannot_be_read_hold_up_nobody_and_have_their_turn() {
    let theatre = Theatre::new().await;
    theatre.line.set(State::Down);
    let stage = theatre.open();
    for show in [SHOW, "session_0", "session_9"] {
        let mut publisher = stage.publish(show).await;
        write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
        stage.end(show, publisher).await;
        stage.heard.recorded(show).await;
    }
    stage.stop().await;
    for number in 0..6 {
        fs::create_dir_all(theatre.folder(&format!("session_0{number}")).join(journal::FILE)).unwrap();
    }
    let journal = InTheWay::of(theatre.folder("session_0").join(journal::FILE));
    // Of this one not even what was uploaded can be read; it has no such file yet.
    let marks = theatre.folder("session_9").join("uploads.jsonl");
    let _ = fs::remove_file(&marks);
    fs::create_dir(&marks).unwrap();
    theatre.line.set(State::Good);
    let stage = theatre.open();
    theatre.complete().await;
    theatre.assert_whole(SEGMENTS);
    let trouble = stage.service.storage_health().trouble().unwrap_or_default();
    assert!(trouble.contains("the disk fails") && !trouble.contains("the bucket"), "{trouble}");
    journal.clear();
    fs::remove_dir(&marks).unwrap();
    for show in ["session_0", "session_9"] {
        theatre.complete_of(show).await;
        let (disk, bucket) = (theatre.spooled_of(show), theatre.service.objects());
        assert!(disk.len() as u64 > SEGMENTS * 2 && disk.iter().all(|(key, bytes)| bucket.get(key) == Some(bytes)));
    }
    stage.stop().await;
}

#[tokio::test]
async fn shows_of_earlier_runs_that_lack_nothing_hold_up_nobody() {
    let theatre = Theatre::new().await;
    theatre.line.set(State::Down);
    play_and_stop(theatre.open()).await;
    // More than are finished at one time: their sessions may go on, so their journals have no end.
    for number in 0..6 {
        let folder = theatre.data.path().join("hls").join(format!("session_0{number}"));
        fs::create_dir(&folder).unwrap();
        let epoch = Entry::Epoch { number: 0, discontinuity: 0, renditions: Vec::new() };
        fs::write(folder.join(journal::FILE), serde_json::to_string(&epoch).unwrap() + "\n").unwrap();
    }
    theatre.line.set(State::Good);
    let stage = theatre.open();
    theatre.complete().await;
    theatre.assert_whole(SEGMENTS);
    stage.stop().await;
}
