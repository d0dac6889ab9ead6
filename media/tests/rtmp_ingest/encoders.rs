//! Programs that people publish with.

use crate::support::rtmp_server::{Server, frames, next_epoch};
use chobi_media::model::{AudioCodec, TrackId, VideoCodec};
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

fn spawn(program: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"))
}

fn ffmpeg(url: &str, coding: &[&str]) -> Child {
    let sources = ["-re", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=30", "-re", "-f", "lavfi", "-i", "sine=r=48000"];
    spawn("ffmpeg", &[&["-v", "error"], &sources[..], coding, &["-t", "30", "-f", "flv", url]].concat())
}

const H264_AAC: &[&str] =
    &["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "30", "-c:a", "aac", "-ac", "2"];

#[tokio::test]
async fn ffmpeg_publishes_both_tracks_in_step() {
    let server = Server::start().await;
    let _ffmpeg = ffmpeg(&format!("rtmp://{}/live/key-1", server.address), H264_AAC);
    let mut subscriber = server.next_broadcast().await;
    assert_eq!(subscriber.broadcast().id().as_str(), "session_1");
    let epoch = next_epoch(&mut subscriber).await;
    let video = epoch.tracks[0].video().expect("video first");
    assert_eq!((video.codec, video.width, video.height), (VideoCodec::H264, 320, 180));
    assert_eq!(video.frame_rate.map(|rate| rate.as_f64()), Some(30.0));
    let audio = epoch.tracks[1].audio().expect("audio second");
    assert_eq!((audio.codec, audio.sample_rate, audio.channels), (AudioCodec::Aac, 48_000, 2));
    let frames = frames(&mut subscriber, 150).await;
    let of = |track| frames.iter().filter(move |frame| frame.track == TrackId(track));
    let first_video_ms = of(0).next().expect("video").pts / 90;
    let first_audio_ms = of(1).next().expect("audio").pts / 48;
    assert!(
        (first_video_ms - first_audio_ms).abs() <= 34,
        "first picture {first_video_ms} ms, first sound {first_audio_ms} ms"
    );
    let sounds: Vec<_> = of(1).map(|frame| frame.dts).collect();
    assert!(sounds.windows(2).all(|pair| pair[1] - pair[0] == 1_024), "sound is counted in samples: {sounds:?}");
    server.stop().await;
}

#[tokio::test]
async fn ffmpeg_with_b_frames_is_warned_of_and_keeps_its_order() {
    use chobi_media::seam::{MediaEvent, WarningCode};
    let server = Server::start().await;
    let coding = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "30", "-pix_fmt", "yuv420p", "-an"];
    let _ffmpeg = ffmpeg(&format!("rtmp://{}/live/key-1", server.address), &coding);
    let mut subscriber = server.next_broadcast().await;
    next_epoch(&mut subscriber).await;
    let frames = frames(&mut subscriber, 60).await;
    assert!(frames.windows(2).all(|pair| pair[0].dts < pair[1].dts));
    assert!(frames.windows(2).any(|pair| pair[1].pts < pair[0].pts), "pictures are reordered");
    assert!(frames.iter().all(|frame| frame.pts >= frame.dts));
    let warned = crate::support::in_time("a warning", async {
        let mut events = server.events.lock().await;
        loop {
            if let MediaEvent::IngestWarning { code, .. } = events.recv().await.expect("events come") {
                return code;
            }
        }
    });
    assert_eq!(warned.await, WarningCode::BFrames);
    server.stop().await;
}

#[tokio::test]
async fn ffmpeg_with_one_track_only_is_carried() {
    for (coding, kinds) in [
        (&["-map", "0:v", "-c:v", "libx264", "-preset", "ultrafast"][..], [true]),
        (&["-map", "1:a", "-c:a", "aac"], [false]),
    ] {
        let server = Server::start().await;
        let _ffmpeg = ffmpeg(&format!("rtmp://{}/live/session_1?key=key-1", server.address), coding);
        let mut subscriber = server.next_broadcast().await;
        let epoch = next_epoch(&mut subscriber).await;
        assert_eq!(epoch.tracks.iter().map(|track| track.is_video()).collect::<Vec<_>>(), kinds);
        frames(&mut subscriber, 20).await;
        server.stop().await;
    }
}

/// `rtmp2sink` is GStreamer's own RTMP client, `rtmpsink` is librtmp.
#[tokio::test]
async fn gstreamer_and_librtmp_publish() {
    for sink in ["rtmp2sink", "rtmpsink"] {
        let server = Server::start().await;
        let location = format!("location=rtmp://{}/live/key-1", server.address);
        let video = ["videotestsrc", "is-live=true", "!", "video/x-raw,width=320,height=180,framerate=30/1", "!"];
        let h264 =
            ["x264enc", "tune=zerolatency", "speed-preset=ultrafast", "key-int-max=30", "!", "h264parse", "!", "mux."];
        let audio = ["audiotestsrc", "is-live=true", "!", "avenc_aac", "!", "aacparse", "!", "mux."];
        let mux = ["flvmux", "name=mux", "streamable=true", "!", sink, location.as_str()];
        let _gstreamer = spawn("gst-launch-1.0", &[&["-q"], &video[..], &h264, &audio, &mux].concat());
        let mut subscriber = server.next_broadcast().await;
        let epoch = next_epoch(&mut subscriber).await;
        assert_eq!(epoch.tracks.len(), 2, "{sink} sends both tracks in one epoch");
        let frames = frames(&mut subscriber, 120).await;
        assert!(frames.iter().any(|frame| frame.track == TrackId(1)));
        server.stop().await;
    }
}

/// What encoders that are not installed here send, byte for byte and without waiting for any answer.
#[tokio::test]
async fn recorded_encoders_are_carried() {
    for (recording, frames_at_least) in [
        (&include_bytes!("../fixtures/librtmp-2.4-h264-aac.rtmp")[..], 30),
        (&include_bytes!("../fixtures/obs-29-shaped-h264-aac.rtmp")[..], 80),
    ] {
        let server = Server::start().await;
        let mut socket = TcpStream::connect(server.address).await.expect("the listener accepts");
        // Up to `publish` first: who subscribes after the last frame was written hears nothing.
        let (opening, media) = recording.split_at(4_000);
        socket.write_all(opening).await.expect("the recording is taken");
        let mut subscriber = server.next_broadcast().await;
        socket.write_all(media).await.expect("the recording is taken");
        let epoch = next_epoch(&mut subscriber).await;
        assert_eq!(epoch.tracks.len(), 2);
        let frames = frames(&mut subscriber, frames_at_least).await;
        assert!(frames.iter().any(|frame| frame.track == TrackId(1)));
        server.stop().await;
    }
}
