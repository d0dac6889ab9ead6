//! The session table and its viewers. SQL only: no rule lives here beyond what one statement can guard.

use std::time::Duration;

use super::model::{Counters, Details, EndReason, HostCard, Session, SessionKind, SessionState};
use crate::clock::Timestamp;
use crate::db::{Connection, DbError, Row, Transaction, statements};
use crate::id::{SessionId, UserId};

statements! {
    /// A new session, unless its host has `$12` unfinished ones. Two calls at the same instant may exceed that by one.
    INSERT = "insert into session (session_id, host_id, stream_key_digest, title, description, kind, category, is_private,
            max_viewers, scheduled_at, state, created_at, is_recorded, allow_download)
        select $1, $2, $3, $4, cast($5 as text), $6, cast($7 as text), cast($8 as boolean), cast($9 as bigint),
            cast($10 as bigint), 'waiting', cast($11 as bigint), cast($13 as boolean),
            cast($14 as boolean)
        where (select count(*) from session where host_id = $2 and state <> 'ended') < $12
        returning *";
    FIND = "select * from session where session_id = $1";
    FIND_BY_KEY = "select * from session where stream_key_digest = $1";
    /// The row, held until the transaction is over. SQLite has one writer at a time anyway.
    LOCK =
        sqlite "select * from session where session_id = $1"
        postgres "select * from session where session_id = $1 for update";
    MOVE = "update session set state = $2, started_at = coalesce(started_at, cast($3 as bigint)),
            ended_at = cast($4 as bigint), end_reason = cast($5 as text),
            viewer_count = case when $2 = 'ended' then 0 else viewer_count end
        where session_id = $1
        returning *";
    /// Sessions of one host that waited in vain since before `$2`.
    ABANDON = "update session set state = 'ended', ended_at = $3, end_reason = 'abandoned'
        where host_id = $1 and state = 'waiting' and created_at < $2 and coalesce(scheduled_at, created_at) < $2
        returning *";
    SET_KEY = "update session set stream_key_digest = $2 where session_id = $1 and state <> 'ended' returning *";
    UNFINISHED_OF = "select * from session where host_id = $1 and state <> 'ended' order by session_id desc limit $2";
    /// What is live, most watched first; public ones, and the caller's own.
    ACTIVE = "select session.*, display_name, avatar from session join user_card on user_id = host_id
        where state in ('live', 'interrupted')
            and (is_private = $1 or host_id = cast($2 as text))
            and (cast($3 as text) is null or kind = cast($3 as text))
            and (cast($4 as text) is null or category = cast($4 as text))
        order by viewer_count desc, started_at desc, session_id desc
        limit $5 offset $6";
    COUNT_ACTIVE = "select count(*) as total from session
        where state in ('live', 'interrupted')
            and (is_private = $1 or host_id = cast($2 as text))
            and (cast($3 as text) is null or kind = cast($3 as text))
            and (cast($4 as text) is null or category = cast($4 as text))";
    HOST_CARD = "select display_name, avatar from user_card where user_id = $1";
    SET_THUMBNAIL = "update session set has_thumbnail = $2 where session_id = $1";
    /// After a restart nobody watches and nobody publishes, whatever the rows say.
    INTERRUPT_ALL = "update session set state = 'interrupted', viewer_count = 0
        where state in ('live', 'interrupted')
        returning session_id";
    /// Counts one message into a session that still takes them.
    COUNT_MESSAGE = "update session set total_messages = total_messages + 1
        where session_id = $1 and state <> 'ended'
        returning session_id";
    /// Where the audience of a session that goes on stands now.
    SET_AUDIENCE = "update session set viewer_count = $2,
            peak_viewers = case when peak_viewers < $3 then $3 else peak_viewers end,
            total_viewers = total_viewers + $4
        where session_id = $1 and state <> 'ended'";
    ADD_VIEWER = "insert into session_viewer (session_id, viewer_key, user_id, joined_at, last_seen_at)
        select session_id, $2, cast($3 as text), cast($4 as bigint), cast($4 as bigint) from session where session_id = $1
        on conflict do nothing";
    ADD_WATCHED = "update session_viewer set watched = watched + $3, last_seen_at = $4
        where session_id = $1 and viewer_key = $2";
}

