//! `chat.*`: tRPC in, service, tRPC out.

use super::model::{ChatMessage, MessageKind};
use super::service::{Chat, Draft, History};
use crate::caller::{Caller, SignedIn};
use crate::error::Error;
use crate::trpc::{Namespace, input, output};

pub(crate) fn namespace(chat: Chat) -> Namespace<Chat> {
    Namespace::new("chat", chat).mutation("sendMessage", send_message).query("getMessages", get_messages)
}

input! {
    pub(super) struct SendMessage {
        session_id "sessionId": String = text(),
        message "message": String = text().min(1).max(500),
        kind "type": MessageKind = one_of().or(MessageKind::Text),
        /// Checked as the app's contract has it, and left at that: only the server ties a gift to a line.
        #[expect(dead_code, reason = "read by the validator alone")]
        gift_id "giftId": Option<String> = text().optional(),
        /// Chosen by the client; sending it again posts nothing new.
        client_message_id "clientMessageId": Option<String> = text().min(1).max(100).optional(),
    }
}

output! {
    pub(super) struct MessageSent {
        success "success": bool,
        message "message": ChatMessage,
    }
}

async fn send_message(chat: Chat, author: SignedIn, input: SendMessage) -> Result<MessageSent, Error> {
    let SendMessage { session_id, message, kind, client_message_id, .. } = input;
    let message = chat.send(&author, Draft { session_id, body: message, kind, client_message_id }).await?;
    Ok(MessageSent { success: true, message })
}

input! {
    pub(super) struct GetMessages {
        session_id "sessionId": String = text(),
        limit "limit": i64 = integer().min(1).max(100).or(50),
        /// The id of a message: only older ones are asked for.
        before "before": Option<String> = text().optional(),
    }
}

output! {
    pub(super) struct MessagePage {
        messages "messages": Vec<ChatMessage>,
        has_more "hasMore": bool,
    }
}

async fn get_messages(chat: Chat, caller: Caller, input: GetMessages) -> Result<MessagePage, Error> {
    let GetMessages { session_id, limit, before } = input;
    let History { messages, has_more } = chat.history(&caller, &session_id, before.as_deref(), limit).await?;
    Ok(MessagePage { messages, has_more })
}
