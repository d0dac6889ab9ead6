//! In: bytes and what kind they are. Out: HTTP responses with the right headers. Pure.
//! Driven by routes.rs. RFC 9110 sections 14 and 15.

use super::super::text::{Encoding, Text};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LINK, RANGE, RETRY_AFTER, VARY,
};
use http::response::Builder;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::convert::Infallible;
use std::ops::Range;
use std::time::Duration;

/// Who may keep an answer, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caching {
    /// Asked for again every time.
    Fresh,
    /// The same, and for this viewer only.
    FreshPrivate,
    /// The playlist of an ended show.
    Ended,
    /// The bytes behind this address never change.
    Immutable,
    /// The same, behind a viewer's pass.
    ImmutablePrivate,
    /// A picture of what is live.
    Picture,
}

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
/// WebVTT.
const CUES: &str = "text/vtt; charset=utf-8";
/// Half of the time that a picture is the newest, and as long as the lack of one is remembered.
const PICTURE: &str = "max-age=5";

impl Caching {
    fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Fresh => "no-cache",
            Self::FreshPrivate => "private, no-cache",
            Self::Ended => "max-age=300",
            Self::Immutable => "public, max-age=31536000, immutable",
            Self::ImmutablePrivate => "private, max-age=31536000, immutable",
            Self::Picture => PICTURE,
        })
    }
}

pub(super) fn playlist(text: &Text, encoding: Encoding, caching: Caching) -> Response {
    written(text, PLAYLIST, encoding, caching)
}

/// The pictures of a show and when each is.
pub(super) fn cues(text: &Text, encoding: Encoding, caching: Caching) -> Response {
    written(text, CUES, encoding, caching)
}

fn written(text: &Text, content_type: &'static str, encoding: Encoding, caching: Caching) -> Response {
    let bytes = text.bytes(encoding);
    let mut builder = base(StatusCode::OK)
        .header(CONTENT_TYPE, HeaderValue::from_static(content_type))
        .header(CACHE_CONTROL, caching.header())
        .header(VARY, HeaderValue::from_static("accept-encoding"))
        .header(CONTENT_LENGTH, bytes.len());
    if let Some(name) = encoding.name() {
        builder = builder.header(CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    finish(builder, Body::from(bytes))
}

/// A segment, part or init; `chunks` are its bytes, one after the other.
pub(super) fn media(chunks: Vec<Bytes>, content_type: &'static str, caching: Caching, headers: &HeaderMap) -> Response {
    let len: usize = chunks.iter().map(Bytes::len).sum();
    let builder = |status| {
        base(status)
            .header(CONTENT_TYPE, HeaderValue::from_static(content_type))
            .header(CACHE_CONTROL, caching.header())
            .header(ACCEPT_RANGES, HeaderValue::from_static("bytes"))
    };
    match requested_range(headers, len) {
        Requested::Whole => finish(builder(StatusCode::OK).header(CONTENT_LENGTH, len), body(chunks)),
        Requested::Slice(range) => {
            let told = format!("bytes {}-{}/{len}", range.start, range.end - 1);
            let builder = builder(StatusCode::PARTIAL_CONTENT).header(CONTENT_LENGTH, range.len());
            finish(builder.header(CONTENT_RANGE, told), body(slice(&chunks, range)))
        }
        Requested::Unsatisfiable => finish(
            base(StatusCode::RANGE_NOT_SATISFIABLE).header(CONTENT_RANGE, format!("bytes */{len}")),
            Body::empty(),
        ),
    }
}

/// A picture that is another one later under the same address; whoever has this one already is told so.
pub(super) fn picture(jpeg: Bytes, tag: &str, caching: Caching, headers: &HeaderMap) -> Response {
    let is_known = is_known(headers, tag);
    let status = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let builder = base(status).header(ETAG, tag).header(CACHE_CONTROL, caching.header());
    if is_known {
        return finish(builder, Body::empty());
    }
    let builder =
        builder.header(CONTENT_TYPE, HeaderValue::from_static("image/jpeg")).header(CONTENT_LENGTH, jpeg.len());
    finish(builder, Body::from(jpeg))
}

/// Whether whoever asks has what the tag stands for: compared weakly, since it is about showing it (RFC 9110 section 13.1.2).
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let tags = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    tags.is_some_and(|tags| tags.split(',').any(|known| [tag, "*"].contains(&known.trim().trim_start_matches("W/"))))
}

/// There is no picture yet, or never will be: not worth a question from everybody who sees a list.
pub(super) fn no_picture() -> Response {
    let mut response = refusal(StatusCode::NOT_FOUND, "there is no picture of this show", None);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(PICTURE));
    response
}

