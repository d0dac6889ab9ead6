//! A publisher of what only Enhanced RTMP carries: H.265, AV1, VP9, Opus.
//!
//! Debian's ffmpeg encodes them all and cannot send them so before version 6.1. It makes a file here; its frames are
//! sent as an encoder would send them, each at its time, over and over.

use super::process::bound_to_test;
use anyhow::{Context, Result, bail, ensure};
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType,
};
use rml_rtmp::time::RtmpTimestamp;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    H265,
    Av1,
    Vp9,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sound {
    None,
    Aac,
    Opus,
}

/// Publishes until it is dropped.
pub(crate) struct EnhancedRtmp {
    task: JoinHandle<Result<()>>,
}

/// The file: long enough to hold two keyframes, short enough to be made in a moment. Whole frames of every codec.
const CLIP_MS: u32 = 4_000;
const ANSWER_MAX: Duration = Duration::from_secs(10);

impl Coding {
    /// FourCC, configuration box, and how it is encoded.
    fn parts(self) -> ([u8; 4], &'static [u8; 4], &'static [&'static str]) {
        const H265: &[&str] =
            &["libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:bframes=0:scenecut=0:open-gop=0"];
        const AV1: &[&str] = &["libsvtav1", "-preset", "12", "-crf", "45"];
        const VP9: &[&str] = &["libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "500k"];
        match self {
            Self::H265 => (*b"hvc1", b"hvcC", H265),
            Self::Av1 => (*b"av01", b"av1C", AV1),
            Self::Vp9 => (*b"vp09", b"vpcC", VP9),
        }
    }
}

impl EnhancedRtmp {
    /// `url`: `rtmp://host:port/app/key`.
    pub(crate) async fn start(coding: Coding, sound: Sound, url: &str, scratch: &Path) -> Result<Self> {
        let clip = Clip::encode(coding, sound, &scratch.join("enhanced.mp4"))?;
        let rest = url.strip_prefix("rtmp://").context("an RTMP address")?;
        let (host, path) = rest.split_once('/').context("an application")?;
        let (app, key) = path.split_once('/').context("a stream key")?;
        let port = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(1935);
        let connection = Connection::publish(port, app, key).await?;
        Ok(Self { task: tokio::spawn(connection.send(clip)) })
    }

    /// Fails when the server, or anything else, has made it give up.
    pub(crate) async fn must_run(&mut self) -> Result<()> {
        if self.task.is_finished() {
            bail!("the publisher has stopped: {:?}", (&mut self.task).await?);
        }
        Ok(())
    }
}

impl Drop for EnhancedRtmp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Bodies of RTMP messages in the order of their times.
struct Clip {
    configurations: Vec<Message>,
    frames: Vec<Message>,
}

#[derive(Clone)]
struct Message {
    is_video: bool,
    ms: u32,
    body: Vec<u8>,
}

impl Clip {
    fn encode(coding: Coding, sound: Sound, path: &Path) -> Result<Self> {
        let (fourcc, configuration_box, encoder) = coding.parts();
        let mut command = bound_to_test("ffmpeg");
        command.args(["-v", "error", "-nostdin", "-y"]);
        command.args(["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30"]);
        command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", &format!("{CLIP_MS}ms")]);
        command.args(["-pix_fmt", "yuv420p", "-g", "60", "-keyint_min", "60", "-c:v"]).args(encoder);
        match sound {
            Sound::None => command.arg("-an"),
            Sound::Aac => command.args(["-ac", "2", "-c:a", "aac"]),
            Sound::Opus => command.args(["-ac", "2", "-c:a", "libopus"]),
        };
        if coding == Coding::H265 {
            command.args(["-tag:v", "hvc1"]);
        }
        command.args(["-movflags", "+faststart", "-f", "mp4"]).arg(path);
        run(&mut command)?;
        let file = std::fs::read(path)?;
        let mut configurations = vec![Message {
            is_video: true,
            ms: 0,
            body: [&[0x90][..], &fourcc, body_of(&file, configuration_box)?].concat(),
        }];
        let sound_head: Option<&[u8]> = match sound {
            Sound::None => None,
            // AAC-LC, 48 kHz, stereo.
            Sound::Aac => Some(b"\x90mp4a\x11\x90"),
            Sound::Opus => Some(b"\x90OpusOpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00"),
        };
        configurations.extend(sound_head.map(|body| Message { is_video: false, ms: 0, body: body.to_vec() }));
        let frames = frames(&file, path, coding, sound)?;
        Ok(Self { configurations, frames })
    }
}

fn frames(file: &[u8], path: &Path, coding: Coding, sound: Sound) -> Result<Vec<Message>> {
    let (fourcc, _, _) = coding.parts();
    let listed = run(bound_to_test("ffprobe")
        .args(["-v", "error", "-show_entries", "packet=codec_type,pts_time,dts_time,size,pos,flags"])
        .args(["-of", "csv=p=0"])
        .arg(path))?;
    let mut frames = Vec::new();
    // A packet with side data is followed by a line of its own, which is empty here.
    for line in String::from_utf8(listed.stdout)?.lines().filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split(',').collect();
        let [kind, pts, dts, size, at, flags, ..] = fields[..] else { bail!("ffprobe says {line}") };
        let ms = |text: &str| -> Result<i64> { Ok((text.parse::<f64>()? * 1_000.0).round() as i64) };
        let (size, at): (usize, usize) = (size.parse()?, at.parse()?);
        let payload = file.get(at..at + size).context("a frame inside the file")?;
        let (dts, composition) = (ms(dts)?.max(0), ms(pts)? - ms(dts)?);
        let body = if kind == "video" {
            let head = if flags.starts_with('K') { 0x91 } else { 0xa1 };
            let composition = (composition as u32).to_be_bytes();
            // Only H.264 and H.265 state a composition time.
            let composition = if coding == Coding::H265 { &composition[1..] } else { &[] };
            [&[head][..], &fourcc, composition, payload].concat()
        } else if sound == Sound::Aac {
            [b"\x91mp4a", payload].concat()
        } else {
            [b"\x91Opus", payload].concat()
        };
        frames.push(Message { is_video: kind == "video", ms: u32::try_from(dts)?, body });
    }
    frames.sort_by_key(|frame| frame.ms);
    ensure!(frames.iter().any(|frame| frame.is_video), "the clip has pictures");
    Ok(frames)
}

/// The body of the first box of this kind.
fn body_of<'a>(file: &'a [u8], kind: &[u8; 4]) -> Result<&'a [u8]> {
    let at = file.windows(4).position(|window| window == kind).context("the encoder's configuration")?;
    let size = u32::from_be_bytes(file[at - 4..at].try_into()?) as usize;
    file.get(at + 4..at - 4 + size).context("a whole box")
}

