//! A WebRTC stack in Rust that shares no code with ours, as a light peer: str0m publishes by WHIP and watches by WHEP, on a
//! thread of its own.

use super::server::Server;
use anyhow::{Context, Result, ensure};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicI8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use str0m::change::SdpAnswer;
use str0m::format::Codec;
use str0m::media::{Direction, Frequency, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::task::JoinHandle;

/// Eighteen frames of VP9, the first a keyframe.
const CLIP: &[u8] = include_bytes!("../../../media/tests/fixtures/libvpx-1.12-vp9.ivf");
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 30);
const SOUND: Duration = Duration::from_millis(20);
/// The loop looks at the clock at least this often.
const TURN: Duration = Duration::from_millis(5);

/// Of what a peer sent, so many of the newest packets are remembered.
const SENT_KEPT: usize = 64;

/// A peer on a thread of its own.
pub(crate) struct Peer {
    pub(crate) resource: String,
    token: Option<String>,
    /// What the server offered to be reached by.
    pub(crate) candidates: Vec<String>,
    /// As its checks name both sides: the server's ufrag first.
    pub(crate) username: String,
    got: Arc<Mutex<Got>>,
    twice: Arc<AtomicBool>,
    stop: Stop,
    thread: JoinHandle<Result<()>>,
}

/// Ends the thread, also when a walk fails in its middle.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The one way to the server that a peer's network lets through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) server: SocketAddr,
    pub(crate) protocol: Protocol,
}

/// The end of a [`Way`] on this side.
enum Wire {
    Udp(UdpSocket),
    /// And what has come of a frame so far (RFC 4571).
    Tcp(TcpStream, Vec<u8>),
}

#[derive(Default, Clone)]
pub(crate) struct Got {
    pub(crate) connected: bool,
    /// Frames by m-line: of a picture, of its sound, of the next picture.
    pub(crate) tracks: Vec<Vec<Vec<u8>>>,
    /// Packets of SRTP and SRTCP that this side has sent, newest last.
    sent: VecDeque<Vec<u8>>,
}

/// What is published, over and over.
pub(crate) struct Script {
    pub(crate) pictures: Vec<Vec<u8>>,
    pub(crate) sounds: Vec<Vec<u8>>,
    loudness: Loudness,
}

/// How loud a publisher says that it is, in decibels below the loudest there is (RFC 6464); it says nothing until this is set.
#[derive(Clone)]
pub(crate) struct Loudness(Arc<AtomicI8>);

impl Loudness {
    const UNSAID: i8 = i8::MAX;

    pub(crate) fn is(&self, decibels_below: i8) {
        self.0.store(decibels_below, Ordering::Relaxed);
    }

    fn said(&self) -> Option<i8> {
        Some(self.0.load(Ordering::Relaxed)).filter(|said| *said != Self::UNSAID).map(|below| -below)
    }
}

impl Got {
    pub(crate) fn pictures(&self) -> &[Vec<u8>] {
        self.tracks.first().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn sounds(&self) -> &[Vec<u8>] {
        self.tracks.get(1).map_or(&[], Vec::as_slice)
    }
}

impl Script {
    pub(crate) fn new() -> Self {
        let (mut pictures, mut rest) = (Vec::new(), &CLIP[32..]);
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            let frame = &behind[8..8 + length];
            pictures.push(frame.to_vec());
            rest = &behind[8 + length..];
        }
        // Packets of 20 ms in stereo, each with a mark of its own; what they sound like is nobody's business here.
        let sounds = (0..50_u8).map(|number| vec![0xfc, number, 0x5a, 0xa5, number]).collect();
        Self { pictures, sounds, loudness: Loudness(Arc::new(AtomicI8::new(Loudness::UNSAID))) }
    }

    /// The same with this as the last byte of every frame: where it came from can be told. No decoder sees it.
    pub(crate) fn marked(mark: u8) -> Self {
        let mut script = Self::new();
        script.pictures.iter_mut().chain(&mut script.sounds).for_each(|frame| frame.push(mark));
        script
    }

    pub(crate) fn loudness(&self) -> Loudness {
        self.loudness.clone()
    }
}

impl Way {
    /// UDP at the usual address of a server under test.
    pub(crate) fn loopback(server: &Server) -> Self {
        Self { server: SocketAddr::from((Ipv4Addr::LOCALHOST, server.webrtc_port)), protocol: Protocol::Udp }
    }
}

