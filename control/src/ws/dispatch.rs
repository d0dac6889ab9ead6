//! One conversation: who is at the other end of a socket, in which rooms, and what each frame asks of which service.
//!
//! In: the text of a frame. Out: at most one reply; what everybody hears comes through the rooms. Driven by socket.rs.
//! Unknown frames are ignored and guests may listen, as the contract says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::Utf8Bytes;
use serde::Serialize;
use tokio::sync::Notify;

use super::Ws;
use super::frame::{ClientFrame, FrameType, ServerFrame, pong};
use super::gate::UserGuard;
use super::log::{Position, Read};
use super::pace::{Pace, Verdict};
use super::rooms::Membership;
use super::socket::Ending;
use crate::caller::{Caller, Identity, SignedIn};
use crate::chat::Draft;
use crate::error::{Code, Error, Refusal, SIGN_IN, TOO_OFTEN, Text};
use crate::id::{SessionId, UserId};
use crate::secret::Secret;
use crate::session::PRIVATE;

const TOO_MANY_ROOMS: Refusal = Refusal::new(
    Code::BadRequest,
    "too_many_rooms",
    Text::new("انضممت إلى عدد كبير من البثوث", "This connection is in too many sessions"),
);

/// What one socket is about.
pub(super) struct Conversation {
    ws: Arc<Ws>,
    caller: Caller,
    /// Held while a user is signed in on this socket.
    signed_in: Option<UserGuard>,
    /// What signed them in; looked at again before it is relied on, because a socket may outlive it.
    token: Option<Secret>,
    /// At most `rooms_per_socket`; more are refused.
    seats: BTreeMap<SessionId, Membership>,
    wake: Arc<Notify>,
    pace: Pace,
}

impl Conversation {
    pub(super) fn new(ws: Arc<Ws>, caller: Caller, wake: Arc<Notify>, now: Instant) -> Self {
        let pace = Pace::new(ws.config.commands, ABUSE_PATIENCE, now);
        Self { ws, caller, signed_in: None, token: None, seats: BTreeMap::new(), wake, pace }
    }

    /// Answers one frame. An error is the end of the socket.
    pub(super) async fn hear(&mut self, text: &str, now: Instant) -> Result<Option<Utf8Bytes>, Ending> {
        match self.pace.take(now) {
            Verdict::Accepted => {}
            Verdict::Refused => return Ok(Some(self.refusal(None, &TOO_OFTEN.into()))),
            Verdict::RefusedSilently => return Ok(None),
            Verdict::Abusive => return Err(Ending::Abusive),
        }
        let Some(frame) = ClientFrame::parse(text) else { return Ok(None) };
        Ok(match frame {
            ClientFrame::Ping => Some(pong(self.ws.clock.now())),
            ClientFrame::Auth { token } => Some(self.sign_in(&token)?),
            ClientFrame::JoinSession { session_id, token, last_event_id } => {
                let seen = last_event_id.as_deref().and_then(Position::parse);
                Some(self.join(&session_id, token.as_ref(), seen, now).await)
            }
            ClientFrame::LeaveSession { session_id } => {
                SessionId::parse(&session_id).and_then(|id| self.seats.remove(&id));
                None
            }
            ClientFrame::SendMessage { session_id, message, client_message_id } => {
                self.check_token();
                let draft = Draft::text(session_id.clone(), message, client_message_id);
                let posted = match SignedIn::try_from(self.caller.clone()) {
                    Ok(author) => self.ws.chat.send(&author, draft).await.map(drop),
                    Err(anonymous) => Err(anonymous),
                };
                posted.err().map(|error| self.refusal(Some(&session_id), &error))
            }
        })
    }

    /// Signs this socket in, or says why not.
    pub(super) fn sign_in(&mut self, token: &Secret) -> Result<Utf8Bytes, Ending> {
        let Identity::User(user) = self.ws.callers.identify(token.reveal()) else {
            let data = ErrorData::of(&SIGN_IN.into(), &self.caller);
            return Ok(self.reply(FrameType::AuthError, None, data, None));
        };
        if self.caller.user_id() != Some(&user.user_id) {
            // The old seat is given back first: a socket never counts twice.
            self.signed_in = None;
            let Some(guard) = self.ws.gate.sign_in(&user.user_id) else { return Err(Ending::TooManyOfUser) };
            self.signed_in = Some(guard);
        }
        self.token = Some(token.clone());
        self.caller.language = user.language;
        self.caller.identity = Identity::User(user);
        let user_id = self.caller.user_id().cloned().expect("just signed in");
        tracing::Span::current().record("user.id", user_id.as_str());
        Ok(self.reply(FrameType::AuthOk, None, SignedInData { user_id }, None))
    }

    /// Signs this socket out if its token no longer holds; the client may show a fresh one at any time.
    fn check_token(&mut self) {
        if let Some(token) = &self.token {
            self.caller.identity = self.ws.callers.identify(token.reveal());
            if self.caller.user_id().is_none() {
                (self.token, self.signed_in) = (None, None);
            }
        }
    }

