//! The table of faults. In each: viewers of the server see the whole show, the bucket has every byte afterwards, and its
//! playlists never named what was not there.

use super::line::State;
use super::service::Mood;
use super::stage::SHOW;
use super::theatre::{SEGMENTS, Theatre, WHOLE, play, watch};
use chobi_media::config::StorageConfig;
use std::time::Duration;

/// Patience short enough for a test; a good upload here takes some milliseconds.
fn impatient(theatre: &mut Theatre) {
    theatre.storage = StorageConfig {
        attempt_timeout: Duration::from_millis(500),
        gap_after: Duration::from_secs(30),
        ..theatre.storage.clone()
    };
}

/// Plays the show while something is wrong, mends it once it was felt, and looks for what is missing.
async fn survives(theatre: Theatre, mend: impl FnOnce(&Theatre, &str)) -> Theatre {
    let stage = theatre.open();
    let publisher = play(&stage).await;
    watch(&stage, WHOLE).await;
    stage.end(SHOW, publisher).await;
    watch(&stage, SEGMENTS).await;
    let health = stage.service.storage_health();
    theatre.eventually("operators to be told", |_| health.trouble().is_some()).await;
    mend(&theatre, &health.trouble().unwrap_or_default());
    theatre.complete().await;
    theatre.assert_whole(SEGMENTS);
    assert_eq!(health.trouble(), None, "it is well again");
    stage.stop().await;
    theatre
}

#[tokio::test]
async fn a_slow_line_delays_and_loses_nothing() {
    let mut theatre = Theatre::new().await;
    // One at a time for all of the node: objects and playlists take turns.
    theatre.storage.uploads_per_node = 1;
    theatre.line.set(State::Slow(Duration::from_millis(20)));
    let stage = theatre.open();
    let publisher = play(&stage).await;
    watch(&stage, WHOLE).await;
    stage.end(SHOW, publisher).await;
    theatre.complete().await;
    theatre.assert_whole(SEGMENTS);
}

#[tokio::test]
async fn a_service_that_says_slow_down_is_asked_again() {
    let mut theatre = Theatre::new().await;
    impatient(&mut theatre);
    theatre.service.set_mood(Mood::Busy);
    let theatre = survives(theatre, |theatre, _| theatre.service.set_mood(Mood::Fine)).await;
    assert!(theatre.service.refused() > 0);
}

#[tokio::test]
async fn keys_that_may_not_write_are_told_to_operators_and_nothing_is_lost_once_they_may() {
    let mut theatre = Theatre::new().await;
    impatient(&mut theatre);
    theatre.service.set_mood(Mood::Denying);
    let stage = theatre.open();
    let publisher = play(&stage).await;
    watch(&stage, WHOLE).await;
    theatre.eventually("a word to operators", |_| stage.service.storage_health().trouble().is_some()).await;
    let trouble = stage.service.storage_health().trouble().unwrap();
    assert!(trouble.contains("403 AccessDenied") && trouble.contains("segments"), "{trouble}");
    stage.end(SHOW, publisher).await;
    theatre.service.set_mood(Mood::Fine);
    theatre.complete().await;
    theatre.assert_whole(SEGMENTS);
    assert_eq!(stage.service.storage_health().trouble(), None);
}

#[tokio::test]
async fn a_service_that_is_down_for_a_while_gets_everything_when_it_is_back() {
    let mut theatre = Theatre::new().await;
    impatient(&mut theatre);
    theatre.line.set(State::Down);
    survives(theatre, |theatre, _| theatre.line.set(State::Good)).await;
}

#[tokio::test]
async fn a_line_that_falls_silent_is_given_up_and_tried_anew() {
    let mut theatre = Theatre::new().await;
    impatient(&mut theatre);
    theatre.line.set(State::Silent);
    survives(theatre, |theatre, _| theatre.line.set(State::Good)).await;
}

