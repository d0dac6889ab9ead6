//! From request to answer. RFC 9725 section 4 is cited by each rule.

use super::answer::{self, FRAGMENT, SDP};
use super::desk::{Desk, DeskError, Direction, OpenRequest};
use super::doorkeeper::{Doorkeeper, Found, ResourceId};
use super::fragment::SdpFragment;
use super::layers::{self, JSON};
use crate::model::{BroadcastId, ViewerId};
use crate::seam::Secret;
use crate::webrtc::config::IceServer;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::response::Response;
use axum::routing::any;
use http::header::{AUTHORIZATION, CONTENT_TYPE, IF_MATCH};
use http::{HeaderMap, Method, StatusCode};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

pub(crate) struct SignallingConfig {
    pub(crate) max_resources: usize,
    pub(crate) ice_servers: Vec<IceServer>,
}

struct Shared {
    desk: Arc<dyn Desk>,
    doorkeeper: Doorkeeper,
    config: SignallingConfig,
}

/// The same as over HLS.
const VIEWER_HEADER: &str = "x-playback-session-id";
/// Chromium's largest offers have 10 KiB.
const BODY_MAX: usize = 64 * 1024;

pub(crate) fn router(desk: Arc<dyn Desk>, config: SignallingConfig, doorkeeper: Doorkeeper) -> Router {
    let shared = Arc::new(Shared { desk, doorkeeper, config });
    // A broadcast's id is never "r", so resources of both kinds of address have one form.
    Router::new()
        .route("/whip", any(publish_by_key))
        .route("/whip/{broadcast}", any(publish))
        .route("/whip/r/{resource}", any(publication))
        .route("/whep/{broadcast}", any(play))
        .route("/whep/r/{resource}", any(viewing))
        .route("/whep/r/{resource}/layer", any(layer))
        .with_state(shared)
}

async fn publish_by_key(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.endpoint(Direction::Publish, None, request).await
}

async fn publish(State(shared): State<Arc<Shared>>, Path(broadcast): Path<String>, request: Request) -> Response {
    shared.endpoint(Direction::Publish, Some(broadcast), request).await
}

async fn play(State(shared): State<Arc<Shared>>, Path(broadcast): Path<String>, request: Request) -> Response {
    shared.endpoint(Direction::Play, Some(broadcast), request).await
}

async fn publication(State(shared): State<Arc<Shared>>, Path(resource): Path<String>, request: Request) -> Response {
    shared.resource(Direction::Publish, ResourceId::from_path(&resource), request).await
}

async fn viewing(State(shared): State<Arc<Shared>>, Path(resource): Path<String>, request: Request) -> Response {
    shared.resource(Direction::Play, ResourceId::from_path(&resource), request).await
}

async fn layer(State(shared): State<Arc<Shared>>, Path(resource): Path<String>, request: Request) -> Response {
    shared.layer(ResourceId::from_path(&resource), request).await.unwrap_or_else(|refusal| *refusal)
}

impl Shared {
    async fn endpoint(&self, direction: Direction, target: Option<String>, request: Request) -> Response {
        match *request.method() {
            Method::POST => self.open(direction, target, request).await.unwrap_or_else(|refusal| *refusal),
            Method::OPTIONS => answer::endpoint_options(),
            // Section 4.1: a successful answer without content.
            Method::GET | Method::HEAD => answer::empty(StatusCode::NO_CONTENT),
            _ => answer::wrong_method("OPTIONS, GET, HEAD, POST"),
        }
    }

    /// Section 4.2.
    async fn open(
        &self,
        direction: Direction,
        target: Option<String>,
        request: Request,
    ) -> Result<Response, Box<Response>> {
        let (parts, body) = request.into_parts();
        if self.desk.is_draining() {
            return Err(Box::new(answer::draining()));
        }
        if !is_type(&parts.headers, SDP) {
            return Err(Box::new(answer::wrong_type(SDP)));
        }
        let unknown = || Box::new(answer::problem(StatusCode::NOT_FOUND, "there is no such session"));
        let target = target.map(|id| BroadcastId::parse(&id)).transpose().map_err(|_| unknown())?;
        let secret = bearer(&parts.headers);
        let name = parts.headers.get(VIEWER_HEADER).and_then(|name| ViewerId::of_player(name.to_str().ok()?));
        let offer = text(body).await?;
        // A publisher may have a place that is kept for publishers, or take one over: its key is looked at first.
        if direction == Direction::Play && self.doorkeeper.len() >= self.config.max_resources {
            let retry_after = std::time::Duration::from_secs(5);
            return Err(Box::new(answer::failed(DeskError::Full { retry_after }, secret.is_some(), direction)));
        }
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or(nobody, |peer| peer.0);
        let request = OpenRequest { direction, target, secret: secret.clone(), offer, name, peer };
        let opened = self.desk.open(request).await;
        let opened = opened.map_err(|error| Box::new(answer::failed(error, secret.is_some(), direction)))?;
        let kind = match direction {
            Direction::Publish => "whip",
            Direction::Play => "whep",
        };
        let location = format!("/{kind}/r/{}", opened.resource.as_str());
        // A viewer's ticket is asked for again only where one was needed; a key always.
        self.doorkeeper.enter(opened.resource.clone(), direction, secret.as_ref(), opened.etag.clone());
        if !self.desk.has(&opened.resource) {
            // It ended before it was entered: a show that was over just then. Nobody else would take it out again.
            self.doorkeeper.forget(&opened.resource);
        }
        Ok(answer::created(opened.answer, &location, direction, &opened.etag, &self.config.ice_servers))
    }

