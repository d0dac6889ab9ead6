//! A real listener on a free port, with an admission that knows a few keys.

use super::{counters, in_time};
use async_trait::async_trait;
use chobi_media::config::HubConfig;
use chobi_media::hub::{Broadcast, Feed, Hub, Subscriber};
use chobi_media::ingest::rtmp::{Listener, RtmpConfig};
use chobi_media::model::{BroadcastId, Epoch, Frame};
use chobi_media::seam::{
    Admission, EventSink, MediaEvent, PublishGrant, PublishRequest, Refusal, WatchGrant, WatchRequest,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub struct Server {
    pub address: SocketAddr,
    pub hub: Hub,
    pub events: Mutex<mpsc::Receiver<MediaEvent>>,
    /// How often admission was asked.
    pub asked: Arc<AtomicUsize>,
    opened: Mutex<mpsc::Receiver<Arc<Broadcast>>>,
    cancel: CancellationToken,
    running: JoinHandle<()>,
    _turn: OwnedMutexGuard<()>,
}

/// Knows `key-<name>` as the host of `session_<name>`, and `rival-<name>` as somebody else with a key for the same.
struct Keys {
    asked: Arc<AtomicUsize>,
}

/// It has no room for the first warnings.
struct Events {
    sender: mpsc::Sender<MediaEvent>,
    refuses: AtomicUsize,
}

const REFUSED_WARNINGS: usize = 3;

#[async_trait]
impl Admission for Keys {
    async fn admit_publisher(&self, request: PublishRequest) -> Result<PublishGrant, Refusal> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let key = request.key.expose();
        let (who, name) = key.split_once('-').ok_or(Refusal::BadCredentials)?;
        if !matches!(who, "key" | "rival") {
            return Err(Refusal::BadCredentials);
        }
        let broadcast = BroadcastId::parse(&format!("session_{name}")).map_err(|_| Refusal::BadCredentials)?;
        match request.broadcast {
            Some(named) if named != broadcast => Err(Refusal::NotFound),
            _ => Ok(PublishGrant::of_host(broadcast, format!("{who}_{name}"))),
        }
    }

    async fn admit_viewer(&self, _: WatchRequest) -> Result<WatchGrant, Refusal> {
        Err(Refusal::Forbidden)
    }
}

#[async_trait]
impl EventSink for Events {
    fn try_emit(&self, event: MediaEvent) -> bool {
        let refuses = |left: usize| left.checked_sub(1);
        let is_warning = matches!(event, MediaEvent::IngestWarning { .. });
        if is_warning && self.refuses.fetch_update(Ordering::Relaxed, Ordering::Relaxed, refuses).is_ok() {
            return false;
        }
        self.sender.try_send(event).is_ok()
    }

    async fn emit(&self, event: MediaEvent) {
        // The test may have stopped listening.
        let _ = self.sender.send(event).await;
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(RtmpConfig::default()).await
    }

    pub async fn start_with(config: RtmpConfig) -> Self {
        let turn = counters::take_turn().await;
        let asked = Arc::new(AtomicUsize::new(0));
        let (sender, events) = mpsc::channel(1_024);
        let sink: Arc<dyn EventSink> = Arc::new(Events { sender, refuses: AtomicUsize::new(REFUSED_WARNINGS) });
        let (hub, opened) = Hub::new(HubConfig::default(), Arc::clone(&sink));
        let cancel = CancellationToken::new();
        let config = RtmpConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..config };
        let admission = Arc::new(Keys { asked: Arc::clone(&asked) });
        let bound = Listener::bind(config, hub.clone(), admission, sink, cancel.clone()).await;
        let (listener, address) = bound.expect("a free port can be bound");
        let running = tokio::spawn(listener.run());
        let (events, opened) = (Mutex::new(events), Mutex::new(opened));
        Self { address, hub, events, asked, opened, cancel, running, _turn: turn }
    }

    /// Subscribes to the next broadcast that opens.
    pub async fn next_broadcast(&self) -> Subscriber {
        let broadcast = in_time("a broadcast", async { self.opened.lock().await.recv().await }).await;
        broadcast.expect("the hub is open").subscribe(8_192)
    }

    pub fn closed(&self, reason: &str) -> u64 {
        counters::read("chobi_rtmp_connections_closed_total", "reason", reason)
    }

    /// Stops the listener; it must come back by itself.
    pub async fn stop(self) {
        self.cancel.cancel();
        in_time("the listener to stop", self.running).await.expect("the listener does not panic");
    }
}

/// Waits for the next epoch, passing over frames.
pub async fn next_epoch(subscriber: &mut Subscriber) -> Arc<Epoch> {
    in_time("an epoch", async {
        loop {
            match subscriber.recv().await {
                Feed::Epoch(epoch) => return epoch,
                Feed::Frame(_) | Feed::Interrupted => {}
                other => panic!("an epoch was expected, not {other:?}"),
            }
        }
    })
    .await
}

/// The next `count` frames, which must all belong to the epoch under way.
pub async fn frames(subscriber: &mut Subscriber, count: usize) -> Vec<Arc<Frame>> {
    in_time("frames", async {
        let mut frames = Vec::with_capacity(count);
        while frames.len() < count {
            match subscriber.recv().await {
                Feed::Frame(frame) => frames.push(frame),
                other => panic!("a frame was expected, not {other:?}"),
            }
        }
        frames
    })
    .await
}
