//! Real decoders on what we serve: every frame that went in comes out, and nothing is complained about.

use super::clip::{CLIP, Clip, OTHER_CLIP};
use super::stage::{LIMIT, SHOW, Stage, uris, write};
use http::{Method, StatusCode};
use std::path::Path;
use std::process::Command;

/// Everything a rendition's playlist lists, as one file: the init first.
pub(crate) async fn gather(stage: &Stage, rendition: &str, playlist: &str) -> Vec<u8> {
    let mut file = Vec::new();
    for uri in uris(playlist, "#EXT-X-MAP").iter().chain(&uris(playlist, "")) {
        file.extend_from_slice(&stage.fetch(&format!("/hls/{SHOW}/{rendition}/{uri}")).await);
    }
    file
}

pub(crate) fn ffmpeg_is_content(path: &Path) {
    let output = Command::new("ffmpeg")
        .args(["-v", "warning", "-xerror", "-err_detect", "explode", "-i"])
        .arg(path)
        .args(["-f", "null", "-"])
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
}

/// Presentation times (seconds) of all packets in decoding order, and whether each is a keyframe.
pub(crate) fn packets(path: &Path) -> Vec<(f64, bool)> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let packet = |line: &str| {
        let (pts, flags) = line.split_once(',').unwrap();
        (pts.parse().unwrap(), flags.starts_with('K'))
    };
    text.lines().filter(|line| !line.is_empty()).map(packet).collect()
}

async fn decodes(clip: &'static Clip) {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, clip.epoch(), &clip.frames).await;
    stage.end(SHOW, publisher).await;

    let mut starts = Vec::new();
    for (track, rendition) in ["v0", "a0"].into_iter().enumerate() {
        let playlist = stage.ended_playlist(rendition).await;
        m3u8_rs::parse_media_playlist_res(playlist.as_bytes()).unwrap();
        let path = folder.path().join(format!("{rendition}.mp4"));
        std::fs::write(&path, gather(&stage, rendition, &playlist).await).unwrap();
        ffmpeg_is_content(&path);
        let packets = packets(&path);
        starts.push(packets[0].0);
        let sent: Vec<_> = clip.frames.iter().filter(|frame| usize::from(frame.track.0) == track).collect();
        if track == 0 {
            assert_eq!(packets.len(), sent.len());
            for (packet, frame) in packets.iter().zip(&sent) {
                let pts = (frame.pts - sent[0].dts) as f64 / 1_000.0;
                // A frame is moved by up to two milliseconds to undo the rounding of its time stamp.
                assert!((packet.0 - pts).abs() <= 0.002, "{} instead of {pts}", packet.0);
                assert_eq!(packet.1, frame.keyframe);
            }
        } else {
            // Sound before the first picture is left out.
            assert!(sent.len() - packets.len() <= 5, "{} of {}", packets.len(), sent.len());
            let frame = 1_024.0 / f64::from(clip.epoch().tracks[1].timescale.get());
            assert!(packets.windows(2).all(|pair| (pair[1].0 - pair[0].0 - frame).abs() < 0.000_1));
        }
    }
    assert!((starts[0] - starts[1]).abs() <= 0.034, "picture and sound begin together: {starts:?}");
    stage.stop().await;
}

#[tokio::test]
async fn ffmpeg_decodes_every_frame_with_b_frames() {
    decodes(&CLIP).await;
}

#[tokio::test]
async fn ffmpeg_decodes_every_frame_at_ntsc_rate() {
    decodes(&OTHER_CLIP).await;
}

#[tokio::test]
async fn ffmpeg_plays_the_multivariant_playlist_over_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    stage.end(SHOW, publisher).await;
    stage.ended_playlist("v0").await;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, stage.router.clone()).into_future());
    let url = format!("http://{address}/hls/{SHOW}/index.m3u8");
    let player = tokio::process::Command::new("ffmpeg")
        .args([
            "-v", "warning", "-xerror", "-i", &url, "-map", "0:v", "-map", "0:a", "-f", "framecrc", "-c", "copy", "-",
        ])
        .output();
    let output = tokio::time::timeout(LIMIT, player).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let played = String::from_utf8(output.stdout).unwrap();
    let frames = |track: &str| played.lines().filter(|line| line.starts_with(track)).count();
    assert_eq!(frames("0,"), CLIP.count(0));
    assert!(CLIP.count(1) - frames("1,") <= 5);
    server.abort();
}

#[tokio::test]
async fn a_show_of_sound_alone_plays() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    let (epoch, frames) = CLIP.audio_only();
    write(&mut publisher, epoch, &frames).await;
    stage.end(SHOW, publisher).await;
    let playlist = stage.ended_playlist("a0").await;
    let path = folder.path().join("a0.mp4");
    std::fs::write(&path, gather(&stage, "a0", &playlist).await).unwrap();
    ffmpeg_is_content(&path);
    assert_eq!(packets(&path).len(), frames.len());
    let multivariant = stage.fetch_text(&format!("/hls/{SHOW}/index.m3u8")).await;
    assert!(multivariant.contains("CODECS=\"mp4a.40.2\"\na0/index.m3u8"), "{multivariant}");
    assert_eq!(stage.send(Method::GET, &format!("/hls/{SHOW}/v0/index.m3u8"), &[]).await.status, StatusCode::NOT_FOUND);
}
