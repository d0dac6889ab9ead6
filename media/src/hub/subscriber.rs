//! The read side: a bounded ring per subscriber, filled by the publisher, drained by one task.

use super::broadcast::Broadcast;
use crate::metrics;
use crate::model::{Epoch, Frame};
use crate::seam::BroadcastEnd;
use atomic_waker::AtomicWaker;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// What a subscriber hears, in order.
#[derive(Debug, Clone)]
pub enum Feed {
    /// Formats and clock of the frames that follow.
    Epoch(Arc<Epoch>),
    Frame(Arc<Frame>),
    /// The ring was full: this many frames are missing here. The next frame is one to start with.
    Lagged {
        frames: u64,
    },
    /// The publisher is gone; it may come back.
    Interrupted,
    /// Nothing follows.
    Ended(BroadcastEnd),
}

/// Reads one broadcast. Dropping it detaches.
#[derive(Debug)]
pub struct Subscriber {
    ring: rtrb::Consumer<Feed>,
    link: Arc<Link>,
    broadcast: Arc<Broadcast>,
}

/// The publisher's end of one subscriber's ring.
#[derive(Debug)]
pub(super) struct Feeder {
    ring: rtrb::Producer<Feed>,
    link: Arc<Link>,
    /// Not yet heard, since the ring was full. Owed before any frame.
    owed_epoch: Option<Arc<Epoch>>,
    /// Frames dropped since the ring overflowed; `Some` until a frame comes that one can start with.
    skipping: Option<u64>,
}

#[derive(Debug, Default)]
struct Link {
    waker: AtomicWaker,
    closed: AtomicBool,
}

/// Ring places that frames may not take, so that news of the broadcast itself still fits.
const RESERVED: usize = 4;

/// A ring for `capacity` frames. When it is full, frames are dropped up to the next one a decoder can start with.
pub(super) fn ring(broadcast: Arc<Broadcast>, capacity: usize) -> (Feeder, Subscriber) {
    let (producer, consumer) = rtrb::RingBuffer::new(capacity + RESERVED);
    let link = Arc::new(Link::default());
    let feeder = Feeder { ring: producer, link: Arc::clone(&link), owed_epoch: None, skipping: Some(0) };
    (feeder, Subscriber { ring: consumer, link, broadcast })
}

impl Subscriber {
    /// Waits for the next item. After [`Feed::Ended`] it answers the same for ever. Safe to drop in a `select!`.
    pub async fn recv(&mut self) -> Feed {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next item if it is already here.
    pub fn try_recv(&mut self) -> Option<Feed> {
        self.ring.pop().ok()
    }

    pub fn broadcast(&self) -> &Arc<Broadcast> {
        &self.broadcast
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Feed> {
        if let Some(feed) = self.try_recv() {
            return Poll::Ready(feed);
        }
        self.link.waker.register(cx.waker());
        // Read before the second look into the ring: what was pushed before the close is then still seen.
        let closed = self.link.closed.load(Ordering::Acquire);
        match self.try_recv() {
            Some(feed) => Poll::Ready(feed),
            None if closed => Poll::Ready(Feed::Ended(self.broadcast.end_reason())),
            None => Poll::Pending,
        }
    }
}

impl Feeder {
    pub(super) fn is_gone(&self) -> bool {
        self.ring.is_abandoned()
    }

    /// Formats change: told before the next frame, the latest wins while the ring is full.
    pub(super) fn epoch(&mut self, epoch: &Arc<Epoch>) {
        self.owed_epoch = Some(Arc::clone(epoch));
        self.pay_epoch();
        self.link.waker.wake();
    }

    /// `resync`: a decoder can start with this frame.
    pub(super) fn frame(&mut self, frame: &Arc<Frame>, resync: bool) {
        let room = self.ring.slots() > RESERVED && self.pay_epoch() && (self.skipping.is_none() || resync);
        if !room {
            *self.skipping.get_or_insert(0) += 1;
            return;
        }
        match self.skipping.take() {
            Some(frames) if frames > 0 => {
                ::metrics::counter!(metrics::SUBSCRIBER_DROPPED).increment(frames);
                // Of the two places this round takes, one is reserved for just this.
                let _ = self.ring.push(Feed::Lagged { frames });
            }
            _ => {}
        }
        let _ = self.ring.push(Feed::Frame(Arc::clone(frame)));
        self.link.waker.wake();
    }

    pub(super) fn interrupted(&mut self) {
        // A full ring loses it; its reader is behind by a whole ring and hears of the next epoch anyway.
        let _ = self.ring.push(Feed::Interrupted);
        self.link.waker.wake();
    }

    /// A joiner waits for a frame it can start with; that is no loss to be told of.
    pub(super) fn forgive(&mut self) {
        if self.skipping.is_some() {
            self.skipping = Some(0);
        }
    }

    fn pay_epoch(&mut self) -> bool {
        let Some(epoch) = self.owed_epoch.take() else { return true };
        match self.ring.push(Feed::Epoch(epoch)) {
            Ok(()) => {
                // Frames of the new epoch start afresh.
                self.skipping.get_or_insert(0);
                true
            }
            Err(rtrb::PushError::Full(Feed::Epoch(epoch))) => {
                self.owed_epoch = Some(epoch);
                false
            }
            Err(_) => false,
        }
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.link.closed.store(true, Ordering::Release);
        self.link.waker.wake();
    }
}
