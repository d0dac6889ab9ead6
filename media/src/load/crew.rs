//! The threads that carry light peers: each a loop over its peers' sockets, its orders and the clock.
//!
//! In: what offers and answers agreed to. Out: figures, at any time in sum and at the end per peer. A thread owns its peers;
//! nobody else touches them.

use super::answer::Agreed;
use super::clip::Clip;
use super::report::{Fate, LaneReport, PeerReport};
use super::sender::Sender;
use super::transport::{Heard, Transport};
use super::watcher::Watcher;
use crate::rtc::socket::{ReceiveBatch, SendBatch, UdpSocket};
use crate::whep::burst::Lane;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Light peers at work.
#[derive(Debug)]
pub struct Crew {
    hands: Vec<Hand>,
    shared: Arc<Shared>,
}

/// What a peer does.
#[derive(Debug, Clone)]
pub enum Part {
    Watch {
        /// Open every packet, not only those that must be.
        verify: bool,
    },
    Publish(Arc<Clip>),
}

/// Sums over all peers, up to now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub connected: u64,
    /// Peers that ended before they were told to.
    pub ended: u64,
    /// Media packets and their bytes, received or sent.
    pub packets: u64,
    pub bytes: u64,
}

#[derive(Debug)]
struct Hand {
    orders: SyncSender<Box<Order>>,
    bell: Arc<OwnedFd>,
    thread: JoinHandle<Vec<PeerReport>>,
}

#[derive(Debug, Default)]
struct Shared {
    connected: AtomicU64,
    ended: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
    /// Counting is over; what comes from here on is the goodbye.
    is_frozen: AtomicBool,
    is_over: AtomicBool,
}

struct Order {
    number: usize,
    agreed: Agreed,
    part: Part,
    posted: Instant,
}

/// Peers that wait to be taken over; whoever adds one more waits.
const ORDERS: usize = 256;
/// How often clocks are looked at while there are peers: playing a clip, NACKs, checks.
const TICK: Duration = Duration::from_millis(5);
const IDLE: Duration = Duration::from_millis(200);
const EVENTS: usize = 256;
/// Reads of one socket per turn, so that one flood leaves the others their turn.
const READS_PER_TURN: usize = 8;
const BELL: u64 = u64::MAX;

impl Crew {
    pub fn start(threads: usize) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let mut hands = Vec::new();
        for index in 0..threads.max(1) {
            let (orders, receiver) = sync_channel(ORDERS);
            let bell = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
            let epoll = epoll::create(CreateFlags::CLOEXEC)?;
            epoll::add(&epoll, &bell, EventData::new_u64(BELL), EventFlags::IN)?;
            let (shared, rung) = (Arc::clone(&shared), Arc::clone(&bell));
            let turns = move || Turns::new(epoll, rung, receiver, shared).run();
            let thread = std::thread::Builder::new().name(format!("load-{index}")).spawn(turns)?;
            hands.push(Hand { orders, bell, thread });
        }
        Ok(Self { hands, shared })
    }

    /// Hands a peer over. Waits while a thread is 256 peers behind.
    pub fn add(&self, number: usize, agreed: Agreed, part: Part, posted: Instant) {
        let hand = &self.hands[number % self.hands.len()];
        // A thread ends only after `is_over`.
        let _ = hand.orders.send(Box::new(Order { number, agreed, part, posted }));
        ring(&hand.bell);
    }

    pub fn tally(&self) -> Tally {
        let load = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        Tally {
            connected: load(&self.shared.connected),
            ended: load(&self.shared.ended),
            packets: load(&self.shared.packets),
            bytes: load(&self.shared.bytes),
        }
    }

    /// Nothing is counted from here on, so that goodbyes are no failures.
    pub fn freeze(&self) {
        self.shared.is_frozen.store(true, Ordering::Relaxed);
        self.hands.iter().for_each(|hand| ring(&hand.bell));
    }

    /// Ends every peer. Blocks until the threads are done.
    pub fn finish(self) -> Vec<PeerReport> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.hands.iter().for_each(|hand| ring(&hand.bell));
        let mut reports: Vec<_> =
            self.hands.into_iter().flat_map(|hand| hand.thread.join().expect("a load thread does not panic")).collect();
        reports.sort_by_key(|report| report.number);
        reports
    }
}

