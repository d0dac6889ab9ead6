//! The rules of sessions and the transactions that keep them. Publishes after commit.

use std::sync::Arc;
use std::time::Duration;

use super::model::{Cause, Details, EndReason, HostCard, Role, Session, SessionState, SessionStats};
use super::store::{self, ActiveFilter};
use super::stream_key::StreamKey;
use super::ticket::{Ticket, TicketPrinter};
use crate::bus::{Bus, DomainEvent};
use crate::caller::{Caller, SignedIn};
use crate::clock::{Clock, Timestamp};
use crate::cohost::{self, Seat};
use crate::config::{PublicConfig, RecordingConfig, SessionConfig};
use crate::db::{Database, Transaction};
use crate::error::{Code, Error, Refusal, SIGN_IN, Text};
use crate::id::{GuestId, SessionId, UserId};
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
const FULL: Refusal = Refusal::new(
    Code::PreconditionFailed,
    "session_full",
    Text::new("اكتمل عدد المشاهدين في هذا البث", "This session has all the viewers it takes"),
);
pub(crate) const NOT_HOST: Refusal = Refusal::new(
    Code::Forbidden,
    "not_host",
    Text::new("هذا الإجراء متاح لصاحب البث فقط", "Only the host of the session may do this"),
);
const NOT_APPROVED: Refusal = Refusal::new(
    Code::Forbidden,
    "not_approved",
    Text::new("يحتاج الانضمام كمضيف مشارك إلى موافقة صاحب البث", "The host has to approve a co-host first"),
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
    inner: Arc<Inner>,
}

struct Inner {
    db: Database,
    bus: Bus,
    plane: Arc<dyn LivePlane>,
    presence: LiveIngress,
    tickets: TicketPrinter,
    clock: Clock,
    config: SessionConfig,
    recording: RecordingConfig,
    public: PublicConfig,
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

/// A viewer's admission.
#[derive(Debug, Clone)]
pub(crate) struct Joined {
    pub(crate) ticket: Ticket,
    pub(crate) token: Secret,
    pub(crate) at: Timestamp,
    pub(crate) permissions: Permissions,
    /// Whether the session is.
    pub(crate) is_private: bool,
}

/// What somebody may do in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permissions {
    pub(crate) chat: bool,
    pub(crate) send_gifts: bool,
    pub(crate) request_co_host: bool,
    pub(crate) moderate: bool,
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

    /// Admits somebody as a viewer, or as a co-host whom the host approved; the host is both in their own show. Limits on
    /// viewers are not for those who make the show.
    pub(crate) async fn join(
        &self,
        caller: &Caller,
        session_id: &str,
        role: Role,
        earlier: Option<&Secret>,
    ) -> Result<Joined, Error> {
        let session = self.visible(session_id, caller.user_id(), None).await?;
        let is_host = caller.user_id() == Some(&session.host_id);
        if session.is_over() {
            return Err(SESSION_OVER.into());
        }
        let known = caller.user_id().cloned().map(ViewerIdentity::User);
        let again = || self.ticket(&session.id, earlier?).map(|(ticket, _)| ticket.viewer);
        let viewer = known
            .or_else(|| again().filter(|viewer| viewer.user_id().is_none()))
            .unwrap_or_else(|| ViewerIdentity::Guest(GuestId::generate()));
        let by_right = is_host
            || (role == Role::CoHost || session.details.max_viewers.is_some())
                && self.is_co_host(&session, caller.user_id()).await?;
        match role {
            Role::CoHost if !by_right => return Err(NOT_APPROVED.into()),
            Role::Viewer if !by_right && !self.has_place(&session, &viewer) => return Err(FULL.into()),
            Role::CoHost | Role::Viewer => {}
        }
        let signed_in = caller.user_id().is_some();
        let permissions = Permissions {
            chat: signed_in,
            send_gifts: signed_in && !is_host,
            request_co_host: signed_in && !is_host && role == Role::Viewer,
            moderate: is_host || role == Role::CoHost,
        };
        let (at, is_private) = (self.inner.clock.now(), session.details.is_private);
        let ticket = Ticket { session_id: session.id, viewer, role };
        let token = self.print(&ticket, at)?;
        Ok(Joined { ticket, token, at, permissions, is_private })
    }

