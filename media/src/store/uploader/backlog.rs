//! What of one show the bucket still lacks, which of it goes next, and what the bucket's live playlist may say. Pure.
//!
//! In: journal entries, outcomes of uploads, the time. Out: the next object to upload, or when to look again; the entries
//! the live playlist lists. Driven by the shipment of the show.
//!
//! A segment is listed when it and its init were acknowledged. The first that is not holds back those after it, for
//! `gap_after`; then it is listed as a gap, stays one in this playlist, and its upload goes on for the replay.

use super::super::journal::{Entry, SegmentEntry, ThumbnailEntry};
use super::super::uploads::Uploads;
use super::super::{ObjectKey, ObjectName, RenditionId};
use crate::model::BroadcastId;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Backlog {
    broadcast: BroadcastId,
    rules: Rules,
    /// Every object that is not in the bucket, in the order of the journal. As many as the spool has room for.
    parcels: BTreeMap<u64, Parcel>,
    next_order: u64,
    lines: BTreeMap<RenditionId, Line>,
    /// Epochs of listed and coming segments, as the journal says them.
    epochs: BTreeMap<u64, Entry>,
    newest_epoch: Option<u64>,
    /// Inits that are in the bucket, by the epoch they lie under.
    inits: HashSet<(RenditionId, u64)>,
    target_duration: u64,
    over: bool,
    /// Failures in a row, of any object: the bucket fails, not the object.
    failures: u32,
    rest_until: Option<Instant>,
    /// Something that the live playlist does not say yet.
    news: bool,
    /// Segments given up since that was last asked.
    given_up: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) gap_after: Duration,
    pub(super) window_segments: usize,
    /// Whole seconds; what the target duration of a show begins with.
    pub(super) segment_secs: u64,
}

#[derive(Debug)]
struct Parcel {
    key: ObjectKey,
    duration: Duration,
    /// From here on the live playlist does not wait for it.
    late_at: Instant,
    attempts: u32,
    not_before: Option<Instant>,
    on_its_way: bool,
}

/// The segments of a rendition from the first that the live playlist lists.
#[derive(Debug, Default)]
struct Line {
    segments: VecDeque<Listed>,
    /// How many of them, from the front, are settled: there or a gap.
    settled: usize,
    /// Epoch and number.
    newest: Option<(u64, u64)>,
}

#[derive(Debug)]
struct Listed {
    entry: SegmentEntry,
    state: State,
    late_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    There,
    Gap,
}

/// What to upload next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Upload {
        order: u64,
        key: ObjectKey,
        is_retry: bool,
    },
    /// Nothing before then.
    Rest(Instant),
    /// Nothing until something else happens.
    Nothing,
}

/// What the live playlists list.
#[derive(Debug)]
pub(super) struct Listing {
    /// One epoch, then segments; `kept` says what the bucket has.
    pub(super) entries: Vec<Entry>,
    pub(super) target_duration: u64,
    /// The show is over and everything is settled.
    pub(super) over: bool,
}

/// Retries: full jitter below 200 ms, doubled up to 5 s.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A player needs this many target durations in the list to start (rfc8216bis section 6.2.2).
const LEAST_TARGET_DURATIONS: u32 = 3;

impl Backlog {
    pub(super) fn new(broadcast: BroadcastId, rules: Rules) -> Self {
        Self {
            broadcast,
            rules,
            parcels: BTreeMap::new(),
            next_order: 0,
            lines: BTreeMap::new(),
            epochs: BTreeMap::new(),
            newest_epoch: None,
            inits: HashSet::new(),
            target_duration: rules.segment_secs,
            over: false,
            failures: 0,
            rest_until: None,
            news: false,
            given_up: 0,
        }
    }

