//! What one room has said lately: the shared outbox of all its sockets.
//!
//! In: frames, encoded once. Out: the same frames, to every reader at its own pace, or the news that it came too late.
//! Driven by rooms.rs. Pure: the time is a parameter.
//!
//! A socket owns no queue of room frames. It holds a [`Cursor`] into this ring, so ten thousand sockets share one copy,
//! and a phone that stalls for a second is replayed from here instead of being dropped. When a reader falls out of the
//! ring its socket is closed; nobody else waits for it.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use axum::extract::ws::Utf8Bytes;

use crate::id::UserId;

/// How much of a room's past is kept. Whichever maximum is reached first drops the oldest frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogLimits {
    pub(crate) max_frames: usize,
    pub(crate) max_bytes: usize,
    pub(crate) max_age: Duration,
    /// The age and byte limits never cut below this many frames, so that a quiet or a wordy room can still be resumed.
    pub(crate) min_frames: usize,
}

/// What a frame is worth when a reader is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Chat, gifts, endings: every reader gets all of them in order, or is told that it missed some.
    Ordered,
    /// Joins, leaves and counts: true only for a moment. Readers that are behind skip them.
    BestEffort,
}

/// Who may read a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    Everyone,
    /// The sockets of one user, such as the host who is told about the encoder.
    Only(UserId),
}

/// A place in a room's log. `epoch` is random and changes when history was lost; `seq` counts frames within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
}

impl Position {
    /// Reads what [`fmt::Display`] wrote: `<epoch in hex>.<seq>`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (epoch, seq) = text.split_once('.')?;
        Some(Self { epoch: u64::from_str_radix(epoch, 16).ok()?, seq: seq.parse().ok()? })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}", self.epoch, self.seq)
    }
}

/// The last frame a reader has taken.
pub(crate) type Cursor = Position;

/// What [`RoomLog::read`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// The reader now holds everything.
    Complete,
    /// The batch is full and more is waiting.
    More,
    /// Frames the reader had not taken are gone.
    Lost,
}

/// The frames of one room, oldest first.
#[derive(Debug)]
pub(crate) struct RoomLog {
    limits: LogLimits,
    epoch: u64,
    /// Sequence number of the newest frame; 0 before the first.
    head: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    class: Class,
    reach: Reach,
    text: Utf8Bytes,
}

impl RoomLog {
    pub(crate) fn new(limits: LogLimits, epoch: u64) -> Self {
        Self { limits, epoch, head: 0, entries: VecDeque::new(), bytes: 0 }
    }

    /// The position of the newest frame; a reader that starts here hears only what comes after.
    pub(crate) fn head(&self) -> Position {
        Position { epoch: self.epoch, seq: self.head }
    }

    /// Adds a frame. `encode` is given the frame's own position, because the text carries it.
    pub(crate) fn append(
        &mut self,
        now: Instant,
        class: Class,
        reach: Reach,
        encode: impl FnOnce(Position) -> Utf8Bytes,
    ) {
        self.head += 1;
        let text = encode(self.head());
        self.bytes += text.len();
        self.entries.push_back(Entry { at: now, class, reach, text });
        self.trim(now);
    }

    /// Forgets everything and starts a new epoch: readers and those who come back learn that there is a hole.
    pub(crate) fn restart(&mut self, epoch: u64) {
        *self = Self::new(self.limits, epoch);
    }

    /// Takes up to `max` frames after `cursor` that `reader` may see into `out` and moves the cursor over them.
    /// A reader more than half the ring behind is not given best-effort frames: it has better things to catch up on.
    pub(crate) fn read(
        &self,
        cursor: &mut Cursor,
        reader: Option<&UserId>,
        max: usize,
        out: &mut Vec<Utf8Bytes>,
    ) -> Read {
        let Some(start) = self.index_after(*cursor) else { return Read::Lost };
        let behind = self.entries.len() - start > self.limits.max_frames / 2;
        for entry in self.entries.range(start..) {
            if out.len() == max {
                return Read::More;
            }
            cursor.seq += 1;
            if entry.is_for(reader) && !(behind && entry.class == Class::BestEffort) {
                out.push(entry.text.clone());
            }
        }
        Read::Complete
    }