fn ring(bell: &OwnedFd) {
    // Fails only when the counter is full, and then the bell is rung.
    let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
}

/// One thread.
struct Turns {
    epoll: OwnedFd,
    bell: Arc<OwnedFd>,
    orders: Receiver<Box<Order>>,
    shared: Arc<Shared>,
    peers: Vec<Peer>,
    batch: SendBatch,
    is_frozen: bool,
}

struct Peer {
    socket: Option<UdpSocket>,
    transport: Transport,
    media: Media,
    number: usize,
    posted: Instant,
    connected: Option<Instant>,
    fate: Option<Fate>,
    /// What of this peer is in the tally.
    told: (u64, u64),
}

enum Media {
    Watcher(Box<Watcher>),
    Sender(Box<Sender>),
}

impl Turns {
    fn new(epoll: OwnedFd, bell: Arc<OwnedFd>, orders: Receiver<Box<Order>>, shared: Arc<Shared>) -> Self {
        Self { epoll, bell, orders, shared, peers: Vec::new(), batch: SendBatch::default(), is_frozen: false }
    }

    fn run(mut self) -> Vec<PeerReport> {
        let mut received = ReceiveBatch::default();
        let mut events = Vec::with_capacity(EVENTS);
        let mut next_tick = Instant::now();
        while !self.shared.is_over.load(Ordering::Relaxed) {
            let patience =
                if self.peers.is_empty() { IDLE } else { next_tick.saturating_duration_since(Instant::now()) };
            let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
            events.clear();
            // Interrupted or not, the turn looks at everything.
            let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout));
            let now = Instant::now();
            if self.shared.is_frozen.load(Ordering::Relaxed) && !self.is_frozen {
                self.peers.iter_mut().for_each(|peer| peer.tell(&self.shared));
                self.is_frozen = true;
            }
            for event in &events {
                match event.data.u64() {
                    BELL => self.take_orders(now),
                    at => self.read(at as usize, &mut received, now),
                }
            }
            if now >= next_tick {
                next_tick = now + TICK;
                for at in 0..self.peers.len() {
                    self.tick(at, now);
                }
            }
        }
        self.peers.into_iter().map(Peer::report).collect()
    }

    fn take_orders(&mut self, now: Instant) {
        let mut count = [0_u8; 8];
        // Nothing to read means that nobody has rung.
        let _ = rustix::io::read(&self.bell, &mut count);
        while let Ok(order) = self.orders.try_recv() {
            let at = self.peers.len();
            self.peers.push(Peer::new(*order, now));
            let peer = &mut self.peers[at];
            let watched = match bind(&peer.transport) {
                Ok(socket) => {
                    epoll::add(&self.epoll, peer.socket.insert(socket), EventData::new_u64(at as u64), EventFlags::IN)
                        .map_err(io::Error::from)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = watched {
                peer.fate = Some(Fate::NoSocket(error.to_string()));
                self.shared.ended.fetch_add(1, Ordering::Relaxed);
            }
            self.tick(at, now);
        }
    }

    fn read(&mut self, at: usize, received: &mut ReceiveBatch, now: Instant) {
        let Self { peers, batch, shared, is_frozen, .. } = self;
        let Some(peer) = peers.get_mut(at) else { return };
        for _ in 0..READS_PER_TURN {
            let Some(socket) = &peer.socket else { return };
            let Ok(count) = received.receive(socket) else { break };
            if !*is_frozen && peer.fate.is_none() {
                for (from, datagram) in received.datagrams() {
                    peer.handle_datagram(now, from, datagram, batch, shared);
                }
            }
            if count < received.capacity() {
                break;
            }
        }
        peer.flush(batch);
    }

    fn tick(&mut self, at: usize, now: Instant) {
        let peer = &mut self.peers[at];
        if peer.fate.is_some() {
            return;
        }
        if let Some(fate) = peer.transport.poll(now, &mut self.batch) {
            peer.end(fate, &self.shared);
        }
        peer.poll_media(now, &mut self.batch);
        peer.flush(&mut self.batch);
        if !self.is_frozen {
            peer.tell(&self.shared);
        }
    }
}

fn bind(transport: &Transport) -> io::Result<UdpSocket> {
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    if transport.needs_v6() {
        // One socket for both versions; without IPv6 on this machine the other addresses remain.
        UdpSocket::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), false).or_else(|_| UdpSocket::bind(v4, false))
    } else {
        UdpSocket::bind(v4, false)
    }
}

