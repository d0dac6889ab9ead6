//! `GET|HEAD|OPTIONS /hls/<broadcast>/…` from request to response.
//!
//! In: HTTP requests. Out: playlists and media. Driven by the binary's listener.

use super::super::packager::Alternative;
use super::super::remux::Unfit;
use super::super::service::Shared;
use super::super::show::{Channel, Show, Stage};
use super::super::text::Text;
use super::answer::{self, Caching};
use super::download;
use super::found::Found;
use super::hold::{self, HoldError};
use super::request::{self, Directives, Resource, Target};
use super::viewers::HeldGuard;
use super::visitor::{Visitor, viewer_cookie};
use crate::metrics;
use crate::seam::Refusal;
use crate::store::{ObjectKey, ObjectName, RenditionId, StoreError};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().route("/hls/{*resource}", any(handle)).with_state(shared)
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let what;
    let response = match (&parts.method, Target::parse(parts.uri.path())) {
        (&Method::OPTIONS, _) => return answer::preflight(),
        (&Method::GET | &Method::HEAD, Some(target)) => {
            what = target.resource.kind();
            if let Resource::Download(part) = target.resource {
                download::serve(&shared, &target.broadcast, part, &parts).await
            } else {
                let query = parts.uri.query().unwrap_or("");
                let visit = Visit { shared: &shared, target, query, headers: &parts.headers, method: &parts.method };
                visit.serve().await
            }
        }
        (&Method::GET | &Method::HEAD, None) => {
            what = "unknown";
            answer::refusal(StatusCode::NOT_FOUND, "there is no such resource", None)
        }
        _ => {
            what = "unknown";
            answer::refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and OPTIONS", None)
        }
    };
    let status = response.status();
    ::metrics::counter!(metrics::HLS_REQUESTS, "what" => what, "status" => status_label(status)).increment(1);
    answer::without_body(&parts.method, response)
}

/// Statuses we answer with, as labels that need no allocation.
fn status_label(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200 => "200",
        206 => "206",
        304 => "304",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        409 => "409",
        410 => "410",
        412 => "412",
        416 => "416",
        503 => "503",
        _ => "other",
    }
}

/// One request.
pub(super) struct Visit<'a> {
    pub(super) shared: &'a Shared,
    pub(super) target: Target<'a>,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    method: &'a Method,
}

/// How long a request waits for a show that has begun to have its first segments.
const FIRST_SEGMENT_LIMIT: Duration = Duration::from_secs(6);
/// When to look again for a show that is not there.
pub(super) const NOT_LIVE_RETRY: Duration = Duration::from_secs(2);

