//! What a player reads in a playlist: RFC 8216 and its second edition with low latency (rfc8216bis section 4.4).
//!
//! In: text, of any server. Out: renditions to choose from, or segments and parts in order. What a player for measuring has
//! no use for is passed over.

use anyhow::{Context, ensure};
use std::time::{Duration, SystemTime};

#[derive(Debug, PartialEq)]
pub(super) enum Playlist {
    Multivariant(Choice),
    Media(MediaPlaylist),
}

/// The variant with the highest bandwidth, and the sound that goes with it.
#[derive(Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) main: String,
    pub(super) sound: Option<String>,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct MediaPlaylist {
    pub(super) target: Duration,
    /// The server holds a request until there is something new.
    pub(super) can_block: bool,
    part_hold_back: Option<Duration>,
    hold_back: Option<Duration>,
    pub(super) segments: Vec<Segment>,
    pub(super) has_ended: bool,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// `None` while it grows.
    pub(super) uri: Option<String>,
    pub(super) duration: Duration,
    pub(super) init: Option<String>,
    /// When its first frame was taken.
    pub(super) at: Option<SystemTime>,
    pub(super) is_gap: bool,
    pub(super) parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub(super) uri: String,
    pub(super) duration: Duration,
    is_independent: bool,
}

/// A place in a rendition: the segment's number, and which of its parts.
pub(super) type Place = (u64, usize);

/// What is fetched with one request.
#[derive(Debug, PartialEq)]
pub(super) struct Item<'a> {
    pub(super) uri: &'a str,
    pub(super) init: Option<&'a str>,
    pub(super) duration: Duration,
    /// When its last frame was taken.
    pub(super) ended_at: Option<SystemTime>,
    /// Where to go on after it.
    pub(super) next: Place,
}

impl Playlist {
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        ensure!(lines.next() == Some("#EXTM3U"), "that is no playlist: its first line is not #EXTM3U");
        if text.contains("#EXT-X-STREAM-INF:") {
            return parse_multivariant(lines).map(Self::Multivariant);
        }
        parse_media(lines).map(Self::Media)
    }
}

fn parse_multivariant<'a>(lines: impl Iterator<Item = &'a str>) -> anyhow::Result<Choice> {
    let mut best: Option<(u64, &str, Option<&str>)> = None;
    let mut sounds = Vec::new();
    let mut variant = None;
    for line in lines {
        if let Some(attributes) = line.strip_prefix("#EXT-X-STREAM-INF:") {
            let bandwidth = attribute(attributes, "BANDWIDTH").and_then(|value| value.parse().ok()).unwrap_or(0);
            variant = Some((bandwidth, attribute(attributes, "AUDIO")));
        } else if let Some(attributes) = line.strip_prefix("#EXT-X-MEDIA:") {
            if let (Some("AUDIO"), Some(group), Some(uri)) =
                (attribute(attributes, "TYPE"), attribute(attributes, "GROUP-ID"), attribute(attributes, "URI"))
            {
                sounds.push((group, attribute(attributes, "DEFAULT") == Some("YES"), uri));
            }
        } else if !line.starts_with('#')
            && let Some((bandwidth, group)) = variant.take()
            && best.is_none_or(|(most, ..)| bandwidth > most)
        {
            best = Some((bandwidth, line, group));
        }
    }
    let (_, main, group) = best.context("the playlist offers no variant")?;
    let of_group = || sounds.iter().filter(|(name, ..)| Some(*name) == group);
    let sound = of_group().find(|(_, is_default, _)| *is_default).or_else(|| of_group().next());
    Ok(Choice { main: main.to_owned(), sound: sound.map(|(.., uri)| (*uri).to_owned()).filter(|uri| uri != main) })
}

