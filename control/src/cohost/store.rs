//! The co_host table. SQL only.

use super::model::{Candidate, Mute, Seat, SeatState};
use crate::clock::Timestamp;
use crate::db::{Connection, DbError, Row, Transaction, statements};
use crate::id::{SessionId, UserId};

statements! {
    SEAT = "select state, mute from co_host where session_id = $1 and user_id = $2";
    /// Under the lock on the session, so that nobody else moves the same seat or takes the last one.
    PUT = "insert into co_host (session_id, user_id, state, mute, created_at, changed_at) values ($1, $2, $3, $4, $5, $5)
        on conflict (session_id, user_id) do update
        set state = excluded.state, mute = excluded.mute, changed_at = excluded.changed_at";
    SET_MUTE = "update co_host set mute = $3 where session_id = $1 and user_id = $2";
    COUNT = "select count(*) as seats from co_host
        where session_id = $1 and state = $2 and state in ('requested', 'invited', 'approved')";
    /// Who stands there, longest first.
    IN_STATE = "select co_host.*, display_name, avatar from co_host join user_card using (user_id)
        where session_id = $1 and state = $2 and state in ('requested', 'invited', 'approved')
        order by changed_at, user_id
        limit $3";
    /// Who may ever have published there.
    EVER_SEATED = "select user_id from co_host where session_id = $1 order by user_id limit $2";
    /// Whom the host, or they themselves, have closed a private session to that goes on or ended not long ago; the latest first.
    SHUT_OUT = "select session_id, user_id from co_host join session using (session_id)
        where is_private = $1 and (session.state <> 'ended' or ended_at >= $2)
            and co_host.state in ('declined', 'removed', 'left')
        order by changed_at desc, session_id, user_id
        limit $3";
    CARD = "select display_name, avatar from user_card where user_id = $1";
}

/// A co-host as the table knows them.
#[derive(Debug, Clone)]
pub(super) struct Seated {
    pub(super) candidate: Candidate,
    pub(super) mute: Mute,
}

/// Where a user stands with a session.
pub(crate) async fn seat(
    connection: &mut impl Connection,
    session_id: &SessionId,
    user_id: &UserId,
) -> Result<Option<Seat>, DbError> {
    SEAT.on(connection).bind(session_id).bind(user_id).optional().await?.as_ref().map(seat_of).transpose()
}

/// Puts a seat into a state, at `at`.
pub(super) async fn put(
    tx: &mut Transaction,
    session_id: &SessionId,
    user_id: &UserId,
    seat: Seat,
    at: Timestamp,
) -> Result<(), DbError> {
    let Seat { state, mute } = seat;
    let query = PUT.on(tx).bind(session_id).bind(user_id).bind(state.as_str()).bind(mute.as_str()).bind(at);
    query.execute().await?;
    Ok(())
}

pub(super) async fn set_mute(
    tx: &mut Transaction,
    session_id: &SessionId,
    user_id: &UserId,
    mute: Mute,
) -> Result<(), DbError> {
    SET_MUTE.on(tx).bind(session_id).bind(user_id).bind(mute.as_str()).execute().await?;
    Ok(())
}

/// How many seats of a session are in one of the open states.
pub(super) async fn count(tx: &mut Transaction, session_id: &SessionId, state: SeatState) -> Result<i64, DbError> {
    COUNT.on(tx).bind(session_id).bind(state.as_str()).one().await?.column("seats")
}

/// The seats of a session in one of the open states, longest first.
pub(super) async fn in_state(
    connection: &mut impl Connection,
    session_id: &SessionId,
    state: SeatState,
    limit: u32,
) -> Result<Vec<Seated>, DbError> {
    let query = IN_STATE.on(connection).bind(session_id).bind(state.as_str()).bind(i64::from(limit));
    query.all().await?.iter().map(seated).collect()
}

/// How a user is shown, as somebody who stands where they do since `at`; `None` when there is no such user.
pub(super) async fn candidate(
    connection: &mut impl Connection,
    user_id: &UserId,
    at: Timestamp,
) -> Result<Option<Candidate>, DbError> {
    let row = CARD.on(connection).bind(user_id).optional().await?;
    row.map(|row| {
        let (name, avatar) = (row.column("display_name")?, row.column("avatar")?);
        Ok(Candidate { user_id: user_id.clone(), name, avatar, since: at })
    })
    .transpose()
}

/// Everybody who has had a seat in a session, in whatever state it is now.
pub(crate) async fn ever_seated(
    connection: &mut impl Connection,
    session_id: &SessionId,
    limit: u32,
) -> Result<Vec<UserId>, DbError> {
    let rows = EVER_SEATED.on(connection).bind(session_id).bind(i64::from(limit)).all().await?;
    rows.iter().map(|row| row.column("user_id")).collect()
}

/// Who had a seat in a private session, or was offered one, and has none now, the latest first. Of the sessions that are over, those
/// that ended since then.
pub(super) async fn shut_out(
    connection: &mut impl Connection,
    since: Timestamp,
    limit: u32,
) -> Result<Vec<(SessionId, UserId)>, DbError> {
    let rows = SHUT_OUT.on(connection).bind(true).bind(since).bind(i64::from(limit)).all().await?;
    rows.iter().map(|row| Ok((row.column("session_id")?, row.column("user_id")?))).collect()
}

fn seated(row: &Row) -> Result<Seated, DbError> {
    let candidate = Candidate {
        user_id: row.column("user_id")?,
        name: row.column("display_name")?,
        avatar: row.column("avatar")?,
        since: row.column("changed_at")?,
    };
    Ok(Seated { candidate, mute: seat_of(row)?.mute })
}

fn seat_of(row: &Row) -> Result<Seat, DbError> {
    let (state, mute): (String, String) = (row.column("state")?, row.column("mute")?);
    Ok(Seat {
        state: SeatState::parse(&state).ok_or(DbError::Unreadable { column: "co_host.state" })?,
        mute: Mute::parse(&mute).ok_or(DbError::Unreadable { column: "co_host.mute" })?,
    })
}
