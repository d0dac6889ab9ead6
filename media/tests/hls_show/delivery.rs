//! HTTP as players, browsers and CDNs need it.

use super::clip::CLIP;
use super::stage::{Answer, SHOW, Stage, uris, write};
use chobi_media::hub::Publisher;
use http::{Method, StatusCode};
use std::io::Read;
use tempfile::TempDir;

async fn live() -> (Stage, Publisher, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    stage.playlist_with("v0", 3).await;
    (stage, publisher, folder)
}

#[tokio::test]
async fn each_kind_of_answer_has_its_headers() {
    let (stage, _publisher, _folder) = live().await;
    let immutable = "public, max-age=31536000, immutable";
    for (path, content_type, caching) in [
        ("index.m3u8", "application/vnd.apple.mpegurl", "private, no-cache"),
        ("v0/index.m3u8", "application/vnd.apple.mpegurl", "no-cache"),
        ("v0/0/init.mp4", "video/mp4", immutable),
        ("v0/0/1.m4s", "video/mp4", immutable),
        ("v0/0/1.1.m4s", "video/mp4", immutable),
        ("a0/0/1.m4s", "audio/mp4", immutable),
    ] {
        let get = stage.get(&format!("/hls/{SHOW}/{path}")).await;
        assert_eq!(get.status, StatusCode::OK, "{path}");
        assert_eq!((get.header("content-type"), get.header("cache-control")), (content_type, caching), "{path}");
        assert_eq!(get.header("access-control-allow-origin"), "*", "{path}");
        assert_eq!(get.header("content-length"), get.body.len().to_string(), "{path}");
        let head = stage.send(Method::HEAD, &format!("/hls/{SHOW}/{path}"), &[]).await;
        assert_eq!(head.status, StatusCode::OK);
        assert!(head.body.is_empty());
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
    }
}

#[tokio::test]
async fn a_show_is_offered_with_what_players_choose_by() {
    let (stage, _publisher, _folder) = live().await;
    let text = stage.fetch_text(&format!("/hls/{SHOW}/index.m3u8")).await;
    let parsed = m3u8_rs::parse_master_playlist_res(text.as_bytes()).unwrap();
    let variant = &parsed.variants[0];
    assert_eq!(variant.uri, "v0/index.m3u8");
    let codecs = variant.codecs.as_deref().unwrap();
    assert!(codecs.starts_with("avc1.") && codecs.ends_with(",mp4a.40.2"), "{codecs}");
    assert_eq!(variant.resolution.map(|size| (size.width, size.height)), Some((320, 180)));
    assert_eq!(variant.frame_rate, Some(30.0));
    assert_eq!(variant.audio.as_deref(), Some("audio"));
    assert!(variant.bandwidth >= variant.average_bandwidth.unwrap() && variant.average_bandwidth.unwrap() > 10_000);
    assert_eq!(parsed.alternatives[0].uri.as_deref(), Some("a0/index.m3u8"));

    // What is claimed covers every segment.
    let playlist = stage.playlist_with("v0", 3).await;
    let audio = stage.playlist_with("a0", 3).await;
    let mut densest = [0.0_f64; 2];
    for (index, (rendition, playlist)) in [("v0", &playlist), ("a0", &audio)].into_iter().enumerate() {
        let listed = m3u8_rs::parse_media_playlist_res(playlist.as_bytes()).unwrap();
        for segment in listed.segments.iter().filter(|segment| !segment.uri.is_empty()) {
            let bytes = stage.fetch(&format!("/hls/{SHOW}/{rendition}/{}", segment.uri)).await.len();
            densest[index] = densest[index].max(bytes as f64 * 8.0 / f64::from(segment.duration));
        }
    }
    assert!(variant.bandwidth as f64 + 2.0 >= densest.iter().sum::<f64>(), "{densest:?}");
}

