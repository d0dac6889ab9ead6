//! A strict reader for tests: follows one media playlist from reload to reload and holds it to rfc8216bis.

use super::snapshot::RenditionSnapshot;
use bytes::Bytes;
use std::collections::HashMap;

/// What one media playlist says, read with no code shared with the writer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Listing {
    pub(crate) target_duration: u64,
    pub(crate) part_target: f64,
    pub(crate) hold_back: f64,
    pub(crate) part_hold_back: f64,
    pub(crate) skip_until: f64,
    pub(crate) media_sequence: u64,
    pub(crate) discontinuity_sequence: u64,
    pub(crate) skipped: u64,
    pub(crate) independent_segments: bool,
    /// The last is the open segment if it has no URI.
    pub(crate) segments: Vec<ListedSegment>,
    pub(crate) hint: Option<String>,
    pub(crate) reports: Vec<(String, u64, Option<u64>)>,
    pub(crate) ended: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ListedSegment {
    pub(crate) uri: Option<String>,
    pub(crate) duration: f64,
    pub(crate) at: String,
    pub(crate) map: Option<String>,
    pub(crate) discontinuities: u64,
    pub(crate) gap: bool,
    /// URI, duration, independent.
    pub(crate) parts: Vec<(String, f64, bool)>,
}

impl ListedSegment {
    fn is_blank(&self) -> bool {
        *self == Self::default()
    }
}

impl Listing {
    /// Panics on any tag or attribute that is not expected: a playlist says nothing by accident.
    pub(crate) fn parse(text: &str) -> Self {
        let mut listing = Self::default();
        let mut segment = ListedSegment::default();
        assert!(text.starts_with("#EXTM3U\n#EXT-X-VERSION:9\n"), "{text}");
        for line in text.lines().skip(2) {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            match tag {
                "#EXT-X-INDEPENDENT-SEGMENTS" => listing.independent_segments = true,
                "#EXT-X-TARGETDURATION" => listing.target_duration = value.parse().unwrap(),
                "#EXT-X-SERVER-CONTROL" => {
                    assert_eq!(attribute(value, "CAN-BLOCK-RELOAD"), Some("YES"));
                    let seconds = |name| attribute(value, name).unwrap().parse().unwrap();
                    listing.hold_back = seconds("HOLD-BACK");
                    listing.part_hold_back = seconds("PART-HOLD-BACK");
                    listing.skip_until = seconds("CAN-SKIP-UNTIL");
                }
                "#EXT-X-PART-INF" => listing.part_target = attribute(value, "PART-TARGET").unwrap().parse().unwrap(),
                "#EXT-X-MEDIA-SEQUENCE" => listing.media_sequence = value.parse().unwrap(),
                "#EXT-X-DISCONTINUITY-SEQUENCE" => listing.discontinuity_sequence = value.parse().unwrap(),
                "#EXT-X-PLAYLIST-TYPE" => assert_eq!(value, "VOD"),
                "#EXT-X-SKIP" => listing.skipped = attribute(value, "SKIPPED-SEGMENTS").unwrap().parse().unwrap(),
                "#EXT-X-DISCONTINUITY" => segment.discontinuities += 1,
                "#EXT-X-MAP" => segment.map = Some(quoted(value, "URI")),
                "#EXT-X-PROGRAM-DATE-TIME" => segment.at = value.to_owned(),
                "#EXT-X-PART" => segment.parts.push((
                    quoted(value, "URI"),
                    attribute(value, "DURATION").unwrap().parse().unwrap(),
                    attribute(value, "INDEPENDENT") == Some("YES"),
                )),
                "#EXT-X-GAP" => segment.gap = true,
                "#EXTINF" => segment.duration = value.strip_suffix(',').unwrap().parse().unwrap(),
                "#EXT-X-PRELOAD-HINT" => {
                    assert_eq!(attribute(value, "TYPE"), Some("PART"));
                    listing.hint = Some(quoted(value, "URI"));
                }
                "#EXT-X-RENDITION-REPORT" => listing.reports.push((
                    quoted(value, "URI"),
                    attribute(value, "LAST-MSN").unwrap().parse().unwrap(),
                    attribute(value, "LAST-PART").map(|part| part.parse().unwrap()),
                )),
                "#EXT-X-ENDLIST" => listing.ended = true,
                _ if !line.starts_with('#') => {
                    segment.uri = Some(line.to_owned());
                    listing.segments.push(std::mem::take(&mut segment));
                }
                _ => panic!("unexpected line: {line}"),
            }
        }
        if !segment.is_blank() {
            listing.segments.push(segment);
        }
        listing
    }

