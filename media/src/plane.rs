//! The plane as a whole: its stations wired together, started and stopped.

use crate::config::{HlsConfig, HubConfig, RtmpConfig, StorageConfig, WebrtcConfig};
use crate::ejected::Ejected;
use crate::hls;
use crate::hub::{Hub, tell_speakers};
use crate::ingest::{demo, rtmp};
use crate::model::{BroadcastId, ViewerId};
use crate::seam::{
    Admission, EventSink, Order, Orders, PublishGrant, PublishRequest, Refusal, WatchGrant, WatchRequest,
};
use crate::store::StoreHealth;
use crate::tls::Rtmps;
use crate::webrtc::{self, Surroundings};
use async_trait::async_trait;
use axum::Router;
use bytes::Bytes;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the plane needs to start.
#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// Segments are kept in `hls/` below it.
    pub data_dir: PathBuf,
    pub rtmp: RtmpConfig,
    /// `None`: no RTMPS.
    pub rtmps: Option<Rtmps>,
    pub hub: HubConfig,
    pub hls: HlsConfig,
    pub storage: StorageConfig,
    pub webrtc: WebrtcConfig,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "cannot listen for RTMP on {address}; is another server running? Choose another rtmp.listen (CHOBI_RTMP__LISTEN)"
    )]
    Rtmp { address: SocketAddr, source: std::io::Error },
    #[error(
        "cannot listen for RTMPS on {address}; is another server running? Choose another tls.rtmp_listen (CHOBI_TLS__RTMP_LISTEN)"
    )]
    Rtmps { address: SocketAddr, source: std::io::Error },
    #[error("HLS cannot be served: {0}")]
    Hls(#[from] hls::ServiceError),
    #[error(transparent)]
    Webrtc(#[from] webrtc::ServiceError),
}

/// The running plane.
#[derive(Debug)]
pub struct Media {
    hub: Hub,
    hls: hls::Service,
    webrtc: webrtc::Service,
    tasks: TaskTracker,
    draining: CancellationToken,
    cancel: CancellationToken,
}

impl Media {
    /// Binds RTMP and RTMPS and starts every station. `orders` is the other end of the [`Handle`](crate::seam::Handle).
    pub async fn start(
        config: MediaConfig,
        admission: Arc<dyn Admission>,
        events: Arc<dyn EventSink>,
        orders: Orders,
    ) -> Result<Self, StartError> {
        let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
        let draining = CancellationToken::new();
        let ejected = Ejected::default();
        let (hub, opened) = Hub::new(config.hub, Arc::clone(&events));
        let hls = hls::Service::start(
            config.hls,
            hls::Shelf { data_dir: &config.data_dir, storage: config.storage, clock: SystemTime::now },
            opened,
            (Arc::clone(&admission), ejected.clone()),
            Arc::clone(&events),
            cancel.clone(),
        )?;
        let around = Surroundings {
            hub: hub.clone(),
            admission: Arc::clone(&admission),
            events: Arc::clone(&events),
            ejected: ejected.clone(),
            draining: draining.clone(),
            cancel: cancel.clone(),
        };
        let webrtc = webrtc::Service::start(config.webrtc, &config.data_dir, around).await?;
        let address = config.rtmp.listen;
        let door = Arc::new(ClosingDoor { admission, draining: draining.clone() });
        let (mut listener, _bound) =
            rtmp::Listener::bind(config.rtmp, hub.clone(), door, Arc::clone(&events), cancel.clone())
                .await
                .map_err(|source| StartError::Rtmp { address, source })?;
        if let Some(rtmps) = config.rtmps {
            let address = rtmps.listen;
            listener.bind_tls(rtmps).await.map_err(|source| StartError::Rtmps { address, source })?;
        }
        tasks.spawn(tell_speakers(hub.clone(), Arc::clone(&events), cancel.clone()));
        tasks.spawn(listener.run());
        let archive = hls::Archive::open(hls.clone(), &tasks, cancel.clone());
        let viewers = Viewers { ejected, hls: hls.clone(), webrtc: webrtc.ejector() };
        tasks.spawn(carry_out(orders, hub.clone(), archive, viewers, cancel.clone()));
        Ok(Self { hub, hls, webrtc, tasks, draining, cancel })
    }

    /// Everything below `/hls`, `/whip` and `/whep`.
    pub fn router(&self) -> Router {
        self.hls.router().merge(self.webrtc.router())
    }

    /// Resolves when a part of the plane has died that cannot be made again: the process should be started anew.
    pub fn broken(&self) -> impl Future<Output = ()> + 'static {
        self.webrtc.broken().cancelled_owned()
    }

    /// How the disk and the bucket are, for operators.
    pub fn storage_health(&self) -> StoreHealth {
        self.hls.storage_health()
    }

    /// A broadcast that was live when the server stopped: its playlist goes on, its publisher is waited for.
    pub async fn expect(&self, broadcast: BroadcastId) {
        if let Err(error) = self.hub.expect(broadcast.clone()).await {
            tracing::warn!(broadcast.id = %broadcast, %error, "a broadcast of the last run is not waited for");
        }
    }

    /// Publishes an FLV clip over and over until cancelled or revoked.
    pub fn loop_clip(&self, broadcast: BroadcastId, publisher: &str, clip: Bytes, cancel: CancellationToken) {
        let (hub, publisher) = (self.hub.clone(), publisher.to_owned());
        self.tasks.spawn(async move {
            match demo::run(&hub, broadcast.clone(), &publisher, clip, cancel).await {
                Ok(end) => tracing::info!(broadcast.id = %broadcast, ?end, "the demo clip stops"),
                Err(error) => tracing::error!(broadcast.id = %broadcast, %error, "the demo clip cannot be shown"),
            }
        });
    }

    /// From here on whoever would publish, or watch by WebRTC, is told to come later. What runs goes on.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Lets go of publishers, closes what is open so that playlists can go on after a restart, releases held requests.
    pub async fn stop(self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.webrtc.stop().await;
        self.hls.stopped().await;
    }
}

