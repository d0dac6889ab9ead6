//! Requests that wait for what is not there yet (rfc8216bis sections 6.2.5.2 and 6.2.6).
//!
//! In: a channel and what is asked of it. Out: the snapshot that has it, or why there is none.
//! Every wait ends: with the news, after three target durations, or when the server stops. How many wait is bounded by
//! the connections the listener admits.

use super::super::packager::{Part, RenditionSnapshot, ShowState};
use super::super::show::Channel;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum HoldError {
    /// Answered with 400.
    #[error("the playlist is not that far by a long way")]
    TooFarAhead,
    /// Answered with 404.
    #[error("there is no such part")]
    NoSuchPart,
    /// Answered with 503.
    #[error("nothing new came in time")]
    TimedOut,
    /// Answered with 503.
    #[error("the server is stopping")]
    Stopping,
}

/// Held requests are given up after this many target durations (section 6.2.5.2).
const PATIENCE: u32 = 3;
/// Segments ahead of the last one that may be asked for (section 6.2.5.2).
const MAX_AHEAD: u64 = 2;

/// The playlist once it has `segment`, or `part` of it.
///
/// While the publisher is gone nothing will come, and an error would make players give up that should wait for its
/// return: the unchanged playlist is the answer then. It comes after half a target duration, so that they do not ask in
/// a flood, and not later, because hls.js gives a held request up after four fifths of one.
pub(super) async fn playlist(
    channel: &Channel,
    segment: u64,
    part: Option<u64>,
    cancel: &CancellationToken,
) -> Result<Arc<RenditionSnapshot>, HoldError> {
    let mut news = channel.watch();
    let begun = Instant::now();
    let mut snapshot = Arc::clone(&news.borrow_and_update());
    if is_impossible(&snapshot, segment, part) {
        return Err(HoldError::TooFarAhead);
    }
    let mut interrupted_at = None;
    loop {
        if snapshot.state == ShowState::Ended || snapshot.contains(segment, part) {
            return Ok(snapshot);
        }
        let target = Duration::from_secs(snapshot.target_duration);
        let (deadline, overdue) = if snapshot.state == ShowState::Interrupted {
            (*interrupted_at.get_or_insert_with(Instant::now) + target / 2, Ok(Arc::clone(&snapshot)))
        } else {
            interrupted_at = None;
            (begun + target * PATIENCE, Err(HoldError::TimedOut))
        };
        tokio::select! {
            changed = news.changed() => changed.map_err(|_| HoldError::Stopping)?,
            () = tokio::time::sleep_until(deadline) => return overdue,
            () = cancel.cancelled() => return Err(HoldError::Stopping),
        }
        snapshot = Arc::clone(&news.borrow_and_update());
    }
}

/// A part, waited for if it is the one that comes next.
pub(super) async fn part(
    channel: &Channel,
    (epoch, segment, part): (u64, u64, u64),
    cancel: &CancellationToken,
) -> Result<Part, HoldError> {
    let mut news = channel.watch();
    let begun = Instant::now();
    loop {
        let snapshot = Arc::clone(&news.borrow_and_update());
        if let Some(part) = snapshot.part(epoch, segment, part) {
            return Ok(part.clone());
        }
        if !may_come(&snapshot, epoch, segment, part) {
            return Err(HoldError::NoSuchPart);
        }
        let deadline = begun + Duration::from_secs(snapshot.target_duration) * PATIENCE;
        tokio::select! {
            changed = news.changed() => changed.map_err(|_| HoldError::Stopping)?,
            () = tokio::time::sleep_until(deadline) => return Err(HoldError::TimedOut),
            () = cancel.cancelled() => return Err(HoldError::Stopping),
        }
    }
}

/// Whether a part that is not here is the next of the open segment, or the first of the one after.
fn may_come(snapshot: &RenditionSnapshot, epoch: u64, segment: u64, part: u64) -> bool {
    if snapshot.state != ShowState::Live {
        return false;
    }
    let newest = snapshot.open.as_ref().or_else(|| snapshot.segments.last().map(|last| &**last));
    let Some(newest) = newest.filter(|newest| newest.epoch == epoch) else { return false };
    let is_open = snapshot.open.is_some();
    let next_here = is_open && segment == newest.number && part == newest.parts.len() as u64;
    next_here || (segment == newest.number + 1 && part == 0)
}

fn is_impossible(snapshot: &RenditionSnapshot, segment: u64, part: Option<u64>) -> bool {
    if snapshot.state == ShowState::Ended {
        return false;
    }
    let Some(position) = snapshot.position() else { return segment > MAX_AHEAD };
    // Before the first segment is closed, the one before it counts as the last.
    let limit = snapshot.last_closed().map_or(position.segment + MAX_AHEAD - 1, |last| last + MAX_AHEAD);
    if segment > limit {
        return true;
    }
    let Some(part) = part else { return false };
    let newest = if segment == position.segment { position.part.map_or(0, |part| part + 1) } else { 0 };
    segment >= position.segment && part >= newest + advance_part_limit(snapshot.part_target)
}

/// How many parts ahead may be asked for (section 6.2.5.2).
fn advance_part_limit(part_target: Duration) -> u64 {
    if part_target < Duration::from_secs(1) { (3.0 / part_target.as_secs_f64().max(0.001)).ceil() as u64 } else { 3 }
}
