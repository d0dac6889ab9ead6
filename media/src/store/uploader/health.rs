//! How the way to the bucket is: counters, a line of log when that changes and one a minute while it is bad, and a
//! sentence for operators.
//!
//! In: outcomes of uploads, what waits. Out: well, or degraded. One failure is no trouble, and one success does not end it:
//! the bucket is degraded after failures in a row or when a show is so far behind that gaps come near, also where every
//! upload succeeds but none is quick enough. It is well again once nothing is far behind and uploads succeed in a row.

use super::super::StoreError;
use crate::metrics;
use crate::model::BroadcastId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Shared by all shipments of this node.
#[derive(Debug)]
pub(super) struct Health {
    /// A show that is longer behind than this is in danger.
    behind_after: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By show; none without a backlog.
    waiting: HashMap<BroadcastId, (usize, Duration)>,
    is_degraded: bool,
    /// Failures since the bucket last took something.
    failures: u64,
    /// What it took since it last failed or became degraded.
    successes: u64,
    sum: Sum,
    told: Told,
}

/// What has happened since all was well.
#[derive(Debug, Default)]
struct Sum {
    failures: u64,
    last_failure: Option<String>,
    gaps: u64,
}

/// What was logged.
#[derive(Debug, Default)]
struct Told {
    /// When it was told that the bucket is degraded, unless it was told to be well since.
    degraded: Option<Instant>,
    /// The first line of this minute.
    minute: Option<Instant>,
    lines: u32,
    /// Failures that no line speaks of.
    untold: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Something failed, and it may be nothing.
    Failing,
    Degraded,
    StillDegraded,
    Well {
        after: Duration,
    },
}

/// A service that is restarted refuses one or two; more is trouble.
const FAILURES: u64 = 3;
/// Half of the uploads that fail give three successes in a row soon enough, and a row of one all the time.
const SUCCESSES: u64 = 3;
const MINUTE: Duration = Duration::from_secs(60);
/// Changes are told at once, but of a bucket that goes to and fro no more than this.
const LINES_A_MINUTE: u32 = 4;

impl Health {
    /// `gap_after`: how long the live playlist waits for a segment.
    pub(super) fn new(gap_after: Duration) -> Self {
        Self { behind_after: gap_after / 2, state: Mutex::default() }
    }

    pub(super) fn uploaded(&self, took: Duration) {
        ::metrics::counter!(metrics::STORE_UPLOADS).increment(1);
        ::metrics::histogram!(metrics::STORE_UPLOAD_SECONDS).record(took.as_secs_f64());
        self.is_well();
    }

    /// The bucket took something.
    pub(super) fn is_well(&self) {
        let mut state = self.state.lock();
        state.failures = 0;
        state.successes += 1;
        self.look(&mut state);
    }

    pub(super) fn failed(&self, error: &StoreError) {
        ::metrics::counter!(metrics::STORE_UPLOAD_FAILURES, "reason" => error.reason()).increment(1);
        let mut state = self.state.lock();
        state.failures += 1;
        state.successes = 0;
        state.sum.failures += 1;
        state.sum.last_failure = Some(error.to_string());
        state.told.untold += 1;
        self.look(&mut state);
    }

    /// Live playlists in the bucket went on without so many segments.
    pub(super) fn gave_up(&self, segments: u64) {
        ::metrics::counter!(metrics::STORE_GAPS).increment(segments);
        self.state.lock().sum.gaps += segments;
    }

    /// What of a show waits now.
    pub(super) fn set_waiting(&self, broadcast: &BroadcastId, segments: usize, length: Duration) {
        let mut state = self.state.lock();
        if segments == 0 {
            state.waiting.remove(broadcast);
        } else {
            state.waiting.insert(broadcast.clone(), (segments, length));
        }
        let (segments, length) = state.backlog();
        ::metrics::gauge!(metrics::STORE_BACKLOG_SEGMENTS).set(segments as f64);
        ::metrics::gauge!(metrics::STORE_BACKLOG_SECONDS).set(length.as_secs_f64());
        self.look(&mut state);
    }

