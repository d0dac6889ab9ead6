//! Frames → CMAF parts, per part of 200 ms.
//!
//! The input is a show as a phone sends it: 720p at 30 fps and 2.5 Mbit/s, AAC at 128 kbit/s, two seconds per keyframe.
//! The floor is what cannot be saved: one buffer per part, each payload copied into it once. A good number for `parts`
//! is within four times the floor: boxes, snapshots and eight frames' bookkeeping are in it. `parts_and_playlists` adds
//! what the first viewer of each snapshot causes, rendering and gzip; all others of it are served the same bytes.

use bytes::Bytes;
use chobi_media::hls::{HlsConfig, package_in_memory};
use chobi_media::model::{
    AudioCodec, AudioFormat, Epoch, Frame, FrameRate, MediaFormat, Timescale, TrackFormat, TrackId, VideoCodec,
    VideoFormat,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use std::time::SystemTime;

const SECONDS: i64 = 20;
const FRAMES_PER_SECOND: i64 = 30;
const VIDEO_BYTES_PER_SECOND: usize = 2_500_000 / 8;
const AUDIO_BYTES: usize = 341;
/// Frames of video in a part of 200 ms.
const VIDEO_FRAMES_PER_PART: usize = 6;

fn epoch() -> Arc<Epoch> {
    // Profile high, level 3.1; the parameter sets are a real encoder's.
    let avcc: &[u8] = &[
        1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 13, 0x67, 0x64, 0, 0x1f, 0xac, 0xd9, 0x40, 0x50, 5, 0xbb, 1, 0x10, 0, 1, 0, 5,
        0x68, 0xeb, 0xec, 0xb2, 0x2c, 0xfd, 0xf8, 0xf8, 0,
    ];
    let video = VideoFormat {
        codec: VideoCodec::H264,
        configuration: Bytes::from_static(avcc),
        rfc6381: "avc1.64001f".to_owned(),
        width: 1280,
        height: 720,
        frame_rate: Some(FrameRate { numerator: 30, denominator: 1 }),
    };
    let audio = AudioFormat {
        codec: AudioCodec::Aac,
        configuration: Bytes::from_static(&[0x11, 0x90]),
        rfc6381: "mp4a.40.2".to_owned(),
        sample_rate: 48_000,
        channels: 2,
        samples_per_frame: 1_024,
    };
    let track = |id, timescale, media| Arc::new(TrackFormat { id: TrackId(id), rid: None, timescale, media });
    let tracks = vec![
        track(0, Timescale::MILLIS, MediaFormat::Video(video)),
        track(1, Timescale::new(48_000), MediaFormat::Audio(audio)),
    ];
    Arc::new(Epoch { tracks, zero: SystemTime::UNIX_EPOCH })
}

/// Keyframes are ten times the size of the others.
fn frames() -> Vec<Arc<Frame>> {
    let gop = 2 * FRAMES_PER_SECOND;
    let plain = VIDEO_BYTES_PER_SECOND * 2 / (usize::try_from(gop).expect("positive") + 9);
    let mut frames = Vec::new();
    for number in 0..SECONDS * FRAMES_PER_SECOND {
        let (keyframe, millis) = (number % gop == 0, number * 1_000 / FRAMES_PER_SECOND);
        let payload = Bytes::from(vec![0x55; if keyframe { plain * 10 } else { plain }]);
        frames.push((millis, Frame { track: TrackId(0), dts: millis, pts: millis, keyframe, payload }));
    }
    for number in 0..SECONDS * 48_000 / 1_024 {
        let (at, payload) = (number * 1_024, Bytes::from(vec![0x55; AUDIO_BYTES]));
        frames.push((at / 48, Frame { track: TrackId(1), dts: at, pts: at, keyframe: true, payload }));
    }
    frames.sort_by_key(|(millis, _)| *millis);
    frames.into_iter().map(|(_, frame)| Arc::new(frame)).collect()
}

/// One buffer per part and one copy per payload, and nothing else.
fn floor(frames: &[Arc<Frame>]) -> usize {
    let mut bytes = 0;
    let video: Vec<_> = frames.iter().filter(|frame| frame.track.0 == 0).collect();
    let audio: Vec<_> = frames.iter().filter(|frame| frame.track.0 == 1).collect();
    for part in video.chunks(VIDEO_FRAMES_PER_PART).chain(audio.chunks(9)) {
        let mut buffer = Vec::with_capacity(part.iter().map(|frame| frame.payload.len()).sum());
        part.iter().for_each(|frame| buffer.extend_from_slice(&frame.payload));
        bytes += black_box(Bytes::from(buffer)).len();
    }
    bytes
}

fn cmaf(criterion: &mut Criterion) {
    let (config, epoch, frames) = (HlsConfig::default(), epoch(), frames());
    let parts = package_in_memory(&config, &epoch, &frames, false).parts;
    let mut group = criterion.benchmark_group("cmaf");
    group.throughput(Throughput::Elements(parts as u64));
    group.bench_function(BenchmarkId::from_parameter("floor"), |bencher| bencher.iter(|| floor(black_box(&frames))));
    for (name, rendered) in [("parts", false), ("parts_and_playlists", true)] {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| package_in_memory(&config, &epoch, black_box(&frames), rendered));
        });
    }
    group.finish();
}

criterion_group!(benches, cmaf);
criterion_main!(benches);
