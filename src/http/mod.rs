//! The HTTP accept loop: one connection, one task, with the limits that `axum::serve` does not set.
//!
//! In: bound listeners, plain and TLS, and a router. Out: HTTP/1.1 and HTTP/2 connections served until cancelled, then
//! drained; in plain text HTTP/2 begins with its preface, over TLS it is agreed on by ALPN. Every limit is a field of
//! [`HttpConfig`] and counts both listeners together; what exceeds one is closed and counted, nobody else notices.

mod accept;
pub(crate) mod client;

use accept::{Accept, Plain};
use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::IntoResponse;
use chobi_media::listen::{canonical, network};
use chobi_media::tls::handshake_failure;
use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// The public HTTP listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Address and port of everything public: pages, API, WebSocket, HLS.
    pub listen: SocketAddr,
    /// Connections at one time. Beyond it new ones are closed at once. Each costs a socket and about 20 KiB.
    pub max_connections: usize,
    /// Connections at one time from one address; `api.trusted_proxies` have no such limit.
    pub max_connections_per_ip: usize,
    /// How long a client may take for the TLS handshake, then to send a request's head, and how long a kept-alive
    /// connection may idle.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// Bytes of a request's head, all headers together. Below 8 KiB is not possible.
    pub max_header_bytes: usize,
    /// Requests at one time on one HTTP/2 connection. A browser watching needs about ten.
    pub max_http2_requests: u32,
    /// After the signal to stop: how long connections are still taken while `/readyz` and new publishers and viewers by
    /// WebRTC are answered 503, so that whoever spreads the load looks elsewhere first.
    #[serde(with = "humantime_serde")]
    pub drain_delay: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 3000)),
            max_connections: 20_000,
            max_connections_per_ip: 2_000,
            header_timeout: Duration::from_secs(10),
            max_header_bytes: 16 * 1024,
            max_http2_requests: 128,
            drain_delay: Duration::from_secs(2),
        }
    }
}

/// Whoever spreads the load looks every few seconds; a longer stop is no stop.
const DRAIN_DELAY_MAX: Duration = Duration::from_secs(60);
/// Connections closed by a limit, by `reason`.
const CLOSED: &str = "chobi_http_connections_closed_total";
/// Connections open now.
const OPEN: &str = "chobi_http_connections";
/// After a failed accept (no file descriptors left), wait for connections to close before the next try.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

impl HttpConfig {
    /// What is wrong with it beside what cannot be parsed: the key's last part, the problem, the mend.
    pub(crate) fn problem(&self) -> Option<(&'static str, String, &'static str)> {
        let is_long = self.drain_delay > DRAIN_DELAY_MAX;
        let problem = || format!("{:?} is longer than {DRAIN_DELAY_MAX:?}", self.drain_delay);
        is_long.then(|| ("http.drain_delay", problem(), "use 2s; 0s closes the listeners at once"))
    }
}

/// Where connections come from. All share one set of limits.
pub(crate) struct Listeners {
    pub(crate) plain: TcpListener,
    pub(crate) tls: Option<(TcpListener, TlsAcceptor)>,
    /// Their connections are many people's: one address's share is not for them.
    pub(crate) proxies: Vec<IpNet>,
}

impl From<TcpListener> for Listeners {
    fn from(plain: TcpListener) -> Self {
        Self { plain, tls: None, proxies: Vec::new() }
    }
}

/// Serves until `cancel`, then lets requests in progress finish for at most `drain`.
pub(crate) async fn serve(
    listeners: impl Into<Listeners>,
    router: Router,
    config: HttpConfig,
    cancel: CancellationToken,
    drain: Duration,
) {
    let Listeners { plain, tls, proxies } = listeners.into();
    let server = Arc::new(Server {
        proxies,
        slots: Arc::new(Semaphore::new(config.max_connections)),
        per_ip: Mutex::default(),
        config,
        router,
        cancel,
        tasks: TaskTracker::new(),
    });
    let encrypted = async {
        if let Some((listener, acceptor)) = tls {
            server.accept_from(listener, acceptor).await;
        }
    };
    tokio::join!(server.accept_from(plain, Plain), encrypted);
    let tasks = &server.tasks;
    tasks.close();
    if tokio::time::timeout(drain, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "HTTP connections still open at the end of the drain");
    }
}

