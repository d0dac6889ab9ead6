//! The one reader of media's facts.
//!
//! In: [`LiveFact`]s through a bounded queue. Out: session moves and viewer figures in the database, events on the bus,
//! current counts for whoever asks. Driven by its own task, which owns every [`Audience`].
//!
//! Counts change in memory at once and are announced at once; the database hears of them once a second, many sessions in
//! one transaction. When the database is away, viewers are still counted and session moves wait here in their order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;

use super::audience::{Audience, Change, Direction, Person, Visit};
use super::fact::{LiveFact, ViewerIdentity};
use super::places::Places;
use crate::bus::{Bus, DomainEvent};
use crate::clock::{Clock, Timestamp};
use crate::cohost::CoHosts;
use crate::error::Error;
use crate::id::SessionId;
use crate::session::{AudienceReport, Cause, EndReason, Moved, Sessions, VisitReport};
use crate::video::{Recorded, Videos};

/// Where media tells its facts. Clones tell to the same queue.
#[derive(Debug, Clone)]
pub struct LiveIngress {
    queue: mpsc::Sender<Told>,
    board: Arc<Board>,
}

type Board = RwLock<Places>;

/// The receiving end, until [`Ingress::run`] takes it.
#[derive(Debug)]
pub(crate) struct Facts {
    queue: mpsc::Receiver<Told>,
    board: Arc<Board>,
}

#[derive(Debug)]
enum Told {
    Fact(LiveFact),
    /// Write what is known of this session, then answer.
    Settle {
        session_id: SessionId,
        done: oneshot::Sender<()>,
    },
}

/// Several seconds of the busiest show, should the reader be held up. When full, [`LiveIngress::try_tell`] drops (the next
/// snapshot repairs it) and [`LiveIngress::tell`] waits.
const QUEUE: usize = 4096;

/// The queue's two ends.
pub(crate) fn channel() -> (LiveIngress, Facts) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let board = Arc::default();
    (LiveIngress { queue: sender, board: Arc::clone(&board) }, Facts { queue: receiver, board })
}

impl LiveIngress {
    /// Tells a fact without waiting; `false` when the queue was full or nobody listens any more. For facts that a
    /// snapshot repairs.
    pub fn try_tell(&self, fact: LiveFact) -> bool {
        let told = self.queue.try_send(Told::Fact(fact)).is_ok();
        if !told {
            metrics::counter!("chobi_presence_facts_dropped_total").increment(1);
        }
        told
    }

    /// Tells a fact that may not be lost; waits while the queue is full.
    pub async fn tell(&self, fact: LiveFact) {
        if self.queue.send(Told::Fact(fact)).await.is_err() {
            tracing::warn!("a fact of the live plane came after presence had stopped");
        }
    }

    /// How many people watch a session now.
    pub fn viewer_count(&self, session_id: &SessionId) -> u64 {
        self.board.read().watching(session_id)
    }

    /// A place for somebody who is about to watch a session that has only so many. `false`: all are taken.
    pub(crate) fn keep_place(
        &self,
        session_id: &SessionId,
        viewer: &ViewerIdentity,
        places: u32,
        now: Timestamp,
    ) -> bool {
        self.board.write().keep(session_id, viewer, places, now)
    }

    /// Returns once everything told so far about a session is in the database, or after a moment: whoever waits here has
    /// better things to do than to wait for a database that is away.
    pub(crate) async fn settle(&self, session_id: &SessionId) {
        let settled = async {
            let (done, answer) = oneshot::channel();
            if self.queue.send(Told::Settle { session_id: session_id.clone(), done }).await.is_ok() {
                let _ = answer.await;
            }
        };
        let _ = timeout(SETTLE_TIMEOUT, settled).await;
    }
}

const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);

/// Whom facts are passed on to.
pub(crate) struct Slices {
    pub(crate) sessions: Sessions,
    pub(crate) co_hosts: CoHosts,
    pub(crate) videos: Videos,
}

