//! Logins and their refresh tokens. SQL only.

use crate::clock::Timestamp;
use crate::db::{Connection, DbError, statements};
use crate::id::{LoginId, UserId};

statements! {
    INSERT_LOGIN = "insert into login (login_id, user_id, created_at, last_used_at) values ($1, $2, $3, $3)";
    /// A refresh token with its login, the login held until the transaction ends so that two refreshes take turns.
    TOKEN =
        sqlite "select t.digest, t.parent_digest, t.state, t.expires_at, l.login_id, l.user_id, l.ended_at
            from refresh_token t join login l on l.login_id = t.login_id
            where t.digest = $1"
        postgres "select t.digest, t.parent_digest, t.state, t.expires_at, l.login_id, l.user_id, l.ended_at
            from refresh_token t join login l on l.login_id = t.login_id
            where t.digest = $1
            for update of l";
    INSERT_TOKEN = "insert into refresh_token (digest, login_id, parent_digest, state, created_at, expires_at)
        values ($1, $2, cast($3 as text), 'open', $4, $5)";
    MARK_USED = "update refresh_token set state = 'used' where digest = $1";
    /// The token this one came from, and its sisters: using one settles which of them was received.
    BURY = "update refresh_token set state = 'dead'
        where login_id = $1 and digest <> $2
            and (digest = cast($3 as text) or (parent_digest = cast($3 as text) and cast($3 as text) is not null))";
    /// Children of a token that was asked for again and again: the newest seven stay.
    DROP_SPARE = "delete from refresh_token
        where parent_digest = $1 and state = 'open' and digest not in (
            select digest from refresh_token
            where parent_digest = $1 and state = 'open'
            order by created_at desc, digest
            limit 7
        )";
    TOUCH_LOGIN = "update login set last_used_at = $2 where login_id = $1";
    END_LOGIN = "update login set ended_at = $2, end_reason = $3 where login_id = $1 and ended_at is null";
    /// Logins nobody can go on with: their last token has expired.
    DROP_OLD_LOGINS = "delete from login where user_id = $1 and last_used_at < $2";
    DROP_TOKENS = "delete from refresh_token where login_id = $1";
    /// What has expired proves nothing any more.
    DROP_EXPIRED = "delete from refresh_token where login_id = $1 and expires_at <= $2";
}

/// A refresh token as it is known here.
#[derive(Debug)]
pub(super) struct StoredToken {
    pub(super) digest: String,
    pub(super) parent: Option<String>,
    pub(super) is_dead: bool,
    pub(super) expires_at: Timestamp,
    pub(super) login_id: LoginId,
    pub(super) user_id: UserId,
    pub(super) login_is_over: bool,
}

/// A refresh token to be given out.
#[derive(Debug)]
pub(super) struct NewToken<'a> {
    pub(super) digest: &'a str,
    pub(super) parent: Option<&'a str>,
    pub(super) created_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

/// Also forgets the user's logins that were last used before `expired`.
pub(super) async fn insert_login(
    on: &mut impl Connection,
    login: &LoginId,
    user: &UserId,
    now: Timestamp,
    expired: Timestamp,
) -> Result<(), DbError> {
    DROP_OLD_LOGINS.on(on).bind(user).bind(expired).execute().await?;
    INSERT_LOGIN.on(on).bind(login).bind(user).bind(now).execute().await.map(drop)
}

pub(super) async fn token(on: &mut impl Connection, digest: &str) -> Result<Option<StoredToken>, DbError> {
    let Some(row) = TOKEN.on(on).bind(digest).optional().await? else { return Ok(None) };
    Ok(Some(StoredToken {
        digest: row.column("digest")?,
        parent: row.column("parent_digest")?,
        is_dead: row.column::<String>("state")? == "dead",
        expires_at: row.column("expires_at")?,
        login_id: row.column("login_id")?,
        user_id: row.column("user_id")?,
        login_is_over: row.column::<Option<Timestamp>>("ended_at")?.is_some(),
    }))
}

pub(super) async fn insert_token(
    on: &mut impl Connection,
    login: &LoginId,
    token: NewToken<'_>,
) -> Result<(), DbError> {
    let NewToken { digest, parent, created_at, expires_at } = token;
    let query = INSERT_TOKEN.on(on).bind(digest).bind(login).bind(parent).bind(created_at).bind(expires_at);
    query.execute().await.map(drop)
}

/// `token` is the one its holder goes on with: what it replaced is dead from now on.
pub(super) async fn settle_on(on: &mut impl Connection, token: &StoredToken, now: Timestamp) -> Result<(), DbError> {
    MARK_USED.on(on).bind(&token.digest).execute().await?;
    if token.parent.is_some() {
        BURY.on(on).bind(&token.login_id).bind(&token.digest).bind(&token.parent).execute().await?;
    }
    DROP_SPARE.on(on).bind(&token.digest).execute().await?;
    DROP_EXPIRED.on(on).bind(&token.login_id).bind(now).execute().await?;
    TOUCH_LOGIN.on(on).bind(&token.login_id).bind(now).execute().await.map(drop)
}

/// Whether the login was still going on.
pub(super) async fn end_login(
    on: &mut impl Connection,
    login: &LoginId,
    now: Timestamp,
    reason: &'static str,
) -> Result<bool, DbError> {
    let ended = END_LOGIN.on(on).bind(login).bind(now).bind(reason).execute().await?;
    // The tokens stay while theft is what ended it: their return must still be told from a token nobody knows.
    if reason == "logout" {
        DROP_TOKENS.on(on).bind(login).execute().await?;
    }
    Ok(ended > 0)
}