/// Puts a new session down; `None` when the host has `unfinished_max` already.
pub(super) async fn insert(
    tx: &mut Transaction,
    session: &Session,
    stream_key_digest: &str,
    unfinished_max: u32,
) -> Result<Option<Session>, DbError> {
    let details = &session.details;
    let row = INSERT
        .on(tx)
        .bind(&session.id)
        .bind(&session.host_id)
        .bind(stream_key_digest)
        .bind(&details.title)
        .bind(&details.description)
        .bind(details.kind.as_str())
        .bind(&details.category)
        .bind(details.is_private)
        .bind(details.max_viewers.map(i64::from))
        .bind(details.scheduled_at)
        .bind(session.created_at)
        .bind(i64::from(unfinished_max))
        .bind(details.is_recorded)
        .bind(details.allow_download)
        .optional()
        .await?;
    row.as_ref().map(session_of).transpose()
}

pub(super) async fn find(connection: &mut impl Connection, id: &SessionId) -> Result<Option<Session>, DbError> {
    FIND.on(connection).bind(id).optional().await?.as_ref().map(session_of).transpose()
}

pub(super) async fn find_by_key(connection: &mut impl Connection, digest: &str) -> Result<Option<Session>, DbError> {
    FIND_BY_KEY.on(connection).bind(digest).optional().await?.as_ref().map(session_of).transpose()
}

/// Reads a session and keeps others from moving it until the transaction ends.
pub(super) async fn lock(tx: &mut Transaction, id: &SessionId) -> Result<Option<Session>, DbError> {
    LOCK.on(tx).bind(id).optional().await?.as_ref().map(session_of).transpose()
}

/// Moves a locked session to `state` at `at`.
pub(super) async fn shift(
    tx: &mut Transaction,
    id: &SessionId,
    state: SessionState,
    at: Timestamp,
    reason: Option<EndReason>,
) -> Result<Session, DbError> {
    let row = MOVE
        .on(tx)
        .bind(id)
        .bind(state.as_str())
        .bind((state == SessionState::Live).then_some(at))
        .bind((state == SessionState::Ended).then_some(at))
        .bind(reason.map(EndReason::as_str))
        .one()
        .await?;
    session_of(&row)
}

pub(super) async fn abandon(
    tx: &mut Transaction,
    host_id: &UserId,
    since_before: Timestamp,
    now: Timestamp,
) -> Result<Vec<Session>, DbError> {
    let rows = ABANDON.on(tx).bind(host_id).bind(since_before).bind(now).all().await?;
    rows.iter().map(session_of).collect()
}

/// Gives an unfinished session another key.
pub(super) async fn set_key(
    tx: &mut Transaction,
    id: &SessionId,
    stream_key_digest: &str,
) -> Result<Option<Session>, DbError> {
    SET_KEY.on(tx).bind(id).bind(stream_key_digest).optional().await?.as_ref().map(session_of).transpose()
}

/// How a host is shown; `None` when there is no such user.
pub(super) async fn host_card(connection: &mut impl Connection, id: &UserId) -> Result<Option<HostCard>, DbError> {
    HOST_CARD.on(connection).bind(id).optional().await?.as_ref().map(host_card_of).transpose()
}

/// A host's sessions that have not ended, newest first.
pub(super) async fn unfinished_of(
    connection: &mut impl Connection,
    host_id: &UserId,
    limit: u32,
) -> Result<Vec<Session>, DbError> {
    let rows = UNFINISHED_OF.on(connection).bind(host_id).bind(i64::from(limit)).all().await?;
    rows.iter().map(session_of).collect()
}

/// Which of the live sessions are asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct ActiveFilter {
    pub(super) caller: Option<UserId>,
    pub(super) kind: Option<SessionKind>,
    pub(super) category: Option<String>,
}

pub(super) async fn active(
    connection: &mut impl Connection,
    filter: &ActiveFilter,
    limit: i64,
    offset: i64,
) -> Result<Vec<(Session, HostCard)>, DbError> {
    let rows = ACTIVE
        .on(connection)
        .bind(false)
        .bind(&filter.caller)
        .bind(filter.kind.map(SessionKind::as_str))
        .bind(&filter.category)
        .bind(limit)
        .bind(offset)
        .all()
        .await?;
    rows.iter().map(|row| Ok((session_of(row)?, host_card_of(row)?))).collect()
}

