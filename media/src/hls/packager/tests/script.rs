//! Shows as encoders make them, and a strict reader of what the packager makes of them.

use super::super::conformance::{Follower, Listing};
use super::super::snapshot::RenditionSnapshot;
use super::super::*;
use crate::model::{
    AudioCodec, AudioFormat, FrameRate, MediaFormat, Timescale, TrackFormat, TrackId, VideoCodec, VideoFormat,
};
use mp4_atom::{Decode, Encode};
use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

fn video(rate: Option<FrameRate>, timescale: Timescale) -> TrackFormat {
    let mut avcc = Vec::new();
    let sps = [0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00];
    mp4_atom::Avcc::new(&sps, &[0x68, 0xeb, 0xec, 0xb2, 0x2c]).unwrap().encode(&mut avcc).unwrap();
    let video = VideoFormat {
        codec: VideoCodec::H264,
        configuration: Bytes::copy_from_slice(&avcc[8..]),
        rfc6381: "avc1.64001f".to_owned(),
        width: 1280,
        height: 720,
        frame_rate: rate,
    };
    TrackFormat { id: TrackId(0), rid: None, timescale, media: MediaFormat::Video(video) }
}

fn audio(id: u8, codec: AudioCodec, sample_rate: u32, samples_per_frame: u32) -> TrackFormat {
    let (configuration, rfc6381): (&[u8], _) = match codec {
        AudioCodec::Aac => (&[0x11, 0x90], "mp4a.40.2"),
        AudioCodec::Opus => (&[0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0], "opus"),
    };
    let audio = AudioFormat {
        codec,
        configuration: Bytes::from_static(configuration),
        rfc6381: rfc6381.to_owned(),
        sample_rate,
        channels: 2,
        samples_per_frame,
    };
    TrackFormat { id: TrackId(id), rid: None, timescale: Timescale::new(sample_rate), media: MediaFormat::Audio(audio) }
}

/// A show as an encoder makes it: frames of all tracks in order of time, stamped in whole milliseconds as RTMP does.
pub(super) struct Script {
    pub(super) fps: f64,
    pub(super) gop: Duration,
    pub(super) stated: bool,
    pub(super) audio: Option<(AudioCodec, u32, u32)>,
    pub(super) video: bool,
    pub(super) b_frames: i64,
}

impl Default for Script {
    fn default() -> Self {
        let audio = Some((AudioCodec::Aac, 48_000, 1_024));
        Self { fps: 30.0, gop: Duration::from_secs(2), stated: true, audio, video: true, b_frames: 0 }
    }
}

impl Script {
    pub(super) fn epoch(&self, zero: SystemTime) -> Arc<Epoch> {
        let mut tracks = Vec::new();
        if self.video {
            let rate = FrameRate { numerator: (self.fps * 1_000.0).round() as u32, denominator: 1_000 };
            tracks.push(Arc::new(video(self.stated.then_some(rate), Timescale::MILLIS)));
        }
        if let Some((codec, rate, samples)) = self.audio {
            tracks.push(Arc::new(audio(tracks.len() as u8, codec, rate, samples)));
        }
        Arc::new(Epoch { tracks, zero })
    }

