//! Starts the workers and hands out the routes.

use super::config::WebrtcConfig;
use super::desk::{Desk, DeskParts};
use super::directory::Directory;
use super::inbox::{self, Command, Inbox};
use super::listen::Sockets;
use super::tcp;
use super::worker::{Parts, Worker};
use crate::ejected::Ejected;
use crate::hub::Hub;
use crate::model::{BroadcastId, ViewerId};
use crate::places::{PlaceLimits, Places};
use crate::rtc::dtls::{DtlsError, DtlsServer, Identity};
use crate::rtc::negotiate::{Candidate, CandidateKind};
use crate::seam::{Admission, EventSink};
use crate::signalling::{self, Doorkeeper, SignallingConfig};
use crate::whep::feed::Feeds;
use crate::whep::roster::Roster;
use axum::Router;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// WebRTC, running.
#[derive(Debug)]
pub struct Service {
    workers: Vec<Inbox>,
    threads: Vec<JoinHandle<()>>,
    tasks: TaskTracker,
    router: Router,
    broken: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(
        "cannot listen for WebRTC on {address} (UDP and TCP); is another server running? Choose another webrtc.listen (CHOBI_WEBRTC__LISTEN)"
    )]
    Bind { address: SocketAddr, source: io::Error },
    #[error(
        "webrtc.external_addresses names {outside}, but this machine has no IPv6 and WebRTC is reached by IPv4 only. Take it out, or turn IPv6 on"
    )]
    NoIpv6 { outside: IpAddr },
    #[error("the certificate for WebRTC cannot be read or made")]
    Certificate(#[from] DtlsError),
    #[error("a media thread cannot be started")]
    Thread(#[source] io::Error),
}

/// Cuts viewers off.
#[derive(Debug, Clone)]
pub struct Ejector {
    workers: Vec<Inbox>,
}

/// What the service works with.
#[derive(Clone)]
pub struct Surroundings {
    pub hub: Hub,
    pub admission: Arc<dyn Admission>,
    pub events: Arc<dyn EventSink>,
    pub ejected: Ejected,
    /// Nobody new is let in.
    pub draining: CancellationToken,
    pub cancel: CancellationToken,
}

/// Tells that its thread died of a panic.
struct Alarm(CancellationToken);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a media thread has panicked");
            self.0.cancel();
        }
    }
}

/// How often everyone who is present is told, to repair lost joins and leaves.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(10);

impl Service {
    /// Binds the port and starts a thread per worker.
    pub async fn start(config: WebrtcConfig, data_dir: &Path, around: Surroundings) -> Result<Self, ServiceError> {
        let identity = Identity::load_or_create(data_dir)?;
        let Sockets { address, udp, tcp } = Sockets::bind(&config)?;
        let (mut workers, mut receivers) = (Vec::new(), Vec::new());
        for _ in &udp {
            let (inbox, receiver) = inbox::channel().map_err(ServiceError::Thread)?;
            workers.push(inbox);
            receivers.push(receiver);
        }
        let (directory, doorkeeper, tasks) = (Directory::default(), Doorkeeper::default(), TaskTracker::new());
        let (mut threads, broken) = (Vec::new(), CancellationToken::new());
        for (index, (socket, inbox)) in udp.into_iter().zip(receivers).enumerate() {
            let parts = Parts {
                index: index as u8,
                socket,
                dtls: DtlsServer::new(&identity),
                inbox,
                workers: workers.clone(),
                directory: directory.clone(),
                doorkeeper: doorkeeper.clone(),
                ejected: around.ejected.clone(),
                silence_timeout: config.silence_timeout,
            };
            let named = std::thread::Builder::new().name(format!("media-{index}"));
            let alarm = Alarm(broken.clone());
            let run = move || {
                let _alarm = alarm;
                Worker::new(parts).run();
            };
            threads.push(named.spawn(run).map_err(ServiceError::Thread)?);
        }
        if let Some(listener) = tcp {
            tasks.spawn(tcp::run(
                listener,
                tcp::Limits::default(),
                workers.clone(),
                tasks.clone(),
                around.cancel.clone(),
            ));
        }
        let roster = Roster::default();
        tasks.spawn(tell_audience(roster.clone(), Arc::clone(&around.events), around.cancel.clone()));
        let desk = Desk::new(DeskParts {
            candidates: candidates(&config, address),
            fingerprint: identity.fingerprint_sha256(),
            feeds: Feeds::new(workers.clone(), tasks.clone(), around.cancel.clone()),
            workers: workers.clone(),
            directory,
            roster,
            max_peers: config.max_peers,
            // In all, there are no more than peers.
            connecting: Places::new(PlaceLimits {
                connections: usize::MAX,
                per_address: config.max_connecting_per_ip,
                handshakes: usize::MAX,
            }),
            audience: Places::new(PlaceLimits {
                connections: config.max_viewers(),
                per_address: config.max_viewers_per_ip,
                handshakes: usize::MAX,
            }),
            around,
        });
        let signalling = SignallingConfig { max_resources: config.max_peers, ice_servers: config.ice_servers };
        let router = signalling::router(Arc::new(desk), signalling, doorkeeper);
        Ok(Self { workers, threads, tasks, router, broken })
    }

    /// Cancelled when a media thread has died: its peers are gone, and new ones given to it would wait for ever.
    pub fn broken(&self) -> CancellationToken {
        self.broken.clone()
    }

    /// `/whip` and `/whep`.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// What cuts viewers off, for whoever carries out orders.
    pub fn ejector(&self) -> Ejector {
        Ejector { workers: self.workers.clone() }
    }

    /// Says goodbye to every peer and waits for the threads.
    pub async fn stop(self) {
        for worker in &self.workers {
            worker.send(Command::Stop).await;
        }
        self.tasks.close();
        self.tasks.wait().await;
        let joined = tokio::task::spawn_blocking(move || {
            for thread in self.threads {
                // A panic was told of when it happened.
                let _ = thread.join();
            }
        });
        let _ = joined.await;
    }
}

impl Ejector {
    /// A viewer who is among the [`Ejected`] now watches no more, neither the host nor the co-hosts.
    pub async fn eject(&self, show: &BroadcastId, viewer: &ViewerId) {
        for worker in &self.workers {
            worker.send(Command::Eject { show: show.clone(), viewer: viewer.clone() }).await;
        }
    }
}

fn candidates(config: &WebrtcConfig, bound: SocketAddr) -> Vec<Candidate> {
    let kinds: &[CandidateKind] =
        if config.tcp { &[CandidateKind::Udp, CandidateKind::TcpPassive] } else { &[CandidateKind::Udp] };
    let addresses = config.candidate_addresses(bound.ip());
    let candidate = |ip: &IpAddr, kind| Candidate { address: SocketAddr::new(*ip, bound.port()), kind };
    kinds.iter().flat_map(|kind| addresses.iter().map(|ip| candidate(ip, *kind))).collect()
}

async fn tell_audience(roster: Roster, events: Arc<dyn EventSink>, cancel: CancellationToken) {
    let mut snapshot = tokio::time::interval(SNAPSHOT_EVERY);
    loop {
        tokio::select! {
            _ = snapshot.tick() => roster.tell(&*events),
            () = cancel.cancelled() => return,
        }
    }
}