pub(super) async fn count_active(connection: &mut impl Connection, filter: &ActiveFilter) -> Result<u64, DbError> {
    let row = COUNT_ACTIVE
        .on(connection)
        .bind(false)
        .bind(&filter.caller)
        .bind(filter.kind.map(SessionKind::as_str))
        .bind(&filter.category)
        .one()
        .await?;
    count(&row, "total")
}

pub(super) async fn set_thumbnail(tx: &mut Transaction, id: &SessionId) -> Result<(), DbError> {
    SET_THUMBNAIL.on(tx).bind(id).bind(true).execute().await?;
    Ok(())
}

/// Marks everything that was live as interrupted and says what that was.
pub(super) async fn interrupt_all(tx: &mut Transaction) -> Result<Vec<SessionId>, DbError> {
    INTERRUPT_ALL.on(tx).all().await?.iter().map(|row| row.column("session_id")).collect()
}

/// `false` when there is no such session or it has ended.
pub(super) async fn count_message(tx: &mut Transaction, id: &SessionId) -> Result<bool, DbError> {
    Ok(COUNT_MESSAGE.on(tx).bind(id).optional().await?.is_some())
}

pub(super) async fn set_audience(
    tx: &mut Transaction,
    id: &SessionId,
    viewer_count: u64,
    peak: u64,
    new_viewers: u64,
) -> Result<(), DbError> {
    SET_AUDIENCE
        .on(tx)
        .bind(id)
        .bind(signed(viewer_count))
        .bind(signed(peak))
        .bind(signed(new_viewers))
        .execute()
        .await?;
    Ok(())
}

/// `true` for a person the session had not seen before.
pub(super) async fn add_viewer(
    tx: &mut Transaction,
    id: &SessionId,
    viewer_key: &str,
    user_id: Option<&UserId>,
    at: Timestamp,
) -> Result<bool, DbError> {
    Ok(ADD_VIEWER.on(tx).bind(id).bind(viewer_key).bind(user_id).bind(at).execute().await? > 0)
}

pub(super) async fn add_watched(
    tx: &mut Transaction,
    id: &SessionId,
    viewer_key: &str,
    watched: Duration,
    at: Timestamp,
) -> Result<(), DbError> {
    let micros = i64::try_from(watched.as_micros()).unwrap_or(i64::MAX);
    ADD_WATCHED.on(tx).bind(id).bind(viewer_key).bind(micros).bind(at).execute().await?;
    Ok(())
}

fn session_of(row: &Row) -> Result<Session, DbError> {
    let kind: String = row.column("kind")?;
    let state: String = row.column("state")?;
    let max_viewers: Option<i64> = row.column("max_viewers")?;
    Ok(Session {
        id: row.column("session_id")?,
        host_id: row.column("host_id")?,
        details: Details {
            title: row.column("title")?,
            description: row.column("description")?,
            kind: SessionKind::parse(&kind).ok_or(DbError::Unreadable { column: "session.kind" })?,
            category: row.column("category")?,
            is_private: row.column("is_private")?,
            max_viewers: max_viewers.map(|max| u32::try_from(max).unwrap_or(u32::MAX)),
            scheduled_at: row.column("scheduled_at")?,
            is_recorded: row.column("is_recorded")?,
            allow_download: row.column("allow_download")?,
        },
        state: SessionState::parse(&state).ok_or(DbError::Unreadable { column: "session.state" })?,
        viewer_count: count(row, "viewer_count")?,
        counters: Counters {
            total_viewers: count(row, "total_viewers")?,
            peak_viewers: count(row, "peak_viewers")?,
            total_messages: count(row, "total_messages")?,
            total_gifts: count(row, "total_gifts")?,
        },
        has_thumbnail: row.column("has_thumbnail")?,
        created_at: row.column("created_at")?,
        started_at: row.column("started_at")?,
        ended_at: row.column("ended_at")?,
    })
}

fn host_card_of(row: &Row) -> Result<HostCard, DbError> {
    Ok(HostCard { name: row.column("display_name")?, avatar: row.column("avatar")? })
}

/// A counter column; the statements above never take one below zero.
fn count(row: &Row, column: &'static str) -> Result<u64, DbError> {
    u64::try_from(row.column::<i64>(column)?).map_err(|_| DbError::Unreadable { column })
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
