//! What media hears and tells of co-hosts, on both engines.

use std::sync::Arc;
use std::time::Duration;

use super::{any, names, reason, seat, state_of, told};
use crate::both_engines;
use crate::bus::{DomainEvent, Subscription};
use crate::cohost::CoHosts;
use crate::cohost::model::Mute;
use crate::id::{SessionId, UserId};
use crate::ports::LivePlane;
use crate::presence::LiveFact;
use crate::session::{Details, EndReason, Role};
use crate::testing::stage::{Stage, caller, details, guest, next};

fn live(stage: &Stage, id: &SessionId, user_id: &UserId) -> LiveFact {
    LiveFact::CoHostLive { session_id: id.clone(), user_id: user_id.clone(), at: stage.now() }
}

fn gone(stage: &Stage, id: &SessionId, user_id: &UserId) -> LiveFact {
    LiveFact::CoHostGone { session_id: id.clone(), user_id: user_id.clone(), at: stage.now() }
}

/// Waits until somebody is put out, and says who.
async fn ejected(events: &mut Subscription) -> (SessionId, UserId) {
    loop {
        if let DomainEvent::ViewerEjected { session_id, user_id } = next(events).await {
            return (session_id, user_id);
        }
    }
}

/// Waits until media was given so many orders to put somebody out or to let them in again.
async fn ordered(stage: &Stage, count: usize) -> Vec<(SessionId, String, bool)> {
    let given = async {
        while stage.plane.ejected.lock().len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), given).await.expect("orders in time");
    stage.plane.ejected.lock().clone()
}

