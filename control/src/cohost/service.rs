//! The rules of seats and the transactions that move them. What follows from a move is the steward's to carry out.

use std::sync::Arc;
use std::time::Duration;

use super::model::{CO_HOSTS_MAX, Candidate, CoHostCard, Mute, OPEN_MAX, Seat, SeatState, Step};
use super::steward::Slate;
use super::store::{self, Seated};
use crate::bus::{Bus, DomainEvent};
use crate::caller::{Caller, SignedIn};
use crate::clock::{Clock, Timestamp};
use crate::config::Rate;
use crate::db::{Connection, Database, DbError, Transaction};
use crate::error::{Code, Error, Refusal, Text};
use crate::id::{BroadcastName, SessionId, UserId};
use crate::ports::LivePlane;
use crate::rate::Limiter;
use crate::session::{NO_SUCH_SESSION, NOT_HOST, SESSION_OVER, Sessions};

const HOST_HAS_NO_SEAT: Refusal = Refusal::new(
    Code::Forbidden,
    "host_is_no_co_host",
    Text::new("صاحب البث لا يكون مضيفًا مشاركًا في بثه", "The host is no co-host of their own session"),
);
const NO_SUCH_USER: Refusal =
    Refusal::new(Code::NotFound, "no_such_user", Text::new("المستخدم غير موجود", "There is no such user"));
const CO_HOSTS_FULL: Refusal = Refusal::new(
    Code::PreconditionFailed,
    "co_hosts_full",
    Text::new("اكتمل عدد المضيفين المشاركين في هذا البث", "This session has all the co-hosts it takes"),
);
const TOO_MANY_OPEN: Refusal = Refusal::new(
    Code::PreconditionFailed,
    "too_many_open",
    Text::new(
        "عدد الطلبات أو الدعوات المنتظرة كبير، حاول لاحقًا",
        "Too many requests or invitations are waiting, try again later",
    ),
);

/// How often one user may ask to be a co-host, wherever: each request is put before a host, who can do little else about
/// somebody who asks again and again.
const REQUESTS: Rate = Rate::every(Duration::from_secs(10), 3);

/// The co-host slice. Clones share everything.
#[derive(Clone)]
pub(crate) struct CoHosts {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) db: Database,
    pub(super) bus: Bus,
    pub(super) clock: Clock,
    pub(super) sessions: Sessions,
    pub(super) plane: Arc<dyn LivePlane>,
    pub(super) slate: Slate,
    requests: Limiter<UserId>,
}

impl std::fmt::Debug for CoHosts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("co-hosts")
    }
}

/// A session's co-hosts as one caller may see them.
#[derive(Debug)]
pub(crate) struct Overview {
    pub(crate) co_hosts: Vec<CoHostCard>,
    /// Who asks and who is invited; for the host alone.
    pub(crate) open: Option<(Vec<Candidate>, Vec<Candidate>)>,
    /// Where the caller stands.
    pub(crate) own: Option<SeatState>,
}

