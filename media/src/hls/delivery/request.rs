//! In: path, query and headers. Out: what is asked for, by ids that are already checked. Pure.
//! Driven by routes.rs. No part of a path reaches the disk as text: ids and numbers are parsed and written anew.

use super::super::text::Encoding;
use crate::model::BroadcastId;
use crate::seam::Secret;
use crate::store::{INDEX, ObjectName, RenditionId, THUMBNAIL, THUMBNAIL_INDEX, parse_number};
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, COOKIE};

/// `/hls/<broadcast>[/~<pass>][/replay]/<resource>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) broadcast: BroadcastId,
    /// A private viewer's pass, without the `~`.
    pub(super) pass: Option<&'a str>,
    /// The whole of a show that is over, also while those who watched it live are still shown its end.
    pub(super) replay: bool,
    pub(super) resource: Resource,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    Multivariant,
    /// The newest picture of a show that is live, the poster of one that is over.
    Thumbnail,
    /// All pictures of a show that is over, for its seek bar.
    ThumbnailIndex,
    Playlist(RenditionId),
    Object {
        rendition: RenditionId,
        epoch: u64,
        object: ObjectName,
    },
    Part {
        rendition: RenditionId,
        epoch: u64,
        segment: u64,
        part: u64,
    },
    /// Below `replay/` only, and opened with a ticket: no pass lasts as long as a link.
    Download(DownloadPart),
}

/// Of a replay as one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DownloadPart {
    File,
    /// How far the file is prepared.
    Progress,
}

impl<'a> Target<'a> {
    pub(super) fn parse(path: &'a str) -> Option<Self> {
        let (broadcast, mut rest) = path.strip_prefix("/hls/")?.split_once('/')?;
        let mut pass = None;
        if let Some((element, after)) = rest.strip_prefix('~').and_then(|rest| rest.split_once('/')) {
            pass = Some(element);
            rest = after;
        }
        let whole = rest.strip_prefix("replay/");
        let (replay, rest) = (whole.is_some(), whole.unwrap_or(rest));
        let resource = match rest {
            "video.mp4" if replay && pass.is_none() => Resource::Download(DownloadPart::File),
            "video.json" if replay && pass.is_none() => Resource::Download(DownloadPart::Progress),
            rest => Resource::parse(rest)?,
        };
        Some(Self { broadcast: BroadcastId::parse(broadcast).ok()?, pass, replay, resource })
    }
}

impl Resource {
    fn parse(path: &str) -> Option<Self> {
        let Some((rendition, rest)) = path.split_once('/') else {
            return match path {
                INDEX => Some(Self::Multivariant),
                THUMBNAIL => Some(Self::Thumbnail),
                THUMBNAIL_INDEX => Some(Self::ThumbnailIndex),
                _ => None,
            };
        };
        let rendition = RenditionId::parse(rendition)?;
        let Some((epoch, name)) = rest.split_once('/') else {
            return (rest == INDEX).then_some(Self::Playlist(rendition));
        };
        let epoch = parse_number(epoch)?;
        if let Some(object) = ObjectName::parse(name) {
            return Some(Self::Object { rendition, epoch, object });
        }
        let (segment, part) = name.strip_suffix(".m4s")?.split_once('.')?;
        Some(Self::Part { rendition, epoch, segment: parse_number(segment)?, part: parse_number(part)? })
    }

    /// For counters.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Multivariant => "multivariant",
            Self::Thumbnail | Self::Object { object: ObjectName::Thumbnail(_), .. } => "thumbnail",
            Self::ThumbnailIndex => "thumbnails",
            Self::Playlist(_) => "playlist",
            Self::Object { object: ObjectName::Init, .. } => "init",
            Self::Object { object: ObjectName::Segment(_), .. } => "segment",
            Self::Part { .. } => "part",
            Self::Download(DownloadPart::File) => "download",
            Self::Download(DownloadPart::Progress) => "download_progress",
        }
    }
}

/// The delivery directives of a playlist request (rfc8216bis section 6.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Directives {
    /// `_HLS_msn`, and `_HLS_part` with it.
    pub(super) block: Option<(u64, Option<u64>)>,
    /// `_HLS_skip`.
    pub(super) skip: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DirectiveError {
    #[error("{0} is not a number")]
    NotANumber(&'static str),
    #[error("_HLS_part needs _HLS_msn")]
    PartWithoutSegment,
}

impl Directives {
    pub(super) fn parse(query: &str) -> Result<Self, DirectiveError> {
        let number = |name: &'static str| match parameter(query, name) {
            None => Ok(None),
            Some(value) => value.parse::<u64>().map(Some).map_err(|_| DirectiveError::NotANumber(name)),
        };
        let block = match (number("_HLS_msn")?, number("_HLS_part")?) {
            (None, None) => None,
            (None, Some(_)) => return Err(DirectiveError::PartWithoutSegment),
            (Some(segment), part) => Some((segment, part)),
        };
        // A value we do not know asks for something newer than this; the whole playlist is always right.
        let skip = matches!(parameter(query, "_HLS_skip"), Some("YES" | "v2"));
        Ok(Self { block, skip })
    }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// The ticket of a private viewer: `?ticket=` for players that cannot send headers, else a bearer token.
pub(super) fn ticket(query: &str, headers: &HeaderMap) -> Option<Secret> {
    if let Some(ticket) = parameter(query, "ticket") {
        return percent_encoding::percent_decode_str(ticket).decode_utf8().ok().map(Secret::new);
    }
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Secret::new(token.trim()))
}

pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    pairs.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

pub(super) fn encoding(headers: &HeaderMap) -> Encoding {
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.map_or(Encoding::Plain, Encoding::choose)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendition(text: &str) -> RenditionId {
        RenditionId::parse(text).unwrap()
    }

    #[test]
    fn every_address_we_write_is_understood() {
        let parse = |path| Target::parse(path).unwrap().resource;
        assert_eq!(parse("/hls/session_1/index.m3u8"), Resource::Multivariant);
        assert_eq!(parse("/hls/session_1/v0/index.m3u8"), Resource::Playlist(rendition("v0")));
        let object = |object| Resource::Object { rendition: rendition("a0"), epoch: 3, object };
        assert_eq!(parse("/hls/session_1/a0/3/init.mp4"), object(ObjectName::Init));
        assert_eq!(parse("/hls/session_1/a0/3/17.m4s"), object(ObjectName::Segment(17)));
        let part = Resource::Part { rendition: rendition("v1"), epoch: 0, segment: 7, part: 2 };
        assert_eq!(parse("/hls/session_1/v1/0/7.2.m4s"), part);
        assert_eq!(parse("/hls/session_1/thumbnail.jpg"), Resource::Thumbnail);
        assert_eq!(parse("/hls/session_1/replay/thumbnails.vtt"), Resource::ThumbnailIndex);
        assert_eq!(parse("/hls/session_1/replay/a0/3/17.jpg"), object(ObjectName::Thumbnail(17)));
        let private = Target::parse("/hls/session_1/~abc.def/v1/0/7.2.m4s").unwrap();
        assert_eq!((private.pass, private.resource), (Some("abc.def"), part));
        assert_eq!(parse("/hls/session_1/replay/video.mp4"), Resource::Download(DownloadPart::File));
        assert_eq!(parse("/hls/session_1/replay/video.json"), Resource::Download(DownloadPart::Progress));
    }

    #[test]
    fn nothing_else_is() {
        for path in [
            "/hls/session_1",
            "/hls/session_1/",
            "/hls//index.m3u8",
            "/hls/../index.m3u8",
            "/hls/session_1/../../etc/passwd",
            "/hls/session_1/%2e%2e/index.m3u8",
            "/hls/session.1/index.m3u8",
            "/hls/session_1/v0/0/../1.m4s",
            "/hls/session_1/v0/0/1.m4s/",
            "/hls/session_1/v0/0/1..m4s",
            "/hls/session_1/v0/0/1.2.3.m4s",
            "/hls/session_1/v0/00/1.m4s",
            "/hls/session_1/v0/0/-1.m4s",
            "/hls/session_1/v0//index.m3u8",
            "/hls/session_1/v0/index.jsonl",
            "/hls/session_1/index.jsonl",
            "/hls/session_1/~pass",
            "/hls/session_1/~a/~b/index.m3u8",
            "/hls/session_1/video.mp4",
            "/hls/session_1/~abc.def/replay/video.mp4",
            "/hls/session_1/replay/video.mp4/",
        ] {
            assert_eq!(Target::parse(path), None, "{path}");
        }
    }

    #[test]
    fn directives_are_numbers_or_refused() {
        let block = |query| Directives::parse(query).map(|directives| directives.block);
        assert_eq!(block("_HLS_msn=7&_HLS_part=2"), Ok(Some((7, Some(2)))));
        assert_eq!(block("_HLS_msn=7"), Ok(Some((7, None))));
        assert_eq!(block(""), Ok(None));
        assert_eq!(block("_HLS_part=0"), Err(DirectiveError::PartWithoutSegment));
        for query in ["_HLS_msn=", "_HLS_msn=-1", "_HLS_msn=1e3", "_HLS_msn=99999999999999999999"] {
            assert_eq!(block(query), Err(DirectiveError::NotANumber("_HLS_msn")), "{query}");
        }
        assert!(
            Directives::parse("_HLS_skip=YES").unwrap().skip && Directives::parse("a=1&_HLS_skip=v2").unwrap().skip
        );
        assert!(!Directives::parse("_HLS_skip=NO").unwrap().skip);
    }
}