#[tokio::test]
async fn playlists_are_compressed_and_media_is_not() {
    let (stage, _publisher, _folder) = live().await;
    let path = format!("/hls/{SHOW}/v0/index.m3u8");
    let plain = stage.fetch_text(&path).await;
    let accept = |value| [("accept-encoding", value)];
    let gzip = stage.send(Method::GET, &path, &accept("gzip")).await;
    assert_eq!((gzip.header("content-encoding"), gzip.header("vary")), ("gzip", "accept-encoding"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&gzip.body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, plain);
    let br = stage.send(Method::GET, &path, &accept("gzip, deflate, br")).await;
    assert_eq!(br.header("content-encoding"), "br");
    text.clear();
    brotli::Decompressor::new(&br.body[..], 4_096).read_to_string(&mut text).unwrap();
    assert_eq!(text, plain);
    let media = stage.send(Method::GET, &format!("/hls/{SHOW}/v0/0/1.m4s"), &accept("gzip, br")).await;
    assert_eq!(media.header("content-encoding"), "");
}

#[tokio::test]
async fn media_is_served_by_the_range() {
    let (stage, _publisher, _folder) = live().await;
    let path = format!("/hls/{SHOW}/v0/0/1.m4s");
    let whole = stage.fetch(&path).await;
    let first_part = stage.fetch(&format!("/hls/{SHOW}/v0/0/1.0.m4s")).await.len();
    let (from, to) = (first_part - 10, first_part + 10);
    let ranged = |range: String| {
        let (stage, path) = (&stage, &path);
        async move { stage.send(Method::GET, path, &[("range", &range)]).await }
    };
    let slice = ranged(format!("bytes={from}-{to}")).await;
    assert_eq!(slice.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(slice.body, whole[from..=to]);
    assert_eq!(slice.header("content-range"), format!("bytes {from}-{to}/{}", whole.len()));
    assert_eq!(slice.header("content-length"), "21");
    let beyond = ranged(format!("bytes={}-", whole.len())).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header("content-range"), format!("bytes */{}", whole.len()));
}

#[tokio::test]
async fn browsers_may_ask_from_any_origin() {
    let (stage, _publisher, _folder) = live().await;
    let answer =
        stage.send(Method::OPTIONS, &format!("/hls/{SHOW}/index.m3u8"), &[("origin", "https://a.example")]).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(answer.header("access-control-allow-headers").contains("range"));
    assert!(answer.header("access-control-allow-methods").contains("GET"));
    let post = stage.send(Method::POST, &format!("/hls/{SHOW}/index.m3u8"), &[]).await;
    assert_eq!((post.status, post.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let (stage, _publisher, folder) = live().await;
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    let not_live = stage.get("/hls/session_2/index.m3u8").await;
    assert_eq!((not_live.status, not_live.text()), (StatusCode::NOT_FOUND, "this show is not live\n"));
    assert!(!not_live.header("retry-after").is_empty());
    for path in [
        "/hls/session_1/v0/7/init.mp4",
        "/hls/session_1/v0/0/999.m4s",
        "/hls/session_1/v0/7/1.m4s",
        "/hls/session_1/v0/0/1.99.m4s",
        "/hls/session_1/v9/index.m3u8",
        "/hls/session_1/v0/0/../../../../secret",
        "/hls/session_1/%2e%2e/%2e%2e/secret",
        "/hls/..%2f..%2fsecret/index.m3u8",
        "/hls/session_1/index.jsonl",
        "/hls/",
    ] {
        let answer: Answer = stage.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(!answer.body.windows(6).any(|window| window == b"secret"), "{path}");
    }
}

#[tokio::test]
async fn parts_and_their_segment_are_the_same_bytes() {
    let (stage, _publisher, _folder) = live().await;
    let playlist = stage.playlist_with("v0", 3).await;
    let parts = uris(&playlist, "#EXT-X-PART:");
    let mut joined = Vec::new();
    for part in parts.iter().filter(|part| part.starts_with("0/3.")) {
        joined.extend_from_slice(&stage.fetch(&format!("/hls/{SHOW}/v0/{part}")).await);
    }
    assert_eq!(stage.fetch(&format!("/hls/{SHOW}/v0/0/3.m4s")).await, joined);
}
