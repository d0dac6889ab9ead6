//! One WHEP viewer: the feeds it is sent, its feedback, and when it counts as present.
//!
//! In: bursts of its feeds, its RTCP, the clock. Out: sealed packets into the worker's batch. Driven by the worker that owns
//! the peer.

use super::burst::Burst;
use super::path::Path;
use super::roster::{PlaceGuard, Roster};
use super::shelf::Shelf;
use super::showing::Showing;
use super::wish::{Choice, NoSuchLayer, PictureLayers};
use crate::ejected::KnownAs;
use crate::model::{BroadcastId, ViewerId};
use crate::rtc::outlet::Outlet;
use crate::rtc::rtcp::Feedback;
use crate::seam::{EventSink, Transport, ViewerGuard, ViewerIdentity};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

#[derive(Debug)]
pub(crate) struct Viewer {
    /// The session's own feed first, then those of its co-hosts.
    showings: Vec<Showing>,
    presence: Presence,
    known_as: KnownAs,
    path: Path,
    reported: Instant,
    /// Whose turn it is to be the first of them: what there is room for would be the first one's alone.
    first: usize,
}

/// Who watches, until the first media packet makes it a fact.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) roster: Roster,
    pub(crate) broadcast: BroadcastId,
    pub(crate) viewer: ViewerId,
    pub(crate) identity: Option<ViewerIdentity>,
    pub(crate) known_as: KnownAs,
}

#[derive(Debug)]
enum Presence {
    /// Waits for the first media packet.
    Expected(Seat),
    Joined {
        guard: ViewerGuard,
        _place: PlaceGuard,
    },
    Between,
}

const REPORT_EVERY: Duration = Duration::from_secs(1);

impl Viewer {
    /// `showings`: at least one.
    pub(crate) fn new(showings: Vec<Showing>, path: Path, seat: Seat, now: Instant) -> Self {
        Self {
            showings,
            known_as: seat.known_as.clone(),
            presence: Presence::Expected(seat),
            path,
            reported: now,
            first: 0,
        }
    }

    /// By their place, which names them to this viewer.
    pub(crate) fn showings(&self) -> &[Showing] {
        &self.showings
    }

    /// Whether an order about this viewer of a show means this peer: by an id that outlives it or by its own.
    pub(crate) fn is(&self, show: &BroadcastId, viewer: &ViewerId) -> bool {
        let own = match &self.presence {
            Presence::Expected(seat) => Some(&seat.viewer),
            Presence::Joined { guard, .. } => Some(&guard.present().viewer),
            Presence::Between => None,
        };
        self.showings[0].feed().broadcast().show() == show && (own == Some(viewer) || self.known_as.is(viewer))
    }

    pub(crate) fn known_as(&self) -> &KnownAs {
        &self.known_as
    }

    /// Whether something waits to be sent, or it may have to probe: then it wants every tick.
    pub(crate) fn is_restless(&self) -> bool {
        self.path.measured_bps().is_some() || self.showings.iter().any(Showing::waits)
    }

    /// Keys are there: one of its feeds begins.
    pub(crate) fn start(&mut self, showing: usize, shelf: &Shelf, now: Instant, out: &mut Outlet<'_>) {
        self.path.begin_turn(now);
        let sent = self.showings[showing].start(shelf, &mut self.path, out);
        self.sent(sent);
        self.rest();
    }

    pub(crate) fn forward(&mut self, showing: usize, burst: &Arc<Burst>, now: Instant, out: &mut Outlet<'_>) {
        self.path.begin_turn(now);
        let sent = self.showings[showing].forward(burst, &mut self.path, out);
        self.sent(sent);
    }

    /// The publisher of a feed went away.
    pub(crate) fn interrupt(&mut self, showing: usize) {
        self.showings[showing].interrupt(&mut self.path);
    }

    /// A co-host's feed is over, or no longer what was agreed on.
    pub(crate) fn close(&mut self, showing: usize) {
        self.showings[showing].close(&mut self.path);
    }