    /// Frames up to `length`, by decode time.
    pub(super) fn frames(&self, length: Duration) -> Vec<Arc<Frame>> {
        let mut frames = Vec::new();
        let length_ms = length.as_secs_f64() * 1_000.0;
        if self.video {
            let gop = (self.gop.as_secs_f64() * self.fps).round() as i64;
            let count = (length.as_secs_f64() * self.fps) as i64;
            let millis = |frame: i64| (frame as f64 * 1_000.0 / self.fps).floor() as i64;
            for frame in 0..count {
                let position = frame % gop;
                // I P B B P B B …: shown order differs from decoding order by up to b_frames.
                let group = self.b_frames + 1;
                let shown = match (position, self.b_frames) {
                    (_, 0) | (0, _) => frame,
                    (position, _) if (position - 1) % group == 0 => frame + self.b_frames,
                    _ => frame - 1,
                };
                let delay = if self.b_frames > 0 { 1 } else { 0 };
                let payload = Bytes::from(format!("video {frame:06}").repeat(40));
                let (dts, pts) = (millis(frame), millis(shown + delay));
                frames.push((
                    millis(frame) as f64,
                    Frame { track: TrackId(0), dts, pts, keyframe: position == 0, payload },
                ));
            }
        }
        if let Some((_, rate, samples)) = self.audio {
            let track = TrackId(u8::from(self.video));
            let mut at = 0;
            while at as f64 * 1_000.0 / f64::from(rate) < length_ms {
                let payload = Bytes::from(format!("audio {at:09}").repeat(8));
                let millis = at as f64 * 1_000.0 / f64::from(rate);
                // Rounded to milliseconds and back, as it comes out of RTMP.
                let ticks = (millis.floor() * f64::from(rate) / 1_000.0).round() as i64;
                frames.push((millis + 5.0, Frame { track, dts: ticks, pts: ticks, keyframe: true, payload }));
                at += i64::from(samples);
            }
        }
        frames.sort_by(|one, other| one.0.total_cmp(&other.0));
        frames.into_iter().map(|(_, frame)| Arc::new(frame)).collect()
    }
}

/// The packager with a strict reader on every rendition.
pub(super) struct Theatre {
    pub(super) packager: Packager,
    pub(super) followers: BTreeMap<RenditionId, Follower>,
    pub(super) latest: BTreeMap<RenditionId, (RenditionSnapshot, Listing)>,
    pub(super) kept: Vec<Kept>,
}

impl Theatre {
    pub(super) fn new() -> Self {
        Self::with(Packager::new(HlsConfig::default()))
    }

    pub(super) fn with(packager: Packager) -> Self {
        Self { packager, followers: BTreeMap::new(), latest: BTreeMap::new(), kept: Vec::new() }
    }

    pub(super) fn play(&mut self, frames: &[Arc<Frame>]) {
        for frame in frames {
            self.packager.handle_frame(frame);
            self.look();
        }
    }

    pub(super) fn look(&mut self) {
        for snapshot in self.packager.poll_snapshots() {
            if snapshot.is_empty() {
                continue;
            }
            let listing = self.followers.entry(snapshot.id).or_default().follow(&snapshot);
            self.latest.insert(snapshot.id, (snapshot, listing));
        }
        for choice in self.packager.choices() {
            assert!(choice.peak_bps >= choice.average_bps, "{choice:?}");
        }
        while let Some(kept) = self.packager.poll_kept() {
            self.kept.push(kept);
        }
    }

    pub(super) fn listing(&self, id: &str) -> &Listing {
        &self.latest[&RenditionId::parse(id).unwrap()].1
    }

    pub(super) fn text(&self, id: &str) -> String {
        media_playlist::render(&self.latest[&RenditionId::parse(id).unwrap()].0)
    }

    pub(super) fn segments(&self, id: &str) -> Vec<Arc<Segment>> {
        let id = RenditionId::parse(id).unwrap();
        let of = |kept: &Kept| match kept {
            Kept::Segment { rendition, segment, .. } if *rendition == id => Some(Arc::clone(segment)),
            Kept::Segment { .. } | Kept::Epoch { .. } | Kept::Ended { .. } => None,
        };
        self.kept.iter().filter_map(of).collect()
    }
}

/// Decode time, presentation time and duration in ticks of every sample of a segment.
pub(super) fn samples(segment: &Segment) -> Vec<(i64, i64, i64)> {
    let mut samples = Vec::new();
    for part in &segment.parts {
        let moof = mp4_atom::Moof::decode(&mut &part.bytes[..]).unwrap();
        let mut at = moof.traf[0].tfdt.as_ref().unwrap().base_media_decode_time as i64;
        for entry in moof.traf[0].trun[0].samples.iter() {
            let duration = i64::from(entry.duration.unwrap());
            samples.push((at, at + entry.cts.unwrap(), duration));
            at += duration;
        }
    }
    samples
}

pub(super) fn zero() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_000_000)
}
