//! What the disk knows of a show: enough to go on after a restart, and to play it from the beginning once it is over.
//!
//! In: journal entries. Out: where to resume, or what `replay` makes the playlists of the whole show of. Pure but for the
//! inits, which are read from the store. Driven by the packager task, by delivery and by whoever closes a show.

use super::config::HlsConfig;
use super::entries::{format_of, nanos, segment_of};
use super::packager::{Choice, PeakBitRate, RenditionFormat, Resume, ResumeRendition, Segment};
use crate::model::BroadcastId;
use crate::seam::Recorded;
use crate::store::journal::{Entry, SegmentEntry, ThumbnailEntry};
use crate::store::{Keeper, ObjectKey, ObjectName, RenditionId, RenditionKind};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::{Instant, timeout_at};

/// A show as its journal tells it.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    renditions: BTreeMap<RenditionId, RecordedRendition>,
    next_epoch: u64,
    discontinuity: u64,
    /// What is added to the discontinuities and times of a show that began anew in its middle, since nobody could read what
    /// was before.
    shift: (u64, Duration),
    end: Duration,
    /// The longest segment.
    longest: Duration,
    /// Nothing that was shown is missing.
    whole: bool,
    /// The target duration it ended with, once it has.
    ended: Option<u64>,
    /// Broadcasts of co-hosts, who have recordings of their own.
    parts: BTreeSet<BroadcastId>,
    /// In the order of time.
    thumbnails: Vec<ThumbnailEntry>,
}

#[derive(Debug)]
struct RecordedRendition {
    format: RenditionFormat,
    segments: Vec<Segment>,
    bytes: u64,
    peak: PeakBitRate,
}

/// More renditions than any show has; a journal that names more is damaged.
const MAX_RENDITIONS: usize = 64;

impl Recording {
    pub(crate) fn read(entries: Vec<Entry>) -> Self {
        let mut recording = Self::default();
        for entry in entries {
            recording.take(entry);
        }
        recording
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.renditions.values().all(|rendition| rendition.segments.is_empty())
    }

    /// Greater than the number of any epoch it tells of.
    pub(crate) fn next_epoch(&self) -> u64 {
        self.next_epoch
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    pub(crate) fn parts(&self) -> &BTreeSet<BroadcastId> {
        &self.parts
    }

    /// What is kept of the show.
    pub(crate) fn recorded(&self) -> Recorded {
        let kept =
            self.renditions.iter().filter(|(_, rendition)| rendition.segments.iter().any(|segment| !segment.gap));
        let (mut duration, mut has_video) = (None, false);
        for (id, rendition) in kept {
            duration = duration.max(Some(rendition.duration()));
            has_video |= id.kind == RenditionKind::Video;
        }
        match duration {
            Some(duration) => Recorded::Kept { duration, has_video },
            None if self.is_empty() => Recorded::Nothing,
            None => Recorded::Lost,
        }
    }

    /// The entry that ends it, for a show whose end nobody wrote down.
    pub(crate) fn end_entry(&self) -> Entry {
        Entry::Ended { target_duration_secs: self.target_duration() }
    }

    /// No segment is longer, rounded to whole seconds.
    pub(crate) fn target_duration(&self) -> u64 {
        self.ended.unwrap_or(0).max(target_for(self.longest))
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Epoch { number, discontinuity, renditions } => {
                self.whole = false;
                self.ended = None;
                if number >= self.next_epoch && !self.is_empty() {
                    self.follow(discontinuity);
                }
                let discontinuity = discontinuity.saturating_add(self.shift.0);
                self.next_epoch = self.next_epoch.max(number.saturating_add(1));
                self.discontinuity = self.discontinuity.max(discontinuity);
                for rendition in renditions {
                    let format = format_of(&rendition);
                    if let Some(known) = self.renditions.get_mut(&rendition.id) {
                        known.format = format;
                    } else if self.renditions.len() < MAX_RENDITIONS {
                        let peak = PeakBitRate::default();
                        let fresh = RecordedRendition { format, segments: Vec::new(), bytes: 0, peak };
                        self.renditions.insert(rendition.id, fresh);
                    }
                }
            }
            Entry::Segment(segment) => self.take_segment(&segment),
            Entry::Thumbnail(mut thumbnail) => {
                thumbnail.at_nanos = thumbnail.at_nanos.saturating_add(nanos(self.shift.1));
                if self.thumbnails.last().is_none_or(|last| last.at_nanos < thumbnail.at_nanos) {
                    self.thumbnails.push(thumbnail);
                }
            }
            Entry::Part { broadcast } => drop(self.parts.insert(broadcast)),
            Entry::Stopped => self.whole = true,
            Entry::Ended { target_duration_secs } => {
                self.whole = true;
                self.ended = Some(target_duration_secs);
            }
        }
    }