impl Wire {
    fn open(way: Way) -> Result<Self> {
        if way.protocol == Protocol::Udp {
            let any = if way.server.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
            return Ok(Self::Udp(UdpSocket::bind((any, 0))?));
        }
        let stream = TcpStream::connect(way.server).with_context(|| format!("TCP to {}", way.server))?;
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream, Vec::new()))
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Tcp(stream, _) => stream.local_addr(),
        }
    }

    fn send(&mut self, datagram: &[u8], to: SocketAddr) -> Result<()> {
        match self {
            Self::Udp(socket) => drop(socket.send_to(datagram, to)?),
            Self::Tcp(stream, _) => {
                let length = u16::try_from(datagram.len())?.to_be_bytes();
                stream.write_all(&[&length, datagram].concat())?;
            }
        }
        Ok(())
    }

    /// Waits for one datagram, or until it is time to do something else.
    fn receive(&mut self, wait: Duration, buffer: &mut Vec<u8>) -> Result<Option<SocketAddr>> {
        let outcome = match self {
            Self::Udp(socket) => {
                socket.set_read_timeout(Some(wait))?;
                buffer.resize(2_000, 0);
                socket.recv_from(buffer).map(|(length, from)| {
                    buffer.truncate(length);
                    Some(from)
                })
            }
            Self::Tcp(stream, came) => {
                stream.set_read_timeout(Some(wait))?;
                let wanted = came.first_chunk().map_or(2, |length| 2 + usize::from(u16::from_be_bytes(*length)));
                let mut part = vec![0; wanted - came.len()];
                stream.read(&mut part).and_then(|length| {
                    if length == 0 {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                    came.extend_from_slice(&part[..length]);
                    let whole = wanted > 2 && came.len() == wanted;
                    if whole {
                        buffer.clear();
                        buffer.extend(came.drain(..).skip(2));
                    }
                    whole.then(|| stream.peer_addr()).transpose()
                })
            }
        };
        match outcome {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            outcome => Ok(outcome?),
        }
    }
}

impl Peer {
    /// Publishes what is in `script`, or watches.
    pub(crate) async fn open(url: &str, token: Option<&str>, script: Option<Script>, way: Way) -> Result<Self> {
        Self::open_with(url, token, script, 1, way).await
    }

    /// Watches with room for so many pictures, each with its sound.
    pub(crate) async fn watch(url: &str, places: usize, way: Way) -> Result<Self> {
        Self::open_with(url, None, None, places, way).await
    }

    async fn open_with(
        url: &str,
        token: Option<&str>,
        script: Option<Script>,
        places: usize,
        way: Way,
    ) -> Result<Self> {
        let wire = Wire::open(way)?;
        let crypto = Arc::new(str0m::crypto::from_feature_flags());
        let config =
            RtcConfig::new().set_crypto_provider(crypto).clear_codecs().enable_vp9(true).enable_opus(true, false);
        let mut rtc = config.build(Instant::now());
        rtc.add_local_candidate(Candidate::host(wire.local_addr()?, way.protocol)?);
        let direction = if script.is_some() { Direction::SendOnly } else { Direction::RecvOnly };
        let mut change = rtc.sdp_api();
        let kinds = [MediaKind::Video, MediaKind::Audio].into_iter().cycle().take(2 * places);
        let mids: Vec<_> = kinds.map(|kind| change.add_media(kind, direction, None, None, None)).collect();
        let (offer, pending) = change.apply().context("an offer")?;
        let offer = offer.to_sdp_string();

        let mut post = reqwest::Client::new().post(url).header("content-type", "application/sdp");
        if let Some(token) = token {
            post = post.bearer_auth(token);
        }
        let answer = post.body(offer.clone()).send().await?;
        ensure!(answer.status() == 201, "{url} answered {} {}", answer.status(), answer.text().await?);
        let location = answer.headers()["location"].to_str()?;
        let resource = answer.url().join(location)?.to_string();
        let answer = answer.text().await?;
        let candidates =
            answer.lines().filter_map(|line| line.strip_prefix("a=candidate:")).map(str::to_owned).collect();
        let username = format!("{}:{}", ufrag(&answer)?, ufrag(&offer)?);
        rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&answer)?)?;

        let tracks = vec![Vec::new(); mids.len()];
        let got = Arc::new(Mutex::new(Got { tracks, ..Got::default() }));
        let (stop, twice) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let run = Run {
            rtc,
            wire,
            way,
            mids,
            script,
            got: Arc::clone(&got),
            twice: Arc::clone(&twice),
            stop: Arc::clone(&stop),
            sent: [0; 2],
            began: None,
        };
        let thread = tokio::task::spawn_blocking(move || run.run());
        let token = token.map(str::to_owned);
        Ok(Self { resource, token, candidates, username, got, twice, stop: Stop(stop), thread })
    }

    /// How many have come.
    pub(crate) fn pictures(&self) -> usize {
        lock(&self.got).pictures().len()
    }

    pub(crate) fn got(&self) -> Got {
        lock(&self.got).clone()
    }

    /// Copies of the newest packets that it has sent, as they were on the wire.
    pub(crate) fn sent(&self) -> Vec<Vec<u8>> {
        lock(&self.got).sent.iter().cloned().collect()
    }

    /// Whether every packet leaves twice from now on.
    pub(crate) fn sends_twice(&self, twice: bool) {
        self.twice.store(twice, Ordering::Relaxed);
    }

    /// Is gone from one moment to the next: no DELETE, no goodbye, no socket.
    pub(crate) async fn vanish(self) -> Result<()> {
        drop(self.stop);
        self.thread.await?
    }

    pub(crate) async fn hang_up(self) -> Result<()> {
        let mut delete = reqwest::Client::new().delete(&self.resource);
        if let Some(token) = &self.token {
            delete = delete.bearer_auth(token);
        }
        let answer = delete.send().await?;
        ensure!(answer.status() == 200, "DELETE answered {}", answer.status());
        drop(self.stop);
        self.thread.await?
    }
}

