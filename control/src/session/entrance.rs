//! Who is let in to watch: tickets, what they are worth now, and places where a session takes only so many.

use super::model::{Role, Session};
use super::service::{Inner, SESSION_OVER, Sessions};
use super::ticket::Ticket;
use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::cohost::{self, Seat};
use crate::error::{Code, Error, Refusal, Text};
use crate::id::{GuestId, SessionId, UserId};
use crate::presence::ViewerIdentity;
use crate::secret::Secret;

const FULL: Refusal = Refusal::new(
    Code::PreconditionFailed,
    "session_full",
    Text::new("اكتمل عدد المشاهدين في هذا البث", "This session has all the viewers it takes"),
);
const NOT_APPROVED: Refusal = Refusal::new(
    Code::Forbidden,
    "not_approved",
    Text::new("يحتاج الانضمام كمضيف مشارك إلى موافقة صاحب البث", "The host has to approve a co-host first"),
);

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

impl Sessions {
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
        let again = || self.ticket(&session.id, earlier?).map(|(ticket, _)| ticket.viewer);
        let viewer = match identity_of(caller) {
            ViewerIdentity::Guest(new) => {
                again().filter(|viewer| viewer.user_id().is_none()).unwrap_or(ViewerIdentity::Guest(new))
            }
            user @ ViewerIdentity::User(_) => user,
        };
        if role == Role::CoHost && !is_host && !self.is_co_host(&session, caller.user_id()).await? {
            return Err(NOT_APPROVED.into());
        }
        if role == Role::Viewer && !self.has_room_for(&session, &viewer).await? {
            return Err(FULL.into());
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
        let viewer = identity_of(caller);
        let ticket = Ticket { session_id: session.id.clone(), viewer, role: Role::Viewer };
        self.print(&ticket, self.inner.clock.now())
    }

    /// Where somebody takes the replay home from, by a link that is theirs for a while. Always from this server: a bucket has the
    /// segments only.
    pub(crate) fn download_url(&self, session: &Session, caller: &Caller) -> Result<String, Error> {
        let viewer = identity_of(caller);
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

    pub(crate) fn print(&self, ticket: &Ticket, at: Timestamp) -> Result<Secret, Error> {
        self.inner.tickets.print(ticket, at).map_err(|error| Error::Internal(error.to_string().into()))
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

    /// Where a session takes only so many, whoever joins gets a place or none; those who make the show need none. Who comes without
    /// a ticket is not counted out: the address of a public show is the same for everybody.
    pub(crate) async fn has_room_for(&self, session: &Session, viewer: &ViewerIdentity) -> Result<bool, Error> {
        let (Some(max), user_id) = (session.details.max_viewers, viewer.user_id()) else { return Ok(true) };
        if user_id == Some(&session.host_id) || self.is_co_host(session, user_id).await? {
            return Ok(true);
        }
        let Inner { presence, clock, .. } = &*self.inner;
        Ok(presence.keep_place(&session.id, viewer, max, clock.now()))
    }
}

/// Who asks; without an account a guest whom nobody has met before.
fn identity_of(caller: &Caller) -> ViewerIdentity {
    let known = caller.user_id().cloned().map(ViewerIdentity::User);
    known.unwrap_or_else(|| ViewerIdentity::Guest(GuestId::generate()))
}
