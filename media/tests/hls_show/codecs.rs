//! Codecs other than H.264: what real encoders make is served so that real decoders see the same pictures, and what no
//! player takes is said to be so.

use super::clip::CLIP;
use super::decode::{ffmpeg_is_content, gather, packets};
use super::film_probe::{self, film_of};
use super::stage::{FIRST, LIMIT, SHOW, Stage, write, write_on};
use bytes::Bytes;
use chobi_media::codec::{av1, h265, vp9};
use chobi_media::model::{
    AudioCodec, AudioFormat, Epoch, Frame, MediaFormat, Timescale, TrackFormat, TrackId, VideoCodec, VideoFormat,
};
use chobi_media::seam::{MediaEvent, WarningCode};
use http::StatusCode;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::SystemTime;

/// Three seconds, so that there are two segments; on the file's clock.
fn encode(path: &Path, coding: &[&str]) -> (Bytes, Vec<Frame>) {
    run(Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30", "-t", "3", "-pix_fmt", "yuv420p"])
        .args(["-g", "30", "-keyint_min", "30"])
        .args(coding)
        // The header first: what is looked for in it is found before any media.
        .args(["-video_track_timescale", "90000", "-movflags", "+faststart", "-f", "mp4"])
        .arg(path));
    let file = Bytes::from(std::fs::read(path).unwrap());
    let listed = run(Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "packet=pts,dts,size,pos,flags", "-of", "csv=p=0"])
        .arg(path));
    let frame = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |index: usize| fields[index].parse::<i64>().unwrap();
        let (pts, dts, size, at) = (number(0), number(1), number(2) as usize, number(3) as usize);
        let keyframe = fields[4].starts_with('K');
        Frame { track: TrackId(0), dts, pts, keyframe, payload: file.slice(at..at + size) }
    };
    let frames = listed.lines().map(frame).collect();
    (file, frames)
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("ffmpeg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The body of the first box of this kind.
fn body_of(file: &Bytes, kind: &[u8; 4]) -> Bytes {
    let at = file.windows(4).position(|window| window == kind).expect("the encoder's configuration");
    let size = u32::from_be_bytes(file[at - 4..at].try_into().unwrap()) as usize;
    file.slice(at + 4..at - 4 + size)
}

/// A digest of every decoded picture, in order.
fn pictures(path: &Path) -> Vec<String> {
    let listed = run(Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(path).args([
        "-fps_mode",
        "passthrough",
        "-f",
        "framemd5",
        "-",
    ]));
    let digest = |line: &str| line.rsplit(',').next().unwrap().trim().to_owned();
    listed.lines().filter(|line| !line.starts_with('#')).map(digest).collect()
}

async fn decodes(coding: &[&str], format: impl FnOnce(&Bytes, &[Frame]) -> VideoFormat, codecs: &str) {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.mp4");
    let (file, frames) = encode(&source, coding);
    assert!(frames.len() >= 90, "{} frames", frames.len());
    let video = format(&file, &frames);
    assert_eq!((video.width, video.height), (320, 180));
    let track =
        TrackFormat { id: TrackId(0), rid: None, timescale: Timescale::VIDEO, media: MediaFormat::Video(video) };

    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    let epoch = Epoch { tracks: vec![Arc::new(track)], zero: SystemTime::now() };
    write(&mut publisher, epoch, &frames).await;
    stage.end(SHOW, publisher).await;
    let playlist = stage.ended_playlist("v0").await;
    let picture = stage.get(&format!("/hls/{SHOW}/thumbnail.jpg")).await;
    assert_eq!(picture.status, StatusCode::NOT_FOUND, "a picture is made of H.264 only");
    let multivariant = stage.fetch_text(&format!("/hls/{SHOW}/index.m3u8")).await;
    assert!(multivariant.contains(&format!("CODECS=\"{codecs}")), "{multivariant}");

    let served = folder.path().join("served.mp4");
    std::fs::write(&served, gather(&stage, "v0", &playlist).await).unwrap();
    ffmpeg_is_content(&served);
    assert_eq!(pictures(&served), pictures(&source));
    let packets = packets(&served);
    assert_eq!(packets.len(), frames.len());
    for (packet, frame) in packets.iter().zip(&frames) {
        let pts = (frame.pts - frames[0].dts) as f64 / 90_000.0;
        assert!((packet.0 - pts).abs() <= 0.002, "{} instead of {pts}", packet.0);
        assert_eq!(packet.1, frame.keyframe);
    }

    // The same as one file to take home.
    stage.heard.recorded(SHOW).await;
    let film = folder.path().join("film.mp4");
    std::fs::write(&film, film_of(&stage, SHOW).await).unwrap();
    ffmpeg_is_content(&film);
    assert_eq!(pictures(&film), pictures(&source));
    assert!(film_probe::packets(&film, true).iter().zip(&frames).all(|(packet, frame)| packet.bytes == frame.payload));
    assert!((film_probe::durations(&film).0 - 3.0).abs() <= 1.0 / 30.0);
    stage.stop().await;
}

#[tokio::test]
async fn ffmpeg_decodes_hevc_with_b_frames() {
    let coding = ["-c:v", "libx265", "-preset", "ultrafast", "-bf", "2", "-tag:v", "hvc1"];
    let coding = [&coding[..], &["-x265-params", "log-level=error:scenecut=0:open-gop=0"]].concat();
    let format = |file: &Bytes, _: &[Frame]| {
        let record = body_of(file, b"hvcC");
        h265::Configuration::parse(&record).unwrap().format(record).unwrap()
    };
    decodes(&coding, format, "hvc1.1.").await;
}

#[tokio::test]
async fn ffmpeg_decodes_av1() {
    let coding = ["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8"];
    decodes(&coding, |file, _| av1::format(body_of(file, b"av1C")).unwrap(), "av01.0.").await;
}

#[tokio::test]
async fn ffmpeg_decodes_vp9() {
    let coding = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"];
    let format = |file: &Bytes, frames: &[Frame]| {
        let size = vp9::keyframe_size(&frames[0].payload).unwrap();
        vp9::format(&body_of(file, b"vpcC"), size).unwrap()
    };
    decodes(&coding, format, "vp09.00.").await;
}

#[tokio::test]
async fn opus_is_taken_home_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.mp4");
    run(Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "3", "-ac", "2"])
        .args(["-c:a", "libopus", "-b:a", "96k", "-movflags", "+faststart", "-f", "mp4"])
        .arg(&source));
    let packets = film_probe::packets(&source, false);
    let audio = AudioFormat {
        codec: AudioCodec::Opus,
        configuration: body_of(&Bytes::from(std::fs::read(&source).unwrap()), b"dOps"),
        rfc6381: "opus".to_owned(),
        sample_rate: 48_000,
        channels: 2,
        samples_per_frame: 960,
    };
    let timescale = Timescale::new(48_000);
    let track = TrackFormat { id: TrackId(0), rid: None, timescale, media: MediaFormat::Audio(audio) };
    let frame = |(number, packet): (i64, &film_probe::Packet)| {
        let at = number * 960;
        Frame { track: TrackId(0), dts: at, pts: at, keyframe: true, payload: packet.bytes.clone() }
    };
    let frames: Vec<_> = (0..).zip(&packets).map(frame).collect();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, Epoch { tracks: vec![Arc::new(track)], zero: SystemTime::now() }, &frames).await;
    stage.end(SHOW, publisher).await;
    stage.heard.recorded(SHOW).await;
    let film = folder.path().join("film.mp4");
    std::fs::write(&film, film_of(&stage, SHOW).await).unwrap();
    ffmpeg_is_content(&film);
    let taken = film_probe::packets(&film, false);
    assert!(taken.len() == frames.len() && taken.iter().zip(&frames).all(|(one, frame)| one.bytes == frame.payload));
    let seconds = frames.len() as f64 * 0.02;
    assert!((film_probe::durations(&film).0 - seconds).abs() <= 0.02);
}