    /// An epoch begins whose line says so many discontinuities.
    fn follow(&mut self, discontinuity: u64) {
        if discontinuity > self.discontinuity {
            // Who wrote it had read what is above.
            self.shift = Default::default();
        } else if discontinuity.saturating_add(self.shift.0) <= self.discontinuity {
            self.shift = (self.discontinuity + 1 - discontinuity, self.end);
        }
    }

    fn take_segment(&mut self, entry: &SegmentEntry) {
        // The line of its epoch may be lost; the number is used up all the same.
        self.next_epoch = self.next_epoch.max(entry.epoch.saturating_add(1));
        let Some(rendition) = self.renditions.get_mut(&entry.rendition) else { return };
        // A line that was lost leaves a hole in the numbers; a playlist cannot have one, so a gap stands for it.
        let last = rendition.segments.last();
        // Numbers that begin anew under a newer epoch are those of a show that began anew.
        let begins_anew = last.is_some_and(|last| entry.epoch > last.epoch && entry.number <= last.number);
        let next = last.filter(|_| !begins_anew).map_or(entry.number, |last| last.number.saturating_add(1));
        let missing = match entry.number.checked_sub(next) {
            Some(0) => 0,
            Some(missing) if could_be(missing, rendition.segments.last(), entry) => missing,
            // It was there before, or the line is damaged.
            _ => return,
        };
        for _ in 0..missing {
            rendition.push_gap();
        }
        let mut segment = segment_of(entry);
        segment.discontinuity = segment.discontinuity.saturating_add(self.shift.0);
        if begins_anew {
            segment.marks = segment.marks.max(1);
        }
        self.longest = self.longest.max(segment.duration);
        rendition.peak.add(entry.bytes, segment.duration, Duration::from_secs(target_for(self.longest)));
        rendition.bytes += entry.bytes;
        rendition.segments.push(segment);
        self.whole = false;
        self.end = self.end.max(Duration::from_nanos(entry.ends_at_nanos).saturating_add(self.shift.1));
    }

    /// Where the show goes on. What was shown but is not on the disk becomes a gap, so that its number is not used for
    /// other bytes.
    pub(crate) async fn resume(mut self, broadcast: &BroadcastId, config: &HlsConfig, keeper: &Keeper) -> Resume {
        let mut renditions = Vec::new();
        let inits_until = Instant::now() + INITS_WITHIN;
        let mut lost = Duration::ZERO;
        for (id, mut rendition) in std::mem::take(&mut self.renditions) {
            if !self.whole && !rendition.segments.is_empty() {
                rendition.push_gap();
                lost = lost.max(rendition.segments.last().map_or(Duration::ZERO, |gap| gap.duration));
            }
            let segments = rendition.newest(config.window_segments, config.dvr_window);
            // The inits of what lies behind the window are read when they are asked for.
            let window = segments.iter().rev().take(config.window_segments).rev();
            let mut epochs: Vec<u64> = window.map(|segment| segment.init_epoch).collect();
            epochs.dedup();
            let mut inits = Vec::new();
            for epoch in epochs {
                let key = ObjectKey { broadcast: broadcast.clone(), rendition: id, epoch, object: ObjectName::Init };
                // What cannot be read now is read when it is asked for.
                if let Ok(Ok(Some(chunks))) = timeout_at(inits_until, keeper.get(&key)).await {
                    inits.push((epoch, chunks.concat().into()));
                }
            }
            renditions.push(ResumeRendition { id, format: rendition.format, segments, inits });
        }
        let Self { next_epoch, discontinuity, end, .. } = self;
        // All renditions lost the same time.
        Resume { next_epoch, discontinuity, end: end + lost, renditions }
    }

    /// How long it is, by its longest rendition.
    pub(super) fn length(&self) -> Option<Duration> {
        self.renditions.values().map(RecordedRendition::duration).max()
    }