    /// Lets in whoever holds a resource; gives its ETag.
    fn admit(
        &self,
        resource: &ResourceId,
        direction: Direction,
        bearer: Option<&Secret>,
    ) -> Result<String, Box<Response>> {
        match self.doorkeeper.find(resource, direction, bearer) {
            Found::Resource { etag } => Ok(etag),
            Found::Nothing => Err(Box::new(answer::failed(DeskError::Gone, bearer.is_some(), direction))),
            Found::NotYours => Err(Box::new(answer::unauthorized(bearer.is_some(), direction))),
        }
    }

    async fn resource(&self, direction: Direction, resource: ResourceId, request: Request) -> Response {
        if request.method() == Method::OPTIONS {
            return answer::resource_options();
        }
        let bearer = bearer(request.headers());
        let etag = match self.admit(&resource, direction, bearer.as_ref()) {
            Ok(etag) => etag,
            Err(refusal) => return *refusal,
        };
        match *request.method() {
            // Section 4.1: a successful answer without content.
            Method::GET | Method::HEAD => answer::empty(StatusCode::NO_CONTENT),
            Method::PATCH => self.patch(direction, &resource, &etag, request).await.unwrap_or_else(|refusal| *refusal),
            // Whatever the ETag is (section 4.2).
            Method::DELETE => {
                self.doorkeeper.forget(&resource);
                match self.desk.close(&resource).await {
                    Ok(()) => answer::empty(StatusCode::OK),
                    Err(error) => answer::failed(error, bearer.is_some(), direction),
                }
            }
            _ => answer::wrong_method("OPTIONS, GET, HEAD, PATCH, DELETE"),
        }
    }

    /// draft-ietf-wish-whep, Video Layer Selection.
    async fn layer(&self, resource: ResourceId, request: Request) -> Result<Response, Box<Response>> {
        if request.method() == Method::OPTIONS {
            return Ok(answer::layer_options());
        }
        let (bearer, direction) = (bearer(request.headers()), Direction::Play);
        let failed = |error| Box::new(answer::failed(error, bearer.is_some(), direction));
        self.admit(&resource, direction, bearer.as_ref())?;
        let choice = match *request.method() {
            Method::GET | Method::HEAD => None,
            Method::POST if !is_type(request.headers(), JSON) => return Err(Box::new(answer::wrong_type(JSON))),
            Method::POST => {
                let choice = layers::parse(&text(request.into_body()).await?);
                Some(choice.map_err(|reason| Box::new(answer::problem(StatusCode::BAD_REQUEST, &reason)))?)
            }
            _ => return Err(Box::new(answer::wrong_method("OPTIONS, GET, HEAD, POST"))),
        };
        let pictures = self.desk.layers(&resource, choice).await.map_err(failed)?;
        Ok(answer::layers(layers::write(&pictures)))
    }

    /// Sections 4.3.1 to 4.3.3.
    async fn patch(
        &self,
        direction: Direction,
        resource: &ResourceId,
        etag: &str,
        request: Request,
    ) -> Result<Response, Box<Response>> {
        let (parts, body) = request.into_parts();
        if !is_type(&parts.headers, FRAGMENT) {
            return Err(Box::new(answer::wrong_type(FRAGMENT)));
        }
        let refuse = |status, detail: &str| Box::new(answer::problem(status, detail));
        let matches: Vec<&str> = parts
            .headers
            .get_all(IF_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(',').map(str::trim))
            .collect();
        if matches.is_empty() {
            return Err(refuse(StatusCode::PRECONDITION_REQUIRED, "send If-Match with the ETag of the session"));
        }
        // In quotes too, as the example of draft-ietf-wish-whep has it.
        let any = matches.iter().any(|tag| matches!(*tag, "*" | "\"*\""));
        let quoted = format!("\"{etag}\"");
        if !any && !matches.contains(&quoted.as_str()) {
            return Err(Box::new(answer::stale()));
        }
        let fragment = SdpFragment::parse(&text(body).await?)
            .ok_or_else(|| refuse(StatusCode::BAD_REQUEST, "this is not an SDP fragment (RFC 8840 section 9)"))?;
        let failed = |error| Box::new(answer::failed(error, true, direction));
        if any {
            // "*" is an ICE restart, and that needs both credentials; candidates name their ICE session by its ETag.
            if !fragment.has_credentials() {
                let detail =
                    "If-Match: * is an ICE restart, which needs a=ice-ufrag and a=ice-pwd; candidates need the ETag";
                return Err(refuse(StatusCode::PRECONDITION_REQUIRED, detail));
            }
            let restarted = self.desk.restart(resource, etag, &fragment).await.map_err(failed)?;
            self.doorkeeper.restarted(resource, &restarted.etag);
            return Ok(answer::restarted(restarted.fragment, &restarted.etag));
        }
        self.desk.trickle(resource, &fragment).await.map_err(failed)?;
        Ok(answer::empty(StatusCode::NO_CONTENT))
    }
}

fn is_type(headers: &HeaderMap, wanted: &str) -> bool {
    let stated = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    stated.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}

/// The token of `Authorization: Bearer …`; the scheme's case does not matter (RFC 9110 section 11.1).
fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| Secret::new(token))
}

async fn text(body: Body) -> Result<String, Box<Response>> {
    let refuse = |status, detail: &str| Box::new(answer::problem(status, detail));
    let bytes = axum::body::to_bytes(body, BODY_MAX)
        .await
        .map_err(|_| refuse(StatusCode::PAYLOAD_TOO_LARGE, "more than 64 KiB, or cut off on the way"))?;
    String::from_utf8(bytes.into()).map_err(|_| refuse(StatusCode::BAD_REQUEST, "the body is not UTF-8"))
}