    pub(crate) fn closed(&self) -> impl Iterator<Item = &ListedSegment> {
        self.segments.iter().filter(|segment| segment.uri.is_some())
    }
}

fn attribute<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    list.split(',').find_map(|item| item.strip_prefix(name)?.strip_prefix('='))
}

fn quoted(list: &str, name: &str) -> String {
    let value = attribute(list, name).unwrap();
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap().to_owned()
}

/// Follows one rendition.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    last: Option<Listing>,
    bytes: HashMap<String, Bytes>,
    durations: HashMap<String, f64>,
}

impl Follower {
    /// Checks the playlist against the rules and against what it said before.
    pub(crate) fn follow(&mut self, snapshot: &RenditionSnapshot) -> Listing {
        let text = super::media_playlist::render(snapshot);
        let listing = Listing::parse(&text);
        // Slow, and it knows nothing of parts: once per segment is enough.
        if self
            .last
            .as_ref()
            .is_none_or(|last| last.closed().count() != listing.closed().count() || last.ended != listing.ended)
        {
            assert!(m3u8_rs::parse_media_playlist_res(text.as_bytes()).is_ok(), "{text}");
        }
        self.check_rules(&listing, &text);
        self.check_bytes(snapshot, &listing);
        if let Some(last) = self.last.take() {
            check_succession(&last, &listing, &text);
            check_delta(&last, snapshot, &listing);
        }
        self.last = Some(listing.clone());
        listing
    }

    fn check_rules(&mut self, listing: &Listing, text: &str) {
        let target = listing.target_duration as f64;
        assert!(listing.hold_back >= 3.0 * target && listing.skip_until >= 6.0 * target, "{text}");
        assert!(listing.part_hold_back >= 3.0 * listing.part_target - 1e-4, "{text}");
        for segment in &listing.segments {
            assert!(segment.duration.round() <= target, "{} s is over the target\n{text}", segment.duration);
            assert!(segment.at.ends_with('Z') && segment.at.len() == 24, "every segment has its date\n{text}");
            let listed: f64 = segment.parts.iter().map(|part| part.1).sum();
            if segment.uri.is_some() && !segment.parts.is_empty() {
                assert!((listed - segment.duration).abs() < 0.001, "parts add up to their segment\n{text}");
            }
            for (index, (uri, duration, _)) in segment.parts.iter().enumerate() {
                assert!(*duration <= listing.part_target + 1e-5, "{uri} is over the part target\n{text}");
                let last = index + 1 == segment.parts.len();
                let short = *duration < 0.85 * listing.part_target - 1e-5;
                assert!(!short || (last && segment.uri.is_some()), "{uri} is under 85 % of the part target\n{text}");
            }
        }
        let first = listing.segments.first();
        assert!(
            listing.skipped > 0 || first.is_none_or(|first| first.map.is_some()),
            "the first segment names its init\n{text}"
        );
        for segment in listing.closed() {
            let uri = segment.uri.clone().unwrap();
            let known = *self.durations.entry(uri.clone()).or_insert(segment.duration);
            assert!((known - segment.duration).abs() < 1e-6, "{uri} changed its duration");
        }
    }

    /// Every URI resolves, and never to other bytes than before.
    fn check_bytes(&mut self, snapshot: &RenditionSnapshot, listing: &Listing) {
        let mut init = String::new();
        for segment in &listing.segments {
            init = segment.map.clone().unwrap_or(init);
            for (uri, _, independent) in &segment.parts {
                if let Some(bytes) = self.check_same(uri, &resolve(snapshot, uri)) {
                    let moof = <mp4_atom::Moof as mp4_atom::Decode>::decode(&mut &bytes[..]).unwrap();
                    let sync = moof.traf[0].trun[0].samples.get(0).unwrap().flags.unwrap() & 0x0001_0000 == 0;
                    assert_eq!(*independent, sync, "{uri} says whether it can be decoded alone");
                }
            }
            if let Some(uri) = segment.uri.as_ref().filter(|uri| !segment.gap && !self.bytes.contains_key(*uri)) {
                let bytes = resolve(snapshot, uri);
                self.check_same(uri, &bytes);
                let parts: Vec<Bytes> = segment.parts.iter().map(|part| resolve(snapshot, &part.0)).collect();
                assert!(parts.is_empty() || bytes == parts.concat(), "a segment is its parts");
            }
            self.check_same(&init, &resolve(snapshot, &init));
        }
    }