both_engines! {
    async fn private_session_is_closed_to_whoever_loses_their_place_and_opened_by_an_invitation(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan, other) = (stage.user("host").await, stage.user("fan").await, stage.user("other").await);
        let hidden = Details { is_private: true, ..details("hidden") };
        let id = stage.sessions.create(&host.user_id, hidden).await.unwrap().session.id;
        let (user_id, mut events) = (fan.user_id.as_str(), stage.bus.subscribe());
        let put_out = (id.clone(), fan.user_id.clone());
        let order = |is_out| (id.clone(), fan.user_id.to_string(), is_out);
        let mut orders = Vec::new();
        for step in ["remove", "leave", "decline", "turn down"] {
            stage.co_hosts.invite(&host, id.as_str(), user_id).await.unwrap();
            orders.push(order(false));
            assert_eq!(ordered(&stage, orders.len()).await, orders, "before {step}");
            if ["remove", "leave"].contains(&step) {
                stage.co_hosts.accept(&fan, id.as_str()).await.unwrap();
                told(&mut events, |cards| cards.len() == 1).await;
            }
            match step {
                "remove" => stage.co_hosts.remove(&host, id.as_str(), user_id).await.unwrap(),
                "leave" => stage.co_hosts.leave(&fan, id.as_str()).await.unwrap(),
                "decline" => stage.co_hosts.decline(&fan, id.as_str(), None).await.unwrap(),
                _ => stage.co_hosts.decline(&host, id.as_str(), Some(user_id)).await.unwrap(),
            };
            orders.push(order(true));
            assert_eq!(ejected(&mut events).await, put_out, "{step}");
            assert_eq!(*stage.plane.ejected.lock(), orders, "media first, then the room: {step}");
        }

        // A public session stays open to them, and nobody else's place is touched.
        let open = stage.live_session(&host).await.session.id;
        for user in [&fan, &other] {
            seat(&stage, &host, &open, user).await;
            stage.co_hosts.remove(&host, open.as_str(), user.user_id.as_str()).await.unwrap();
        }
        seat(&stage, &host, &open, &other).await;
        assert_eq!(*stage.plane.ejected.lock(), orders);
    }

    async fn host_has_the_last_word_on_who_is_heard(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan, other) = (stage.user("host").await, stage.user("fan").await, stage.user("other").await);
        let id = stage.live_session(&host).await.session.id;
        let mute = async |by, muted| stage.co_hosts.mute(by, id.as_str(), fan.user_id.as_str(), muted).await;
        assert_eq!(reason(mute(&host, true).await), "not_a_co_host");
        seat(&stage, &host, &id, &fan).await;
        seat(&stage, &host, &id, &other).await;
        let mut events = stage.bus.subscribe();
        assert_eq!(reason(mute(&other, true).await), "not_host");
        let mut orders = vec![(fan.user_id.clone(), false), (other.user_id.clone(), false)];
        for (by, muted, mute_after) in
            [(&fan, true, Mute::Own), (&fan, false, Mute::Open), (&host, true, Mute::Host), (&host, false, Mute::Open)]
        {
            assert_eq!(mute(by, muted).await.unwrap(), mute_after);
            assert_eq!(mute(by, muted).await.unwrap(), mute_after, "and again");
            let cards = told(&mut events, any).await;
            assert_eq!(names(&cards), ["fan", "other"], "muting moves nobody in the list");
            assert_eq!((cards[0].is_muted, cards[0].mute), (muted, mute_after));
            orders.push((fan.user_id.clone(), muted));
            if mute_after == Mute::Host {
                assert_eq!(reason(mute(&fan, false).await), "muted_by_host");
                assert_eq!(mute(&fan, true).await.unwrap(), Mute::Host);
            }
        }
        let given: Vec<_> = stage.plane.co_hosts_muted.lock().iter().cloned().map(|(_, who, muted)| (who, muted)).collect();
        assert_eq!(given, orders, "what changed nothing ordered nothing");
    }

    async fn orders_end_where_the_seat_stands(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan, other) = (stage.user("host").await, stage.user("fan").await, stage.user("other").await);
        let id = stage.live_session(&host).await.session.id;
        seat(&stage, &host, &id, &fan).await;
        let toggles = (0..20).map(|n| {
            let (co_hosts, host, fan, id) = (stage.co_hosts.clone(), host.clone(), fan.user_id.clone(), id.clone());
            tokio::spawn(async move { co_hosts.mute(&host, id.as_str(), fan.as_str(), n % 2 == 0).await })
        });
        for toggle in toggles.collect::<Vec<_>>() {
            toggle.await.unwrap().unwrap();
        }
        // One round settles all that a session owes, so once the room knows of the other, media knows of the first.
        seat(&stage, &host, &id, &other).await;
        let cards = stage.co_hosts.overview(&guest(), id.as_str()).await.unwrap().co_hosts;
        let orders = stage.plane.co_hosts_muted.lock().clone();
        let last = orders.iter().rfind(|(_, user_id, _)| *user_id == fan.user_id);
        assert_eq!(last.map(|(_, _, muted)| *muted), Some(cards[0].is_muted));
    }

    async fn what_is_owed_outlasts_a_database_that_is_away(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, orders) = (stage.user("host").await, Arc::clone(&stage.plane) as Arc<dyn LivePlane>);
        let id = stage.live_session(&host).await.session.id;
        let (db, bus, clock) = (stage.db.clone(), stage.bus.clone(), stage.clock.clone());
        let co_hosts = CoHosts::new(db, bus, clock, stage.sessions.clone(), orders);
        co_hosts.carry_out().await.unwrap();
        stage.db.close().await;
        co_hosts.went_live(id, UserId::generate(), stage.clock.now());
        co_hosts.carry_out().await.unwrap_err();
        co_hosts.carry_out().await.unwrap_err();
    }

    async fn media_says_who_is_live_and_late_publishers_are_sent_away(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan, stranger) = (stage.user("host").await, stage.user("fan").await, stage.user("stranger").await);
        let id = stage.live_session(&host).await.session.id;
        seat(&stage, &host, &id, &fan).await;
        let mut events = stage.bus.subscribe();
        stage.co_hosts.mute(&host, id.as_str(), fan.user_id.as_str(), true).await.unwrap();
        assert!(!told(&mut events, any).await[0].is_live);
        let before = gone(&stage, &id, &fan.user_id);
        stage.clock.advance(Duration::from_secs(1));
        stage.presence.tell(live(&stage, &id, &fan.user_id)).await;
        assert!(told(&mut events, any).await[0].is_live);
        let muted = (id.clone(), fan.user_id.clone(), true);
        assert_eq!(stage.plane.co_hosts_muted.lock()[1..], [muted.clone(), muted], "told again to a new publisher");

        stage.presence.tell(before).await;
        stage.presence.tell(live(&stage, &id, &stranger.user_id)).await;
        let cards = told(&mut events, any).await;
        assert_eq!((names(&cards), cards[0].is_live), (vec!["fan"], true), "the news of the publisher before came late");
        assert_eq!(*stage.plane.co_hosts_ended.lock(), [(id.clone(), stranger.user_id.clone())]);

        stage.presence.tell(gone(&stage, &id, &fan.user_id)).await;
        assert!(!told(&mut events, any).await[0].is_live);
        let session = stage.sessions.find(&id).await.unwrap().unwrap();
        assert_eq!(session.state.as_str(), "live", "nothing of this moves the session");
    }

    async fn end_of_a_session_is_the_end_of_its_co_hosts(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan, asks) = (stage.user("host").await, stage.user("fan").await, stage.user("asks").await);
        let id = stage.live_session(&host).await.session.id;
        seat(&stage, &host, &id, &fan).await;
        stage.co_hosts.request(&asks, id.as_str()).await.unwrap();
        let mut events = stage.bus.subscribe();
        stage.presence.tell(live(&stage, &id, &fan.user_id)).await;
        assert!(told(&mut events, any).await[0].is_live);
        stage.sessions.end(&host, id.as_str()).await.unwrap();
        let over = LiveFact::Ended { session_id: id.clone(), at: stage.now(), reason: EndReason::Host };
        stage.presence.tell(over).await;
        stage.presence.settle(&id).await;

        let seen = stage.co_hosts.overview(&caller(&host), id.as_str()).await.unwrap();
        assert_eq!((seen.co_hosts.len(), seen.open.map(|(asks, invited)| asks.len() + invited.len())), (0, Some(0)));
        assert_eq!(state_of(&stage, &id, &fan).await, None);
        let (fan_id, asks_id) = (fan.user_id.as_str(), asks.user_id.as_str());
        for outcome in [
            stage.co_hosts.request(&asks, id.as_str()).await,
            stage.co_hosts.invite(&host, id.as_str(), asks_id).await,
            stage.co_hosts.approve(&host, id.as_str(), asks_id).await,
            stage.co_hosts.leave(&fan, id.as_str()).await,
            stage.co_hosts.remove(&host, id.as_str(), fan_id).await,
        ] {
            assert_eq!(reason(outcome), "session_over");
        }
        assert_eq!(reason(stage.co_hosts.mute(&host, id.as_str(), fan_id, true).await), "session_over");
        assert_eq!(reason(stage.sessions.join(&caller(&fan), id.as_str(), Role::CoHost, None).await), "session_over");

        stage.presence.tell(live(&stage, &id, &fan.user_id)).await;
        let sent_away = async {
            while stage.plane.co_hosts_ended.lock().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), sent_away).await.expect("an order in time");
        assert_eq!(*stage.plane.co_hosts_ended.lock(), [(id, fan.user_id)], "whoever comes later is sent away");
    }
}