    /// A line of the journal. `waited`: how long the object has waited already; `known`: what earlier runs uploaded.
    pub(super) fn take(&mut self, entry: Entry, waited: Duration, known: &Uploads, now: Instant) {
        let late_at = now + self.rules.gap_after.saturating_sub(waited);
        match entry {
            Entry::Epoch { number, ref renditions, .. } => {
                if self.newest_epoch.is_some_and(|newest| newest >= number) {
                    return;
                }
                self.newest_epoch = Some(number);
                for rendition in renditions.iter().filter(|rendition| rendition.init_epoch == number) {
                    if known.has(rendition.id, number, ObjectName::Init) {
                        self.inits.insert((rendition.id, number));
                    } else if !known.lost(rendition.id, number, ObjectName::Init) {
                        self.await_object(rendition.id, number, ObjectName::Init, Duration::ZERO, late_at);
                    }
                }
                self.epochs.insert(number, entry);
                self.over = false;
            }
            Entry::Segment(segment) => self.take_segment(segment, late_at, known),
            Entry::Thumbnail(ThumbnailEntry { rendition, number, epoch, .. }) => {
                let object = ObjectName::Thumbnail(number);
                if !known.has(rendition, epoch, object) && !known.lost(rendition, epoch, object) {
                    // No live playlist waits for it, so it is behind whatever one waits for.
                    self.await_object(rendition, epoch, object, Duration::ZERO, now);
                }
            }
            Entry::Part { .. } | Entry::Stopped => {}
            Entry::Ended { target_duration_secs } => {
                self.target_duration = self.target_duration.max(target_duration_secs);
                self.over = true;
                self.news = true;
            }
        }
    }

    fn take_segment(&mut self, entry: SegmentEntry, late_at: Instant, known: &Uploads) {
        let (rendition, epoch, object) = (entry.rendition, entry.epoch, ObjectName::Segment(entry.number));
        let line = self.lines.entry(rendition).or_default();
        let place = (epoch, entry.number);
        if line.newest.is_some_and(|newest| newest >= place) {
            return;
        }
        if line.newest.is_some_and(|(_, newest)| newest >= entry.number) {
            // The show began anew: a live playlist cannot count on from what was before. The replay has it.
            line.segments.clear();
            line.settled = 0;
        }
        line.newest = Some(place);
        let duration = Duration::from_nanos(entry.duration_nanos);
        let state = if !entry.kept || known.lost(rendition, epoch, object) {
            State::Gap
        } else if known.has(rendition, epoch, object) {
            State::There
        } else {
            State::Waiting
        };
        line.segments.push_back(Listed { entry, state, late_at });
        self.target_duration = self.target_duration.max((duration.as_secs_f64() + 0.5).floor() as u64);
        if state == State::Waiting {
            self.await_object(rendition, epoch, object, duration, late_at);
        }
    }

    fn await_object(
        &mut self,
        rendition: RenditionId,
        epoch: u64,
        object: ObjectName,
        duration: Duration,
        late: Instant,
    ) {
        let key = ObjectKey { broadcast: self.broadcast.clone(), rendition, epoch, object };
        let parcel = Parcel { key, duration, late_at: late, attempts: 0, not_before: None, on_its_way: false };
        self.parcels.insert(self.next_order, parcel);
        self.next_order += 1;
    }

