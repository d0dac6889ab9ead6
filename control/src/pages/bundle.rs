//! Built files over HTTP: the right type, the right encoding, and nothing sent twice.
//!
//! In: a name inside the bundle and the request's headers. Out: 200 or 304. RFC 9110 sections 12.5.3 and 13.1.2.

use std::borrow::Cow;

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use rust_embed::{EmbeddedFile, RustEmbed};

/// A folder of built files, wherever they are kept.
pub(super) struct Bundle {
    open: fn(&str) -> Option<EmbeddedFile>,
}

/// How long a browser may use its copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// The name changes with the content.
    Forever,
    /// It must ask each time; mostly it is told that nothing changed.
    Revalidate,
}

/// Encodings that lie beside the plain file, best first.
const ENCODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

impl Bundle {
    pub(super) fn of<E: RustEmbed>() -> Self {
        Self { open: E::get }
    }

    /// `None` when there is no such file. The name comes from the network: only letters, digits and `. _ -` in plain
    /// file names get as far as the bundle, so nothing outside it can be named.
    pub(super) fn serve(&self, name: &str, freshness: Freshness, headers: &HeaderMap) -> Option<Response> {
        let content_type = content_type(name)?;
        if !is_plain(name.strip_prefix("assets/").unwrap_or(name)) {
            return None;
        }
        let (file, encoding) = self.negotiate(name, headers)?;
        let tag = entity_tag(&file, encoding);
        let unchanged = headers.get_all(IF_NONE_MATCH).iter().any(|held| names(held, &tag));
        let mut response = if unchanged {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            whole(file, content_type, encoding)
        };
        let caching = match freshness {
            Freshness::Forever => "public, max-age=31536000, immutable",
            Freshness::Revalidate => "no-cache",
        };
        let out = response.headers_mut();
        out.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
        out.insert(ETAG, tag);
        out.insert(VARY, HeaderValue::from_static("accept-encoding"));
        Some(response)
    }

    fn negotiate(&self, name: &str, headers: &HeaderMap) -> Option<(EmbeddedFile, Option<&'static str>)> {
        let encoded = ENCODINGS
            .into_iter()
            .filter(|(encoding, _)| accepts(headers, encoding))
            .find_map(|(encoding, suffix)| Some(((self.open)(&format!("{name}{suffix}"))?, Some(encoding))));
        encoded.or_else(|| Some(((self.open)(name)?, None)))
    }
}

fn whole(file: EmbeddedFile, content_type: &'static str, encoding: Option<&'static str>) -> Response {
    let length = file.data.len();
    let body = match file.data {
        Cow::Borrowed(bytes) => Body::from(bytes),
        Cow::Owned(bytes) => Body::from(bytes),
    };
    let mut response = Response::new(body);
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    out.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(encoding) = encoding {
        out.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

/// The first half of the content's SHA-256. The compressed copies are other bytes and so have tags of their own.
fn entity_tag(file: &EmbeddedFile, encoding: Option<&str>) -> HeaderValue {
    let digest = hex::encode(&file.metadata.sha256_hash()[..16]);
    let tag = format!("\"{digest}{}\"", encoding.map(|e| format!("-{e}")).unwrap_or_default());
    HeaderValue::from_str(&tag).expect("hex and an encoding's name are header text")
}

/// Whether one `If-None-Match` value names this tag. The comparison is the weak one: proxies may have added `W/`.
fn names(held: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(held), Ok(tag)) = (held.to_str(), tag.to_str()) else { return false };
    held.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

/// Whether the request names this encoding and does not refuse it with `q=0`.
fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| {
        let (name, parameters) = one.split_once(';').unwrap_or((one, ""));
        let weight = parameters.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        name.trim().eq_ignore_ascii_case(encoding) && weight.is_ok_and(|weight| weight > 0.0)
    })
}

/// The types the build writes; anything else in the folder (the compressed copies by their own names) is not served.
fn content_type(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        "woff2" => Some("font/woff2"),
        _ => None,
    }
}

fn is_plain(name: &str) -> bool {
    !name.starts_with('.') && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