    /// `None`: all is well.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.state.lock();
        if !state.is_degraded {
            return None;
        }
        let (segments, length) = state.backlog();
        let what = if state.failures > 0 { "takes nothing" } else { "is behind" };
        let mut trouble = format!("the bucket {what}: {segments} segments ({} s) wait on the disk", length.as_secs());
        if let Some(last) = &state.sum.last_failure {
            trouble += &format!(" after {} failures; the last: {last}", state.sum.failures);
        }
        if state.sum.gaps > 0 {
            trouble += &format!("; {} segments were given up by live playlists", state.sum.gaps);
        }
        Some(trouble)
    }

    fn look(&self, state: &mut State) {
        state.judge(self.behind_after);
        if let Some(line) = state.told.next(state.is_degraded, Instant::now()) {
            state.tell(line);
        }
        if !state.is_degraded && state.told.degraded.is_none() && state.failures == 0 {
            state.sum = Sum::default();
        }
    }
}

impl State {
    fn judge(&mut self, behind_after: Duration) {
        let (segments, length) = self.backlog();
        let is_behind = length > behind_after;
        if !self.is_degraded {
            self.is_degraded = is_behind || self.failures >= FAILURES;
            if self.is_degraded {
                self.successes = 0;
            }
        } else if !is_behind {
            let takes = self.successes >= SUCCESSES || (segments == 0 && self.successes > 0);
            self.is_degraded = !takes;
        }
    }

    fn tell(&mut self, line: Line) {
        let (segments, length) = self.backlog();
        let (failures, gaps, backlog_s) = (std::mem::take(&mut self.told.untold), self.sum.gaps, length.as_secs());
        let error = self.sum.last_failure.as_deref().unwrap_or("none, it is slow");
        match line {
            Line::Failing => tracing::info!(error, failures, segments, "an upload failed and is made again"),
            Line::Degraded => tracing::warn!(
                error,
                failures,
                segments,
                backlog_s,
                "the bucket is in trouble; shows go on, their segments wait on the disk"
            ),
            Line::StillDegraded => {
                tracing::warn!(error, failures, segments, backlog_s, gaps, "the bucket is still in trouble");
            }
            Line::Well { after } => {
                let (failures, after_s) = (self.sum.failures, after.as_secs());
                tracing::info!(failures, segments, gaps, after_s, "the bucket takes segments again");
            }
        }
    }

    /// All segments that wait, and the longest backlog of a show.
    fn backlog(&self) -> (usize, Duration) {
        let segments = self.waiting.values().map(|(segments, _)| segments).sum();
        (segments, self.waiting.values().map(|(_, length)| *length).max().unwrap_or_default())
    }
}

