//! Order, retries and gaps, on a clock that the tests move.

use super::super::journal::{Entry, EpochRendition, SegmentEntry};
use super::super::uploads::Uploads;
use super::super::{ObjectName, RenditionId};
use super::backlog::{Backlog, Listing, Next, Rules};
use crate::model::BroadcastId;
use std::time::Duration;
use tokio::time::Instant;

const GAP_AFTER: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

struct Play {
    backlog: Backlog,
    now: Instant,
}

impl Play {
    fn new() -> Self {
        let rules = Rules { gap_after: GAP_AFTER, window_segments: 6, segment_secs: 2 };
        let mut play =
            Self { backlog: Backlog::new(BroadcastId::parse("session_1").unwrap(), rules), now: Instant::now() };
        let rendition = EpochRendition {
            id: RenditionId::parse("v0").unwrap(),
            init_epoch: 0,
            codecs: "avc1.4d401f".to_owned(),
            picture: None,
            channels: None,
        };
        play.take(Entry::Epoch { number: 0, discontinuity: 0, renditions: vec![rendition] });
        play
    }

    fn take(&mut self, entry: Entry) {
        self.backlog.take(entry, Duration::ZERO, &Uploads::default(), self.now);
    }

    fn segment(&mut self, number: u64) {
        self.segment_of(0, number);
    }

    fn segment_of(&mut self, epoch: u64, number: u64) {
        self.take(Entry::Segment(SegmentEntry {
            rendition: RenditionId::parse("v0").unwrap(),
            number,
            epoch,
            init_epoch: epoch,
            discontinuity: 0,
            marks: 0,
            at_micros: 0,
            duration_nanos: 2_000_000_000,
            ends_at_nanos: 0,
            independent: true,
            kept: true,
            bytes: 1_000,
        }));
    }

    /// The next object and its place.
    fn next(&mut self) -> Option<(u64, ObjectName)> {
        match self.backlog.next(self.now) {
            Next::Upload { order, key, .. } => Some((order, key.object)),
            Next::Rest(_) | Next::Nothing => None,
        }
    }

    fn upload_next(&mut self) -> ObjectName {
        let (order, object) = self.next().expect("something is to be uploaded");
        self.backlog.uploaded(order);
        object
    }

    /// Numbers of the live playlist, negative for gaps.
    fn listed(&mut self) -> Option<(Vec<i64>, bool)> {
        assert!(self.backlog.has_news(self.now));
        let Listing { entries, over, .. } = self.backlog.listing()?;
        let number = |entry: &Entry| match entry {
            Entry::Segment(segment) => Some(i64::try_from(segment.number).unwrap() * if segment.kept { 1 } else { -1 }),
            _ => None,
        };
        Some((entries.iter().filter_map(number).collect(), over))
    }
}

#[test]
fn the_playlist_lists_in_order_what_was_acknowledged_in_any() {
    let mut play = Play::new();
    (1..=3).for_each(|number| play.segment(number));
    let sent: Vec<_> = std::iter::from_fn(|| play.next()).collect();
    assert_eq!(
        sent.iter().map(|(_, object)| *object).collect::<Vec<_>>()[..2],
        [ObjectName::Init, ObjectName::Segment(1)]
    );
    play.backlog.uploaded(sent[2].0);
    assert!(!play.backlog.has_news(play.now), "the second segment waits for the first");
    play.backlog.uploaded(sent[1].0);
    assert!(!play.backlog.has_news(play.now), "both wait for their init");
    play.backlog.uploaded(sent[0].0);
    assert_eq!(play.listed(), Some((vec![1, 2], false)));
    play.backlog.uploaded(sent[3].0);
    play.take(Entry::Ended { target_duration_secs: 2 });
    assert_eq!(play.listed(), Some((vec![1, 2, 3], true)));
    assert!(play.backlog.is_settled() && play.backlog.is_empty());
}

#[test]
fn a_segment_that_is_late_becomes_a_gap_stays_one_and_is_uploaded_all_the_same() {
    let mut play = Play::new();
    play.upload_next();
    (1..=2).for_each(|number| play.segment(number));
    let (first, _) = play.next().unwrap();
    assert_eq!(play.upload_next(), ObjectName::Segment(2));
    play.backlog.failed(first, play.now, 1.0);
    assert!(!play.backlog.has_news(play.now));
    assert_eq!(play.backlog.next_gap(), Some(play.now + GAP_AFTER));
    play.now += GAP_AFTER;
    assert_eq!(play.listed(), Some((vec![-1, 2], false)));
    assert_eq!(play.upload_next(), ObjectName::Segment(1));
    play.segment(3);
    play.upload_next();
    assert_eq!(play.listed(), Some((vec![-1, 2, 3], false)), "a live playlist does not take back what it said");
    assert!(play.backlog.is_empty());
}

