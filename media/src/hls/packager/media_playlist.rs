//! In: a rendition's snapshot. Out: the text of its media playlist. Pure.
//! Driven by the first reader of each snapshot. rfc8216bis sections 4.4 and 6.2.5.

use super::snapshot::{Hint, RenditionSnapshot, Segment, ShowState};
use std::fmt::Write;
use std::time::Duration;

/// Playlist delta updates came with version 9.
const VERSION: u32 = 9;
/// PART-HOLD-BACK in part targets, the advised distance (section 4.4.3.8).
const PART_HOLD_BACK: u32 = 3;
/// HOLD-BACK in target durations, the least allowed.
const HOLD_BACK: u64 = 3;
/// CAN-SKIP-UNTIL in target durations, the least allowed.
const SKIP_UNTIL: u64 = 6;
/// Parts are listed for this many target durations from the end (section 4.4.4.9).
const PARTS_LISTED: u64 = 3;

pub(crate) fn render(snapshot: &RenditionSnapshot) -> String {
    write_playlist(snapshot, 0)
}

/// The playlist without what a reader of an earlier one still has.
pub(crate) fn render_delta(snapshot: &RenditionSnapshot) -> String {
    write_playlist(snapshot, skippable(snapshot))
}

/// The playlist of an ended show with everything it ever had.
pub(crate) fn render_recording(target_duration: u64, segments: &[Segment]) -> String {
    write_ordinary(target_duration, segments, "#EXT-X-PLAYLIST-TYPE:VOD\n", true)
}

/// The live playlist for players that are served by a store: whole segments only, nothing to wait for.
pub(crate) fn render_window(target_duration: u64, segments: &[Segment], over: bool) -> String {
    write_ordinary(target_duration, segments, "", over)
}

fn write_ordinary(target_duration: u64, segments: &[Segment], kind: &str, over: bool) -> String {
    let mut text = String::with_capacity(256 + segments.len() * SEGMENT_BYTES);
    header(&mut text, target_duration, segments.iter().all(|segment| segment.independent));
    text.push_str(kind);
    sequence(&mut text, segments.first());
    let mut init = None;
    for segment in segments {
        begin_segment(&mut text, segment, &mut init);
        end_segment(&mut text, segment);
    }
    if over {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}

/// About what one segment takes in the text, to allocate once.
const SEGMENT_BYTES: usize = 100;
const PART_BYTES: usize = 64;

fn write_playlist(snapshot: &RenditionSnapshot, skip: usize) -> String {
    let listed = snapshot.listed();
    let mut text = String::with_capacity(640 + (listed - skip) * SEGMENT_BYTES + 40 * PART_BYTES);
    header(&mut text, snapshot.target_duration, snapshot.independent());
    server_control(&mut text, snapshot);
    sequence(&mut text, snapshot.listed_segment(0).or(snapshot.open.as_ref()));
    if skip > 0 {
        let _ = writeln!(text, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skip}");
    }

    let mut init = skip.checked_sub(1).and_then(|last| snapshot.listed_segment(last)).map(|segment| segment.init_epoch);
    let first_with_parts = first_with_parts(snapshot);
    for (index, segment) in (skip..listed).filter_map(|index| Some((index, snapshot.listed_segment(index)?))) {
        begin_segment(&mut text, segment, &mut init);
        if index >= first_with_parts {
            parts(&mut text, segment);
        }
        end_segment(&mut text, segment);
    }
    if let Some(open) = &snapshot.open {
        begin_segment(&mut text, open, &mut init);
        parts(&mut text, open);
    }
    match snapshot.state {
        ShowState::Ended => text.push_str("#EXT-X-ENDLIST\n"),
        ShowState::Live | ShowState::Interrupted => {
            if let Some(hint) = &snapshot.hint {
                let _ = writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}\"", hint.uri());
            }
            rendition_reports(&mut text, snapshot);
        }
    }
    text
}