impl Peer {
    fn new(order: Order, now: Instant) -> Self {
        let Order { number, agreed, part, posted } = order;
        let media = match part {
            Part::Watch { verify } => Media::Watcher(Box::new(Watcher::new(&agreed, verify, now))),
            Part::Publish(clip) => Media::Sender(Box::new(Sender::new(&agreed, clip, now))),
        };
        let transport = Transport::new(&agreed, now);
        Self { socket: None, transport, media, number, posted, connected: None, fate: None, told: (0, 0) }
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        batch: &mut SendBatch,
        shared: &Shared,
    ) {
        match self.transport.handle_datagram(now, from, datagram, batch) {
            Heard::Nothing => {}
            Heard::Connected => {
                self.connected = Some(now);
                shared.connected.fetch_add(1, Ordering::Relaxed);
                if let Media::Sender(sender) = &mut self.media {
                    sender.start(now);
                }
            }
            Heard::Rtp => {
                if let (Media::Watcher(watcher), Some((_, opener))) = (&mut self.media, self.transport.split(batch)) {
                    watcher.rtp(now, datagram, opener);
                }
            }
            Heard::Rtcp => match (&mut self.media, self.transport.split(batch)) {
                (Media::Watcher(watcher), Some((_, opener))) => watcher.rtcp(now, datagram, opener),
                (Media::Sender(sender), Some((mut out, opener))) => sender.rtcp(now, datagram, opener, &mut out),
                (_, None) => {}
            },
            Heard::Ended(fate) => self.end(fate, shared),
        }
    }

    fn poll_media(&mut self, now: Instant, batch: &mut SendBatch) {
        let rtt = self.transport.rtt();
        let Some((mut out, _)) = self.transport.split(batch) else { return };
        match &mut self.media {
            Media::Watcher(watcher) => watcher.poll(now, rtt, &mut out),
            Media::Sender(sender) => sender.poll(now, &mut out),
        }
    }

    fn flush(&mut self, batch: &mut SendBatch) {
        if let Some(socket) = &self.socket {
            batch.flush(socket);
        }
    }

    fn end(&mut self, fate: Fate, shared: &Shared) {
        if self.fate.is_none() {
            self.fate = Some(fate);
            shared.ended.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn lane(&self, lane: Lane) -> LaneReport {
        match &self.media {
            Media::Watcher(watcher) => watcher.report(lane),
            Media::Sender(sender) => sender.report(lane),
        }
    }

    /// Adds to the tally what came since the last time.
    fn tell(&mut self, shared: &Shared) {
        let (video, audio) = (self.lane(Lane::Video), self.lane(Lane::Audio));
        let (packets, bytes) = (video.packets + audio.packets, video.bytes + audio.bytes);
        shared.packets.fetch_add(packets - self.told.0, Ordering::Relaxed);
        shared.bytes.fetch_add(bytes - self.told.1, Ordering::Relaxed);
        self.told = (packets, bytes);
    }

    fn report(self) -> PeerReport {
        let since = |at: Option<Instant>| at.map(|at| at.duration_since(self.posted));
        let (first_packet, first_keyframe, verified, forged, keyframe_requests) = match &self.media {
            Media::Watcher(watcher) => (
                since(watcher.first_packet),
                since(watcher.first_keyframe),
                watcher.verified,
                watcher.forged,
                watcher.keyframe_requests,
            ),
            Media::Sender(sender) => (None, None, 0, 0, sender.keyframe_requests),
        };
        let (video, audio) = (self.lane(Lane::Video), self.lane(Lane::Audio));
        let connected = since(self.connected);
        let still = if connected.is_some() { Fate::Stayed } else { Fate::Connecting };
        PeerReport {
            number: self.number,
            fate: self.fate.unwrap_or(still),
            connected,
            first_packet,
            first_keyframe,
            video,
            audio,
            verified,
            forged,
            keyframe_requests,
        }
    }
}
