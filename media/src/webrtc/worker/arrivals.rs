//! What comes to a worker from the network: which peer it is from, and where it goes.
//!
//! In: datagrams of the own socket, those that others pass on, frames of ICE-TCP. Out: plain packets for the peer
//! above, records for DTLS, answers to checks.

use super::{Worker, shelf};
use crate::metrics;
use crate::rtc::datagram::{self, Kind};
use crate::rtc::ice::BindingRequest;
use crate::rtc::outlet::finish;
use crate::rtc::route::Route;
use crate::rtc::rtcp::{NtpTime, blocks};
use crate::webrtc::inbox::Command;
use crate::webrtc::peer::{Media, Proved, Source};
use crate::webrtc::ufrag::worker_of;
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::SystemTime;
use tokio::sync::mpsc;

/// How a datagram got to this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Socket,
    /// Another one says that it is for this one. Such a datagram is not passed on again: whoever sends may have named
    /// both.
    Worker(u8),
    Tcp,
}

/// Remembered sources of other workers' peers; then all are learnt anew.
const FOREIGN_MAX: usize = 65_536;

impl Worker {
    pub(super) fn datagram(&mut self, from: SocketAddr, datagram: &[u8], way: Way) {
        let route = Route::Udp(from);
        match datagram::classify(datagram) {
            Kind::Stun => self.stun(Source::Udp(from), from, &route, datagram, way),
            Kind::Unknown => dropped("unknown"),
            kind @ (Kind::Dtls | Kind::Rtp | Kind::Rtcp) => match self.by_source.get(&Source::Udp(from)) {
                Some(&slot) => self.packet(slot, kind, datagram),
                None if way != Way::Socket => dropped("stranger"),
                None => self.pass_on(from, datagram),
            },
        }
    }

    fn pass_on(&mut self, from: SocketAddr, datagram: &[u8]) {
        match self.foreign.get(&from) {
            Some(&worker) => self.hand_over(worker, from, datagram),
            None => dropped("stranger"),
        }
    }

    fn hand_over(&mut self, worker: u8, from: SocketAddr, datagram: &[u8]) {
        let Some(worker) = self.parts.workers.get(usize::from(worker)) else { return dropped("stranger") };
        let datagram = self.copies.copy(datagram);
        worker.try_command(Command::Datagram { from, datagram, via: self.parts.index });
    }

    /// A connectivity check (RFC 8445 section 7.3): whoever knows the password proves where it is.
    fn stun(&mut self, source: Source, from: SocketAddr, route: &Route, datagram: &[u8], way: Way) {
        let Some(request) = BindingRequest::parse(datagram).ok().filter(|_| from.port() != 0) else {
            // Nothing can be sent to port 0; the error of trying would be taken for one of the whole batch.
            return dropped("stun");
        };
        let Some(&slot) = self.by_ufrag.get(request.local_ufrag()) else {
            return match way {
                Way::Socket => self.stun_elsewhere(request.local_ufrag(), from, datagram),
                Way::Worker(_) | Way::Tcp => dropped("stun"),
            };
        };
        let Some(peer) = self.peers[slot].as_mut() else { return dropped("stun") };
        let restarted = peer.restarting.take_if(|new| new.ufrag == request.local_ufrag());
        let pwd = restarted.as_ref().map_or(&peer.credentials.pwd, |new| &new.pwd);
        if !request.verify(pwd.as_bytes()) {
            peer.restarting = restarted;
            return dropped("stun_integrity");
        }
        if let Way::Worker(via) = way
            && let Some(via) = self.parts.workers.get(usize::from(via))
        {
            // Before the answer: what the client sends next finds its way.
            via.try_command(Command::Belongs { from, worker: self.parts.index });
        }
        let start = self.batch.begin();
        request.write_success(self.batch.arena(), from, pwd.as_bytes());
        finish(&mut self.batch, start, route);
        peer.heard = self.now;
        if let Some(new) = restarted {
            self.by_ufrag.remove(&peer.credentials.ufrag);
            peer.credentials = new;
        }
        let had_route = peer.route.is_some();
        if peer.chosen.check(source, request.use_candidate(), self.now) {
            peer.route = Some(route.clone());
        }
        if let Some(Proved { forgotten }) = peer.prove(source) {
            if let Some(forgotten) = forgotten.filter(|old| self.by_source.get(old) == Some(&slot)) {
                self.by_source.remove(&forgotten);
            }
            if let Some(before) = self.by_source.insert(source, slot).filter(|before| *before != slot) {
                // The same address serves another connection now: a client that reloaded.
                if let Some(Some(other)) = self.peers.get_mut(before) {
                    other.sources.retain(|known| *known != source);
                }
            }
            if had_route {
                tracing::debug!(peer = slot, "peer is reached another way");
            }
        }
    }

