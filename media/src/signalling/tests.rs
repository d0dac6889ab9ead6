//! RFC 9725, rule by rule, against a desk that opens everything with the right key.

use super::*;
use crate::model::Rid;
use crate::seam::Refusal;
use crate::webrtc::config::IceServer;
use crate::whep::wish::{Choice, LayerFormat, LayerSeen, PictureLayers, Wish};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{Method, Request, StatusCode};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tower::ServiceExt;

#[derive(Default)]
pub(super) struct Stage {
    draining: AtomicBool,
    restarts: AtomicUsize,
    closed: AtomicUsize,
    /// Another restart is always first.
    raced: AtomicBool,
    /// Connections end as soon as they are made.
    short_lived: AtomicBool,
    pub(super) wish: Mutex<Wish>,
}

struct TestDesk(Arc<Stage>);

#[async_trait::async_trait]
impl Desk for TestDesk {
    async fn open(&self, request: OpenRequest) -> Result<Opened, DeskError> {
        if !request.offer.starts_with("v=0") {
            return Err(DeskError::BadOffer("it must begin with v=0".to_owned()));
        }
        match (request.direction, request.target.as_ref().map(|id| id.as_str().to_owned()).as_deref()) {
            (Direction::Publish, _) if request.secret.is_none_or(|key| key.expose() != "key") => {
                Err(DeskError::Refused(Refusal::BadCredentials))
            }
            (_, Some("waiting")) => Err(DeskError::NotLive { retry_after: Duration::from_secs(2) }),
            (_, Some("hevc")) => {
                let hls_path = "/hls/hevc/index.m3u8".to_owned();
                Err(DeskError::PlaysOnlyByHls { reason: "H.265".to_owned(), hls_path })
            }
            (_, Some("ended")) => Err(DeskError::Refused(Refusal::Ended)),
            _ => {
                Ok(Opened { resource: ResourceId::generate(), etag: "ice-0".to_owned(), answer: "v=0\r\n".to_owned() })
            }
        }
    }

    async fn trickle(&self, _: &ResourceId, fragment: &SdpFragment) -> Result<(), DeskError> {
        match fragment.ufrag() {
            Some("other") => Err(DeskError::BadOffer("another ICE session".to_owned())),
            _ => Ok(()),
        }
    }

    async fn restart(&self, _: &ResourceId, before: &str, _: &SdpFragment) -> Result<Restarted, DeskError> {
        if self.0.raced.load(Ordering::Relaxed) {
            return Err(DeskError::Restarted);
        }
        assert_eq!(before, format!("ice-{}", self.0.restarts.load(Ordering::Relaxed)));
        let number = self.0.restarts.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Restarted { etag: format!("ice-{number}"), fragment: "a=ice-ufrag:new\r\n".to_owned() })
    }

    async fn close(&self, _: &ResourceId) -> Result<(), DeskError> {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn layers(&self, _: &ResourceId, choice: Option<Choice>) -> Result<Vec<PictureLayers>, DeskError> {
        if let Some(Choice { m_line, wish }) = choice {
            if m_line.is_some_and(|m_line| m_line != 1) || wish.rid.as_ref().is_some_and(|rid| rid.as_str() == "x") {
                return Err(DeskError::NoSuchLayer("there are: h, l".to_owned()));
            }
            *self.0.wish.lock() = wish;
        }
        let layer = |rid: &str, width, bps, is_sent| {
            let format = LayerFormat { rid: Rid::parse(rid).unwrap(), width, height: width / 16 * 9 };
            LayerSeen { format, bps, is_sent }
        };
        let layers = vec![layer("h", 1_280, 0, false), layer("l", 320, 150_000, true)];
        Ok(vec![PictureLayers { m_line: 1, layers, wish: self.0.wish.lock().clone() }])
    }

    fn has(&self, _: &ResourceId) -> bool {
        !self.0.short_lived.load(Ordering::Relaxed)
    }

    fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }
}

pub(super) struct Client {
    router: Router,
    pub(super) stage: Arc<Stage>,
}

const TRICKLE: &str = "application/trickle-ice-sdpfrag";
const CANDIDATE: &str =
    "a=ice-ufrag:them\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";
const RESTART: &str = "a=ice-ufrag:again\r\na=ice-pwd:0123456789012345678901\r\n";

impl Client {
    pub(super) fn new() -> Self {
        let stage = Arc::<Stage>::default();
        let server = IceServer {
            url: "turn:turn.example.net?transport=udp".to_owned(),
            username: Some("user".to_owned()),
            credential: Some("a \"secret\"".to_owned()),
        };
        let config = SignallingConfig { max_resources: 3, ice_servers: vec![server] };
        let router = router(Arc::new(TestDesk(Arc::clone(&stage))), config, Doorkeeper::default());
        Self { router, stage }
    }

