//! A whole control plane without sockets: requests go straight into its router.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::ConnectInfo;
use chobi_control::Control;
use chobi_control::config::{ControlConfig, DatabaseConfig, Rate, RateLimits};
use chobi_control::id::{SessionId, UserId};
use chobi_control::ports::LivePlane;
use chobi_control::session::EndReason;
use chobi_control::testing::TestDatabase;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value as Json, json};
use tower::ServiceExt as _;

/// A control plane over a throwaway database.
pub(crate) struct Server {
    pub(crate) control: Control,
    /// Keeps the data directory for as long as the server.
    _database: Option<TestDatabase>,
}

/// What a procedure answered: the wrapped JSON, or the error inside its envelope.
pub(crate) type Answer = Result<Json, Json>;

/// A live plane that has nothing to end.
struct NoMedia;

#[async_trait]
impl LivePlane for NoMedia {
    async fn end_broadcast(&self, _: &SessionId, _: EndReason) {}

    async fn eject_viewer(&self, _: &SessionId, _: &str) {}
    async fn readmit_viewer(&self, _: &SessionId, _: &str) {}

    async fn end_co_host(&self, _: &SessionId, _: &UserId) {}

    async fn mute_co_host(&self, _: &SessionId, _: &UserId, _: bool) {}

    async fn settle_recording(&self, _: &SessionId) {}

    async fn delete_recording(&self, _: &SessionId, _: &[UserId]) {}
}

/// A response of the router.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|fault| panic!("{fault}: {}", self.body))
    }

    pub(crate) fn answer(&self) -> Answer {
        answer(&self.json())
    }
}

/// Opens one envelope.
pub(crate) fn answer(envelope: &Json) -> Answer {
    match envelope.pointer("/result/data/json") {
        Some(json) => Ok(json.clone()),
        None => Err(envelope.pointer("/error/json").unwrap_or_else(|| panic!("no envelope: {envelope}")).clone()),
    }
}

impl Server {
    /// With cheap hashing and without rate limits; both are proved elsewhere.
    pub(crate) async fn start(database: TestDatabase) -> Self {
        let free = Rate::per_second(100_000, 100_000);
        Self::with(database, |config| {
            config.api.limits = RateLimits {
                user_queries: free,
                user_mutations: free,
                anonymous: free,
                login_account: free,
                login_address: free,
                register_address: free,
                refresh_login: free,
            };
        })
        .await
    }

    pub(crate) async fn with(database: TestDatabase, adjust: impl FnOnce(&mut ControlConfig)) -> Self {
        let mut config = ControlConfig { data_dir: database.data_dir().to_owned(), ..ControlConfig::default() };
        config.database = database.config().clone();
        adjust(&mut config);
        Self { control: build(config).await, _database: Some(database) }
    }

    /// A second life on the same data.
    pub(crate) async fn reopen(database: &DatabaseConfig, data_dir: &Path) -> Self {
        let mut config = ControlConfig { data_dir: data_dir.to_owned(), ..ControlConfig::default() };
        config.database = database.clone();
        Self { control: build(config).await, _database: None }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let mut request = request;
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))));
        let response = self.control.router().oneshot(request).await.expect("the router answers");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the body ends").to_bytes();
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).expect("text"),
        }
    }

    /// A query with a plain JSON input.
    pub(crate) async fn query(&self, path: &str, input: Json, token: Option<&str>) -> Reply {
        let input = json!({"json": input}).to_string();
        let input: String = form_urlencoded::byte_serialize(input.as_bytes()).collect();
        self.send(request("GET", &format!("{path}?input={input}"), token).body(Body::empty()).expect("a request")).await
    }

    /// A mutation with a plain JSON input.
    pub(crate) async fn mutate(&self, path: &str, input: Json, token: Option<&str>) -> Reply {
        let request = request("POST", path, token).header("content-type", "application/json");
        self.send(request.body(Body::from(json!({"json": input}).to_string())).expect("a request")).await
    }

    /// A new user; their access token and everything registration answered.
    pub(crate) async fn user(&self, name: &str) -> (String, Json) {
        let answer = self.mutate("auth.register", registration(name), None).await.answer().expect("a new user");
        (answer["accessToken"].as_str().expect("a token").to_owned(), answer)
    }
}

/// With the cheapest hashing the configuration allows.
async fn build(mut config: ControlConfig) -> Control {
    (config.auth.argon2_memory_kib, config.auth.argon2_passes) = (8192, 1);
    assert_eq!(config.faults(), []);
    Control::build(config, Arc::new(NoMedia)).await.expect("the control plane starts")
}

pub(crate) fn registration(name: &str) -> Json {
    json!({"name": name, "username": format!("@{name}"), "email": format!("{name}@example.com"), "password": "correct horse"})
}

fn request(method: &str, path: &str, token: Option<&str>) -> http::request::Builder {
    let request = Request::builder().method(method).uri(format!("/api/trpc/{path}")).header("accept-language", "en");
    match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    }
}