/// A short reason in plain text. `retry`: when asking again may help.
pub(super) fn refusal(status: StatusCode, reason: &str, retry: Option<Duration>) -> Response {
    let mut builder = base(status)
        .header(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))
        .header(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(retry) = retry {
        builder = builder.header(RETRY_AFTER, retry.as_secs().max(1));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        builder = builder.header(ALLOW, HeaderValue::from_static(METHODS));
    }
    finish(builder, Body::from(format!("{reason}\n")))
}

/// An answer for a script, true for this moment.
pub(super) fn json(text: String) -> Response {
    let builder = base(StatusCode::OK)
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .header(CONTENT_LENGTH, text.len());
    finish(builder, Body::from(text))
}

/// What HLS cannot carry, and the WHEP endpoint that can. Nothing is gained by asking again.
pub(super) fn plays_elsewhere(reason: &str, whep_path: &str) -> Response {
    let builder = base(StatusCode::CONFLICT)
        .header(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))
        .header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .header(LINK, format!("<{whep_path}>; rel=\"alternate\"; type=\"application/sdp\""));
    finish(builder, Body::from(format!("{reason}. It plays over WebRTC (WHEP): {whep_path}\n")))
}

const METHODS: &str = "GET, HEAD, OPTIONS";

/// The answer to a browser that asks before it asks (CORS preflight).
pub(super) fn preflight() -> Response {
    let builder = base(StatusCode::NO_CONTENT)
        .header(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS))
        .header(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, range, x-playback-session-id"))
        .header(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    finish(builder, Body::empty())
}

/// A HEAD request gets the headers of the GET.
pub(super) fn without_body(method: &Method, response: Response) -> Response {
    if *method == Method::HEAD { response.map(|_| Body::empty()) } else { response }
}

pub(super) fn base(status: StatusCode) -> Builder {
    Response::builder().status(status).header(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")).header(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("content-length, content-range, date, etag, link, retry-after"),
    )
}

pub(super) fn finish(builder: Builder, body: Body) -> Response {
    builder.body(body).expect("our header values are ASCII")
}

fn body(mut chunks: Vec<Bytes>) -> Body {
    match chunks.len() {
        1 => chunks.pop().map_or_else(Body::empty, Body::from),
        _ => Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, Infallible>))),
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Requested {
    Whole,
    Slice(Range<usize>),
    Unsatisfiable,
}

/// One range of bytes. Several, or another unit, are answered with the whole, as RFC 9110 section 14.2 allows.
pub(super) fn requested_range(headers: &HeaderMap, len: usize) -> Requested {
    let header = headers.get(RANGE).and_then(|value| value.to_str().ok());
    let Some((first, last)) = header.and_then(|range| range.strip_prefix("bytes=")?.trim().split_once('-')) else {
        return Requested::Whole;
    };
    let range = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) if first <= last => first..len.min(last.saturating_add(1)),
        (Ok(first), _) if last.is_empty() => first..len,
        (_, Ok(count)) if first.is_empty() => len.saturating_sub(count)..len,
        _ => return Requested::Whole,
    };
    if range.start < range.end { Requested::Slice(range) } else { Requested::Unsatisfiable }
}

/// The pieces of `chunks` that fall into `range` of their whole. Shares the bytes.
fn slice(chunks: &[Bytes], range: Range<usize>) -> Vec<Bytes> {
    let mut start = 0;
    let mut pieces = Vec::new();
    for chunk in chunks {
        let end = start + chunk.len();
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            pieces.push(chunk.slice(from - start..to - start));
        }
        start = end;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(range: &str) -> HeaderMap {
        HeaderMap::from_iter([(RANGE, HeaderValue::from_str(range).unwrap())])
    }

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        for (text, expected) in [
            ("bytes=0-3", Requested::Slice(0..4)),
            ("bytes=4-", Requested::Slice(4..10)),
            ("bytes=-3", Requested::Slice(7..10)),
            ("bytes=-30", Requested::Slice(0..10)),
            ("bytes=8-99", Requested::Slice(8..10)),
            ("bytes=10-", Requested::Unsatisfiable),
            ("bytes=-0", Requested::Unsatisfiable),
            ("bytes=5-2", Requested::Whole),
            ("bytes=0-1,4-5", Requested::Whole),
            ("bytes=-", Requested::Whole),
            ("bytes=x-9", Requested::Whole),
            ("items=0-1", Requested::Whole),
        ] {
            assert_eq!(requested_range(&headers(text), 10), expected, "{text}");
        }
        assert_eq!(requested_range(&HeaderMap::new(), 10), Requested::Whole);
    }

    #[test]
    fn a_slice_of_pieces_is_a_slice_of_the_whole() {
        let chunks =
            [Bytes::from_static(b"0123"), Bytes::new(), Bytes::from_static(b"45"), Bytes::from_static(b"6789")];
        for from in 0..10 {
            for to in from + 1..=10 {
                assert_eq!(slice(&chunks, from..to).concat(), &b"0123456789"[from..to]);
            }
        }
    }
}
