//! A WebRTC stack in Rust that shares no code with ours: str0m publishes by WHIP and watches by WHEP. What it gets is
//! what it sent, byte for byte: the server hands payloads on and makes none of its own. One port takes IPv6 and IPv4,
//! over UDP and over TCP.

use crate::harness::wait::holds;
use crate::harness::{Api, Limit, Room, Server, Show, report};
use anyhow::{Context, Result, ensure};
use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
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
pub(crate) struct Peer {
    resource: String,
    token: Option<String>,
    /// What the server offered to be reached by.
    candidates: Vec<String>,
    got: Arc<Mutex<Got>>,
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
    server: SocketAddr,
    protocol: Protocol,
}

/// The end of a [`Way`] on this side.
enum Wire {
    Udp(UdpSocket),
    /// And what has come of a frame so far (RFC 4571).
    Tcp(TcpStream, Vec<u8>),
}

#[derive(Default, Clone)]
struct Got {
    connected: bool,
    pictures: Vec<Vec<u8>>,
    sounds: Vec<Vec<u8>>,
}

/// What is published, over and over.
pub(crate) struct Script {
    pictures: Vec<Vec<u8>>,
    sounds: Vec<Vec<u8>>,
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
        Self { pictures, sounds }
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
    pub(crate) async fn open(url: &str, token: Option<&str>, script: Option<Script>, way: Way) -> Result<Self> {
        let wire = Wire::open(way)?;
        let crypto = Arc::new(str0m::crypto::from_feature_flags());
        let config =
            RtcConfig::new().set_crypto_provider(crypto).clear_codecs().enable_vp9(true).enable_opus(true, false);
        let mut rtc = config.build(Instant::now());
        rtc.add_local_candidate(Candidate::host(wire.local_addr()?, way.protocol)?);
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
        let answer = answer.text().await?;
        let candidates =
            answer.lines().filter_map(|line| line.strip_prefix("a=candidate:")).map(str::to_owned).collect();
        rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&answer)?)?;

        let (got, stop) = (Arc::<Mutex<Got>>::default(), Arc::<AtomicBool>::default());
        let run = Run {
            rtc,
            wire,
            way,
            mids,
            script,
            got: Arc::clone(&got),
            stop: Arc::clone(&stop),
            sent: [0; 2],
            began: None,
        };
        let thread = tokio::task::spawn_blocking(move || run.run());
        Ok(Self { resource, token: token.map(str::to_owned), candidates, got, stop: Stop(stop), thread })
    }

    /// How many have come.
    pub(crate) fn pictures(&self) -> usize {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).pictures.len()
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
        drop(self.stop);
        self.thread.await?
    }
}

struct Run {
    rtc: Rtc,
    wire: Wire,
    way: Way,
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
                Output::Transmit(packet) => self.wire.send(&packet.contents, packet.destination)?,
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
    let way = Way::loopback(&server);
    let host = Peer::open(&format!("{}/whip", server.base()), key, Some(sent), way).await?;
    show.listed(&api).await?;
    let viewer = Peer::open(&format!("{}/whep/{}", server.base(), show.session_id), None, None, way).await?;
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

#[tokio::test]
async fn one_port_carries_ipv6_and_ipv4_over_udp_and_tcp() -> Result<()> {
    // Whoever is connected does not count as one who connects.
    let settings = [("CHOBI_WEBRTC__WORKERS", "2"), ("CHOBI_WEBRTC__MAX_CONNECTING_PER_IP", "1")];
    let server = Server::start_on_both_versions(&settings).await?;
    let api = Api::of(&server)?;
    let hosts = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let ways: Vec<_> = hosts
        .into_iter()
        .flat_map(|host| [Protocol::Udp, Protocol::Tcp].map(|protocol| (host, protocol)))
        .map(|(host, protocol)| Way { server: SocketAddr::new(host, server.webrtc_port), protocol })
        .collect();
    // Whoever publishes one way is watched in all ways.
    for (name, from) in [("first", ways[0]), ("second", ways[3])] {
        let show = Show::create_for(api.register(name).await?, "Four ways").await?;
        let key = Some(show.stream_key.as_str());
        let host = Peer::open(&format!("{}/whip", server.base()), key, Some(Script::new()), from).await?;
        show.listed(&api).await?;
        for way in &ways {
            let url = format!("{}/whep/{}", server.base(), show.session_id);
            let viewer = Peer::open(&url, None, None, *way).await?;
            for wanted in hosts {
                let offered = viewer.candidates.iter().filter(|one| one.contains(&format!(" {wanted} "))).count();
                ensure!(offered == 2, "{wanted} over UDP and TCP: {:#?}", viewer.candidates);
            }
            holds(Limit::MEDIA, &format!("media by {way:?} of a show from {from:?}"), async || {
                let got = viewer.got();
                ensure!(got.connected, "not connected");
                ensure!(
                    got.pictures.len() >= 30 && got.sounds.len() >= 40,
                    "{} {}",
                    got.pictures.len(),
                    got.sounds.len()
                );
                Ok(true)
            })
            .await?;
            viewer.hang_up().await?;
        }
        host.hang_up().await?;
    }
    Ok(())
}
