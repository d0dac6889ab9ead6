//! Media's two questions: may this key publish, may this viewer watch.
//!
//! In: what a publisher or viewer presented. Out: a permit with all media needs to know, or a refusal with its reason. Asked
//! once per connection; what changes later (an ended session, an ejected viewer) reaches media as an order.

use std::time::SystemTime;

use crate::error::Error;
use crate::id::{BroadcastName, SessionId, UserId};
use crate::presence::ViewerIdentity;
use crate::secret::Secret;
use crate::session::{Role, Sessions, StreamKey, Ticket};

/// Answers for media. Clones share everything.
#[derive(Debug, Clone)]
pub struct Admission {
    sessions: Sessions,
}

/// Somebody wants to publish.
#[derive(Debug, Clone)]
pub struct PublishAttempt {
    /// The session named in the address, or for a co-host the broadcast ([`BroadcastName`]), when it was; the key alone is
    /// enough.
    pub session_hint: Option<String>,
    /// A stream key, or the ticket that `joinSession` gave a co-host.
    pub key: Secret,
    /// For the log.
    pub protocol: &'static str,
}

/// They may, to this session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishPermit {
    pub session_id: SessionId,
    pub host_id: UserId,
    /// Whose broadcast it is when it is not the host's.
    pub co_host: Option<CoHostPermit>,
}

/// A co-host's part of a [`PublishPermit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoHostPermit {
    pub user_id: UserId,
    /// They begin in silence; what changes later arrives as an order.
    pub is_muted: bool,
}

impl PublishPermit {
    /// What the broadcast is called.
    pub fn broadcast(&self) -> BroadcastName {
        let co_host = self.co_host.as_ref().map(|co_host| co_host.user_id.clone());
        BroadcastName { session_id: self.session_id.clone(), co_host }
    }

    /// Who publishes.
    pub fn publisher(&self) -> &UserId {
        self.co_host.as_ref().map_or(&self.host_id, |co_host| &co_host.user_id)
    }
}

/// They may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishRefusal {
    /// Nobody's key, or a ticket forged or expired.
    #[error("unknown stream key")]
    BadKey,
    /// A good key or ticket at the address of another session, a viewer's ticket, or that of somebody who is no co-host
    /// (any more).
    #[error("the stream key or ticket does not publish here")]
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
    /// A [`BroadcastName`]: of the session, or of one of its co-hosts.
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

/// They may take the replay home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadPermit {
    pub title: String,
    /// Nobody else may be given what is given to them.
    pub is_private: bool,
}

/// They may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchRefusal {
    /// No such session, or nobody who is a co-host of it now.
    #[error("no such session")]
    NotFound,
    /// The session is private and the ticket forged, expired or for another session.
    #[error("the ticket is not good here")]
    BadTicket,
    /// The session is private and no ticket was shown.
    #[error("not open to this viewer")]
    Forbidden,
    /// And there is no replay of it.
    #[error("the session has ended")]
    Ended,
    /// We could not find out, or the session has all the viewers it takes; trying again later makes sense.
    #[error("admission is unavailable")]
    Unavailable,
}

impl Admission {
    pub(crate) const fn new(sessions: Sessions) -> Self {
        Self { sessions }
    }

    /// May this key publish?
    pub async fn admit_publisher(&self, attempt: PublishAttempt) -> Result<PublishPermit, PublishRefusal> {
        let protocol = attempt.protocol;
        let permit = if attempt.key.reveal().starts_with(StreamKey::PREFIX) {
            self.admit_host(attempt).await?
        } else {
            let (ticket, _) = self.sessions.any_ticket(&attempt.key).ok_or(PublishRefusal::BadKey)?;
            self.admit_bearer(ticket, attempt).await?
        };
        tracing::info!(session.id = %permit.session_id, user.id = %permit.publisher(), protocol, "publisher admitted");
        Ok(permit)
    }