    /// Whether somebody who last saw `seen` can be given all that followed, within `max` ordered frames.
    pub(crate) fn can_resume(&self, seen: Position, max: usize) -> bool {
        self.index_after(seen).is_some_and(|start| {
            self.entries.range(start..).filter(|entry| entry.class == Class::Ordered).count() <= max
        })
    }

    /// The index of the frame after `cursor`; `None` when it is gone or the cursor is not of this log.
    fn index_after(&self, cursor: Cursor) -> Option<usize> {
        if cursor.epoch != self.epoch || cursor.seq > self.head {
            return None;
        }
        let waiting = usize::try_from(self.head - cursor.seq).ok()?;
        self.entries.len().checked_sub(waiting)
    }

    fn trim(&mut self, now: Instant) {
        while let Some(oldest) = self.entries.front() {
            let crowded = self.entries.len() > self.limits.max_frames;
            let heavy = self.bytes > self.limits.max_bytes;
            let stale = now.saturating_duration_since(oldest.at) > self.limits.max_age;
            if !crowded && (self.entries.len() <= self.limits.min_frames || !(heavy || stale)) {
                break;
            }
            self.bytes -= oldest.text.len();
            self.entries.pop_front();
        }
    }
}

impl Entry {
    fn is_for(&self, reader: Option<&UserId>) -> bool {
        match &self.reach {
            Reach::Everyone => true,
            Reach::Only(user_id) => reader == Some(user_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: LogLimits =
        LogLimits { max_frames: 8, max_bytes: 1000, max_age: Duration::from_secs(300), min_frames: 3 };

    fn say(log: &mut RoomLog, now: Instant, class: Class, text: &str) {
        log.append(now, class, Reach::Everyone, |_| text.into());
    }

    fn read_all(log: &RoomLog, cursor: &mut Cursor) -> (Vec<String>, Read) {
        let mut out = Vec::new();
        let read = log.read(cursor, None, usize::MAX, &mut out);
        (out.iter().map(ToString::to_string).collect(), read)
    }

    #[test]
    fn reader_gets_each_frame_once_and_in_order() {
        let now = Instant::now();
        let mut log = RoomLog::new(LIMITS, 7);
        let mut cursor = log.head();
        say(&mut log, now, Class::Ordered, "a");
        say(&mut log, now, Class::Ordered, "b");
        assert_eq!(read_all(&log, &mut cursor), (vec!["a".into(), "b".into()], Read::Complete));
        assert_eq!(read_all(&log, &mut cursor), (vec![], Read::Complete));
        say(&mut log, now, Class::Ordered, "c");
        assert_eq!(read_all(&log, &mut cursor), (vec!["c".into()], Read::Complete));
    }

    #[test]
    fn full_batch_leaves_the_rest_for_the_next() {
        let now = Instant::now();
        let mut log = RoomLog::new(LIMITS, 7);
        let mut cursor = log.head();
        (0..5).for_each(|n| say(&mut log, now, Class::Ordered, &n.to_string()));
        let mut out = Vec::new();
        assert_eq!(log.read(&mut cursor, None, 3, &mut out), Read::More);
        assert_eq!(out.len(), 3);
        assert_eq!(read_all(&log, &mut cursor), (vec!["3".into(), "4".into()], Read::Complete));
    }

    #[test]
    fn reader_that_fell_out_of_the_ring_is_told() {
        let now = Instant::now();
        let mut log = RoomLog::new(LIMITS, 7);
        let mut cursor = log.head();
        (0..9).for_each(|n| say(&mut log, now, Class::Ordered, &n.to_string()));
        assert_eq!(read_all(&log, &mut cursor), (vec![], Read::Lost));
    }

    #[test]
    fn far_behind_reader_is_spared_the_best_effort_frames() {
        let now = Instant::now();
        let mut log = RoomLog::new(LIMITS, 7);
        let mut cursor = log.head();
        for n in 0..3 {
            say(&mut log, now, Class::BestEffort, "joined");
            say(&mut log, now, Class::Ordered, &n.to_string());
        }
        assert_eq!(read_all(&log, &mut cursor), (vec!["0".into(), "1".into(), "2".into()], Read::Complete));
        say(&mut log, now, Class::BestEffort, "joined");
        assert_eq!(read_all(&log, &mut cursor).0, ["joined"]);
    }

    #[test]
    fn private_frame_reaches_only_its_user() {
        let host = UserId::generate();
        let mut log = RoomLog::new(LIMITS, 7);
        let start = log.head();
        log.append(Instant::now(), Class::Ordered, Reach::Only(host.clone()), |_| "for the host".into());
        let mut seen = Vec::new();
        assert_eq!(log.read(&mut { start }, Some(&host), 9, &mut seen), Read::Complete);
        assert_eq!(seen.len(), 1);
        let stranger = UserId::generate();
        for reader in [None, Some(&stranger)] {
            let mut seen = Vec::new();
            assert_eq!(log.read(&mut { start }, reader, 9, &mut seen), Read::Complete);
            assert!(seen.is_empty());
        }
    }

    #[test]
    fn old_and_heavy_frames_go_but_a_few_always_stay() {
        let start = Instant::now();
        let mut log = RoomLog::new(LIMITS, 7);
        (0..5).for_each(|_| say(&mut log, start, Class::Ordered, "old"));
        say(&mut log, start + Duration::from_secs(301), Class::Ordered, "new");
        assert_eq!(log.entries.len(), LIMITS.min_frames);
        (0..6).for_each(|_| say(&mut log, start + Duration::from_secs(301), Class::Ordered, &"x".repeat(400)));
        assert_eq!(log.entries.len(), LIMITS.min_frames);
        assert_eq!(log.bytes, 1200);
    }

    #[test]
    fn resuming_needs_the_same_epoch_and_everything_that_followed() {
        let now = Instant::now();
        let mut log = RoomLog::new(LIMITS, 7);
        let before = log.head();
        (0..5).for_each(|n| say(&mut log, now, Class::Ordered, &n.to_string()));
        assert!(log.can_resume(before, 5));
        assert!(!log.can_resume(before, 4), "more than the replay limit");
        assert!(!log.can_resume(Position { epoch: 8, seq: 0 }, 99), "another epoch");
        assert!(!log.can_resume(Position { epoch: 7, seq: 6 }, 99), "a position of the future");
        log.restart(9);
        assert!(!log.can_resume(before, 99));
    }

    #[test]
    fn position_survives_its_text() {
        let position = Position { epoch: u64::MAX, seq: 12 };
        assert_eq!(Position::parse(&position.to_string()), Some(position));
        for junk in ["", ".", "1", "zz.1", "1.", "1.-1", "1.1.1", "11111111111111111.1"] {
            assert_eq!(Position::parse(junk), None, "{junk}");
        }
    }

    proptest! {
        /// Whatever the order of saying and reading: a reader that is never told `Lost` holds exactly what was said.
        #[test]
        fn reader_holds_all_or_knows_it_does_not(steps in prop::collection::vec(0_u8..4, 1..200)) {
            let now = Instant::now();
            let mut log = RoomLog::new(LIMITS, 7);
            let (mut cursor, mut said, mut held) = (log.head(), Vec::new(), Vec::new());
            for step in steps {
                if step > 0 {
                    let text = said.len().to_string();
                    say(&mut log, now, Class::Ordered, &text);
                    said.push(text);
                    continue;
                }
                let (frames, read) = read_all(&log, &mut cursor);
                if read == Read::Lost {
                    prop_assert!(said.len() - held.len() > LIMITS.max_frames);
                    return Ok(());
                }
                held.extend(frames);
                prop_assert_eq!(&held, &said);
            }
        }
    }
}
