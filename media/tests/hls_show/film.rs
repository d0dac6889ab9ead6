//! A replay as one MP4 file: every frame that was sent, at its time, in any ranges; made again when it must be, and gone with
//! the recording.

use super::clip::{CLIP, Clip, LARGE_CLIP, OTHER_CLIP};
use super::film_probe::{HOST, Packet, address, decodes, durations, film_of, packets, pictures};
use super::stage::{LIMIT, SHOW, Stage, id, uris, write, write_on};
use bytes::Bytes;
use chobi_media::model::Frame;
use chobi_media::seam::Recorded;
use http::{Method, StatusCode};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A show of these clips, each an epoch of its own, that is over.
async fn show_of(clips: &[&'static Clip], folder: &Path, show: &str) -> Stage {
    let stage = Stage::new(folder);
    let mut publisher = stage.publish(show).await;
    for (index, clip) in clips.iter().enumerate() {
        let (first, rest) = clip.frames.split_at(60);
        write(&mut publisher, clip.epoch(), first).await;
        if index == 0 && show == SHOW {
            // More frames than may wait follow.
            stage.has_opened().await;
        }
        write_on(&mut publisher, rest).await;
    }
    stage.end(show, publisher).await;
    assert!(matches!(stage.heard.recorded(show).await, Recorded::Kept { .. }));
    stage
}

fn saved(folder: &TempDir, film: &Bytes) -> PathBuf {
    let path = folder.path().join("video.mp4");
    std::fs::write(&path, film).unwrap();
    path
}

/// Seconds of the longest rendition of the replay, as its playlist adds up.
async fn replay_seconds(stage: &Stage) -> f64 {
    let mut longest = 0.0_f64;
    for rendition in ["v0", "a0"] {
        let playlist = stage.get(&format!("/hls/{SHOW}/replay/{rendition}/index.m3u8")).await;
        let seconds = |line: &str| line.strip_prefix("#EXTINF:")?.split(',').next()?.parse::<f64>().ok();
        longest = longest.max(playlist.text().lines().filter_map(seconds).sum());
    }
    longest
}

fn sent(clip: &'static Clip, track: u8) -> impl Iterator<Item = &'static Frame> {
    clip.frames.iter().filter(move |frame| frame.track.0 == track)
}

/// The frames of the clip are all there, byte for byte, at their times; `frame`: how long each is, in seconds.
fn has_every_frame(path: &Path, clip: &'static Clip, seconds: f64, frame: f64) {
    let pictures = packets(path, true);
    let frames: Vec<_> = sent(clip, 0).collect();
    assert_eq!(pictures.len(), frames.len());
    for (packet, frame) in pictures.iter().zip(&frames) {
        assert!(packet.bytes == frame.payload && packet.is_keyframe == frame.keyframe);
        let pts = (frame.pts - frames[0].pts) as f64 / 1_000.0;
        // A frame is moved by up to two milliseconds to undo the rounding of its time stamp.
        assert!((packet.pts - pts).abs() <= 0.002, "{} instead of {pts}", packet.pts);
    }
    let sound = packets(path, false);
    // Sound before the first picture is left out.
    let all: Vec<_> = sent(clip, 1).collect();
    let first = all.iter().position(|frame| frame.payload == sound[0].bytes).expect("it was sent");
    assert!(first <= 5 && all.len() - first == sound.len(), "{first} are left out, {} there", sound.len());
    assert!(sound.iter().zip(&all[first..]).all(|(packet, frame)| packet.bytes == frame.payload));
    assert!(sound[0].pts.abs() < 0.034, "picture and sound begin together");
    let (whole, tracks) = durations(path);
    assert!((whole - seconds).abs() <= frame, "{whole} instead of {seconds}");
    assert!(tracks.iter().all(|track| (track - seconds).abs() <= frame + 0.023), "{tracks:?}");
}

#[tokio::test]
async fn a_film_has_every_frame_at_its_time_and_lasts_as_long_as_the_show() {
    for (clip, seconds, frame) in [(&*CLIP, 8.0, 1.0 / 30.0), (&*OTHER_CLIP, 6.0, 1_001.0 / 30_000.0)] {
        let folder = tempfile::tempdir().unwrap();
        let stage = show_of(&[clip], folder.path(), SHOW).await;
        let path = saved(&folder, &film_of(&stage, SHOW).await);
        decodes(&path);
        has_every_frame(&path, clip, seconds, frame);
        let (whole, replay) = (durations(&path).0, replay_seconds(&stage).await);
        println!("sent {seconds} s, the replay has {replay:.4} s, the film {whole:.4} s");
        assert!((whole - replay).abs() <= frame, "the replay has {replay} s, the film {whole} s");
        stage.stop().await;
    }
}

#[tokio::test]
async fn a_publisher_who_comes_back_with_another_size_is_in_the_same_film() {
    let folder = tempfile::tempdir().unwrap();
    let stage = show_of(&[&CLIP, &LARGE_CLIP, &CLIP], folder.path(), SHOW).await;
    let path = saved(&folder, &film_of(&stage, SHOW).await);
    decodes(&path);
    let count = CLIP.count(0);
    let sizes = pictures(&path);
    let expected = [(320, 180, count), (640, 360, LARGE_CLIP.count(0)), (320, 180, count)];
    let expected: Vec<_> =
        expected.into_iter().flat_map(|(width, height, count)| std::iter::repeat_n((width, height), count)).collect();
    assert!(sizes == expected, "{} pictures", sizes.len());
    let (picture, sound) = (packets(&path, true), packets(&path, false));
    let frames: Vec<_> = sent(&CLIP, 0).chain(sent(&LARGE_CLIP, 0)).chain(sent(&CLIP, 0)).collect();
    // Keyframes have their parameter sets within them, where these change.
    let is_same = |packet: &Packet, frame: &Frame| match packet.is_keyframe {
        true => packet.bytes.ends_with(&frame.payload) && packet.bytes.len() - frame.payload.len() < 100,
        false => packet.bytes == frame.payload,
    };
    assert!(picture.iter().zip(&frames).all(|(packet, frame)| is_same(packet, frame)));
    // Each return begins with picture and sound at the same time.
    for (clip, first) in [(&*LARGE_CLIP, count), (&*CLIP, count + LARGE_CLIP.count(0))] {
        let begins = picture[first].pts;
        let heard: Vec<_> = sent(clip, 1).map(|frame| &frame.payload).collect();
        let near = sound.iter().filter(|packet| (packet.pts - begins).abs() < 0.05);
        let is_of_it = near.filter(|packet| heard[..8].contains(&&packet.bytes)).count();
        assert!(is_of_it > 0, "its sound is not where its picture is, at {begins}");
    }
    let (whole, replay) = (durations(&path).0, replay_seconds(&stage).await);
    println!("sent 20 s, the replay has {replay:.4} s, the film {whole:.4} s");
    assert!((whole - 20.0).abs() <= 0.04 && (whole - replay).abs() <= 0.04, "{whole} s, the replay {replay} s");
}

#[tokio::test]
async fn any_range_is_a_part_of_the_whole_and_another_file_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let stage = show_of(&[&CLIP], folder.path(), SHOW).await;
    let whole = film_of(&stage, SHOW).await;
    let get = async |headers: &[(&str, &str)]| stage.send(Method::GET, &address(SHOW), headers).await;
    let head = stage.send(Method::HEAD, &address(SHOW), &[]).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header("content-length"), whole.len().to_string());
    assert_eq!((head.header("accept-ranges"), head.header("content-type")), ("bytes", "video/mp4"));
    assert_eq!(head.header("cache-control"), "no-cache");
    let name = head.header("content-disposition");
    assert!(name.starts_with("attachment; ") && name.contains("filename*=UTF-8''%D9%84") && name.ends_with(".mp4"));

    let (mut joined, step) = (Vec::new(), 100_003);
    while joined.len() < whole.len() {
        let range = format!("bytes={}-{}", joined.len(), joined.len() + step - 1);
        let part = get(&[("range", &range)]).await;
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
        let last = (joined.len() + step).min(whole.len()) - 1;
        assert_eq!(part.header("content-range"), format!("bytes {}-{last}/{}", joined.len(), whole.len()));
        assert_eq!(part.header("content-length"), part.body.len().to_string());
        joined.extend_from_slice(&part.body);
    }
    assert!(joined == whole);
    assert_eq!(get(&[("range", "bytes=-7")]).await.body, whole[whole.len() - 7..]);
    let beyond = get(&[("range", &format!("bytes={}-", whole.len()))]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header("content-range"), format!("bytes */{}", whole.len()));

    let tag = head.header("etag");
    assert!(tag.starts_with('"') && tag.len() > 20);
    for (wanted, status) in [
        (tag, StatusCode::PARTIAL_CONTENT),
        ("\"other\"", StatusCode::OK),
        ("Sun, 06 Nov 1994 08:49:37 GMT", StatusCode::OK),
    ] {
        assert_eq!(get(&[("range", "bytes=0-9"), ("if-range", wanted)]).await.status, status, "{wanted}");
    }
    assert_eq!(get(&[("if-none-match", tag)]).await.status, StatusCode::NOT_MODIFIED);
    assert_eq!(get(&[("if-match", "\"other\"")]).await.status, StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn a_player_seeks_in_a_film_over_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let stage = show_of(&[&CLIP, &LARGE_CLIP], folder.path(), SHOW).await;
    let path = saved(&folder, &film_of(&stage, SHOW).await);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}{}", listener.local_addr().unwrap(), address(SHOW));
    let server = tokio::spawn(axum::serve(listener, stage.router.clone()).into_future());
    for (second, size) in [("0.5", 320 * 180), ("5.2", 320 * 180), ("10.3", 640 * 360)] {
        let picture = async |input: &str| {
            let player = tokio::process::Command::new("ffmpeg")
                .args(["-v", "error", "-xerror", "-ss", second, "-i", input, "-frames:v", "1"])
                .args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "-"])
                .output();
            let output = tokio::time::timeout(LIMIT, player).await.unwrap().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let (far, near) = (picture(&url).await, picture(path.to_str().unwrap()).await);
        assert!(far == near && far.len() == size * 3 / 2, "at {second}");
        // The picture that is due then, and no other: decoded from the beginning.
        let from_the_beginning = Command::new("ffmpeg")
            .args(["-v", "error", "-i", path.to_str().unwrap(), "-ss", second, "-frames:v", "1"])
            .args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "-autoscale", "0", "-"])
            .output()
            .unwrap();
        assert!(from_the_beginning.stdout == far, "at {second}");
    }
    server.abort();
}

