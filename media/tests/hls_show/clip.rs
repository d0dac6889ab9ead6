//! Frames of a real encoder: ffmpeg writes FLV, which is read here as RTMP would bring it.

use bytes::Bytes;
use chobi_media::model::{
    AudioCodec, AudioFormat, Epoch, Frame, FrameRate, MediaFormat, Timescale, TrackFormat, TrackId, VideoCodec,
    VideoFormat,
};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

pub(crate) struct Clip {
    tracks: Vec<Arc<TrackFormat>>,
    pub(crate) frames: Vec<Frame>,
}

/// Eight seconds of H.264 with two B-frames at 30 fps and AAC at 48 kHz, a keyframe every second.
pub(crate) static CLIP: LazyLock<Clip> = LazyLock::new(|| Clip::encode("30", 30, 8));

/// Twenty-five frames a second, a keyframe every two, 44.1 kHz: nothing of it is a whole number of milliseconds.
pub(crate) static OTHER_CLIP: LazyLock<Clip> =
    LazyLock::new(|| Clip::encode_with((320, 180), "30000/1001", 60, 6, &["-bf", "0"], "44100"));

/// Four seconds of a larger picture with other sound, as after a change of the encoder's settings.
pub(crate) static LARGE_CLIP: LazyLock<Clip> =
    LazyLock::new(|| Clip::encode_with((640, 360), "25", 50, 4, &["-bf", "0"], "44100"));

impl Clip {
    fn encode(rate: &str, gop: u32, seconds: u32) -> Self {
        Self::encode_with((320, 180), rate, gop, seconds, &["-bf", "2"], "48000")
    }

    fn encode_with(size: (u16, u16), rate: &str, gop: u32, seconds: u32, options: &[&str], sample_rate: &str) -> Self {
        let source = format!("testsrc2=size={}x{}:rate={rate}", size.0, size.1);
        Self::encode_from(&source, video(size, rate), gop, seconds, options, sample_rate)
    }

    /// Of another picture; its size is for the test to know.
    pub(crate) fn of(source: &str, seconds: u32, options: &[&str]) -> Self {
        Self::encode_from(source, video((320, 180), "30"), 60, seconds, options, "48000")
    }

    fn encode_from(
        source: &str,
        format: Arc<TrackFormat>,
        gop: u32,
        seconds: u32,
        options: &[&str],
        sample_rate: &str,
    ) -> Self {
        let gop = gop.to_string();
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", source])
            .args(["-f", "lavfi", "-i", &format!("sine=frequency=440:sample_rate={sample_rate}")])
            .args(["-t", &seconds.to_string(), "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"])
            .args(["-g", &gop, "-keyint_min", &gop, "-sc_threshold", "0"])
            .args(options)
            .args(["-c:a", "aac", "-b:a", "96k", "-ac", "2", "-f", "flv", "-"])
            .output()
            .expect("ffmpeg is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self::read(&output.stdout, format, sample_rate.parse().unwrap())
    }

    /// FLV: a header of 13 bytes, then tags: type 1, size 3, time 3 + 1, id 3, body, size of all that 4.
    fn read(flv: &[u8], video: Arc<TrackFormat>, sample_rate: u32) -> Self {
        let mut clip = Self { tracks: vec![video, audio(sample_rate)], frames: Vec::new() };
        let mut rest = &flv[13..];
        while rest.len() > 11 {
            let size = u32::from_be_bytes([0, rest[1], rest[2], rest[3]]) as usize;
            let at = i64::from(u32::from_be_bytes([rest[7], rest[4], rest[5], rest[6]]));
            clip.take(rest[0], at, &rest[11..11 + size]);
            rest = &rest[11 + size + 4..];
        }
        clip
    }

    fn take(&mut self, kind: u8, at: i64, body: &[u8]) {
        match (kind, body.get(1)) {
            (9, Some(0)) => self.set_configuration(0, &body[5..]),
            (9, Some(1)) => {
                let composition = i32::from_be_bytes([body[2], body[3], body[4], 0]) >> 8;
                self.push(0, at, at + i64::from(composition), body[0] >> 4 == 1, &body[5..]);
            }
            (8, Some(0)) => self.set_configuration(1, &body[2..]),
            (8, Some(1)) => {
                let rate = i64::from(self.tracks[1].timescale.get());
                let ticks = (at * rate + 500) / 1_000;
                self.push(1, ticks, ticks, true, &body[2..]);
            }
            _ => {}
        }
    }

    fn push(&mut self, track: u8, dts: i64, pts: i64, keyframe: bool, payload: &[u8]) {
        let payload = Bytes::copy_from_slice(payload);
        self.frames.push(Frame { track: TrackId(track), dts, pts, keyframe, payload });
    }

    fn set_configuration(&mut self, track: usize, bytes: &[u8]) {
        let format = Arc::make_mut(&mut self.tracks[track]);
        match &mut format.media {
            MediaFormat::Video(video) => {
                video.rfc6381 = format!("avc1.{:02x}{:02x}{:02x}", bytes[1], bytes[2], bytes[3]);
                video.configuration = Bytes::copy_from_slice(bytes);
            }
            MediaFormat::Audio(audio) => audio.configuration = Bytes::copy_from_slice(bytes),
        }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch { tracks: self.tracks.clone(), zero: SystemTime::now() }
    }

    pub(crate) fn count(&self, track: u8) -> usize {
        self.frames.iter().filter(|frame| frame.track.0 == track).count()
    }

    /// Sound alone.
    pub(crate) fn audio_only(&self) -> (Epoch, Vec<Frame>) {
        let track = TrackFormat { id: TrackId(0), ..TrackFormat::clone(&self.tracks[1]) };
        let frames = self.frames.iter().filter(|frame| frame.track.0 == 1);
        let frames = frames.map(|frame| Frame { track: TrackId(0), ..frame.clone() }).collect();
        (Epoch { tracks: vec![Arc::new(track)], zero: SystemTime::now() }, frames)
    }
}

fn video((width, height): (u16, u16), rate: &str) -> Arc<TrackFormat> {
    let (numerator, denominator) = rate.split_once('/').unwrap_or((rate, "1"));
    let frame_rate =
        Some(FrameRate { numerator: numerator.parse().unwrap(), denominator: denominator.parse().unwrap() });
    let video = VideoFormat {
        codec: VideoCodec::H264,
        configuration: Bytes::new(),
        rfc6381: String::new(),
        width,
        height,
        frame_rate,
    };
    Arc::new(TrackFormat { id: TrackId(0), rid: None, timescale: Timescale::MILLIS, media: MediaFormat::Video(video) })
}

fn audio(sample_rate: u32) -> Arc<TrackFormat> {
    let audio = AudioFormat {
        codec: AudioCodec::Aac,
        configuration: Bytes::new(),
        rfc6381: "mp4a.40.2".to_owned(),
        sample_rate,
        channels: 2,
        samples_per_frame: 1_024,
    };
    Arc::new(TrackFormat {
        id: TrackId(1),
        rid: None,
        timescale: Timescale::new(sample_rate),
        media: MediaFormat::Audio(audio),
    })
}