    /// By stream key.
    async fn admit_host(&self, attempt: PublishAttempt) -> Result<PublishPermit, PublishRefusal> {
        let PublishAttempt { session_hint, key, protocol } = attempt;
        let found = self.sessions.find_by_key(&StreamKey::presented(key)).await;
        let session = found.map_err(|error| away(&error, protocol))?.ok_or(PublishRefusal::BadKey)?;
        if session_hint.is_some_and(|hint| hint != session.id.as_str()) {
            return Err(PublishRefusal::Forbidden);
        }
        if session.is_over() {
            return Err(PublishRefusal::Ended);
        }
        Ok(PublishPermit { session_id: session.id, host_id: session.host_id, co_host: None })
    }

    /// By the ticket of a co-host, whose seat is looked up now: tickets outlive it. The host's own publishes as the host.
    async fn admit_bearer(&self, ticket: Ticket, attempt: PublishAttempt) -> Result<PublishPermit, PublishRefusal> {
        let PublishAttempt { session_hint, protocol, .. } = attempt;
        let (Role::CoHost, ViewerIdentity::User(user_id)) = (ticket.role, ticket.viewer) else {
            return Err(PublishRefusal::Forbidden);
        };
        let own = BroadcastName::co_host(ticket.session_id.clone(), user_id.clone()).to_string();
        if session_hint.is_some_and(|hint| hint != ticket.session_id.as_str() && hint != own) {
            return Err(PublishRefusal::Forbidden);
        }
        let found = self.sessions.find(&ticket.session_id).await;
        let session = found.map_err(|error| away(&error, protocol))?.ok_or(PublishRefusal::BadKey)?;
        if session.is_over() {
            return Err(PublishRefusal::Ended);
        }
        let co_host = if user_id == session.host_id {
            None
        } else {
            let seat = self.sessions.seat(&session, Some(&user_id)).await.map_err(|error| away(&error, protocol))?;
            let seat = seat.filter(|seat| seat.is_approved()).ok_or(PublishRefusal::Forbidden)?;
            Some(CoHostPermit { user_id, is_muted: seat.mute.is_muted() })
        };
        Ok(PublishPermit { session_id: session.id, host_id: session.host_id, co_host })
    }

    /// Is what a session, or one of its co-hosts, sends to be kept for a replay?
    pub async fn keeps_recording(&self, broadcast: &str) -> Result<bool, WatchRefusal> {
        let BroadcastName { session_id: id, .. } = BroadcastName::parse(broadcast).ok_or(WatchRefusal::NotFound)?;
        let found = self.sessions.find(&id).await.map_err(|error| {
            tracing::error!(%error, session.id = %id, "whether to record a session could not be looked up");
            WatchRefusal::Unavailable
        })?;
        Ok(found.ok_or(WatchRefusal::NotFound)?.details.is_recorded)
    }

    /// May somebody take the replay of a show home? Its owner always, others when the owner lets them and they may watch it. A
    /// ticket says who they are; what they may is looked up now.
    pub async fn admit_download(&self, attempt: WatchAttempt) -> Result<DownloadPermit, WatchRefusal> {
        let WatchAttempt { session_id, ticket } = attempt;
        let name = BroadcastName::parse(&session_id).filter(|name| name.co_host.is_none());
        let BroadcastName { session_id: id, .. } = name.ok_or(WatchRefusal::NotFound)?;
        let unavailable = |error: Error| {
            tracing::error!(%error, session.id = %id, "a download could not be admitted");
            WatchRefusal::Unavailable
        };
        let session = self.sessions.find(&id).await.map_err(unavailable)?.ok_or(WatchRefusal::NotFound)?;
        let viewer = ticket.as_ref().and_then(|ticket| self.sessions.downloader(&id, ticket));
        let user_id = viewer.as_ref().and_then(ViewerIdentity::user_id);
        let refused =
            if ticket.is_some() && viewer.is_none() { WatchRefusal::BadTicket } else { WatchRefusal::Forbidden };
        if !self.sessions.is_open_to(&session, user_id).await.map_err(unavailable)? {
            return Err(refused);
        }
        let file = self.sessions.replay_file(&session).await.map_err(unavailable)?.ok_or(WatchRefusal::NotFound)?;
        if !file.is_open_to(user_id) {
            return Err(refused);
        }
        Ok(DownloadPermit { is_private: file.is_private || !file.allow_download, title: file.title })
    }

