//! Waiting for facts.

use anyhow::{Result, anyhow};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// How often a condition is looked at: slower than the API lets one stranger ask.
const EVERY: Duration = Duration::from_millis(100);

/// A question that is not answered within this is asked again: a browser under load has been seen to leave one unanswered for good.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// Limits by what is waited for. They are generous: a busy machine is slow, not wrong, and a wait that succeeds early
/// costs nothing.
pub(crate) struct Limit;

impl Limit {
    /// A process to start or to stop.
    pub(crate) const PROCESS: Duration = Duration::from_secs(30);
    /// Something that follows from what was just done, with no media time in it.
    pub(crate) const EVENT: Duration = Duration::from_secs(15);
    /// Some seconds of media to be made, packaged and played.
    pub(crate) const MEDIA: Duration = Duration::from_secs(60);
}

/// Asks until there is an answer. `Ok(None)` and errors both mean "not yet"; the last error is told when time is up.
pub(crate) async fn until<T>(
    limit: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = String::from("it was simply not so");
    loop {
        ticks.tick().await;
        match timeout_at(deadline.min(Instant::now() + ANSWERED_WITHIN), probe()).await {
            Ok(Ok(Some(answer))) => return Ok(answer),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => last = format!("{error:#}"),
            Err(_) => last = format!("the question itself took too long; before that: {last}"),
        }
        if Instant::now() >= deadline {
            return Err(anyhow!("waited {limit:?} for {what}; last answer: {last}"));
        }
    }
}

/// The same for a plain condition.
pub(crate) async fn holds(limit: Duration, what: &str, mut probe: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    until(limit, what, async || Ok(probe().await?.then_some(()))).await
}

/// Lets time itself pass, for the walks whose subject is an absence.
pub(crate) async fn absence(length: Duration) {
    let mut ticks = interval(length);
    ticks.tick().await;
    ticks.tick().await;
}