#[tokio::test]
async fn another_codec_is_another_track_of_the_film_at_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.mp4");
    let coding = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"];
    let (file, frames) = encode(&source, &coding);
    let video = vp9::format(&body_of(&file, b"vpcC"), vp9::keyframe_size(&frames[0].payload).unwrap()).unwrap();
    let track =
        TrackFormat { id: TrackId(0), rid: None, timescale: Timescale::VIDEO, media: MediaFormat::Video(video) };
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    write(&mut publisher, Epoch { tracks: vec![Arc::new(track)], zero: SystemTime::now() }, &frames).await;
    stage.end(SHOW, publisher).await;
    stage.heard.recorded(SHOW).await;
    let film = folder.path().join("film.mp4");
    std::fs::write(&film, film_of(&stage, SHOW).await).unwrap();
    film_probe::decodes(&film);
    let (whole, tracks) = film_probe::durations(&film);
    assert!((whole - 11.0).abs() <= 0.034 && tracks.len() == 3, "{whole} s, {tracks:?}");
    let second = run(Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:1", "-show_entries", "packet=pts_time", "-of", "csv=p=0"])
        .arg(&film));
    let begins: f64 = second.lines().next().unwrap().trim_end_matches(',').parse().unwrap();
    assert!(second.lines().count() == frames.len() && (begins - 8.0).abs() <= 0.034, "it begins at {begins}");
}