    /// May this viewer watch, now or after the end? A ticket that does not hold is as good as none: public sessions play all the same.
    pub async fn admit_viewer(&self, attempt: WatchAttempt) -> Result<WatchPermit, WatchRefusal> {
        let WatchAttempt { session_id, ticket } = attempt;
        let BroadcastName { session_id: id, co_host } =
            BroadcastName::parse(&session_id).ok_or(WatchRefusal::NotFound)?;
        let unavailable = |error: Error| {
            tracing::error!(%error, session.id = %id, "a viewer could not be admitted");
            WatchRefusal::Unavailable
        };
        let session = self.sessions.find(&id).await.map_err(unavailable)?.ok_or(WatchRefusal::NotFound)?;
        let read = ticket.as_ref().and_then(|ticket| self.sessions.ticket(&id, ticket));
        let viewer = read.as_ref().map(|(ticket, _)| ticket.viewer.clone());
        let user_id = viewer.as_ref().and_then(ViewerIdentity::user_id);
        if !self.sessions.is_open_to(&session, user_id).await.map_err(unavailable)? {
            return Err(if ticket.is_some() { WatchRefusal::BadTicket } else { WatchRefusal::Forbidden });
        }
        let expires_at = read.map(|(_, expires_at)| expires_at.into());
        if session.is_over() {
            let is_watchable = co_host.is_none() && self.sessions.has_replay(&session).await.map_err(unavailable)?;
            let permit = WatchPermit { session_id: id, viewer, expires_at };
            return if is_watchable { Ok(permit) } else { Err(WatchRefusal::Ended) };
        }
        if co_host.is_some() && !self.sessions.is_co_host(&session, co_host.as_ref()).await.map_err(unavailable)? {
            return Err(WatchRefusal::NotFound);
        }
        // A ticket may be older than the place that came with it. The answer to who comes without one stands for many.
        if let Some(viewer) = &viewer
            && !self.sessions.has_room_for(&session, viewer).await.map_err(unavailable)?
        {
            return Err(WatchRefusal::Unavailable);
        }
        Ok(WatchPermit { session_id: id, viewer, expires_at })
    }
}

