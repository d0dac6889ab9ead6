//! Recordings of shows that are over: what is kept of them is told, and deleted when that is ordered.
//!
//! In: shows that end, orders through a bounded queue. Out: facts for the event sink. Driven by packager tasks at their end and
//! by a task of its own, so that no order waits for the disk.

use super::recording::Recording;
use super::service::{Service, Shared};
use super::show::{Ending, Show};
use crate::model::BroadcastId;
use crate::seam::{MediaEvent, Recorded, Refusal};
use crate::store::StoreError;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Where orders about recordings go.
#[derive(Debug, Clone)]
pub struct Archive {
    service: Service,
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
enum Order {
    Settle(BroadcastId),
    Delete { broadcast: BroadcastId, parts: Vec<BroadcastId> },
}

/// Orders that may wait for the disk. When full, one is dropped: it will be given again.
const QUEUE: usize = 256;
/// Orders that are carried out at one time: a long recording that goes from a slow bucket holds up no other.
const AT_ONCE: usize = 8;
/// How long an answer about a recording may take: a show that begins waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

impl Archive {
    pub fn open(service: Service, tasks: &TaskTracker, cancel: CancellationToken) -> Self {
        let (orders, receiver) = mpsc::channel(QUEUE);
        tasks.spawn(run(service.clone(), receiver, cancel));
        Self { service, orders }
    }

    /// Has what is kept of a broadcast told.
    pub fn settle(&self, broadcast: BroadcastId) {
        self.give(Order::Settle(broadcast));
    }

    /// Has what is kept of a broadcast and its parts deleted. Nobody is shown any of it from now on, whatever waits before it and
    /// however long it takes.
    pub fn delete(&self, broadcast: BroadcastId, parts: Vec<BroadcastId>) {
        parts.iter().chain([&broadcast]).for_each(|of| self.service.condemn(of));
        self.give(Order::Delete { broadcast, parts });
    }

    fn give(&self, order: Order) {
        if let Err(dropped) = self.orders.try_send(order) {
            tracing::warn!(%dropped, "too many orders about recordings wait");
        }
    }
}

async fn run(service: Service, mut orders: mpsc::Receiver<Order>, cancel: CancellationToken) {
    let (mut at_work, mut about) = (JoinSet::new(), HashMap::new());
    loop {
        tokio::select! {
            // What was begun is broken off, and will be ordered again.
            () = cancel.cancelled() => return,
            Some(done) = at_work.join_next_with_id() => {
                let id = done.map_or_else(|error| error.id(), |(id, ())| id);
                about.remove(&id);
            }
            order = orders.recv(), if at_work.len() < AT_ONCE => {
                let Some(order) = order else { return };
                let broadcast = order.broadcast().clone();
                // It was given again before the first was done.
                if !about.values().any(|other| *other == broadcast) {
                    let span = tracing::info_span!("archive", broadcast.id = %broadcast);
                    let task = at_work.spawn(carry_out(service.clone(), order).instrument(span));
                    about.insert(task.id(), broadcast);
                }
            }
        }
    }
}

async fn carry_out(service: Service, order: Order) {
    let done = match &order {
        Order::Settle(broadcast) => service.settle_recording(broadcast).await,
        Order::Delete { broadcast, parts } => service.clear(broadcast, parts).await,
    };
    if let Err(error) = done {
        let error = &error as &dyn std::error::Error;
        tracing::error!(error, "what was ordered about a recording failed; it will be tried again");
    }
}

impl Order {
    fn broadcast(&self) -> &BroadcastId {
        match self {
            Self::Settle(broadcast) | Self::Delete { broadcast, .. } => broadcast,
        }
    }
}

impl Service {
    /// Tells what is kept of a show that is over, and closes it where this process did not see its end, since its session
    /// ended while the server was down. One that is still served tells by itself.
    pub async fn settle_recording(&self, broadcast: &BroadcastId) -> Result<(), StoreError> {
        if self.shared.shows.get(broadcast).is_some() {
            return Ok(());
        }
        let mut recorded = close_all(&self.shared, broadcast).await?;
        if !is_to_keep(&self.shared, broadcast).await {
            recorded = Recorded::Nothing;
        }
        if recorded == Recorded::Nothing {
            delete(&self.shared, broadcast).await?;
        }
        tell(&self.shared, broadcast, recorded).await;
        Ok(())
    }