    pub(super) fn thumbnails(&self) -> &[ThumbnailEntry] {
        &self.thumbnails
    }

    pub(crate) fn newest_thumbnail(&self) -> Option<&ThumbnailEntry> {
        self.thumbnails.last()
    }

    /// The renditions that have segments.
    pub(crate) fn choices(&self) -> Vec<Choice> {
        let shown = self.renditions.iter().filter(|(_, rendition)| !rendition.segments.is_empty());
        shown.map(|(id, rendition)| rendition.choice(*id)).collect()
    }

    pub(crate) fn segments(&self, id: RenditionId) -> &[Segment] {
        self.renditions.get(&id).map_or(&[], |rendition| &rendition.segments)
    }
}

/// How long a show waits for its inits when it is taken up: a disk has them in a moment, and frames wait meanwhile.
const INITS_WITHIN: Duration = Duration::from_secs(2);

/// The target duration, in whole seconds, that a segment this long needs.
fn target_for(longest: Duration) -> u64 {
    ((longest.as_secs_f64() + 0.5).floor() as u64).max(1)
}

/// Lines lost in a row that are still bridged: a day of segments of two seconds.
const MAX_LOST: u64 = 43_200;
/// No segment that was lost was shorter.
const LEAST_LOST: Duration = Duration::from_millis(100);

/// Whether so many segments can have been lost between two: there was time for them, by the clock or by the show's own.
fn could_be(missing: u64, last: Option<&Segment>, next: &SegmentEntry) -> bool {
    let Some(last) = last else { return true };
    let between = (UNIX_EPOCH + Duration::from_micros(next.at_micros)).duration_since(last.at).unwrap_or_default();
    missing <= MAX_BRIDGED_ANYWAY || (missing <= MAX_LOST && LEAST_LOST * missing as u32 <= between)
}

/// Lost lines that need no proof: the clock of a machine may have been set back.
const MAX_BRIDGED_ANYWAY: u64 = 300;

impl RecordedRendition {
    fn push_gap(&mut self) {
        let Some(last) = self.segments.last() else { return };
        let duration = if last.duration.is_zero() { Duration::from_secs(1) } else { last.duration };
        let gap = Segment {
            number: last.number.saturating_add(1),
            at: last.at + duration,
            duration,
            gap: true,
            marks: 0,
            parts: Vec::new(),
            ..last.clone()
        };
        self.segments.push(gap);
    }

    /// The last segments: so many, and more as far as they reach back no longer than `reach`. None from before the numbers
    /// began anew.
    fn newest(&mut self, count: usize, reach: Duration) -> Vec<Segment> {
        let (mut length, mut after) = (Duration::ZERO, None);
        let listed = self.segments.iter().rev().enumerate().take_while(|(index, segment)| {
            length += segment.duration;
            let follows = after.replace(segment.number).is_none_or(|after| segment.number < after);
            follows && (*index < count || length <= reach)
        });
        let old = self.segments.len() - listed.count();
        self.segments.split_off(old)
    }

    /// As its playlist adds up.
    fn duration(&self) -> Duration {
        self.segments.iter().map(|segment| segment.duration).sum()
    }