    pub(super) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(super) async fn post(&self, path: &str, key: Option<&str>) -> Response {
        let bearer = key.map(|key| format!("Bearer {key}"));
        let mut headers = vec![("content-type", "application/sdp")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        self.send(Method::POST, path, &headers, "v=0\r\n").await
    }

    /// An open publication's address.
    pub(super) async fn opened(&self) -> String {
        header(&self.post("/whip", Some("key")).await, "location")
    }

    async fn patch(&self, at: &str, etag: Option<&str>, body: &str) -> Response {
        let mut headers = vec![("content-type", TRICKLE), ("authorization", "Bearer key")];
        headers.extend(etag.map(|etag| ("if-match", etag)));
        self.send(Method::PATCH, at, &headers, body).await
    }
}

pub(super) fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

pub(super) async fn text(response: Response) -> String {
    String::from_utf8(axum::body::to_bytes(response.into_body(), 65_536).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn section_4_2_an_offer_is_answered_201_with_location_and_strong_etag() {
    let client = Client::new();
    for path in ["/whip", "/whip/session_1"] {
        let response = client.post(path, Some("key")).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(header(&response, "content-type"), "application/sdp");
        assert_eq!(header(&response, "etag"), "\"ice-0\"");
        assert!(header(&response, "location").starts_with("/whip/r/"));
        assert_eq!(header(&response, "accept-patch"), TRICKLE);
        assert_eq!(text(response).await, "v=0\r\n");
    }
    let viewing = client.post("/whep/session_1", None).await;
    assert!(header(&viewing, "location").starts_with("/whep/r/"));
}

#[tokio::test]
async fn section_4_2_another_media_type_is_415_and_broken_sdp_400() {
    let client = Client::new();
    let key = ("authorization", "Bearer key");
    for wrong in ["application/json", "text/plain", ""] {
        let response = client.send(Method::POST, "/whip", &[("content-type", wrong), key], "v=0").await;
        assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{wrong}");
        assert_eq!(header(&response, "accept-post"), "application/sdp");
    }
    let sdp = ("content-type", "Application/SDP; charset=utf-8");
    let response = client.send(Method::POST, "/whip", &[sdp, key], "nonsense").await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(header(&response, "content-type"), "application/problem+json");
    let long = "v=0".repeat(30_000);
    let response = client.send(Method::POST, "/whip", &[sdp, key], &long).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn section_4_1_get_has_no_content_and_other_methods_name_what_is_allowed() {
    let client = Client::new();
    let at = client.opened().await;
    let key = [("authorization", "Bearer key")];
    for (path, method) in [(at.as_str(), Method::GET), ("/whip", Method::GET), ("/whep/x", Method::HEAD)] {
        let response = client.send(method, path, &key, "").await;
        assert_eq!((response.status(), text(response).await.len()), (StatusCode::NO_CONTENT, 0), "{path}");
    }
    for (path, method) in [("/whip", Method::DELETE), ("/whep/x", Method::PUT), (at.as_str(), Method::PUT)] {
        let response = client.send(method, path, &key, "").await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert!(header(&response, "allow").contains("OPTIONS"));
    }
}

#[tokio::test]
async fn section_4_1_options_and_every_answer_carry_cors() {
    let client = Client::new();
    let at = client.opened().await;
    let endpoint = client.send(Method::OPTIONS, "/whip", &[], "").await;
    assert_eq!(endpoint.status(), StatusCode::OK);
    assert_eq!(header(&endpoint, "accept-post"), "application/sdp");
    assert!(header(&endpoint, "link").is_empty(), "no servers in a preflight (section 4.6)");
    let resource = client.send(Method::OPTIONS, &at, &[], "").await;
    assert!(header(&resource, "access-control-allow-methods").contains("PATCH"));
    assert!(header(&resource, "access-control-allow-headers").contains("If-Match"));
    for response in [endpoint, resource, client.post("/whip", None).await, client.post("/whep/waiting", None).await] {
        assert_eq!(header(&response, "access-control-allow-origin"), "*");
        assert!(header(&response, "access-control-expose-headers").contains("Location"));
    }
}

#[tokio::test]
async fn section_4_3_patch_follows_the_rules_of_if_match() {
    let client = Client::new();
    let at = client.opened().await;
    let status = async |etag: Option<&str>, body: &str| client.patch(&at, etag, body).await.status();
    assert_eq!(status(None, CANDIDATE).await, StatusCode::PRECONDITION_REQUIRED);
    assert_eq!(status(Some("\"ice-9\""), CANDIDATE).await, StatusCode::PRECONDITION_FAILED);
    assert_eq!(status(Some("\"ice-0\""), CANDIDATE).await, StatusCode::NO_CONTENT);
    assert_eq!(status(Some("\"ice-9\", \"ice-0\""), CANDIDATE).await, StatusCode::NO_CONTENT);
    assert_eq!(status(Some("\"ice-0\""), "nonsense").await, StatusCode::BAD_REQUEST);
    assert_eq!(status(Some("*"), CANDIDATE).await, StatusCode::PRECONDITION_REQUIRED);
    let headers = [("content-type", "application/sdp"), ("authorization", "Bearer key"), ("if-match", "*")];
    let response = client.send(Method::PATCH, &at, &headers, RESTART).await;
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(header(&response, "accept-patch"), TRICKLE);
}

#[tokio::test]
async fn section_4_3_3_a_restart_is_200_with_a_fragment_and_a_new_etag() {
    for any in ["*", "\"*\""] {
        let client = Client::new();
        let at = client.opened().await;
        let response = client.patch(&at, Some(any), RESTART).await;
        assert_eq!((response.status(), header(&response, "etag")), (StatusCode::OK, "\"ice-1\"".to_owned()), "{any}");
        assert_eq!(header(&response, "content-type"), TRICKLE);
        assert!(text(response).await.contains("a=ice-ufrag:new"));
        let stale = client.patch(&at, Some("\"ice-0\""), CANDIDATE).await;
        assert_eq!(stale.status(), StatusCode::PRECONDITION_FAILED);
        assert_eq!(client.patch(&at, Some("\"ice-1\""), CANDIDATE).await.status(), StatusCode::NO_CONTENT);
    }
}

#[tokio::test]
async fn a_restart_that_another_overtook_is_412_and_leaves_the_tag_to_that() {
    let client = Client::new();
    let at = client.opened().await;
    client.stage.raced.store(true, Ordering::Relaxed);
    assert_eq!(client.patch(&at, Some("*"), RESTART).await.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(client.patch(&at, Some("\"ice-0\""), CANDIDATE).await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn section_4_2_delete_ends_the_session_whatever_the_etag() {
    let client = Client::new();
    let at = client.opened().await;
    let key = [("authorization", "Bearer key"), ("if-match", "\"old\"")];
    assert_eq!(client.send(Method::DELETE, &at, &key, "").await.status(), StatusCode::OK);
    assert_eq!(client.stage.closed.load(Ordering::Relaxed), 1);
    for method in [Method::DELETE, Method::GET] {
        assert_eq!(client.send(method, &at, &key, "").await.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn section_4_7_the_bearer_is_asked_for_everywhere_but_in_a_preflight() {
    let client = Client::new();
    let at = client.opened().await;
    let none = client.post("/whip", None).await;
    assert_eq!((none.status(), header(&none, "www-authenticate")), (StatusCode::UNAUTHORIZED, "Bearer".to_owned()));
    let wrong = client.post("/whip", Some("forged")).await;
    assert!(header(&wrong, "www-authenticate").contains("invalid_token"));
    for method in [Method::DELETE, Method::PATCH, Method::GET] {
        let response = client.send(method.clone(), &at, &[("authorization", "Bearer forged")], "").await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{method}");
    }
    let crossed = at.replace("/whip/", "/whep/");
    let response = client.send(Method::DELETE, &crossed, &[("authorization", "Bearer key")], "").await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn section_4_5_and_4_6_a_draining_server_says_when_to_come_back_and_servers_are_named() {
    let client = Client::new();
    let response = client.post("/whip", Some("key")).await;
    let link = header(&response, "link");
    assert!(link.starts_with("<turn:turn.example.net?transport=udp>; rel=\"ice-server\"; username=\"user\""), "{link}");
    assert!(link.contains(r#"credential="a \"secret\"""#), "{link}");
    client.stage.draining.store(true, Ordering::Relaxed);
    let response = client.post("/whip", Some("key")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!header(&response, "retry-after").is_empty());
}

#[tokio::test]
async fn whep_says_when_to_come_back_and_where_else_a_show_plays() {
    let client = Client::new();
    let waiting = client.post("/whep/waiting", None).await;
    assert_eq!((waiting.status(), header(&waiting, "retry-after")), (StatusCode::CONFLICT, "2".to_owned()));
    let hevc = client.post("/whep/hevc", None).await;
    assert_eq!(hevc.status(), StatusCode::CONFLICT);
    assert!(header(&hevc, "link").starts_with("</hls/hevc/index.m3u8>; rel=\"alternate\""));
    assert!(text(hevc).await.contains("H.265"));
    assert_eq!(client.post("/whep/ended", None).await.status(), StatusCode::GONE);
    assert_eq!(client.post("/whep/not%20an%20id", None).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn resources_are_bounded() {
    let client = Client::new();
    for _ in 0..3 {
        assert_eq!(client.post("/whep/x", None).await.status(), StatusCode::CREATED);
    }
    let response = client.post("/whep/x", None).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!header(&response, "retry-after").is_empty());
}

#[tokio::test]
async fn a_connection_that_ended_before_its_answer_left_takes_no_place() {
    let client = Client::new();
    client.stage.short_lived.store(true, Ordering::Relaxed);
    for _ in 0..4 {
        let answer = client.post("/whep/public", None).await;
        assert_eq!(answer.status(), StatusCode::CREATED, "there are places for three");
        let gone = client.send(Method::GET, &header(&answer, "location"), &[], "").await;
        assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    }
}
