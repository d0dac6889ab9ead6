//! The whole control plane behind a real listener, for stories told over HTTP and WebSocket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::{SinkExt, StreamExt};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tower::ServiceExt;

use super::TestDatabase;
use super::stage::{NotedOrders, add_user};
use crate::Control;
use crate::auth::{AccessTokens, TokenKey};
use crate::caller::{SignedIn, UserIdentity};
use crate::clock::Clock;
use crate::config::ControlConfig;
use crate::ports::LivePlane;
use crate::secret::Secret;

/// How long anything a story waits for may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// A running control plane.
pub(crate) struct Served {
    pub(crate) control: Control,
    pub(crate) plane: Arc<NotedOrders>,
    pub(crate) address: SocketAddr,
    tokens: AccessTokens,
    db: TestDatabase,
}

/// Somebody with an account and an access token.
pub(crate) struct Person {
    pub(crate) user: SignedIn,
    pub(crate) token: Secret,
}

impl Served {
    pub(crate) async fn on(db: TestDatabase) -> Self {
        Self::with(db, |_| {}).await
    }

    /// With settings of the story's own.
    pub(crate) async fn with(db: TestDatabase, adjust: impl FnOnce(&mut ControlConfig)) -> Self {
        let secret = Secret::new("a secret of thirty-two characters");
        let mut config = ControlConfig { data_dir: db.data_dir().to_owned(), ..ControlConfig::default() };
        config.database = db.config().clone();
        config.auth.jwt_secret = secret.clone();
        adjust(&mut config);
        assert_eq!(config.faults(), []);
        let plane = Arc::new(NotedOrders::default());
        let tokens = AccessTokens::new(TokenKey::from_secret(&secret, Clock::system()), LIMIT * 60);
        let control = Control::build(config, Arc::clone(&plane) as Arc<dyn LivePlane>).await.expect("it starts");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let service = control.router().into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self { control, plane, address, tokens, db }
    }

    /// The same data under a new server, after an orderly stop.
    pub(crate) async fn restart(self) -> Self {
        self.control.shutdown(LIMIT).await;
        Self::on(self.db).await
    }

    pub(crate) async fn person(&self, name: &str) -> Person {
        let user = add_user(&self.db, name).await;
        let SignedIn { user_id, login_id, language, .. } = user.clone();
        let identity = UserIdentity { user_id, login_id, language };
        let (token, _) = self.tokens.issue(&identity, Clock::system().now()).expect("a token");
        Person { user, token }
    }

    /// Calls a mutation; the answer's `json`, or the error's.
    pub(crate) async fn mutate(&self, by: Option<&Person>, path: &str, input: Value) -> (StatusCode, Value) {
        let body = Body::from(json!({ "json": input }).to_string());
        let request = Request::post(format!("/api/trpc/{path}")).header(header::CONTENT_TYPE, "application/json");
        self.call(by, request, body).await
    }

    /// Calls a query.
    pub(crate) async fn query(&self, by: Option<&Person>, path: &str, input: Value) -> (StatusCode, Value) {
        let input: String = json!({ "json": input }).to_string().bytes().map(|byte| format!("%{byte:02x}")).collect();
        self.call(by, Request::get(format!("/api/trpc/{path}?input={input}")), Body::empty()).await
    }

    async fn call(&self, by: Option<&Person>, request: http::request::Builder, body: Body) -> (StatusCode, Value) {
        let request = match by {
            Some(person) => request.header(header::AUTHORIZATION, format!("Bearer {}", person.token.reveal())),
            None => request,
        };
        let response = self.control.router().oneshot(request.body(body).expect("a request")).await.expect("an answer");
        let status = response.status();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        let mut envelope: Value = serde_json::from_slice(&bytes).expect("an envelope");
        let json = [["result", "data"].as_slice(), ["error"].as_slice()].into_iter().find_map(|path| {
            let inner = path.iter().try_fold(&mut envelope, |value, key| value.get_mut(key)).map(Value::take);
            inner.and_then(|mut value| value.get_mut("json").map(Value::take))
        });
        (status, json.expect("a wrapped result or error"))
    }

    /// A new public session of `host`; its id.
    pub(crate) async fn session(&self, host: &Person) -> String {
        let input = json!({"title": "A show", "type": "video"});
        let (status, answer) = self.mutate(Some(host), "streaming.createSession", input).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["session"]["id"].as_str().expect("an id").to_owned()
    }

    /// Opens a socket at a path such as `/ws`.
    pub(crate) async fn socket(&self, path: &str) -> Client {
        Client { wire: connect_async(self.url(path)).await.expect("an upgrade").0 }
    }

    /// Opens a socket that presents a token in a header.
    pub(crate) async fn socket_bearing(&self, path: &str, token: &Secret) -> Client {
        let mut request = self.url(path).into_client_request().expect("a request");
        let bearer = format!("Bearer {}", token.reveal()).parse().expect("a header");
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        Client { wire: connect_async(request).await.expect("an upgrade").0 }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }
}

/// The other end of a socket.
pub(crate) struct Client {
    pub(crate) wire: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub(crate) async fn say(&mut self, frame: Value) {
        self.wire.send(Message::text(frame.to_string())).await.expect("the socket takes it");
    }

    /// The next frame.
    pub(crate) async fn hear(&mut self) -> Value {
        match self.next().await {
            Message::Text(text) => serde_json::from_str(&text).expect("frames are JSON"),
            other => panic!("expected a frame, got {other:?}"),
        }
    }

    /// The next frame of one type; others are skipped.
    pub(crate) async fn hear_type(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.hear().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Signs in and expects to succeed.
    pub(crate) async fn sign_in(&mut self, person: &Person) {
        self.say(json!({"type": "auth", "token": person.token.reveal()})).await;
        assert_eq!(self.hear_type("auth_ok").await["data"]["userId"], person.user.user_id.as_str());
    }

    /// Joins and expects to succeed; the acknowledgement.
    pub(crate) async fn join(&mut self, session_id: &str) -> Value {
        self.say(json!({"type": "join_session", "sessionId": session_id})).await;
        self.hear_type("session_joined").await
    }

    /// Proves that everything said before was dealt with, and that nothing came meanwhile.
    pub(crate) async fn expect_quiet(&mut self) {
        self.say(json!({"type": "ping"})).await;
        let frame = self.hear().await;
        assert_eq!((&frame["type"], &frame["data"]["type"]), (&json!("notification"), &json!("pong")), "{frame}");
    }

    /// Reads on until the server closes; the code it gave.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.next().await {
                return frame.expect("a reason to close").code.into();
            }
        }
    }

    async fn next(&mut self) -> Message {
        loop {
            let heard = timeout(LIMIT, self.wire.next()).await.expect("something in time");
            match heard.expect("an open socket").expect("a sound socket") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }
}
