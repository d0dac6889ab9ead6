//! What a worker is told by the rest of the process, and the bell that wakes it.

use super::peer::{NewPeer, PeerEnd};
use crate::metrics;
use crate::model::{BroadcastId, ViewerId};
use crate::rtc::ice::Credentials;
use crate::signalling::ResourceId;
use crate::whep::burst::Burst;
use crate::whep::feed::FeedId;
use crate::whep::wish::{Choice, LayerFormat, NoSuchLayer, PictureLayers};
use bytes::Bytes;
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

pub(crate) enum Command {
    Add(Box<NewPeer>),
    /// New local credentials: an ICE restart (RFC 8445 section 2.4). The old ones go on until the new are used.
    Restart {
        resource: ResourceId,
        credentials: Credentials,
    },
    Close {
        resource: ResourceId,
        end: PeerEnd,
    },
    Eject {
        show: BroadcastId,
        viewer: ViewerId,
    },
    Burst(FeedId, Arc<Burst>),
    /// The layers of the bursts that follow.
    Described(FeedId, Arc<[LayerFormat]>),
    /// What a viewer's pictures are made of; first it makes a choice.
    Layers {
        resource: ResourceId,
        choice: Option<Choice>,
        reply: oneshot::Sender<Result<Vec<PictureLayers>, NoSuchLayer>>,
    },
    /// The publisher is gone; it may come back.
    Interrupted(FeedId),
    /// Viewers were promised tracks that no longer exist.
    Renegotiate(FeedId),
    FeedEnded(FeedId),
    /// Came to the socket of another worker, `via`.
    Datagram {
        from: SocketAddr,
        datagram: Bytes,
        via: u8,
    },
    /// A check that this worker passed on was authentic: what comes from there is for a peer of `worker`.
    Belongs {
        from: SocketAddr,
        worker: u8,
    },
    /// A frame of an ICE-TCP connection, with the way back, and its share of [`FRAMES_MAX`].
    Tcp {
        share: OwnedSemaphorePermit,
        connection: u64,
        from: SocketAddr,
        datagram: Bytes,
        reply: mpsc::Sender<Bytes>,
    },
    Stop,
}

/// The sending end. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    commands: mpsc::Sender<Command>,
    bell: Arc<Bell>,
    /// For frames of ICE-TCP.
    shares: Arc<Semaphore>,
    /// Peers of this worker, for choosing the one with the fewest.
    peers: Arc<AtomicUsize>,
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct Receiver {
    commands: mpsc::Receiver<Command>,
    bell: Arc<Bell>,
    pub(crate) peers: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Bell {
    /// An eventfd: readable while rung.
    fd: OwnedFd,
    /// Spares the system call while the worker has not yet looked.
    rung: AtomicBool,
}

/// Several hundred milliseconds of a busy worker. When full, a burst is dropped (its viewers go on with the next
/// keyframe); whoever sends anything else waits.
const QUEUE: usize = 8_192;
/// Of them, those that are frames of ICE-TCP. Whoever sends more of them waits, and with its task its connection: the
/// others find room.
const FRAMES_MAX: usize = 1_024;

pub(crate) fn channel() -> io::Result<(Inbox, Receiver)> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    let bell = Arc::new(Bell { fd, rung: AtomicBool::new(false) });
    let peers = Arc::<AtomicUsize>::default();
    let shares = Arc::new(Semaphore::new(FRAMES_MAX));
    let inbox = Inbox { commands: sender, bell: Arc::clone(&bell), shares, peers: Arc::clone(&peers) };
    Ok((inbox, Receiver { commands: receiver, bell, peers }))
}

impl Inbox {
    /// Hands over a frame's packets; never waits.
    pub(crate) fn burst(&self, feed: FeedId, burst: &Arc<Burst>) {
        if self.commands.try_send(Command::Burst(feed, Arc::clone(burst))).is_err() {
            ::metrics::counter!(metrics::WEBRTC_BURSTS_DROPPED).increment(1);
        }
        self.bell.ring();
    }

    /// Tells without waiting; what does not fit is lost and counted.
    pub(crate) fn try_command(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            ::metrics::counter!(metrics::WEBRTC_SEND_FAILED).increment(1);
        }
        self.bell.ring();
    }

    /// Tells, waiting while the queue is full. A worker that has stopped has nothing to be told.
    pub(crate) async fn send(&self, command: Command) {
        let _ = self.commands.send(command).await;
        self.bell.ring();
    }

    /// Waits until a frame of ICE-TCP may be sent.
    pub(crate) async fn share(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.shares).acquire_owned().await.expect("shares are never withdrawn")
    }

    /// Tells what is made once there is room for it, in one go with its making: whoever gives up waiting has made nothing.
    /// `None`: nothing was made, or the worker has stopped.
    pub(crate) async fn send_made<T>(&self, make: impl FnOnce() -> Option<(Command, T)>) -> Option<T> {
        let room = self.commands.reserve().await.ok()?;
        let (command, made) = make()?;
        room.send(command);
        self.bell.ring();
        Some(made)
    }

    pub(crate) fn peers(&self) -> usize {
        self.peers.load(Ordering::Relaxed)
    }
}

impl Receiver {
    /// The next command, without waiting.
    pub(crate) fn take(&mut self) -> Option<Command> {
        self.commands.try_recv().ok()
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.commands.len()
    }

    /// Looked at from here on: what comes later rings again.
    pub(crate) fn hush(&self) {
        let mut count = [0_u8; 8];
        // Nothing to read means that nobody has rung.
        let _ = rustix::io::read(&self.bell.fd, &mut count);
        self.bell.rung.store(false, Ordering::SeqCst);
    }

    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.fd.as_fd()
    }
}

impl Bell {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            // Fails only when the counter is full, and then the bell is rung.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }
}
