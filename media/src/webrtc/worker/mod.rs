//! One media thread: a loop over its socket, its inbox and the clock. It owns its peers; nobody else touches them.
//!
//! In: datagrams, commands, time. Out: one batch of packets per turn, frames into the hub. No lock, no task switch and no
//! allocation per packet; what cannot be sent at once is dropped and counted.

mod arrivals;
mod orders;

use super::directory::Directory;
use super::inbox::{Command, Inbox, Receiver};
use super::peer::{Keys, Media, Peer, PeerEnd, Source};
use crate::ejected::Ejected;
use crate::metrics;
use crate::rtc::copies::Copies;
use crate::rtc::dtls::{DtlsEvent, DtlsEventKind, DtlsServer};
use crate::rtc::outlet::finish;
use crate::rtc::socket::{ReceiveBatch, SendBatch, SendReport, UdpSocket};
use crate::rtc::srtp::SessionKeys;
use crate::signalling::{Doorkeeper, ResourceId};
use crate::whep::feed::{FeedId, Standing};
use crate::whep::shelf::Shelf;
use crate::whep::showing::Showing;
use arrivals::Way;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What a worker is made of.
pub(crate) struct Parts {
    pub(crate) index: u8,
    pub(crate) socket: UdpSocket,
    pub(crate) dtls: DtlsServer,
    pub(crate) inbox: Receiver,
    /// Every worker, by index: datagrams of their peers may arrive here.
    pub(crate) workers: Vec<Inbox>,
    pub(crate) directory: Directory,
    pub(crate) doorkeeper: Doorkeeper,
    pub(crate) ejected: Ejected,
    pub(crate) silence_timeout: Duration,
}

pub(crate) struct Worker {
    parts: Parts,
    /// Slots; a peer's key is its place here.
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    by_ufrag: HashMap<String, usize>,
    by_source: HashMap<Source, usize>,
    by_resource: HashMap<ResourceId, usize>,
    /// Proved sources whose peers live on other workers.
    foreign: HashMap<SocketAddr, u8>,
    feeds: HashMap<FeedId, FeedState>,
    batch: SendBatch,
    packet: Vec<u8>,
    /// Of datagrams for other workers.
    copies: Copies,
    next_tick: Instant,
    next_sweep: Instant,
    /// Slots that every tick looks after; the others wait for the sweep. To look at two hundred idle viewers every 5 ms took a
    /// fifteenth of this thread's time.
    restless: Vec<usize>,
    /// It was told more than one turn does: the bell has rung for all of it.
    is_behind: bool,
    now: Instant,
    counts: Counts,
}

/// What became of packets.
struct Counts {
    sent: ::metrics::Counter,
    unsent: ::metrics::Counter,
    uncut: ::metrics::Counter,
}

/// What this worker keeps of a feed, and who of its peers watches it.
#[derive(Debug, Default)]
struct FeedState {
    shelf: Shelf,
    /// Slots of the peers, and which of their showings it is.
    viewers: Vec<(usize, usize)>,
}

/// How often catching up, probing and publishers' losses are looked after, and how often everybody is: reports, time limits.
const TICK: Duration = Duration::from_millis(5);
const SWEEP: Duration = Duration::from_millis(50);
const IDLE: Duration = Duration::from_millis(500);
/// From the answer to the end of the DTLS handshake.
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// Reads per turn, so that a flood cannot keep the clock from being looked at.
const READS_PER_TURN: usize = 16;
const COMMANDS_PER_TURN: usize = 1_024;

impl Worker {
    pub(crate) fn new(parts: Parts) -> Self {
        let now = Instant::now();
        Self {
            parts,
            peers: Vec::new(),
            free: Vec::new(),
            by_ufrag: HashMap::new(),
            by_source: HashMap::new(),
            by_resource: HashMap::new(),
            foreign: HashMap::new(),
            feeds: HashMap::new(),
            batch: SendBatch::default(),
            packet: Vec::with_capacity(2_048),
            copies: Copies::default(),
            next_tick: now,
            next_sweep: now,
            restless: Vec::new(),
            is_behind: false,
            now,
            counts: Counts {
                sent: ::metrics::counter!(metrics::WEBRTC_SENT),
                unsent: ::metrics::counter!(metrics::WEBRTC_SEND_FAILED),
                uncut: ::metrics::counter!(metrics::WEBRTC_UNCUT),
            },
        }
    }

    /// Runs until told to stop.
    pub(crate) fn run(mut self) {
        let mut received = ReceiveBatch::default();
        loop {
            self.wait();
            if self.turn(&mut received) {
                return self.stop();
            }
        }
    }