impl Told {
    /// What is to be told now.
    fn next(&mut self, is_degraded: bool, now: Instant) -> Option<Line> {
        let is_next_minute = self.minute.is_none_or(|minute| now - minute >= MINUTE);
        let line = match (self.degraded, is_degraded) {
            (None, true) => Line::Degraded,
            (Some(since), false) => Line::Well { after: now - since },
            (Some(_), true) if is_next_minute => Line::StillDegraded,
            (None, false) if is_next_minute && self.untold > 0 => Line::Failing,
            (Some(_), true) | (None, false) => return None,
        };
        if is_next_minute {
            (self.minute, self.lines) = (Some(now), 0);
        } else if self.lines >= LINES_A_MINUTE {
            return None;
        }
        self.lines += 1;
        match line {
            Line::Degraded => self.degraded = Some(now),
            Line::Well { .. } => self.degraded = None,
            Line::Failing | Line::StillDegraded => {}
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::BucketFault;

    const GAP_AFTER: Duration = Duration::from_secs(20);

    fn refused() -> StoreError {
        let (key, detail) = ("a/v0/0/1.m4s".to_owned(), "503 SlowDown".to_owned());
        StoreError::Bucket { action: "put", key, fault: BucketFault::Busy, detail }
    }

    fn show(name: &str) -> BroadcastId {
        BroadcastId::parse(name).unwrap()
    }

    /// Its log as the state of what was told after each step.
    struct Watch {
        health: Health,
        lines: Vec<Line>,
    }

    impl Watch {
        fn new() -> Self {
            Self { health: Health::new(GAP_AFTER), lines: Vec::new() }
        }

        /// Does one thing, and notes what was told of it.
        fn step(&mut self, act: impl FnOnce(&Health)) {
            let before = self.told();
            act(&self.health);
            let after = self.told();
            if before == after {
                return;
            }
            self.lines.push(match (before.0, after.0, self.health.state.lock().is_degraded) {
                (None, Some(_), _) => Line::Degraded,
                (Some(_), None, _) => Line::Well { after: Duration::ZERO },
                (_, _, true) => Line::StillDegraded,
                (_, _, false) => Line::Failing,
            });
        }

        fn told(&self) -> (Option<Instant>, Option<Instant>, u32) {
            let state = self.health.state.lock();
            (state.told.degraded, state.told.minute, state.told.lines)
        }

        fn fail(&mut self) {
            self.step(|health| health.failed(&refused()));
        }

        fn succeed(&mut self) {
            self.step(Health::is_well);
        }

        fn wait(&mut self, segments: usize, secs: u64) {
            self.step(|health| health.set_waiting(&show("a"), segments, Duration::from_secs(secs)));
        }

        fn is_degraded(&self) -> bool {
            self.health.trouble().is_some()
        }
    }

    async fn pass(secs: u64) {
        tokio::time::advance(Duration::from_secs(secs)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_failure_is_no_trouble_and_one_success_does_not_end_it() {
        let mut watch = Watch::new();
        watch.wait(2, 4);
        for _ in 1..FAILURES {
            watch.fail();
            assert!(!watch.is_degraded());
        }
        watch.fail();
        let trouble = watch.health.trouble().unwrap();
        assert_eq!(
            trouble,
            "the bucket takes nothing: 2 segments (4 s) wait on the disk after 3 failures; the last: cannot put \
             a/v0/0/1.m4s in the bucket: 503 SlowDown"
        );
        for _ in 1..SUCCESSES {
            watch.succeed();
            assert!(watch.is_degraded(), "it may be luck");
        }
        watch.fail();
        for _ in 0..SUCCESSES {
            watch.succeed();
        }
        assert!(!watch.is_degraded());
        watch.fail();
        assert!(!watch.is_degraded(), "the count begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_has_everything_is_well_with_its_first_success() {
        let mut watch = Watch::new();
        watch.wait(1, 2);
        (0..5).for_each(|_| watch.fail());
        watch.wait(0, 0);
        assert!(watch.is_degraded(), "nothing waits, but nothing succeeded: the show may have been deleted");
        watch.succeed();
        assert!(!watch.is_degraded());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_bucket_is_degraded_while_a_show_is_far_behind() {
        let mut watch = Watch::new();
        for secs in 1..=10 {
            watch.wait(secs as usize, secs);
            watch.succeed();
            assert!(!watch.is_degraded(), "{secs} s");
        }
        watch.wait(6, 11);
        assert_eq!(watch.health.trouble().unwrap(), "the bucket is behind: 6 segments (11 s) wait on the disk");
        (0..10).for_each(|_| watch.succeed());
        watch.wait(6, 12);
        assert!(watch.is_degraded(), "it takes all, and too late");
        // Another show with little to do changes nothing.
        watch.step(|health| health.set_waiting(&show("b"), 1, Duration::from_secs(2)));
        assert!(watch.is_degraded());
        watch.wait(5, 10);
        assert!(!watch.is_degraded(), "it has caught up, and took enough meanwhile");
        watch.step(|health| health.gave_up(3));
        watch.wait(6, 11);
        assert!(watch.health.trouble().unwrap().ends_with("3 segments were given up by live playlists"));
        watch.wait(0, 0);
        assert!(watch.is_degraded(), "nothing was taken since");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_is_down_costs_a_line_a_minute() {
        let mut watch = Watch::new();
        for _ in 0..600 {
            watch.fail();
            pass(1).await;
        }
        assert_eq!(watch.lines[..2], [Line::Failing, Line::Degraded]);
        assert_eq!(watch.lines[2..], [Line::StillDegraded; 9], "ten minutes");
        watch.succeed();
        assert_eq!(watch.lines.last(), Some(&Line::Well { after: Duration::ZERO }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_fails_every_other_time_does_not_flood_the_log() {
        let mut watch = Watch::new();
        watch.wait(1, 2);
        for _ in 0..600 {
            watch.fail();
            watch.succeed();
            pass(1).await;
        }
        assert_eq!(watch.lines, [Line::Failing; 10], "one a minute, and no trouble");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_goes_to_and_fro_is_told_to_do_so_a_few_times_a_minute() {
        let mut watch = Watch::new();
        for _ in 0..60 {
            watch.wait(9, 15);
            (0..SUCCESSES).for_each(|_| watch.succeed());
            watch.wait(1, 2);
            pass(2).await;
        }
        assert!(watch.lines.len() <= 2 * LINES_A_MINUTE as usize + 1, "two minutes: {:?}", watch.lines);
        assert!(!watch.is_degraded());
        pass(60).await;
        watch.succeed();
        assert!(watch.health.state.lock().told.degraded.is_none(), "its last word is how it is");
    }
}