struct Server {
    config: HttpConfig,
    proxies: Vec<IpNet>,
    router: Router,
    slots: Arc<Semaphore>,
    per_ip: Mutex<HashMap<IpAddr, usize>>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Accepts until cancelled, then nobody listens there any more.
    async fn accept_from<A: Accept>(self: &Arc<Self>, listener: TcpListener, acceptor: A) {
        loop {
            let accepted = tokio::select! {
                () = self.cancel.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => {
                    // On a listener for both versions an IPv4 client comes by a mapped address.
                    let peer = canonical(peer);
                    self.tasks.spawn(Arc::clone(self).connection(socket, acceptor.clone(), peer));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept HTTP connections");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    async fn connection<A: Accept>(self: Arc<Self>, socket: TcpStream, acceptor: A, peer: SocketAddr) {
        let Ok(_slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            return refuse("too_many");
        };
        let is_proxy = self.proxies.iter().any(|network| network.contains(&peer.ip()));
        let place = if is_proxy { None } else { Place::take(Arc::clone(&self), peer.ip()) };
        if place.is_none() && !is_proxy {
            return refuse("too_many_from_address");
        }
        let _open = OpenGuard::new();
        // A socket that cannot be set up is already broken; serving it will say so.
        let _ = socket.set_nodelay(true);
        if let Some(stream) = self.shake_hands(socket, acceptor).await {
            self.exchange(stream, peer).await;
        }
    }

    /// `None` when the client broke it off, took too long, or the server stops.
    async fn shake_hands<A: Accept>(&self, socket: TcpStream, acceptor: A) -> Option<A::Stream> {
        let accepted = tokio::select! {
            biased;
            accepted = tokio::time::timeout(self.config.header_timeout, acceptor.accept(socket)) => accepted,
            () = self.cancel.cancelled() => return None,
        };
        match accepted {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                refuse(handshake_failure(&error));
                tracing::debug!(%error, "TLS handshake failed");
                None
            }
            Err(_elapsed) => {
                refuse("tls_slow");
                None
            }
        }
    }

    async fn exchange(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: SocketAddr) {
        let met = Arc::new(AtomicBool::new(false));
        let service = {
            let (router, met) = (self.router.clone(), Arc::clone(&met));
            hyper::service::service_fn(move |request: Request<Incoming>| {
                met.store(true, Ordering::Relaxed);
                let mut request = request.map(axum::body::Body::new);
                request.extensions_mut().insert(ConnectInfo(peer));
                router.clone().oneshot(request)
            })
        };
        let builder = self.builder();
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // Until a first request has arrived whole, this deadline also covers what hyper does not time: the bytes that
        // tell HTTP/1 from HTTP/2.
        let first_request = tokio::time::sleep(self.config.header_timeout);
        tokio::pin!(first_request);
        let (mut waiting, mut draining) = (true, false);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        // hyper's own deadline may come a moment before ours.
                        if !met.load(Ordering::Relaxed) && is_timeout(&*error) {
                            refuse("slow_head");
                        }
                        tracing::debug!(%error, "HTTP connection ended badly");
                    }
                    return;
                }
                () = &mut first_request, if waiting => {
                    if !met.load(Ordering::Relaxed) {
                        return refuse("slow_head");
                    }
                    waiting = false;
                }
                () = self.cancel.cancelled(), if !draining => {
                    connection.as_mut().graceful_shutdown();
                    draining = true;
                }
            }
        }
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let config = &self.config;
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(config.header_timeout)
            .max_buf_size(config.max_header_bytes.max(8 * 1024))
            .max_headers(64);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(config.max_http2_requests)
            .max_header_list_size(u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(32)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(config.header_timeout);
        builder
    }
}

fn is_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout)
}

fn refuse(reason: &'static str) {
    ::metrics::counter!(CLOSED, "reason" => reason).increment(1);
}

/// One of an address's places, given back when dropped.
struct Place {
    server: Arc<Server>,
    /// As it counts.
    ip: IpAddr,
}

impl Place {
    fn take(server: Arc<Server>, ip: IpAddr) -> Option<Self> {
        let ip = network(ip);
        {
            let mut per_ip = server.per_ip.lock().expect("counting does not panic");
            let count = per_ip.entry(ip).or_default();
            if *count >= server.config.max_connections_per_ip {
                return None;
            }
            *count += 1;
        }
        Some(Self { server, ip })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut per_ip = self.server.per_ip.lock().expect("counting does not panic");
        if let Some(count) = per_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                per_ip.remove(&self.ip);
            }
        }
    }
}

struct OpenGuard;

impl OpenGuard {
    fn new() -> Self {
        ::metrics::gauge!(OPEN).increment(1.0);
        Self
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        ::metrics::gauge!(OPEN).decrement(1.0);
    }
}

/// The answer to what no route takes.
pub(crate) async fn not_found() -> impl IntoResponse {
    let headers = [(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))];
    (StatusCode::NOT_FOUND, headers, "nothing here\n")
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