fn away(error: &Error, protocol: &'static str) -> PublishRefusal {
    tracing::error!(%error, protocol, "a publisher could not be admitted");
    PublishRefusal::Unavailable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::both_engines;
    use crate::caller::SignedIn;
    use crate::demo;
    use crate::presence::{LiveFact, Transport};
    use crate::session::{Created, Details, Role};
    use crate::testing::stage::{Stage, caller, details, guest};

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
            let permit = PublishPermit { session_id: id.clone(), host_id: host.user_id.clone(), co_host: None };
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
            let joined = stage.sessions.join(&caller(&fan), open.as_str(), Role::Viewer, None).await.unwrap();
            let permit = watch(&stage, open.as_str(), Some(joined.token.reveal())).await.unwrap();
            assert_eq!(permit.viewer, Some(ViewerIdentity::User(fan.user_id.clone())));
            assert!(permit.expires_at.is_some_and(|at| at > stage.now()));

            let hidden = Details { is_private: true, ..details("hidden") };
            let hidden = stage.sessions.create(&host.user_id, hidden).await.unwrap().session.id;
            let own = stage.sessions.join(&caller(&host), hidden.as_str(), Role::Viewer, None).await.unwrap();
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
            assert!(watch(&stage, open.as_str(), None).await.is_ok(), "its replay");
            let never_live = stage.session(&host).await.session.id;
            stage.sessions.end(&host, never_live.as_str()).await.unwrap();
            assert_eq!(watch(&stage, never_live.as_str(), None).await, Err(WatchRefusal::Ended));
        }

        async fn ticket_of_a_co_host_admits_while_the_seat_is_theirs(db: TestDatabase) {
            let stage = Stage::on(db).await;
            let (host, fan) = (stage.user("host").await, stage.user("fan").await);
            let id = stage.live_session(&host).await.session.id;
            let join = async |user: &SignedIn, role| {
                stage.sessions.join(&caller(user), id.as_str(), role, None).await.unwrap().token
            };
            let (own, watches) = (join(&host, Role::CoHost).await, join(&fan, Role::Viewer).await);
            let (host_id, user_id) = (host.user_id.clone(), fan.user_id.clone());
            let as_host = PublishPermit { session_id: id.clone(), host_id: host_id.clone(), co_host: None };
            assert_eq!(publish(&stage, own.clone(), Some(id.as_str())).await, Ok(as_host));
            assert_eq!(publish(&stage, watches, None).await, Err(PublishRefusal::Forbidden), "viewers do not publish");
            let guest = stage.sessions.join(&guest(), id.as_str(), Role::Viewer, None).await.unwrap().token;
            assert_eq!(publish(&stage, guest, None).await, Err(PublishRefusal::Forbidden));

            stage.co_hosts.invite(&host, id.as_str(), user_id.as_str()).await.unwrap();
            stage.co_hosts.accept(&fan, id.as_str()).await.unwrap();
            let ticket = join(&fan, Role::CoHost).await;
            for maker in [&host, &fan] {
                let watches = join(maker, Role::Viewer).await;
                assert_eq!(publish(&stage, watches, None).await, Err(PublishRefusal::Forbidden), "whoever it is");
            }
            let co_host = |is_muted| Some(CoHostPermit { user_id: user_id.clone(), is_muted });
            let permit = |is_muted| PublishPermit {
                session_id: id.clone(),
                host_id: host_id.clone(),
                co_host: co_host(is_muted),
            };
            let name = permit(false).broadcast().to_string();
            assert_eq!((name.clone(), permit(false).publisher()), (format!("{id}-{user_id}"), &user_id));
            for hint in [None, Some(id.as_str()), Some(name.as_str())] {
                assert_eq!(publish(&stage, ticket.clone(), hint).await, Ok(permit(false)));
            }
            stage.co_hosts.mute(&fan, id.as_str(), user_id.as_str(), true).await.unwrap();
            assert_eq!(publish(&stage, ticket.clone(), None).await, Ok(permit(true)));
            let (other, others) = (SessionId::generate(), format!("{id}-{host_id}"));
            for elsewhere in [other.as_str(), &others, "", user_id.as_str()] {
                assert_eq!(publish(&stage, ticket.clone(), Some(elsewhere)).await, Err(PublishRefusal::Forbidden));
            }
            let forged = Secret::new(format!("{}x", ticket.reveal()));
            assert_eq!(publish(&stage, forged, None).await, Err(PublishRefusal::BadKey));

            stage.co_hosts.leave(&fan, id.as_str()).await.unwrap();
            assert_eq!(publish(&stage, ticket.clone(), None).await, Err(PublishRefusal::Forbidden));
            stage.co_hosts.invite(&host, id.as_str(), user_id.as_str()).await.unwrap();
            assert_eq!(publish(&stage, ticket.clone(), None).await, Err(PublishRefusal::Forbidden), "invited is not there");
            stage.co_hosts.accept(&fan, id.as_str()).await.unwrap();
            assert_eq!(publish(&stage, ticket.clone(), None).await, Ok(permit(false)));
            stage.sessions.end(&host, id.as_str()).await.unwrap();
            assert_eq!(publish(&stage, ticket.clone(), None).await, Err(PublishRefusal::Ended));
            stage.clock.advance(std::time::Duration::from_secs(3600));
            assert_eq!(publish(&stage, ticket, None).await, Err(PublishRefusal::BadKey));
        }

        async fn co_hosts_are_watched_as_their_session_is(db: TestDatabase) {
            let stage = Stage::on(db).await;
            let (host, fan) = (stage.user("host").await, stage.user("fan").await);
            let hidden = Details { is_private: true, max_viewers: Some(1), ..details("hidden") };
            let id = stage.sessions.create(&host.user_id, hidden).await.unwrap().session.id;
            let name = BroadcastName::co_host(id.clone(), fan.user_id.clone()).to_string();
            let own = stage.sessions.join(&caller(&host), id.as_str(), Role::Viewer, None).await.unwrap().token;
            let by_host = async || watch(&stage, &name, Some(own.reveal())).await.map(|permit| permit.session_id);
            assert_eq!(by_host().await, Err(WatchRefusal::NotFound), "nobody's");
            stage.co_hosts.invite(&host, id.as_str(), fan.user_id.as_str()).await.unwrap();
            assert_eq!(by_host().await, Err(WatchRefusal::NotFound), "not yet");
            stage.co_hosts.accept(&fan, id.as_str()).await.unwrap();
            assert_eq!(by_host().await, Ok(id.clone()));
            assert_eq!(watch(&stage, &name, None).await, Err(WatchRefusal::Forbidden));
            assert_eq!(watch(&stage, &name, Some("forged")).await, Err(WatchRefusal::BadTicket));
            let theirs = stage.sessions.join(&caller(&fan), id.as_str(), Role::CoHost, None).await.unwrap().token;
            let by_fan = async || watch(&stage, id.as_str(), Some(theirs.reveal())).await.map(|permit| permit.viewer);
            let (session_id, viewer_id) = (id.clone(), "v".to_owned());
            let (transport, at) = (Transport::Hls, stage.now());
            let joined = LiveFact::ViewerJoined { session_id, viewer_id, identity: None, transport, at };
            stage.presence.tell(joined).await;
            stage.presence.settle(&id).await;
            assert_eq!(by_host().await, Ok(id.clone()));
            assert_eq!(by_fan().await, Ok(Some(ViewerIdentity::User(fan.user_id.clone()))));
            assert!(stage.sessions.join(&caller(&fan), id.as_str(), Role::Viewer, None).await.is_ok());
            for nobody in [format!("{id}-{}", host.user_id), format!("{id}-"), format!("{id}-{}", UserId::generate())] {
                assert_eq!(watch(&stage, &nobody, Some(own.reveal())).await, Err(WatchRefusal::NotFound));
            }

            stage.co_hosts.remove(&host, id.as_str(), fan.user_id.as_str()).await.unwrap();
            assert_eq!(by_host().await, Err(WatchRefusal::NotFound));
            assert_eq!(by_fan().await, Err(WatchRefusal::BadTicket), "and the private session is closed to them");
            stage.sessions.end(&host, id.as_str()).await.unwrap();
            assert_eq!(by_host().await, Err(WatchRefusal::Ended));
        }

        async fn full_session_lets_nobody_else_join_and_cuts_nobody_off(db: TestDatabase) {
            let stage = Stage::on(db).await;
            let (host, first, second) = (stage.user("host").await, stage.user("first").await, stage.user("second").await);
            let small = Details { max_viewers: Some(1), ..details("small") };
            let id = stage.sessions.create(&host.user_id, small).await.unwrap().session.id;
            let join = async |user| stage.sessions.join(&caller(user), id.as_str(), Role::Viewer, None).await;
            let theirs = join(&first).await.unwrap();
            assert!(join(&second).await.is_err(), "the place is kept");
            let (session_id, transport, at) = (id.clone(), Transport::Whep, stage.now());
            let identity = Some(theirs.ticket.viewer.clone());
            let joined = LiveFact::ViewerJoined { session_id, viewer_id: "v".into(), identity, transport, at };
            stage.presence.tell(joined).await;
            stage.presence.settle(&id).await;
            assert!(join(&second).await.is_err(), "and taken");
            assert!(watch(&stage, id.as_str(), Some(theirs.token.reveal())).await.is_ok(), "their connection was lost");
            assert!(join(&first).await.is_ok());
            let late = stage.sessions.join(&caller(&host), id.as_str(), Role::Viewer, None).await.unwrap();
            let late = Ticket { viewer: ViewerIdentity::User(second.user_id.clone()), ..late.ticket };
            let late = stage.sessions.print(&late, stage.now().into()).unwrap();
            let refused = watch(&stage, id.as_str(), Some(late.reveal())).await;
            assert_eq!(refused, Err(WatchRefusal::Unavailable), "a ticket whose place was kept too long ago");
            assert!(watch(&stage, id.as_str(), None).await.is_ok(), "the answer that HLS keeps for all who come");
            let own = join(&host).await.unwrap();
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