/// The task's state.
pub(crate) struct Ingress {
    sessions: Sessions,
    co_hosts: CoHosts,
    videos: Videos,
    bus: Bus,
    clock: Clock,
    board: Arc<Board>,
    /// One per session somebody watches or that has figures to write.
    audiences: HashMap<SessionId, Audience>,
    /// Moves the database has not taken yet, oldest first; at most [`MAX_MOVES`].
    moves: VecDeque<Move>,
    /// Whether the last write failed, so that an outage is logged twice and not every second.
    database_is_away: bool,
}

#[derive(Debug, Clone)]
struct Move {
    session_id: SessionId,
    step: Step,
    at: Timestamp,
}

/// What a move does. Recordings wait in the same line, so that each finds its session where it should be.
#[derive(Debug, Clone, Copy)]
enum Step {
    Session { cause: Cause, reason: Option<EndReason> },
    ThumbnailMade,
    RecordingEnded(Recorded),
    RecordingDeleted,
}

/// Far more sessions than one node carries change state during an outage we would survive. Beyond it the oldest move is
/// dropped with an error in the log; media's next fact about that session moves it on.
const MAX_MOVES: usize = 10_000;
/// How often figures are written: what the list of live sessions lags behind.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// Rows written in one transaction, so that it stays short.
const FLUSH_ROWS: usize = 500;

impl Ingress {
    pub(crate) fn new(slices: Slices, bus: Bus, clock: Clock, facts: &Facts) -> Self {
        let Slices { sessions, co_hosts, videos } = slices;
        let board = Arc::clone(&facts.board);
        let (audiences, moves) = (HashMap::new(), VecDeque::new());
        Self { sessions, co_hosts, videos, bus, clock, board, audiences, moves, database_is_away: false }
    }

