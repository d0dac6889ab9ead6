//! What was said last in a handshake, and when it is said again.

use super::{HANDSHAKE, RECORD_HEADER};
use bytes::BytesMut;
use std::time::{Duration, Instant};

/// The records that were sent last and wait for an answer (RFC 6347 section 4.2.4). They are sent again as they are, which to
/// the other side is a network that delivers twice. The endpoint's own timer is not used: it does not slow down, gives a
/// handshake up after eight intervals, and stops for good when anything comes in that is not the whole answer, be it the
/// other side's own repetition.
#[derive(Default)]
pub(crate) struct Flight {
    records: Vec<BytesMut>,
    /// Something was heard since: what is sent next is another flight.
    is_over: bool,
    wait: Duration,
    due: Option<Instant>,
    /// What it begins with: the other side's own repetition makes the endpoint say the same again, which is no new flight.
    kind: Option<u8>,
    /// When it left for the first time. Too early where it was lost then; too long a round trip is the lesser evil.
    left: Option<Instant>,
    /// The shortest time from a flight to its answer so far.
    round_trip: Option<Duration>,
}

/// The first wait for an answer; it doubles (RFC 6347 section 4.2.4.1 allows less than a second on fast paths). There is no
/// last one: whoever drives the handshake knows how long it may take.
const FLIGHT_WAIT: Duration = Duration::from_millis(100);
const FLIGHT_WAIT_MAX: Duration = Duration::from_millis(1_600);

impl Flight {
    /// A datagram came from the other side.
    pub(crate) fn heard(&mut self) {
        self.is_over = true;
    }

    /// The handshake went on: what was heard was the answer. The shortest round trip so far.
    pub(crate) fn answered(&mut self, now: Instant) -> Option<Duration> {
        let took = self.left.take().map(|left| now.saturating_duration_since(left));
        self.round_trip = self.round_trip.into_iter().chain(took).min();
        self.round_trip
    }

    /// A record is on its way.
    pub(crate) fn sent(&mut self, now: Instant, record: &BytesMut) {
        if self.is_over || self.records.is_empty() {
            let kind = kind_of(record);
            if kind != self.kind {
                self.answered(now);
                (self.kind, self.left) = (kind, Some(now));
            }
            let Self { kind, left, round_trip, .. } = *self;
            *self = Self { kind, left, round_trip, wait: FLIGHT_WAIT, ..Self::default() };
        }
        self.records.push(record.clone());
        self.due = Some(now + self.wait);
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What is to be sent again now: the whole flight, or nothing.
    pub(crate) fn again(&mut self, now: Instant) -> &[BytesMut] {
        if self.due.is_none_or(|due| due > now) {
            return &[];
        }
        self.wait = (self.wait * 2).min(FLIGHT_WAIT_MAX);
        self.due = Some(now + self.wait);
        &self.records
    }
}

/// The type of the handshake message that a record begins with, or of the record where it is no handshake.
fn kind_of(record: &[u8]) -> Option<u8> {
    let kind = *record.first()?;
    if kind == HANDSHAKE { record.get(RECORD_HEADER).copied() } else { Some(kind) }
}
