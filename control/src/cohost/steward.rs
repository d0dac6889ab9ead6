//! The one task that carries out what was decided about co-hosts, and what media tells of them.
//!
//! In: sessions that owe something, noted after a commit or a fact. Out: orders to the live plane, then `co_hosts` on the
//! bus. Driven by its own task.
//!
//! Nothing is carried along but names: the task reads where things stand and orders that. So two changes at once end in
//! the last one's order and list, whichever of them was noted first, and a database that was away is asked again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::model::Seat;
use super::service::{CoHosts, Inner};
use super::store;
use crate::bus::DomainEvent;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::{SessionId, UserId};
use crate::ports::ORDER_TIMEOUT;

/// Who is live, and what is still to be carried out. Locks are never held across an await.
#[derive(Default)]
pub(super) struct Slate {
    notes: Mutex<Notes>,
    wake: Notify,
}

#[derive(Default)]
struct Notes {
    /// Since when each co-host is live; as many as media admits publishers. Empty after a restart, as media is.
    live: HashMap<SessionId, HashMap<UserId, Timestamp>>,
    /// Sessions whose list is to be told, each with the seats media is to be given orders about. No more than seats moved
    /// since the last round, and each of those took a commit or a fact.
    owed: BTreeMap<SessionId, BTreeSet<UserId>>,
    /// Users to whom a private session was opened or closed, and who are to be let in or put out accordingly. Bounded by the
    /// same.
    access: BTreeSet<(SessionId, UserId)>,
}

/// How long after a failure the task tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Users who are put out again after a restart. Passes outlive it, but not for long, and whoever was sent away last is who still
/// has one.
const PUT_OUT_AGAIN_MAX: u32 = 10_000;

impl Slate {
    /// Notes that a session's list changed and, with it, what media has to do about one seat.
    pub(super) fn owe(&self, session_id: SessionId, user_id: Option<UserId>) {
        self.notes.lock().owed.entry(session_id).or_default().extend(user_id);
        self.wake.notify_one();
    }

    /// Notes that a private session may have been opened or closed to somebody.
    pub(super) fn owe_access(&self, session_id: SessionId, user_id: UserId) {
        self.notes.lock().access.insert((session_id, user_id));
        self.wake.notify_one();
    }

    pub(super) fn live_in(&self, session_id: &SessionId) -> BTreeSet<UserId> {
        self.notes.lock().live.get(session_id).map(|live| live.keys().cloned().collect()).unwrap_or_default()
    }
}

impl CoHosts {
    /// Media of a co-host arrives. Whether they still may, and may be heard, is looked up once more: they may have been
    /// removed or muted while their publisher was on the way in.
    pub(crate) fn went_live(&self, session_id: SessionId, user_id: UserId, at: Timestamp) {
        let slate = &self.inner().slate;
        slate.notes.lock().live.entry(session_id.clone()).or_default().insert(user_id.clone(), at);
        slate.owe(session_id, Some(user_id));
    }

    /// A co-host's publisher is gone. One that is told late says nothing about the publisher that followed it.
    pub(crate) fn went_away(&self, session_id: SessionId, user_id: &UserId, at: Timestamp) {
        let slate = &self.inner().slate;
        {
            let mut notes = slate.notes.lock();
            let Some(live) = notes.live.get_mut(&session_id) else { return };
            if live.get(user_id).is_none_or(|since| *since > at) {
                return;
            }
            live.remove(user_id);
            if live.is_empty() {
                notes.live.remove(&session_id);
            }
        }
        slate.owe(session_id, None);
    }

    /// A session is over and with it everybody's part in it.
    pub(crate) fn forget(&self, session_id: &SessionId) {
        self.inner().slate.notes.lock().live.remove(session_id);
    }

    /// Media has forgotten whom private sessions of the last run were closed to. What was signed for them `since` then opens the
    /// recording too.
    pub(crate) async fn put_out_again(&self, since: Timestamp) -> Result<(), Error> {
        let Inner { db, slate, .. } = self.inner();
        let users = store::shut_out(&mut db.reader().await?, since, PUT_OUT_AGAIN_MAX).await?;
        users.into_iter().for_each(|(session_id, user_id)| slate.owe_access(session_id, user_id));
        Ok(())
    }