#[test]
fn while_the_bucket_fails_one_object_at_a_time_is_tried_with_longer_pauses() {
    let mut play = Play::new();
    (1..=5).for_each(|number| play.segment(number));
    let (order, _) = play.next().unwrap();
    play.backlog.failed(order, play.now, 1.0);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let Next::Rest(until) = play.backlog.next(play.now) else { panic!("the bucket is given a rest") };
        pauses.push((until - play.now).as_millis());
        play.now = until;
        let (order, _) = play.next().unwrap();
        assert_eq!(play.next(), None, "one at a time");
        play.backlog.failed(order, play.now, 1.0);
    }
    assert_eq!(pauses, [200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
    let Next::Rest(until) = play.backlog.next(play.now) else { panic!("the bucket is given a rest") };
    play.now = until;
    play.upload_next();
    assert_eq!(std::iter::from_fn(|| play.next()).count(), 5, "it takes something again: all go at once");
}

#[test]
fn an_object_that_nobody_takes_holds_up_no_other() {
    let mut play = Play::new();
    play.upload_next();
    (1..=3).for_each(|number| play.segment(number));
    for wanted in [1, 2, 1, 3] {
        let (order, object) = play.next().unwrap();
        assert_eq!(object, ObjectName::Segment(wanted));
        if wanted == 1 {
            // Its own pause is over at once, but while the bucket seems to fail the others have their turn first.
            play.backlog.failed(order, play.now, 0.0);
        } else {
            play.backlog.uploaded(order);
        }
    }
}

#[test]
fn the_playlist_slides_and_late_segments_go_after_those_that_are_waited_for() {
    let mut play = Play::new();
    play.upload_next();
    play.segment(1);
    let (first, _) = play.next().unwrap();
    play.backlog.failed(first, play.now, 1.0);
    play.now += GAP_AFTER;
    play.segment(2);
    assert_eq!(play.upload_next(), ObjectName::Segment(2));
    for number in 3..=8 {
        play.segment(number);
        let (order, object) = play.next().unwrap();
        // The late one takes the place that is left.
        if object == ObjectName::Segment(1) {
            play.backlog.failed(order, play.now, 1.0);
            play.now += 5 * SECOND;
            play.upload_next();
        } else {
            play.backlog.uploaded(order);
        }
    }
    assert_eq!(play.listed(), Some((vec![3, 4, 5, 6, 7, 8], false)));
}

#[test]
fn what_was_told_twice_is_taken_once() {
    let mut play = Play::new();
    play.segment(1);
    play.segment(1);
    assert_eq!([play.upload_next(), play.upload_next()], [ObjectName::Init, ObjectName::Segment(1)]);
    assert_eq!(play.next(), None);
    assert_eq!(play.backlog.waiting(), (0, Duration::ZERO));
}

#[test]
fn a_show_that_began_anew_under_a_newer_epoch_is_uploaded_and_listed_from_there() {
    let mut play = Play::new();
    (1..=3).for_each(|number| play.segment(number));
    // The last of them is on its way when the show begins anew.
    while play.next().is_some() {}
    let Next::Nothing = play.backlog.next(play.now) else { panic!("all are on their way") };
    (0..3).for_each(|order| play.backlog.uploaded(order));
    let rendition = |number| EpochRendition {
        id: RenditionId::parse("v0").unwrap(),
        init_epoch: number,
        codecs: "avc1.4d401f".to_owned(),
        picture: None,
        channels: None,
    };
    play.take(Entry::Epoch { number: 700, discontinuity: 0, renditions: vec![rendition(700)] });
    (1..=3).for_each(|number| play.segment_of(700, number));
    // The third of before arrives: it is not the third of now.
    play.backlog.uploaded(3);
    let mut sent = Vec::new();
    while let Some((order, object)) = play.next() {
        sent.push((order, object));
    }
    let segment = |number| ObjectName::Segment(number);
    assert_eq!(sent, [(4, ObjectName::Init), (5, segment(1)), (6, segment(2)), (7, segment(3))]);
    [4, 5, 6].into_iter().for_each(|order| play.backlog.uploaded(order));
    assert!(play.backlog.has_news(play.now));
    let listing = play.backlog.listing().unwrap();
    let listed = listing.entries.iter().filter_map(|entry| match entry {
        Entry::Segment(segment) => Some((segment.epoch, segment.number, segment.kept)),
        _ => None,
    });
    assert_eq!(listed.collect::<Vec<_>>(), [(700, 1, true), (700, 2, true)]);
}