    /// Returns the bytes if they are met for the first time.
    fn check_same(&mut self, uri: &str, bytes: &Bytes) -> Option<Bytes> {
        match self.bytes.get(uri) {
            Some(known) => {
                let shared = known.as_ptr() == bytes.as_ptr() && known.len() == bytes.len();
                assert!(shared || known == bytes, "{uri} was used for other bytes");
                None
            }
            None => {
                assert!(!bytes.is_empty());
                self.bytes.insert(uri.to_owned(), bytes.clone());
                Some(bytes.clone())
            }
        }
    }
}

/// The bytes behind a URI of this playlist.
pub(crate) fn resolve(snapshot: &RenditionSnapshot, uri: &str) -> Bytes {
    let (epoch, name) = uri.split_once('/').unwrap();
    let epoch = epoch.parse().unwrap();
    let found = match name.strip_suffix(".m4s") {
        None => snapshot.init(epoch).cloned(),
        Some(numbers) => match numbers.split_once('.') {
            None => snapshot.segment(epoch, numbers.parse().unwrap()).map(|segment| segment.chunks().concat().into()),
            Some((number, part)) => {
                snapshot.part(epoch, number.parse().unwrap(), part.parse().unwrap()).map(|part| part.bytes.clone())
            }
        },
    };
    found.unwrap_or_else(|| panic!("{uri} does not resolve"))
}

/// A playlist may only grow at its end and lose segments at its beginning (section 6.2.1).
fn check_succession(last: &Listing, next: &Listing, text: &str) {
    assert!(next.media_sequence >= last.media_sequence, "media sequence went back\n{text}");
    assert!(next.discontinuity_sequence >= last.discontinuity_sequence, "discontinuity sequence went back\n{text}");
    assert!(next.target_duration >= last.target_duration, "target duration fell\n{text}");
    assert!(!last.ended || next == last, "an ended playlist does not change");
    let gone = usize::try_from(next.media_sequence - last.media_sequence).unwrap();
    let lost: u64 = last.segments.iter().take(gone).map(|segment| segment.discontinuities).sum();
    assert_eq!(
        next.discontinuity_sequence,
        last.discontinuity_sequence + lost,
        "each lost discontinuity is counted\n{text}"
    );
    for (before, after) in last.segments.iter().skip(gone).zip(&next.segments) {
        assert_eq!(before.discontinuities, after.discontinuities);
        assert_eq!(before.at, after.at);
        if before.uri.is_some() {
            assert_eq!((&before.uri, before.duration), (&after.uri, after.duration));
            assert!(!before.gap || after.gap, "what is lost does not come back");
        }
        for (old, new) in before.parts.iter().zip(&after.parts) {
            assert_eq!(old, new, "a listed part does not change");
        }
        assert!(after.parts.len() >= before.parts.len() || after.parts.is_empty());
    }
}

/// The delta update on top of the earlier playlist is the whole playlist.
fn check_delta(last: &Listing, snapshot: &RenditionSnapshot, full: &Listing) {
    let text = super::media_playlist::render_delta(snapshot);
    let mut delta = Listing::parse(&text);
    if delta.skipped == 0 {
        assert_eq!(&delta, full);
        return;
    }
    let (mut behind, skipped) = (0.0, usize::try_from(delta.skipped).unwrap());
    for segment in full.segments[skipped..].iter().rev() {
        behind += if segment.uri.is_some() { segment.duration } else { segment.parts.iter().map(|part| part.1).sum() };
    }
    assert!(behind + 0.001 >= delta.skip_until, "only segments before the skip boundary are skipped\n{text}");
    let gone = usize::try_from(full.media_sequence - last.media_sequence).unwrap();
    let known = last.segments.iter().skip(gone).take(skipped).cloned();
    let mut rebuilt: Vec<_> = known.collect();
    assert_eq!(rebuilt.len(), skipped, "a reader of the playlist before has what is skipped\n{text}");
    rebuilt.append(&mut delta.segments);
    let strip = |segments: &[ListedSegment]| -> Vec<ListedSegment> {
        let mut init = None;
        segments
            .iter()
            .map(|segment| {
                init = segment.map.clone().or(init.take());
                // An init holds until the next; where it is repeated does not matter.
                ListedSegment { map: init.clone(), parts: Vec::new(), ..segment.clone() }
            })
            .collect()
    };
    let (rebuilt, whole) = (strip(&rebuilt), strip(&full.segments));
    assert_eq!(rebuilt.len(), whole.len());
    for (rebuilt, whole) in rebuilt.iter().zip(&whole) {
        assert_eq!(
            (&rebuilt.uri, &rebuilt.at, rebuilt.discontinuities),
            (&whole.uri, &whole.at, whole.discontinuities)
        );
        assert!(rebuilt.map.is_none() || rebuilt.map == whole.map || gone > 0);
    }
}
