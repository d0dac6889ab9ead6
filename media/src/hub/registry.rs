//! Broadcasts by id, and the one claim that admits a publisher.

use super::broadcast::{Broadcast, ClaimError};
use super::gop::Gop;
use super::lifecycle::{self, Fact, Phase, Presence};
use super::publisher::{Publisher, WriteSide};
use crate::config::HubConfig;
use crate::metrics;
use crate::model::BroadcastId;
use crate::seam::{BroadcastEnd, EventSink, MediaEvent, Protocol, PublishGrant};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// All broadcasts of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: HubConfig,
    broadcasts: Mutex<HashMap<BroadcastId, Arc<Broadcast>>>,
    opened: mpsc::Sender<Arc<Broadcast>>,
    events: Arc<dyn EventSink>,
    lifecycles: TaskTracker,
}

/// New broadcasts waiting for their outputs. When full, a claim waits: an output misses no broadcast.
const OPENED_QUEUE: usize = 256;

impl Hub {
    /// The receiver hears every broadcast that opens, before its first frame is written.
    pub fn new(config: HubConfig, events: Arc<dyn EventSink>) -> (Self, mpsc::Receiver<Arc<Broadcast>>) {
        let (opened, receiver) = mpsc::channel(OPENED_QUEUE);
        let shared = Shared { config, broadcasts: Mutex::default(), opened, events, lifecycles: TaskTracker::new() };
        (Self { shared: Arc::new(shared) }, receiver)
    }

    /// Becomes the publisher that was granted. The same identity takes over, another is refused.
    pub async fn claim(&self, grant: PublishGrant, protocol: Protocol) -> Result<Publisher, ClaimError> {
        let PublishGrant { broadcast: id, publisher, part } = grant;
        let (part_of, muted) = part.map_or((None, false), |part| (Some(part.of), part.muted));
        let broadcast = match self.get(&id) {
            Some(broadcast) => broadcast,
            None => self.open(id, part_of, Phase::Starting).await?,
        };
        let publisher = broadcast.claim(&publisher, protocol).await?;
        broadcast.mute(muted);
        Ok(publisher)
    }

    pub fn get(&self, id: &BroadcastId) -> Option<Arc<Broadcast>> {
        self.shared.broadcasts.lock().get(id).cloned()
    }

    /// Opens a broadcast that was live when the server stopped: it waits for its publisher as after any interruption.
    pub async fn expect(&self, id: BroadcastId) -> Result<(), ClaimError> {
        let until = Instant::now() + self.shared.config.grace_rtmp;
        self.open(id, None, Phase::Lingering { until }).await.map(drop)
    }

    /// Ends a broadcast and its parts for good; nothing happens when there are none.
    pub fn end(&self, id: &BroadcastId, reason: BroadcastEnd) {
        for broadcast in self.get(id).into_iter().chain(self.shared.parts_of(id)) {
            broadcast.order_end(reason);
        }
    }

    /// What the co-hosts of a show publish, the earliest user first.
    pub fn live_parts(&self, id: &BroadcastId) -> Vec<Arc<Broadcast>> {
        let mut parts = self.shared.parts_of(id);
        parts.retain(|part| part.phase() == Phase::Live);
        parts.sort_by(|one, other| one.id().cmp(other.id()));
        parts
    }

    /// How loud everybody is in the shows of several people, host and co-hosts.
    pub(super) fn levels(&self) -> HashMap<BroadcastId, Vec<(BroadcastId, u8)>> {
        let broadcasts = self.shared.broadcasts.lock();
        let mut shows: HashMap<_, Vec<_>> = HashMap::new();
        for part in broadcasts.values() {
            if let Some(show) = part.part_of() {
                shows.entry(show.clone()).or_default().push((part.id().clone(), part.take_level()));
            }
        }
        for (show, levels) in &mut shows {
            levels.extend(broadcasts.get(show).map(|host| (host.id().clone(), host.take_level())));
        }
        shows
    }

