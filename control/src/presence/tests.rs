//! Stories of viewers, from media's facts to the database and the bus, on both engines.

use std::time::Duration;

use super::{LiveFact, Transport, ViewerEntry, ViewerIdentity, channel};
use crate::both_engines;
use crate::bus::DomainEvent;
use crate::db::statements;
use crate::id::{SessionId, UserId};
use crate::session::EndReason;
use crate::testing::stage::{Stage, next};

statements! {
    WATCHED = "select watched, user_id from session_viewer where session_id = $1 and viewer_key = $2";
}

fn joined(stage: &Stage, session_id: &SessionId, viewer_id: &str, user: Option<&UserId>) -> LiveFact {
    LiveFact::ViewerJoined {
        session_id: session_id.clone(),
        viewer_id: viewer_id.into(),
        identity: user.cloned().map(ViewerIdentity::User),
        transport: Transport::Hls,
        at: stage.now(),
    }
}

fn left(stage: &Stage, session_id: &SessionId, viewer_id: &str, seconds: u64) -> LiveFact {
    let watched = Duration::from_secs(seconds);
    LiveFact::ViewerLeft { session_id: session_id.clone(), viewer_id: viewer_id.into(), watched, at: stage.now() }
}

fn snapshot(stage: &Stage, session_id: &SessionId, viewers: &[&str]) -> LiveFact {
    let entry = |viewer_id: &&str| ViewerEntry {
        viewer_id: (*viewer_id).into(),
        identity: None,
        transport: Transport::Hls,
        joined_at: stage.now(),
    };
    let viewers = viewers.iter().map(entry).collect();
    LiveFact::Audience { session_id: session_id.clone(), transport: Transport::Hls, viewers, at: stage.now() }
}

