//! The rules of chat and the transaction that posts a line. Publishes after commit.

use std::sync::Arc;

use super::model::{ChatMessage, MessageKind};
use super::store;
use crate::bus::{Bus, DomainEvent};
use crate::caller::{Caller, SignedIn};
use crate::clock::{Clock, Timestamp};
use crate::config::ChatConfig;
use crate::db::Database;
use crate::error::{Code, Error, Refusal, SIGN_IN, Text};
use crate::id::{MessageId, SessionId, UserId};
use crate::plain_text::{Lines, plain};
use crate::rate::Limiter;
use crate::session::Sessions;

const EMPTY: Refusal =
    Refusal::new(Code::BadRequest, "empty_message", Text::new("الرسالة فارغة", "The message is empty"));
const TOO_LONG: Refusal =
    Refusal::new(Code::BadRequest, "message_too_long", Text::new("الرسالة طويلة جدًا", "The message is too long"));
const CLOSED: Refusal = Refusal::new(
    Code::Forbidden,
    "chat_closed",
    Text::new("انتهى البث وأُغلقت الدردشة", "The session is over and its chat is closed"),
);
const GIFTS_ARE_PAID: Refusal = Refusal::new(
    Code::Forbidden,
    "gift_without_payment",
    Text::new("الهدايا تُرسل من قائمة الهدايا", "Gifts are sent from the gift list"),
);
const SLOW_DOWN: Refusal =
    Refusal::new(Code::TooManyRequests, "chat_too_fast", Text::new("أنت تكتب بسرعة كبيرة", "You are writing too fast"));
const UNKNOWN_MESSAGE: Refusal =
    Refusal::new(Code::BadRequest, "no_such_message", Text::new("الرسالة غير موجودة", "There is no such message"));

/// The chat slice. Clones share everything.
#[derive(Clone)]
pub(crate) struct Chat {
    inner: Arc<Inner>,
}

struct Inner {
    db: Database,
    bus: Bus,
    clock: Clock,
    sessions: Sessions,
    message_max: usize,
    pace: Limiter<UserId>,
}

/// A line somebody wants to post.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) session_id: String,
    pub(crate) body: String,
    pub(crate) kind: MessageKind,
    pub(crate) client_message_id: Option<String>,
}

impl Draft {
    /// An ordinary line.
    pub(crate) const fn text(session_id: String, body: String, client_message_id: Option<String>) -> Self {
        Self { session_id, body, kind: MessageKind::Text, client_message_id }
    }
}

/// A line about to be stored.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: MessageId,
    pub(super) session_id: SessionId,
    pub(super) author: UserId,
    pub(super) kind: MessageKind,
    pub(super) body: String,
    pub(super) client_message_id: Option<String>,
    pub(super) posted_at: Timestamp,
}

/// A page of history, oldest first.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) messages: Vec<ChatMessage>,
    /// Older ones exist.
    pub(crate) has_more: bool,
}

impl Chat {
    pub(crate) fn new(db: Database, bus: Bus, clock: Clock, sessions: Sessions, config: &ChatConfig) -> Self {
        let message_max = usize::try_from(config.message_max).unwrap_or(usize::MAX);
        let pace = Limiter::new(config.rate);
        Self { inner: Arc::new(Inner { db, bus, clock, sessions, message_max, pace }) }
    }

    /// Posts a line and returns it as everybody sees it.
    pub(crate) async fn send(&self, author: &SignedIn, draft: Draft) -> Result<ChatMessage, Error> {
        let Inner { db, bus, clock, sessions, .. } = &*self.inner;
        if draft.kind == MessageKind::Gift {
            return Err(GIFTS_ARE_PAID.into());
        }
        let body = self.cleaned(&draft.body)?;
        let session = sessions.visible(&draft.session_id, Some(&author.user_id), None).await?;
        if session.host_id != author.user_id {
            let paced = self.inner.pace.take(&author.user_id);
            paced.map_err(|retry_after| Error::Wait { refusal: SLOW_DOWN, retry_after })?;
        }
        let line = Line {
            id: MessageId::generate(),
            session_id: session.id,
            author: author.user_id.clone(),
            kind: draft.kind,
            body,
            client_message_id: draft.client_message_id,
            posted_at: clock.now(),
        };

        let mut tx = db.begin().await?;
        if !store::insert(&mut tx, &line).await? {
            tx.rollback().await?;
            return self.repeated(&line).await;
        }
        if !Sessions::count_message(&mut tx, &line.session_id).await? {
            return Err(CLOSED.into());
        }
        // Read back with the author's name; no name, no account any more.
        let message = store::find(&mut tx, &line.id).await?.ok_or(SIGN_IN)?;
        tx.commit().await?;
        metrics::counter!("chobi_chat_messages_total").increment(1);
        bus.publish(DomainEvent::MessagePosted(Arc::new(message.clone())));
        Ok(message)
    }

    /// The latest `limit` lines, or the latest before a line.
    pub(crate) async fn history(
        &self,
        caller: &Caller,
        session_id: &str,
        before: Option<&str>,
        limit: i64,
    ) -> Result<History, Error> {
        let session = self.inner.sessions.visible(session_id, caller.user_id(), None).await?;
        // Ids sort by time, so a line need not exist (any more) for others to be older than it.
        let before = before.map(|text| MessageId::parse(text).ok_or(UNKNOWN_MESSAGE)).transpose()?;
        let mut reader = self.inner.db.reader().await?;
        let mut messages = store::newest(&mut reader, &session.id, before.as_ref(), limit + 1).await?;
        let limit = usize::try_from(limit).unwrap_or(0);
        let has_more = messages.len() > limit;
        messages.truncate(limit);
        messages.reverse();
        Ok(History { messages, has_more })
    }

    fn cleaned(&self, body: &str) -> Result<String, Error> {
        let body = plain(body, Lines::Many);
        if body.is_empty() {
            return Err(EMPTY.into());
        }
        if body.chars().count() > self.inner.message_max {
            return Err(TOO_LONG.into());
        }
        Ok(body)
    }

    /// The first line under the same client id: whoever sends again did not hear our answer.
    async fn repeated(&self, line: &Line) -> Result<ChatMessage, Error> {
        let id = line.client_message_id.as_deref().unwrap_or_default();
        let mut reader = self.inner.db.reader().await?;
        let first = store::find_repeated(&mut reader, &line.session_id, &line.author, id).await?;
        first.ok_or_else(|| Error::Internal("a repeated message has no first".into()))
    }
}