    /// Carries out what is owed until `stop`, then what is left.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut database_is_away = false;
        loop {
            let outcome = self.carry_out().await;
            match &outcome {
                Err(error) if !database_is_away => {
                    tracing::error!(%error, "co-hosts cannot be looked up; what they are owed waits");
                }
                Ok(()) if database_is_away => tracing::info!("co-hosts are looked up again"),
                Ok(()) | Err(_) => {}
            }
            database_is_away = outcome.is_err();
            tokio::select! {
                () = self.inner().slate.wake.notified() => {}
                () = sleep(RETRY_AFTER), if database_is_away => {}
                () = stop.cancelled() => break,
            }
        }
        if self.carry_out().await.is_err() {
            tracing::warn!("some co-hosts were not told of at the end");
        }
    }

    /// One round. What fails is owed again.
    pub(super) async fn carry_out(&self) -> Result<(), Error> {
        let slate = &self.inner().slate;
        let (owed, access) = {
            let mut notes = slate.notes.lock();
            (std::mem::take(&mut notes.owed), std::mem::take(&mut notes.access))
        };
        let mut outcome = Ok(());
        for (session_id, user_id) in access {
            if let Err(error) = self.settle_access(&session_id, &user_id).await {
                outcome = Err(error);
                slate.notes.lock().access.insert((session_id, user_id));
            }
        }
        for (session_id, users) in owed {
            if let Err(error) = self.settle(&session_id, &users).await {
                outcome = Err(error);
                slate.notes.lock().owed.entry(session_id).or_default().extend(users);
            }
        }
        outcome
    }

    /// Orders what the seats say and tells the room who is there.
    async fn settle(&self, session_id: &SessionId, users: &BTreeSet<UserId>) -> Result<(), Error> {
        let Inner { db, bus, clock, sessions, .. } = self.inner();
        let goes_on = sessions.find(session_id).await?.is_some_and(|session| !session.is_over());
        let (seats, co_hosts) = {
            let mut reader = db.reader().await?;
            let mut seats = Vec::new();
            for user_id in users {
                let seat = store::seat(&mut reader, session_id, user_id).await?;
                seats.push((user_id, seat.filter(|seat| goes_on && seat.is_approved())));
            }
            (seats, self.co_hosts(&mut reader, session_id).await?)
        };
        for (user_id, seat) in seats {
            self.order(session_id, user_id, seat).await;
        }
        // The end of a session says all there is to say about its co-hosts.
        if goes_on {
            let (session_id, co_hosts) = (session_id.clone(), Arc::new(co_hosts));
            bus.publish(DomainEvent::CoHostsChanged { session_id, co_hosts, at: clock.now() });
        }
        Ok(())
    }

    /// Lets somebody watch a session that is open to them, or puts them out of it and its room.
    async fn settle_access(&self, session_id: &SessionId, user_id: &UserId) -> Result<(), Error> {
        let Inner { bus, sessions, plane, .. } = self.inner();
        let Some(session) = sessions.find(session_id).await? else { return Ok(()) };
        if sessions.is_open_to(&session, Some(user_id)).await? {
            given(session_id, user_id, plane.readmit_viewer(session_id, user_id.as_str())).await;
        } else {
            tracing::info!(session.id = %session_id, user.id = %user_id, "the session is closed to a user");
            given(session_id, user_id, plane.eject_viewer(session_id, user_id.as_str())).await;
            bus.publish(DomainEvent::ViewerEjected { session_id: session_id.clone(), user_id: user_id.clone() });
        }
        Ok(())
    }

    /// Gives media the order that belongs to a seat; `None` for nobody's.
    async fn order(&self, session_id: &SessionId, user_id: &UserId, seat: Option<Seat>) {
        let plane = &self.inner().plane;
        let order = match seat {
            Some(seat) => plane.mute_co_host(session_id, user_id, seat.mute.is_muted()),
            None => plane.end_co_host(session_id, user_id),
        };
        given(session_id, user_id, order).await;
    }
}

/// Waits until media took an order about a user, for so long.
async fn given(session_id: &SessionId, user_id: &UserId, order: impl Future<Output = ()>) {
    if timeout(ORDER_TIMEOUT, order).await.is_err() {
        tracing::warn!(session.id = %session_id, user.id = %user_id, "the live plane did not take an order in time");
    }
}