    /// Takes a seat in a room, or says why not. Joining again takes a new seat.
    pub(super) async fn join(
        &mut self,
        session_id: &str,
        ticket: Option<&Secret>,
        seen: Option<Position>,
        now: Instant,
    ) -> Utf8Bytes {
        self.check_token();
        let (session, owner) = match self.ws.sessions.visible_to(session_id, self.caller.user_id(), ticket).await {
            Ok(visible) => visible,
            Err(error) => return self.refusal(Some(session_id), &error),
        };
        if self.seats.len() >= self.ws.config.rooms_per_socket && !self.seats.contains_key(&session.id) {
            return self.refusal(Some(session_id), &TOO_MANY_ROOMS.into());
        }
        let mut seat = self.ws.rooms.join(session.id.clone(), Arc::clone(&self.wake), seen, now);
        if let Some(user_id) = owner {
            seat.only_for(user_id.clone());
            // Asked once more: the order to take the seat away may have come before there was one.
            match self.ws.sessions.is_open_to(&session, Some(&user_id)).await {
                Ok(true) => {}
                Ok(false) => return self.refusal(Some(session_id), &PRIVATE.into()),
                Err(error) => return self.refusal(Some(session_id), &error),
            }
        }
        let data = JoinedData {
            viewer_count: self.ws.presence.viewer_count(&session.id),
            status: session.state.public().as_str(),
            recovered: seat.resumed(),
        };
        let ack = self.reply(FrameType::SessionJoined, Some(session_id), data, Some(seat.position()));
        self.seats.insert(session.id, seat);
        ack
    }

    /// Takes up to `max` frames from the rooms, each in its own order, and one for each seat that was taken away.
    pub(super) fn read(&mut self, max: usize, out: &mut Vec<Utf8Bytes>) -> Read {
        for (session_id, _) in self.seats.extract_if(.., |_, seat| seat.is_out()).collect::<Vec<_>>() {
            out.push(self.refusal(Some(session_id.as_str()), &PRIVATE.into()));
        }
        let reader = self.caller.user_id();
        for seat in self.seats.values_mut() {
            match seat.read(reader, max, out) {
                Read::Complete => {}
                unfinished @ (Read::More | Read::Lost) => return unfinished,
            }
        }
        Read::Complete
    }

    fn refusal(&self, session_id: Option<&str>, error: &Error) -> Utf8Bytes {
        if error.is_ours() {
            tracing::error!(%error, "a socket's request failed");
        }
        self.reply(FrameType::Error, session_id, ErrorData::of(error, &self.caller), None)
    }

    fn reply<D: Serialize>(
        &self,
        kind: FrameType,
        session_id: Option<&str>,
        data: D,
        at: Option<Position>,
    ) -> Utf8Bytes {
        let user_id = None;
        let timestamp = self.ws.clock.now();
        ServerFrame { kind, session_id, user_id, data, timestamp, place: at.map(Into::into) }.encode()
    }
}

/// How long a socket may send faster than allowed before it is closed. Long enough for a clumsy client to be told ten
/// times.
const ABUSE_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignedInData {
    user_id: UserId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JoinedData {
    viewer_count: u64,
    status: &'static str,
    /// `true`: what was missed follows. `false`: the room starts here, fetch the recent messages.
    recovered: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorData {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl ErrorData {
    fn of(error: &Error, caller: &Caller) -> Self {
        Self {
            code: error.code().name(),
            reason: error.reason(),
            message: error.public(caller.language).into_owned(),
            retry_after_ms: error.retry_after().map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::ws::Utf8Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::caller::{CallerReader, UserIdentity};
    use crate::config::WsConfig;
    use crate::testing::TestDatabase;
    use crate::testing::stage::{Stage, guest};
    use crate::ws::Services;

    fn parse(reply: Option<Utf8Bytes>) -> Value {
        serde_json::from_str(&reply.expect("a reply")).expect("frames are JSON")
    }

    #[tokio::test]
    async fn socket_that_outlives_its_token_is_signed_out() {
        let stage = Stage::on(TestDatabase::sqlite().await).await;
        let host = stage.user("host").await;
        let session_id = stage.session(&host).await.session.id;
        let services = Services {
            callers: CallerReader::new(stage.tokens.clone(), Vec::new()),
            sessions: stage.sessions.clone(),
            chat: stage.chat.clone(),
            presence: stage.presence.clone(),
            clock: stage.clock.clone(),
        };
        let ws = Ws::new(WsConfig::default(), services);
        let now = Instant::now();
        let mut conversation = Conversation::new(ws, guest(), Arc::default(), now);
        let identity = UserIdentity { user_id: host.user_id, login_id: host.login_id, language: host.language };
        let (token, expires_at) = stage.tokens.issue(&identity, stage.clock.now()).expect("a token");
        let auth = json!({"type": "auth", "token": token.reveal()}).to_string();
        let send = json!({"type": "send_message", "sessionId": session_id, "message": "hello"}).to_string();
        assert_eq!(parse(conversation.hear(&auth, now).await.unwrap())["type"], "auth_ok");
        assert_eq!(conversation.hear(&send, now).await, Ok(None), "heard through the room");

        stage.clock.advance(expires_at.since(stage.clock.now()));
        assert_eq!(parse(conversation.hear(&send, now).await.unwrap())["data"]["code"], "UNAUTHORIZED");
        assert_eq!(conversation.caller.user_id(), None);
        assert_eq!(parse(conversation.hear(&auth, now).await.unwrap())["type"], "auth_error");
        let (fresh, _) = stage.tokens.issue(&identity, stage.clock.now()).expect("a token");
        let auth = json!({"type": "auth", "token": fresh.reveal()}).to_string();
        assert_eq!(parse(conversation.hear(&auth, now).await.unwrap())["type"], "auth_ok");
        assert_eq!(conversation.hear(&send, now).await, Ok(None));
    }
}
