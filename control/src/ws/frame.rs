//! The app's WebSocket protocol: plain JSON, one object per text frame.
//!
//! In: the text a client sent. Out: [`ClientFrame`]. And back: a [`ServerFrame`] becomes text, once, however many sockets
//! hear it. Driven by socket.rs (in), dispatch.rs and rooms.rs (out). Contract: `type`, `sessionId?`, `userId?`, `data`,
//! `timestamp`; frames of a room also carry `epoch` and `seq`, which old clients ignore.

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use serde::{Deserialize, Serialize};

use super::log::{Class, Position, Reach};
use crate::bus::DomainEvent;
use crate::chat::ChatMessage;
use crate::clock::Timestamp;
use crate::cohost::{Candidate, CoHostCard};
use crate::id::{SessionId, UserId};
use crate::secret::Secret;
use crate::session::SessionStats;

/// What a client may say.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub(crate) enum ClientFrame {
    /// Signs the connection in; an access token.
    Auth {
        token: Secret,
    },
    JoinSession {
        session_id: String,
        /// The ticket of `joinSession`; needed for private sessions only.
        #[serde(default, alias = "ticket")]
        token: Option<Secret>,
        /// `<epoch>.<seq>` of the last room frame the client holds.
        #[serde(default)]
        last_event_id: Option<String>,
    },
    LeaveSession {
        session_id: String,
    },
    /// The same as `chat.sendMessage`, without the round trip over HTTP. The answer is the `new_message` everyone gets.
    SendMessage {
        session_id: String,
        message: String,
        #[serde(default)]
        client_message_id: Option<String>,
    },
    Ping,
}

impl ClientFrame {
    /// `None` for anything that is not a frame we know: the contract says to ignore it and keep the connection.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// The `type` of a frame to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FrameType {
    AuthOk,
    AuthError,
    SessionJoined,
    NewMessage,
    ViewerJoined,
    ViewerLeft,
    ViewerCount,
    SessionStatus,
    SessionEnded,
    IngestWarning,
    /// The co-hosts, all of them, after every change.
    CoHosts,
    /// Who is the loudest of those on air; no `userId` means the host.
    ActiveSpeaker,
    /// Somebody asks to be a co-host; for the host.
    CoHostRequested,
    /// The host asks; for the one who is asked.
    CoHostInvited,
    /// A request or an invitation came to nothing; for whoever did not do it.
    CoHostDeclined,
    /// Also the answer to `ping`, with `data.type` `pong`: that is how the app knows it.
    Notification,
    Error,
}

/// One frame to the client.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerFrame<'a, D> {
    #[serde(rename = "type")]
    pub(crate) kind: FrameType,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_id: Option<&'a str>,
    pub(crate) data: D,
    pub(crate) timestamp: Timestamp,
    #[serde(flatten)]
    pub(crate) place: Option<Place>,
}

/// A [`Position`] on the wire.
#[derive(Debug, Serialize)]
pub(crate) struct Place {
    epoch: String,
    seq: u64,
}

impl From<Position> for Place {
    fn from(position: Position) -> Self {
        Self { epoch: format!("{:016x}", position.epoch), seq: position.seq }
    }
}

impl<D: Serialize> ServerFrame<'_, D> {
    pub(crate) fn encode(&self) -> Utf8Bytes {
        serde_json::to_string(self).expect("our frames have text keys and no failing serializers").into()
    }
}

