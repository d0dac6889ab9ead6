//! The accept loop: every connection gets a place and a task, or is closed.
//!
//! In: connections. Out: tasks that run `connection`. Driven by the media plane's start.

use super::RtmpConfig;
use super::connection::{self, Context};
use crate::hub::Hub;
use crate::listen::{self, canonical};
use crate::metrics;
use crate::model::PeerAddr;
use crate::places::{PlaceLimits, Places};
use crate::seam::{Admission, EventSink};
use crate::tls::Rtmps;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// The bound ports. Nothing is accepted before [`Listener::run`].
pub struct Listener {
    socket: TcpListener,
    /// RTMPS. Its connections take the same places.
    tls: Option<(TcpListener, TlsAcceptor)>,
    places: Arc<Places>,
    context: Arc<Context>,
    connections_made: u64,
    accept_pause: Duration,
}

/// After a failed accept (no file descriptors, mostly) the loop rests this long, doubling up to the maximum.
const ACCEPT_PAUSE_FIRST: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long connections may take to say goodbye when the server stops.
const DRAIN_MAX: Duration = Duration::from_secs(5);

impl Listener {
    /// Binds the port of `config`; the address says which it is where the configuration left it open.
    pub async fn bind(
        config: RtmpConfig,
        hub: Hub,
        admission: Arc<dyn Admission>,
        events: Arc<dyn EventSink>,
        cancel: CancellationToken,
    ) -> io::Result<(Self, SocketAddr)> {
        let socket = listen::tcp(config.listen)?;
        let address = socket.local_addr()?;
        let limits = PlaceLimits {
            connections: config.max_connections,
            per_address: config.max_connections_per_ip,
            handshakes: config.max_handshakes,
        };
        let context = Arc::new(Context { config, hub, admission, events, cancel });
        let places = Places::new(limits);
        Ok((
            Self { socket, tls: None, places, context, connections_made: 0, accept_pause: ACCEPT_PAUSE_FIRST },
            address,
        ))
    }

    /// Binds the port of RTMPS beside the plain one; answers which it is.
    pub async fn bind_tls(&mut self, rtmps: Rtmps) -> io::Result<SocketAddr> {
        let socket = listen::tcp(rtmps.listen)?;
        let address = socket.local_addr()?;
        self.tls = Some((socket, TlsAcceptor::from(rtmps.tls)));
        Ok(address)
    }

    /// Serves until cancelled; returns when all connections are closed, at the latest after [`DRAIN_MAX`].
    pub async fn run(mut self) {
        let cancel = self.context.cancel.clone();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => report_panic(ended),
                accepted = self.socket.accept() => match accepted {
                    Ok((socket, address)) => self.admit(&mut connections, socket, None, address),
                    Err(error) => self.rest_after(&error).await,
                },
                accepted = accept_tls(self.tls.as_ref()) => match accepted {
                    Ok((socket, acceptor, address)) => {
                        self.admit(&mut connections, socket, Some(acceptor), address);
                    }
                    Err(error) => self.rest_after(&error).await,
                },
            }
        }
        let drained = tokio::time::timeout(DRAIN_MAX, async {
            while let Some(ended) = connections.join_next().await {
                report_panic(ended);
            }
        });
        if drained.await.is_err() {
            tracing::warn!(connections = connections.len(), "RTMP connections did not close in time and were cut");
            connections.shutdown().await;
        }
    }

    fn admit(
        &mut self,
        connections: &mut JoinSet<()>,
        socket: TcpStream,
        tls: Option<TlsAcceptor>,
        address: SocketAddr,
    ) {
        self.accept_pause = ACCEPT_PAUSE_FIRST;
        let address = canonical(address);
        match self.places.take(address.ip()) {
            Ok(place) => {
                self.connections_made += 1;
                let arrival = connection::Arrived {
                    peer: PeerAddr(address),
                    id: self.connections_made,
                    context: Arc::clone(&self.context),
                    place,
                };
                match tls {
                    None => connections.spawn(connection::run(socket, arrival)),
                    Some(acceptor) => connections.spawn(connection::run_tls(socket, acceptor, arrival)),
                };
            }
            Err(none) => ::metrics::counter!(metrics::RTMP_CLOSED, "reason" => none.reason()).increment(1),
        }
    }

    async fn rest_after(&mut self, error: &io::Error) {
        // The peer gave up between its SYN and our accept.
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return;
        }
        tracing::warn!(%error, pause_ms = self.accept_pause.as_millis(), "RTMP connections cannot be accepted");
        tokio::time::sleep(self.accept_pause).await;
        self.accept_pause = (self.accept_pause * 2).min(ACCEPT_PAUSE_MAX);
    }
}

async fn accept_tls(tls: Option<&(TcpListener, TlsAcceptor)>) -> io::Result<(TcpStream, TlsAcceptor, SocketAddr)> {
    let Some((socket, acceptor)) = tls else { return pending().await };
    let (socket, address) = socket.accept().await?;
    Ok((socket, acceptor.clone(), address))
}

/// A panic ends one connection, never the listener.
fn report_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "an RTMP connection failed by a defect of ours");
    }
}