#[tokio::test]
async fn who_may_not_have_it_is_given_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let stage = show_of(&[&CLIP], folder.path(), "session_private").await;
    for part in ["video.mp4", "video.json"] {
        let path = format!("/hls/session_private/replay/{part}");
        assert_eq!(stage.get(&path).await.status, StatusCode::FORBIDDEN);
        assert_eq!(stage.get(&format!("{path}?ticket=user_1")).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(stage.send(Method::POST, &path, &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    assert!(!folder.path().join("hls/session_private/film").exists(), "nothing was made for them");
    let bearer = [("authorization", "Bearer user_host")];
    let answer = stage.send(Method::GET, "/hls/session_private/replay/video.mp4", &bearer).await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::OK, "private, no-cache"));

    let nothing = stage.get("/hls/session_gift/replay/video.mp4").await;
    assert_eq!(nothing.status, StatusCode::NOT_FOUND, "{}", nothing.text());
    let publisher = stage.publish("session_gift").await;
    assert_eq!(stage.get("/hls/session_gift/replay/video.mp4").await.status, StatusCode::NOT_FOUND, "it goes on");
    drop(publisher);
}

/// The path of a stored segment.
fn segment(folder: &TempDir, rendition: &str, number: u64) -> PathBuf {
    folder.path().join(format!("hls/{SHOW}/{rendition}/0/{number}.m4s"))
}

#[tokio::test]
async fn what_is_lost_or_damaged_leaves_its_time_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let stage = show_of(&[&CLIP], folder.path(), SHOW).await;
    let whole = saved(&folder, &film_of(&stage, SHOW).await);
    let (before, seconds) = (packets(&whole, true), durations(&whole).0);
    assert!(stage.get(&format!("/hls/{SHOW}/replay/video.json?ticket={HOST}")).await.text().contains("\"ready\""));
    stage.stop().await;
    std::fs::remove_file(folder.path().join("hls").join(SHOW).join("film")).unwrap();

    // The second is gone, the third was cut within its last parts, of the sound the first has other bytes.
    std::fs::remove_file(segment(&folder, "v0", 2)).unwrap();
    let third = std::fs::read(segment(&folder, "v0", 3)).unwrap();
    std::fs::write(segment(&folder, "v0", 3), &third[..third.len() / 2]).unwrap();
    std::fs::write(segment(&folder, "a0", 1), vec![0x5a; 20_000]).unwrap();
    let stage = Stage::new(folder.path());
    let path = saved(&folder, &film_of(&stage, SHOW).await);
    decodes(&path);
    let after = packets(&path, true);
    assert!(after.len() < before.len() - 60 && after.len() > 60, "{} of {}", after.len(), before.len());
    for packet in &after {
        let same = before.iter().find(|one| one.bytes == packet.bytes).expect("nothing is made up");
        assert!((same.pts - packet.pts).abs() < 0.000_1, "{} instead of {}", packet.pts, same.pts);
    }
    let sound = packets(&path, false);
    assert!((1.9..2.1).contains(&sound[0].pts), "sound begins with its second segment: {}", sound[0].pts);
    assert!((durations(&path).0 - seconds).abs() < 0.034);
    let last = before.last().unwrap();
    assert!(after.last().unwrap().bytes == last.bytes);
}

