//! The video table. SQL only.

use std::time::Duration;

use super::model::{Counters, Shown, Video, VideoState};
use crate::clock::Timestamp;
use crate::db::{Connection, DbError, Row, Transaction, statements};
use crate::id::{SessionId, UserId, VideoId};
use crate::session::{HostCard, SessionKind};

statements! {
    /// Once for each session, whoever comes first.
    BEGIN = "insert into video (video_id, session_id, user_id, title, description, category, kind, is_private, search_text,
            state, created_at, updated_at, allow_download, has_thumbnail)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12, $13)
        on conflict (session_id) do nothing";
    /// The row, held until the transaction is over.
    LOCK =
        sqlite "select * from video where session_id = $1"
        postgres "select * from video where session_id = $1 for update";
    MOVE = "update video set state = $2, duration = $3, updated_at = $4 where video_id = $1";
    SET_DOWNLOAD = "update video set allow_download = $2, updated_at = $3 where video_id = $1";
    FIND = "select video.*, display_name, avatar from video join user_card using (user_id) where video_id = $1";
    FIND_OF = "select video.*, display_name, avatar from video join user_card using (user_id) where session_id = $1";
    STATE_OF = "select state from video where session_id = $1";
    /// Newest first: public ones that can be watched, and all of the caller's own.
    RECENT = "select video.*, display_name, avatar from video join user_card using (user_id)
        where state in ('processing', 'ready', 'failed')
            and ((state = 'ready' and is_private = $1) or user_id = cast($2 as text))
            and (cast($3 as text) is null or user_id = cast($3 as text))
            and (cast($4 as text) is null or category = cast($4 as text))
            and (cast($5 as text) is null or search_text like cast($5 as text) escape '!')
        order by created_at desc, video_id desc
        limit $6 offset $7";
    /// The same, most watched first or, with `$8`, most liked and shared.
    RANKED = "select video.*, display_name, avatar from video join user_card using (user_id)
        where state in ('processing', 'ready', 'failed')
            and ((state = 'ready' and is_private = $1) or user_id = cast($2 as text))
            and (cast($3 as text) is null or user_id = cast($3 as text))
            and (cast($4 as text) is null or category = cast($4 as text))
            and (cast($5 as text) is null or search_text like cast($5 as text) escape '!')
        order by case when cast($8 as boolean) then likes + shares else views end desc, created_at desc, video_id desc
        limit $6 offset $7";
    COUNT = "select count(*) as total from video
        where state in ('processing', 'ready', 'failed')
            and ((state = 'ready' and is_private = $1) or user_id = cast($2 as text))
            and (cast($3 as text) is null or user_id = cast($3 as text))
            and (cast($4 as text) is null or category = cast($4 as text))
            and (cast($5 as text) is null or search_text like cast($5 as text) escape '!')";
    SET_THUMBNAIL = "update video set has_thumbnail = $2 where session_id = $1";
    COUNT_VIEW = "update video set views = views + 1 where video_id = $1 and state = 'ready'";
    /// What waits in a state, after `$2` in the order of ids.
    IN_STATE = "select * from video where state = $1 and state in ('processing', 'discarding', 'deleting')
            and video_id > $2
        order by video_id
        limit $3";
    /// Marks some of what is older than `$1`.
    EXPIRE = "update video set state = 'deleting', updated_at = $2
        where video_id in (select video_id from video where state in ('ready', 'failed') and created_at < $1
            order by created_at, video_id limit $3)";
}

/// Puts a video down; nothing happens when its session has one.
pub(super) async fn begin(tx: &mut Transaction, video: &Video) -> Result<(), DbError> {
    let query = BEGIN
        .on(tx)
        .bind(&video.id)
        .bind(&video.session_id)
        .bind(&video.user_id)
        .bind(&video.title)
        .bind(&video.description)
        .bind(&video.category)
        .bind(video.kind.as_str())
        .bind(video.is_private)
        .bind(video.search_text())
        .bind(video.state.as_str())
        .bind(video.created_at)
        .bind(video.allow_download)
        .bind(video.has_thumbnail);
    query.execute().await?;
    Ok(())
}

/// The video of a session, kept from others until the transaction is over.
pub(super) async fn lock(tx: &mut Transaction, session_id: &SessionId) -> Result<Option<Video>, DbError> {
    LOCK.on(tx).bind(session_id).optional().await?.as_ref().map(video_of).transpose()
}

/// Moves a locked video.
pub(super) async fn shift(
    tx: &mut Transaction,
    id: &VideoId,
    state: VideoState,
    duration: Duration,
    at: Timestamp,
) -> Result<(), DbError> {
    let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    MOVE.on(tx).bind(id).bind(state.as_str()).bind(micros).bind(at).execute().await?;
    Ok(())
}

/// Says whether others may take a locked video home.
pub(super) async fn set_download(
    tx: &mut Transaction,
    id: &VideoId,
    is_allowed: bool,
    at: Timestamp,
) -> Result<(), DbError> {
    SET_DOWNLOAD.on(tx).bind(id).bind(is_allowed).bind(at).execute().await?;
    Ok(())
}

