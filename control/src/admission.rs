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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::both_engines;
    use crate::demo;
    use crate::presence::{LiveFact, Transport};
    use crate::session::{Created, Details, Role};
    use crate::testing::stage::{Stage, caller, details};

    async fn publish(stage: &Stage, key: Secret, hint: Option<&str>) -> Result<PublishPermit, PublishRefusal> {
        let attempt = PublishAttempt { session_hint: hint.map(str::to_owned), key, protocol: "rtmp" };
        Admission::new(stage.sessions.clone()).admit_publisher(attempt).await
    }

    async fn watch(stage: &Stage, id: &str, ticket: Option<&str>) -> Result<WatchPermit, WatchRefusal> {
        let attempt = WatchAttempt { session_id: id.to_owned(), ticket: ticket.map(Secret::new) };
        Admission::new(stage.sessions.clone()).admit_viewer(attempt).await
    }

    both_engines! {
        async fn key_admits_a_publisher_until_the_end(db: TestDatabase) {
            let stage = Stage::on(db).await;
            let host = stage.user("host").await;
            let Created { session, stream_key, .. } = stage.session(&host).await;
            let (id, key) = (session.id.clone(), stream_key.into_secret());
            let permit = PublishPermit { session_id: id.clone(), host_id: host.user_id.clone() };
            assert_eq!(publish(&stage, key.clone(), None).await, Ok(permit.clone()));
            assert_eq!(publish(&stage, key.clone(), Some(id.as_str())).await, Ok(permit), "and takes over");
            let other = SessionId::generate();
            assert_eq!(publish(&stage, key.clone(), Some(other.as_str())).await, Err(PublishRefusal::Forbidden));
            for wrong in ["", id.as_str(), "chobi_sk_AAAAAAAAAAAAAAAAAAAAAAAAAAA", "' or 1=1 --"] {
                assert_eq!(publish(&stage, Secret::new(wrong), None).await, Err(PublishRefusal::BadKey));
            }
            stage.sessions.end(&host, id.as_str()).await.unwrap();
            assert_eq!(publish(&stage, key, None).await, Err(PublishRefusal::Ended));
        }

        async fn viewers_are_admitted_as_the_session_allows(db: TestDatabase) {
            let stage = Stage::on(db).await;
            let (host, fan) = (stage.user("host").await, stage.user("fan").await);
            let open = stage.live_session(&host).await.session.id;
            let anonymous = WatchPermit { session_id: open.clone(), viewer: None, expires_at: None };
            assert_eq!(watch(&stage, open.as_str(), None).await, Ok(anonymous.clone()));
            assert_eq!(watch(&stage, open.as_str(), Some("forged")).await, Ok(anonymous), "public all the same");
            let joined = stage.sessions.join(&caller(&fan), open.as_str(), Role::Viewer).await.unwrap();
            let permit = watch(&stage, open.as_str(), Some(joined.token.reveal())).await.unwrap();
            assert_eq!(permit.viewer, Some(ViewerIdentity::User(fan.user_id.clone())));
            assert!(permit.expires_at.is_some_and(|at| at > stage.now()));

            let hidden = Details { is_private: true, ..details("hidden") };
            let hidden = stage.sessions.create(&host.user_id, hidden).await.unwrap().session.id;
            let own = stage.sessions.join(&caller(&host), hidden.as_str(), Role::Viewer).await.unwrap();
            assert!(watch(&stage, hidden.as_str(), Some(own.token.reveal())).await.is_ok());
            assert_eq!(watch(&stage, hidden.as_str(), None).await, Err(WatchRefusal::Forbidden));
            let elsewhere = joined.token.reveal();
            assert_eq!(watch(&stage, hidden.as_str(), Some(elsewhere)).await, Err(WatchRefusal::BadTicket));
            stage.clock.advance(std::time::Duration::from_secs(3600));
            assert_eq!(watch(&stage, hidden.as_str(), Some(own.token.reveal())).await, Err(WatchRefusal::BadTicket));

            for id in ["", "x", SessionId::generate().as_str()] {
                assert_eq!(watch(&stage, id, None).await, Err(WatchRefusal::NotFound));
            }
            stage.sessions.end(&host, open.as_str()).await.unwrap();
            assert_eq!(watch(&stage, open.as_str(), None).await, Err(WatchRefusal::Ended));
        }

        async fn full_session_admits_its_host_alone(db: TestDatabase) {
            let stage = Stage::on(db).await;
            let host = stage.user("host").await;
            let small = Details { max_viewers: Some(1), ..details("small") };
            let id = stage.sessions.create(&host.user_id, small).await.unwrap().session.id;
            assert!(watch(&stage, id.as_str(), None).await.is_ok());
            let viewer_id = "v".to_owned();
            let (session_id, transport, at) = (id.clone(), Transport::Hls, stage.now());
            let joined = LiveFact::ViewerJoined { session_id, viewer_id, identity: None, transport, at };
            stage.presence.tell(joined).await;
            stage.presence.settle(&id).await;
            assert_eq!(watch(&stage, id.as_str(), None).await, Err(WatchRefusal::Forbidden));
            let own = stage.sessions.join(&caller(&host), id.as_str(), Role::Viewer).await.unwrap();
            assert!(watch(&stage, id.as_str(), Some(own.token.reveal())).await.is_ok());
        }

        async fn demo_shows_are_there_again_with_a_fresh_key(db: TestDatabase) {
            let stage = Stage::on(db).await;
            let show = async |title| demo::show(&stage.db, &stage.sessions, title, stage.clock.now()).await.unwrap();
            let (clip, own) = (show("clip").await, show("own").await);
            assert_eq!(clip.host_id, own.host_id);
            assert_ne!(clip.session_id, own.session_id);
            let again = show("clip").await;
            assert_eq!(again.session_id, clip.session_id);
            assert_eq!(publish(&stage, clip.stream_key, None).await, Err(PublishRefusal::BadKey));
            assert!(publish(&stage, again.stream_key, None).await.is_ok());
        }

        async fn database_that_is_away_is_no_refusal(db: TestDatabase) {
            let stage = Stage::on(db).await;
            let host = stage.user("host").await;
            let created = stage.session(&host).await;
            stage.db.close().await;
            let key = created.stream_key.into_secret();
            assert_eq!(publish(&stage, key, None).await, Err(PublishRefusal::Unavailable));
            let id = created.session.id;
            assert_eq!(watch(&stage, id.as_str(), None).await, Err(WatchRefusal::Unavailable));
        }
    }
}
