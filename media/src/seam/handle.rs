//! What others may order of media. The channel is made before either plane starts, so that neither waits for the other.

use super::event::BroadcastEnd;
use crate::model::{BroadcastId, ViewerId};
use tokio::sync::mpsc;

/// Orders media; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
}

/// The receiving end, given to `Media::start`.
#[derive(Debug)]
pub struct Orders(pub(crate) mpsc::Receiver<Order>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    EndBroadcast { broadcast: BroadcastId, reason: BroadcastEnd },
    EjectViewer { broadcast: BroadcastId, viewer: ViewerId },
    ReadmitViewer { broadcast: BroadcastId, viewer: ViewerId },
    Mute { broadcast: BroadcastId, muted: bool },
    SettleRecording { broadcast: BroadcastId },
    DeleteRecording { broadcast: BroadcastId, parts: Vec<BroadcastId> },
}

/// Orders that may wait to be carried out. When full, whoever orders waits: an order is never lost.
const QUEUE: usize = 256;

impl Handle {
    pub fn channel() -> (Self, Orders) {
        let (orders, receiver) = mpsc::channel(QUEUE);
        (Self { orders }, Orders(receiver))
    }

    /// Ends a broadcast for good: its publisher is cut, its playlist closed. Nothing happens when it is not there.
    pub async fn end_broadcast(&self, broadcast: BroadcastId, reason: BroadcastEnd) {
        // A closed channel means media has stopped, and then everything has ended.
        let _ = self.orders.send(Order::EndBroadcast { broadcast, reason }).await;
    }

    /// Puts silence in the place of what a publisher says, or ends that. Nothing happens when the broadcast is not there.
    pub async fn mute(&self, broadcast: BroadcastId, muted: bool) {
        let _ = self.orders.send(Order::Mute { broadcast, muted }).await;
    }

    /// Closes what is kept of a broadcast that is over, should its end have been missed, and tells what that is
    /// ([`RecordingEnded`](super::MediaEvent::RecordingEnded)).
    pub async fn settle_recording(&self, broadcast: BroadcastId) {
        let _ = self.orders.send(Order::SettleRecording { broadcast }).await;
    }

    /// Deletes what is kept of a broadcast that is over and of its parts
    /// ([`RecordingDeleted`](super::MediaEvent::RecordingDeleted)). Should be ordered again when nothing is told of it.
    pub async fn delete_recording(&self, broadcast: BroadcastId, parts: Vec<BroadcastId>) {
        let _ = self.orders.send(Order::DeleteRecording { broadcast, parts }).await;
    }

    /// Cuts one viewer off, from a broadcast and its parts, and refuses it from then on, whatever admission says. `viewer`:
    /// whose ticket it is, or the id that facts about it carry.
    pub async fn eject_viewer(&self, broadcast: BroadcastId, viewer: ViewerId) {
        let _ = self.orders.send(Order::EjectViewer { broadcast, viewer }).await;
    }

    /// Takes an ejection back. Nothing happens when there was none.
    pub async fn readmit_viewer(&self, broadcast: BroadcastId, viewer: ViewerId) {
        let _ = self.orders.send(Order::ReadmitViewer { broadcast, viewer }).await;
    }
}