pub(super) async fn find(connection: &mut impl Connection, id: &VideoId) -> Result<Option<Shown>, DbError> {
    FIND.on(connection).bind(id).optional().await?.as_ref().map(shown_of).transpose()
}

pub(super) async fn find_of(connection: &mut impl Connection, id: &SessionId) -> Result<Option<Shown>, DbError> {
    FIND_OF.on(connection).bind(id).optional().await?.as_ref().map(shown_of).transpose()
}

pub(super) async fn state_of(connection: &mut impl Connection, id: &SessionId) -> Result<Option<VideoState>, DbError> {
    STATE_OF.on(connection).bind(id).optional().await?.as_ref().map(state_column).transpose()
}

/// Which videos are asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub(super) caller: Option<UserId>,
    pub(super) owner: Option<String>,
    pub(super) category: Option<String>,
    /// In lower case.
    pub(super) search: Option<String>,
}

/// In which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Recent,
    MostViewed,
    MostLiked,
}

impl Filter {
    /// The search as a pattern in which nothing but our own ends is special.
    fn pattern(&self) -> Option<String> {
        let plain = |text: &String| text.replace('!', "!!").replace('%', "!%").replace('_', "!_");
        self.search.as_ref().map(|text| format!("%{}%", plain(text)))
    }
}

pub(super) async fn list(
    connection: &mut impl Connection,
    filter: &Filter,
    order: Order,
    limit: i64,
    offset: i64,
) -> Result<Vec<Shown>, DbError> {
    let statement = if order == Order::Recent { &RECENT } else { &RANKED };
    let query = statement
        .on(connection)
        .bind(false)
        .bind(&filter.caller)
        .bind(&filter.owner)
        .bind(&filter.category)
        .bind(filter.pattern())
        .bind(limit)
        .bind(offset);
    let query = if order == Order::Recent { query } else { query.bind(order == Order::MostLiked) };
    query.all().await?.iter().map(shown_of).collect()
}

pub(super) async fn count_listed(connection: &mut impl Connection, filter: &Filter) -> Result<u64, DbError> {
    let query = COUNT
        .on(connection)
        .bind(false)
        .bind(&filter.caller)
        .bind(&filter.owner)
        .bind(&filter.category)
        .bind(filter.pattern());
    count(&query.one().await?, "total")
}

pub(super) async fn set_thumbnail(tx: &mut Transaction, id: &SessionId) -> Result<(), DbError> {
    SET_THUMBNAIL.on(tx).bind(id).bind(true).execute().await?;
    Ok(())
}

pub(super) async fn count_view(tx: &mut Transaction, id: &VideoId) -> Result<(), DbError> {
    COUNT_VIEW.on(tx).bind(id).execute().await?;
    Ok(())
}

/// Videos that wait in a state, those after `after`; `""` is before all.
pub(super) async fn in_state(
    connection: &mut impl Connection,
    state: VideoState,
    after: &str,
    limit: i64,
) -> Result<Vec<Video>, DbError> {
    IN_STATE.on(connection).bind(state.as_str()).bind(after).bind(limit).all().await?.iter().map(video_of).collect()
}

/// Marks videos of shows that ended before `before` as to be deleted; how many.
pub(super) async fn expire(
    tx: &mut Transaction,
    before: Timestamp,
    now: Timestamp,
    limit: i64,
) -> Result<u64, DbError> {
    EXPIRE.on(tx).bind(before).bind(now).bind(limit).execute().await
}

fn shown_of(row: &Row) -> Result<Shown, DbError> {
    Ok((video_of(row)?, HostCard { name: row.column("display_name")?, avatar: row.column("avatar")? }))
}

fn video_of(row: &Row) -> Result<Video, DbError> {
    let kind: String = row.column("kind")?;
    Ok(Video {
        id: row.column("video_id")?,
        session_id: row.column("session_id")?,
        user_id: row.column("user_id")?,
        title: row.column("title")?,
        description: row.column("description")?,
        category: row.column("category")?,
        kind: SessionKind::parse(&kind).ok_or(DbError::Unreadable { column: "video.kind" })?,
        is_private: row.column("is_private")?,
        allow_download: row.column("allow_download")?,
        state: state_column(row)?,
        duration: Duration::from_micros(count(row, "duration")?),
        has_thumbnail: row.column("has_thumbnail")?,
        counters: Counters {
            views: count(row, "views")?,
            likes: count(row, "likes")?,
            dislikes: count(row, "dislikes")?,
            comments: count(row, "comments")?,
            shares: count(row, "shares")?,
        },
        created_at: row.column("created_at")?,
        updated_at: row.column("updated_at")?,
    })
}

fn state_column(row: &Row) -> Result<VideoState, DbError> {
    let state: String = row.column("state")?;
    VideoState::parse(&state).ok_or(DbError::Unreadable { column: "video.state" })
}

/// A column that never goes below zero.
fn count(row: &Row, column: &'static str) -> Result<u64, DbError> {
    u64::try_from(row.column::<i64>(column)?).map_err(|_| DbError::Unreadable { column })
}
