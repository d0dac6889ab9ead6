//! Real encoders, publishing over RTMP until dropped.

use super::process::{Process, bound_to_test};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

/// What is published. Small and cheap to encode: the server does not care, and the browser beside it decodes too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Picture {
    pub(crate) video: Option<Scene>,
    pub(crate) sound: bool,
    /// Frames a second, and from keyframe to keyframe.
    pub(crate) rate: u32,
    pub(crate) gop: u32,
    /// B-frames between reference frames: decode order then differs from display order.
    pub(crate) b_frames: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scene {
    /// A test picture whose top shows the wall clock as 20 black or white blocks, lowest bit first: milliseconds since
    /// the epoch, modulo 2^20. Read back by `browser/clock.mjs`.
    Clock,
    /// Black, white for a tenth of a second in each; the sound beeps at the same moments.
    Clapper,
}

impl Picture {
    pub(crate) const CLOCK: Self = Self { video: Some(Scene::Clock), sound: true, rate: 30, gop: 60, b_frames: 0 };
    pub(crate) const CLAPPER: Self = Self { video: Some(Scene::Clapper), ..Self::CLOCK };
    pub(crate) const SILENT: Self = Self { sound: false, ..Self::CLOCK };
    pub(crate) const SOUND_ONLY: Self = Self { video: None, ..Self::CLOCK };
    pub(crate) const B_FRAMES: Self = Self { b_frames: 2, rate: 25, gop: 50, ..Self::CLAPPER };

    fn video_graph(self, scene: Scene) -> String {
        let rate = self.rate;
        match scene {
            Scene::Clock => format!(
                "[0:v]split[picture][ruler];\
                 [ruler]scale=20:1,format=gray,settb=1/1000,setpts=RTCTIME/1000,\
                 geq=lum='if(mod(floor(mod(T*1000\\,1048576)/pow(2\\,X))\\,2)\\,235\\,16)',\
                 setpts=N/{rate}/TB,settb=1/{rate},fps={rate},scale=640:32:flags=neighbor,format=yuv420p[clock];\
                 [picture][clock]overlay=0:0:shortest=1[v]"
            ),
            Scene::Clapper => "[0:v]drawbox=c=white:t=fill:enable='lt(mod(t\\,1)\\,0.1)'[v]".into(),
        }
    }

    fn source(self, scene: Scene) -> String {
        let rate = self.rate;
        match scene {
            Scene::Clock => format!("testsrc2=size=640x360:rate={rate}"),
            Scene::Clapper => format!("color=black:size=640x360:rate={rate}"),
        }
    }
}

/// A tone that beeps in the first tenth of each second.
const BEEPS: &str = "aevalsrc=0.5*sin(2*PI*880*t)*lt(mod(t\\,1)\\,0.1):sample_rate=48000:channel_layout=stereo";

pub(crate) struct Encoder {
    process: Process,
}

impl Encoder {
    pub(crate) fn ffmpeg(picture: &Picture, url: &str, scratch: &Path) -> Result<Self> {
        let mut command = bound_to_test("ffmpeg");
        command.args(["-hide_banner", "-nostdin", "-loglevel", "warning"]);
        if let Some(scene) = picture.video {
            command.args(["-re", "-f", "lavfi", "-i", &picture.source(scene)]);
        }
        if picture.sound {
            command.args(["-re", "-f", "lavfi", "-i", BEEPS]);
        }
        if let Some(scene) = picture.video {
            command.args(["-filter_complex", &picture.video_graph(scene), "-map", "[v]"]);
            command.args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-sc_threshold", "0"]);
            command.args(["-g", &picture.gop.to_string(), "-bf", &picture.b_frames.to_string()]);
            command.args(["-b:v", "600k", "-threads", "1"]);
            if picture.b_frames == 0 {
                command.args(["-tune", "zerolatency"]);
            }
        }
        if picture.sound {
            let input = if picture.video.is_some() { "1:a" } else { "0:a" };
            command.args(["-map", input, "-c:a", "aac", "-b:a", "96k"]);
        }
        command.args(["-f", "flv", url]);
        Self::start("ffmpeg", command, scratch)
    }

    /// The muxer waits a second for a track that comes late, else it would give it later times on a busy machine.
    pub(crate) fn gstreamer(url: &str, scratch: &Path) -> Result<Self> {
        let mut command = bound_to_test("gst-launch-1.0");
        let pipeline = format!(
            "flvmux name=mux streamable=true latency=1000000000 ! rtmp2sink location={url} \
             videotestsrc is-live=true ! video/x-raw,width=640,height=360,framerate=30/1 ! \
             x264enc tune=zerolatency speed-preset=ultrafast bitrate=600 key-int-max=60 bframes=0 ! h264parse ! queue ! mux. \
             audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! audioconvert ! avenc_aac bitrate=96000 ! \
             aacparse ! queue ! mux."
        );
        command.args(["--quiet"]).args(pipeline.split_whitespace());
        Self::start("gst-launch-1.0", command, scratch)
    }

    fn start(name: &str, command: Command, scratch: &Path) -> Result<Self> {
        Ok(Self { process: Process::start(name, command, &scratch.join(format!("{name}.log")))? })
    }

    pub(crate) fn must_run(&mut self) -> Result<()> {
        self.process.must_run()
    }

    /// What it has printed.
    pub(crate) fn output(&self) -> String {
        self.process.output()
    }

    /// Whether the server, or anything else, has made it give up.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.process.has_ended()?.is_some())
    }

    /// Gone without a word, as when the broadcaster's network is cut.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.process.kill()
    }
}