fn run(command: &mut Command) -> Result<Output> {
    let output = command.output().context("ffmpeg is installed")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

struct Connection {
    socket: TcpStream,
    session: ClientSession,
}

impl Connection {
    async fn publish(port: u16, app: &str, key: &str) -> Result<Self> {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
        let mut handshake = Handshake::new(PeerType::Client);
        socket.write_all(&handshake.generate_outbound_p0_and_p1()?).await?;
        let mut buffer = [0; 4_096];
        let rest = loop {
            let read = timeout(ANSWER_MAX, socket.read(&mut buffer)).await??;
            ensure!(read > 0, "closed during the handshake");
            match handshake.process_bytes(&buffer[..read])? {
                HandshakeProcessResult::InProgress { response_bytes } => socket.write_all(&response_bytes).await?,
                HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                    socket.write_all(&response_bytes).await?;
                    break remaining_bytes;
                }
            }
        };
        let (session, first) = ClientSession::new(ClientSessionConfig::new())?;
        let mut connection = Self { socket, session };
        connection.take(first).await?;
        connection.read(&rest).await?;
        let asked = connection.session.request_connection(app.to_owned())?;
        connection.take(vec![asked]).await?;
        connection.until(|event| matches!(event, ClientSessionEvent::ConnectionRequestAccepted)).await?;
        let asked = connection.session.request_publishing(key.to_owned(), PublishRequestType::Live)?;
        connection.take(vec![asked]).await?;
        connection.until(|event| matches!(event, ClientSessionEvent::PublishRequestAccepted)).await?;
        Ok(connection)
    }

    /// Sends what the session wants sent; gives back what it tells.
    async fn take(&mut self, results: Vec<ClientSessionResult>) -> Result<Vec<ClientSessionEvent>> {
        let mut events = Vec::new();
        for result in results {
            match result {
                ClientSessionResult::OutboundResponse(packet) => self.socket.write_all(&packet.bytes).await?,
                ClientSessionResult::RaisedEvent(event) => events.push(event),
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
        Ok(events)
    }

    async fn read(&mut self, bytes: &[u8]) -> Result<Vec<ClientSessionEvent>> {
        let results = self.session.handle_input(bytes)?;
        self.take(results).await
    }

    async fn until(&mut self, wanted: impl Fn(&ClientSessionEvent) -> bool) -> Result<()> {
        let mut buffer = [0; 4_096];
        loop {
            let read = timeout(ANSWER_MAX, self.socket.read(&mut buffer)).await??;
            ensure!(read > 0, "the server closed the connection");
            if self.read(&buffer[..read]).await?.iter().any(&wanted) {
                return Ok(());
            }
        }
    }

    /// Over and over, each message at its time, until the server closes.
    async fn send(mut self, clip: Clip) -> Result<()> {
        let begun = Instant::now();
        for message in &clip.configurations {
            self.write(message, 0).await?;
        }
        for round in 0.. {
            for message in &clip.frames {
                let ms = message.ms + round * CLIP_MS;
                sleep_until(begun + Duration::from_millis(u64::from(ms))).await;
                self.write(message, ms).await?;
            }
        }
        Ok(())
    }

    async fn write(&mut self, message: &Message, ms: u32) -> Result<()> {
        let (body, time) = (message.body.clone().into(), RtmpTimestamp::new(ms));
        let result = if message.is_video {
            self.session.publish_video_data(body, time, false)?
        } else {
            self.session.publish_audio_data(body, time, false)?
        };
        self.take(vec![result]).await.map(drop)
    }
}