fn header(text: &mut String, target_duration: u64, independent: bool) {
    let _ = writeln!(text, "#EXTM3U\n#EXT-X-VERSION:{VERSION}");
    if independent {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let _ = writeln!(text, "#EXT-X-TARGETDURATION:{target_duration}");
}

fn server_control(text: &mut String, snapshot: &RenditionSnapshot) {
    let part_target = snapshot.part_target.as_secs_f64();
    let _ = writeln!(
        text,
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={:.5},HOLD-BACK={}.0,CAN-SKIP-UNTIL={}.0\n\
         #EXT-X-PART-INF:PART-TARGET={part_target:.5}",
        part_target * f64::from(PART_HOLD_BACK),
        snapshot.target_duration * HOLD_BACK,
        snapshot.target_duration * SKIP_UNTIL,
    );
}

fn sequence(text: &mut String, first: Option<&Segment>) {
    let (number, discontinuity) =
        first.map_or((0, 0), |segment| (segment.number, segment.discontinuity.saturating_sub(segment.marks)));
    let _ = writeln!(text, "#EXT-X-MEDIA-SEQUENCE:{number}\n#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuity}");
}

/// The tags that stand before a segment's parts and hold for it: they apply to the open segment too.
fn begin_segment(text: &mut String, segment: &Segment, init: &mut Option<u64>) {
    for _ in 0..segment.marks {
        text.push_str("#EXT-X-DISCONTINUITY\n");
    }
    if init.replace(segment.init_epoch) != Some(segment.init_epoch) {
        let _ = writeln!(text, "#EXT-X-MAP:URI=\"{}/init.mp4\"", segment.init_epoch);
    }
    let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", humantime::format_rfc3339_millis(segment.at));
}

fn end_segment(text: &mut String, segment: &Segment) {
    if segment.gap {
        text.push_str("#EXT-X-GAP\n");
    }
    let duration = segment.duration.as_secs_f64();
    let _ = writeln!(text, "#EXTINF:{duration:.5},\n{}/{}.m4s", segment.epoch, segment.number);
}

fn parts(text: &mut String, segment: &Segment) {
    for (index, part) in segment.parts.iter().enumerate() {
        let duration = part.duration.as_secs_f64();
        let _ =
            write!(text, "#EXT-X-PART:DURATION={duration:.5},URI=\"{}/{}.{index}.m4s\"", segment.epoch, segment.number);
        text.push_str(if part.independent { ",INDEPENDENT=YES\n" } else { "\n" });
    }
}

fn rendition_reports(text: &mut String, snapshot: &RenditionSnapshot) {
    for (id, position) in &snapshot.siblings {
        let _ = write!(text, "#EXT-X-RENDITION-REPORT:URI=\"../{id}/index.m3u8\",LAST-MSN={}", position.segment);
        if let Some(part) = position.part {
            let _ = write!(text, ",LAST-PART={part}");
        }
        text.push('\n');
    }
}

/// The index of the first segment whose parts are listed.
fn first_with_parts(snapshot: &RenditionSnapshot) -> usize {
    if snapshot.state == ShowState::Ended {
        return usize::MAX;
    }
    let listed = Duration::from_secs(snapshot.target_duration * PARTS_LISTED);
    first_within(snapshot, listed, |segment| segment.part_target == snapshot.part_target)
}

/// How many segments a delta update may leave out: those that end before the skip boundary.
fn skippable(snapshot: &RenditionSnapshot) -> usize {
    if snapshot.state == ShowState::Ended {
        return 0;
    }
    first_within(snapshot, Duration::from_secs(snapshot.target_duration * SKIP_UNTIL), |_| true)
}

/// The index of the first segment that ends less than `distance` before the end of the playlist and, as all after it,
/// is `wanted`.
fn first_within(snapshot: &RenditionSnapshot, distance: Duration, wanted: impl Fn(&Segment) -> bool) -> usize {
    let mut behind = snapshot.open.as_ref().map_or(Duration::ZERO, |open| open.duration);
    let newest_first = (0..snapshot.listed()).rev();
    for (index, segment) in newest_first.filter_map(|index| Some((index, snapshot.listed_segment(index)?))) {
        if behind >= distance || !wanted(segment) {
            return index + 1;
        }
        behind += segment.duration;
    }
    0
}

impl Hint {
    fn uri(&self) -> String {
        format!("{}/{}.{}.m4s", self.epoch, self.segment, self.part)
    }
}