impl Visit<'_> {
    async fn serve(&self) -> Response {
        let visitor = match self.admit().await {
            Ok(visitor) => visitor,
            Err(refusal) => return refused(&refusal),
        };
        let show = self.shared.shows.get(&self.target.broadcast);
        if self.is_ejected(show.as_deref(), &visitor) {
            return answer::refusal(StatusCode::FORBIDDEN, "you were removed from this show", None);
        }
        match (show, self.target.replay) {
            // Nothing is read to find that out.
            (Some(show), true) if !show.has_replay() => self.no_recording(),
            (Some(_) | None, true) | (None, false) => self.serve_recording(&visitor, "").await,
            // Who watched it sees its end in the playlists they have; who comes now is given all of it, under other addresses.
            (Some(show), false) if self.is_of_the_whole() && show.has_replay() => {
                self.serve_recording(&visitor, "replay/").await
            }
            (Some(show), false) => self.serve_show(&show, visitor).await,
        }
    }

    /// What of a show that is over is another for who comes now than for who watched it.
    fn is_of_the_whole(&self) -> bool {
        matches!(self.target.resource, Resource::Multivariant | Resource::ThumbnailIndex)
    }

    async fn serve_show(&self, show: &Show, visitor: Visitor) -> Response {
        let _held: Option<HeldGuard<'_>> = visitor.viewer.as_ref().map(|viewer| show.viewers.hold(viewer));
        match self.target.resource {
            Resource::Thumbnail => match show.thumbnail() {
                Some(newest) => {
                    let caching = if visitor.private { Caching::FreshPrivate } else { Caching::Picture };
                    answer::picture(newest.jpeg.clone(), &newest.tag, caching, self.headers)
                }
                None => answer::no_picture(),
            },
            // They are for looking back once it is over.
            Resource::ThumbnailIndex => answer::no_picture(),
            Resource::Multivariant => {
                let stage = self.wait_for_stage(show).await;
                let offer = show.offer();
                match stage {
                    Stage::Unfit(unfit) => return self.unfit(unfit),
                    Stage::Ready if !offer.choices.is_empty() => {}
                    Stage::Ready | Stage::Starting => return not_live(),
                }
                let alternatives = self.alternatives(&visitor);
                if alternatives.is_empty() {
                    let signed = self.signed_prefix(&visitor, "").map(|prefix| offer.render(&[], &prefix));
                    return self.multivariant(&visitor, &offer.text, signed);
                }
                let text = Text::new(offer.render(&alternatives, ""));
                let signed = self.signed_prefix(&visitor, "").map(|prefix| offer.render(&alternatives, &prefix));
                self.multivariant(&visitor, &text, signed)
            }
            Resource::Playlist(rendition) => match self.channel(show, rendition).await {
                Ok(Some(channel)) => self.playlist(&channel, &visitor).await,
                Ok(None) => not_live(),
                Err(unfit) => self.unfit(unfit),
            },
            Resource::Object { rendition, epoch, object } => {
                // A player that was here before a restart may be quicker than the packager, which reads the disk.
                let channel = match show.channel(rendition) {
                    None => self.channel(show, rendition).await.ok().flatten(),
                    channel => channel,
                };
                let found = channel.map_or(Found::Nowhere, |channel| Found::of(&channel, epoch, object));
                let chunks = match found {
                    Found::Here(chunks) => Ok(Some(chunks)),
                    Found::Stored if show.keeps() => self.stored(rendition, epoch, object).await,
                    Found::Stored | Found::Nowhere => Ok(None),
                };
                self.media(chunks, rendition, object, Some(show), &visitor)
            }
            Resource::Part { rendition, epoch, segment, part } => {
                let Some(channel) = show.channel(rendition) else { return no_such_media() };
                match hold::part(&channel, (epoch, segment, part), &self.shared.cancel).await {
                    Ok(part) => {
                        let object = ObjectName::Segment(segment);
                        self.media(Ok(Some(vec![part.bytes])), rendition, object, Some(show), &visitor)
                    }
                    Err(error) => self.not_held(error),
                }
            }
            Resource::Download(_) => no_such_media(),
        }
    }

    /// Co-hosts who are live, each under an address that this visitor may use.
    fn alternatives(&self, visitor: &Visitor) -> Vec<Alternative> {
        let host = &self.target.broadcast;
        // From `<host>/index.m3u8`, or from `<host>/~<pass>/index.m3u8`.
        let up = if self.target.pass.is_some() { "../../" } else { "../" };
        let of = |part: &Show| {
            let pass = visitor.pass.as_ref().map(|pass| format!("~{}/", self.shared.pass_key.sign(&part.id, pass)));
            let id = part.id.as_str();
            let name = id.strip_prefix(host.as_str()).and_then(|rest| rest.strip_prefix('-')).unwrap_or(id);
            let prefix = format!("{up}{id}/{}", pass.unwrap_or_default());
            Alternative { name: name.to_owned(), prefix, choices: part.offer().choices.clone() }
        };
        self.shared.shows.live_parts(host).iter().map(|part| of(part)).collect()
    }

    /// What addresses begin with for a viewer whose ticket was just made a pass: it stands before `replay/`.
    pub(super) fn signed_prefix(&self, visitor: &Visitor, below: &str) -> Option<String> {
        let pass = visitor.signed.as_ref()?;
        Some(if self.target.replay { format!("../~{pass}/replay/") } else { format!("~{pass}/{below}") })
    }

    /// `shared`: the text everybody gets; `signed`: the one for a viewer with a fresh pass.
    pub(super) fn multivariant(&self, visitor: &Visitor, shared: &Text, signed: Option<String>) -> Response {
        let encoding = request::encoding(self.headers);
        if let Some(signed) = signed {
            return answer::playlist(&Text::new(signed), encoding, Caching::FreshPrivate);
        }
        if visitor.private {
            return answer::playlist(shared, encoding, Caching::FreshPrivate);
        }
        if visitor.viewer.is_some() {
            return answer::playlist(shared, encoding, Caching::Fresh);
        }
        let mut response = answer::playlist(shared, encoding, Caching::FreshPrivate);
        response.headers_mut().insert(SET_COOKIE, viewer_cookie());
        response
    }

    async fn playlist(&self, channel: &Channel, visitor: &Visitor) -> Response {
        let directives = match Directives::parse(self.query) {
            Ok(directives) => directives,
            Err(error) => return answer::refusal(StatusCode::BAD_REQUEST, &error.to_string(), None),
        };
        let snapshot = match directives.block {
            None => channel.snapshot(),
            Some((segment, part)) => match hold::playlist(channel, segment, part, &self.shared.cancel).await {
                Ok(snapshot) => snapshot,
                Err(error) => return self.not_held(error),
            },
        };
        // Also of one that has ended: the whole recording is about to take its place under the same address.
        let caching = if visitor.private { Caching::FreshPrivate } else { Caching::Fresh };
        let text = if directives.skip { snapshot.delta_playlist() } else { snapshot.playlist() };
        answer::playlist(text, request::encoding(self.headers), caching)
    }

    /// The channel of a rendition, waited for while the show is starting.
    async fn channel(&self, show: &Show, rendition: RenditionId) -> Result<Option<Arc<Channel>>, Unfit> {
        let mut begun = show.watch_begun();
        let appears = async {
            loop {
                if let Some(channel) = show.channel(rendition) {
                    return Some(channel);
                }
                begun.changed().await.ok()?;
            }
        };
        let (channel, stage) = tokio::select! {
            biased;
            channel = appears => (channel, show.stage()),
            // Every rendition has begun, and this one is not among them.
            stage = self.wait_for_stage(show) => (show.channel(rendition), stage),
        };
        match stage {
            Stage::Unfit(unfit) => Err(unfit),
            Stage::Starting | Stage::Ready => Ok(channel),
        }
    }

    /// Where the show stands, waited for while it is starting.
    async fn wait_for_stage(&self, show: &Show) -> Stage {
        let mut stage = show.watch_stage();
        let settled = stage.wait_for(|stage| *stage != Stage::Starting);
        tokio::select! {
            waited = tokio::time::timeout(FIRST_SEGMENT_LIMIT, settled) => match waited {
                Ok(Ok(stage)) => *stage,
                Ok(Err(_)) | Err(_) => Stage::Starting,
            },
            () = self.shared.cancel.cancelled() => Stage::Starting,
        }
    }

    fn unfit(&self, unfit: Unfit) -> Response {
        answer::plays_elsewhere(&unfit.to_string(), &format!("/whep/{}", self.target.broadcast))
    }

    pub(super) async fn stored(
        &self,
        rendition: RenditionId,
        epoch: u64,
        object: ObjectName,
    ) -> Result<Option<Vec<Bytes>>, StoreError> {
        let key = ObjectKey { broadcast: self.target.broadcast.clone(), rendition, epoch, object };
        self.shared.keeper.get(&key).await.inspect_err(|error| {
            tracing::debug!(%key, error = error as &dyn std::error::Error, "object cannot be read");
        })
    }

    pub(super) fn media(
        &self,
        chunks: Result<Option<Vec<Bytes>>, StoreError>,
        rendition: RenditionId,
        object: ObjectName,
        show: Option<&Show>,
        visitor: &Visitor,
    ) -> Response {
        let chunks = match chunks {
            Ok(Some(chunks)) => chunks,
            Ok(None) => return no_such_media(),
            // A player that is told 404 gives the segment up.
            Err(_) => {
                let (status, say) = (StatusCode::SERVICE_UNAVAILABLE, "this cannot be read now");
                return answer::refusal(status, say, Some(NOT_LIVE_RETRY));
            }
        };
        let caching = if visitor.private { Caching::ImmutablePrivate } else { Caching::Immutable };
        let response = answer::media(chunks, object.content_type(rendition.kind), caching, self.headers);
        if *self.method == Method::GET && response.status().is_success() {
            let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
            ::metrics::counter!(metrics::HLS_BYTES).increment(length.unwrap_or(0));
            if let (Some(show), Some(viewer), false) = (show, &visitor.viewer, object == ObjectName::Init)
                && !self.is_ejected(Some(show), visitor)
            {
                show.viewers.served(viewer, visitor.identity.as_ref());
            }
        }
        response
    }

    fn not_held(&self, error: HoldError) -> Response {
        let retry = Some(self.shared.config.segment_duration);
        let (status, retry) = match error {
            HoldError::TooFarAhead => (StatusCode::BAD_REQUEST, None),
            HoldError::NoSuchPart => (StatusCode::NOT_FOUND, None),
            HoldError::TimedOut | HoldError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, retry),
        };
        answer::refusal(status, &error.to_string(), retry)
    }
}

pub(super) fn not_live() -> Response {
    answer::refusal(StatusCode::NOT_FOUND, "this show is not live", Some(NOT_LIVE_RETRY))
}

pub(super) fn no_such_media() -> Response {
    answer::refusal(StatusCode::NOT_FOUND, "there is no such media", None)
}

pub(super) fn refused(refusal: &Refusal) -> Response {
    let (status, retry) = match refusal {
        Refusal::BadCredentials => (StatusCode::UNAUTHORIZED, None),
        Refusal::Forbidden => (StatusCode::FORBIDDEN, None),
        Refusal::NotFound => (StatusCode::NOT_FOUND, Some(NOT_LIVE_RETRY)),
        Refusal::Ended => (StatusCode::GONE, None),
        Refusal::Busy | Refusal::Unavailable | Refusal::Stopping => {
            (StatusCode::SERVICE_UNAVAILABLE, Some(NOT_LIVE_RETRY))
        }
    };
    answer::refusal(status, &refusal.to_string(), retry)
}