#[tokio::test]
async fn a_lost_beginning_and_a_lost_end_are_waited_through() {
    let folder = tempfile::tempdir().unwrap();
    let stage = show_of(&[&CLIP], folder.path(), SHOW).await;
    stage.stop().await;
    for rendition in ["v0", "a0"] {
        std::fs::remove_file(segment(&folder, rendition, 1)).unwrap();
        std::fs::remove_file(segment(&folder, rendition, 4)).unwrap();
    }
    let stage = Stage::new(folder.path());
    let path = saved(&folder, &film_of(&stage, SHOW).await);
    decodes(&path);
    let (whole, replay) = (durations(&path).0, replay_seconds(&stage).await);
    assert!((whole - replay).abs() <= 0.034, "the replay has {replay} s, the film {whole} s");
    let first = &packets(&path, true)[0];
    assert!(first.is_keyframe && (1.9..2.1).contains(&first.pts), "{}", first.pts);
}

#[tokio::test]
async fn a_film_is_kept_small_made_again_when_damaged_and_gone_with_its_show() {
    let folder = tempfile::tempdir().unwrap();
    let stage = show_of(&[&CLIP], folder.path(), SHOW).await;
    let whole = film_of(&stage, SHOW).await;
    let kept = folder.path().join("hls").join(SHOW).join("film");
    let note = std::fs::read(&kept).unwrap();
    assert!(note.len() * 20 < whole.len(), "{} bytes for a film of {}", note.len(), whole.len());
    stage.stop().await;

    // Kept: no segment is needed to tell of it.
    let stage = Stage::new(folder.path());
    let hidden = (segment(&folder, "v0", 1), folder.path().join("hidden"));
    std::fs::rename(&hidden.0, &hidden.1).unwrap();
    let head = stage.send(Method::HEAD, &address(SHOW), &[]).await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, &*whole.len().to_string()));
    std::fs::rename(&hidden.1, &hidden.0).unwrap();
    assert!(film_of(&stage, SHOW).await == whole, "the same bytes after a restart");
    stage.stop().await;

    for damaged in [&note[..note.len() / 2], b"", &[&note[..], b"x"].concat()] {
        std::fs::write(&kept, damaged).unwrap();
        let stage = Stage::new(folder.path());
        assert!(film_of(&stage, SHOW).await == whole, "the same bytes when made again");
        assert!(std::fs::read(&kept).unwrap() == note);
        stage.stop().await;
    }

    let stage = Stage::new(folder.path());
    film_of(&stage, SHOW).await;
    assert!(stage.service.delete_recording(&id(SHOW)).await.unwrap());
    assert!(!folder.path().join("hls").join(SHOW).exists());
    assert_eq!(stage.get(&address(SHOW)).await.status, StatusCode::NOT_FOUND);
    assert!(!folder.path().join("hls").join(SHOW).exists(), "asking for it makes nothing");
}