    /// A ticket to the replay of a session that is open to this caller.
    pub(crate) fn replay_ticket(&self, session: &Session, caller: &Caller) -> Result<Secret, Error> {
        let known = caller.user_id().cloned().map(ViewerIdentity::User);
        let viewer = known.unwrap_or_else(|| ViewerIdentity::Guest(GuestId::generate()));
        let ticket = Ticket { session_id: session.id.clone(), viewer, role: Role::Viewer };
        self.print(&ticket, self.inner.clock.now())
    }

    /// Where somebody takes the replay home from, by a link that is theirs for a while. Always from this server: a bucket has the
    /// segments only.
    pub(crate) fn download_url(&self, session: &Session, caller: &Caller) -> Result<String, Error> {
        let known = caller.user_id().cloned().map(ViewerIdentity::User);
        let viewer = known.unwrap_or_else(|| ViewerIdentity::Guest(GuestId::generate()));
        let now = self.inner.clock.now();
        let ticket = self.inner.tickets.print_download(&session.id, &viewer, now);
        let ticket = ticket.map_err(|error| Error::Internal(error.to_string().into()))?;
        let base = self.inner.public.base_url.trim_end_matches('/');
        Ok(format!("{base}/hls/{}/replay/video.mp4?ticket={}", session.id, ticket.reveal()))
    }

    /// Who holds a download ticket, if it is good and for this session.
    pub(crate) fn downloader(&self, session_id: &SessionId, ticket: &Secret) -> Option<ViewerIdentity> {
        let (of, viewer) = self.inner.tickets.read_download(ticket.reveal()).ok()?;
        (of == *session_id).then_some(viewer)
    }

    /// The replay that may be taken home now, whoever asks.
    pub(crate) async fn replay_file(&self, session: &Session) -> Result<Option<ReplayFile>, Error> {
        Ok(video::replay_file(&mut self.inner.db.reader().await?, &session.id).await?)
    }

    fn print(&self, ticket: &Ticket, at: Timestamp) -> Result<Secret, Error> {
        self.inner.tickets.print(ticket, at).map_err(|error| Error::Internal(error.to_string().into()))
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

    /// Whether a session is public or this user is its host, a co-host or invited to be one, as of now: a ticket to a
    /// private session is worth no more than its bearer's place in it.
    pub(crate) async fn is_open_to(&self, session: &Session, user_id: Option<&UserId>) -> Result<bool, Error> {
        if !session.details.is_private || user_id == Some(&session.host_id) {
            return Ok(true);
        }
        Ok(self.seat(session, user_id).await?.is_some_and(|seat| seat.opens_private()))
    }

    /// Whether this user is an approved co-host of a session now.
    pub(crate) async fn is_co_host(&self, session: &Session, user_id: Option<&UserId>) -> Result<bool, Error> {
        Ok(self.seat(session, user_id).await?.is_some_and(|seat| seat.is_approved()))
    }

    /// Where a user stands as a co-host of a session.
    pub(crate) async fn seat(&self, session: &Session, user_id: Option<&UserId>) -> Result<Option<Seat>, Error> {
        let Some(user_id) = user_id else { return Ok(None) };
        Ok(cohost::seat(&mut self.inner.db.reader().await?, &session.id, user_id).await?)
    }

    /// What a ticket says, if it is good and for this session, and when it ends.
    pub(crate) fn ticket(&self, session_id: &SessionId, ticket: &Secret) -> Option<(Ticket, Timestamp)> {
        self.any_ticket(ticket).filter(|(ticket, _)| ticket.session_id == *session_id)
    }

    /// What a ticket says, if it is good, whichever session it is for.
    pub(crate) fn any_ticket(&self, ticket: &Secret) -> Option<(Ticket, Timestamp)> {
        let read = self.inner.tickets.read(ticket.reveal());
        if let Err(cause) = &read {
            tracing::debug!(%cause, "ticket refused");
        }
        read.ok()
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

    /// Where a session takes only so many, whoever joins gets a place or none; the ticket stands for it. Who comes without one is
    /// not counted out: the address of a public show is the same for everybody.
    fn has_place(&self, session: &Session, viewer: &ViewerIdentity) -> bool {
        let Inner { presence, clock, .. } = &*self.inner;
        session.details.max_viewers.is_none_or(|max| presence.keep_place(&session.id, viewer, max, clock.now()))
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
