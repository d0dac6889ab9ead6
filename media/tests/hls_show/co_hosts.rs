//! What co-hosts publish, beside the host.

use super::clip::CLIP;
use super::stage::{SHOW, Stage, write};
use chobi_media::hub::Publisher;
use http::{Method, StatusCode};
use m3u8_rs::{AlternativeMediaType, MasterPlaylist};

const PRIVATE: &str = "private_show";

async fn playing(mut publisher: Publisher) -> Publisher {
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    publisher
}

async fn multivariant(stage: &Stage, path: &str) -> MasterPlaylist {
    let text = stage.fetch_text(path).await;
    m3u8_rs::parse_master_playlist_res(text.as_bytes()).unwrap()
}

/// Addresses of the co-host's renditions: picture and sound.
fn alternatives(playlist: &MasterPlaylist) -> Vec<(AlternativeMediaType, String)> {
    let theirs = playlist.alternatives.iter().filter(|one| one.name == "user_7");
    theirs.map(|one| (one.media_type.clone(), one.uri.clone().unwrap())).collect()
}

#[tokio::test]
async fn a_co_host_is_an_alternative_as_long_as_they_are_live() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let _host = playing(stage.publish(SHOW).await).await;
    let path = format!("/hls/{SHOW}/index.m3u8");
    assert_eq!(alternatives(&multivariant(&stage, &path).await), []);

    let guest = playing(stage.publish_beside(SHOW, "user_7").await).await;
    let own = format!("/hls/{SHOW}-user_7/index.m3u8");
    assert_eq!(alternatives(&multivariant(&stage, &own).await), [], "an address of their own");
    let playlist = multivariant(&stage, &path).await;
    let found = alternatives(&playlist);
    let kinds: Vec<_> = found.iter().map(|(kind, _)| kind.clone()).collect();
    assert_eq!(kinds, [AlternativeMediaType::Audio, AlternativeMediaType::Video]);
    for (_, uri) in &found {
        let uri = uri.strip_prefix("../").expect("relative to the show's own");
        assert!(stage.fetch_text(&format!("/hls/{uri}")).await.contains(".m4s"), "{uri}");
    }
    assert_eq!(playlist.variants[0].video.as_deref(), Some("video"));
    let host = playlist.alternatives.iter().find(|one| one.name == "host").unwrap();
    assert!(host.default && host.uri.is_none(), "{host:?}");

    drop(guest);
    while !alternatives(&multivariant(&stage, &path).await).is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_pass_of_a_private_show_opens_its_co_hosts_too() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let _host = playing(stage.publish(PRIVATE).await).await;
    let _guest = playing(stage.publish_beside(PRIVATE, "user_7").await).await;
    let theirs = format!("/hls/{PRIVATE}-user_7/index.m3u8");
    assert_eq!(stage.get(&theirs).await.status, StatusCode::FORBIDDEN);
    // Both are on before the host's playlist is looked at.
    stage.send(Method::GET, &format!("{theirs}?ticket=user_1"), &[]).await;

    let playlist = multivariant(&stage, &format!("/hls/{PRIVATE}/index.m3u8?ticket=user_1")).await;
    let pass = playlist.variants[0].uri.split('/').next().unwrap().to_owned();
    for (_, uri) in alternatives(&playlist) {
        let uri = uri.strip_prefix("../").unwrap();
        assert!(uri.starts_with(&format!("{PRIVATE}-user_7/~")) && !uri.contains(&pass), "{uri}");
        assert!(stage.fetch_text(&format!("/hls/{uri}")).await.contains(".m4s"), "{uri}");
    }
    let again = alternatives(&multivariant(&stage, &format!("/hls/{PRIVATE}/{pass}/index.m3u8")).await);
    assert_eq!(again.len(), 2);
    for (_, uri) in again {
        let uri = uri.strip_prefix("../../").unwrap();
        assert!(stage.fetch_text(&format!("/hls/{uri}")).await.contains(".m4s"), "{uri}");
    }
}