/// The answer to `ping`.
pub(crate) fn pong(now: Timestamp) -> Utf8Bytes {
    #[derive(Serialize)]
    struct Pong {
        r#type: &'static str,
    }
    let data = Pong { r#type: "pong" };
    ServerFrame { kind: FrameType::Notification, session_id: None, user_id: None, data, timestamp: now, place: None }
        .encode()
}

/// A domain event as a room hears it.
#[derive(Debug)]
pub(crate) struct Announcement {
    pub(crate) session_id: SessionId,
    pub(crate) class: Class,
    pub(crate) reach: Reach,
    pub(crate) kind: FrameType,
    user_id: Option<String>,
    data: RoomData,
    at: Timestamp,
}

/// `data` of the frames that rooms hear.
#[derive(Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum RoomData {
    Message(Arc<ChatMessage>),
    Viewer { user_id: String, viewer_count: u64 },
    Count { viewer_count: u64 },
    Status { status: &'static str },
    Ended { session_id: SessionId, ended_at: Timestamp, stats: SessionStats },
    Warning { code: String },
    CoHosts { co_hosts: Arc<Vec<CoHostCard>> },
    Speaker { user_id: Option<UserId> },
    Candidate(Arc<Candidate>),
    Declined { user_id: UserId },
}

impl Announcement {
    /// `None`: it is not for the room's ears.
    pub(crate) fn of(event: DomainEvent) -> Option<Self> {
        use FrameType as Type;
        let ordered = |session_id, kind, data, at| Self {
            session_id,
            class: Class::Ordered,
            reach: Reach::Everyone,
            kind,
            user_id: None,
            data,
            at,
        };
        let viewer = |session_id, kind, viewer: String, viewer_count, at| Self {
            session_id,
            class: Class::BestEffort,
            reach: Reach::Everyone,
            kind,
            user_id: Some(viewer.clone()),
            data: RoomData::Viewer { user_id: viewer, viewer_count },
            at,
        };
        Some(match event {
            DomainEvent::MessagePosted(message) => Self {
                user_id: Some(message.user_id.to_string()),
                ..ordered(
                    message.session_id.clone(),
                    Type::NewMessage,
                    RoomData::Message(Arc::clone(&message)),
                    message.posted_at,
                )
            },
            DomainEvent::ViewerJoined { session_id, viewer: who, viewer_count, at } => {
                viewer(session_id, Type::ViewerJoined, who, viewer_count, at)
            }
            DomainEvent::ViewerLeft { session_id, viewer: who, viewer_count, at } => {
                viewer(session_id, Type::ViewerLeft, who, viewer_count, at)
            }
            DomainEvent::AudienceChanged { session_id, viewer_count, at } => Self {
                class: Class::BestEffort,
                ..ordered(session_id, Type::ViewerCount, RoomData::Count { viewer_count }, at)
            },
            DomainEvent::SessionWentLive { session_id, at } | DomainEvent::SessionResumed { session_id, at } => {
                ordered(session_id, Type::SessionStatus, RoomData::Status { status: "live" }, at)
            }
            DomainEvent::SessionInterrupted { session_id, at } => {
                ordered(session_id, Type::SessionStatus, RoomData::Status { status: "interrupted" }, at)
            }
            DomainEvent::SessionEnded { session_id, ended_at, stats } => {
                let data = RoomData::Ended { session_id: session_id.clone(), ended_at, stats };
                ordered(session_id, Type::SessionEnded, data, ended_at)
            }
            DomainEvent::IngestWarned { session_id, host_id, code, at } => Self {
                reach: Reach::Only(host_id),
                ..ordered(session_id, Type::IngestWarning, RoomData::Warning { code }, at)
            },
            DomainEvent::CoHostsChanged { session_id, co_hosts, at } => {
                ordered(session_id, Type::CoHosts, RoomData::CoHosts { co_hosts }, at)
            }
            DomainEvent::SpeakerChanged { session_id, co_host, at } => Self {
                class: Class::BestEffort,
                user_id: co_host.as_ref().map(ToString::to_string),
                ..ordered(session_id, Type::ActiveSpeaker, RoomData::Speaker { user_id: co_host }, at)
            },
            DomainEvent::CoHostRequested { session_id, host_id, user, at } => Self {
                reach: Reach::Only(host_id),
                user_id: Some(user.user_id.to_string()),
                ..ordered(session_id, Type::CoHostRequested, RoomData::Candidate(user), at)
            },
            DomainEvent::CoHostInvited { session_id, user_id, host, at } => Self {
                reach: Reach::Only(user_id),
                user_id: Some(host.user_id.to_string()),
                ..ordered(session_id, Type::CoHostInvited, RoomData::Candidate(host), at)
            },
            DomainEvent::CoHostDeclined { session_id, user_id, other_side, at } => Self {
                reach: Reach::Only(other_side),
                user_id: Some(user_id.to_string()),
                ..ordered(session_id, Type::CoHostDeclined, RoomData::Declined { user_id }, at)
            },
            DomainEvent::ViewerEjected { .. } => return None,
        })
    }

    /// The text every socket of the room is given.
    pub(crate) fn encode(&self, position: Position) -> Utf8Bytes {
        ServerFrame {
            kind: self.kind,
            session_id: Some(self.session_id.as_str()),
            user_id: self.user_id.as_deref(),
            data: &self.data,
            timestamp: self.at,
            place: Some(position.into()),
        }
        .encode()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::chat::MessageKind;
    use crate::id::{MessageId, UserId};

    const AT: Timestamp = Timestamp::from_micros(1_767_323_045_678_000);

    fn encode(event: DomainEvent) -> Value {
        let text = Announcement::of(event).unwrap().encode(Position { epoch: 10, seq: 3 });
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn frames_of_the_app_are_understood() {
        let parse = |value: Value| ClientFrame::parse(&value.to_string());
        assert_eq!(parse(json!({"type": "ping"})), Some(ClientFrame::Ping));
        assert_eq!(
            parse(json!({"type": "leave_session", "sessionId": "s", "userId": "ignored"})),
            Some(ClientFrame::LeaveSession { session_id: "s".into() })
        );
        assert_eq!(
            parse(json!({"type": "join_session", "sessionId": "s", "ticket": "t", "lastEventId": "1.2"})),
            Some(ClientFrame::JoinSession {
                session_id: "s".into(),
                token: Some(Secret::new("t")),
                last_event_id: Some("1.2".into())
            })
        );
    }

    #[test]
    fn anything_else_is_ignored() {
        for text in [
            "",
            "{",
            "null",
            "[]",
            "PING",
            r#"{"type":"dance"}"#,
            r#"{"type":"join_session"}"#,
            r#"{"type":"join_session","sessionId":7}"#,
            r#"{"type":"auth"}"#,
        ] {
            assert_eq!(ClientFrame::parse(text), None, "{text}");
        }
    }

    #[test]
    fn pong_travels_as_a_notification() {
        let frame: Value = serde_json::from_str(&pong(AT)).unwrap();
        assert_eq!(
            frame,
            json!({"type": "notification", "data": {"type": "pong"}, "timestamp": "2026-01-02T03:04:05.678Z"})
        );
    }

    #[test]
    fn chat_message_carries_plain_iso_dates() {
        let (session_id, user_id, id) = (SessionId::generate(), UserId::generate(), MessageId::generate());
        let message = ChatMessage {
            id: id.clone(),
            session_id: session_id.clone(),
            user_id: user_id.clone(),
            user_name: "One".into(),
            user_avatar: String::new(),
            body: "مرحبا 👋".into(),
            kind: MessageKind::Text,
            gift_id: None,
            posted_at: AT,
            is_highlighted: false,
        };
        assert_eq!(
            encode(DomainEvent::MessagePosted(Arc::new(message))),
            json!({
                "type": "new_message", "sessionId": session_id, "userId": user_id,
                "data": {
                    "id": id, "sessionId": session_id, "userId": user_id, "userName": "One", "userAvatar": "",
                    "message": "مرحبا 👋", "type": "text", "timestamp": "2026-01-02T03:04:05.678Z",
                    "isHighlighted": false,
                },
                "timestamp": "2026-01-02T03:04:05.678Z", "epoch": "000000000000000a", "seq": 3,
            })
        );
    }

    #[test]
    fn viewer_frames_name_the_viewer_and_the_count() {
        let session_id = SessionId::generate();
        let event = DomainEvent::ViewerJoined {
            session_id: session_id.clone(),
            viewer: "guest_1".into(),
            viewer_count: 4,
            at: AT,
        };
        assert_eq!(
            encode(event),
            json!({
                "type": "viewer_joined", "sessionId": session_id, "userId": "guest_1",
                "data": {"userId": "guest_1", "viewerCount": 4},
                "timestamp": "2026-01-02T03:04:05.678Z", "epoch": "000000000000000a", "seq": 3,
            })
        );
    }

    #[test]
    fn ended_session_tells_its_stats() {
        let session_id = SessionId::generate();
        let stats = SessionStats { total_viewers: 3, peak_viewers: 2, duration: 60, total_messages: 4, total_gifts: 1 };
        let frame = encode(DomainEvent::SessionEnded { session_id: session_id.clone(), ended_at: AT, stats });
        assert_eq!(frame["type"], "session_ended");
        assert_eq!(
            frame["data"],
            json!({
                "sessionId": session_id, "endedAt": "2026-01-02T03:04:05.678Z",
                "stats": {"totalViewers": 3, "peakViewers": 2, "duration": 60, "totalMessages": 4, "totalGifts": 1},
            })
        );
    }

    #[test]
    fn encoder_warning_is_for_the_host_alone() {
        let host_id = UserId::generate();
        let warned = DomainEvent::IngestWarned {
            session_id: SessionId::generate(),
            host_id: host_id.clone(),
            code: "b_frames".into(),
            at: AT,
        };
        assert_eq!(Announcement::of(warned).unwrap().reach, Reach::Only(host_id));
    }
}
