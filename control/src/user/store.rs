//! The app_user table. SQL only.

use std::time::Duration;

use super::model::{Email, HostRecord, NewUser, Preferences, User, Username};
use crate::clock::Timestamp;
use crate::db::{Connection, DbError, Row, statements};
use crate::id::{SessionId, UserId};

statements! {
    INSERT = "insert into app_user (user_id, email, email_folded, username, display_name, password_hash, preferences,
            created_at, last_active_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $8)
        returning *";
    FIND = "select * from app_user where user_id = $1";
    /// Asked before inserting, so that both engines name the address first when address and username are taken.
    EMAIL_TAKEN = "select 1 as taken from app_user where email_folded = $1";
    FIND_BY_EMAIL = "select * from app_user where email_folded = $1";
    /// At most once a minute per user: being seen is not worth a write each time.
    SEEN = "update app_user set last_active_at = $2 where user_id = $1 and last_active_at < $2 - 60000000";
    HOST_RECORD = "select * from host_record where user_id = $1";
}

pub(super) async fn insert(
    on: &mut impl Connection,
    id: &UserId,
    new: &NewUser,
    now: Timestamp,
) -> Result<User, DbError> {
    let preferences = Preferences::in_language(new.language).to_json();
    let row = INSERT
        .on(on)
        .bind(id)
        .bind(new.email.as_typed())
        .bind(new.email.folded())
        .bind(new.username.as_str())
        .bind(new.name.as_str())
        .bind(&new.password_hash)
        .bind(preferences)
        .bind(now)
        .one()
        .await?;
    user(&row)
}

pub(super) async fn is_email_taken(on: &mut impl Connection, email: &Email) -> Result<bool, DbError> {
    Ok(EMAIL_TAKEN.on(on).bind(email.folded()).optional().await?.is_some())
}

pub(super) async fn find(on: &mut impl Connection, id: &UserId) -> Result<Option<User>, DbError> {
    FIND.on(on).bind(id).optional().await?.as_ref().map(user).transpose()
}

/// The user with that address, and the hash of their password.
pub(super) async fn find_by_email(on: &mut impl Connection, email: &Email) -> Result<Option<(User, String)>, DbError> {
    let Some(row) = FIND_BY_EMAIL.on(on).bind(email.folded()).optional().await? else { return Ok(None) };
    Ok(Some((user(&row)?, row.column("password_hash")?)))
}

pub(super) async fn seen(on: &mut impl Connection, id: &UserId, now: Timestamp) -> Result<(), DbError> {
    SEEN.on(on).bind(id).bind(now).execute().await?;
    Ok(())
}

pub(super) async fn host_record(on: &mut impl Connection, id: &UserId) -> Result<HostRecord, DbError> {
    let Some(row) = HOST_RECORD.on(on).bind(id).optional().await? else { return Ok(HostRecord::default()) };
    Ok(HostRecord {
        show_count: row.column("show_count")?,
        streamed: Duration::from_micros(row.column::<i64>("streamed_micros")?.try_into().unwrap_or(0)),
        viewers: row.column("viewers")?,
        peak_viewers: row.column("peak_viewers")?,
        current: row.column::<Option<SessionId>>("current_session_id")?,
        favorite_category: row.column("favorite_category")?,
    })
}

fn user(row: &Row) -> Result<User, DbError> {
    Ok(User {
        id: row.column("user_id")?,
        email: Email::stored(row.column("email")?),
        username: Username::stored(row.column("username")?),
        display_name: row.column("display_name")?,
        avatar: row.column("avatar")?,
        bio: row.column("bio")?,
        level: row.column("level")?,
        experience: row.column("experience")?,
        is_verified: row.column("is_verified")?,
        preferences: Preferences::from_json(&row.column::<String>("preferences")?)?,
        banned_at: row.column("banned_at")?,
        created_at: row.column("created_at")?,
        last_active_at: row.column("last_active_at")?,
    })
}