    /// Deletes what is kept of a broadcast that is over, its parts first, and tells when nothing is left.
    async fn clear(&self, broadcast: &BroadcastId, parts: &[BroadcastId]) -> Result<(), StoreError> {
        for part in parts {
            if !self.delete_recording(part).await? {
                return Ok(());
            }
        }
        if self.delete_recording(broadcast).await? {
            let broadcast = broadcast.clone();
            self.shared.events.emit(MediaEvent::RecordingDeleted { broadcast, at: SystemTime::now() }).await;
        }
        Ok(())
    }
}

/// Whether there is to be a replay. Not to know is no reason to lose one.
pub(super) async fn is_to_keep(shared: &Shared, broadcast: &BroadcastId) -> bool {
    let said = tokio::time::timeout(PATIENCE, shared.admission.keeps_recording(broadcast)).await;
    said.unwrap_or(Err(Refusal::Unavailable)).unwrap_or_else(|refusal| {
        tracing::warn!(broadcast.id = %broadcast, %refusal, "nobody says whether to record; it is recorded");
        true
    })
}

/// The show is over: what is kept of it is told once all of it is in the store, and shown to whoever comes from now on.
/// What fails is told by nobody, so it will be ordered to be settled.
pub(super) async fn conclude(shared: &Shared, show: &Show, keeps: bool) {
    shared.keeper.settle().await;
    shared.recordings.forget(&show.id);
    let concluded = if keeps {
        match close_all(shared, &show.id).await {
            Ok(Recorded::Nothing) if show.has_begun() => Ok(Recorded::Lost),
            closed => closed,
        }
    } else {
        Ok(Recorded::Nothing)
    };
    let concluded = match concluded {
        Ok(Recorded::Nothing) => delete(shared, &show.id).await.map(|()| Recorded::Nothing),
        concluded => concluded,
    };
    let replay = matches!(concluded, Ok(Recorded::Kept { .. }));
    show.set_ending(Ending::Lingers { replay });
    match concluded {
        Ok(recorded) => tell(shared, &show.id, recorded).await,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(broadcast.id = %show.id, error, "the recording of a show cannot be closed; it will be tried again");
        }
    }
}

/// Deletes what is kept of a broadcast.
pub(super) async fn delete(shared: &Shared, broadcast: &BroadcastId) -> Result<(), StoreError> {
    let deleted = shared.keeper.delete(broadcast).await;
    // Whoever looked at it meanwhile may have read the journal as it went.
    shared.recordings.forget(broadcast);
    deleted
}

/// Ends the journal of a show, and those of its co-hosts, where nobody wrote down the end: the process died before. Says
/// what the show itself has.
async fn close_all(shared: &Shared, broadcast: &BroadcastId) -> Result<Recorded, StoreError> {
    let recording = Recording::read(shared.keeper.archived(broadcast).await?);
    close(shared, broadcast, &recording).await?;
    for part in recording.parts() {
        // One that is still served closes its own.
        if shared.shows.get(part).is_some() {
            continue;
        }
        if let Err(error) = close_part(shared, part).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(broadcast.id = %broadcast, %part, error, "the recording of a co-host cannot be closed");
        }
    }
    Ok(recording.recorded())
}

/// Of a co-host of whom the disk has nothing the bucket may have a journal without an end, since the disk was lost.
async fn close_part(shared: &Shared, part: &BroadcastId) -> Result<(), StoreError> {
    let recording = Recording::read(shared.keeper.archived(part).await?);
    close(shared, part, &recording).await
}

/// Ends a journal whose end nobody wrote down.
async fn close(shared: &Shared, broadcast: &BroadcastId, recording: &Recording) -> Result<(), StoreError> {
    if !recording.is_empty() && !recording.has_ended() {
        // Its end follows on its journal, which a lost disk left in the bucket.
        shared.keeper.recover(broadcast).await?;
        shared.keeper.note(broadcast.clone(), recording.end_entry())?;
        shared.keeper.settle().await;
        shared.recordings.forget(broadcast);
    }
    Ok(())
}

async fn tell(shared: &Shared, broadcast: &BroadcastId, recorded: Recorded) {
    tracing::info!(broadcast.id = %broadcast, ?recorded, "recording ended");
    let (broadcast, at) = (broadcast.clone(), SystemTime::now());
    shared.events.emit(MediaEvent::RecordingEnded { broadcast, recorded, at }).await;
}
