//! Stories of co-hosts, on both engines: the rules here, orders and facts in `steward`, the procedures and the room in
//! `api`.

mod api;
mod steward;

use std::sync::Arc;

use super::model::{CO_HOSTS_MAX, CoHostCard, Mute, OPEN_MAX, SeatState};
use crate::both_engines;
use crate::bus::{DomainEvent, Subscription};
use crate::caller::SignedIn;
use crate::error::Error;
use crate::id::{BroadcastName, SessionId, UserId};
use crate::session::{Details, Role};
use crate::testing::stage::{Stage, avatar, caller, details, guest, next};

fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    outcome.expect_err("a refusal").reason().expect("a reason")
}

/// The next list the room is told that holds to this; others are skipped.
async fn told(events: &mut Subscription, holds: impl Fn(&[CoHostCard]) -> bool) -> Arc<Vec<CoHostCard>> {
    loop {
        if let DomainEvent::CoHostsChanged { co_hosts, .. } = next(events).await
            && holds(&co_hosts)
        {
            return co_hosts;
        }
    }
}

fn any(_: &[CoHostCard]) -> bool {
    true
}

fn names(cards: &[CoHostCard]) -> Vec<&str> {
    cards.iter().map(|card| card.name.as_str()).collect()
}

/// Makes somebody a co-host and waits until the room knows.
async fn seat(stage: &Stage, host: &SignedIn, id: &SessionId, user: &SignedIn) {
    let mut events = stage.bus.subscribe();
    stage.co_hosts.invite(host, id.as_str(), user.user_id.as_str()).await.unwrap();
    assert_eq!(stage.co_hosts.accept(user, id.as_str()).await.unwrap(), SeatState::Approved);
    told(&mut events, |cards| cards.iter().any(|card| card.user_id == user.user_id)).await;
}

async fn state_of(stage: &Stage, id: &SessionId, user: &SignedIn) -> Option<SeatState> {
    stage.co_hosts.overview(&caller(user), id.as_str()).await.unwrap().own
}

