//! Who counts as a viewer, and for how long.

use super::clip::CLIP;
use super::stage::{Heard, SHOW, Stage, write};
use chobi_media::seam::MediaEvent;
use http::{Method, StatusCode};
use std::time::Duration;

async fn live(folder: &tempfile::TempDir) -> (Stage, chobi_media::hub::Publisher) {
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    stage.playlist_with("v0", 3).await;
    (stage, publisher)
}

#[tokio::test(start_paused = true)]
async fn a_viewer_joins_with_the_first_media_and_leaves_when_silent() {
    let folder = tempfile::tempdir().unwrap();
    let (stage, _publisher) = live(&folder).await;
    let first = stage.get(&format!("/hls/{SHOW}/index.m3u8")).await;
    let cookie = first.header("set-cookie").to_owned();
    let (pair, attributes) = cookie.split_once(';').unwrap();
    assert!(pair.len() == "chobi_viewer=".len() + 32, "{pair}");
    for attribute in ["Path=/hls", "HttpOnly", "SameSite=Lax"] {
        assert!(attributes.contains(attribute), "{attributes}");
    }
    let viewer = pair.strip_prefix("chobi_viewer=").unwrap();
    let with_cookie = [("cookie", pair)];
    let again = stage.send(Method::GET, &format!("/hls/{SHOW}/index.m3u8"), &with_cookie).await;
    assert_eq!((again.header("set-cookie"), again.header("cache-control")), ("", "no-cache"));

    let path = |name: &str| format!("/hls/{SHOW}/v0/{name}");
    stage.send(Method::GET, &path("index.m3u8"), &with_cookie).await;
    stage.send(Method::GET, &path("0/init.mp4"), &with_cookie).await;
    stage.send(Method::HEAD, &path("0/1.m4s"), &with_cookie).await;
    stage.send(Method::GET, &path("0/999.m4s"), &with_cookie).await;
    assert_eq!(Heard::viewers(&stage.heard.wait_for(|_| true).await), Vec::<String>::new(), "no media yet");
    for _ in 0..3 {
        stage.send(Method::GET, &path("0/1.m4s"), &with_cookie).await;
        stage.send(Method::GET, &path("0/2.0.m4s"), &with_cookie).await;
    }
    let joined = format!("+{viewer}");
    let events = stage.heard.wait_for(|events| !Heard::viewers(events).is_empty()).await;
    assert_eq!(Heard::viewers(&events), std::slice::from_ref(&joined));

    // Held requests are presence, for twice the silence that would end it.
    for _ in 0..2 {
        let held = stage.send(Method::GET, &path("index.m3u8?_HLS_msn=5"), &with_cookie).await;
        assert_eq!(held.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    let events = stage.heard.wait_for(|_| true).await;
    assert_eq!(Heard::viewers(&events), std::slice::from_ref(&joined));
    let snapshot =
        |event: &MediaEvent| matches!(event, MediaEvent::AudienceSnapshot { viewers, .. } if viewers.len() == 1);
    stage.heard.wait_for(|events| events.iter().any(snapshot)).await;
    let begun = tokio::time::Instant::now();
    let events = stage.heard.wait_for(|events| Heard::viewers(events).len() == 2).await;
    assert_eq!(Heard::viewers(&events), [joined, format!("-{viewer}")]);
    assert!(begun.elapsed() <= Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn players_that_name_themselves_are_counted_by_that_name_and_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (stage, _publisher) = live(&folder).await;
    let path = format!("/hls/{SHOW}/v0/0/1.m4s");
    let named = [("x-playback-session-id", "71B9A3E2-0F5C-4E0B-8F0D-7C7F6B1C2D3E")];
    stage.send(Method::GET, &path, &named).await;
    stage.send(Method::GET, &path, &[("x-playback-session-id", "not an id!")]).await;
    assert_eq!(stage.get(&path).await.status, StatusCode::OK);
    let events = stage.heard.wait_for(|events| !Heard::viewers(events).is_empty()).await;
    assert_eq!(Heard::viewers(&events), ["+71B9A3E2-0F5C-4E0B-8F0D-7C7F6B1C2D3E"]);
}

#[tokio::test(start_paused = true)]
async fn an_ejected_viewer_is_cut_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (stage, _publisher) = live(&folder).await;
    let path = format!("/hls/{SHOW}/v0/0/1.m4s");
    let named = [("x-playback-session-id", "viewer_1")];
    stage.send(Method::GET, &path, &named).await;
    stage.eject(SHOW, "viewer_1");
    let events = stage.heard.wait_for(|events| Heard::viewers(events).len() == 2).await;
    assert_eq!(Heard::viewers(&events), ["+viewer_1", "-viewer_1"]);
    assert_eq!(stage.send(Method::GET, &path, &named).await.status, StatusCode::FORBIDDEN);
    assert_eq!(stage.get(&path).await.status, StatusCode::OK, "others are not touched");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_show_leaves_nobody_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (stage, publisher) = live(&folder).await;
    stage.send(Method::GET, &format!("/hls/{SHOW}/v0/0/1.m4s"), &[("x-playback-session-id", "viewer_1")]).await;
    stage.end(SHOW, publisher).await;
    let events = stage.heard.wait_for(|events| Heard::viewers(events).len() == 2).await;
    assert_eq!(Heard::viewers(&events), ["+viewer_1", "-viewer_1"]);
}
