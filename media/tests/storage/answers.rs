//! A bucket that does not answer what it is asked, or refuses: reads of a replay, and its deletion.

use super::clip::CLIP;
use super::line::State;
use super::service::Mood;
use super::stage::{SHOW, Stage, id, write};
use super::theatre::{PREFIX, SEGMENTS, Theatre, play, watch};
use chobi_media::config::StorageConfig;
use chobi_media::hls::Archive;
use chobi_media::seam::{MediaEvent, Recorded};
use chobi_media::store::{BucketFault, S3Store, StoreError};
use http::StatusCode;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A show that is over, all of it in the bucket.
async fn recorded(theatre: &mut Theatre) -> Stage {
    theatre.storage = StorageConfig { attempt_timeout: Duration::from_millis(500), ..theatre.storage.clone() };
    let stage = theatre.open();
    let publisher = play(&stage).await;
    stage.end(SHOW, publisher).await;
    watch(&stage, SEGMENTS).await;
    theatre.complete().await;
    stage
}

#[tokio::test]
async fn a_read_that_hangs_is_given_up_and_players_are_told_to_come_again() {
    let mut theatre = Theatre::new().await;
    let stage = recorded(&mut theatre).await;
    let path = format!("/hls/{SHOW}/replay/v0/0/2.m4s");
    let kept = theatre.spooled()[&format!("{PREFIX}/{SHOW}/v0/0/2.m4s")].clone();
    std::fs::remove_file(theatre.data.path().join("hls").join(SHOW).join("v0/0/2.m4s")).unwrap();
    theatre.service.set_mood(Mood::Hanging);
    let answer = stage.get(&path).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "404 would have a player give it up");
    assert!(!answer.header("retry-after").is_empty());
    let cached = answer.header("cache-control");
    assert!(!cached.contains("immutable") && !cached.contains("public"), "nobody keeps this answer: {cached}");
    // Everything that is on the disk plays on meanwhile.
    assert!(!stage.fetch(&format!("/hls/{SHOW}/replay/v0/0/3.m4s")).await.is_empty());
    theatre.service.set_mood(Mood::Fine);
    assert_eq!(stage.fetch(&path).await, kept);
    stage.stop().await;
}

/// Once the show has left the stage.
async fn delete(stage: &Stage) -> Result<(), StoreError> {
    while !stage.service.delete_recording(&id(SHOW)).await? {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// A deletion that fails leaves what it did not delete, so that it can be made again, and then leaves nothing.
async fn is_deleted_in_the_end(mood: Mood, expected: BucketFault) {
    let mut theatre = Theatre::new().await;
    let stage = recorded(&mut theatre).await;
    let before = theatre.service.objects();
    theatre.service.set_mood(mood);
    let refused = delete(&stage).await.unwrap_err();
    assert!(matches!(refused, StoreError::Bucket { fault, .. } if fault == expected), "{refused}");
    assert_eq!(theatre.service.objects(), before);
    assert!(!theatre.spooled().is_empty(), "the disk still knows what there is");
    for path in ["index.m3u8", "v0/index.m3u8", "v0/0/1.m4s", "replay/index.m3u8", "thumbnail.jpg"] {
        let answer = stage.get(&format!("/hls/{SHOW}/{path}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "whose deletion was ordered is not shown: {path}");
    }
    theatre.service.set_mood(Mood::Fine);
    delete(&stage).await.unwrap();
    assert_eq!(theatre.service.objects().len(), 0);
    assert_eq!(theatre.spooled().len(), 0);
    assert_eq!(stage.get(&format!("/hls/{SHOW}/index.m3u8")).await.status, StatusCode::NOT_FOUND);
    stage.stop().await;
}

#[tokio::test]
async fn a_deletion_that_hangs_is_given_up_and_made_again() {
    is_deleted_in_the_end(Mood::Hanging, BucketFault::TimedOut).await;
}

#[tokio::test]
async fn keys_that_may_not_delete_leave_the_recording_whole_until_they_may() {
    is_deleted_in_the_end(Mood::Clinging, BucketFault::Denied).await;
}

/// Orders are carried out eight at a time, and none of them takes the turn of an upload.
#[tokio::test]
async fn a_deletion_that_hangs_holds_up_no_other_order_and_no_upload() {
    let mut theatre = Theatre::new().await;
    // It hangs until the test is over.
    theatre.storage.attempt_timeout = Duration::from_secs(600);
    let stage = theatre.open();
    for show in ["session_slow", "session_2"] {
        let mut publisher = stage.publish(show).await;
        write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
        stage.end(show, publisher).await;
        stage.heard.recorded(show).await;
        theatre.complete_of(show).await;
    }
    theatre.service.set_mood(Mood::HangingOnce);
    let archive = Archive::open(stage.service.clone(), &TaskTracker::new(), stage.cancel.clone());
    archive.delete(id("session_slow"), Vec::new());
    theatre.eventually("the deletion to hang", |theatre| theatre.service.hangs()).await;

    archive.delete(id("session_2"), Vec::new());
    let is_gone = |event: &MediaEvent| matches!(event, MediaEvent::RecordingDeleted { broadcast, .. } if *broadcast == id("session_2"));
    stage.heard.wait_for(|events| events.iter().any(is_gone)).await;
    let publisher = play(&stage).await;
    stage.end(SHOW, publisher).await;
    watch(&stage, SEGMENTS).await;
    theatre.complete().await;
    theatre.assert_whole(SEGMENTS);
    archive.settle(id("session_3"));
    assert_eq!(stage.heard.recorded("session_3").await, Recorded::Nothing);
    let left = theatre.service.objects();
    assert!(left.keys().any(|key| key.starts_with("live/session_slow/")), "it hangs still");
    assert!(!left.keys().any(|key| key.starts_with("live/session_2/")));
    stage.stop().await;
}

#[tokio::test]
async fn what_is_to_be_deleted_is_shown_to_nobody_before_its_turn_has_come() {
    let theatre = Theatre::new().await;
    let stage = theatre.open();
    let publisher = play(&stage).await;
    stage.end(SHOW, publisher).await;
    stage.heard.recorded(SHOW).await;
    stage.stop().await;
    let stage = theatre.open();
    let address = format!("/hls/{SHOW}/index.m3u8");
    assert_eq!(stage.get(&address).await.status, StatusCode::OK);
    // Nobody carries its orders out.
    let over = CancellationToken::new();
    over.cancel();
    Archive::open(stage.service.clone(), &TaskTracker::new(), over).delete(id(SHOW), Vec::new());
    assert_eq!(stage.get(&address).await.status, StatusCode::NOT_FOUND);
    stage.stop().await;
}

#[tokio::test]
async fn keys_that_may_not_list_are_known_by_one_question() {
    let theatre = Theatre::new().await;
    let bucket = S3Store::new(&theatre.storage);
    assert!(bucket.tells_of_absence().await.unwrap());
    theatre.service.set_mood(Mood::Reticent);
    assert!(!bucket.tells_of_absence().await.unwrap());
    theatre.line.set(State::Down);
    assert!(bucket.tells_of_absence().await.is_err(), "nothing is known of one that is away");
}