both_engines! {
    async fn request_is_put_before_the_host_and_approved(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan) = (stage.user("host").await, stage.user("fan").await);
        let id = stage.live_session(&host).await.session.id;
        let mut events = stage.bus.subscribe();
        assert_eq!(stage.co_hosts.request(&fan, id.as_str()).await.unwrap(), SeatState::Requested);
        let DomainEvent::CoHostRequested { session_id, host_id, user, at } = next(&mut events).await else {
            panic!("expected a request");
        };
        assert_eq!((&session_id, &host_id, at), (&id, &host.user_id, stage.clock.now()));
        assert_eq!((&user.user_id, user.name.as_str(), Some(user.avatar.clone())), (&fan.user_id, "fan", avatar("fan")));
        assert_eq!(stage.co_hosts.request(&fan, id.as_str()).await.unwrap(), SeatState::Requested, "asked once already");

        let seen = stage.co_hosts.overview(&caller(&host), id.as_str()).await.unwrap();
        let (requests, invitations) = seen.open.expect("the host sees who asks");
        assert_eq!((requests.as_slice(), invitations.len()), ([(*user).clone()].as_slice(), 0));
        for other in [caller(&fan), guest()] {
            let seen = stage.co_hosts.overview(&other, id.as_str()).await.unwrap();
            assert!(seen.open.is_none() && seen.co_hosts.is_empty());
            assert_eq!(seen.own, other.user_id().map(|_| SeatState::Requested));
        }
        assert_eq!(reason(stage.sessions.join(&caller(&fan), id.as_str(), Role::CoHost, None).await), "not_approved");

        let approve = async |by| stage.co_hosts.approve(by, id.as_str(), fan.user_id.as_str()).await;
        assert_eq!(reason(approve(&fan).await), "not_host");
        assert_eq!(approve(&host).await.unwrap(), SeatState::Approved);
        let cards = told(&mut events, any).await;
        let name = BroadcastName::co_host(id.clone(), fan.user_id.clone()).to_string();
        let card = CoHostCard {
            user_id: fan.user_id.clone(),
            name: "fan".into(),
            avatar: avatar("fan").unwrap(),
            is_live: false,
            is_muted: false,
            mute: Mute::Open,
            broadcast_id: name,
        };
        assert_eq!(*cards, [card], "the repeated request was told to nobody");
        assert_eq!(stage.co_hosts.overview(&guest(), id.as_str()).await.unwrap().co_hosts, *cards);
        let joined = stage.sessions.join(&caller(&fan), id.as_str(), Role::CoHost, None).await.unwrap();
        assert!(joined.permissions.moderate && joined.permissions.chat && !joined.permissions.request_co_host);
        assert_eq!(approve(&host).await.unwrap(), SeatState::Approved);
        assert_eq!(stage.co_hosts.request(&fan, id.as_str()).await.unwrap(), SeatState::Approved);
    }

    async fn invitation_is_put_before_the_user_and_opens_a_private_session(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan, other) = (stage.user("host").await, stage.user("fan").await, stage.user("other").await);
        let hidden = Details { is_private: true, ..details("hidden") };
        let id = stage.sessions.create(&host.user_id, hidden).await.unwrap().session.id;
        for uninvited in [&fan, &other] {
            assert_eq!(reason(stage.co_hosts.request(uninvited, id.as_str()).await), "private_session");
            assert_eq!(reason(stage.co_hosts.overview(&caller(uninvited), id.as_str()).await), "private_session");
        }
        let mut events = stage.bus.subscribe();
        let invited = stage.co_hosts.invite(&host, id.as_str(), fan.user_id.as_str()).await.unwrap();
        assert_eq!(invited, SeatState::Invited);
        let DomainEvent::CoHostInvited { user_id, host: by, .. } = next(&mut events).await else {
            panic!("expected an invitation");
        };
        assert_eq!((&user_id, &by.user_id, by.name.as_str()), (&fan.user_id, &host.user_id, "host"));
        assert!(stage.sessions.visible(id.as_str(), Some(&fan.user_id), None).await.is_ok());
        assert_eq!(reason(stage.co_hosts.accept(&other, id.as_str()).await), "private_session");
        assert_eq!(stage.co_hosts.accept(&fan, id.as_str()).await.unwrap(), SeatState::Approved);
        let ticket = stage.sessions.join(&caller(&fan), id.as_str(), Role::CoHost, None).await.unwrap().token;
        assert!(stage.sessions.visible(id.as_str(), None, Some(&ticket)).await.is_ok());

        stage.co_hosts.leave(&fan, id.as_str()).await.unwrap();
        assert_eq!(reason(stage.sessions.visible(id.as_str(), Some(&fan.user_id), None).await), "private_session");
        assert!(stage.sessions.visible(id.as_str(), None, Some(&ticket)).await.is_err(), "a ticket outlives its worth");
    }

    async fn who_both_want_it_need_no_second_word(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, asks, invited) = (stage.user("host").await, stage.user("asks").await, stage.user("invited").await);
        let id = stage.live_session(&host).await.session.id;
        stage.co_hosts.request(&asks, id.as_str()).await.unwrap();
        let state = stage.co_hosts.invite(&host, id.as_str(), asks.user_id.as_str()).await.unwrap();
        assert_eq!(state, SeatState::Approved);
        stage.co_hosts.invite(&host, id.as_str(), invited.user_id.as_str()).await.unwrap();
        assert_eq!(stage.co_hosts.request(&invited, id.as_str()).await.unwrap(), SeatState::Approved);
    }

    async fn what_came_to_nothing_is_told_to_the_other_side(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan) = (stage.user("host").await, stage.user("fan").await);
        let id = stage.live_session(&host).await.session.id;
        let fan_id = Some(fan.user_id.as_str());
        assert_eq!(reason(stage.co_hosts.decline(&fan, id.as_str(), None).await), "nothing_to_decline");
        let mut events = stage.bus.subscribe();
        let decline = async |by, user_id| stage.co_hosts.decline(by, id.as_str(), user_id).await;
        for (invite, by, user_id, told) in
            [(true, &fan, None, &host), (true, &host, fan_id, &fan), (false, &fan, fan_id, &host), (false, &host, fan_id, &fan)]
        {
            if invite {
                stage.co_hosts.invite(&host, id.as_str(), fan.user_id.as_str()).await.unwrap();
            } else {
                stage.co_hosts.request(&fan, id.as_str()).await.unwrap();
            }
            assert_eq!(decline(by, user_id).await.unwrap(), SeatState::Declined);
            assert_eq!(decline(by, user_id).await.unwrap(), SeatState::Declined, "and again");
            next(&mut events).await;
            let DomainEvent::CoHostDeclined { user_id, other_side, .. } = next(&mut events).await else {
                panic!("expected a refusal");
            };
            assert_eq!((&user_id, &other_side), (&fan.user_id, &told.user_id));
        }
        assert_eq!(reason(decline(&fan, Some(host.user_id.as_str())).await), "not_host");
        assert_eq!(reason(decline(&host, None).await), "host_is_no_co_host");
        assert_eq!(reason(stage.co_hosts.approve(&host, id.as_str(), fan.user_id.as_str()).await), "no_co_host_request");
        assert_eq!(reason(stage.co_hosts.accept(&fan, id.as_str()).await), "not_invited");
    }

    async fn removed_is_cut_off_and_returns_by_invitation_alone(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan) = (stage.user("host").await, stage.user("fan").await);
        let id = stage.live_session(&host).await.session.id;
        seat(&stage, &host, &id, &fan).await;
        let mut events = stage.bus.subscribe();
        assert_eq!(reason(stage.co_hosts.remove(&fan, id.as_str(), fan.user_id.as_str()).await), "not_host");
        stage.co_hosts.mute(&host, id.as_str(), fan.user_id.as_str(), true).await.unwrap();
        assert!(told(&mut events, any).await[0].is_muted);
        let removed = stage.co_hosts.remove(&host, id.as_str(), fan.user_id.as_str()).await.unwrap();
        assert_eq!(removed, SeatState::Removed);
        assert!(told(&mut events, any).await.is_empty());
        assert_eq!(*stage.plane.co_hosts_ended.lock(), [(id.clone(), fan.user_id.clone())], "before the room knows");
        assert_eq!(reason(stage.sessions.join(&caller(&fan), id.as_str(), Role::CoHost, None).await), "not_approved");
        assert_eq!(reason(stage.co_hosts.request(&fan, id.as_str()).await), "removed_by_host");
        assert_eq!(reason(stage.co_hosts.leave(&fan, id.as_str()).await), "not_a_co_host");
        seat(&stage, &host, &id, &fan).await;
        assert!(!told(&mut events, any).await[0].is_muted, "and begins afresh");

        assert_eq!(stage.co_hosts.leave(&fan, id.as_str()).await.unwrap(), SeatState::Left);
        assert!(told(&mut events, any).await.is_empty());
        assert_eq!(stage.plane.co_hosts_ended.lock().len(), 2);
        assert_eq!(reason(stage.co_hosts.remove(&host, id.as_str(), fan.user_id.as_str()).await), "not_a_co_host");
        assert_eq!(stage.co_hosts.request(&fan, id.as_str()).await.unwrap(), SeatState::Requested, "who left may ask");
    }

    async fn eighth_co_host_finds_no_seat_however_many_accept_at_once(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let host = stage.user("host").await;
        let id = stage.live_session(&host).await.session.id;
        let mut crowd = Vec::new();
        for n in 0..CO_HOSTS_MAX + 3 {
            let user = stage.user(&n.to_string()).await;
            stage.co_hosts.invite(&host, id.as_str(), user.user_id.as_str()).await.unwrap();
            crowd.push(user);
        }
        let accepting = crowd.iter().map(|user| {
            let (co_hosts, user, id) = (stage.co_hosts.clone(), user.clone(), id.clone());
            tokio::spawn(async move { co_hosts.accept(&user, id.as_str()).await })
        });
        let mut refused = 0;
        for accepted in accepting.collect::<Vec<_>>() {
            if let Err(error) = accepted.await.unwrap() {
                assert_eq!(error.reason(), Some("co_hosts_full"));
                refused += 1;
            }
        }
        assert_eq!(refused, 3);
        let seen = stage.co_hosts.overview(&caller(&host), id.as_str()).await.unwrap();
        assert_eq!(seen.co_hosts.len(), 7);
        let (_, still_invited) = seen.open.unwrap();
        stage.co_hosts.leave(&stage_user(&crowd, &seen.co_hosts[0].user_id), id.as_str()).await.unwrap();
        let waits = stage_user(&crowd, &still_invited[0].user_id);
        assert_eq!(stage.co_hosts.accept(&waits, id.as_str()).await.unwrap(), SeatState::Approved, "a seat came free");
    }

    async fn so_many_requests_wait_at_once(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let host = stage.user("host").await;
        let id = stage.live_session(&host).await.session.id;
        let mut first = None;
        for n in 0..OPEN_MAX {
            let fan = stage.user(&n.to_string()).await;
            stage.co_hosts.request(&fan, id.as_str()).await.unwrap();
            first.get_or_insert(fan);
        }
        let late = stage.user("late").await;
        assert_eq!(reason(stage.co_hosts.request(&late, id.as_str()).await), "too_many_open");
        let first = first.unwrap();
        stage.co_hosts.decline(&host, id.as_str(), Some(first.user_id.as_str())).await.unwrap();
        stage.co_hosts.request(&late, id.as_str()).await.unwrap();
        assert_eq!(reason(stage.co_hosts.request(&first, id.as_str()).await), "too_many_open");
    }

    async fn requests_of_one_user_are_paced(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan) = (stage.user("host").await, stage.user("fan").await);
        let id = stage.live_session(&host).await.session.id;
        for _ in 0..3 {
            stage.co_hosts.request(&fan, id.as_str()).await.unwrap();
            stage.co_hosts.decline(&host, id.as_str(), Some(fan.user_id.as_str())).await.unwrap();
        }
        let refused = stage.co_hosts.request(&fan, id.as_str()).await.unwrap_err();
        assert_eq!(refused.reason(), Some("too_often"));
        assert!(refused.retry_after().is_some());
        assert_eq!(state_of(&stage, &id, &fan).await, Some(SeatState::Declined));
    }

    async fn nobody_and_nowhere_are_refused(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan) = (stage.user("host").await, stage.user("fan").await);
        let id = stage.live_session(&host).await.session.id;
        for nobody in ["", "somebody", UserId::generate().as_str()] {
            assert_eq!(reason(stage.co_hosts.invite(&host, id.as_str(), nobody).await), "no_such_user");
        }
        for nowhere in ["", "1; drop table co_host", SessionId::generate().as_str()] {
            assert_eq!(reason(stage.co_hosts.request(&fan, nowhere).await), "no_such_session");
        }
        assert_eq!(reason(stage.co_hosts.request(&host, id.as_str()).await), "host_is_no_co_host");
        assert_eq!(reason(stage.co_hosts.invite(&host, id.as_str(), host.user_id.as_str()).await), "host_is_no_co_host");
        assert_eq!(reason(stage.co_hosts.invite(&fan, id.as_str(), host.user_id.as_str()).await), "not_host");
    }
}

fn stage_user(crowd: &[SignedIn], user_id: &UserId) -> SignedIn {
    crowd.iter().find(|user| user.user_id == *user_id).expect("one of the crowd").clone()
}
