//! The rules of sessions and the transactions that keep them. Publishes after commit.

use std::sync::Arc;
use std::time::Duration;

use super::model::{Cause, Details, EndReason, HostCard, Session, SessionState, SessionStats};
use super::store::{self, ActiveFilter};
use super::stream_key::StreamKey;
use super::ticket::TicketPrinter;
use crate::bus::{Bus, DomainEvent};
use crate::caller::{Caller, SignedIn};
use crate::clock::{Clock, Timestamp};
use crate::config::{PublicConfig, RecordingConfig, SessionConfig};
use crate::db::{Database, Transaction};
use crate::error::{Code, Error, Refusal, SIGN_IN, Text};
use crate::id::{SessionId, UserId};
use crate::plain_text::{Lines, plain};
use crate::ports::{LivePlane, ORDER_TIMEOUT};
use crate::presence::{LiveIngress, ViewerIdentity};
use crate::secret::Secret;
use crate::video::{self, ReplayFile};

pub(crate) const NO_SUCH_SESSION: Refusal =
    Refusal::new(Code::NotFound, "no_such_session", Text::new("البث غير موجود", "There is no such session"));
pub(crate) const SESSION_OVER: Refusal =
    Refusal::new(Code::NotFound, "session_over", Text::new("انتهى هذا البث", "This session is over"));
pub(crate) const PRIVATE: Refusal =
    Refusal::new(Code::Forbidden, "private_session", Text::new("هذا البث خاص", "This session is private"));
pub(crate) const NOT_HOST: Refusal = Refusal::new(
    Code::Forbidden,
    "not_host",
    Text::new("هذا الإجراء متاح لصاحب البث فقط", "Only the host of the session may do this"),
);
const TOO_MANY_UNFINISHED: Refusal = Refusal::new(
    Code::Conflict,
    "too_many_unfinished",
    Text::new("لديك عدد كبير من البثوث غير المنتهية، أنهِ أحدها أولًا", "Too many unfinished sessions, end one first"),
);
const EMPTY_TITLE: Refusal =
    Refusal::new(Code::BadRequest, "empty_title", Text::new("عنوان البث فارغ", "The title is empty"));

/// The session slice. Clones share everything.
#[derive(Clone)]
pub struct Sessions {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) db: Database,
    pub(super) bus: Bus,
    pub(super) plane: Arc<dyn LivePlane>,
    pub(super) presence: LiveIngress,
    pub(super) tickets: TicketPrinter,
    pub(super) clock: Clock,
    pub(super) config: SessionConfig,
    pub(super) recording: RecordingConfig,
    pub(super) public: PublicConfig,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sessions")
    }
}

/// What the slice is made with.
pub(crate) struct Parts {
    pub(crate) db: Database,
    pub(crate) bus: Bus,
    pub(crate) plane: Arc<dyn LivePlane>,
    pub(crate) presence: LiveIngress,
    pub(crate) tickets: TicketPrinter,
    pub(crate) clock: Clock,
    pub(crate) config: SessionConfig,
    pub(crate) recording: RecordingConfig,
    pub(crate) public: PublicConfig,
}

/// A session just made, with the key nobody will be shown again.
#[derive(Debug, Clone)]
pub struct Created {
    pub session: Session,
    pub host: HostCard,
    pub stream_key: StreamKey,
}

/// One page of what is live.
#[derive(Debug, Clone)]
pub(crate) struct ActivePage {
    pub(crate) sessions: Vec<(Session, HostCard)>,
    pub(crate) total: u64,
}

/// How far a fact of media moved a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    Yes,
    /// It stood there already.
    No,
    /// The session has ended, whatever media believes.
    Over,
    Unknown,
}

