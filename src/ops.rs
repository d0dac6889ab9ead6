//! What operators ask: metrics, is it alive, is it ready. Served on a listener of its own, on loopback by default.

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use chobi_control::Control;
use chobi_media::store::StoreHealth;
use http::{StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether traffic should be sent here. Cleared when the drain begins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Clone)]
struct Ops {
    metrics: PrometheusHandle,
    readiness: Readiness,
    control: Arc<Control>,
    storage: StoreHealth,
}

pub(crate) fn router(
    metrics: PrometheusHandle,
    readiness: Readiness,
    control: Arc<Control>,
    storage: StoreHealth,
) -> Router {
    Router::new()
        .route("/metrics", get(render))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .fallback(crate::http::not_found)
        .with_state(Ops { metrics, readiness, control, storage })
}

async fn render(State(ops): State<Ops>) -> impl IntoResponse {
    ops.metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], ops.metrics.render())
}

async fn ready(State(ops): State<Ops>) -> (StatusCode, String) {
    if !ops.readiness.is_set() {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting or draining\n".to_owned());
    }
    match ops.control.readiness().await {
        // Shows go on without the disk and the bucket, so traffic should still come here.
        Ok(()) => (
            StatusCode::OK,
            match ops.storage.trouble() {
                None => "ready\n".to_owned(),
                Some(trouble) => format!("ready\ndegraded: {trouble}\n"),
            },
        ),
        Err(problem) => (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")),
    }
}