fn lock(got: &Mutex<Got>) -> MutexGuard<'_, Got> {
    got.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ufrag(description: &str) -> Result<&str> {
    description.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).context("a=ice-ufrag is missing")
}

struct Run {
    rtc: Rtc,
    wire: Wire,
    way: Way,
    /// Picture and sound, by turns.
    mids: Vec<Mid>,
    script: Option<Script>,
    got: Arc<Mutex<Got>>,
    twice: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    /// Frames so far, of picture and sound.
    sent: [u32; 2],
    began: Option<Instant>,
}

impl Run {
    fn run(mut self) -> Result<()> {
        let mut buffer = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let due = self.drain()?;
            if self.publish()? {
                continue;
            }
            let wait = due.saturating_duration_since(Instant::now()).clamp(Duration::from_millis(1), TURN);
            match self.wire.receive(wait, &mut buffer) {
                Ok(Some(source)) => {
                    let (at, destination) = (Instant::now(), self.wire.local_addr()?);
                    let receive =
                        Receive { proto: self.way.protocol, source, destination, contents: buffer[..].try_into()? };
                    self.rtc.handle_input(Input::Receive(at, receive))?;
                }
                Ok(None) => self.rtc.handle_input(Input::Timeout(Instant::now()))?,
                // The server has hung up, as it was told to.
                Err(_) if self.stop.load(Ordering::Relaxed) || !self.rtc.is_alive() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends and notes everything the stack has to say; when it wants to be asked again.
    fn drain(&mut self) -> Result<Instant> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(due) => return Ok(due),
                // Whatever else the server is reached by, this network lets nothing through.
                Output::Transmit(packet) if packet.destination != self.way.server => {}
                Output::Transmit(packet) => {
                    self.wire.send(&packet.contents, packet.destination)?;
                    // RFC 7983: what is neither STUN nor DTLS.
                    if matches!(packet.contents[..], [128..=191, ..]) {
                        if self.twice.load(Ordering::Relaxed) {
                            self.wire.send(&packet.contents, packet.destination)?;
                        }
                        let sent = &mut lock(&self.got).sent;
                        sent.push_back(packet.contents.to_vec());
                        if sent.len() > SENT_KEPT {
                            sent.pop_front();
                        }
                    }
                }
                Output::Event(Event::Connected) => {
                    self.began = Some(Instant::now());
                    lock(&self.got).connected = true;
                }
                Output::Event(Event::MediaData(data)) => {
                    let place = self.mids.iter().position(|mid| *mid == data.mid).context("an m-line of the offer")?;
                    lock(&self.got).tracks[place].push(data.data.to_vec());
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
            let writer = match script.loudness.said().filter(|_| kind == 1) {
                Some(level) => writer.audio_level(level, true),
                None => writer,
            };
            writer.write(payload_type, now, MediaTime::new(ticks, rate), frame)?;
            self.sent[kind] += 1;
            return Ok(true);
        }
        Ok(false)
    }
}