impl Sessions {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { db, bus, plane, presence, tickets, clock, config, recording, public } = parts;
        Self { inner: Arc::new(Inner { db, bus, plane, presence, tickets, clock, config, recording, public }) }
    }

    /// Makes a session that waits for its first media.
    pub(crate) async fn create(&self, host_id: &UserId, details: Details) -> Result<Created, Error> {
        let Inner { db, bus, clock, config, recording, .. } = &*self.inner;
        let (now, stream_key) = (clock.now(), StreamKey::generate());
        let details = Details { is_recorded: details.is_recorded && recording.enabled, ..details };
        let session = Session::waiting(SessionId::generate(), host_id.clone(), cleaned(details)?, now);

        let mut tx = db.begin().await?;
        let host = store::host_card(&mut tx, host_id).await?.ok_or(SIGN_IN)?;
        let abandoned = store::abandon(&mut tx, host_id, now.minus(config.waiting_max), now).await?;
        let inserted = store::insert(&mut tx, &session, &stream_key.digest(), config.unfinished_per_host).await?;
        let session = inserted.ok_or(TOO_MANY_UNFINISHED)?;
        tx.commit().await?;

        abandoned.iter().for_each(|session| bus.publish(ended(session)));
        tracing::info!(session.id = %session.id, user.id = %host_id, "session created");
        Ok(Created { session, host, stream_key })
    }

    /// Another key for a host who lost the one they were shown.
    pub(super) async fn rotate_key_of(&self, host: &SignedIn, session_id: &str) -> Result<(Session, StreamKey), Error> {
        let id = SessionId::parse(session_id).ok_or(NO_SUCH_SESSION)?;
        let session = self.find(&id).await?.ok_or(NO_SUCH_SESSION)?;
        if session.host_id != host.user_id {
            return Err(NOT_HOST.into());
        }
        if session.is_over() {
            return Err(SESSION_OVER.into());
        }
        let stream_key = self.rotate_key(&id).await?;
        tracing::info!(session.id = %id, user.id = %host.user_id, "stream key rotated");
        Ok((session, stream_key))
    }

    /// Gives an unfinished session another key; the old one no longer admits, and who publishes already goes on.
    pub(crate) async fn rotate_key(&self, session_id: &SessionId) -> Result<StreamKey, Error> {
        let stream_key = StreamKey::generate();
        let mut tx = self.inner.db.begin().await?;
        store::set_key(&mut tx, session_id, &stream_key.digest()).await?.ok_or(NO_SUCH_SESSION)?;
        tx.commit().await?;
        Ok(stream_key)
    }

    /// The replay that may be taken home now, whoever asks.
    pub(crate) async fn replay_file(&self, session: &Session) -> Result<Option<ReplayFile>, Error> {
        Ok(video::replay_file(&mut self.inner.db.reader().await?, &session.id).await?)
    }

    /// One session with its host, whatever its state, for those who may see it.
    pub(super) async fn look_at(&self, caller: &Caller, session_id: &str) -> Result<(Session, HostCard), Error> {
        let session = self.visible(session_id, caller.user_id(), None).await?;
        let mut reader = self.inner.db.reader().await?;
        let host = store::host_card(&mut reader, &session.host_id).await?.ok_or(NO_SUCH_SESSION)?;
        Ok((session, host))
    }

    /// One page of what is live, most watched first.
    pub(super) async fn active(&self, filter: ActiveFilter, limit: i64, offset: i64) -> Result<ActivePage, Error> {
        let mut reader = self.inner.db.reader().await?;
        let total = store::count_active(&mut reader, &filter).await?;
        let sessions = store::active(&mut reader, &filter, limit, offset).await?;
        Ok(ActivePage { sessions, total })
    }

    /// Ends a session for its host. Ending it again gives the same stats.
    pub(crate) async fn end(&self, host: &SignedIn, session_id: &str) -> Result<SessionStats, Error> {
        let id = SessionId::parse(session_id).ok_or(NO_SUCH_SESSION)?;
        let session = self.find(&id).await?.ok_or(NO_SUCH_SESSION)?;
        if session.host_id != host.user_id {
            return Err(NOT_HOST.into());
        }
        // Viewers of the last second are counted in before the counters are closed.
        self.inner.presence.settle(&id).await;
        let (_, session) = self.shift(&id, Cause::Over, self.inner.clock.now(), Some(EndReason::Host)).await?;
        let session = session.ok_or(NO_SUCH_SESSION)?;
        self.end_broadcast(&id, EndReason::Host).await;
        Ok(session.stats(self.inner.clock.now()))
    }

    /// A session that this user, or the bearer of this ticket, may see; ended ones included.
    pub(crate) async fn visible(
        &self,
        session_id: &str,
        user_id: Option<&UserId>,
        ticket: Option<&Secret>,
    ) -> Result<Session, Error> {
        Ok(self.visible_to(session_id, user_id, ticket).await?.0)
    }

    /// The same, and which of the two it is on whose place in a private session that rests.
    pub(crate) async fn visible_to(
        &self,
        session_id: &str,
        user_id: Option<&UserId>,
        ticket: Option<&Secret>,
    ) -> Result<(Session, Option<UserId>), Error> {
        let id = SessionId::parse(session_id).ok_or(NO_SUCH_SESSION)?;
        let session = self.find(&id).await?.ok_or(NO_SUCH_SESSION)?;
        if !session.details.is_private {
            return Ok((session, None));
        }
        let bearer = ticket.and_then(|ticket| self.ticket(&id, ticket)).map(|(ticket, _)| ticket.viewer);
        for user_id in [user_id, bearer.as_ref().and_then(ViewerIdentity::user_id)].into_iter().flatten() {
            if self.is_open_to(&session, Some(user_id)).await? {
                return Ok((session, Some(user_id.clone())));
            }
        }
        Err(PRIVATE.into())
    }

    /// Whether a session that is over can still be watched.
    pub(crate) async fn has_replay(&self, session: &Session) -> Result<bool, Error> {
        Ok(video::can_be_watched(&mut self.inner.db.reader().await?, &session.id).await?)
    }

    /// How far back viewers of this session may go while it is live: what is not kept is nowhere to go back to.
    pub(crate) fn rewind_window(&self, session: &Session) -> Duration {
        let there = !session.is_over() && session.details.is_recorded;
        if there { self.inner.recording.rewind_window } else { Duration::ZERO }
    }

    pub(crate) async fn find(&self, id: &SessionId) -> Result<Option<Session>, Error> {
        Ok(store::find(&mut self.inner.db.reader().await?, id).await?)
    }

    /// The session a stream key publishes to.
    pub(crate) async fn find_by_key(&self, key: &StreamKey) -> Result<Option<Session>, Error> {
        if !key.is_plausible() {
            return Ok(None);
        }
        Ok(store::find_by_key(&mut self.inner.db.reader().await?, &key.digest()).await?)
    }

    /// A host's sessions that have not ended, newest first.
    pub(crate) async fn unfinished_of(&self, host_id: &UserId) -> Result<Vec<Session>, Error> {
        let limit = self.inner.config.unfinished_per_host;
        Ok(store::unfinished_of(&mut self.inner.db.reader().await?, host_id, limit).await?)
    }

    /// Reads a session and keeps others from moving it until the transaction is over.
    pub(crate) async fn hold(tx: &mut Transaction, id: &SessionId) -> Result<Option<Session>, Error> {
        Ok(store::lock(tx, id).await?)
    }

    /// Counts a message into its session, in the transaction that posts it; `false` when the session takes none.
    pub(crate) async fn count_message(tx: &mut Transaction, id: &SessionId) -> Result<bool, Error> {
        Ok(store::count_message(tx, id).await?)
    }

    /// Follows a fact of media.
    pub(crate) async fn follow(
        &self,
        id: &SessionId,
        cause: Cause,
        at: Timestamp,
        reason: Option<EndReason>,
    ) -> Result<Moved, Error> {
        let (before, session) = self.shift(id, cause, at, reason).await?;
        let Some(session) = session else { return Ok(Moved::Unknown) };
        if before == Some(SessionState::Ended) && cause == Cause::MediaArrived {
            // Ended while its publisher was on the way in.
            self.end_broadcast(id, EndReason::Host).await;
        }
        Ok(match before {
            Some(before) if before != session.state => Moved::Yes,
            _ if session.is_over() => Moved::Over,
            _ => Moved::No,
        })
    }

    /// Media has made a picture of a session, and perhaps of one that is over by now.
    pub(crate) async fn has_thumbnail_now(&self, id: &SessionId) -> Result<(), Error> {
        let mut tx = self.inner.db.begin().await?;
        store::set_thumbnail(&mut tx, id).await?;
        video::set_thumbnail(&mut tx, id).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Sessions that were live when the server last stopped. They count as interrupted until media says otherwise.
    pub(crate) async fn interrupt_all(&self) -> Result<Vec<SessionId>, Error> {
        let mut tx = self.inner.db.begin().await?;
        let resumable = store::interrupt_all(&mut tx).await?;
        tx.commit().await?;
        Ok(resumable)
    }

    pub(super) fn db(&self) -> &Database {
        &self.inner.db
    }

    /// Where a session plays. A CDN or a bucket asks nobody who may watch, so private ones play from this server.
    pub(crate) fn playback_url(&self, id: &SessionId, is_private: bool) -> String {
        let PublicConfig { hls_url, base_url, .. } = &self.inner.public;
        if is_private {
            format!("{}/hls/{id}/index.m3u8", base_url.trim_end_matches('/'))
        } else {
            format!("{}/{id}/index.m3u8", hls_url.trim_end_matches('/'))
        }
    }

    /// The picture of a session: its newest while it is live, its poster once it is over. Those of private ones are for
    /// nobody's list: media shows them for a ticket.
    pub(crate) fn thumbnail_url(&self, id: &SessionId, is_private: bool, has_thumbnail: bool) -> Option<String> {
        let hls_url = self.inner.public.hls_url.trim_end_matches('/');
        (has_thumbnail && !is_private).then(|| format!("{hls_url}/{id}/thumbnail.jpg"))
    }

    /// Where encoders push; they append `/<streamKey>`.
    pub(crate) fn rtmp_url(&self) -> &str {
        self.inner.public.rtmp_url.trim_end_matches('/')
    }

    /// Our own `/ws` as clients reach it.
    pub(crate) fn chat_endpoint(&self) -> String {
        let base = self.inner.public.base_url.trim_end_matches('/');
        match base.split_once("://") {
            Some(("https", host)) => format!("wss://{host}/ws"),
            Some((_, host)) => format!("ws://{host}/ws"),
            None => format!("ws://{base}/ws"),
        }
    }

    /// Moves a session and tells the bus; returns where it stood and where it stands, `None` for an unknown one.
    async fn shift(
        &self,
        id: &SessionId,
        cause: Cause,
        at: Timestamp,
        reason: Option<EndReason>,
    ) -> Result<(Option<SessionState>, Option<Session>), Error> {
        let mut tx = self.inner.db.begin().await?;
        let Some(session) = store::lock(&mut tx, id).await? else { return Ok((None, None)) };
        let (from, to) = (session.state, session.state.after(cause));
        if from == to {
            return Ok((Some(from), Some(session)));
        }
        let session = store::shift(&mut tx, id, to, at, reason).await?;
        if session.is_over() {
            video::begin(&mut tx, &session, at).await?;
        }
        tx.commit().await?;
        tracing::info!(session.id = %id, from = from.as_str(), to = to.as_str(), ?cause, "session moved");
        metrics::counter!("chobi_sessions_moved_total", "to" => to.as_str()).increment(1);
        self.inner.bus.publish(moved(&session, from, at));
        Ok((Some(from), Some(session)))
    }

    /// The order is best effort: media hears it within the limit, or meets the ended session at its next fact.
    async fn end_broadcast(&self, id: &SessionId, reason: EndReason) {
        let order = self.inner.plane.end_broadcast(id, reason);
        if tokio::time::timeout(ORDER_TIMEOUT, order).await.is_err() {
            tracing::warn!(session.id = %id, "the live plane did not take the order to end a broadcast in time");
        }
    }
}

fn cleaned(details: Details) -> Result<Details, Error> {
    let title = plain(&details.title, Lines::One);
    if title.is_empty() {
        return Err(EMPTY_TITLE.into());
    }
    let description = details.description.map(|text| plain(&text, Lines::Many));
    let category = details.category.map(|text| plain(&text, Lines::One));
    Ok(Details { title, description, category, ..details })
}

fn moved(session: &Session, from: SessionState, at: Timestamp) -> DomainEvent {
    let session_id = session.id.clone();
    match (from, session.state) {
        (_, SessionState::Ended) => ended(session),
        (_, SessionState::Interrupted | SessionState::Waiting) => DomainEvent::SessionInterrupted { session_id, at },
        (SessionState::Waiting, SessionState::Live) => DomainEvent::SessionWentLive { session_id, at },
        (_, SessionState::Live) => DomainEvent::SessionResumed { session_id, at },
    }
}

fn ended(session: &Session) -> DomainEvent {
    let ended_at = session.ended_at.unwrap_or(session.created_at);
    DomainEvent::SessionEnded { session_id: session.id.clone(), ended_at, stats: session.stats(ended_at) }
}