    async fn open(
        &self,
        id: BroadcastId,
        part_of: Option<BroadcastId>,
        phase: Phase,
    ) -> Result<Arc<Broadcast>, ClaimError> {
        let config = &self.shared.config;
        // Waited for first: a claim that is given up meanwhile leaves no broadcast behind that its outputs never hear
        // of. Refused only while the server stops; then nobody watches any more.
        let place = self.shared.opened.reserve().await.ok();
        let broadcast = {
            let mut broadcasts = self.shared.broadcasts.lock();
            if let Some(broadcast) = broadcasts.get(&id) {
                return Ok(Arc::clone(broadcast));
            }
            if broadcasts.len() >= config.max_broadcasts {
                return Err(ClaimError::Full);
            }
            let side = WriteSide::new(Gop::new(config.gop_max_frames, config.gop_max_bytes));
            let broadcast = Broadcast::new(id.clone(), part_of, side, phase);
            broadcasts.insert(id.clone(), Arc::clone(&broadcast));
            // Before anybody else can find it and write to it.
            if let Some(place) = place {
                place.send(Arc::clone(&broadcast));
            }
            broadcast
        };
        let span = tracing::info_span!("broadcast", broadcast.id = %id);
        self.shared.lifecycles.spawn(drive(Arc::clone(&self.shared), Arc::clone(&broadcast)).instrument(span));
        Ok(broadcast)
    }
}

impl Shared {
    fn parts_of(&self, id: &BroadcastId) -> Vec<Arc<Broadcast>> {
        let broadcasts = self.broadcasts.lock();
        broadcasts.values().filter(|broadcast| broadcast.part_of() == Some(id)).cloned().collect()
    }
}

/// The lifecycle task of one broadcast: looks at the situation and the clock, tells the facts in order.
async fn drive(shared: Arc<Shared>, broadcast: Arc<Broadcast>) {
    let mut situation = broadcast.watch_situation();
    count(broadcast.phase(), 1.0);
    let mut grace = shared.config.grace_rtmp;
    loop {
        let seen = *situation.borrow_and_update();
        if let Presence::Producing(protocol) = seen.publisher {
            grace = shared.config.grace(protocol);
        }
        let before = broadcast.phase();
        let (phase, fact) = lifecycle::step(before, seen, grace, Instant::now());
        if phase != before {
            count(before, -1.0);
            count(phase, 1.0);
            broadcast.set_phase(phase);
        }
        if let Some(fact) = fact {
            tell(&shared, broadcast.id(), fact).await;
        }
        let patience = match (phase, seen.publisher) {
            (Phase::Ended(reason), _) => {
                shared.parts_of(broadcast.id()).iter().for_each(|part| part.order_end(reason));
                break;
            }
            (Phase::Lingering { until }, Presence::Absent) => until.saturating_duration_since(Instant::now()),
            (Phase::Starting, Presence::Absent) => STARTING_LIMIT,
            // The ingest's own limits cut a silent publisher; that changes the situation.
            (Phase::Lingering { .. } | Phase::Starting | Phase::Live, _) => Duration::MAX,
        };
        let over = tokio::time::timeout(patience, situation.changed()).await.is_err();
        if over && phase == Phase::Starting {
            break;
        }
    }
    shared.broadcasts.lock().remove(broadcast.id());
    broadcast.close();
}

/// A broadcast that never had media is forgotten after this, without a word: nothing began, so nothing ends.
const STARTING_LIMIT: Duration = Duration::from_secs(60);

/// Keeps the gauge of broadcasts by state.
fn count(phase: Phase, change: f64) {
    let state = match phase {
        Phase::Live => "live",
        Phase::Lingering { .. } => "interrupted",
        Phase::Starting | Phase::Ended(_) => return,
    };
    ::metrics::gauge!(metrics::BROADCASTS, "state" => state).increment(change);
}

async fn tell(shared: &Shared, id: &BroadcastId, fact: Fact) {
    let (broadcast, at) = (id.clone(), SystemTime::now());
    let event = match fact {
        Fact::Started(protocol) => {
            tracing::info!(protocol = protocol.as_str(), "broadcast is live");
            MediaEvent::BroadcastStarted { broadcast, protocol, at }
        }
        Fact::Interrupted => {
            tracing::info!("publisher is gone, broadcast waits for it");
            MediaEvent::BroadcastInterrupted { broadcast, at }
        }
        Fact::Resumed(protocol) => {
            tracing::info!(protocol = protocol.as_str(), "publisher is back");
            MediaEvent::BroadcastResumed { broadcast, protocol, at }
        }
        Fact::Ended(reason) => {
            tracing::info!(?reason, "broadcast has ended");
            MediaEvent::BroadcastEnded { broadcast, reason, at }
        }
    };
    shared.events.emit(event).await;
}
