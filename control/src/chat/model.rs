//! What a chat message is.

use crate::clock::Timestamp;
use crate::id::{MessageId, SessionId, UserId};
use crate::trpc::{choices, output};

choices! {
    /// What kind of line it is.
    pub(crate) enum MessageKind {
        Text = "text",
        Emoji = "emoji",
        /// Made by the server when a gift was paid for, never by a client.
        Gift = "gift",
    }
}

output! {
    /// A line of chat as everybody sees it: the same shape in answers and in `new_message`.
    #[derive(PartialEq, Eq)]
    pub(crate) struct ChatMessage {
        id "id": MessageId,
        session_id "sessionId": SessionId,
        user_id "userId": UserId,
        user_name "userName": String,
        user_avatar "userAvatar": String,
        body "message": String,
        kind "type": MessageKind,
        gift_id "giftId": Option<String>,
        posted_at "timestamp": Timestamp,
        /// True exactly for gifts.
        is_highlighted "isHighlighted": bool,
    }
}
