//! Every answer of the endpoints, with the headers that all of them share.

use super::desk::{DeskError, Direction};
use super::layers::JSON;
use crate::seam::Refusal;
use crate::webrtc::config::IceServer;
use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, LINK, LOCATION,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;
use std::time::Duration;

pub(super) const SDP: &str = "application/sdp";
pub(super) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const EXPOSED: &str = "Location, ETag, Link, Accept-Post, Accept-Patch, Retry-After, WWW-Authenticate";
const DRAIN_RETRY: Duration = Duration::from_secs(5);

fn base(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // Any page may publish or watch: what protects a resource is its bearer token, and no cookie is looked at.
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn with(mut response: Response, name: HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().append(name, value);
    }
    response
}

fn body(mut response: Response, content_type: &'static str, text: String) -> Response {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    *response.body_mut() = Body::from(text);
    response
}

/// What goes wrong, as RFC 9457 writes it.
pub(super) fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let text = json!({ "title": title, "status": status.as_u16(), "detail": detail }).to_string();
    body(base(status), "application/problem+json", text)
}

fn later(status: StatusCode, detail: &str, after: Duration) -> Response {
    with(problem(status, detail), RETRY_AFTER, &after.as_secs().max(1).to_string())
}

/// 201 (RFC 9725 section 4.2).
pub(super) fn created(
    answer: String,
    location: &str,
    direction: Direction,
    etag: &str,
    servers: &[IceServer],
) -> Response {
    let mut response = with(base(StatusCode::CREATED), LOCATION, location);
    response = with(response, ETAG, &format!("\"{etag}\""));
    response = with(response, ACCEPT_PATCH, FRAGMENT);
    for server in servers {
        response = with(response, LINK, &link(server));
    }
    if direction == Direction::Play {
        let layer = format!("<{location}/layer>; rel=\"urn:ietf:params:whep:ext:core:layer\"");
        response = with(response, LINK, &layer);
    }
    body(response, SDP, answer)
}

/// RFC 9725 section 4.6.
fn link(server: &IceServer) -> String {
    let mut value = format!("<{}>; rel=\"ice-server\"", server.url);
    if let (Some(username), Some(credential)) = (&server.username, &server.credential) {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let (username, credential) = (quoted(username), quoted(credential));
        value
            .push_str(&format!("; username=\"{username}\"; credential=\"{credential}\"; credential-type=\"password\""));
    }
    value
}

/// The tag is not that of the present ICE session.
pub(super) fn stale() -> Response {
    problem(StatusCode::PRECONDITION_FAILED, "this ICE session was restarted since; its ETag is another")
}

/// The answer to a restart (RFC 9725 section 4.3.3).
pub(super) fn restarted(fragment: String, etag: &str) -> Response {
    body(with(base(StatusCode::OK), ETAG, &format!("\"{etag}\"")), FRAGMENT, fragment)
}

pub(super) fn empty(status: StatusCode) -> Response {
    base(status)
}

/// CORS for an endpoint: what may be posted.
pub(super) fn endpoint_options() -> Response {
    with(options("OPTIONS, GET, HEAD, POST"), ACCEPT_POST, SDP)
}

/// What a viewer's pictures are made of.
pub(super) fn layers(list: String) -> Response {
    body(base(StatusCode::OK), JSON, list)
}

/// CORS for the choice of a layer.
pub(super) fn layer_options() -> Response {
    with(options("OPTIONS, GET, HEAD, POST"), ACCEPT_POST, JSON)
}

/// CORS for a resource: what may be patched.
pub(super) fn resource_options() -> Response {
    with(options("OPTIONS, GET, HEAD, PATCH, DELETE"), ACCEPT_PATCH, FRAGMENT)
}