/// A second of VP8 with its size in every keyframe, as WHIP brings it.
fn vp8() -> (Epoch, Vec<Frame>) {
    let video = VideoFormat {
        codec: VideoCodec::Vp8,
        configuration: Bytes::from_static(&[1, 0, 0, 0, 0, 10, 0x82, 2, 2, 2, 0, 0]),
        rfc6381: "vp08.00.10.08".to_owned(),
        width: 320,
        height: 180,
        frame_rate: None,
    };
    let track =
        TrackFormat { id: TrackId(0), rid: None, timescale: Timescale::VIDEO, media: MediaFormat::Video(video) };
    let frame = |number: i64| Frame {
        track: TrackId(0),
        dts: number * 3_000,
        pts: number * 3_000,
        keyframe: number == 0,
        payload: Bytes::from_static(&[0, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00]),
    };
    (Epoch { tracks: vec![Arc::new(track)], zero: SystemTime::now() }, (0..30).map(frame).collect())
}

#[tokio::test(start_paused = true)]
async fn a_show_in_vp8_is_answered_with_where_it_plays_and_its_host_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    let multivariant = format!("/hls/{SHOW}/index.m3u8");
    let media = format!("/hls/{SHOW}/v0/index.m3u8");
    let told = |events: &[MediaEvent]| {
        let warning =
            |event: &&MediaEvent| matches!(event, MediaEvent::IngestWarning { code: WarningCode::WebrtcOnly, .. });
        events.iter().filter(warning).count()
    };

    let (epoch, frames) = vp8();
    write(&mut publisher, epoch.clone(), &frames[..20]).await;
    // Nobody had time to hear it; with the next frames it is said again.
    stage.heard.refused().await;
    write_on(&mut publisher, &frames[20..]).await;
    stage.heard.wait_for(|events| told(events) == 1).await;
    for path in [&multivariant, &media] {
        let answer = stage.get(path).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{path}");
        let link = format!("</whep/{SHOW}>; rel=\"alternate\"; type=\"application/sdp\"");
        assert_eq!((answer.header("link"), answer.header("retry-after")), (link.as_str(), ""));
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.text().contains("VP8") && answer.text().contains("WebRTC"), "{}", answer.text());
    }

    // The same again is no news; another codec plays.
    publisher.begin_epoch(epoch.clone());
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    stage.has_opened().await;
    stage.playlist_with("v0", 3).await;
    assert!(stage.fetch_text(&multivariant).await.contains("avc1."));

    // Back to VP8: playlists say so, what was made stays.
    write(&mut publisher, epoch, &frames).await;
    let events = stage.heard.wait_for(|events| told(events) == 2).await;
    assert_eq!(told(&events), 2);
    assert_eq!(stage.get(&media).await.status, StatusCode::CONFLICT);
    stage.fetch(&format!("/hls/{SHOW}/v0/0/{FIRST}.m4s")).await;

    // The end is the end of what could be seen.
    stage.end(SHOW, publisher).await;
    let begun = std::time::Instant::now();
    while stage.get(&media).await.status == StatusCode::CONFLICT {
        assert!(begun.elapsed() < LIMIT, "the end was not seen");
        tokio::task::yield_now().await;
    }
    let recorded = stage.ended_playlist("v0").await;
    assert!(!recorded.contains("GAP"), "{recorded}");
    stage.stop().await;
}