    /// Which object goes next. Those the live playlist waits for come first, oldest first; while the bucket fails, one at
    /// a time, and each in its turn, so that an object nobody wants holds up no other.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        let failing = self.failures > 0;
        if failing {
            if self.parcels.values().any(|parcel| parcel.on_its_way) {
                return Next::Nothing;
            }
            if let Some(rest) = self.rest_until.filter(|rest| *rest > now) {
                return Next::Rest(rest);
            }
        }
        let idle = || self.parcels.iter().filter(|(_, parcel)| !parcel.on_its_way);
        let ready = idle().filter(|(_, parcel)| parcel.not_before.is_none_or(|at| at <= now));
        let first = ready
            .min_by_key(|(order, parcel)| (parcel.late_at <= now, if failing { parcel.attempts } else { 0 }, **order));
        match first.map(|(order, _)| *order) {
            Some(order) => {
                let parcel = self.parcels.get_mut(&order).expect("it was just found");
                parcel.on_its_way = true;
                Next::Upload { order, key: parcel.key.clone(), is_retry: parcel.attempts > 0 }
            }
            None => idle().filter_map(|(_, parcel)| parcel.not_before).min().map_or(Next::Nothing, Next::Rest),
        }
    }

    /// The bucket has acknowledged it.
    pub(super) fn uploaded(&mut self, order: u64) {
        self.failures = 0;
        self.rest_until = None;
        self.settle(order, State::There);
    }

    /// It is not on the disk.
    pub(super) fn lost(&mut self, order: u64) {
        self.settle(order, State::Gap);
    }

    fn settle(&mut self, order: u64, state: State) {
        let Some(parcel) = self.parcels.remove(&order) else { return };
        let rendition = parcel.key.rendition;
        match parcel.key.object {
            ObjectName::Init if state == State::There => drop(self.inits.insert((rendition, parcel.key.epoch))),
            ObjectName::Init | ObjectName::Thumbnail(_) => {}
            ObjectName::Segment(number) => {
                let Some(line) = self.lines.get_mut(&rendition) else { return };
                let is_it = |entry: &SegmentEntry| entry.epoch == parcel.key.epoch && entry.number == number;
                let waiting = line.segments.iter_mut().find(|listed| is_it(&listed.entry));
                if let Some(listed) = waiting.filter(|listed| listed.state == State::Waiting) {
                    listed.state = state;
                }
            }
        }
    }

    /// The attempt failed. `jitter`: a random number from 0 to 1.
    pub(super) fn failed(&mut self, order: u64, now: Instant, jitter: f64) {
        self.failures = self.failures.saturating_add(1);
        let anyone_waits = self.parcels.values().any(|parcel| parcel.late_at > now);
        // Nobody waits for what is late, so a bucket that fails is asked less and less.
        let longest = if anyone_waits { BACKOFF_MAX } else { BACKOFF_MAX.max(self.rules.gap_after) };
        self.rest_until = Some(now + backoff(self.failures, longest, jitter));
        if let Some(parcel) = self.parcels.get_mut(&order) {
            parcel.on_its_way = false;
            parcel.attempts += 1;
            parcel.not_before = Some(now + backoff(parcel.attempts, longest, jitter));
        }
    }

    /// Settles what can be by now. Whether the live playlist has something new to say.
    pub(super) fn has_news(&mut self, now: Instant) -> bool {
        let (inits, parcels) = (&self.inits, &self.parcels);
        let init_waits = |rendition: RenditionId, epoch: u64| {
            let is_it =
                |key: &ObjectKey| key.rendition == rendition && key.epoch == epoch && key.object == ObjectName::Init;
            parcels.values().any(|parcel| is_it(&parcel.key))
        };
        for line in self.lines.values_mut() {
            while let Some(listed) = line.segments.get_mut(line.settled) {
                let (rendition, init) = (listed.entry.rendition, listed.entry.init_epoch);
                let is_late = now >= listed.late_at;
                match listed.state {
                    State::Gap => {}
                    State::There if inits.contains(&(rendition, init)) => {}
                    State::There if !is_late && init_waits(rendition, init) => break,
                    State::Waiting if !is_late => break,
                    State::There | State::Waiting => {
                        listed.state = State::Gap;
                        self.given_up += 1;
                    }
                }
                line.settled += 1;
                self.news = true;
            }
            line.trim(self.rules.window_segments, Duration::from_secs(self.target_duration) * LEAST_TARGET_DURATIONS);
        }
        self.news
    }

    /// Segments that the live playlist went on without since this was last asked.
    pub(super) fn take_given_up(&mut self) -> u64 {
        std::mem::take(&mut self.given_up)
    }

    /// What the live playlists should say is not what they say.
    pub(super) fn is_unsaid(&self) -> bool {
        self.news
    }

    /// What was to be said has not arrived.
    pub(super) fn repeat_news(&mut self) {
        self.news = true;
    }

    /// When a segment that holds others back will be given up.
    pub(super) fn next_gap(&self) -> Option<Instant> {
        self.lines.values().filter_map(|line| line.segments.get(line.settled)).map(|listed| listed.late_at).min()
    }

    /// What the live playlists should list now. `None`: a player could not start yet.
    pub(super) fn listing(&mut self) -> Option<Listing> {
        self.news = false;
        let settled = || self.lines.iter().map(|(id, line)| (*id, line.segments.range(..line.settled)));
        let newest = settled().filter_map(|(_, segments)| segments.last().map(|last| last.entry.epoch)).max()?;
        self.epochs.retain(|epoch, _| *epoch >= newest);
        let epoch = self.epochs.get(&newest)?;
        let Entry::Epoch { renditions, .. } = epoch else { return None };
        let mut entries = vec![epoch.clone()];
        let (mut longest, mut absent, mut coming) = (0, false, false);
        for rendition in renditions {
            let line = self.lines.get(&rendition.id);
            let segments = line.map(|line| line.segments.range(..line.settled)).into_iter().flatten();
            let listed: Vec<_> = segments.map(Listed::as_settled).collect();
            if listed.iter().any(|entry| entry.kept) {
                longest = longest.max(listed.len());
                entries.extend(listed.into_iter().map(Entry::Segment));
            } else {
                absent = true;
                coming |= line.is_some_and(|line| line.settled < line.segments.len());
            }
        }
        // A rendition whose first segment is on its way is waited for; one that has none had the time of a segment to
        // begin, then the others start without it.
        let begins = longest > 0 && !coming && (!absent || longest > 1 || self.over);
        let all_settled = self.lines.values().all(|line| line.settled == line.segments.len());
        let over = self.over && all_settled;
        begins.then_some(Listing { entries, target_duration: self.target_duration, over })
    }

    /// The show is over.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// The show is over and its live playlist has all it will ever have.
    pub(super) fn is_settled(&self) -> bool {
        self.over && self.lines.values().all(|line| line.settled == line.segments.len())
    }

    /// Everything is in the bucket that can be.
    pub(super) fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// Segments that wait, and how much of the show they are.
    pub(super) fn waiting(&self) -> (usize, Duration) {
        let mut lengths: BTreeMap<RenditionId, Duration> = BTreeMap::new();
        let mut count = 0;
        let is_segment = |parcel: &&Parcel| matches!(parcel.key.object, ObjectName::Segment(_));
        for parcel in self.parcels.values().filter(is_segment) {
            count += 1;
            *lengths.entry(parcel.key.rendition).or_default() += parcel.duration;
        }
        (count, lengths.into_values().max().unwrap_or_default())
    }
}

impl Line {
    /// Forgets what the live playlist no longer lists.
    fn trim(&mut self, window_segments: usize, least: Duration) {
        let length = |listed: &Listed| Duration::from_nanos(listed.entry.duration_nanos);
        let mut listed: Duration = self.segments.range(..self.settled).map(length).sum();
        while self.settled > window_segments {
            let Some(first) = self.segments.front().map(length) else { return };
            if listed - first < least && self.settled < window_segments * 4 {
                return;
            }
            listed -= first;
            self.segments.pop_front();
            self.settled -= 1;
        }
    }
}

impl Listed {
    fn as_settled(&self) -> SegmentEntry {
        SegmentEntry { kept: self.state == State::There, ..self.entry.clone() }
    }
}

/// Full jitter: anything from nothing to the doubled limit.
fn backoff(attempts: u32, longest: Duration, jitter: f64) -> Duration {
    let doubled = FIRST_BACKOFF.saturating_mul(1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(longest).mul_f64(jitter.clamp(0.0, 1.0))
}