    /// Sends what is due.
    pub(crate) fn tick<'a>(
        &mut self,
        shelf: impl Fn(&Showing) -> Option<&'a Shelf>,
        now: Instant,
        out: &mut Outlet<'_>,
    ) {
        self.path.begin_turn(now);
        self.path.tick();
        let mut sent = 0;
        self.first = (self.first + 1) % self.showings.len();
        let (last, first) = self.showings.split_at_mut(self.first);
        for showing in first.iter_mut().chain(last) {
            if let Some(shelf) = shelf(showing) {
                sent += showing.tick(shelf, &mut self.path, out);
            }
        }
        self.sent(sent);
        self.rest();
        if now.duration_since(self.reported) >= REPORT_EVERY {
            self.reported = now;
            let wall = SystemTime::now();
            self.showings.iter().for_each(|showing| showing.report(wall, out));
        }
    }

    /// What its pictures are made of; before that it makes a choice.
    pub(crate) fn layers<'a>(
        &mut self,
        choice: Option<Choice>,
        shelf: impl Fn(&Showing) -> Option<&'a Shelf>,
        now: Instant,
    ) -> Result<Vec<PictureLayers>, NoSuchLayer> {
        let empty = Shelf::default();
        let shelf = |showing: &Showing| shelf(showing).unwrap_or(&empty);
        if let Some(Choice { m_line, wish }) = choice {
            let present: Vec<usize> = self.showings.iter().filter_map(Showing::m_line).collect();
            let asked = m_line.or_else(|| present.iter().min().copied()).ok_or(NoSuchLayer::NoPicture)?;
            let showing = self.showings.iter_mut().find(|showing| showing.m_line() == Some(asked));
            let showing = showing.ok_or(NoSuchLayer::MediaSection { asked, present })?;
            showing.wish_for(wish, shelf(showing))?;
        }
        Ok(self.showings.iter().filter_map(|showing| showing.layers(shelf(showing), now)).collect())
    }

    /// Acts on feedback.
    pub(crate) fn feedback<'a>(
        &mut self,
        feedback: &Feedback<'_>,
        shelf: impl Fn(&Showing) -> Option<&'a Shelf>,
        now: Instant,
        out: &mut Outlet<'_>,
    ) {
        self.path.begin_turn(now);
        let path = &mut self.path;
        match feedback {
            Feedback::Nack { media_ssrc, sequences } => {
                for showing in &mut self.showings {
                    if let Some(shelf) = shelf(showing)
                        && showing.resend(*media_ssrc, sequences, shelf, path, out)
                    {
                        break;
                    }
                }
            }
            Feedback::KeyframeRequest { media_ssrc } => {
                for showing in &mut self.showings {
                    if let Some(shelf) = shelf(showing) {
                        showing.keyframe(*media_ssrc, shelf, path, out);
                    }
                }
            }
            Feedback::RoundTrip(rtt) => path.round_trip(*rtt),
            Feedback::Arrivals(body) => path.report(body),
            Feedback::Other => {}
        }
        self.rest();
    }

    /// The pace is that of what waits, and of nothing when nothing does. A frame that is forwarded ends no wait.
    fn rest(&mut self) {
        if !self.showings.iter().any(Showing::waits) {
            self.path.rest();
        }
    }

    /// Media left for this viewer: it is present from the first packet on.
    fn sent(&mut self, packets: usize) {
        if packets == 0 || !matches!(self.presence, Presence::Expected(_)) {
            return;
        }
        if let Presence::Expected(seat) = std::mem::replace(&mut self.presence, Presence::Between) {
            let Seat { events, roster, broadcast, viewer, identity, known_as: _ } = seat;
            let guard = ViewerGuard::join(events, broadcast.clone(), viewer, identity, Transport::Whep);
            let _place = roster.enter(&broadcast, guard.present());
            self.presence = Presence::Joined { guard, _place };
        }
    }
}
