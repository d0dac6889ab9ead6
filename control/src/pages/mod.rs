//! The pages people open in a browser: who is live, one show, and the studio that makes one.
//!
//! In: GET of `/`, `/watch/<id>`, `/studio`, `/assets/<name>`, and whatever no other route knows. Out: the files that `control/web`
//! builds, in the reader's language, under a policy that lets nothing run but our own scripts. Driven by axum.
//!
//! The pages hold no data: their scripts call the same API and the same `/ws` as the app. `npm run build` in
//! `control/web` writes `dist/`, which a release build carries inside the binary and a debug build reads from the disk.
//! Without it everything else works and the pages say how to build them.

mod bundle;
mod language;
mod policy;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use rust_embed::RustEmbed;

use self::bundle::{Bundle, Freshness};
use self::language::Language;
use self::policy::{Devices, Policy};

/// The pages. Browsers may fetch media from where `hls_url` points, besides this server. Owns the fallback of the whole
/// site: what no route knows is a page that says so.
pub(crate) fn router_playing_from(hls_url: &str) -> Router {
    Pages::new(Bundle::of::<Dist>(), Policy::new(hls_url)).router()
}

/// What `control/web` built. build.rs makes the folder, so that this compiles without node.
#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Dist;

struct Pages {
    bundle: Bundle,
    policy: Policy,
}

impl Pages {
    fn new(bundle: Bundle, policy: Policy) -> Self {
        Self { bundle, policy }
    }

    fn router(self) -> Router {
        Router::new()
            .route("/", get(home))
            .route("/watch/{session_id}", get(watch))
            .route("/studio", get(studio))
            .route("/assets/{name}", get(asset))
            .fallback(missing)
            .with_state(Arc::new(self))
    }

    /// A page in the language this request asks for; `?lang=` is also remembered in a cookie.
    fn page(&self, name: &str, status: StatusCode, uri: &Uri, headers: &HeaderMap) -> Response {
        self.policy.apply(self.bare_page(name, status, uri, headers))
    }

    /// A page that no policy has been put on yet.
    fn bare_page(&self, name: &str, status: StatusCode, uri: &Uri, headers: &HeaderMap) -> Response {
        let asked = Language::asked(uri);
        let language = asked.unwrap_or_else(|| Language::preferred(headers));
        let file = format!("{name}.{}.html", language.tag());
        let Some(mut response) = self.bundle.serve(&file, Freshness::Revalidate, headers) else {
            return not_built();
        };
        // Only a whole answer takes another status: 304 says that the browser has this very page already.
        if response.status() == StatusCode::OK {
            *response.status_mut() = status;
        }
        response.headers_mut().append(VARY, HeaderValue::from_static("accept-language, cookie"));
        if let Some(language) = asked {
            response.headers_mut().append(SET_COOKIE, language.cookie());
        }
        response
    }

    fn missing(&self, uri: &Uri, headers: &HeaderMap) -> Response {
        let reads_html =
            headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|a| a.contains("html"));
        if reads_html {
            return self.page("missing", StatusCode::NOT_FOUND, uri, headers);
        }
        self.policy.apply(plain(StatusCode::NOT_FOUND, "not found\n"))
    }
}

async fn home(State(pages): State<Arc<Pages>>, uri: Uri, headers: HeaderMap) -> Response {
    pages.page("home", StatusCode::OK, &uri, &headers)
}

/// Every well-formed id gets the page; the page asks the API whether there is such a show and tells the viewer.
async fn watch(
    State(pages): State<Arc<Pages>>,
    Path(session_id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if may_be_session_id(&session_id) {
        pages.policy.apply_with(Devices::Talk, pages.bare_page("watch", StatusCode::OK, &uri, &headers))
    } else {
        pages.missing(&uri, &headers)
    }
}

async fn studio(State(pages): State<Arc<Pages>>, uri: Uri, headers: HeaderMap) -> Response {
    pages.policy.apply_with(Devices::Open, pages.bare_page("studio", StatusCode::OK, &uri, &headers))
}

async fn asset(State(pages): State<Arc<Pages>>, Path(name): Path<String>, uri: Uri, headers: HeaderMap) -> Response {
    match pages.bundle.serve(&format!("assets/{name}"), Freshness::Forever, &headers) {
        Some(response) => pages.policy.apply(response),
        None => pages.missing(&uri, &headers),
    }
}

async fn missing(State(pages): State<Arc<Pages>>, request: Request<Body>) -> Response {
    match *request.method() {
        Method::GET | Method::HEAD => pages.missing(request.uri(), request.headers()),
        _ => pages.policy.apply(plain(StatusCode::NOT_FOUND, "not found\n")),
    }
}

/// Looser than the ids of today, so that old links keep reaching the page; strict enough to refuse nonsense.
fn may_be_session_id(text: &str) -> bool {
    const LENGTH_MAX: usize = 128;
    (1..=LENGTH_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn not_built() -> Response {
    plain(
        StatusCode::SERVICE_UNAVAILABLE,
        "The pages have not been built. Run `make web` (npm ci && npm run build in control/web), then build the server \
         again.\n",
    )
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    (status, headers, text).into_response()
}
