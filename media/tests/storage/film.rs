//! A replay as one file while its segments lie in the bucket: the same bytes, no hole that is none, and nothing read for nobody.

use super::film_probe::{HOST, address, decodes, durations, film_of};
use super::line::State;
use super::stage::{LIMIT, SHOW, Stage};
use super::theatre::{Theatre, play};
use axum::body::Body;
use futures_util::StreamExt;
use http::{Request, StatusCode};
use std::path::Path;
use tower::ServiceExt;

/// The spool lets go of its segments, and of what was made of them.
fn empty_spool(theatre: &Theatre) {
    let folder = theatre.data.path().join("hls").join(SHOW);
    assert!(remove_segments(&folder) > 0);
    let _ = std::fs::remove_file(folder.join("film"));
}

fn remove_segments(folder: &Path) -> usize {
    let mut removed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            removed += remove_segments(&path);
        } else if path.extension().is_some_and(|extension| extension == "m4s") {
            std::fs::remove_file(path).unwrap();
            removed += 1;
        }
    }
    removed
}

/// A show of so many clips that is over, in the bucket, and no longer on the disk.
async fn in_the_bucket(theatre: &Theatre, clips: usize) {
    let stage = theatre.open();
    for _ in 1..clips {
        drop(play(&stage).await);
    }
    let publisher = play(&stage).await;
    stage.end(SHOW, publisher).await;
    stage.heard.recorded(SHOW).await;
    theatre.complete().await;
    stage.stop().await;
    empty_spool(theatre);
}

#[tokio::test]
async fn a_film_is_the_same_from_the_bucket_as_from_the_disk() {
    let theatre = Theatre::new().await;
    let stage = theatre.open();
    let publisher = play(&stage).await;
    stage.end(SHOW, publisher).await;
    stage.heard.recorded(SHOW).await;
    let whole = film_of(&stage, SHOW).await;
    theatre.complete().await;
    assert_eq!(
        theatre.service.reads(),
        1,
        "what is on the disk is read there; of the show it was asked once at the end"
    );
    stage.stop().await;
    empty_spool(&theatre);

    let stage = theatre.open();
    let again = film_of(&stage, SHOW).await;
    assert!(again == whole);
    assert!(theatre.service.reads() >= 16, "each segment once for the film and once for who downloads it");
    let path = theatre.data.path().join("video.mp4");
    std::fs::write(&path, &again).unwrap();
    decodes(&path);
    assert!((durations(&path).0 - 8.0).abs() <= 0.034);
    let part = stage.send(http::Method::GET, &address(SHOW), &[("range", "bytes=300000-399999")]).await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert!(part.body == whole[300_000..400_000]);
    stage.stop().await;
}

#[tokio::test]
async fn a_bucket_that_is_away_is_waited_for_and_leaves_no_hole() {
    let theatre = Theatre::new().await;
    in_the_bucket(&theatre, 1).await;
    let stage = theatre.open();
    theatre.line.set(State::Down);
    let refused = loop {
        let answer = stage.get(&address(SHOW)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
        assert!(!answer.header("retry-after").is_empty());
        if answer.text().contains("could not") {
            break answer;
        }
    };
    assert!(refused.text().contains("try again"), "{}", refused.text());
    let progress = stage.get(&format!("/hls/{SHOW}/replay/video.json?ticket={HOST}")).await;
    assert_eq!((progress.status, progress.text()), (StatusCode::OK, r#"{"state":"failed"}"#));
    assert!(!theatre.data.path().join("hls").join(SHOW).join("film").exists());
    theatre.line.set(State::Good);
    let path = theatre.data.path().join("video.mp4");
    std::fs::write(&path, film_of(&stage, SHOW).await).unwrap();
    decodes(&path);
    assert!((durations(&path).0 - 8.0).abs() <= 0.034, "nothing is missing");
    stage.stop().await;
}

#[tokio::test]
async fn for_those_who_go_nothing_more_is_read() {
    let theatre = Theatre::new().await;
    in_the_bucket(&theatre, 4).await;
    let stage = theatre.open();
    let whole = film_of(&stage, SHOW).await;
    let before = theatre.service.reads();
    let first = first_bytes(&stage).await;
    assert!(whole.starts_with(&first));
    // Two objects are read ahead; both may have been asked for, and no third.
    let after = theatre.service.reads() - before;
    assert!(after <= 2, "{after} objects were read for somebody who was gone");
    stage.stop().await;
}

/// Takes what comes first of a download and goes.
async fn first_bytes(stage: &Stage) -> Vec<u8> {
    let request = Request::builder().uri(address(SHOW)).body(Body::empty()).unwrap();
    let answer = stage.router.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body().into_data_stream();
    let first = tokio::time::timeout(LIMIT, body.next()).await.unwrap();
    first.expect("it has a beginning").unwrap().to_vec()
}
