//! Stories of sessions, on both engines: the rules here, the procedures in `api`.

mod api;

use std::time::Duration;

use super::model::{Cause, Details, EndReason, Role, SessionKind, SessionState};
use super::service::Moved;
use super::store::ActiveFilter;
use super::stream_key::StreamKey;
use crate::both_engines;
use crate::bus::DomainEvent;
use crate::error::Error;
use crate::id::SessionId;
use crate::presence::{LiveFact, ViewerIdentity};
use crate::secret::Secret;
use crate::testing::stage::{Stage, avatar, caller, details, guest, next};

fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    outcome.expect_err("a refusal").reason().expect("a reason")
}

both_engines! {
    async fn new_session_waits_and_only_its_key_finds_it(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let host = stage.user("host").await;
        let asked = Details {
            title: "بث\u{202e} تجريبي 🌹".into(),
            description: Some("سطر\nسطر".into()),
            kind: SessionKind::Audio,
            category: Some("music".into()),
            is_private: true,
            max_viewers: Some(100),
            scheduled_at: Some(stage.clock.now().plus(Duration::from_secs(60))),
            is_recorded: false,
            allow_download: true,
        };
        let created = stage.sessions.create(&host.user_id, asked.clone()).await.unwrap();
        assert_eq!((created.host.name.as_str(), Some(created.host.avatar)), ("host", avatar("host")));
        let session = created.session;
        assert_eq!(session.details, Details { title: "بث تجريبي 🌹".into(), ..asked });
        assert_eq!((session.state, session.created_at), (SessionState::Waiting, stage.clock.now()));
        assert_eq!(stage.sessions.find(&session.id).await.unwrap(), Some(session.clone()));
        assert_eq!(stage.sessions.find_by_key(&created.stream_key).await.unwrap(), Some(session.clone()));
        for wrong in [StreamKey::generate(), StreamKey::presented(Secret::new(session.id.as_str()))] {
            assert_eq!(stage.sessions.find_by_key(&wrong).await.unwrap(), None);
        }

        let fresh = stage.sessions.rotate_key(&session.id).await.unwrap();
        assert_eq!(stage.sessions.find_by_key(&created.stream_key).await.unwrap(), None);
        assert_eq!(stage.sessions.find_by_key(&fresh).await.unwrap(), Some(session));
    }

    async fn show_goes_live_is_interrupted_and_ends_once(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, mut events) = (stage.user("host").await, stage.bus.subscribe());
        let id = stage.session(&host).await.session.id;
        let started = stage.clock.now();
        let follow = async |cause, seconds| {
            stage.sessions.follow(&id, cause, started.plus(Duration::from_secs(seconds)), None).await.unwrap()
        };

        assert_eq!(follow(Cause::MediaLost, 0).await, Moved::No, "nothing to lose yet");
        assert_eq!(follow(Cause::MediaArrived, 0).await, Moved::Yes);
        assert_eq!(follow(Cause::MediaArrived, 1).await, Moved::No);
        assert_eq!(follow(Cause::MediaLost, 5).await, Moved::Yes);
        assert_eq!(follow(Cause::MediaArrived, 9).await, Moved::Yes);
        assert!(matches!(next(&mut events).await, DomainEvent::SessionWentLive { session_id, .. } if session_id == id));
        assert!(matches!(next(&mut events).await, DomainEvent::SessionInterrupted { .. }));
        assert!(matches!(next(&mut events).await, DomainEvent::SessionResumed { .. }));

        stage.clock.advance(Duration::from_secs(60));
        let stats = stage.sessions.end(&host, id.as_str()).await.unwrap();
        assert_eq!(stats.duration, 60);
        let DomainEvent::SessionEnded { session_id, ended_at, stats: told } = next(&mut events).await else {
            panic!("expected the end");
        };
        assert_eq!((session_id, ended_at, told), (id.clone(), stage.clock.now(), stats));
        assert_eq!(*stage.plane.ended.lock(), [(id.clone(), EndReason::Host)]);

        stage.clock.advance(Duration::from_secs(60));
        assert_eq!(stage.sessions.end(&host, id.as_str()).await.unwrap(), stats, "the end is told once, the stats stay");
        assert_eq!(follow(Cause::Over, 200).await, Moved::Over);
        assert_eq!(follow(Cause::MediaArrived, 200).await, Moved::Over);
        assert_eq!(stage.plane.ended.lock().len(), 3, "a publisher that comes too late is sent away");
        assert_eq!(reason(stage.sessions.rotate_key(&id).await), "no_such_session");
        let session = stage.sessions.find(&id).await.unwrap().unwrap();
        assert_eq!((session.state, session.started_at), (SessionState::Ended, Some(started)));
    }

    async fn only_the_host_ends_a_session(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, other) = (stage.user("host").await, stage.user("other").await);
        let id = stage.live_session(&host).await.session.id;
        assert_eq!(reason(stage.sessions.end(&other, id.as_str()).await), "not_host");
        assert_eq!(reason(stage.sessions.end(&host, SessionId::generate().as_str()).await), "no_such_session");
        assert_eq!(reason(stage.sessions.end(&host, "1; drop table session").await), "no_such_session");
        assert_eq!(stage.sessions.find(&id).await.unwrap().unwrap().state, SessionState::Live);
        assert!(stage.plane.ended.lock().is_empty());
    }

    async fn list_holds_what_is_live_most_watched_first(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, other) = (stage.user("host").await, stage.user("other").await);
        let mut live = Vec::new();
        for n in 0..4_u64 {
            stage.clock.advance(Duration::from_secs(1));
            let kind = if n == 2 { SessionKind::Audio } else { SessionKind::Video };
            let category = (n < 2).then(|| "music".to_owned());
            let asked = Details { kind, category, is_private: n == 3, ..details(&n.to_string()) };
            let id = stage.sessions.create(&host.user_id, asked).await.unwrap().session.id;
            stage.sessions.follow(&id, Cause::MediaArrived, stage.clock.now(), None).await.unwrap();
            live.push(id);
        }
        stage.session(&host).await;
        let over = stage.live_session(&host).await.session.id;
        stage.sessions.end(&host, over.as_str()).await.unwrap();
        stage.sessions.follow(&live[1], Cause::MediaLost, stage.clock.now(), None).await.unwrap();
        let viewer = LiveFact::ViewerJoined {
            session_id: live[0].clone(),
            viewer_id: "v".into(),
            identity: None,
            transport: crate::presence::Transport::Hls,
            at: stage.now(),
        };
        stage.presence.tell(viewer).await;
        stage.presence.settle(&live[0]).await;

        let titles = async |filter: ActiveFilter, limit, offset| {
            let page = stage.sessions.active(filter, limit, offset).await.unwrap();
            let titles: Vec<_> = page.sessions.into_iter().map(|(session, host)| {
                assert_eq!(host.name, "host");
                session.details.title
            }).collect();
            (titles.concat(), page.total)
        };
        let nobody = ActiveFilter::default();
        assert_eq!(titles(nobody.clone(), 20, 0).await, ("021".into(), 3), "watched first, then newest");
        assert_eq!(titles(nobody.clone(), 2, 0).await, ("02".into(), 3));
        assert_eq!(titles(nobody.clone(), 2, 2).await, ("1".into(), 3));
        assert_eq!(titles(nobody.clone(), 2, 9).await, (String::new(), 3));
        let own = ActiveFilter { caller: Some(host.user_id.clone()), ..nobody.clone() };
        assert_eq!(titles(own, 20, 0).await, ("0321".into(), 4), "and the caller's own private one");
        let foreign = ActiveFilter { caller: Some(other.user_id.clone()), ..nobody.clone() };
        assert_eq!(titles(foreign, 20, 0).await.1, 3);
        let audio = ActiveFilter { kind: Some(SessionKind::Audio), ..nobody.clone() };
        assert_eq!(titles(audio, 20, 0).await, ("2".into(), 1));
        let music = ActiveFilter { category: Some("music".into()), ..nobody };
        assert_eq!(titles(music, 20, 0).await, ("01".into(), 2));
    }

    async fn unfinished_sessions_are_few_and_forgotten_ones_make_room(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, mut events) = (stage.user("host").await, stage.bus.subscribe());
        let live = stage.live_session(&host).await.session.id;
        let planned = stage.clock.now().plus(Duration::from_secs(48 * 3600));
        let later = Details { scheduled_at: Some(planned), ..details("later") };
        let planned = stage.sessions.create(&host.user_id, later).await.unwrap().session.id;
        let mut waiting = Vec::new();
        for _ in 0..8 {
            waiting.push(stage.session(&host).await.session.id);
        }
        assert_eq!(reason(stage.sessions.create(&host.user_id, details("one more")).await), "too_many_unfinished");
        assert!(matches!(next(&mut events).await, DomainEvent::SessionWentLive { .. }));

        stage.clock.advance(Duration::from_secs(25 * 3600));
        stage.sessions.create(&host.user_id, details("a day later")).await.unwrap();
        for _ in 0..8 {
            let DomainEvent::SessionEnded { session_id, stats, .. } = next(&mut events).await else {
                panic!("expected an end");
            };
            assert!(waiting.contains(&session_id));
            assert_eq!(stats.duration, 0);
        }
        for (id, state) in [(&live, SessionState::Live), (&planned, SessionState::Waiting)] {
            assert_eq!(stage.sessions.find(id).await.unwrap().unwrap().state, state);
        }
    }

    async fn joining_follows_the_rules(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, user) = (stage.user("host").await, stage.user("user").await);
        let open = stage.live_session(&host).await.session.id;
        let joined = stage.sessions.join(&guest(), open.as_str(), Role::Viewer, None).await.unwrap();
        assert!(joined.ticket.viewer.as_str().starts_with("guest_"));
        assert!(!joined.permissions.chat && !joined.permissions.send_gifts && !joined.permissions.moderate);
        let (read, expires_at) = stage.sessions.ticket(&open, &joined.token).expect("a good ticket");
        assert_eq!((read, expires_at.since(joined.at)), (joined.ticket.clone(), Duration::from_secs(3600)));
        assert!(stage.sessions.ticket(&SessionId::generate(), &joined.token).is_none(), "for this session only");

        let joined = stage.sessions.join(&caller(&user), open.as_str(), Role::Viewer, None).await.unwrap();
        assert_eq!(joined.ticket.viewer.as_str(), user.user_id.as_str());
        assert!(joined.permissions.chat && joined.permissions.request_co_host);
        assert_eq!(reason(stage.sessions.join(&caller(&user), open.as_str(), Role::CoHost, None).await), "not_approved");
        let own = stage.sessions.join(&caller(&host), open.as_str(), Role::CoHost, None).await.unwrap();
        assert!(own.permissions.moderate);

        let hidden = Details { is_private: true, max_viewers: Some(1), ..details("hidden") };
        let hidden = stage.sessions.create(&host.user_id, hidden).await.unwrap().session.id;
        for caller in [guest(), caller(&user)] {
            assert_eq!(reason(stage.sessions.join(&caller, hidden.as_str(), Role::Viewer, None).await), "private_session");
        }
        let invited = stage.sessions.join(&caller(&host), hidden.as_str(), Role::Viewer, None).await.unwrap();
        assert!(stage.sessions.visible(hidden.as_str(), None, Some(&invited.token)).await.is_ok());
        assert!(stage.sessions.visible(hidden.as_str(), None, Some(&joined.token)).await.is_err());

        for id in ["", "nothing", SessionId::generate().as_str()] {
            assert_eq!(reason(stage.sessions.join(&guest(), id, Role::Viewer, None).await), "no_such_session");
        }
        stage.sessions.end(&host, open.as_str()).await.unwrap();
        assert_eq!(reason(stage.sessions.join(&guest(), open.as_str(), Role::Viewer, None).await), "session_over");
    }

    async fn guest_who_comes_again_is_the_same_guest_and_passes_for_nobody_else(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, user) = (stage.user("host").await, stage.user("user").await);
        let (here, there) = (stage.live_session(&host).await.session.id, stage.live_session(&host).await.session.id);
        let join = async |id: &SessionId, earlier: Option<&Secret>| {
            stage.sessions.join(&guest(), id.as_str(), Role::Viewer, earlier).await.unwrap()
        };
        let first = join(&here, None).await;
        assert_eq!(join(&here, Some(&first.token)).await.ticket.viewer, first.ticket.viewer);
        assert_ne!(join(&here, None).await.ticket.viewer, first.ticket.viewer);
        assert_ne!(join(&there, Some(&first.token)).await.ticket.viewer, first.ticket.viewer, "of another session");
        let of_user = stage.sessions.join(&caller(&user), here.as_str(), Role::Viewer, None).await.unwrap();
        for ticket in [&of_user.token, &Secret::new("forged")] {
            assert_eq!(join(&here, Some(ticket)).await.ticket.viewer.user_id(), None);
        }
    }

    async fn full_session_takes_nobody_but_its_host(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, user, other) = (stage.user("host").await, stage.user("user").await, stage.user("other").await);
        let small = Details { max_viewers: Some(1), ..details("small") };
        let id = stage.sessions.create(&host.user_id, small).await.unwrap().session.id;
        stage.sessions.join(&caller(&user), id.as_str(), Role::Viewer, None).await.unwrap();
        let viewer = LiveFact::ViewerJoined {
            session_id: id.clone(),
            viewer_id: "v".into(),
            identity: Some(ViewerIdentity::User(user.user_id.clone())),
            transport: crate::presence::Transport::Whep,
            at: stage.now(),
        };
        stage.presence.tell(viewer).await;
        stage.presence.settle(&id).await;
        let join = async |who| stage.sessions.join(&who, id.as_str(), Role::Viewer, None).await;
        assert_eq!(reason(join(caller(&other)).await), "session_full");
        assert_eq!(reason(join(guest()).await), "session_full");
        assert!(join(caller(&user)).await.is_ok(), "whose place it is");
        assert!(stage.sessions.join(&caller(&host), id.as_str(), Role::Viewer, None).await.is_ok());
    }

    async fn restart_leaves_live_sessions_waiting_for_their_publisher(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let host = stage.user("host").await;
        let live = stage.live_session(&host).await.session.id;
        let waiting = stage.session(&host).await.session.id;
        let over = stage.live_session(&host).await.session.id;
        stage.sessions.end(&host, over.as_str()).await.unwrap();
        assert_eq!(stage.sessions.interrupt_all().await.unwrap(), std::slice::from_ref(&live));
        assert_eq!(stage.sessions.interrupt_all().await.unwrap(), std::slice::from_ref(&live), "until media says otherwise");
        for (id, state) in
            [(&live, SessionState::Interrupted), (&waiting, SessionState::Waiting), (&over, SessionState::Ended)]
        {
            assert_eq!(stage.sessions.find(id).await.unwrap().unwrap().state, state);
        }
    }
}
