//! The chat_message table. SQL only.

use super::model::{ChatMessage, MessageKind};
use super::service::Line;
use crate::db::{Connection, DbError, Row, Transaction, statements};
use crate::id::{MessageId, SessionId, UserId};

statements! {
    /// One line, unless its author has posted it already under the same client id.
    INSERT = "insert into chat_message (message_id, session_id, user_id, kind, body, client_message_id, posted_at)
        values ($1, $2, $3, $4, $5, cast($6 as text), $7)
        on conflict (session_id, user_id, client_message_id) do nothing";
    FIND = "select chat_message.*, display_name, avatar from chat_message join user_card using (user_id)
        where message_id = $1";
    FIND_REPEATED = "select chat_message.*, display_name, avatar from chat_message join user_card using (user_id)
        where session_id = $1 and user_id = $2 and client_message_id = $3";
    /// The newest lines of a session, or the newest before a line.
    NEWEST = "select chat_message.*, display_name, avatar from chat_message join user_card using (user_id)
        where session_id = $1 and (cast($2 as text) is null or message_id < cast($2 as text))
        order by message_id desc
        limit $3";
}

/// `false` when the author has posted this line already.
pub(super) async fn insert(tx: &mut Transaction, line: &Line) -> Result<bool, DbError> {
    let rows = INSERT
        .on(tx)
        .bind(&line.id)
        .bind(&line.session_id)
        .bind(&line.author)
        .bind(line.kind.as_str())
        .bind(&line.body)
        .bind(&line.client_message_id)
        .bind(line.posted_at)
        .execute()
        .await?;
    Ok(rows > 0)
}

pub(super) async fn find(connection: &mut impl Connection, id: &MessageId) -> Result<Option<ChatMessage>, DbError> {
    FIND.on(connection).bind(id).optional().await?.as_ref().map(message_of).transpose()
}

/// The line an author posted under a client id.
pub(super) async fn find_repeated(
    connection: &mut impl Connection,
    session_id: &SessionId,
    author: &UserId,
    client_message_id: &str,
) -> Result<Option<ChatMessage>, DbError> {
    let query = FIND_REPEATED.on(connection).bind(session_id).bind(author).bind(client_message_id);
    query.optional().await?.as_ref().map(message_of).transpose()
}

/// Newest first.
pub(super) async fn newest(
    connection: &mut impl Connection,
    session_id: &SessionId,
    before: Option<&MessageId>,
    limit: i64,
) -> Result<Vec<ChatMessage>, DbError> {
    let rows = NEWEST.on(connection).bind(session_id).bind(before).bind(limit).all().await?;
    rows.iter().map(message_of).collect()
}

fn message_of(row: &Row) -> Result<ChatMessage, DbError> {
    let kind: String = row.column("kind")?;
    let kind = MessageKind::parse(&kind).ok_or(DbError::Unreadable { column: "chat_message.kind" })?;
    Ok(ChatMessage {
        id: row.column("message_id")?,
        session_id: row.column("session_id")?,
        user_id: row.column("user_id")?,
        user_name: row.column("display_name")?,
        user_avatar: row.column("avatar")?,
        body: row.column("body")?,
        kind,
        gift_id: row.column("gift_id")?,
        posted_at: row.column("posted_at")?,
        is_highlighted: kind == MessageKind::Gift,
    })
}
