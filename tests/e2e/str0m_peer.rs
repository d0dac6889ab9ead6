//! A WebRTC stack in Rust that shares no code with ours: str0m publishes by WHIP and watches by WHEP. What it gets is what it sent,
//! byte for byte: the server hands payloads on and makes none of its own.

use crate::harness::wait::holds;
use crate::harness::{Api, Limit, Room, Server, Show, report};
use anyhow::{Context, Result, ensure};
use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use str0m::change::SdpAnswer;
use str0m::format::Codec;
use str0m::media::{Direction, Frequency, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::task::JoinHandle;

/// Eighteen frames of VP9, the first a keyframe.
const CLIP: &[u8] = include_bytes!("../../media/tests/fixtures/libvpx-1.12-vp9.ivf");
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 30);
const SOUND: Duration = Duration::from_millis(20);
/// The loop looks at the clock at least this often.
const TURN: Duration = Duration::from_millis(5);

/// A peer on a thread of its own.
struct Peer {
    resource: String,
    token: Option<String>,
    got: Arc<Mutex<Got>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

#[derive(Default, Clone)]
struct Got {
    connected: bool,
    pictures: Vec<Vec<u8>>,
    sounds: Vec<Vec<u8>>,
}

/// What is published, over and over.
struct Script {
    pictures: Vec<Vec<u8>>,
    sounds: Vec<Vec<u8>>,
}

impl Script {
    fn new() -> Self {
        let (mut pictures, mut rest) = (Vec::new(), &CLIP[32..]);
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            let frame = &behind[8..8 + length];
            pictures.push(frame.to_vec());
            rest = &behind[8 + length..];
        }
        // Packets of 20 ms in stereo, each with a mark of its own; what they sound like is nobody's business here.
        let sounds = (0..50_u8).map(|number| vec![0xfc, number, 0x5a, 0xa5, number]).collect();
        Self { pictures, sounds }
    }
}

impl Peer {
    async fn open(url: &str, token: Option<&str>, script: Option<Script>) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let crypto = Arc::new(str0m::crypto::from_feature_flags());
        let config =
            RtcConfig::new().set_crypto_provider(crypto).clear_codecs().enable_vp9(true).enable_opus(true, false);
        let mut rtc = config.build(Instant::now());
        rtc.add_local_candidate(Candidate::host(socket.local_addr()?, "udp")?);
        let direction = if script.is_some() { Direction::SendOnly } else { Direction::RecvOnly };
        let mut change = rtc.sdp_api();
        let mids = [MediaKind::Video, MediaKind::Audio].map(|kind| change.add_media(kind, direction, None, None, None));
        let (offer, pending) = change.apply().context("an offer")?;

        let mut post = reqwest::Client::new().post(url).header("content-type", "application/sdp");
        if let Some(token) = token {
            post = post.bearer_auth(token);
        }
        let answer = post.body(offer.to_sdp_string()).send().await?;
        ensure!(answer.status() == 201, "{url} answered {} {}", answer.status(), answer.text().await?);
        let location = answer.headers()["location"].to_str()?;
        let resource = answer.url().join(location)?.to_string();
        rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&answer.text().await?)?)?;

        let (got, stop) = (Arc::<Mutex<Got>>::default(), Arc::<AtomicBool>::default());
        let run = Run {
            rtc,
            socket,
            mids,
            script,
            got: Arc::clone(&got),
            stop: Arc::clone(&stop),
            sent: [0; 2],
            began: None,
        };
        let thread = tokio::task::spawn_blocking(move || run.run());
        Ok(Self { resource, token: token.map(str::to_owned), got, stop, thread })
    }

    fn got(&self) -> Got {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn hang_up(self) -> Result<()> {
        let mut delete = reqwest::Client::new().delete(&self.resource);
        if let Some(token) = &self.token {
            delete = delete.bearer_auth(token);
        }
        let answer = delete.send().await?;
        ensure!(answer.status() == 200, "DELETE answered {}", answer.status());
        self.stop.store(true, Ordering::Relaxed);
        self.thread.await?
    }
}

struct Run {
    rtc: Rtc,
    socket: UdpSocket,
    /// Picture and sound.
    mids: [Mid; 2],
    script: Option<Script>,
    got: Arc<Mutex<Got>>,
    stop: Arc<AtomicBool>,
    /// Frames so far, of picture and sound.
    sent: [u32; 2],
    began: Option<Instant>,
}

