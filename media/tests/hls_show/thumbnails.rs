//! Pictures of shows: what they show, how large they are, who gets them, and that a keyframe nobody can decode costs nothing.

use super::clip::{CLIP, Clip};
use super::counters;
use super::stage::{LIMIT, SHOW, Stage, id, uris, write, write_on};
use bytes::Bytes;
use chobi_media::hls::HlsConfig;
use chobi_media::hub::Publisher;
use chobi_media::model::Frame;
use chobi_media::seam::{MediaEvent, Recorded};
use http::{Method, StatusCode};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

const NEWEST: &str = "/hls/session_1/thumbnail.jpg";

fn every(interval: Duration) -> HlsConfig {
    HlsConfig { thumbnail_interval: interval, ..HlsConfig::default() }
}

/// Bytes on the standard input of a program, and its standard output.
fn piped(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ffmpeg is installed");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What an ordinary decoder sees in a JPEG: its width and height, and its pixels, red, green and blue.
struct Seen {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

fn see(jpeg: &[u8]) -> Seen {
    let size = piped(
        "ffprobe",
        &["-v", "error", "-f", "jpeg_pipe", "-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0", "-"],
        jpeg,
    );
    let size = String::from_utf8(size).unwrap();
    let fields: Vec<&str> = size.trim().split(',').collect();
    assert_eq!(fields[0], "mjpeg", "{size}");
    let args = ["-v", "error", "-xerror", "-f", "jpeg_pipe", "-i", "-", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
    let pixels = piped("ffmpeg", &args, jpeg);
    let (width, height) = (fields[1].parse().unwrap(), fields[2].parse().unwrap());
    assert_eq!(pixels.len(), width * height * 3);
    Seen { width, height, pixels }
}

impl Seen {
    fn at(&self, x: usize, y: usize) -> [u8; 3] {
        self.pixels[(y * self.width + x) * 3..][..3].try_into().unwrap()
    }

    /// Peak signal to noise against the same pixels of somebody else, in decibels.
    fn psnr(&self, other: &[u8]) -> f64 {
        assert_eq!(self.pixels.len(), other.len());
        let squares: f64 =
            self.pixels.iter().zip(other).map(|(one, other)| f64::from(one.abs_diff(*other)).powi(2)).sum();
        10.0 * (255.0 * 255.0 * self.pixels.len() as f64 / squares).log10()
    }
}

/// Waits for a newer picture than the one with this tag. Answers it and its tag.
async fn newer(stage: &Stage, path: &str, than: &str) -> (Bytes, String) {
    let wait = async {
        loop {
            let answer = stage.get(path).await;
            if answer.status == StatusCode::OK && answer.header("etag") != than {
                let tag = answer.header("etag").to_owned();
                return (answer.body, tag);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.expect("a picture in time")
}

fn files(data_dir: &Path, kind: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(data_dir.join("hls").join(SHOW).join("v0/0")) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(kind)).collect()
}

async fn publish(stage: &Stage, clip: &Clip) -> Publisher {
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, clip.epoch(), &clip.frames).await;
    publisher
}

const BARS: &str = "color=c=red:s=640x360:r=30,format=gbrp,drawbox=x=212:y=0:w=216:h=360:c=lime:t=fill,\
    drawbox=x=428:y=0:w=212:h=360:c=blue:t=fill";

/// Red, green and blue stay what they are, whatever the encoder says of its samples.
#[tokio::test]
async fn a_picture_has_the_colours_of_the_show() {
    for (matrix, name, range) in [
        ("bt709", "bt709", "tv"),
        ("smpte170m", "smpte170m", "tv"),
        ("bt709", "bt709", "pc"),
        ("bt2020", "bt2020nc", "tv"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let stage = Stage::new(folder.path());
        let source = format!("{BARS},scale=out_color_matrix={matrix}:out_range={range},format=yuv420p");
        let clip = Clip::of(&source, 3, &["-colorspace", name, "-color_range", range]);
        let publisher = publish(&stage, &clip).await;
        let (jpeg, _) = newer(&stage, NEWEST, "").await;
        let seen = see(&jpeg);
        assert_eq!((seen.width, seen.height), (320, 180));
        for (x, wanted) in [(50, [255, 0, 0]), (160, [0, 255, 0]), (270, [0, 0, 255])] {
            let found = seen.at(x, 90);
            let near = found.iter().zip(&wanted).all(|(found, wanted): (&u8, &u8)| found.abs_diff(*wanted) <= 8);
            assert!(near, "{found:?} instead of {wanted:?} at {x} in {matrix} {range}");
        }
        stage.end(SHOW, publisher).await;
    }
}

/// Frame by frame, as ffmpeg makes them of the same source.
fn pictures_at(seconds: &[u64]) -> Vec<Vec<u8>> {
    let picked: Vec<_> = seconds.iter().map(|second| format!("eq(n,{})", second * 30)).collect();
    let select = format!("select='{}'", picked.join("+"));
    let args = ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=8", "-vf", &select];
    let args = [&args[..], &["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]].concat();
    let all = piped("ffmpeg", &args, &[]);
    all.chunks(320 * 180 * 3).map(<[u8]>::to_vec).collect()
}

#[tokio::test]
async fn each_picture_shows_its_moment_and_the_index_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::with(folder.path(), every(Duration::from_secs(2)));
    let mut publisher = stage.publish(SHOW).await;
    publisher.begin_epoch(CLIP.epoch());
    // A picture is made of a segment that is closed: wait for each before the next can be.
    let (mut tag, mut rest) = (String::new(), &CLIP.frames[..]);
    for until in [3_000, 5_000, 7_000] {
        let count = rest.iter().take_while(|frame| frame.track.0 == 1 || frame.dts < until).count();
        let (now, later) = rest.split_at(count);
        write_on(&mut publisher, now).await;
        (_, tag) = newer(&stage, NEWEST, &tag).await;
        rest = later;
    }
    write_on(&mut publisher, rest).await;
    let live = stage.get("/hls/session_1/thumbnails.vtt").await;
    assert_eq!((live.status, live.header("cache-control")), (StatusCode::NOT_FOUND, "max-age=5"));
    stage.end(SHOW, publisher).await;
    assert!(matches!(stage.heard.recorded(SHOW).await, Recorded::Kept { .. }));

    // Those who watched it live are still shown its end, so the index names what is below the replay.
    let index = stage.fetch_text("/hls/session_1/thumbnails.vtt").await;
    assert!(index.contains("\nreplay/v0/0/1.jpg\n"), "{index}");
    let index = stage.get("/hls/session_1/replay/thumbnails.vtt").await;
    assert_eq!(
        (index.header("content-type"), index.header("cache-control")),
        ("text/vtt; charset=utf-8", "max-age=300")
    );
    let cues: Vec<Vec<&str>> = index.text().split("\n\n").skip(1).map(|cue| cue.lines().collect()).collect();
    let starts: Vec<&str> = cues.iter().map(|cue| cue[0].split_once(" --> ").unwrap().0).collect();
    assert_eq!(starts, ["00:00:00.000", "00:00:02.000", "00:00:04.000", "00:00:06.000"], "{}", index.text());
    let truth = pictures_at(&[0, 2, 4, 6]);
    for (index, cue) in cues.iter().enumerate() {
        let answer = stage.get(&format!("/hls/session_1/replay/{}", cue[1])).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "image/jpeg"));
        assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
        let likeness: Vec<f64> = truth.iter().map(|frame| see(&answer.body).psnr(frame)).collect();
        eprintln!("the picture of second {}: {likeness:.1?} dB", index * 2);
        let best = likeness.iter().copied().fold(0.0, f64::max);
        assert!(likeness[index] == best && best > 25.0, "of second {}: {likeness:?}", index * 2);
    }
    let poster = stage.get("/hls/session_1/replay/thumbnail.jpg").await;
    assert_eq!((poster.status, poster.header("cache-control")), (StatusCode::OK, "max-age=300"));
    assert_eq!(poster.body, stage.fetch("/hls/session_1/replay/v0/0/1.jpg").await, "nearest to a tenth of the show");
}

#[tokio::test]
async fn the_newest_picture_may_be_kept_for_moments_and_is_asked_for_by_its_tag() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let none = stage.publish(SHOW).await;
    let answer = stage.get(NEWEST).await;
    assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::NOT_FOUND, "max-age=5"));
    drop(none);
    let publisher = publish(&stage, &CLIP).await;
    let (jpeg, tag) = newer(&stage, NEWEST, "").await;
    let answer = stage.get(NEWEST).await;
    assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("image/jpeg", "max-age=5"));
    assert_eq!((answer.header("set-cookie"), answer.body == jpeg), ("", true));
    for (known, status) in [(tag.as_str(), 304), ("\"other\"", 200), ("\"other\", W/\"v0-0-1.jpg\"", 304)] {
        let answer = stage.send(Method::GET, NEWEST, &[("if-none-match", known)]).await;
        assert_eq!((answer.status.as_u16(), answer.header("etag")), (status, tag.as_str()), "{known}");
        assert_eq!(answer.body.is_empty(), status == 304);
    }
    let head = stage.send(Method::HEAD, NEWEST, &[]).await;
    assert_eq!((head.header("content-length"), head.body.len()), (jpeg.len().to_string().as_str(), 0));
    let told = stage.heard.wait_for(|events| events.iter().any(is_thumbnail)).await;
    assert_eq!(told.iter().filter(|event| is_thumbnail(event)).count(), 1);
    let joined = told.iter().any(|event| matches!(event, MediaEvent::ViewerJoined { .. }));
    assert!(!joined, "whoever looks at a list watches nothing");
    stage.end(SHOW, publisher).await;
}