    /// Reads facts until `stop`, then what is left in the queue, and writes everything down.
    pub(crate) async fn run(mut self, facts: Facts, stop: CancellationToken) {
        let mut queue = facts.queue;
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                told = queue.recv() => match told {
                    Some(told) => self.hear(told).await,
                    None => break,
                },
                _ = flush.tick() => self.flush().await,
                () = stop.cancelled() => {
                    queue.close();
                    while let Some(told) = queue.recv().await {
                        self.hear(told).await;
                    }
                    break;
                }
            }
        }
        self.flush().await;
    }

    async fn hear(&mut self, told: Told) {
        match told {
            Told::Fact(fact) => self.learn(fact).await,
            Told::Settle { session_id, done } => {
                self.make_moves().await;
                if let Some(audience) = self.audiences.remove(&session_id) {
                    let mut only = HashMap::from([(session_id, audience)]);
                    self.write(&mut only).await;
                    self.audiences.extend(only.into_iter().filter(|(_, audience)| !audience.is_over()));
                }
                let _ = done.send(());
            }
        }
    }

    async fn learn(&mut self, fact: LiveFact) {
        match fact {
            LiveFact::WentLive { session_id, at } | LiveFact::Resumed { session_id, at } => {
                self.move_on(session_id, Cause::MediaArrived, at.into(), None).await;
            }
            LiveFact::Interrupted { session_id, at } => {
                self.move_on(session_id, Cause::MediaLost, at.into(), None).await;
            }
            LiveFact::Ended { session_id, at, reason } => {
                self.co_hosts.forget(&session_id);
                self.move_on(session_id, Cause::Over, at.into(), Some(reason)).await;
            }
            LiveFact::ViewerJoined { session_id, viewer_id, identity, transport, at } => {
                tracing::debug!(session.id = %session_id, viewer.id = viewer_id, ?transport, "viewer joined");
                let change = self.audience(&session_id).join(viewer_id, identity, transport, at.into());
                self.announce(session_id, change);
            }
            LiveFact::ViewerLeft { session_id, viewer_id, watched, at } => {
                tracing::debug!(session.id = %session_id, viewer.id = viewer_id, ?watched, "viewer left");
                let change = self.audience(&session_id).leave(&viewer_id, watched, at.into());
                self.announce(session_id, change);
            }
            LiveFact::Audience { session_id, transport, viewers, at } => {
                let changes = self.audience(&session_id).replace(transport, viewers, at.into());
                self.announce(session_id, changes);
            }
            LiveFact::IngestWarning { session_id, code, at } => self.warn_host(session_id, code, at.into()).await,
            LiveFact::ActiveSpeaker { session_id, co_host, at } => {
                self.bus.publish(DomainEvent::SpeakerChanged { session_id, co_host, at: at.into() });
            }
            LiveFact::CoHostLive { session_id, user_id, at } => self.co_hosts.went_live(session_id, user_id, at.into()),
            LiveFact::CoHostGone { session_id, user_id, at } => {
                self.co_hosts.went_away(session_id, &user_id, at.into())
            }
            LiveFact::ThumbnailMade { session_id } => {
                let at = self.clock.now();
                self.take_step(session_id, Step::ThumbnailMade, at).await;
            }
            LiveFact::RecordingEnded { session_id, recorded, at } => {
                self.take_step(session_id, Step::RecordingEnded(recorded), at.into()).await;
            }
            LiveFact::RecordingDeleted { session_id, at } => {
                self.take_step(session_id, Step::RecordingDeleted, at.into()).await;
            }
        }
    }

    fn audience(&mut self, session_id: &SessionId) -> &mut Audience {
        self.audiences.entry(session_id.clone()).or_default()
    }

    fn announce(&mut self, session_id: SessionId, changes: impl IntoIterator<Item = Change>) {
        for Change { person, direction, viewer_count, at } in changes {
            if let Person::Known(viewer) = &person {
                self.board.write().note(&session_id, viewer, direction);
            }
            let (session_id, viewer) = (session_id.clone(), person.as_str().to_owned());
            self.bus.publish(match direction {
                Direction::Joined => DomainEvent::ViewerJoined { session_id, viewer, viewer_count, at },
                Direction::Left => DomainEvent::ViewerLeft { session_id, viewer, viewer_count, at },
            });
        }
        let viewer_count = self.audience(&session_id).viewer_count();
        self.board.write().set_watching(session_id, viewer_count);
    }

    async fn warn_host(&self, session_id: SessionId, code: String, at: Timestamp) {
        match self.sessions.find(&session_id).await {
            Ok(Some(session)) => {
                self.bus.publish(DomainEvent::IngestWarned { session_id, host_id: session.host_id, code, at });
            }
            Ok(None) => tracing::debug!(session.id = %session_id, code, "warning about an unknown session"),
            // Media repeats warnings that still hold.
            Err(error) => tracing::warn!(%error, session.id = %session_id, code, "warning not passed on"),
        }
    }

    async fn move_on(&mut self, session_id: SessionId, cause: Cause, at: Timestamp, reason: Option<EndReason>) {
        self.take_step(session_id, Step::Session { cause, reason }, at).await;
    }

    async fn take_step(&mut self, session_id: SessionId, step: Step, at: Timestamp) {
        if self.moves.len() >= MAX_MOVES
            && let Some(lost) = self.moves.pop_front()
        {
            tracing::error!(session.id = %lost.session_id, step = ?lost.step, "too many session moves wait; one is lost");
        }
        self.moves.push_back(Move { session_id, step, at });
        self.make_moves().await;
    }

    /// Makes waiting moves in their order, until done or the database fails.
    async fn make_moves(&mut self) {
        while let Some(next) = self.moves.front().cloned() {
            if let Err(error) = self.make(next).await {
                self.note(Err(error));
                return;
            }
            self.note(Ok(()));
            self.moves.pop_front();
        }
    }

    async fn make(&mut self, next: Move) -> Result<(), Error> {
        let Move { session_id, step, at } = next;
        let (cause, reason) = match step {
            Step::Session { cause, reason } => (cause, reason),
            Step::ThumbnailMade => return self.sessions.has_thumbnail_now(&session_id).await,
            Step::RecordingEnded(recorded) => return self.videos.settle(&session_id, recorded, at).await,
            Step::RecordingDeleted => return self.videos.deleted(&session_id, at).await,
        };
        if cause == Cause::Over
            && let Some(audience) = self.audiences.remove(&session_id)
        {
            // The counters close with the session, so its viewers are counted in first.
            let mut only = HashMap::from([(session_id.clone(), audience)]);
            let written = write(&self.sessions, &mut only).await;
            self.audiences.extend(only);
            written?;
        }
        if self.sessions.follow(&session_id, cause, at, reason).await? == Moved::Unknown {
            tracing::warn!(session.id = %session_id, ?cause, "media spoke of an unknown session");
        }
        Ok(())
    }

    async fn flush(&mut self) {
        self.make_moves().await;
        for (session_id, audience) in &mut self.audiences {
            if audience.has_count_news() {
                let (session_id, viewer_count) = (session_id.clone(), audience.viewer_count());
                self.bus.publish(DomainEvent::AudienceChanged { session_id, viewer_count, at: self.clock.now() });
            }
        }
        let mut audiences = std::mem::take(&mut self.audiences);
        self.write(&mut audiences).await;
        audiences.retain(|_, audience| !audience.is_over());
        self.audiences = audiences;
        metrics::gauge!("chobi_viewers").set(self.board.read().watching_all() as f64);
    }

    async fn write(&mut self, audiences: &mut HashMap<SessionId, Audience>) {
        let written = write(&self.sessions, audiences).await;
        self.note(written);
    }

    /// Logs the beginning and the end of trouble with the database.
    fn note(&mut self, outcome: Result<(), Error>) {
        match outcome {
            Ok(()) if self.database_is_away => {
                self.database_is_away = false;
                tracing::info!("presence writes to the database again");
            }
            Err(error) if !self.database_is_away => {
                self.database_is_away = true;
                tracing::error!(%error, "presence cannot write to the database; it goes on counting and tries again");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// Writes the news of all audiences, some rows at a time. What could not be written is kept for the next attempt.
async fn write(sessions: &Sessions, audiences: &mut HashMap<SessionId, Audience>) -> Result<(), Error> {
    loop {
        let mut rows = 0;
        let mut taken: Vec<(&SessionId, &mut Audience, Vec<Visit>)> = Vec::new();
        for (session_id, audience) in audiences.iter_mut().filter(|(_, audience)| !audience.is_settled()) {
            if rows >= FLUSH_ROWS {
                break;
            }
            let visits = audience.take_visits(FLUSH_ROWS - rows);
            audience.take_counts_changed();
            rows += visits.len() + 1;
            taken.push((session_id, audience, visits));
        }
        if taken.is_empty() {
            return Ok(());
        }
        let reports: Vec<_> = taken.iter().map(|(id, audience, visits)| report(id, audience, visits)).collect();
        let written = sessions.record_audiences(&reports).await;
        for (_, audience, visits) in taken {
            match &written {
                Ok(()) => audience.recorded(visits),
                Err(_) => audience.give_back(visits),
            }
        }
        written?;
    }
}

fn report<'a>(session_id: &'a SessionId, audience: &Audience, visits: &'a [Visit]) -> AudienceReport<'a> {
    let visit = |visit: &'a Visit| VisitReport {
        viewer_key: visit.person.as_str(),
        user_id: visit.person.user_id(),
        joined_at: visit.joined_at,
        watched: visit.watched,
        last_seen_at: visit.last_seen_at,
    };
    AudienceReport {
        session_id,
        viewer_count: audience.viewer_count(),
        peak: audience.peak(),
        visits: visits.iter().map(visit).collect(),
    }
}
