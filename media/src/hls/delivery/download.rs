//! `GET|HEAD /hls/<broadcast>/replay/video.mp4`: a replay as one file, in any ranges; and beside it `video.json`, which says how
//! far it is prepared.
//!
//! In: HTTP requests. Out: bytes of a film as they are read from the store. Driven by routes.rs. RFC 9110 sections 13 and 14,
//! RFC 6266, RFC 8187.

use super::super::film::{Film, Reel, Showing, TornReel, Unavailable, play};
use super::super::service::Shared;
use super::answer::{self, Requested};
use super::request::{self, DownloadPart};
use super::routes::refused;
use crate::metrics;
use crate::model::BroadcastId;
use crate::places::NoPlace;
use crate::seam::{DownloadGrant, WatchRequest};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH,
    IF_RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// How long a request for the file waits for it. A show of an hour on a disk is prepared in less.
const PATIENCE: Duration = Duration::from_secs(5);
/// When to ask again for a file that is being prepared.
const PREPARING_RETRY: Duration = Duration::from_secs(2);
const BUSY_RETRY: Duration = Duration::from_secs(10);
/// What a file system takes as a name, with room for an ending.
const MAX_NAME: usize = 80;

pub(super) async fn serve(shared: &Shared, broadcast: &BroadcastId, part: DownloadPart, asked: &Parts) -> Response {
    let (query, headers) = (asked.uri.query().unwrap_or_default(), &asked.headers);
    let request = WatchRequest { broadcast: broadcast.clone(), ticket: request::ticket(query, headers) };
    let grant = match shared.admission.admit_download(request).await {
        Ok(grant) => grant,
        Err(refusal) => return refused(&refusal),
    };
    let patience = if part == DownloadPart::Progress { Duration::ZERO } else { PATIENCE };
    let showing = shared.films.ask(broadcast, patience).await;
    match (part, showing) {
        (DownloadPart::Progress, showing) => progress(&showing),
        (DownloadPart::File, Showing::Ready(film)) => file(shared, broadcast, film, &grant, asked),
        (DownloadPart::File, Showing::Preparing(done)) => answer::refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("the file is being prepared, {}% so far; try again shortly", (done * 100.0).floor()),
            Some(PREPARING_RETRY),
        ),
        (DownloadPart::File, Showing::Not(why)) => match why {
            Unavailable::Nothing => answer::refusal(StatusCode::NOT_FOUND, &why.to_string(), None),
            Unavailable::Failed | Unavailable::Busy => {
                answer::refusal(StatusCode::SERVICE_UNAVAILABLE, &why.to_string(), Some(BUSY_RETRY))
            }
        },
    }
}

