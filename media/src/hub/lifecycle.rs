//! When a broadcast is live, waiting for its publisher, or over. The rules are pure; one task per broadcast drives them.
//!
//! In: whether a publisher is there, orders to end, the clock. Out: the phase, and facts for the event sink.

use crate::seam::{BroadcastEnd, Protocol};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No media yet. Waits for the first epoch.
    Starting,
    /// Media flows. Waits for the publisher to go.
    Live,
    /// The publisher is gone. Waits for its return until then.
    Lingering { until: Instant },
    /// Over. Waits for nothing.
    Ended(BroadcastEnd),
}

/// What the lifecycle looks at. Only the latest matters, so a flapping publisher cannot fill a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Situation {
    pub(super) publisher: Presence,
    pub(super) end: Option<BroadcastEnd>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Absent,
    /// Admitted, no media yet.
    Connected,
    Producing(Protocol),
}

/// A fact to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    Started(Protocol),
    Interrupted,
    Resumed(Protocol),
    Ended(BroadcastEnd),
}

/// One step. `grace` is how long this broadcast waits for its publisher.
pub(super) fn step(phase: Phase, situation: Situation, grace: Duration, now: Instant) -> (Phase, Option<Fact>) {
    if let Phase::Ended(_) = phase {
        return (phase, None);
    }
    if let Some(end) = situation.end {
        return (Phase::Ended(end), Some(Fact::Ended(end)));
    }
    match (phase, situation.publisher) {
        (Phase::Starting, Presence::Producing(protocol)) => (Phase::Live, Some(Fact::Started(protocol))),
        (Phase::Starting, Presence::Absent | Presence::Connected) => (phase, None),
        (Phase::Live, Presence::Absent) => (Phase::Lingering { until: now + grace }, Some(Fact::Interrupted)),
        (Phase::Live, Presence::Connected | Presence::Producing(_)) => (phase, None),
        (Phase::Lingering { .. }, Presence::Producing(protocol)) => (Phase::Live, Some(Fact::Resumed(protocol))),
        (Phase::Lingering { until }, Presence::Absent) if until <= now => {
            (Phase::Ended(BroadcastEnd::GraceOver), Some(Fact::Ended(BroadcastEnd::GraceOver)))
        }
        // A publisher that is connected but silent is cut by its ingest; until then it holds the grace open.
        (Phase::Lingering { .. }, Presence::Absent | Presence::Connected) => (phase, None),
        (Phase::Ended(_), _) => (phase, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(90);

    fn with(publisher: Presence) -> Situation {
        Situation { publisher, end: None }
    }

    #[test]
    fn a_publisher_that_returns_within_the_grace_resumes() {
        let now = Instant::now();
        let (phase, fact) = step(Phase::Starting, with(Presence::Producing(Protocol::Rtmp)), GRACE, now);
        assert_eq!((phase, fact), (Phase::Live, Some(Fact::Started(Protocol::Rtmp))));
        let (phase, fact) = step(phase, with(Presence::Absent), GRACE, now);
        assert_eq!((phase, fact), (Phase::Lingering { until: now + GRACE }, Some(Fact::Interrupted)));
        let (phase, fact) = step(phase, with(Presence::Connected), GRACE, now + GRACE * 2);
        assert_eq!((phase, fact), (Phase::Lingering { until: now + GRACE }, None));
        let (phase, fact) = step(phase, with(Presence::Producing(Protocol::Whip)), GRACE, now + GRACE * 2);
        assert_eq!((phase, fact), (Phase::Live, Some(Fact::Resumed(Protocol::Whip))));
    }

    #[test]
    fn the_grace_ends_on_time_and_an_end_is_final() {
        let now = Instant::now();
        let lingering = Phase::Lingering { until: now + GRACE };
        let early = now + GRACE - Duration::from_millis(1);
        assert_eq!(step(lingering, with(Presence::Absent), GRACE, early), (lingering, None));
        let over = Phase::Ended(BroadcastEnd::GraceOver);
        let (phase, fact) = step(lingering, with(Presence::Absent), GRACE, now + GRACE);
        assert_eq!((phase, fact), (over, Some(Fact::Ended(BroadcastEnd::GraceOver))));
        assert_eq!(step(over, with(Presence::Producing(Protocol::Rtmp)), GRACE, now), (over, None));
        let order = Situation { publisher: Presence::Absent, end: Some(BroadcastEnd::Ended) };
        assert_eq!(step(over, order, GRACE, now), (over, None));
    }
}