    fn choice(&self, id: RenditionId) -> Choice {
        let average_bps = (self.bytes as f64 * 8.0 / self.duration().as_secs_f64().max(0.1)).ceil() as u64;
        Choice { id, format: self.format.clone(), peak_bps: self.peak.get().unwrap_or(0).max(average_bps), average_bps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::journal::EpochRendition;
    use crate::store::{DiskStore, Room};
    use std::sync::Arc;
    use tokio_util::task::TaskTracker;

    fn segment(number: u64, seconds: u64) -> Entry {
        Entry::Segment(SegmentEntry {
            rendition: RenditionId::parse("a0").unwrap(),
            number,
            epoch: 0,
            init_epoch: 0,
            discontinuity: 0,
            marks: 0,
            at_micros: seconds * 1_000_000,
            duration_nanos: 2_000_000_000,
            ends_at_nanos: (seconds + 2) * 1_000_000_000,
            independent: true,
            kept: true,
            bytes: 1,
        })
    }

    #[test]
    fn lost_lines_are_gaps_for_as_long_as_the_disk_was_away_and_a_damaged_line_is_none() {
        let a0 = RenditionId::parse("a0").unwrap();
        let rendition =
            EpochRendition { id: a0, init_epoch: 0, codecs: "mp4a.40.2".to_owned(), picture: None, channels: Some(2) };
        let mut entries = vec![Entry::Epoch { number: 0, discontinuity: 0, renditions: vec![rendition] }];
        // Half an hour is missing; one number cannot be.
        entries.extend([
            segment(1, 0),
            segment(2, 2),
            segment(903, 1_804),
            segment(u64::MAX, 1_806),
            segment(904, 1_806),
        ]);
        let recording = Recording::read(entries);
        let segments = recording.segments(a0);
        assert!(segments.iter().map(|segment| segment.number).eq(1..=904));
        assert!(segments.iter().all(|segment| segment.gap == (3..903).contains(&segment.number)));
    }

    #[tokio::test]
    async fn what_a_crash_took_is_as_long_as_the_longest_gap_however_many_renditions_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, tasks) = (DiskStore::new(folder.path()), TaskTracker::new());
        let room = Room { queue: 1, recent_bytes: 0 };
        let keeper = Keeper::start(Arc::new(disk.clone()), disk, room, &tasks);
        let renditions = ["a0", "v0", "v1"].map(|id| EpochRendition {
            id: RenditionId::parse(id).unwrap(),
            init_epoch: 0,
            codecs: "avc1.4d401f".to_owned(),
            picture: None,
            channels: None,
        });
        let mut entries = vec![Entry::Epoch { number: 0, discontinuity: 0, renditions: renditions.to_vec() }];
        for rendition in &renditions {
            let Entry::Segment(of_a0) = segment(1, 0) else { panic!("it is one") };
            entries.push(Entry::Segment(SegmentEntry { rendition: rendition.id, ..of_a0 }));
        }
        let broadcast = BroadcastId::parse("session_1").unwrap();
        let resume = Recording::read(entries).resume(&broadcast, &HlsConfig::default(), &keeper).await;
        assert_eq!(resume.end, Duration::from_secs(4));
        assert!(resume.renditions.iter().all(|rendition| rendition.segments.len() == 2));
    }

    #[test]
    fn a_show_that_began_anew_under_a_newer_epoch_has_both_halves_and_goes_on_from_the_second() {
        let a0 = RenditionId::parse("a0").unwrap();
        let rendition =
            EpochRendition { id: a0, init_epoch: 0, codecs: "mp4a.40.2".to_owned(), picture: None, channels: Some(2) };
        let epoch = |number, discontinuity| Entry::Epoch { number, discontinuity, renditions: vec![rendition.clone()] };
        let of = |epoch, discontinuity, number, seconds| {
            let Entry::Segment(segment) = segment(number, seconds) else { panic!("it is one") };
            Entry::Segment(SegmentEntry { epoch, init_epoch: epoch, discontinuity, ..segment })
        };
        let mut entries = vec![epoch(0, 0), of(0, 0, 1, 0), of(0, 0, 2, 2), of(0, 0, 3, 4)];
        // Whoever wrote this had not read that, and came back once.
        entries.extend([epoch(700, 0), of(700, 0, 1, 0), of(700, 0, 1, 0), of(700, 0, 2, 2)]);
        entries.extend([epoch(701, 1), of(701, 1, 3, 4)]);
        // Whoever wrote this had read it all.
        entries.extend([epoch(702, 3), of(702, 3, 4, 12)]);
        let mut recording = Recording::read(entries);
        assert_eq!(recording.next_epoch(), 703);
        let listed = |segments: &[Segment]| -> Vec<_> {
            segments.iter().map(|segment| (segment.epoch, segment.number, segment.discontinuity)).collect()
        };
        let both = [(0, 1, 0), (0, 2, 0), (0, 3, 0), (700, 1, 1), (700, 2, 1), (701, 3, 2), (702, 4, 3)];
        assert_eq!(listed(recording.segments(a0)), both);
        assert_eq!(recording.segments(a0).iter().map(|segment| segment.marks).sum::<u64>(), 1, "one nobody else wrote");
        assert_eq!(recording.end, Duration::from_secs(14));
        let newest = recording.renditions.get_mut(&a0).unwrap().newest(10, Duration::ZERO);
        assert_eq!(listed(&newest), both[3..], "a live list counts on");
    }
}