fn parse_media<'a>(lines: impl Iterator<Item = &'a str>) -> anyhow::Result<MediaPlaylist> {
    let mut playlist = MediaPlaylist::default();
    let (mut first, mut init) = (0, None);
    let mut open = Segment::default();
    for line in lines {
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        match tag {
            "#EXT-X-TARGETDURATION" => playlist.target = seconds(value).context("EXT-X-TARGETDURATION is no number")?,
            "#EXT-X-MEDIA-SEQUENCE" => first = value.parse().context("EXT-X-MEDIA-SEQUENCE is no number")?,
            "#EXT-X-SERVER-CONTROL" => {
                playlist.can_block = attribute(value, "CAN-BLOCK-RELOAD") == Some("YES");
                playlist.part_hold_back = attribute(value, "PART-HOLD-BACK").and_then(seconds);
                playlist.hold_back = attribute(value, "HOLD-BACK").and_then(seconds);
            }
            "#EXT-X-MAP" => init = attribute(value, "URI").map(str::to_owned),
            "#EXT-X-PROGRAM-DATE-TIME" => open.at = humantime::parse_rfc3339(value).ok(),
            "#EXT-X-GAP" => open.is_gap = true,
            "#EXT-X-PART" => {
                let uri = attribute(value, "URI").context("an EXT-X-PART without URI")?.to_owned();
                let duration =
                    attribute(value, "DURATION").and_then(seconds).context("an EXT-X-PART without DURATION")?;
                let is_independent = attribute(value, "INDEPENDENT") == Some("YES");
                open.parts.push(Part { uri, duration, is_independent });
            }
            "#EXTINF" => {
                let duration = value.split(',').next().and_then(seconds).context("an EXTINF without duration")?;
                open.duration = duration;
            }
            "#EXT-X-ENDLIST" => playlist.has_ended = true,
            _ if line.starts_with('#') => {}
            _ => {
                open.uri = Some(line.to_owned());
                open.number = first + playlist.segments.len() as u64;
                open.init.clone_from(&init);
                playlist.segments.push(std::mem::take(&mut open));
            }
        }
    }
    if !open.parts.is_empty() {
        open.number = first + playlist.segments.len() as u64;
        open.init = init;
        open.duration = open.parts.iter().map(|part| part.duration).sum();
        playlist.segments.push(open);
    }
    Ok(playlist)
}

impl MediaPlaylist {
    /// Low latency: the newest parts are listed one by one.
    pub(super) fn has_parts(&self) -> bool {
        self.segments.iter().any(|segment| !segment.parts.is_empty())
    }

    /// Where a player begins: at the first segment of what has an end, else as far behind the newest as the server asks.
    pub(super) fn start(&self) -> Option<Place> {
        let first = self.segments.first()?.number;
        if self.has_ended {
            return Some((first, 0));
        }
        let parts = self.has_parts();
        let hold_back = if parts { self.part_hold_back.or(self.hold_back) } else { self.hold_back };
        let hold_back = hold_back.unwrap_or(self.target * 3);
        let mut behind = Duration::ZERO;
        for segment in self.segments.iter().rev() {
            for (index, part) in segment.parts.iter().enumerate().rev().filter(|_| parts) {
                behind += part.duration;
                if behind >= hold_back && part.is_independent {
                    return Some((segment.number, index));
                }
            }
            if segment.parts.is_empty() || !parts {
                behind += segment.duration;
            }
            if behind >= hold_back {
                return Some((segment.number, 0));
            }
        }
        Some((first, 0))
    }

    /// What there is from a place on. Empty also when the place has left the playlist: see [`Self::has_left`].
    pub(super) fn items(&self, from: Place) -> impl Iterator<Item = Item<'_>> {
        self.segments.iter().filter(move |segment| segment.number >= from.0 && !segment.is_gap).flat_map(
            move |segment| {
                let skipped = if segment.number == from.0 { from.1 } else { 0 };
                let whole = segment.uri.as_deref().filter(|_| segment.parts.is_empty());
                let whole = whole.filter(|_| skipped == 0).map(|uri| Item {
                    uri,
                    init: segment.init.as_deref(),
                    duration: segment.duration,
                    ended_at: segment.at.map(|at| at + segment.duration),
                    next: (segment.number + 1, 0),
                });
                let mut end = Duration::ZERO;
                let parts = segment.parts.iter().enumerate().map(move |(index, part)| {
                    end += part.duration;
                    let is_last = segment.uri.is_some() && index + 1 == segment.parts.len();
                    Item {
                        uri: &part.uri,
                        init: segment.init.as_deref(),
                        duration: part.duration,
                        ended_at: segment.at.map(|at| at + end),
                        next: if is_last { (segment.number + 1, 0) } else { (segment.number, index + 1) },
                    }
                });
                whole.into_iter().chain(parts.skip(skipped))
            },
        )
    }

    /// The place is older than anything listed.
    pub(super) fn has_left(&self, place: Place) -> bool {
        self.segments.first().is_some_and(|first| {
            first.number > place.0
                || place.1 > 0
                    && self.segments.iter().any(|segment| segment.number == place.0 && segment.parts.is_empty())
        })
    }

    /// Whole segments instead of parts, as players without low latency see it.
    pub(super) fn without_parts(mut self) -> Self {
        self.can_block = false;
        self.segments.iter_mut().for_each(|segment| segment.parts.clear());
        self.segments.retain(|segment| segment.uri.is_some());
        self
    }
}

fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

