//! The playlists of a show in a bucket: ordinary HLS, for players and CDNs that ask no server of ours.
//!
//! In: journal entries whose `kept` says what the bucket has. Out: playlists with relative URIs, media playlists before
//! those that name them. Sequence numbers are those of the low-latency playlists. Pure. Driven by the uploader.
//! RFC 8216 section 4.3, rfc8216bis section 4.4.

use super::packager::{Segment, render_multivariant, render_recording, render_window};
use super::recording::Recording;
use crate::store::journal::{Entry, ThumbnailEntry};
use crate::store::{INDEX, Playlist, PlaylistWriter, THUMBNAIL_INDEX};

#[derive(Debug)]
pub(super) struct BucketPlaylists;

impl PlaylistWriter for BucketPlaylists {
    fn live(&self, entries: Vec<Entry>, target_duration: u64, over: bool) -> Vec<Playlist> {
        playlists(&Recording::read(entries), |segments| render_window(target_duration, segments, over))
    }

    fn recording(&self, entries: Vec<Entry>) -> Vec<Playlist> {
        let recording = Recording::read(entries);
        let mut written = playlists(&recording, |segments| render_recording(recording.target_duration(), segments));
        if let (Some(index), false) = (recording.thumbnail_index(), written.is_empty()) {
            written.push(Playlist { path: THUMBNAIL_INDEX.to_owned(), text: index.render("") });
        }
        written
    }

    fn poster(&self, entries: Vec<Entry>) -> Option<ThumbnailEntry> {
        Recording::read(entries).thumbnail_index().map(|index| index.poster)
    }
}

fn playlists(recording: &Recording, render: impl Fn(&[Segment]) -> String) -> Vec<Playlist> {
    let mut written = Vec::new();
    let mut choices = recording.choices();
    let mut independent = true;
    choices.retain(|choice| {
        let segments = without_lost_inits(recording.segments(choice.id));
        if let Some(segments) = &segments {
            independent &= segments.iter().all(|segment| segment.independent);
            written.push(Playlist { path: format!("{}/{INDEX}", choice.id), text: render(segments) });
        }
        segments.is_some()
    });
    if !choices.is_empty() {
        written.push(Playlist { path: INDEX.to_owned(), text: render_multivariant(&choices, independent, "") });
    }
    written
}

/// A gap's init may be as lost as its bytes, and a playlist must not name it: a gap takes the init of the segments
/// beside it, which it does not need. `None`: there is nothing but gaps.
fn without_lost_inits(segments: &[Segment]) -> Option<Vec<Segment>> {
    let mut init = segments.iter().find(|segment| !segment.gap)?.init_epoch;
    let mut segments = segments.to_vec();
    for segment in &mut segments {
        if segment.gap {
            segment.init_epoch = init;
        }
        init = segment.init_epoch;
    }
    Some(segments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RenditionId;
    use crate::store::journal::{EpochRendition, SegmentEntry};

    fn id(text: &str) -> RenditionId {
        RenditionId::parse(text).unwrap()
    }

    fn epoch(number: u64) -> Entry {
        let rendition = |text, codecs: &str| EpochRendition {
            id: id(text),
            init_epoch: number,
            codecs: codecs.to_owned(),
            picture: None,
            channels: None,
        };
        let renditions = vec![rendition("v0", "avc1.4d401f"), rendition("a0", "mp4a.40.2")];
        Entry::Epoch { number, discontinuity: number, renditions }
    }

    fn segment(rendition: &str, number: u64, epoch: u64, kept: bool) -> Entry {
        Entry::Segment(SegmentEntry {
            rendition: id(rendition),
            number,
            epoch,
            init_epoch: epoch,
            discontinuity: epoch,
            marks: 0,
            at_micros: number * 2_000_000,
            duration_nanos: 2_000_000_000,
            ends_at_nanos: number * 2_000_000_000,
            independent: true,
            kept,
            bytes: 1_000,
        })
    }

    #[test]
    fn a_live_playlist_names_what_is_there_and_only_that() {
        let mut entries = vec![epoch(3)];
        entries.extend((7..10).map(|number| segment("v0", number, 3, number != 8)));
        entries.extend((7..10).map(|number| segment("a0", number, 3, false)));
        let written = BucketPlaylists.live(entries, 2, false);
        let paths: Vec<_> = written.iter().map(|playlist| playlist.path.as_str()).collect();
        assert_eq!(paths, ["v0/index.m3u8", "index.m3u8"], "a rendition of gaps alone is not offered");
        let expected = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:2\n\
            #EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-DISCONTINUITY-SEQUENCE:3\n#EXT-X-MAP:URI=\"3/init.mp4\"\n\
            #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:14.000Z\n#EXTINF:2.00000,\n3/7.m4s\n\
            #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:16.000Z\n#EXT-X-GAP\n#EXTINF:2.00000,\n3/8.m4s\n\
            #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:18.000Z\n#EXTINF:2.00000,\n3/9.m4s\n";
        assert_eq!(written[0].text, expected);
        assert!(
            written[1].text.ends_with("\nv0/index.m3u8\n") && !written[1].text.contains("a0"),
            "{}",
            written[1].text
        );
    }

    #[test]
    fn a_gap_brings_no_init_of_its_own() {
        let mut entries = vec![epoch(0), segment("v0", 1, 0, false), epoch(1), segment("v0", 2, 1, true)];
        entries.extend([epoch(2), segment("v0", 3, 2, false), epoch(3), segment("v0", 4, 3, true)]);
        entries.push(Entry::Ended { target_duration_secs: 2 });
        let written = BucketPlaylists.recording(entries);
        let maps: Vec<_> = written[0].text.lines().filter(|line| line.starts_with("#EXT-X-MAP")).collect();
        assert_eq!(maps, ["#EXT-X-MAP:URI=\"1/init.mp4\"", "#EXT-X-MAP:URI=\"3/init.mp4\""], "{}", written[0].text);
        assert!(
            written[0].text.contains("#EXT-X-PLAYLIST-TYPE:VOD\n") && written[0].text.ends_with("#EXT-X-ENDLIST\n")
        );
        assert_eq!(BucketPlaylists.recording(vec![epoch(0), segment("v0", 1, 0, false)]), []);
    }
}