    /// Nothing is learnt from it: anybody can write a number into a ufrag, and another's address onto a datagram.
    fn stun_elsewhere(&mut self, ufrag: &str, from: SocketAddr, datagram: &[u8]) {
        let is_other = |index: &u8| *index != self.parts.index && usize::from(*index) < self.parts.workers.len();
        let other = worker_of(ufrag).filter(is_other);
        match other {
            Some(worker) => self.hand_over(worker, from, datagram),
            None => dropped("stun"),
        }
    }

    /// DTLS or SRTP from a proved source.
    fn packet(&mut self, slot: usize, kind: Kind, datagram: &[u8]) {
        let Some(peer) = self.peers.get_mut(slot).and_then(Option::as_mut) else { return dropped("stranger") };
        match kind {
            Kind::Dtls => {
                if self.parts.dtls.handle_datagram(self.now, peer.key, datagram).is_err() {
                    dropped("dtls");
                }
                self.dtls();
            }
            Kind::Rtp => {
                let Some(keys) = &mut peer.keys else { return dropped("early") };
                self.packet.clear();
                self.packet.extend_from_slice(datagram);
                if keys.opener.open_rtp(&mut self.packet).is_err() {
                    return dropped("srtp");
                }
                peer.heard = self.now;
                if let Media::Publisher(receiver) = &mut peer.media {
                    receiver.rtp(&self.packet, self.now);
                }
            }
            Kind::Rtcp => {
                let Some(keys) = &mut peer.keys else { return dropped("early") };
                self.packet.clear();
                self.packet.extend_from_slice(datagram);
                if keys.opener.open_rtcp(&mut self.packet).is_err() {
                    return dropped("srtcp");
                }
                peer.heard = self.now;
                self.rtcp(slot);
            }
            Kind::Stun | Kind::Unknown => dropped("unknown"),
        }
    }

    fn rtcp(&mut self, slot: usize) {
        let Some(peer) = self.peers[slot].as_mut() else { return };
        let now = self.now;
        let Some((media, mut out)) = peer.split(&mut self.batch) else { return };
        match media {
            Media::Publisher(receiver) => receiver.rtcp(&self.packet, now),
            Media::Viewer(viewer) => {
                let ntp = NtpTime::from(SystemTime::now());
                for block in blocks(&self.packet) {
                    viewer.feedback(&block.feedback(ntp), |showing| shelf(&self.feeds, showing), now, &mut out);
                }
            }
        }
        self.stir(slot);
    }

    /// What comes from there is for a peer of another worker, which has verified a check that came here.
    pub(super) fn learn(&mut self, from: SocketAddr, worker: u8) {
        // It may have served a connection here: a client that reloaded.
        let source = Source::Udp(from);
        if let Some(Some(before)) = self.by_source.remove(&source).and_then(|slot| self.peers.get_mut(slot)) {
            before.sources.retain(|known| *known != source);
        }
        if self.foreign.len() >= FOREIGN_MAX {
            self.foreign.clear();
        }
        self.foreign.insert(from, worker);
    }

    pub(super) fn tcp(&mut self, connection: u64, from: SocketAddr, datagram: &Bytes, reply: mpsc::Sender<Bytes>) {
        let source = Source::Tcp(connection);
        match (datagram::classify(datagram), self.by_source.get(&source)) {
            (Kind::Stun, _) => self.stun(source, from, &Route::Tcp(reply), datagram, Way::Tcp),
            (kind @ (Kind::Dtls | Kind::Rtp | Kind::Rtcp), Some(&slot)) => self.packet(slot, kind, datagram),
            (Kind::Dtls | Kind::Rtp | Kind::Rtcp | Kind::Unknown, _) => dropped("stranger"),
        }
    }
}

fn dropped(reason: &'static str) {
    ::metrics::counter!(metrics::WEBRTC_DROPPED, "reason" => reason).increment(1);
}
