//! Every wire, in start order: listeners bound, control built, media started, routers merged, then ready.

use crate::bridge::{Conductor, Gatekeeper, Reporter};
use crate::config::{Config, ServerConfig};
use crate::demo::{self, Demo};
use crate::http::{self, Listeners};
use crate::open_files;
use crate::ops::{self, Readiness};
use crate::shutdown::DRAIN;
use crate::tls::{self, Certificates};
use crate::welcome::{DemoWelcome, TlsWelcome, Welcome};
use anyhow::Context;
use axum::Router;
use chobi_control::Control;
use chobi_control::config::{ControlConfig, PublicConfig, RecordingConfig};
use chobi_media::listen;
use chobi_media::model::BroadcastId;
use chobi_media::seam::Handle;
use chobi_media::tls::Rtmps;
use chobi_media::{Media, MediaConfig};
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// HTTPS addresses shown at start. More would hide the rest.
const HTTPS_URLS_MAX: usize = 3;
/// Beside the connections: segments, the database, the bucket.
const OTHER_FILES: u64 = 1_000;

/// What beside serving the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Plain,
    /// A demo host and a looping clip.
    Demo,
}

/// A server that accepts connections.
pub struct App {
    control: Arc<Control>,
    media: Media,
    readiness: Readiness,
    public: (Listeners, Router),
    operators: (TcpListener, Router),
    config: Config,
    urls: PublicConfig,
    tls: Option<(Certificates, TlsWelcome)>,
    demo: Option<Demo>,
    started: Instant,
}

impl App {
    pub async fn start(config: Config, mode: Mode, metrics: PrometheusHandle) -> anyhow::Result<Self> {
        let started = Instant::now();
        let server = &config.server;
        allow_files(server);
        make_data_dir(&server.data_dir)?;
        let http_listener = bind("http.listen", server.http.listen)?;
        let ops_listener = bind("ops.listen", server.ops.listen)?;
        let urls = public_urls(&config, http_listener.local_addr()?);
        let certificates = Certificates::open(&server.tls, &server.data_dir, SystemTime::now())
            .context("HTTPS and RTMPS cannot be served")?;
        let (mut listeners, mut rtmps, mut tls) = (Listeners::from(http_listener), None, None);
        listeners.proxies.clone_from(&config.control.api.trusted_proxies);
        if let Some(certificates) = certificates {
            let listener = bind("tls.http_listen", server.tls.http_listen)?;
            let welcome = TlsWelcome {
                https_urls: https_urls(listener.local_addr()?, certificates.is_self_signed()),
                rtmps_url: format!("rtmps://{}/{}", authority(server.tls.rtmp_listen), server.rtmp.app),
                self_signed: certificates.is_self_signed().then(|| certificates.fingerprint().to_owned()),
            };
            listeners.tls = Some((listener, TlsAcceptor::from(certificates.for_http()?)));
            rtmps = Some(Rtmps { listen: server.tls.rtmp_listen, tls: certificates.for_rtmp()? });
            tls = Some((certificates, welcome));
        }

        let (handle, orders) = Handle::channel();
        let recording = RecordingConfig { rewind_window: server.hls.dvr_window, ..config.control.recording };
        let control_config = ControlConfig {
            data_dir: server.data_dir.clone(),
            public: urls.clone(),
            recording,
            ..config.control.clone()
        };
        let control = Control::build(control_config, Arc::new(Conductor(handle)))
            .await
            .context("the control plane cannot start")?;
        let control = Arc::new(control);
        let media_config = MediaConfig {
            data_dir: server.data_dir.clone(),
            rtmp: server.rtmp.clone(),
            rtmps,
            hub: server.hub.clone(),
            hls: server.hls.clone(),
            storage: server.storage.clone(),
            webrtc: server.webrtc.clone(),
        };
        let gatekeeper = Arc::new(Gatekeeper(control.admission()));
        let reporter = Arc::new(Reporter(control.ingress()));
        let media =
            Media::start(media_config, gatekeeper, reporter, orders).await.context("the media plane cannot start")?;
        for session in control.resumable_sessions().await {
            if let Ok(broadcast) = BroadcastId::parse(session.as_str()) {
                media.expect(broadcast).await;
            }
        }
        let demo = match mode {
            Mode::Plain => None,
            Mode::Demo => Some(demo::prepare(&control).await.context("the demo cannot start")?),
        };
        let readiness = Readiness::default();
        // The pages answer what no route takes.
        let media_routes = http::client::behind_proxies(&config.control.api, media.router());
        let public = control.router().merge(media_routes);
        let operators = ops::router(metrics, readiness.clone(), Arc::clone(&control), media.storage_health());
        Ok(Self {
            control,
            media,
            readiness,
            public: (listeners, public),
            operators: (ops_listener, operators),
            config,
            urls,
            tls,
            demo,
            started,
        })
    }