/// A value of an attribute list, without its quotes (RFC 8216 section 4.2).
fn attribute<'a>(list: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = list;
    while let Some((name, tail)) = rest.split_once('=') {
        let (value, after) = match tail.strip_prefix('"') {
            Some(quoted) => {
                let (value, after) = quoted.split_once('"')?;
                (value, after.strip_prefix(',').unwrap_or(after))
            }
            None => tail.split_once(',').unwrap_or((tail, "")),
        };
        if name.trim() == wanted {
            return Some(value);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(text: &str) -> MediaPlaylist {
        match Playlist::parse(text).unwrap() {
            Playlist::Media(playlist) => playlist,
            Playlist::Multivariant(choice) => panic!("{choice:?}"),
        }
    }

    const LIVE: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.6,HOLD-BACK=6.0\n#EXT-X-MEDIA-SEQUENCE:7\n\
        #EXT-X-MAP:URI=\"0/init.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00.000Z\n#EXTINF:2.0,\n0/7.m4s\n\
        #EXT-X-PART:URI=\"0/8.0.m4s\",DURATION=1.0,INDEPENDENT=YES\n#EXT-X-PART:URI=\"0/8.1.m4s\",DURATION=1.0\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:02.000Z\n#EXTINF:2.0,\n0/8.m4s\n\
        #EXT-X-PART:URI=\"0/9.0.m4s\",DURATION=0.2,INDEPENDENT=YES\n\
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"0/9.1.m4s\"\n";

    #[test]
    fn a_player_with_low_latency_begins_near_the_newest_part_and_goes_on_part_by_part() {
        let playlist = media(LIVE);
        assert!(playlist.can_block && playlist.has_parts() && !playlist.has_ended);
        let start = playlist.start().unwrap();
        assert_eq!(start, (8, 0), "an independent part, at least 0.6 s behind");
        let items: Vec<_> = playlist.items(start).collect();
        assert_eq!(items.iter().map(|item| item.uri).collect::<Vec<_>>(), ["0/8.0.m4s", "0/8.1.m4s", "0/9.0.m4s"]);
        assert_eq!(items.iter().map(|item| item.next).collect::<Vec<_>>(), [(8, 1), (9, 0), (9, 1)]);
        assert_eq!(items[1].ended_at, Some(humantime::parse_rfc3339("2026-01-01T00:00:04Z").unwrap()));
        assert_eq!(items[1].init, Some("0/init.mp4"));
        assert_eq!(playlist.items((9, 1)).count(), 0, "nothing new");
        assert!(playlist.has_left((6, 0)) && playlist.has_left((7, 2)) && !playlist.has_left((9, 1)));
    }

    #[test]
    fn a_player_without_it_takes_whole_segments_and_stays_behind() {
        let playlist = media(LIVE).without_parts();
        assert_eq!(playlist.start(), Some((7, 0)));
        assert_eq!(playlist.items((7, 0)).map(|item| item.uri).collect::<Vec<_>>(), ["0/7.m4s", "0/8.m4s"]);
    }

    #[test]
    fn a_recording_begins_at_its_beginning_and_gaps_are_passed_over() {
        let playlist = media(
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.ts\n#EXT-X-GAP\n#EXTINF:2,\nb.ts\n#EXTINF:1.5,\nc.ts\n#EXT-X-ENDLIST\n",
        );
        assert_eq!(playlist.start(), Some((0, 0)));
        assert_eq!(
            playlist.items((0, 0)).map(|item| (item.uri, item.next.0)).collect::<Vec<_>>(),
            [("a.ts", 1), ("c.ts", 3)]
        );
        assert!(playlist.has_ended && !playlist.can_block);
    }

    #[test]
    fn of_variants_the_best_is_chosen_with_its_own_sound() {
        let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"low\",NAME=\"a,b\",URI=\"x.m3u8\"\n\
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a0\",NAME=\"fr\",URI=\"fr.m3u8\"\n\
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a0\",NAME=\"ar\",DEFAULT=YES,URI=\"ar.m3u8\"\n\
            #EXT-X-STREAM-INF:BANDWIDTH=500000,CODECS=\"avc1.42c01f,mp4a.40.2\",AUDIO=\"low\"\nsmall.m3u8\n\
            #EXT-X-STREAM-INF:BANDWIDTH=2500000,CODECS=\"avc1.64001f,mp4a.40.2\",AUDIO=\"a0\"\nlarge.m3u8\n";
        let chosen = Choice { main: "large.m3u8".to_owned(), sound: Some("ar.m3u8".to_owned()) };
        assert_eq!(Playlist::parse(text).unwrap(), Playlist::Multivariant(chosen));
    }

    #[test]
    fn what_is_no_playlist_is_said_to_be_none() {
        for (text, reason) in [
            ("<html>", "is not #EXTM3U"),
            ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n", "no variant"),
            ("#EXTM3U\n#EXT-X-TARGETDURATION:x\n", "EXT-X-TARGETDURATION is no number"),
            ("#EXTM3U\n#EXT-X-PART:URI=\"a\"\n", "EXT-X-PART without DURATION"),
            ("#EXTM3U\n#EXTINF:\na\n", "EXTINF without duration"),
        ] {
            let error = format!("{:#}", Playlist::parse(text).unwrap_err());
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }
}
