//! The server stops and starts again, in good order or not; a show is over and played from the disk.

use super::clip::{CLIP, OTHER_CLIP};
use super::stage::{FIRST, LIMIT, SHOW, Stage, id, later, uris, write};
use chobi_media::config::StorageConfig;
use chobi_media::hls::HlsConfig;
use chobi_media::hub::Publisher;
use chobi_media::seam::Recorded;
use http::StatusCode;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

fn numbers(playlist: &str) -> Vec<u64> {
    let number = |uri: &String| uri.split_once('/').unwrap().1.strip_suffix(".m4s").unwrap().parse().unwrap();
    uris(playlist, "").iter().map(number).collect()
}

/// A show of which the clip was written.
async fn shown(folder: &Path) -> (Stage, Publisher) {
    let stage = Stage::new(folder);
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    stage.playlist_with("v0", 3).await;
    (stage, publisher)
}

#[tokio::test]
async fn a_recording_is_served_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    stage.end(SHOW, publisher).await;
    let live = stage.ended_playlist("v0").await;
    stage.stop().await;

    let stage = Stage::new(folder.path());
    let multivariant = stage.fetch_text(&format!("/hls/{SHOW}/index.m3u8")).await;
    assert!(multivariant.contains("v0/index.m3u8") && multivariant.contains("RESOLUTION=320x180"), "{multivariant}");
    let recording = stage.fetch_text(&format!("/hls/{SHOW}/v0/index.m3u8")).await;
    let parsed = m3u8_rs::parse_media_playlist_res(recording.as_bytes()).unwrap();
    assert!(parsed.end_list && parsed.playlist_type == Some(m3u8_rs::MediaPlaylistType::Vod));
    assert_eq!(uris(&recording, ""), uris(&live, ""));
    for uri in uris(&recording, "").iter().chain(&uris(&recording, "#EXT-X-MAP")) {
        assert!(!stage.fetch(&format!("/hls/{SHOW}/v0/{uri}")).await.is_empty());
    }
    assert!(stage.service.delete_recording(&id(SHOW)).await.unwrap());
    assert_eq!(stage.get(&format!("/hls/{SHOW}/index.m3u8")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_stopped_show_resumes_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    let before = stage.playlist_with("v0", 3).await;
    stage.stop().await;

    let stage = Stage::new(folder.path());
    assert_eq!(
        stage.get(&format!("/hls/{SHOW}/index.m3u8")).await.status,
        StatusCode::NOT_FOUND,
        "nobody expects it yet"
    );
    stage.expect(SHOW).await;
    let multivariant = stage.fetch_text(&format!("/hls/{SHOW}/index.m3u8")).await;
    assert!(multivariant.contains("v0/index.m3u8") && multivariant.contains("a0/index.m3u8"), "{multivariant}");
    let waiting = stage.fetch_text(&format!("/hls/{SHOW}/v0/index.m3u8")).await;
    assert!(!waiting.contains("ENDLIST") && !waiting.contains("#EXT-X-GAP"), "{waiting}");
    assert_eq!(numbers(&waiting)[..3], numbers(&before)[..3]);
    let last = *numbers(&waiting).last().unwrap();
    assert!(!stage.fetch(&format!("/hls/{SHOW}/v0/0/{last}.m4s")).await.is_empty(), "the open segment was flushed");

    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    let after = stage.playlist_with("v0", last + 2).await;
    assert_eq!(numbers(&after)[..usize::try_from(last).unwrap() + 2], (FIRST..=last + 2).collect::<Vec<_>>()[..]);
    assert_eq!(after.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{after}");
    assert!(uris(&after, "").iter().any(|uri| uri.starts_with("1/")), "{after}");
    let audio = stage.playlist_with("a0", last + 2).await;
    assert_eq!(audio.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{audio}");
}

#[tokio::test]
async fn after_a_crash_the_segment_that_was_lost_is_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let (stage, _publisher) = shown(folder.path()).await;
    stage.stop().await;
    // What a crash leaves: no word of a good end, and half a line.
    let path = folder.path().join("hls").join(SHOW).join("index.jsonl");
    let journal = std::fs::read_to_string(&path).unwrap();
    let mut kept: Vec<&str> = journal.lines().collect();
    assert_eq!(kept.pop(), Some(r#"{"entry":"stopped"}"#));
    let mut file = std::fs::File::create(&path).unwrap();
    write!(file, "{}\n{{\"entry\":\"segm", kept.join("\n")).unwrap();
    drop(file);

    let stage = Stage::new(folder.path());
    stage.expect(SHOW).await;
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    let video = kept.iter().filter(|line| line.contains(r#""rendition":"v0""#)).count() as u64;
    let playlist = stage.playlist_with("v0", video + 3).await;
    assert_eq!(playlist.matches("#EXT-X-GAP\n").count(), 1, "{playlist}");
    assert_eq!(playlist.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{playlist}");
    assert_eq!(uris(&playlist, "")[usize::try_from(video).unwrap()], format!("0/{}.m4s", video + 1));
    assert_eq!(uris(&playlist, "")[usize::try_from(video).unwrap() + 1], format!("1/{}.m4s", video + 2));
}

#[tokio::test]
async fn a_disk_that_fails_does_not_stop_the_show() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hls"), "not a folder").unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    let playlist = stage.playlist_with("v0", 3).await;
    for uri in uris(&playlist, "") {
        assert!(!stage.fetch(&format!("/hls/{SHOW}/v0/{uri}")).await.is_empty());
    }
}

#[tokio::test]
async fn segments_older_than_the_window_come_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    for round in 0..4 {
        let mut publisher = stage.publish(SHOW).await;
        write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
        stage.playlist_with("v0", round * 4 + 3).await;
    }
    let playlist = stage.playlist_with("v0", 15).await;
    assert!(numbers(&playlist)[0] > FIRST, "{playlist}");
    assert_eq!(&stage.fetch(&format!("/hls/{SHOW}/v0/0/1.m4s")).await[4..8], b"moof");
    assert_eq!(&stage.fetch(&format!("/hls/{SHOW}/a0/0/1.m4s")).await[4..8], b"moof");
}

#[tokio::test]
async fn a_show_whose_end_was_missed_can_be_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (stage, _publisher) = shown(folder.path()).await;
    stage.service.settle_recording(&id(SHOW)).await.unwrap();
    assert!(!stage.playlist_with("v0", 3).await.contains("#EXT-X-ENDLIST"), "it is live");
    stage.stop().await;

    let stage = Stage::new(folder.path());
    let path = format!("/hls/{SHOW}/v0/index.m3u8");
    assert_eq!(stage.get(&path).await.status, StatusCode::NOT_FOUND);
    assert!(matches!(stage.settled(SHOW).await, Recorded::Kept { .. }));
    let journal = || std::fs::read_to_string(folder.path().join("hls").join(SHOW).join("index.jsonl")).unwrap();
    let closed = journal();
    stage.service.settle_recording(&id(SHOW)).await.unwrap();
    assert_eq!(journal(), closed, "it has its end");
    assert!(stage.fetch_text(&path).await.ends_with("#EXT-X-ENDLIST\n"));
}

/// What a process leaves that is killed before its first segment is whole: an init, and the line of its epoch.
#[tokio::test]
async fn an_epoch_that_was_killed_before_its_first_segment_gives_its_number_to_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames[..40]).await;
    stage.stop().await;
    drop(publisher);
    let show = folder.path().join("hls").join(SHOW);
    let journal = std::fs::read_to_string(show.join("index.jsonl")).unwrap();
    let begun: Vec<_> = journal.lines().filter(|line| line.contains(r#""entry":"epoch""#)).collect();
    assert_eq!(begun.len(), 1, "{journal}");
    std::fs::write(show.join("index.jsonl"), format!("{}\n", begun[0])).unwrap();
    let init = std::fs::read(show.join("v0/0/init.mp4")).unwrap();

    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, OTHER_CLIP.epoch(), &OTHER_CLIP.frames).await;
    let playlist = stage.playlist_with("v0", FIRST).await;
    assert_eq!(uris(&playlist, "")[0], format!("1/{FIRST}.m4s"), "{playlist}");
    assert!(playlist.contains("#EXT-X-DISCONTINUITY-SEQUENCE:0\n"), "{playlist}");
    assert!(stage.fetch(&format!("/hls/{SHOW}/v0/1/init.mp4")).await != init);
    assert_eq!(std::fs::read(show.join("v0/0/init.mp4")).unwrap(), init, "what it stood for it stands for still");
}

#[tokio::test]
async fn a_picture_that_cannot_be_read_takes_nothing_from_the_show() {
    let folder = tempfile::tempdir().unwrap();
    let (stage, publisher) = shown(folder.path()).await;
    let picture = folder.path().join("hls").join(SHOW).join("v0/0/1.jpg");
    let begun = std::time::Instant::now();
    while !picture.exists() {
        assert!(begun.elapsed() < LIMIT, "no picture was kept");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stage.stop().await;
    drop(publisher);
    // A file that is a folder: the read fails.
    std::fs::remove_file(&picture).unwrap();
    std::fs::create_dir(&picture).unwrap();

    let stage = Stage::new(folder.path());
    stage.expect(SHOW).await;
    let waiting = stage.fetch_text(&format!("/hls/{SHOW}/v0/index.m3u8")).await;
    assert_eq!(numbers(&waiting), (FIRST..=4).collect::<Vec<_>>(), "{waiting}");
}

/// For as long as the show takes to begin, and some seconds more.
#[tokio::test]
async fn a_journal_that_cannot_be_read_loses_neither_what_it_tells_of_nor_what_follows() {
    let folder = tempfile::tempdir().unwrap();
    let (stage, publisher) = shown(folder.path()).await;
    stage.stop().await;
    drop(publisher);
    let show = folder.path().join("hls").join(SHOW);
    let (journal, aside) = (show.join("index.jsonl"), show.join("aside"));
    std::fs::rename(&journal, &aside).unwrap();
    std::fs::create_dir(&journal).unwrap();
    let first = std::fs::read(show.join("v0/0/1.m4s")).unwrap();

    let stage = Stage::at(later, folder.path(), HlsConfig::default(), StorageConfig::default());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, OTHER_CLIP.epoch(), &OTHER_CLIP.frames).await;
    let live = stage.playlist_with("v0", FIRST + 1).await;
    assert_eq!(uris(&live, "")[..2], ["7/1.m4s", "7/2.m4s"], "{live}");
    std::fs::remove_dir(&journal).unwrap();
    std::fs::rename(&aside, &journal).unwrap();
    stage.end(SHOW, publisher).await;
    assert!(matches!(stage.heard.recorded(SHOW).await, Recorded::Kept { .. }));
    for rendition in ["v0", "a0"] {
        let replay = stage.fetch_text(&format!("/hls/{SHOW}/replay/{rendition}/index.m3u8")).await;
        let listed = uris(&replay, "");
        assert_eq!(listed[..5], ["0/1.m4s", "0/2.m4s", "0/3.m4s", "0/4.m4s", "7/1.m4s"], "{replay}");
        assert!(listed.len() >= 7 && !replay.contains("GAP"), "{replay}");
        let seam = replay.split_once("0/4.m4s\n").unwrap().1;
        assert!(seam.starts_with("#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"7/init.mp4\""), "{replay}");
        for uri in listed {
            assert!(!stage.fetch(&format!("/hls/{SHOW}/replay/{rendition}/{uri}")).await.is_empty());
        }
    }
    assert_eq!(std::fs::read(show.join("v0/0/1.m4s")).unwrap(), first);
    stage.stop().await;
}
