//! What ffprobe and ffmpeg read from a film, and where in the file it lies.

use super::stage::{LIMIT, Stage};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

pub(crate) const HOST: &str = "user_host";

pub(crate) fn address(show: &str) -> String {
    format!("/hls/{show}/replay/video.mp4?ticket={HOST}")
}

/// The whole file, once it is prepared.
pub(crate) async fn film_of(stage: &Stage, show: &str) -> Bytes {
    let begun = std::time::Instant::now();
    loop {
        let answer = stage.send(Method::GET, &address(show), &[]).await;
        if answer.status == StatusCode::OK {
            assert_eq!(answer.header("content-length"), answer.body.len().to_string());
            return answer.body;
        }
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
        assert!(!answer.header("retry-after").is_empty());
        assert!(begun.elapsed() < LIMIT, "{}", answer.text());
    }
}

#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) is_video: bool,
    pub(crate) pts: f64,
    pub(crate) dts: f64,
    pub(crate) is_keyframe: bool,
    pub(crate) bytes: Bytes,
}

/// All packets of one kind, in the order of decoding, with their bytes as they lie in the file.
pub(crate) fn packets(path: &Path, is_video: bool) -> Vec<Packet> {
    let file = Bytes::from(std::fs::read(path).unwrap());
    let kind = if is_video { "v" } else { "a" };
    let shown = probe(path, &["-select_streams", kind, "-show_packets"]);
    let packet = |packet: &Value| {
        let time = |name: &str| number(&packet[name]);
        let (at, size) = (number(&packet["pos"]) as usize, number(&packet["size"]) as usize);
        Packet {
            is_video: packet["codec_type"] == "video",
            pts: time("pts_time"),
            dts: time("dts_time"),
            is_keyframe: packet["flags"].as_str().unwrap().starts_with('K'),
            bytes: file.slice(at..at + size),
        }
    };
    let packets: Vec<_> = shown["packets"].as_array().unwrap().iter().map(packet).collect();
    assert!(packets.iter().all(|packet| packet.is_video == is_video));
    assert!(packets.windows(2).all(|pair| pair[0].dts < pair[1].dts), "decode times go on");
    packets
}

/// Seconds of the file and of each of its tracks, as the container says.
pub(crate) fn durations(path: &Path) -> (f64, Vec<f64>) {
    let shown = probe(path, &["-show_format", "-show_streams"]);
    let of = |shown: &Value| number(&shown["duration"]);
    (of(&shown["format"]), shown["streams"].as_array().unwrap().iter().map(of).collect())
}

/// Width and height of every picture, decoded.
pub(crate) fn pictures(path: &Path) -> Vec<(u64, u64)> {
    let shown = probe(path, &["-select_streams", "v", "-show_frames", "-show_entries", "frame=width,height"]);
    let size = |frame: &Value| (frame["width"].as_u64().unwrap(), frame["height"].as_u64().unwrap());
    shown["frames"].as_array().unwrap().iter().map(size).collect()
}

fn probe(path: &Path, what: &[&str]) -> Value {
    let output = Command::new("ffprobe").args(["-v", "error", "-of", "json"]).args(what).arg(path).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(value: &Value) -> f64 {
    match value {
        Value::String(text) => text.parse().unwrap(),
        other => other.as_f64().unwrap(),
    }
}

/// Decodes all of it without a word. Frames keep their own times: fitting them to one rate, as ffmpeg does for files by default,
/// is not ours to be judged by.
pub(crate) fn decodes(path: &Path) {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-xerror", "-i"])
        .arg(path)
        .args(["-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-"])
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
}