#[tokio::test]
async fn a_segment_that_changed_cuts_the_download_and_has_the_film_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let stage = show_of(&[&CLIP], folder.path(), SHOW).await;
    let whole = film_of(&stage, SHOW).await;
    // What was read for it is forgotten with the server.
    stage.stop().await;
    let stage = Stage::new(folder.path());
    std::fs::remove_file(segment(&folder, "v0", 4)).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(axum::serve(listener, stage.router.clone()).into_future());
    let cut = tokio::process::Command::new("curl")
        .args(["-sS", "-o", "/dev/null", &format!("http://127.0.0.1:{port}{}", address(SHOW))])
        .output();
    let cut = tokio::time::timeout(LIMIT, cut).await.unwrap().unwrap();
    assert!(!cut.status.success(), "whoever downloads it is told that it is not whole");
    server.abort();
    let again = film_of(&stage, SHOW).await;
    assert!(again.len() < whole.len());
    decodes(&saved(&folder, &again));
}

#[tokio::test]
async fn a_show_of_sound_alone_is_a_film_of_sound() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let mut publisher = stage.publish(SHOW).await;
    let (epoch, frames) = CLIP.audio_only();
    write(&mut publisher, epoch, &frames).await;
    stage.end(SHOW, publisher).await;
    assert!(matches!(stage.heard.recorded(SHOW).await, Recorded::Kept { has_video: false, .. }));
    let path = saved(&folder, &film_of(&stage, SHOW).await);
    decodes(&path);
    let sound = packets(&path, false);
    assert!(sound.len() == frames.len() && sound.iter().zip(&frames).all(|(one, frame)| one.bytes == frame.payload));
    let head = stage.send(Method::HEAD, &address(SHOW), &[]).await;
    assert_eq!(head.header("content-type"), "audio/mp4");
    let listed = stage.get(&format!("/hls/{SHOW}/replay/a0/index.m3u8")).await;
    assert!(!uris(listed.text(), "").is_empty());
}