    /// Serves until cancelled, then says so for a moment while all goes on, then drains: no new work is taken,
    /// playlists stay resumable, sockets hear why.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let cancel = CancellationToken::new();
        let ops_cancel = CancellationToken::new();
        let ops_address = self.operators.0.local_addr()?;
        let http_config = self.config.server.http.clone();
        let operators = tokio::spawn(http::serve(
            self.operators.0,
            self.operators.1,
            http_config.clone(),
            ops_cancel.clone(),
            DRAIN,
        ));
        let drain_delay = http_config.drain_delay;
        let public = tokio::spawn(http::serve(self.public.0, self.public.1, http_config, cancel.clone(), DRAIN));
        let tls = self.tls.map(|(certificates, welcome)| {
            tokio::spawn(certificates.watch(cancel.clone()));
            welcome
        });
        if let Some(demo) = &self.demo {
            demo.run(&self.media, cancel.clone());
        }
        self.readiness.set(true);
        let welcome = Welcome {
            base_url: &self.urls.base_url,
            rtmp_url: &self.urls.rtmp_url,
            ops: ops_address,
            started_in: self.started.elapsed(),
            tls: tls.as_ref(),
            demo: self.demo.as_ref().map(|demo| DemoWelcome {
                clip_session: demo.clip_session(),
                own_session: demo.own_session(),
                own_key: demo.own_key(),
            }),
        };
        println!("{}", welcome.text());
        tracing::info!(http = %self.urls.base_url, rtmp = %self.urls.rtmp_url, ops = %ops_address, "ready");

        let broken = tokio::select! {
            () = stop.cancelled() => false,
            () = self.media.broken() => true,
        };
        self.readiness.set(false);
        self.media.drain();
        if !broken {
            tokio::time::sleep(drain_delay).await;
        }
        cancel.cancel();
        // Media first lets go of its publishers and releases held playlist requests; then sockets can close at once.
        let drained = tokio::time::timeout(DRAIN, async {
            self.media.stop().await;
            self.control.shutdown(DRAIN).await;
            public.await
        });
        match drained.await {
            Ok(served) => served.context("the HTTP listener failed")?,
            Err(_elapsed) => tracing::warn!("the drain took longer than {DRAIN:?}; what was left is cut"),
        }
        ops_cancel.cancel();
        operators.await.context("the ops listener failed")?;
        anyhow::ensure!(
            !broken,
            "a media thread died; the log says why. Start the server again: shows go on where they were"
        );
        tracing::info!("stopped");
        Ok(())
    }
}

fn make_data_dir(path: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(path).with_context(|| {
        format!("cannot make the data directory {}; set CHOBI_DATA_DIR to one you may write", path.display())
    })
}

fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    listen::tcp(address).with_context(|| {
        let variable = key.to_ascii_uppercase().replace('.', "__");
        format!("cannot listen on {address}; is another server running? Choose another {key} (CHOBI_{variable})")
    })
}

/// An address as a client on this machine would write it.
fn authority(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if ip.is_unspecified() => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()),
        _ => address,
    }
}

/// Where HTTPS answers. The self-signed certificate holds this machine's addresses on the LAN too; which names one from
/// a file holds, its owner knows.
fn https_urls(listen: SocketAddr, self_signed: bool) -> Vec<String> {
    let mut addresses = vec![authority(listen)];
    if self_signed && listen.ip().is_unspecified() {
        let reachable = |ip: &IpAddr| ip.is_ipv4() || listen.is_ipv6();
        addresses
            .extend(tls::lan_addresses().into_iter().filter(reachable).map(|ip| SocketAddr::new(ip, listen.port())));
    }
    addresses.truncate(HTTPS_URLS_MAX);
    addresses.iter().map(|address| format!("https://{address}")).collect()
}

/// Every connection is an open file. Fewer than are configured serve fewer, and that is said before they are needed.
fn allow_files(server: &ServerConfig) {
    let wanted =
        (server.http.max_connections + server.rtmp.max_connections + server.webrtc.max_peers) as u64 + OTHER_FILES;
    match open_files::allow(wanted) {
        Ok(allowed) if allowed >= wanted => {}
        Ok(allowed) => tracing::warn!(
            allowed,
            wanted,
            "fewer files may be open than the configured connections need; raise the limit (ulimit -n, LimitNOFILE= of systemd)"
        ),
        Err(error) => tracing::warn!(%error, wanted, "the limit of open files cannot be raised"),
    }
}

/// The addresses others are told: as configured, or the listeners' own.
fn public_urls(config: &Config, http: SocketAddr) -> PublicConfig {
    let (mut urls, derived) = (config.control.public.clone(), config.derived);
    if derived.base_url {
        urls.base_url = format!("http://{}", authority(http));
    }
    if derived.hls_url {
        urls.hls_url = format!("{}/hls", urls.base_url.trim_end_matches('/'));
    }
    if derived.rtmp_url {
        urls.rtmp_url = format!("rtmp://{}/{}", authority(config.server.rtmp.listen), config.server.rtmp.app);
    }
    urls
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, load};

    #[test]
    fn encoders_are_told_the_application_that_is_served() {
        let environment = [("CHOBI_RTMP__APP".to_owned(), "tv".to_owned())];
        let config = load(None, &environment, Flags::default()).unwrap().config;
        let urls = public_urls(&config, SocketAddr::from(([127, 0, 0, 1], 3000)));
        assert!(urls.rtmp_url.ends_with(":1935/tv"), "{}", urls.rtmp_url);
    }
}
