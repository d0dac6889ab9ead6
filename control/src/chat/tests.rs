//! Stories of chat, on both engines.

use super::service::Draft;
use super::{ChatMessage, MessageKind};
use crate::both_engines;
use crate::bus::DomainEvent;
use crate::error::{Code, Error};
use crate::id::{MessageId, SessionId};
use crate::session::Details;
use crate::testing::stage::{Stage, avatar, caller, details, guest, next};

fn draft(session_id: &SessionId, body: &str) -> Draft {
    Draft::text(session_id.to_string(), body.into(), None)
}

fn reason<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    outcome.expect_err("a refusal").reason().expect("a reason")
}

fn bodies(messages: &[ChatMessage]) -> Vec<&str> {
    messages.iter().map(|message| message.body.as_str()).collect()
}

both_engines! {
    async fn line_is_stored_counted_and_heard(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan) = (stage.user("host").await, stage.user("fan").await);
        let id = stage.live_session(&host).await.session.id;
        let mut events = stage.bus.subscribe();
        let sent = stage.chat.send(&fan, draft(&id, "مرحبا\u{202e} 👋")).await.unwrap();
        assert_eq!((sent.body.as_str(), sent.kind, sent.is_highlighted), ("مرحبا 👋", MessageKind::Text, false));
        assert_eq!((sent.user_name.as_str(), Some(sent.user_avatar.clone())), ("fan", avatar("fan")));
        assert_eq!((&sent.session_id, &sent.user_id, sent.posted_at), (&id, &fan.user_id, stage.clock.now()));
        let DomainEvent::MessagePosted(heard) = next(&mut events).await else { panic!("expected a message") };
        assert_eq!(*heard, sent);
        let history = stage.chat.history(&guest(), id.as_str(), None, 50).await.unwrap();
        assert_eq!((history.messages.as_slice(), history.has_more), ([sent].as_slice(), false));
        assert_eq!(stage.sessions.end(&host, id.as_str()).await.unwrap().total_messages, 1);
    }

    async fn history_is_walked_back_page_by_page(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let host = stage.user("host").await;
        let (id, other) = (stage.session(&host).await.session.id, stage.session(&host).await.session.id);
        let mut sent = Vec::new();
        for n in 0..5 {
            sent.push(stage.chat.send(&host, draft(&id, &n.to_string())).await.unwrap().id);
            stage.chat.send(&host, draft(&other, "elsewhere")).await.unwrap();
        }
        let page = async |before: Option<&MessageId>| {
            let before = before.map(MessageId::as_str);
            let page = stage.chat.history(&guest(), id.as_str(), before, 2).await.unwrap();
            (page.messages.into_iter().map(|message| message.body).collect::<String>(), page.has_more)
        };
        assert_eq!(page(None).await, ("34".into(), true));
        assert_eq!(page(Some(&sent[3])).await, ("12".into(), true));
        assert_eq!(page(Some(&sent[1])).await, ("0".into(), false));
        assert_eq!(page(Some(&sent[0])).await, (String::new(), false), "nothing is older than the first");
        let history = async |session_id: &str, before| stage.chat.history(&guest(), session_id, before, 2).await;
        assert_eq!(history(id.as_str(), Some("yesterday")).await.unwrap_err().code(), Code::BadRequest);
        assert_eq!(reason(history("session_x", None).await), "no_such_session");
    }

    async fn lines_that_break_a_rule_are_not_kept(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan) = (stage.user("host").await, stage.user("fan").await);
        let id = stage.live_session(&host).await.session.id;
        let hidden = Details { is_private: true, ..details("hidden") };
        let hidden = stage.sessions.create(&host.user_id, hidden).await.unwrap().session.id;
        let send = async |draft| stage.chat.send(&fan, draft).await;

        assert_eq!(reason(send(draft(&id, "\u{202e}\u{7}")).await), "empty_message");
        assert_eq!(reason(send(draft(&id, &"🌹".repeat(501))).await), "message_too_long");
        let gift = Draft { kind: MessageKind::Gift, ..draft(&id, "🌹") };
        assert_eq!(reason(send(gift).await), "gift_without_payment");
        assert_eq!(reason(send(draft(&SessionId::generate(), "hello")).await), "no_such_session");
        assert_eq!(reason(send(draft(&hidden, "hello")).await), "private_session");
        assert_eq!(reason(stage.chat.history(&caller(&fan), hidden.as_str(), None, 5).await), "private_session");
        assert!(stage.chat.history(&caller(&host), hidden.as_str(), None, 5).await.is_ok());

        send(draft(&id, &"🌹".repeat(500))).await.unwrap();
        stage.sessions.end(&host, id.as_str()).await.unwrap();
        assert_eq!(reason(stage.chat.send(&host, draft(&id, "too late")).await), "chat_closed");
        let history = stage.chat.history(&guest(), id.as_str(), None, 50).await.unwrap();
        assert_eq!(history.messages.len(), 1, "and the past stays readable");
        assert_eq!(stage.sessions.end(&host, id.as_str()).await.unwrap().total_messages, 1);
    }

    async fn fast_writer_is_slowed_and_the_host_is_not(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan) = (stage.user("host").await, stage.user("fan").await);
        let id = stage.live_session(&host).await.session.id;
        for n in 0..3 {
            stage.chat.send(&fan, draft(&id, &n.to_string())).await.unwrap();
        }
        let refused = stage.chat.send(&fan, draft(&id, "3")).await.unwrap_err();
        assert_eq!((refused.code(), refused.reason()), (Code::TooManyRequests, Some("chat_too_fast")));
        assert!(refused.retry_after().is_some_and(|wait| wait <= std::time::Duration::from_millis(1500)));
        for n in 0..10 {
            stage.chat.send(&host, draft(&id, &n.to_string())).await.unwrap();
        }
    }

    async fn sending_again_posts_nothing_new(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let (host, fan) = (stage.user("host").await, stage.user("fan").await);
        let id = stage.live_session(&host).await.session.id;
        let again = || Draft { client_message_id: Some("7f".into()), ..draft(&id, "once") };
        let retries = (0..20).map(|_| {
            let (chat, host, draft) = (stage.chat.clone(), host.clone(), again());
            tokio::spawn(async move { chat.send(&host, draft).await.unwrap() })
        });
        let mut ids = Vec::new();
        for retry in retries.collect::<Vec<_>>() {
            ids.push(retry.await.unwrap().id);
        }
        ids.dedup();
        assert_eq!(ids.len(), 1);
        stage.chat.send(&fan, again()).await.unwrap();
        let history = stage.chat.history(&guest(), id.as_str(), None, 50).await.unwrap();
        assert_eq!(bodies(&history.messages), ["once", "once"], "one each of two people");
        assert_eq!(stage.sessions.end(&host, id.as_str()).await.unwrap().total_messages, 2);
    }

    async fn many_at_once_are_all_counted(db: TestDatabase) {
        let stage = Stage::on(db).await;
        let host = stage.user("host").await;
        let id = stage.live_session(&host).await.session.id;
        let senders = (0..40).map(|n| {
            let (chat, host, draft) = (stage.chat.clone(), host.clone(), draft(&id, &n.to_string()));
            tokio::spawn(async move { chat.send(&host, draft).await.unwrap() })
        });
        for sender in senders.collect::<Vec<_>>() {
            sender.await.unwrap();
        }
        let history = stage.chat.history(&guest(), id.as_str(), None, 100).await.unwrap();
        assert_eq!(history.messages.len(), 40);
        assert_eq!(stage.sessions.end(&host, id.as_str()).await.unwrap().total_messages, 40);
    }
}
