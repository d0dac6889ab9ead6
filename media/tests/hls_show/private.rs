//! Shows that not everybody may watch.

use super::clip::CLIP;
use super::stage::{Heard, Stage, id, write};
use chobi_media::model::ViewerId;
use http::{Method, StatusCode};
use std::sync::atomic::Ordering;

const PRIVATE: &str = "session_private";

async fn live(folder: &tempfile::TempDir) -> (Stage, chobi_media::hub::Publisher) {
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(PRIVATE).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    (stage, publisher)
}

#[tokio::test(start_paused = true)]
async fn a_ticket_opens_a_private_show_and_a_pass_carries_on() {
    let folder = tempfile::tempdir().unwrap();
    let (stage, _publisher) = live(&folder).await;
    for path in ["index.m3u8", "v0/index.m3u8", "v0/0/init.mp4", "v0/0/1.m4s", "v0/0/1.0.m4s"] {
        assert_eq!(stage.get(&format!("/hls/{PRIVATE}/{path}")).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    let wrong = stage.get(&format!("/hls/{PRIVATE}/index.m3u8?ticket=stolen")).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);

    let bearer = [("authorization", "Bearer user_2")];
    for answer in [
        stage.get(&format!("/hls/{PRIVATE}/index.m3u8?ticket=user%5F1")).await,
        stage.send(Method::GET, &format!("/hls/{PRIVATE}/index.m3u8"), &bearer).await,
    ] {
        assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::OK, "private, no-cache"));
        assert!(answer.header("set-cookie").is_empty());
        assert!(!answer.text().contains("user_"), "the ticket is in no address");
        let asked = stage.door.asked.load(Ordering::Relaxed);
        let uri = answer.text().lines().last().unwrap();
        let base = format!("/hls/{PRIVATE}/{}", uri.strip_suffix("/v0/index.m3u8").unwrap());
        for path in ["v0/index.m3u8", "a0/index.m3u8", "v0/0/init.mp4", "v0/0/1.m4s", "v0/0/2.0.m4s"] {
            let answer = stage.get(&format!("{base}/{path}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            assert!(answer.header("cache-control").starts_with("private"), "{path}");
        }
        assert_eq!(stage.door.asked.load(Ordering::Relaxed), asked, "a pass needs no question");
        let elsewhere = base.replace(PRIVATE, "session_private_2");
        assert_eq!(stage.get(&format!("{elsewhere}/v0/index.m3u8")).await.status, StatusCode::UNAUTHORIZED);
    }
    let events = stage.heard.wait_for(|events| Heard::viewers(events).len() == 2).await;
    assert_eq!(Heard::viewers(&events), ["+user_1", "+user_2"], "a viewer is who the ticket says");

    stage.eject(PRIVATE, "user_1");
    let back = stage.get(&format!("/hls/{PRIVATE}/index.m3u8?ticket=user_1")).await;
    assert_eq!(back.status, StatusCode::FORBIDDEN);
}

/// The address up to the playlists, with the pass that this ticket is worth.
async fn passed(stage: &Stage, ticket: &str) -> String {
    let answer = stage.get(&format!("/hls/{PRIVATE}/index.m3u8?ticket={ticket}")).await;
    let uri = answer.text().lines().last().unwrap().to_owned();
    format!("/hls/{PRIVATE}/{}", uri.strip_suffix("/v0/index.m3u8").unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_pass_is_worth_nothing_once_its_bearer_was_put_out_and_again_when_that_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let (stage, publisher) = live(&folder).await;
    let (out, other) = (passed(&stage, "user_1").await, passed(&stage, "user_2").await);
    stage.eject(PRIVATE, "user_1");
    let paths = ["index.m3u8", "v0/index.m3u8", "v0/0/init.mp4", "v0/0/1.m4s", "v0/0/2.0.m4s", "replay/index.m3u8"];
    for path in paths {
        assert_eq!(stage.get(&format!("{out}/{path}")).await.status, StatusCode::FORBIDDEN, "{path}");
        assert_ne!(stage.get(&format!("{other}/{path}")).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    stage.ejected.take_back(&id(PRIVATE), &ViewerId::parse("user_1").unwrap());
    assert_eq!(stage.get(&format!("{out}/v0/0/1.m4s")).await.status, StatusCode::OK);

    // What was signed while the show was live opens no recording of it either.
    stage.eject(PRIVATE, "user_1");
    stage.end(PRIVATE, publisher).await;
    stage.heard.recorded(PRIVATE).await;
    for (base, status) in [(&out, StatusCode::FORBIDDEN), (&other, StatusCode::OK)] {
        assert_eq!(stage.get(&format!("{base}/replay/index.m3u8")).await.status, status);
        assert_eq!(stage.get(&format!("{base}/v0/0/1.m4s")).await.status, status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_public_show_is_asked_about_once() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish("session_1").await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames[..300]).await;
    for _ in 0..50 {
        stage.fetch("/hls/session_1/v0/index.m3u8").await;
    }
    assert_eq!(stage.door.asked.load(Ordering::Relaxed), 1);
}