impl Run {
    fn run(mut self) -> Result<()> {
        let mut buffer = vec![0; 2_000];
        while !self.stop.load(Ordering::Relaxed) {
            let due = self.drain()?;
            if self.publish()? {
                continue;
            }
            let wait = due.saturating_duration_since(Instant::now()).clamp(Duration::from_millis(1), TURN);
            self.socket.set_read_timeout(Some(wait))?;
            let now = |socket: &UdpSocket| socket.local_addr().map(|local| (Instant::now(), local));
            match self.socket.recv_from(&mut buffer) {
                Ok((length, source)) => {
                    let (at, destination) = now(&self.socket)?;
                    let contents = buffer[..length].try_into()?;
                    let receive = Receive { proto: Protocol::Udp, source, destination, contents };
                    self.rtc.handle_input(Input::Receive(at, receive))?;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    self.rtc.handle_input(Input::Timeout(Instant::now()))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sends and notes everything the stack has to say; when it wants to be asked again.
    fn drain(&mut self) -> Result<Instant> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(due) => return Ok(due),
                Output::Transmit(packet) => drop(self.socket.send_to(&packet.contents, packet.destination)?),
                Output::Event(Event::Connected) => {
                    self.began = Some(Instant::now());
                    self.got.lock().unwrap_or_else(PoisonError::into_inner).connected = true;
                }
                Output::Event(Event::MediaData(data)) => {
                    let mut got = self.got.lock().unwrap_or_else(PoisonError::into_inner);
                    let list = if data.mid == self.mids[0] { &mut got.pictures } else { &mut got.sounds };
                    list.push(data.data.to_vec());
                }
                Output::Event(_) => {}
            }
        }
    }

    /// Writes one frame that is due. `false`: none is.
    fn publish(&mut self) -> Result<bool> {
        let (Some(script), Some(began)) = (&self.script, self.began) else { return Ok(false) };
        // The server closes what is deleted before this peer is told to stop.
        if !self.rtc.is_alive() {
            return Ok(false);
        }
        let now = Instant::now();
        for (kind, every) in [FRAME, SOUND].into_iter().enumerate() {
            let at = every * self.sent[kind];
            if began + at > now {
                continue;
            }
            let frames = if kind == 0 { &script.pictures } else { &script.sounds };
            let frame = frames[self.sent[kind] as usize % frames.len()].clone();
            let (codec, rate) = [(Codec::Vp9, Frequency::NINETY_KHZ), (Codec::Opus, Frequency::FORTY_EIGHT_KHZ)][kind];
            let writer = self.rtc.writer(self.mids[kind]).context("a way to send")?;
            let payload_type =
                writer.payload_params().find(|params| params.spec().codec == codec).context("the codec")?.pt();
            let ticks = (at.as_nanos() * u128::from(rate.get()) / 1_000_000_000) as u64;
            writer.write(payload_type, now, MediaTime::new(ticks, rate), frame)?;
            self.sent[kind] += 1;
            return Ok(true);
        }
        Ok(false)
    }
}

#[tokio::test]
async fn str0m_gets_back_byte_for_byte_what_str0m_publishes() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Rust to Rust").await?;
    let room = Room::join(&server, &show.session_id, None).await?;
    let sent = Script::new();
    let (pictures, sounds): (HashSet<_>, HashSet<_>) =
        (sent.pictures.iter().cloned().collect(), sent.sounds.iter().cloned().collect());
    let key = Some(show.stream_key.as_str());
    let host = Peer::open(&format!("{}/whip", server.base()), key, Some(sent)).await?;
    show.listed(&api).await?;
    let viewer = Peer::open(&format!("{}/whep/{}", server.base(), show.session_id), None, None).await?;
    holds(Limit::MEDIA, "120 pictures and 200 packets of sound", async || {
        let got = viewer.got();
        ensure!(
            got.pictures.len() >= 120 && got.sounds.len() >= 200,
            "{} and {}",
            got.pictures.len(),
            got.sounds.len()
        );
        Ok(true)
    })
    .await?;
    let got = viewer.got();
    ensure!(host.got().connected && got.connected, "both are connected");
    let strange = got.pictures.iter().filter(|picture| !pictures.contains(*picture)).count();
    ensure!(strange == 0, "{strange} of {} pictures are none that was sent", got.pictures.len());
    let strange = got.sounds.iter().filter(|sound| !sounds.contains(*sound)).count();
    ensure!(strange == 0, "{strange} of {} packets of sound are none that was sent", got.sounds.len());
    let number = |sound: &Vec<u8>| sound[1];
    let gaps = got.sounds.windows(2).filter(|pair| (number(&pair[0]) + 1) % 50 != number(&pair[1])).count();
    ensure!(gaps == 0, "{gaps} gaps in the sound");
    report!("{} pictures and {} packets of sound, each as it was sent", got.pictures.len(), got.sounds.len());

    room.next("viewer_joined", |frame| frame["data"]["viewerCount"] == 1).await?;
    viewer.hang_up().await?;
    room.next("viewer_left", |frame| frame["data"]["viewerCount"] == 0).await?;
    host.hang_up().await
}