fn progress(showing: &Showing) -> Response {
    let text = match showing {
        Showing::Ready(film) => {
            format!(r#"{{"state":"ready","bytes":{},"seconds":{:.3}}}"#, film.len(), film.duration.as_secs_f64())
        }
        Showing::Preparing(done) => format!(r#"{{"state":"preparing","done":{done:.3}}}"#),
        Showing::Not(Unavailable::Busy) => r#"{"state":"preparing","done":0}"#.to_owned(),
        Showing::Not(Unavailable::Nothing) => r#"{"state":"gone"}"#.to_owned(),
        Showing::Not(Unavailable::Failed) => r#"{"state":"failed"}"#.to_owned(),
    };
    answer::json(text)
}

fn file(shared: &Shared, broadcast: &BroadcastId, film: Arc<Film>, grant: &DownloadGrant, asked: &Parts) -> Response {
    let headers = &asked.headers;
    let tag = format!("\"{}\"", film.tag());
    let caching = if grant.is_private { "private, no-cache" } else { "no-cache" };
    let builder = |status| {
        answer::base(status)
            .header(ETAG, &tag)
            .header(CACHE_CONTROL, HeaderValue::from_static(caching))
            .header(ACCEPT_RANGES, HeaderValue::from_static("bytes"))
    };
    if says(headers, &IF_MATCH).is_some_and(|tags| !names(tags, &tag)) {
        return answer::finish(builder(StatusCode::PRECONDITION_FAILED), Body::empty());
    }
    if answer::is_known(headers, &tag) {
        return answer::finish(builder(StatusCode::NOT_MODIFIED), Body::empty());
    }
    // A part of another file is no part of this one; a date never is strong enough.
    let is_this = says(headers, &IF_RANGE).is_none_or(|wanted| wanted == tag);
    let len = film.len();
    let requested = if is_this { answer::requested_range(headers, len as usize) } else { Requested::Whole };
    let (status, range) = match requested {
        Requested::Whole => (StatusCode::OK, 0..len),
        Requested::Slice(range) => (StatusCode::PARTIAL_CONTENT, range.start as u64..range.end as u64),
        Requested::Unsatisfiable => {
            let told = format!("bytes */{len}");
            let builder = builder(StatusCode::RANGE_NOT_SATISFIABLE).header(CONTENT_RANGE, told);
            return answer::finish(builder, Body::empty());
        }
    };
    let kind = if film.has_video { "video/mp4" } else { "audio/mp4" };
    let mut builder = builder(status)
        .header(CONTENT_TYPE, HeaderValue::from_static(kind))
        .header(CONTENT_LENGTH, range.end - range.start)
        .header(CONTENT_DISPOSITION, disposition(&grant.title));
    if status == StatusCode::PARTIAL_CONTENT {
        builder = builder.header(CONTENT_RANGE, format!("bytes {}-{}/{len}", range.start, range.end - 1));
    }
    if asked.method == Method::HEAD {
        return answer::finish(builder, Body::empty());
    }
    match shared.audience.seat(address_of(asked), pieces(shared, broadcast, film, range)) {
        Ok(sent) => answer::finish(builder, Body::from_stream(sent)),
        Err(why) => {
            let say = match why {
                NoPlace::Address => "too many downloads from your address, try again when one is done",
                NoPlace::Connections | NoPlace::Handshakes => "too many downloads, try again shortly",
            };
            answer::refusal(StatusCode::SERVICE_UNAVAILABLE, say, Some(BUSY_RETRY))
        }
    }
}

/// Who asks. Those of whom nobody says it count as one.
fn address_of(asked: &Parts) -> IpAddr {
    let peer = asked.extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip())
}

/// What is read, counted; a film that is out of date is made again.
fn pieces(
    shared: &Shared,
    broadcast: &BroadcastId,
    film: Arc<Film>,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, TornReel>> + use<> {
    let (broadcast, keeper, films) = (broadcast.clone(), shared.keeper.clone(), Arc::clone(&shared.films));
    let reel = Reel { broadcast: broadcast.clone(), film, keeper: keeper.clone() };
    play(reel, range).then(move |read: Result<Bytes, TornReel>| {
        tell(&broadcast, &read);
        let is_changed = matches!(read, Err(TornReel::Changed { .. }));
        let (broadcast, keeper, films) = (broadcast.clone(), keeper.clone(), Arc::clone(&films));
        async move {
            if is_changed {
                films.renounce(&broadcast, &keeper).await;
            }
            read
        }
    })
}

fn tell(broadcast: &BroadcastId, sent: &Result<Bytes, TornReel>) {
    match sent {
        Ok(bytes) => ::metrics::counter!(metrics::HLS_BYTES).increment(bytes.len() as u64),
        Err(torn) => {
            let error = torn as &dyn std::error::Error;
            tracing::warn!(broadcast.id = %broadcast, error, "a download ends before its end");
        }
    }
}

fn says<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

/// Whether a list of tags has this one, compared strongly: a part must be of the same bytes (RFC 9110 section 13.1.1).
fn names(tags: &str, tag: &str) -> bool {
    tags.split(',').map(str::trim).any(|one| one == "*" || one == tag)
}

/// RFC 8187 section 3.2.1 lets letters, digits and some signs stand as they are; fewer do no harm.
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The file's name twice: as it is, and for those who read ASCII only.
fn disposition(title: &str) -> String {
    let name = file_name(title);
    let ascii: String =
        name.chars().filter(|letter| letter.is_ascii_alphanumeric() || " -_.".contains(*letter)).collect();
    let ascii = ascii.trim();
    let ascii = if ascii.is_empty() { "replay" } else { ascii };
    format!("attachment; filename=\"{ascii}.mp4\"; filename*=UTF-8''{}.mp4", utf8_percent_encode(&name, &PLAIN))
}

/// A title without what a file's name cannot have, or would lie with: slashes, control letters, and those that turn the
/// direction of writing so that an ending looks like another.
fn file_name(title: &str) -> String {
    let is_turn = |letter: char| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let written = |letter: char| match letter {
        '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => Some('-'),
        letter if letter.is_control() || is_turn(letter) || letter == '\u{feff}' => None,
        letter => Some(letter),
    };
    let name: String = title.chars().filter_map(written).take(MAX_NAME).collect();
    let name = name.trim_matches(|letter: char| letter.is_whitespace() || letter == '.');
    if name.is_empty() { "replay".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_as_its_show_in_any_script() {
        assert_eq!(disposition("Evening"), "attachment; filename=\"Evening.mp4\"; filename*=UTF-8''Evening.mp4");
        let arabic = disposition("ليلة في بغداد");
        assert!(arabic.starts_with("attachment; filename=\"replay.mp4\"; filename*=UTF-8''%D9%84%D9%8A"), "{arabic}");
        assert!(arabic.is_ascii() && arabic.ends_with("%D8%AF.mp4"), "{arabic}");
    }

    #[test]
    fn no_title_leaves_its_folder_or_hides_its_ending() {
        for (title, name) in [
            ("../../etc/passwd", "-..-etc-passwd"),
            ("a\r\nSet-Cookie: x=y", "aSet-Cookie- x=y"),
            ("\u{202e}4pm.exe", "4pm.exe"),
            (" . ", "replay"),
            ("", "replay"),
            ("say \"hi\"", "say -hi-"),
        ] {
            assert_eq!(file_name(title), name);
            let header = disposition(title);
            assert!(HeaderValue::try_from(&header).is_ok() && header.matches('"').count() == 2, "{header}");
        }
        assert_eq!(file_name(&"é".repeat(500)).chars().count(), MAX_NAME);
    }

    #[test]
    fn tags_are_compared_whole() {
        assert!(names("\"a\", \"b\"", "\"b\"") && names("*", "\"b\""));
        assert!(!names("W/\"b\"", "\"b\"") && !names("\"bc\"", "\"b\"") && !names("", "\"b\""));
    }
}