    /// Looks at everything once. Whether it is to stop.
    fn turn(&mut self, received: &mut ReceiveBatch) -> bool {
        self.parts.inbox.hush();
        self.now = Instant::now();
        let mut commands = COMMANDS_PER_TURN;
        for _ in 0..READS_PER_TURN {
            let read = received.receive(&self.parts.socket);
            // Looked at in between: what another worker knows of a sender it has told before that sender could go on.
            if self.commands(&mut commands) {
                return true;
            }
            match read {
                Ok(0) => break,
                Ok(_) => received.datagrams().for_each(|(from, datagram)| self.datagram(from, datagram, Way::Socket)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                // An earlier packet to somebody who is gone can come back as an error here.
                Err(error) => {
                    tracing::debug!(%error, "a read of the media socket failed");
                    break;
                }
            }
        }
        self.is_behind = commands == 0;
        if self.next_tick <= self.now {
            self.tick();
        }
        self.dtls();
        self.flush();
        false
    }

    /// Does what it was told, as long as there is any of this turn's share. Whether it is to stop.
    fn commands(&mut self, share: &mut usize) -> bool {
        while *share > 0 {
            match self.parts.inbox.take() {
                Some(Command::Stop) => return true,
                Some(command) => self.command(command),
                None => return false,
            }
            *share -= 1;
        }
        false
    }

    /// How long nothing is due.
    fn patience(&self) -> Duration {
        if self.is_behind {
            return Duration::ZERO;
        }
        let idle = self.by_resource.is_empty();
        let until_tick = if idle { IDLE } else { self.next_tick.saturating_duration_since(Instant::now()) };
        match self.parts.dtls.poll_timeout() {
            Some(at) => until_tick.min(at.saturating_duration_since(Instant::now())),
            None => until_tick,
        }
    }

    fn wait(&self) {
        let patience = self.patience();
        let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
        let mut fds = [
            PollFd::new(&self.parts.socket, PollFlags::IN),
            PollFd::from_borrowed_fd(self.parts.inbox.bell(), PollFlags::IN),
        ];
        // Interrupted or not, the turn looks at everything.
        let _ = poll(&mut fds, Some(&timeout));
    }

    fn flush(&mut self) {
        send(&mut self.batch, &self.parts.socket, &self.counts);
    }

    /// Sends what DTLS has to say and acts on what it learnt.
    fn dtls(&mut self) {
        self.parts.dtls.handle_timeout(self.now);
        self.send_records();
        while let Some(DtlsEvent { peer, kind }) = self.parts.dtls.poll_event() {
            let slot = peer.index();
            match kind {
                DtlsEventKind::Connected { profile, keying_material, certificate, round_trip } => {
                    let Some(Some(peer)) = self.peers.get_mut(slot) else { continue };
                    if !peer.fingerprint.matches(&certificate) {
                        self.remove(slot, PeerEnd::WrongCertificate);
                        continue;
                    }
                    let keys = SessionKeys::from_exporter(profile, &keying_material);
                    peer.keys = Some(Keys { sealer: keys.sealer(), opener: keys.opener() });
                    peer.place = None;
                    peer.heard = self.now;
                    self.start(slot, round_trip);
                }
                DtlsEventKind::Closed => self.remove(slot, PeerEnd::Closed),
                DtlsEventKind::Failed(error) => {
                    tracing::debug!(%error, peer = slot, "DTLS failed");
                    let was_connected = matches!(self.peers.get(slot), Some(Some(Peer { keys: Some(_), .. })));
                    self.remove(slot, if was_connected { PeerEnd::Closed } else { PeerEnd::NeverConnected });
                }
            }
        }
    }

    /// Keys are there: media begins.
    fn start(&mut self, slot: usize, round_trip: Option<Duration>) {
        let Some(peer) = self.peers[slot].as_mut() else { return };
        let took = self.now.duration_since(peer.since);
        tracing::info!(peer = slot, role = peer.media.role(), took_ms = took.as_millis() as u64, "peer is connected");
        let now = self.now;
        let Some((media, mut out)) = peer.split(&mut self.batch) else { return };
        match media {
            Media::Publisher(receiver) => receiver.start(now, round_trip, &mut out),
            Media::Viewer(viewer) => {
                for showing in 0..viewer.showings().len() {
                    if viewer.showings()[showing].feed().standing() != Standing::AsPromised {
                        // A co-host's, over before this viewer was among those who are told; the others are shown.
                        viewer.close(showing);
                        continue;
                    }
                    let feed = self.feeds.entry(viewer.showings()[showing].feed().id()).or_default();
                    viewer.start(showing, &feed.shelf, now, &mut out);
                    feed.viewers.push((slot, showing));
                }
            }
        }
        self.stir(slot);
    }

    /// From here on every tick looks after a peer that needs it.
    fn stir(&mut self, slot: usize) {
        if self.peers[slot].as_mut().is_some_and(Peer::stir) {
            self.restless.push(slot);
            self.next_tick = self.next_tick.min(self.now + TICK);
        }
    }

    /// What DTLS has to say, each record to its peer.
    fn send_records(&mut self) {
        while let Some((key, record)) = self.parts.dtls.poll_transmit() {
            if let Some(Some(Peer { route: Some(route), .. })) = self.peers.get(key.index()) {
                let start = self.batch.begin();
                self.batch.arena().extend_from_slice(&record);
                finish(&mut self.batch, start, route);
            }
        }
    }

    /// Lets a peer go; tells it so where it can hear it.
    fn remove(&mut self, slot: usize, end: PeerEnd) {
        let Some(Some(Peer { key, .. })) = self.peers.get(slot) else { return };
        self.parts.dtls.close(self.now, *key);
        self.send_records();
        let Some(peer) = self.peers[slot].take() else { return };
        for ufrag in std::iter::once(&peer.credentials).chain(&peer.restarting).map(|credentials| &credentials.ufrag) {
            self.by_ufrag.remove(ufrag);
        }
        for source in &peer.sources {
            if self.by_source.get(source) == Some(&slot) {
                self.by_source.remove(source);
            }
        }
        self.by_resource.remove(&peer.resource);
        self.restless.retain(|restless| *restless != slot);
        if let Media::Viewer(viewer) = &peer.media {
            for showing in viewer.showings() {
                if let Some(feed) = self.feeds.get_mut(&showing.feed().id()) {
                    feed.viewers.retain(|(viewer, _)| *viewer != slot);
                }
            }
        }
        self.parts.directory.remove(&peer.resource);
        self.parts.doorkeeper.forget(&peer.resource);
        self.parts.inbox.peers.store(self.by_resource.len(), std::sync::atomic::Ordering::Relaxed);
        ::metrics::counter!(metrics::WEBRTC_CLOSED, "reason" => end.as_str()).increment(1);
        tracing::info!(peer = slot, role = peer.media.role(), reason = end.as_str(), "peer is gone");
        self.free.push(slot);
    }

    /// Looks after the restless, and now and then after everybody.
    fn tick(&mut self) {
        if self.next_sweep <= self.now {
            self.next_sweep = self.now + SWEEP;
            (0..self.peers.len()).for_each(|slot| self.look_after(slot));
        } else {
            // From behind: a peer that goes takes its place in the list with it.
            for at in (0..self.restless.len()).rev() {
                self.look_after(self.restless[at]);
            }
        }
        let peers = &mut self.peers;
        self.restless.retain(|slot| peers[*slot].as_mut().is_some_and(|peer| !peer.settle()));
        self.next_tick = if self.restless.is_empty() { self.next_sweep } else { self.now + TICK };
    }

    fn look_after(&mut self, slot: usize) {
        let now = self.now;
        let Some(peer) = self.peers[slot].as_mut() else { return };
        let end = if peer.keys.is_none() {
            // Who tries again by another connection is not kept waiting for one that does not come about.
            let revoked = match &peer.media {
                Media::Publisher(receiver) => receiver.revoked(),
                Media::Viewer(_) => None,
            };
            revoked.or((now.duration_since(peer.since) > CONNECT_MAX).then_some(PeerEnd::NeverConnected))
        } else {
            (now.duration_since(peer.heard) > self.parts.silence_timeout).then_some(PeerEnd::Silent)
        };
        if let Some(end) = end {
            return self.remove(slot, end);
        }
        let Some((media, mut out)) = peer.split(&mut self.batch) else { return };
        let end = match media {
            Media::Viewer(viewer) => {
                viewer.tick(|showing| shelf(&self.feeds, showing), now, &mut out);
                None
            }
            Media::Publisher(receiver) => receiver.tick(now, &mut out),
        };
        if let Some(end) = end {
            self.remove(slot, end);
        }
        if self.batch.is_full() {
            self.flush();
        }
    }

    fn stop(mut self) {
        for slot in 0..self.peers.len() {
            self.remove(slot, PeerEnd::Stopping);
        }
        self.flush();
    }
}

fn shelf<'a>(feeds: &'a HashMap<FeedId, FeedState>, showing: &Showing) -> Option<&'a Shelf> {
    feeds.get(&showing.feed().id()).map(|feed| &feed.shelf)
}

/// Sends what is batched and counts what became of it.
fn send(batch: &mut SendBatch, socket: &UdpSocket, counts: &Counts) {
    let SendReport { packets, dropped, uncut } = batch.flush(socket);
    for (counter, count) in [(&counts.sent, packets), (&counts.unsent, dropped), (&counts.uncut, uncut)] {
        if count > 0 {
            counter.increment(count as u64);
        }
    }
}

#[cfg(test)]
mod steady_tests;
#[cfg(test)]
mod tests;
