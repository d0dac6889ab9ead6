//! Every wire, in start order: listeners bound, control built, media started, routers merged, then ready.

use crate::bridge::{Conductor, Gatekeeper, Reporter};
use crate::config::Config;
use crate::demo::{self, Demo};
use crate::http;
use crate::ops::{self, Readiness};
use crate::shutdown::DRAIN;
use crate::welcome::{DemoWelcome, Welcome};
use anyhow::Context;
use axum::Router;
use chobi_control::Control;
use chobi_control::config::{ControlConfig, PublicConfig};
use chobi_media::model::BroadcastId;
use chobi_media::seam::Handle;
use chobi_media::{Media, MediaConfig};
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

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
    public: (TcpListener, Router),
    operators: (TcpListener, Router),
    config: Config,
    urls: PublicConfig,
    demo: Option<Demo>,
    started: Instant,
}

impl App {
    pub async fn start(config: Config, mode: Mode, metrics: PrometheusHandle) -> anyhow::Result<Self> {
        let started = Instant::now();
        let server = &config.server;
        make_data_dir(&server.data_dir)?;
        let http_listener = bind("http.listen", server.http.listen).await?;
        let ops_listener = bind("ops.listen", server.ops.listen).await?;
        let urls = public_urls(&config, http_listener.local_addr()?);

        let (handle, orders) = Handle::channel();
        let control_config =
            ControlConfig { data_dir: server.data_dir.clone(), public: urls.clone(), ..config.control.clone() };
        let control = Control::build(control_config, Arc::new(Conductor(handle)))
            .await
            .context("the control plane cannot start")?;
        let control = Arc::new(control);
        let media_config = MediaConfig {
            data_dir: server.data_dir.clone(),
            rtmp: server.rtmp.clone(),
            hub: server.hub.clone(),
            hls: server.hls.clone(),
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
        let public = control.router().merge(media.router());
        let operators = ops::router(metrics, readiness.clone(), Arc::clone(&control));
        Ok(Self {
            control,
            media,
            readiness,
            public: (http_listener, public),
            operators: (ops_listener, operators),
            config,
            urls,
            demo,
            started,
        })
    }

    /// Serves until cancelled, then drains: no new work is taken, playlists stay resumable, sockets hear why.
    pub async fn run(self, cancel: CancellationToken) -> anyhow::Result<()> {
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
        let public = tokio::spawn(http::serve(self.public.0, self.public.1, http_config, cancel.clone(), DRAIN));
        if let Some(demo) = &self.demo {
            demo.run(&self.media, cancel.clone());
        }
        self.readiness.set(true);
        let welcome = Welcome {
            base_url: &self.urls.base_url,
            rtmp_url: &self.urls.rtmp_url,
            ops: ops_address,
            started_in: self.started.elapsed(),
            demo: self.demo.as_ref().map(|demo| DemoWelcome {
                clip_session: demo.clip_session(),
                own_session: demo.own_session(),
                own_key: demo.own_key(),
            }),
        };
        println!("{}", welcome.text());
        tracing::info!(http = %self.urls.base_url, rtmp = %self.urls.rtmp_url, ops = %ops_address, "ready");

        cancel.cancelled().await;
        self.readiness.set(false);
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
        tracing::info!("stopped");
        Ok(())
    }
}

fn make_data_dir(path: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(path).with_context(|| {
        format!("cannot make the data directory {}; set CHOBI_DATA_DIR to one you may write", path.display())
    })
}

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        let variable = key.to_ascii_uppercase().replace('.', "__");
        format!("cannot listen on {address}; is another server running? Choose another {key} (CHOBI_{variable})")
    })
}

/// The addresses others are told: as configured, or the listeners' own.
fn public_urls(config: &Config, http: SocketAddr) -> PublicConfig {
    let (mut urls, derived) = (config.control.public.clone(), config.derived);
    let host = |address: SocketAddr| match address.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    let authority = |address: SocketAddr| SocketAddr::new(host(address), address.port());
    if derived.base_url {
        urls.base_url = format!("http://{}", authority(http));
    }
    if derived.hls_url {
        urls.hls_url = format!("{}/hls", urls.base_url.trim_end_matches('/'));
    }
    if derived.rtmp_url {
        urls.rtmp_url = format!("rtmp://{}/live", authority(config.server.rtmp.listen));
    }
    urls
}