fn is_thumbnail(event: &MediaEvent) -> bool {
    matches!(event, MediaEvent::ThumbnailMade { broadcast } if broadcast.as_str() == SHOW)
}

#[tokio::test]
async fn a_private_show_shows_nothing_to_those_without_a_ticket() {
    let folder = tempfile::tempdir().unwrap();
    let (stage, show) = (Stage::new(folder.path()), "session_private");
    let mut publisher = stage.publish(show).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    let base = format!("/hls/{show}");
    newer(&stage, &format!("{base}/thumbnail.jpg?ticket=user_1"), "").await;
    assert_eq!(stage.get(&format!("{base}/thumbnail.jpg")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(stage.get(&format!("{base}/thumbnail.jpg?ticket=stolen")).await.status, StatusCode::UNAUTHORIZED);
    let answer = stage.get(&format!("{base}/thumbnail.jpg?ticket=user_1")).await;
    assert_eq!(answer.header("cache-control"), "private, no-cache");
    stage.end(show, publisher).await;
    stage.heard.recorded(show).await;
    for path in
        ["thumbnail.jpg", "replay/thumbnail.jpg", "thumbnails.vtt", "replay/thumbnails.vtt", "replay/v0/0/1.jpg"]
    {
        assert_eq!(stage.get(&format!("{base}/{path}")).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    // The index carries the pass on, wherever it was asked for.
    for place in ["", "replay/"] {
        let index = stage.get(&format!("{base}/{place}thumbnails.vtt?ticket=user_1")).await;
        assert_eq!(index.header("cache-control"), "private, no-cache");
        let address = index.text().lines().find(|line| line.ends_with(".jpg")).unwrap().to_owned();
        let address = match address.strip_prefix("../") {
            Some(above) => format!("{base}/{above}"),
            None => format!("{base}/{place}{address}"),
        };
        let answer = stage.get(&address).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "image/jpeg"), "{address}");
        assert!(answer.header("cache-control").starts_with("private"));
        let index = address.split_once("/v0/").unwrap().0.to_owned() + "/thumbnails.vtt";
        assert!(stage.fetch_text(&index).await.contains("\nv0/0/1.jpg\n"), "below the pass it is relative: {index}");
    }
}

#[tokio::test]
async fn pictures_go_with_the_recording_and_come_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    let publisher = publish(&stage, &CLIP).await;
    let (jpeg, tag) = newer(&stage, NEWEST, "").await;
    stage.stop().await;
    drop(publisher);

    let stage = Stage::new(folder.path());
    stage.expect(SHOW).await;
    let (again, tag_again) = newer(&stage, NEWEST, "").await;
    assert_eq!((again, tag_again), (jpeg.clone(), tag));
    let publisher = publish(&stage, &CLIP).await;
    stage.end(SHOW, publisher).await;
    stage.heard.recorded(SHOW).await;
    stage.stop().await;

    let stage = Stage::new(folder.path());
    assert_eq!(stage.fetch(NEWEST).await, jpeg);
    assert_eq!(files(folder.path(), ".jpg"), ["1.jpg"]);
    let index = stage.fetch_text("/hls/session_1/thumbnails.vtt").await;
    assert!(index.contains("v0/0/1.jpg\n") && index.contains("\nv0/1/"), "of both runs: {index}");
    assert!(stage.service.delete_recording(&id(SHOW)).await.unwrap());
    assert!(!folder.path().join("hls").join(SHOW).exists());
    for path in [NEWEST, "/hls/session_1/thumbnails.vtt", "/hls/session_1/v0/0/1.jpg"] {
        assert_eq!(stage.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_show_off_the_record_has_a_picture_while_it_is_live_and_leaves_none() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::new(folder.path());
    stage.door.keeps_nothing.store(true, Ordering::Relaxed);
    let publisher = publish(&stage, &CLIP).await;
    newer(&stage, NEWEST, "").await;
    assert_eq!(files(folder.path(), ".jpg"), Vec::<String>::new());
    stage.end(SHOW, publisher).await;
    assert_eq!(stage.heard.recorded(SHOW).await, Recorded::Nothing);
    assert!(!folder.path().join("hls").join(SHOW).exists());
}

#[tokio::test]
async fn no_pictures_are_made_where_none_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::with(folder.path(), every(Duration::ZERO));
    let publisher = publish(&stage, &CLIP).await;
    stage.end(SHOW, publisher).await;
    assert!(matches!(stage.heard.recorded(SHOW).await, Recorded::Kept { .. }));
    assert_eq!(files(folder.path(), ".jpg"), Vec::<String>::new());
    assert_eq!(stage.get(NEWEST).await.status, StatusCode::NOT_FOUND);
}

/// A keyframe that an encoder, a network or somebody with bad intentions has spoilt.
fn spoilt(frame: &Frame, how: usize) -> Frame {
    if !frame.keyframe || frame.track.0 != 0 {
        return frame.clone();
    }
    let mut payload = frame.payload.to_vec();
    match how {
        // Half a slice, its length put right.
        0 => {
            let length = (payload.len() - 4) / 2;
            payload.truncate(length + 4);
            payload[..4].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        }
        // A length that lies.
        1 => payload[..4].copy_from_slice(&u32::MAX.to_be_bytes()),
        // A slice that uses a parameter set nobody has sent.
        2 => payload = vec![0, 0, 0, 6, 0x65, 0x88, 0x81, 0xff, 0xff, 0xff],
        // A second unit behind a start code: parameters that were not looked at.
        3 => {
            payload.truncate(64);
            payload.extend([0, 0, 0, 1, 0x67, 0xff, 0xff]);
            let length = u32::try_from(payload.len() - 4).unwrap();
            payload[..4].copy_from_slice(&length.to_be_bytes());
        }
        _ => payload.clear(),
    }
    Frame { payload: payload.into(), ..frame.clone() }
}

#[tokio::test]
async fn keyframes_that_cannot_be_decoded_cost_a_counter_and_nothing_else() {
    let _turn = counters::take_turn().await;
    // Without the units before the picture, so that the first one is it.
    let clip = Clip::of("testsrc2=size=320x180:rate=30", 8, &["-bf", "0", "-x264-params", "sei=0:aud=0"]);
    let is_slice = |frame: &&Frame| frame.keyframe && frame.track.0 == 0;
    let bare: Vec<Frame> = clip.frames.iter().map(without_sei).collect();
    assert!(bare.iter().filter(is_slice).all(|frame| frame.payload[4] & 0x1f == 5));
    for how in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let stage = Stage::new(folder.path());
        let frames: Vec<Frame> = bare.iter().map(|frame| spoilt(frame, how)).collect();
        let failed = counters::total("chobi_thumbnails_failed_total");
        let mut publisher = stage.publish(SHOW).await;
        write(&mut publisher, clip.epoch(), &frames).await;
        stage.end(SHOW, publisher).await;
        let playlist = stage.ended_playlist("v0").await;
        assert_eq!(uris(&playlist, "").len(), 4, "{how}: {playlist}");
        assert!(matches!(stage.heard.recorded(SHOW).await, Recorded::Kept { .. }), "{how}");
        assert_eq!(stage.get(NEWEST).await.status, StatusCode::NOT_FOUND, "{how}");
        assert!(counters::total("chobi_thumbnails_failed_total") > failed, "{how}");
        assert_eq!(files(folder.path(), ".jpg"), Vec::<String>::new(), "{how}");
        stage.stop().await;
    }
}

/// The slices alone.
fn without_sei(frame: &Frame) -> Frame {
    if frame.track.0 != 0 {
        return frame.clone();
    }
    let (mut rest, mut kept) = (&frame.payload[..], Vec::new());
    while rest.len() > 4 {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        let (unit, later) = rest.split_at(4 + length);
        if matches!(unit[4] & 0x1f, 1 | 5) {
            kept.extend_from_slice(unit);
        }
        rest = later;
    }
    Frame { payload: kept.into(), ..frame.clone() }
}

/// What the decoder makes of noise is its own affair, but it makes it without harm.
#[tokio::test]
async fn noise_in_place_of_a_picture_harms_nobody() {
    let clip = Clip::of("testsrc2=size=320x180:rate=30", 2, &["-bf", "0", "-x264-params", "slices=4"]);
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::with(folder.path(), every(Duration::from_secs(1)));
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..40 {
        let mut frames = clip.frames.clone();
        for frame in frames.iter_mut().filter(|frame| frame.keyframe && frame.track.0 == 0) {
            let mut payload = frame.payload.to_vec();
            for _ in 0..=round {
                let at = usize::try_from(noise()).unwrap() % payload.len();
                payload[at] = (noise() >> 32) as u8;
            }
            frame.payload = payload.into();
        }
        let show = format!("session_{round}");
        let mut publisher = stage.publish(&show).await;
        write(&mut publisher, clip.epoch(), &frames).await;
        stage.end(&show, publisher).await;
        assert!(matches!(stage.heard.recorded(&show).await, Recorded::Kept { .. }));
    }
    let publisher = publish(&stage, &CLIP).await;
    newer(&stage, NEWEST, "").await;
    stage.end(SHOW, publisher).await;
}