#[tokio::test]
async fn uploads_cut_in_the_middle_leave_no_half_objects() {
    let mut theatre = Theatre::new().await;
    impatient(&mut theatre);
    // Heads of requests go through, bodies of segments do not.
    theatre.line.set(State::CutAfter(3_000));
    survives(theatre, |theatre, _| theatre.line.set(State::Good)).await;
}

#[tokio::test]
async fn a_bucket_that_is_full_is_told_to_operators_and_gets_everything_once_there_is_room() {
    let mut theatre = Theatre::new().await;
    impatient(&mut theatre);
    theatre.service.set_mood(Mood::Full);
    survives(theatre, |theatre, trouble| {
        assert!(trouble.contains("507 InsufficientStorage"), "{trouble}");
        theatre.service.set_mood(Mood::Fine);
    })
    .await;
}

/// Plays the show while something is wrong that uploads overcome by themselves.
async fn gets_through(theatre: &Theatre) {
    let stage = theatre.open();
    let publisher = play(&stage).await;
    watch(&stage, WHOLE).await;
    stage.end(SHOW, publisher).await;
    watch(&stage, SEGMENTS).await;
    theatre.complete().await;
    theatre.assert_whole(SEGMENTS);
    assert_eq!(stage.service.storage_health().trouble(), None);
    stage.stop().await;
}

#[tokio::test]
async fn half_of_the_uploads_may_fail_and_nothing_is_lost() {
    let mut theatre = Theatre::new().await;
    impatient(&mut theatre);
    theatre.service.set_mood(Mood::Half);
    gets_through(&theatre).await;
    assert!(theatre.service.refused() > SEGMENTS as usize, "{}", theatre.service.refused());
}

#[tokio::test]
async fn an_upload_whose_answer_was_lost_is_made_again_with_the_same_bytes() {
    let mut theatre = Theatre::new().await;
    impatient(&mut theatre);
    theatre.service.set_mood(Mood::Forgetful);
    gets_through(&theatre).await;
    // Segments and inits of both renditions at least.
    assert!(theatre.service.unanswered() as u64 >= SEGMENTS * 2 + 2, "{}", theatre.service.unanswered());
}

#[tokio::test]
async fn a_line_that_loses_packets_delays_and_loses_nothing() {
    let theatre = Theatre::new().await;
    theatre.line.set(State::Lossy);
    gets_through(&theatre).await;
}

#[tokio::test]
async fn a_segment_that_is_late_is_a_gap_live_and_whole_in_the_replay() {
    let mut theatre = Theatre::new().await;
    // Long enough for all the others on a busy machine.
    theatre.storage.gap_after = Duration::from_secs(5);
    theatre.service.set_mood(Mood::Picky("v0/0/2.m4s"));
    let stage = theatre.open();
    let publisher = play(&stage).await;
    watch(&stage, WHOLE).await;
    theatre
        .eventually("the live playlist to go on behind a gap", |theatre| {
            theatre
                .playlist("v0/index.m3u8")
                .is_some_and(|text| text.contains("#EXT-X-GAP") && text.contains("0/3.m4s"))
        })
        .await;
    let live = theatre.playlist("v0/index.m3u8").unwrap();
    assert!(live.contains("#EXT-X-GAP\n#EXTINF:2.00000,\n0/2.m4s"), "{live}");
    assert!(!theatre.playlist("a0/index.m3u8").unwrap().contains("GAP"));
    theatre.service.set_mood(Mood::Fine);
    stage.end(SHOW, publisher).await;
    theatre.complete().await;
    theatre.assert_whole(SEGMENTS);
    let before = theatre.service.texts(&format!("live/{SHOW}/v0/index.m3u8"));
    let gone =
        before.windows(2).any(|pair| pair[0].contains("GAP") && !pair[1].contains("GAP") && !pair[1].contains("VOD"));
    assert!(!gone, "a live playlist does not take back what it said");
}
