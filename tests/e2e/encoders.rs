//! Each encoder and each shape of input becomes playlists that `m3u8-rs` accepts and segments that ffmpeg decodes without
//! a word, with sound and picture starting together.

use crate::harness::{Api, Encoder, Limit, Picture, Server, Show, probe, report, until};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What must come out, by ffprobe's names.
struct Expected {
    video: Option<&'static str>,
    audio: Option<&'static str>,
    rate: u32,
    reordered: bool,
}

const BOTH: Expected = Expected { video: Some("h264"), audio: Some("aac"), rate: 30, reordered: false };

#[tokio::test]
async fn ffmpeg() -> Result<()> {
    walk(BOTH, |show, server| show.publish(server, &Picture::CLAPPER)).await
}

#[tokio::test]
async fn gstreamer() -> Result<()> {
    walk(BOTH, |show, server| Encoder::gstreamer(&show.publish_url(), server.scratch())).await
}

#[tokio::test]
async fn sound_only() -> Result<()> {
    walk(Expected { video: None, ..BOTH }, |show, server| show.publish(server, &Picture::SOUND_ONLY)).await
}

#[tokio::test]
async fn picture_only() -> Result<()> {
    walk(Expected { audio: None, ..BOTH }, |show, server| show.publish(server, &Picture::SILENT)).await
}

#[tokio::test]
async fn b_frames() -> Result<()> {
    let expected = Expected { rate: 25, reordered: true, ..BOTH };
    walk(expected, |show, server| show.publish(server, &Picture::B_FRAMES)).await
}

async fn walk(expected: Expected, publish: impl FnOnce(&Show, &Server) -> Result<Encoder>) -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "An encoder").await?;
    let mut encoder = publish(&show, &server)?;
    show.listed(&api).await?;
    let viewer = show.viewer()?;
    let renditions = until(Limit::MEDIA, "three segments of every rendition", async || {
        encoder.must_run()?;
        let renditions = viewer.renditions().await?;
        for url in renditions.all() {
            ensure!(viewer.playlist(url).await?.segments.len() >= 3, "not yet three");
        }
        Ok(Some(renditions))
    })
    .await?;
    ensure!(renditions.video.is_some() == expected.video.is_some(), "video or not:\n{}", renditions.text);
    ensure!(renditions.audio.is_some() == expected.audio.is_some(), "audio or not:\n{}", renditions.text);
    show.end().await?;

    let url = viewer.url.as_str();
    probe::decodes(url).await.context("the whole show, as a player finds it")?;
    let tracks = probe::tracks(url).await?;
    let names = |kind: &str| tracks.iter().find(|track| track["codec_type"] == kind).map(|track| &track["codec_name"]);
    ensure!(names("video").and_then(Value::as_str) == expected.video, "the picture's codec: {tracks:?}");
    ensure!(names("audio").and_then(Value::as_str) == expected.audio, "the sound's codec: {tracks:?}");

    let mut starts = Vec::new();
    for url in renditions.all() {
        let playlist = viewer.playlist(url).await?;
        let name = if Some(url) == renditions.video.as_ref() { "video.mp4" } else { "audio.mp4" };
        let path = viewer.save(&playlist.segments, server.scratch(), name).await?;
        probe::decodes(path.to_str().context("UTF-8")?).await.with_context(|| format!("{name} by itself"))?;
        let times = probe::frame_times(&path).await?;
        lengths_agree(&playlist.segments.iter().map(|segment| segment.seconds).sum(), &times, name)?;
        if name == "video.mp4" {
            // The end of the show cut the encoder off: of its last group, B-frames may not have been sent any more.
            let sent = times.len() - if expected.reordered { 3 } else { 0 };
            evenly_spaced(&times[..sent], expected.rate)?;
        }
        starts.push(*times.first().context("frames")?);
    }
    if let [video, audio] = starts.as_slice() {
        let apart = (video - audio).abs();
        report!("sound and picture start {:.0} ms apart", apart * 1000.0);
        // One frame, and the whole milliseconds that RTMP rounds both to.
        ensure!(apart <= 1.0 / f64::from(expected.rate) + 0.001, "sound and picture start {apart} s apart");
    }
    if expected.reordered {
        let video = tracks.iter().find(|track| track["codec_type"] == "video").context("a picture")?;
        ensure!(video["has_b_frames"].as_u64() > Some(0), "the encoder made B-frames: {video}");
    }
    Ok(())
}

/// The playlist's EXTINF values add up to what the frames show, to within a quarter of a second.
fn lengths_agree(listed: &f64, times: &[f64], name: &str) -> Result<()> {
    let shown = times.last().context("frames")? - times.first().context("frames")?;
    ensure!((listed - shown).abs() < 0.25, "{name}: {listed} s are listed, frames span {shown} s");
    Ok(())
}

/// Frames in display order are one frame apart: nothing lost, doubled or misplaced. RTMP rounds to whole milliseconds.
fn evenly_spaced(times: &[f64], rate: u32) -> Result<()> {
    let frame = 1.0 / f64::from(rate);
    for pair in times.windows(2) {
        let [one, next] = pair else { continue };
        ensure!((next - one - frame).abs() < 0.005, "frames at {one} and {next} are not {frame} s apart");
    }
    Ok(())
}