fn options(methods: &'static str) -> Response {
    let mut response = with(base(StatusCode::OK), ALLOW, methods);
    response = with(response, ACCESS_CONTROL_ALLOW_METHODS, methods);
    response =
        with(response, ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, If-Match, X-Playback-Session-Id");
    with(response, ACCESS_CONTROL_MAX_AGE, "86400")
}

pub(super) fn wrong_method(allow: &'static str) -> Response {
    with(problem(StatusCode::METHOD_NOT_ALLOWED, &format!("only {allow}")), ALLOW, allow)
}

pub(super) fn wrong_type(wanted: &'static str) -> Response {
    let response = problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, &format!("send it as Content-Type: {wanted}"));
    with(response, if wanted == FRAGMENT { ACCEPT_PATCH } else { ACCEPT_POST }, wanted)
}

pub(super) fn draining() -> Response {
    later(StatusCode::SERVICE_UNAVAILABLE, "the server stops; try again in a moment", DRAIN_RETRY)
}

/// RFC 6750 section 3.
pub(super) fn unauthorized(presented: bool, direction: Direction) -> Response {
    let detail = match (presented, direction) {
        (false, Direction::Publish) => "send your stream key as Authorization: Bearer <streamKey>",
        (true, Direction::Publish) => "the stream key is not valid",
        (_, Direction::Play) => "send the ticket of joinSession as Authorization: Bearer <ticket>",
    };
    let challenge = if presented { "Bearer error=\"invalid_token\"" } else { "Bearer" };
    with(problem(StatusCode::UNAUTHORIZED, detail), WWW_AUTHENTICATE, challenge)
}

pub(super) fn failed(error: DeskError, presented: bool, direction: Direction) -> Response {
    match error {
        DeskError::BadOffer(reason) => problem(StatusCode::BAD_REQUEST, &reason),
        DeskError::Unanswerable(reason) | DeskError::NoSuchLayer(reason) => {
            problem(StatusCode::UNPROCESSABLE_ENTITY, &reason)
        }
        DeskError::NotLive { retry_after } => {
            later(StatusCode::CONFLICT, "the session is not live now; try again when it is", retry_after)
        }
        DeskError::PlaysOnlyByHls { reason, hls_path } => {
            let detail = format!("{reason}. It plays over HLS: {hls_path}");
            let link = format!("<{hls_path}>; rel=\"alternate\"; type=\"application/vnd.apple.mpegurl\"");
            with(problem(StatusCode::CONFLICT, &detail), LINK, &link)
        }
        DeskError::Full { retry_after } => {
            later(StatusCode::SERVICE_UNAVAILABLE, "the server carries as many connections as it may", retry_after)
        }
        DeskError::AddressFull { retry_after } => {
            let detail = "as many watch from your address as may; try again when somebody has left, or watch by HLS";
            later(StatusCode::SERVICE_UNAVAILABLE, detail, retry_after)
        }
        DeskError::Crowded { retry_after } => {
            let detail = "too many connections of your address are being made; try again in a moment";
            later(StatusCode::SERVICE_UNAVAILABLE, detail, retry_after)
        }
        DeskError::Ejected => problem(StatusCode::FORBIDDEN, "you were removed from this show"),
        DeskError::Restarted => stale(),
        DeskError::Gone => problem(StatusCode::NOT_FOUND, "there is no such connection (any more)"),
        DeskError::Refused(refusal) => match refusal {
            Refusal::BadCredentials => unauthorized(presented, direction),
            Refusal::Forbidden if !presented && direction == Direction::Play => unauthorized(false, direction),
            Refusal::Forbidden => problem(StatusCode::FORBIDDEN, "not allowed here"),
            Refusal::NotFound => problem(StatusCode::NOT_FOUND, "there is no such session"),
            Refusal::Ended => problem(StatusCode::GONE, "the session has ended"),
            Refusal::Busy => problem(StatusCode::CONFLICT, "somebody else publishes this session"),
            Refusal::Unavailable => later(StatusCode::SERVICE_UNAVAILABLE, "try again in a moment", DRAIN_RETRY),
            Refusal::Stopping => draining(),
        },
    }
}
