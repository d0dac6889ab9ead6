//! Procedures with the names and inputs of those the transcripts were recorded against; their answers are placeholders.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use serde::{Serialize, Serializer};
use serde_json::Value as Json;
use tower::ServiceExt as _;

use crate::auth::{AccessTokens, TokenKey};
use crate::caller::{Caller, CallerReader, Language, SignedIn, UserIdentity};
use crate::clock::{Clock, Timestamp};
use crate::config::ApiConfig;
use crate::error::{Code, Error, Refusal, Text};
use crate::id::{LoginId, UserId};
use crate::secret::Secret;
use crate::trpc::value::Value;
use crate::trpc::{Api, Input, Issues, Namespace, Nullable, Output, Path, Table, Ts, choices, input, output};

/// An API of probes, and a user who may call it.
pub(super) struct Probe {
    router: Router,
    pub(super) token: Secret,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|fault| panic!("{fault}: {}", self.body))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Probe {
    pub(super) fn new(config: &ApiConfig) -> Self {
        let clock = Clock::system();
        let key = TokenKey::from_secret(&Secret::new("a secret that only this test knows"), clock.clone());
        let tokens = AccessTokens::new(key, Duration::from_secs(60));
        let user =
            UserIdentity { user_id: UserId::generate(), login_id: LoginId::generate(), language: Language::English };
        let (token, _) = tokens.issue(&user, clock.now()).unwrap();
        let api = Api::new(table(), CallerReader::new(tokens, Vec::new()), config);
        Self { router: api.router(), token }
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Reply {
        let mut request = request;
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status.as_u16(), headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(super) async fn post(&self, path: &str, body: impl Into<Body>) -> Reply {
        let request = Request::post(path).header("content-type", "application/json");
        self.send(request.body(body.into()).unwrap()).await
    }
}

pub(super) fn table() -> Table {
    Table::default()
        .with(probe_namespace())
        .with(
            Namespace::new("streaming", ())
                .mutation("createSession", async |(), _: SignedIn, _: CreateSession| Ok(DONE))
                .mutation("joinSession", join)
                .query("getActiveSessions", async |(), _: Caller, _: ActiveSessions| Ok(DONE))
                .mutation("endSession", end),
        )
        .with(
            Namespace::new("chat", ())
                .query("getMessages", async |(), _: Caller, _: GetMessages| Ok(DONE))
                .mutation("sendMessage", async |(), _: SignedIn, _: Any| Ok(DONE)),
        )
        .with(
            Namespace::new("gifts", ())
                .query("getAvailableGifts", async |(), _: Caller, (): ()| Ok(DONE))
                .mutation("sendGift", async |(), _: SignedIn, _: Any| Ok(DONE)),
        )
        .with(
            Namespace::new("users", ())
                .query("getProfile", async |(), _: Caller, _: GetProfile| Ok(DONE))
                .query("searchUsers", async |(), _: Caller, _: Any| Ok(DONE))
                .mutation("updateProfile", async |(), _: SignedIn, _: Any| Ok(DONE)),
        )
        .with(
            Namespace::new("notifications", ())
                .query("getNotifications", async |(), _: SignedIn, _: Any| Ok(DONE))
                .mutation("markAsRead", async |(), _: SignedIn, _: Any| Ok(DONE)),
        )
        .with(
            Namespace::new("pk", ())
                .query("getInvitations", async |(), _: Caller, (): ()| Ok(DONE))
                .query("getActiveChallenges", async |(), _: Caller, (): ()| Ok(DONE))
                .mutation("createChallenge", async |(), _: SignedIn, _: Any| Ok(DONE)),
        )
        .with(Namespace::new("example", ()).mutation("hi", async |(), _: Caller, _: Any| Ok(DONE)))
}

fn probe_namespace() -> Namespace<()> {
    Namespace::new("probe", ())
        .query("me", async |(), caller: SignedIn, (): ()| Ok(Me { user_id: caller.user_id.to_string() }))
        .mutation("voidMutation", async |(), _: Caller, (): ()| Ok(()))
        .query("voidQuery", async |(), _: Caller, (): ()| Ok(()))
        .query("nullQuery", async |(), _: Caller, (): ()| Ok(Nullable(None::<String>)))
        .query("dateQuery", async |(), _: Caller, (): ()| Ok(Timestamp::from_micros(1_767_323_045_678_000)))
        .query("stringQuery", async |(), _: Caller, (): ()| Ok("plain"))
        .mutation("echoAny", async |(), _: Caller, Any(value): Any| Ok(Echo { kind: value.kind(), value }))
        .query("optionalInput", async |(), _: Caller, _: Any| Ok(Got { got: Nullable(None) }))
        .query("fail", fail)
        .mutation("failMutation", fail)
        .query("failNoMessage", async |(), _: Caller, (): ()| {
            Err::<(), _>(Refusal::new(Code::Forbidden, "probe", Text::new("ممنوع", "FORBIDDEN")).into())
        })
        .query("failPlainError", async |(), _: Caller, (): ()| {
            Err::<(), _>(Error::Internal("the secret is hunter2".into()))
        })
        .query("failNonError", panicking)
        .query("never", async |(), _: Caller, (): ()| std::future::pending::<Result<(), Error>>().await)
}

async fn panicking((): (), _: Caller, (): ()) -> Result<(), Error> {
    panic!("the secret is hunter2")
}

async fn join((): (), _: Caller, input: JoinSession) -> Result<Done, Error> {
    match input.session_id.as_str() {
        "missing" => Err(Refusal::new(Code::NotFound, "probe", Text::new("", "No such session")).into()),
        _ => Ok(DONE),
    }
}

async fn end((): (), _: SignedIn, input: JoinSession) -> Result<Done, Error> {
    match input.session_id.as_str() {
        "not_mine" => Err(Refusal::new(Code::Forbidden, "probe", Text::new("", "Only the host may")).into()),
        _ => Ok(DONE),
    }
}

async fn fail((): (), _: Caller, input: Fail) -> Result<(), Error> {
    let code = CODES.iter().find(|code| code.name() == input.code).expect("a code of the table");
    Err(Error::Request { code: *code, message: format!("probe {}", input.code) })
}

const CODES: [Code; 20] = [
    Code::ParseError,
    Code::BadRequest,
    Code::Unauthorized,
    Code::PaymentRequired,
    Code::Forbidden,
    Code::NotFound,
    Code::MethodNotSupported,
    Code::Timeout,
    Code::Conflict,
    Code::PreconditionFailed,
    Code::PayloadTooLarge,
    Code::UnsupportedMediaType,
    Code::UnprocessableContent,
    Code::TooManyRequests,
    Code::ClientClosedRequest,
    Code::InternalServerError,
    Code::NotImplemented,
    Code::BadGateway,
    Code::ServiceUnavailable,
    Code::GatewayTimeout,
];

choices! {
    pub(super) enum Kind { Video = "video", Audio = "audio" }
}

input! {
    #[expect(dead_code, reason = "only what it refuses matters here")]
    struct CreateSession {
        title "title": String = text().min(1),
        kind "type": Kind = one_of(),
        description "description": Option<String> = text().optional(),
        max_viewers "maxViewers": Option<i64> = integer().optional(),
        scheduled_at "scheduledAt": Option<Timestamp> = date().optional(),
    }
}

input! {
    struct JoinSession {
        session_id "sessionId": String = text(),
    }
}

input! {
    #[expect(dead_code, reason = "only what it refuses matters here")]
    struct ActiveSessions {
        limit "limit": i64 = integer().min(1).max(50).or(20),
    }
}

input! {
    #[expect(dead_code, reason = "only what it refuses matters here")]
    struct GetMessages {
        session_id "sessionId": String = text(),
    }
}

input! {
    #[expect(dead_code, reason = "only what it refuses matters here")]
    struct GetProfile {
        user_id "userId": Option<String> = text().optional(),
    }
}

input! {
    struct Fail {
        code "code": String = text(),
    }
}

output! {
    struct Done {
        success "success": bool,
    }
}

const DONE: Done = Done { success: true };

output! {
    struct Me {
        user_id "userId": String,
    }
}

output! {
    struct Got {
        got "got": Nullable<String>,
    }
}

/// Whatever was sent.
struct Any(Value);

impl Input for Any {
    fn read(value: Value, _: &Path, _: &mut Issues) -> Option<Self> {
        Some(Self(value))
    }

    fn typescript() -> Ts {
        Ts::Plain("unknown")
    }
}

#[derive(serde::Serialize)]
struct Echo {
    kind: &'static str,
    value: Value,
}

impl Output for Echo {
    fn typescript() -> Ts {
        Ts::Plain("unknown")
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Undefined | Self::Null | Self::Foreign(_) | Self::Date(None) => serializer.serialize_none(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            #[expect(clippy::cast_possible_truncation, reason = "whole and small in these tests")]
            Self::Number(number) if number.fract() == 0.0 => serializer.serialize_i64(*number as i64),
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Date(Some(time)) => time.serialize(serializer),
            Self::Array(items) => items.serialize(serializer),
            Self::Object(members) => members.serialize(serializer),
        }
    }
}