both_engines! {
    async fn viewers_are_announced_counted_and_recorded(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan) = (stage.user("host").await, stage.user("fan").await);
        let id = stage.live_session(&host).await.session.id;
        let mut events = stage.bus.subscribe();
        let fan = &fan.user_id;

        assert!(stage.presence.try_tell(joined(&stage, &id, "a", Some(fan))));
        stage.presence.tell(joined(&stage, &id, "b", None)).await;
        stage.presence.tell(joined(&stage, &id, "c", Some(fan))).await;
        stage.presence.tell(left(&stage, &id, "b", 7)).await;
        stage.presence.tell(left(&stage, &id, "a", 30)).await;
        stage.presence.settle(&id).await;

        let mut told = Vec::new();
        while told.len() < 3 {
            match next(&mut events).await {
                DomainEvent::ViewerJoined { viewer, viewer_count, .. } => told.push(("joined", viewer, viewer_count)),
                DomainEvent::ViewerLeft { viewer, viewer_count, .. } => told.push(("left", viewer, viewer_count)),
                DomainEvent::AudienceChanged { .. } => {}
                other => panic!("unexpected {other:?}"),
            }
        }
        let fan_id = fan.to_string();
        assert_eq!(told, [("joined", fan_id.clone(), 1), ("joined", "b".into(), 2), ("left", "b".into(), 1)]);
        assert_eq!(stage.presence.viewer_count(&id), 1);
        let session = stage.sessions.find(&id).await.unwrap().unwrap();
        assert_eq!((session.viewer_count, session.counters.peak_viewers, session.counters.total_viewers), (1, 2, 2));

        let mut reader = stage.db.reader().await.unwrap();
        for (key, user, seconds) in [("b", None, 7), (fan_id.as_str(), Some(fan_id.clone()), 30)] {
            let row = WATCHED.on(&mut reader).bind(&id).bind(key).one().await.unwrap();
            assert_eq!(row.column::<i64>("watched").unwrap(), seconds * 1_000_000);
            assert_eq!(row.column::<Option<String>>("user_id").unwrap(), user);
        }
    }

    async fn somebody_who_comes_back_is_no_new_viewer(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan) = (stage.user("host").await, stage.user("fan").await);
        let id = stage.live_session(&host).await.session.id;
        for viewer in ["a", "b"] {
            stage.presence.tell(joined(&stage, &id, viewer, Some(&fan.user_id))).await;
            stage.presence.tell(left(&stage, &id, viewer, 5)).await;
            // Settling empties the audience, so the second coming meets a fresh one, as after a restart.
            stage.presence.settle(&id).await;
        }
        let session = stage.sessions.find(&id).await.unwrap().unwrap();
        assert_eq!((session.viewer_count, session.counters.total_viewers), (0, 1));
    }

    async fn viewers_of_the_last_moment_are_in_the_final_stats(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let host = stage.user("host").await;
        let (ended_by_host, ended_by_media) =
            (stage.live_session(&host).await.session.id, stage.live_session(&host).await.session.id);
        for id in [&ended_by_host, &ended_by_media] {
            stage.presence.tell(joined(&stage, id, "a", None)).await;
            stage.presence.tell(joined(&stage, id, "b", None)).await;
        }
        let stats = stage.sessions.end(&host, ended_by_host.as_str()).await.unwrap();
        assert_eq!((stats.total_viewers, stats.peak_viewers), (2, 2));

        let mut events = stage.bus.subscribe();
        let (session_id, at, reason) = (ended_by_media.clone(), stage.now(), EndReason::GraceOver);
        stage.presence.tell(LiveFact::Ended { session_id, at, reason }).await;
        let stats = loop {
            if let DomainEvent::SessionEnded { stats, .. } = next(&mut events).await {
                break stats;
            }
        };
        assert_eq!((stats.total_viewers, stats.peak_viewers), (2, 2));
        stage.presence.tell(joined(&stage, &ended_by_media, "late", None)).await;
        stage.presence.settle(&ended_by_media).await;
        assert_eq!(stage.sessions.end(&host, ended_by_media.as_str()).await.unwrap(), stats, "closed counters stay");
    }

    async fn snapshot_repairs_what_was_lost(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let host = stage.user("host").await;
        let id = stage.live_session(&host).await.session.id;
        stage.presence.tell(joined(&stage, &id, "stale", None)).await;
        stage.presence.tell(snapshot(&stage, &id, &["x", "y", "z"])).await;
        stage.presence.settle(&id).await;
        assert_eq!(stage.presence.viewer_count(&id), 3);
        let session = stage.sessions.find(&id).await.unwrap().unwrap();
        assert_eq!((session.viewer_count, session.counters.total_viewers), (3, 4));
        stage.presence.tell(snapshot(&stage, &id, &[])).await;
        stage.presence.settle(&id).await;
        assert_eq!(stage.presence.viewer_count(&id), 0);
    }

    async fn facts_about_unknown_sessions_harm_nobody(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let host = stage.user("host").await;
        let (id, unknown) = (stage.session(&host).await.session.id, SessionId::generate());
        stage.presence.tell(LiveFact::WentLive { session_id: unknown.clone(), at: stage.now() }).await;
        stage.presence.tell(joined(&stage, &unknown, "v", None)).await;
        let warning = LiveFact::IngestWarning { session_id: unknown.clone(), code: "b_frames".into(), at: stage.now() };
        stage.presence.tell(warning).await;
        stage.presence.tell(joined(&stage, &id, "v", None)).await;
        stage.presence.settle(&unknown).await;
        stage.presence.settle(&id).await;
        assert_eq!(stage.sessions.find(&id).await.unwrap().unwrap().viewer_count, 1);
    }

    async fn host_is_warned_about_the_encoder(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, mut events) = (stage.user("host").await, stage.bus.subscribe());
        let session_id = stage.session(&host).await.session.id;
        let fact = LiveFact::IngestWarning { session_id, code: "b_frames".into(), at: stage.now() };
        stage.presence.tell(fact).await;
        let DomainEvent::IngestWarned { host_id, code, .. } = next(&mut events).await else { panic!("expected a warning") };
        assert_eq!((host_id, code.as_str()), (host.user_id, "b_frames"));
    }
}

#[test]
fn full_queue_refuses_at_once() {
    let (ingress, facts) = channel();
    let fact = || LiveFact::Audience {
        transport: Transport::Hls,
        session_id: SessionId::generate(),
        viewers: Vec::new(),
        at: std::time::SystemTime::UNIX_EPOCH,
    };
    let taken = std::iter::repeat_with(|| ingress.try_tell(fact())).take(100_000).take_while(|told| *told).count();
    assert!((1000..100_000).contains(&taken), "bounded at {taken}");
    drop(facts);
    assert!(!ingress.try_tell(fact()), "nobody listens");
}