impl CoHosts {
    pub(crate) fn new(db: Database, bus: Bus, clock: Clock, sessions: Sessions, plane: Arc<dyn LivePlane>) -> Self {
        let (slate, requests) = (Slate::default(), Limiter::new(REQUESTS));
        Self { inner: Arc::new(Inner { db, bus, clock, sessions, plane, slate, requests }) }
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// A viewer asks to be a co-host.
    pub(crate) async fn request(&self, user: &SignedIn, session_id: &str) -> Result<SeatState, Error> {
        self.inner.requests.check(&user.user_id)?;
        self.take(user, session_id, &user.user_id, Step::Request).await
    }

    /// The host asks a user to be a co-host.
    pub(crate) async fn invite(&self, host: &SignedIn, session_id: &str, user_id: &str) -> Result<SeatState, Error> {
        self.take(host, session_id, &user(user_id)?, Step::Invite).await
    }

    /// The host agrees to a request.
    pub(crate) async fn approve(&self, host: &SignedIn, session_id: &str, user_id: &str) -> Result<SeatState, Error> {
        self.take(host, session_id, &user(user_id)?, Step::Approve).await
    }

    /// The user agrees to an invitation.
    pub(crate) async fn accept(&self, user: &SignedIn, session_id: &str) -> Result<SeatState, Error> {
        self.take(user, session_id, &user.user_id, Step::Accept).await
    }

    /// Lets a request or an invitation come to nothing: the caller's own, or as the host that of `user_id`.
    pub(crate) async fn decline(
        &self,
        caller: &SignedIn,
        session_id: &str,
        user_id: Option<&str>,
    ) -> Result<SeatState, Error> {
        match user_id.map(user).transpose()?.filter(|user_id| *user_id != caller.user_id) {
            Some(user_id) => self.take(caller, session_id, &user_id, Step::TurnDown).await,
            None => self.take(caller, session_id, &caller.user_id, Step::Decline).await,
        }
    }

    /// A co-host stops being one.
    pub(crate) async fn leave(&self, user: &SignedIn, session_id: &str) -> Result<SeatState, Error> {
        self.take(user, session_id, &user.user_id, Step::Leave).await
    }

    /// The host sends somebody away.
    pub(crate) async fn remove(&self, host: &SignedIn, session_id: &str, user_id: &str) -> Result<SeatState, Error> {
        self.take(host, session_id, &user(user_id)?, Step::Remove).await
    }

    /// Silences a co-host or lets them speak: the host anybody, co-hosts themselves.
    pub(crate) async fn mute(
        &self,
        caller: &SignedIn,
        session_id: &str,
        user_id: &str,
        muted: bool,
    ) -> Result<Mute, Error> {
        let Inner { db, sessions, slate, .. } = &*self.inner;
        let (user_id, session) = (user(user_id)?, sessions.visible(session_id, Some(&caller.user_id), None).await?);
        let by_host = session.host_id == caller.user_id;
        if !by_host && user_id != caller.user_id {
            return Err(NOT_HOST.into());
        }
        let mut tx = db.begin().await?;
        self.hold(&mut tx, &session.id).await?;
        let seat = store::seat(&mut tx, &session.id, &user_id).await?.ok_or(Seat::MISSING)?;
        let after = seat.muted(by_host, muted)?;
        if after != seat {
            store::set_mute(&mut tx, &session.id, &user_id, after.mute).await?;
            tx.commit().await?;
            tracing::info!(session.id = %session.id, user.id = %user_id, mute = after.mute.as_str(), "co-host muted");
            slate.owe(session.id, Some(user_id));
        }
        Ok(after.mute)
    }

    /// A session's co-hosts, for those who may see the session.
    pub(crate) async fn overview(&self, caller: &Caller, session_id: &str) -> Result<Overview, Error> {
        let Inner { db, sessions, .. } = &*self.inner;
        let session = sessions.visible(session_id, caller.user_id(), None).await?;
        let is_host = caller.user_id() == Some(&session.host_id);
        if session.is_over() {
            return Ok(Overview { co_hosts: Vec::new(), open: is_host.then(Default::default), own: None });
        }
        let mut reader = db.reader().await?;
        let co_hosts = self.co_hosts(&mut reader, &session.id).await?;
        let open = if is_host {
            let requests = store::in_state(&mut reader, &session.id, SeatState::Requested, OPEN_MAX).await?;
            let invitations = store::in_state(&mut reader, &session.id, SeatState::Invited, OPEN_MAX).await?;
            let candidates = |seats: Vec<Seated>| seats.into_iter().map(|seat| seat.candidate).collect();
            Some((candidates(requests), candidates(invitations)))
        } else {
            None
        };
        let own = match caller.user_id() {
            Some(user_id) => store::seat(&mut reader, &session.id, user_id).await?,
            None => None,
        };
        Ok(Overview { co_hosts, open, own: own.map(|seat| seat.state) })
    }

    /// Who publishes or may, longest there first.
    pub(super) async fn co_hosts(
        &self,
        connection: &mut impl Connection,
        session_id: &SessionId,
    ) -> Result<Vec<CoHostCard>, DbError> {
        let approved = store::in_state(connection, session_id, SeatState::Approved, CO_HOSTS_MAX).await?;
        let live = self.inner.slate.live_in(session_id);
        let card = |Seated { candidate: Candidate { user_id, name, avatar, .. }, mute }: Seated| CoHostCard {
            is_live: live.contains(&user_id),
            is_muted: mute.is_muted(),
            mute,
            broadcast_id: BroadcastName::co_host(session_id.clone(), user_id.clone()).to_string(),
            user_id,
            name,
            avatar,
        };
        Ok(approved.into_iter().map(card).collect())
    }

    /// Takes a step about the seat of `user_id`; taken before, it changes nothing and tells nobody.
    async fn take(
        &self,
        caller: &SignedIn,
        session_id: &str,
        user_id: &UserId,
        step: Step,
    ) -> Result<SeatState, Error> {
        let Inner { db, clock, sessions, .. } = &*self.inner;
        let session = sessions.visible(session_id, Some(&caller.user_id), None).await?;
        if step.is_the_hosts() && session.host_id != caller.user_id {
            return Err(NOT_HOST.into());
        }
        if session.host_id == *user_id {
            return Err(HOST_HAS_NO_SEAT.into());
        }
        let (id, now) = (&session.id, clock.now());

        let mut tx = db.begin().await?;
        self.hold(&mut tx, id).await?;
        let user = store::candidate(&mut tx, user_id, now).await?.ok_or(NO_SUCH_USER)?;
        let host = store::candidate(&mut tx, &session.host_id, now).await?.ok_or(NO_SUCH_SESSION)?;
        let from = store::seat(&mut tx, id, user_id).await?.map(|seat| seat.state);
        let to = step.from(from)?;
        if from == Some(to) {
            return Ok(to);
        }
        if let Some((max, refusal)) = limit(to)
            && store::count(&mut tx, id, to).await? >= i64::from(max)
        {
            return Err(refusal.into());
        }
        store::put(&mut tx, id, user_id, Seat { state: to, mute: Mute::Open }, now).await?;
        tx.commit().await?;

        let before = from.map_or("none", SeatState::as_str);
        tracing::info!(session.id = %id, user.id = %user_id, from = before, to = to.as_str(), ?step, "co-host moved");
        if session.details.is_private && from.is_some_and(SeatState::opens_private) != to.opens_private() {
            self.inner.slate.owe_access(id.clone(), user_id.clone());
        }
        self.tell(session.id, Move { user, host, step, from, to, at: now });
        Ok(to)
    }

    /// Keeps others from moving any seat of a session, or ending it, until the transaction is over.
    async fn hold(&self, tx: &mut Transaction, session_id: &SessionId) -> Result<(), Error> {
        let session = Sessions::hold(tx, session_id).await?.ok_or(NO_SUCH_SESSION)?;
        if session.is_over() { Err(SESSION_OVER.into()) } else { Ok(()) }
    }

    /// Tells the one who waits for it; what everybody is told and media must do is left to the steward.
    fn tell(&self, session_id: SessionId, moved: Move) {
        let Inner { bus, slate, .. } = &*self.inner;
        let Move { user, host, step, from, to, at } = moved;
        if from == Some(SeatState::Approved) {
            slate.owe(session_id, Some(user.user_id));
            return;
        }
        match to {
            SeatState::Approved => slate.owe(session_id, Some(user.user_id)),
            SeatState::Requested => {
                bus.publish(DomainEvent::CoHostRequested {
                    session_id,
                    host_id: host.user_id,
                    user: Arc::new(user),
                    at,
                });
            }
            SeatState::Invited => {
                bus.publish(DomainEvent::CoHostInvited { session_id, user_id: user.user_id, host: Arc::new(host), at });
            }
            SeatState::Declined | SeatState::Removed | SeatState::Left => {
                let other_side = if step.is_the_hosts() { user.user_id.clone() } else { host.user_id };
                bus.publish(DomainEvent::CoHostDeclined { session_id, user_id: user.user_id, other_side, at });
            }
        }
    }
}

/// A seat that moved, with its two sides.
struct Move {
    user: Candidate,
    host: Candidate,
    step: Step,
    from: Option<SeatState>,
    to: SeatState,
    at: Timestamp,
}

/// How many seats of a session may be in a state at once; there is no end to those who are gone.
const fn limit(state: SeatState) -> Option<(u32, Refusal)> {
    match state {
        SeatState::Approved => Some((CO_HOSTS_MAX, CO_HOSTS_FULL)),
        SeatState::Requested | SeatState::Invited => Some((OPEN_MAX, TOO_MANY_OPEN)),
        SeatState::Declined | SeatState::Removed | SeatState::Left => None,
    }
}

fn user(text: &str) -> Result<UserId, Error> {
    UserId::parse(text).ok_or_else(|| NO_SUCH_USER.into())
}