/// Admission of those who come by RTMP, until the plane drains.
struct ClosingDoor {
    admission: Arc<dyn Admission>,
    draining: CancellationToken,
}

#[async_trait]
impl Admission for ClosingDoor {
    async fn admit_publisher(&self, request: PublishRequest) -> Result<PublishGrant, Refusal> {
        if self.draining.is_cancelled() {
            return Err(Refusal::Stopping);
        }
        self.admission.admit_publisher(request).await
    }

    async fn admit_viewer(&self, request: WatchRequest) -> Result<WatchGrant, Refusal> {
        self.admission.admit_viewer(request).await
    }
}

/// Where viewers are put out of a show, on whatever transport they watch.
struct Viewers {
    ejected: Ejected,
    hls: hls::Service,
    webrtc: webrtc::Ejector,
}

impl Viewers {
    async fn eject(&self, show: &BroadcastId, viewer: &ViewerId) {
        // Refused first and cut then: whoever comes in between is cut.
        self.ejected.put(show, viewer);
        self.hls.eject(show, viewer);
        self.webrtc.eject(show, viewer).await;
    }
}

async fn carry_out(mut orders: Orders, hub: Hub, archive: hls::Archive, viewers: Viewers, cancel: CancellationToken) {
    loop {
        let order = tokio::select! {
            () = cancel.cancelled() => return,
            order = orders.0.recv() => order,
        };
        match order {
            Some(Order::EndBroadcast { broadcast, reason }) => {
                hub.end(&broadcast, reason);
            }
            Some(Order::Mute { broadcast, muted }) => {
                if let Some(broadcast) = hub.get(&broadcast) {
                    broadcast.mute(muted);
                }
            }
            Some(Order::EjectViewer { broadcast, viewer }) => viewers.eject(&broadcast, &viewer).await,
            Some(Order::ReadmitViewer { broadcast, viewer }) => viewers.ejected.take_back(&broadcast, &viewer),
            Some(Order::SettleRecording { broadcast }) => archive.settle(broadcast),
            Some(Order::DeleteRecording { broadcast, parts }) => archive.delete(broadcast, parts),
            None => return,
        }
    }
}
