//! The mount point: HTTP requests in, tRPC envelopes out.
//!
//! In: any request below `/api/trpc` (alias `/trpc`). Out: always an envelope of ours, whatever went wrong: a client that
//! meets anything else reports "Unable to transform response" and the user learns nothing. Driven by axum.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use futures_util::{FutureExt as _, stream};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_HEADERS, ALLOW, CONTENT_TYPE, RETRY_AFTER, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

use super::dispatch::{Call, Dispatcher};
use super::envelope::{Failure, Outcome, respond};
use super::jsonl;
use super::request::{Calls, Inputs, Query};
use super::table::{Kind, Table};
use crate::caller::CallerReader;
use crate::config::ApiConfig;
use crate::error::Code;

/// The table of procedures behind HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    dispatcher: Dispatcher,
    callers: CallerReader,
    body_max_bytes: usize,
    batch_max: usize,
    request_timeout: Duration,
}

impl Api {
    pub(crate) fn new(table: Table, callers: CallerReader, config: &ApiConfig) -> Self {
        Self {
            dispatcher: Dispatcher::new(table, config),
            callers,
            body_max_bytes: config.body_max_bytes,
            batch_max: config.batch_max,
            request_timeout: config.request_timeout,
        }
    }

    /// Routes for `/api`, `/api/trpc/…` and `/trpc/…`.
    pub(crate) fn router(self) -> Router {
        let handler = any(handle);
        let mut router = Router::new().route("/api", get(health));
        for mount in MOUNTS {
            router = router
                .route(mount, handler.clone())
                .route(&format!("{mount}/"), handler.clone())
                .route(&format!("{mount}/{{*path}}"), handler.clone());
        }
        router.with_state(Arc::new(self))
    }

    async fn answer(&self, request: Request) -> Response {
        let deadline = Instant::now() + self.request_timeout;
        let (parts, body) = request.into_parts();
        let method = &parts.method;
        if method == Method::HEAD {
            return StatusCode::NO_CONTENT.into_response();
        }
        let path = parts.uri.path();
        let tail = MOUNTS.iter().find_map(|mount| path.strip_prefix(mount)).unwrap_or_default();
        let tail = tail.strip_prefix('/').unwrap_or(tail);
        let query = Query::of(&parts.uri);
        let calls = match Calls::parse(method, tail, &query, &parts.headers, self.batch_max) {
            Ok(calls) => calls,
            Err(failure) => return refuse(&failure),
        };
        if let Some(failure) = self.dispatcher.refuse_mixture(&calls.paths) {
            return refuse(&failure);
        }
        let body = match timeout_at(deadline, self.read_body(method, body)).await {
            Ok(Ok(body)) => body,
            Ok(Err(code)) => return refuse_each(&calls, code),
            Err(_elapsed) => return refuse_each(&calls, Code::Timeout),
        };
        let inputs = Inputs::parse(method, &parts.headers, &query, &body);
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
        let caller = self.callers.read(&parts.headers, peer);
        let each = calls.paths.into_iter().enumerate().map(|(index, path)| {
            let (caller, inputs, method) = (caller.clone(), inputs.clone(), method.clone());
            let dispatcher = self.dispatcher.clone();
            let user = caller.user_id().map(ToString::to_string).unwrap_or_default();
            let span = tracing::debug_span!("rpc", procedure = path, user.id = user);
            async move { dispatcher.run(Call { path, method, caller, inputs, index, deadline }).await }.instrument(span)
        });
        if calls.streamed {
            let running = each.enumerate().map(|(index, call)| call.map(move |outcome| (index, outcome)));
            return stream_lines(running.collect::<FuturesUnordered<_>>());
        }
        let outcomes = join_all(each).await;
        let (status, body) = respond(&outcomes, calls.batch);
        let mut response = json_response(status, body);
        announce(&outcomes, response.headers_mut());
        if let [only] = outcomes.as_slice() {
            self.allow(only, response.headers_mut());
        }
        response
    }

    /// Nothing for GET; otherwise all of it, within the limit.
    async fn read_body(&self, method: &Method, body: Body) -> Result<Bytes, Code> {
        if method == Method::GET {
            return Ok(Bytes::new());
        }
        match Limited::new(body, self.body_max_bytes).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Code::PayloadTooLarge),
            Err(_) => Err(Code::ClientClosedRequest),
        }
    }

    /// The `allow` header of a 405.
    fn allow(&self, outcome: &Outcome, headers: &mut HeaderMap) {
        let wrong_method = outcome.failure().filter(|failure| failure.code == Code::MethodNotSupported);
        let path = wrong_method.and_then(|failure| failure.path.as_deref());
        if let Some(procedure) = path.and_then(|path| self.dispatcher.table().find(path)) {
            let method = match procedure.kind {
                Kind::Query => "GET",
                Kind::Mutation => "POST",
            };
            headers.insert(ALLOW, HeaderValue::from_static(method));
        }
    }
}

const MOUNTS: [&str; 2] = ["/api/trpc", "/trpc"];

/// The health answer the app's backend has always given.
async fn health() -> Response {
    let mut response = Json(serde_json::json!({"status": "ok", "message": "API is running"})).into_response();
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return preflight(request.headers());
    }
    let answer = AssertUnwindSafe(api.answer(request)).catch_unwind();
    let mut response = answer.await.unwrap_or_else(|_panic| {
        tracing::error!("a request ended in a panic");
        refuse(&Failure::of_request(Code::InternalServerError, "Something went wrong on our side"))
    });
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(VARY, HeaderValue::from_static("trpc-accept, accept"));
    response
}

fn preflight(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,HEAD,PUT,POST,DELETE,PATCH"));
    if let Some(wanted) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        headers.insert(VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    }
    response
}

/// One failure for the whole request, as a single object even for a batch.
fn refuse(failure: &Failure) -> Response {
    let outcome = [Outcome::Failure(failure.clone())];
    let (status, body) = respond(&outcome, false);
    json_response(status, body)
}

/// The body could not be read: every call learns it, with its own path.
fn refuse_each(calls: &Calls, code: Code) -> Response {
    let failure = |path: &String| Failure { path: Some(path.clone()), ..Failure::of_request(code, code.name()) };
    let outcomes: Vec<_> = calls.paths.iter().map(|path| Outcome::Failure(failure(path))).collect();
    let (status, body) = respond(&outcomes, calls.batch);
    json_response(status, body)
}

fn json_response(status: u16, body: impl Into<Body>) -> Response {
    let status = StatusCode::from_u16(status).expect("every status in the table is valid");
    (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body.into()).into_response()
}

/// `retry-after`, in whole seconds, from whichever call has to wait longest.
fn announce(outcomes: &[Outcome], headers: &mut HeaderMap) {
    let waits = outcomes.iter().filter_map(Outcome::failure).filter_map(|failure| failure.retry_after);
    if let Some(longest) = waits.max() {
        headers.insert(RETRY_AFTER, HeaderValue::from(longest.as_millis().div_ceil(1000).max(1) as u64));
    }
}

/// Answers as lines, each as soon as its call is done. All of them are over by the request's deadline.
fn stream_lines<F>(running: FuturesUnordered<F>) -> Response
where
    F: Future<Output = (usize, Outcome)> + Send + 'static,
{
    let head = jsonl::head(running.len());
    let lines = running.map(|(index, outcome)| jsonl::line(index, &outcome));
    let all = stream::once(async move { head }).chain(lines).map(Ok::<_, Infallible>);
    json_response(200, Body::from_stream(all))
}
