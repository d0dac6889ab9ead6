//! ffmpeg and ffprobe as judges of what the server made.

use super::process::bound_to_test;
use super::wait::Limit;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::Path;
use tokio::process::Command;
use tokio::time::timeout;

/// Decodes all of a file or address and refuses the first error. Frames keep their own times: fitting them to a rate, as
/// ffmpeg does for files by default, is not ours to be judged by.
pub(crate) async fn decodes(input: &str) -> Result<()> {
    let as_they_are = ["-vsync", "passthrough", "-enc_time_base", "-1", "-f", "null", "-"];
    run("ffmpeg", &[&["-v", "error", "-xerror", "-i", input], &as_they_are[..]].concat()).await.map(drop)
}

/// ffprobe's view of the tracks.
pub(crate) async fn tracks(input: &str) -> Result<Vec<Value>> {
    let shown = json(&["-show_streams", input]).await?;
    Ok(shown["streams"].as_array().cloned().unwrap_or_default())
}

/// Seconds of a file or address, as its container or playlist says.
pub(crate) async fn duration(input: &str) -> Result<f64> {
    let shown = json(&["-show_entries", "format=duration", input]).await?;
    number(&shown["format"]["duration"]).context("ffprobe reads no duration")
}

/// Presentation times of all frames, in seconds, in display order.
pub(crate) async fn frame_times(input: &Path) -> Result<Vec<f64>> {
    let shown = json(&["-show_frames", "-show_entries", "frame=pts_time", path(input)?]).await?;
    times(&shown, |_| true)
}

/// The moments at which a Clapper's picture turns white.
pub(crate) async fn flashes(video: &Path) -> Result<Vec<f64>> {
    let graph = format!("movie={},signalstats", path(video)?);
    let entries = "frame=pts_time:frame_tags=lavfi.signalstats.YAVG";
    let shown = json(&["-f", "lavfi", "-i", &graph, "-show_entries", entries]).await?;
    let is_white = |tags: &Value| number(&tags["lavfi.signalstats.YAVG"]).is_some_and(|luma| luma > 128.0);
    onsets(&shown, is_white)
}

/// The moments at which its sound begins to beep, to a quarter of an AAC frame.
pub(crate) async fn beeps(audio: &Path) -> Result<Vec<f64>> {
    let graph = format!("amovie={},asetnsamples=256,astats=metadata=1:reset=1", path(audio)?);
    let entries = "frame=pts_time:frame_tags=lavfi.astats.Overall.RMS_level";
    let shown = json(&["-f", "lavfi", "-i", &graph, "-show_entries", entries]).await?;
    let is_loud = |tags: &Value| number(&tags["lavfi.astats.Overall.RMS_level"]).is_some_and(|level| level > -25.0);
    onsets(&shown, is_loud)
}

/// The times at which `is_on` begins to hold. What is on from the very first frame began before it: not an onset.
fn onsets(shown: &Value, is_on: impl Fn(&Value) -> bool) -> Result<Vec<f64>> {
    let mut was_on = true;
    times(shown, |frame| {
        let on = is_on(&frame["tags"]);
        !std::mem::replace(&mut was_on, on) && on
    })
}

fn times(shown: &Value, mut wanted: impl FnMut(&Value) -> bool) -> Result<Vec<f64>> {
    let frames = shown["frames"].as_array().context("ffprobe lists no frames")?;
    frames
        .iter()
        .filter(|frame| wanted(frame))
        .map(|frame| number(&frame["pts_time"]).context("a frame has no time"))
        .collect()
}

fn number(text: &Value) -> Option<f64> {
    text.as_str()?.parse().ok()
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("paths in tests are UTF-8")
}

async fn json(args: &[&str]) -> Result<Value> {
    let out = run("ffprobe", &[&["-v", "error", "-of", "json"], args].concat()).await?;
    Ok(serde_json::from_str(&out)?)
}

async fn run(program: &str, args: &[&str]) -> Result<String> {
    let mut command = Command::from(bound_to_test(program));
    command.args(args).stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = match timeout(Limit::MEDIA, command.output()).await {
        Ok(output) => output.with_context(|| format!("{program} cannot start"))?,
        Err(_) => bail!("{program} {args:?} did not end within {:?}", Limit::MEDIA),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {args:?} refused: {said}");
    // Both judges say nothing at this log level unless something is wrong.
    ensure!(said.trim().is_empty(), "{program} {args:?} complains: {said}");
    Ok(String::from_utf8(output.stdout)?)
}
