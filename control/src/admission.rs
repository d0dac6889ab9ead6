//! Media's two questions: may this key publish, may this viewer watch.
//!
//! In: what a publisher or viewer presented. Out: a permit with all media needs to know, or a refusal with its reason. Asked
//! once per connection; what changes later (an ended session, an ejected viewer) reaches media as an order.

use std::time::SystemTime;

use crate::id::{SessionId, UserId};
use crate::presence::ViewerIdentity;
use crate::secret::Secret;
use crate::session::{Session, Sessions, StreamKey};

/// Answers for media. Clones share everything.
#[derive(Debug, Clone)]
pub struct Admission {
    sessions: Sessions,
}

/// Somebody wants to publish.
#[derive(Debug, Clone)]
pub struct PublishAttempt {
    /// The session named in the address, when it was; the key alone is enough.
    pub session_hint: Option<String>,
    pub key: Secret,
    /// For the log.
    pub protocol: &'static str,
}

/// They may, to this session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishPermit {
    pub session_id: SessionId,
    pub host_id: UserId,
}

/// They may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishRefusal {
    /// Nobody's key.
    #[error("unknown stream key")]
    BadKey,
    /// A good key at the address of another session.
    #[error("the stream key belongs to another session")]
    Forbidden,
    #[error("the session has ended")]
    Ended,
    /// We could not find out; trying again later makes sense.
    #[error("admission is unavailable")]
    Unavailable,
}

/// Somebody wants to watch.
#[derive(Debug, Clone)]
pub struct WatchAttempt {
    pub session_id: String,
    /// From `joinSession`; public sessions need none.
    pub ticket: Option<Secret>,
}

/// They may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchPermit {
    pub session_id: SessionId,
    /// Who they are, if a ticket said so. Carried back in facts about this viewer.
    pub viewer: Option<ViewerIdentity>,
    /// When the ticket ends. `None` for those who needed none.
    pub expires_at: Option<SystemTime>,
}

/// They may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchRefusal {
    #[error("no such session")]
    NotFound,
    /// The session is private and the ticket forged, expired or for another session.
    #[error("the ticket is not good here")]
    BadTicket,
    /// The session is private and no ticket was shown, or it has all the viewers it takes.
    #[error("not open to this viewer")]
    Forbidden,
    #[error("the session has ended")]
    Ended,
    /// We could not find out; trying again later makes sense.
    #[error("admission is unavailable")]
    Unavailable,
}

impl Admission {
    pub(crate) const fn new(sessions: Sessions) -> Self {
        Self { sessions }
    }

    /// May this key publish?
    pub async fn admit_publisher(&self, attempt: PublishAttempt) -> Result<PublishPermit, PublishRefusal> {
        let PublishAttempt { session_hint, key, protocol } = attempt;
        let found = self.sessions.find_by_key(&StreamKey::presented(key)).await.map_err(|error| {
            tracing::error!(%error, protocol, "a publisher could not be admitted");
            PublishRefusal::Unavailable
        })?;
        let session = found.ok_or(PublishRefusal::BadKey)?;
        if session_hint.is_some_and(|hint| hint != session.id.as_str()) {
            return Err(PublishRefusal::Forbidden);
        }
        if session.is_over() {
            return Err(PublishRefusal::Ended);
        }
        tracing::info!(session.id = %session.id, user.id = %session.host_id, protocol, "publisher admitted");
        Ok(PublishPermit { session_id: session.id, host_id: session.host_id })
    }

    /// May this viewer watch? A ticket that does not hold is as good as none: public sessions play all the same.
    pub async fn admit_viewer(&self, attempt: WatchAttempt) -> Result<WatchPermit, WatchRefusal> {
        let WatchAttempt { session_id, ticket } = attempt;
        let id = SessionId::parse(&session_id).ok_or(WatchRefusal::NotFound)?;
        let found = self.sessions.find(&id).await.map_err(|error| {
            tracing::error!(%error, session.id = %id, "a viewer could not be admitted");
            WatchRefusal::Unavailable
        })?;
        let session = found.ok_or(WatchRefusal::NotFound)?;
        let read = ticket.as_ref().and_then(|ticket| self.sessions.ticket(&id, ticket));
        let viewer = read.as_ref().map(|(ticket, _)| ticket.viewer.clone());
        if session.details.is_private && viewer.is_none() {
            return Err(if ticket.is_some() { WatchRefusal::BadTicket } else { WatchRefusal::Forbidden });
        }
        if session.is_over() {
            return Err(WatchRefusal::Ended);
        }
        if !is_host(&session, viewer.as_ref()) && self.sessions.is_full(&session) {
            return Err(WatchRefusal::Forbidden);
        }
        Ok(WatchPermit { session_id: id, viewer, expires_at: read.map(|(_, expires_at)| expires_at.into()) })
    }
}

fn is_host(session: &Session, viewer: Option<&ViewerIdentity>) -> bool {
    viewer.and_then(ViewerIdentity::user_id) == Some(&session.host_id)
}
