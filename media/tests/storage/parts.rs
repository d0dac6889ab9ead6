//! Journals that name co-hosts, and a bucket that may be down: what one is not told of the other does no harm.

use super::line::State;
use super::stage::{SHOW, beside, id, uris};
use super::theatre::{SEGMENTS, Theatre, play};
use chobi_media::seam::Recorded;
use chobi_media::store::journal::{self, Entry};
use std::fs;

/// A co-host of the show was taken up, of whom the disk has nothing: they sent nothing, or theirs was deleted.
fn name_a_co_host(theatre: &Theatre) {
    let line = serde_json::to_string(&Entry::Part { broadcast: beside(SHOW, "user_7") }).unwrap();
    fs::create_dir_all(theatre.folder(SHOW)).unwrap();
    fs::write(theatre.folder(SHOW).join(journal::FILE), line + "\n").unwrap();
}

async fn assert_host_has_a_replay(theatre: &Theatre) {
    let stage = theatre.open();
    let publisher = play(&stage).await;
    stage.end(SHOW, publisher).await;
    assert!(matches!(stage.heard.recorded(SHOW).await, Recorded::Kept { has_video: true, .. }));
    stage.stop().await;
}

#[tokio::test]
async fn a_host_has_a_replay_while_the_bucket_cannot_say_what_a_co_host_left() {
    let theatre = Theatre::new().await;
    theatre.line.set(State::Down);
    name_a_co_host(&theatre);
    assert_host_has_a_replay(&theatre).await;
}

#[tokio::test]
async fn a_host_has_a_replay_while_what_a_co_host_left_cannot_be_read() {
    let theatre = Theatre::new().await;
    name_a_co_host(&theatre);
    fs::create_dir_all(theatre.folder(beside(SHOW, "user_7").as_str()).join(journal::FILE)).unwrap();
    assert_host_has_a_replay(&theatre).await;
}

/// The disk is new, and a co-host comes after the show.
#[tokio::test]
async fn a_line_about_a_co_host_hides_no_recording_that_the_bucket_has() {
    let theatre = Theatre::new().await;
    theatre.play_and_lose_the_disk().await;
    name_a_co_host(&theatre);

    let stage = theatre.open();
    let playlist = stage.fetch_text(&format!("/hls/{SHOW}/v0/index.m3u8")).await;
    assert_eq!(uris(&playlist, "").len() as u64, SEGMENTS, "{playlist}");
    assert!(matches!(stage.settled(SHOW).await, Recorded::Kept { .. }));
    stage.stop().await;
}

#[tokio::test]
async fn a_line_about_a_co_host_leaves_nothing_in_the_bucket_of_what_is_deleted() {
    let theatre = Theatre::new().await;
    theatre.play_and_lose_the_disk().await;
    name_a_co_host(&theatre);

    let stage = theatre.open();
    let lists = theatre.service.lists();
    assert!(stage.service.delete_recording(&id(SHOW)).await.unwrap());
    assert_eq!(theatre.service.objects().keys().collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(theatre.service.lists(), lists, "its journal in the bucket says what there is");
    assert!(!theatre.folder(SHOW).exists());
    stage.stop().await;
}
