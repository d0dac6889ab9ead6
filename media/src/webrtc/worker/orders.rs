//! What a worker is told by the rest of the server: bursts to forward, peers to take or let go, feeds that change.

use super::arrivals::Way;
use super::{TICK, Worker, send, shelf};
use crate::rtc::dtls::PeerKey;
use crate::webrtc::inbox::Command;
use crate::webrtc::peer::{Media, NewPeer, Peer, PeerEnd};
use crate::whep::feed::{FeedId, Standing};
use crate::whep::viewer::Viewer;
use std::sync::atomic::Ordering;

impl Worker {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Burst(feed, burst) => {
                let state = self.feeds.entry(feed).or_default();
                state.shelf.put(&burst, self.now);
                for (slot, showing) in &state.viewers {
                    let Some(peer) = self.peers[*slot].as_mut() else { continue };
                    if let Some((Media::Viewer(viewer), mut out)) = peer.split(&mut self.batch) {
                        viewer.forward(*showing, &burst, self.now, &mut out);
                    }
                    if peer.stir() {
                        self.restless.push(*slot);
                        self.next_tick = self.next_tick.min(self.now + TICK);
                    }
                    if self.batch.is_full() {
                        send(&mut self.batch, &self.parts.socket, &self.counts);
                    }
                }
            }
            Command::Datagram { from, datagram, via } => self.datagram(from, &datagram, Way::Worker(via)),
            Command::Belongs { from, worker } => self.learn(from, worker),
            Command::Tcp { share: _share, connection, from, datagram, reply } => {
                self.tcp(connection, from, &datagram, reply);
            }
            Command::Add(new) => self.add(*new),
            Command::Restart { resource, credentials } => {
                let Some(&slot) = self.by_resource.get(&resource) else { return };
                if let Some(peer) = self.peers[slot].as_mut() {
                    if let Some(unused) = peer.restarting.take() {
                        self.by_ufrag.remove(&unused.ufrag);
                    }
                    self.by_ufrag.insert(credentials.ufrag.clone(), slot);
                    peer.restarting = Some(credentials);
                }
            }
            Command::Close { resource, end } => {
                if let Some(&slot) = self.by_resource.get(&resource) {
                    self.remove(slot, end);
                }
            }
            Command::Eject { show, viewer } => {
                let ejected = self.parts.ejected.clone();
                self.remove_viewers(PeerEnd::Ejected, |peer| {
                    let meant = peer.is(&show, &viewer);
                    if meant {
                        // By one of its ids, and it might come back by another.
                        ejected.put_all(&show, &viewer, peer.known_as());
                    }
                    meant
                });
            }
            Command::Described(feed, formats) => self.feeds.entry(feed).or_default().shelf.describe(formats),
            Command::Layers { resource, choice, reply } => {
                let slot = self.by_resource.get(&resource).copied();
                let Some(Some(Peer { media: Media::Viewer(viewer), .. })) = slot.map(|slot| &mut self.peers[slot])
                else {
                    // Gone meanwhile: whoever asks hears it from the dropped reply.
                    return;
                };
                // Nobody may be left to hear the answer.
                let _ = reply.send(viewer.layers(choice, |showing| shelf(&self.feeds, showing), self.now));
            }
            Command::Interrupted(feed) => {
                let Some(state) = self.feeds.get_mut(&feed) else { return };
                state.shelf.forget_gop();
                for (slot, showing) in &state.viewers {
                    if let Some(Peer { media: Media::Viewer(viewer), .. }) = &mut self.peers[*slot] {
                        viewer.interrupt(*showing);
                    }
                }
            }
            Command::Renegotiate(feed) => {
                self.feeds.entry(feed).or_default().shelf.forget_gop();
                self.remove_viewers(PeerEnd::Renegotiate, |viewer| shows(viewer, feed));
                self.close_showings(feed);
            }
            Command::FeedEnded(feed) => {
                self.remove_viewers(PeerEnd::Ended, |viewer| shows(viewer, feed));
                self.close_showings(feed);
                self.feeds.remove(&feed);
            }
            // Handled by the loop.
            Command::Stop => {}
        }
    }

    pub(super) fn add(&mut self, new: NewPeer) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.peers.push(None);
            self.peers.len() - 1
        });
        let peer = Peer::new(new, PeerKey::from_index(slot), self.now);
        self.by_ufrag.insert(peer.credentials.ufrag.clone(), slot);
        self.by_resource.insert(peer.resource.clone(), slot);
        let end = match &peer.media {
            Media::Viewer(viewer) => match viewer.showings()[0].feed().standing() {
                Standing::AsPromised => None,
                Standing::Changed => Some(PeerEnd::Renegotiate),
                Standing::Ended => Some(PeerEnd::Ended),
            },
            Media::Publisher(_) => None,
        };
        self.peers[slot] = Some(peer);
        self.parts.inbox.peers.store(self.by_resource.len(), Ordering::Relaxed);
        if let Some(end) = end {
            // While the offer was answered: what says so has passed this worker before the peer came.
            self.remove(slot, end);
        }
    }

    /// Those who watch this feed beside another one keep the other one.
    fn close_showings(&mut self, feed: FeedId) {
        let Some(state) = self.feeds.get_mut(&feed) else { return };
        for (slot, showing) in state.viewers.drain(..) {
            if let Some(Peer { media: Media::Viewer(viewer), .. }) = &mut self.peers[slot] {
                viewer.close(showing);
            }
        }
    }

    fn remove_viewers(&mut self, end: PeerEnd, is_meant: impl Fn(&Viewer) -> bool) {
        for slot in 0..self.peers.len() {
            let meant = match &self.peers[slot] {
                Some(Peer { media: Media::Viewer(viewer), .. }) => is_meant(viewer),
                _ => false,
            };
            if meant {
                self.remove(slot, end);
            }
        }
    }
}

/// Whether this is the feed that a viewer came for. Without one of a co-host it goes on.
fn shows(viewer: &Viewer, feed: FeedId) -> bool {
    viewer.showings()[0].feed().id() == feed
}
