-- One person who watched one session, written by presence about a second after they came. The number of rows of a
-- session is its unique viewers. `viewer_key` is a user id, a guest id or, without either, the id of the connection.
create table session_viewer (
    session_id text not null constraint session_viewer_session_id_fkey references session (session_id),
    viewer_key text not null,
    user_id text,
    joined_at integer not null,
    last_seen_at integer not null,
    -- Microseconds of media received, over all of this person's viewings that are over.
    watched integer not null default 0,
    constraint session_viewer_session_id_viewer_key_key primary key (session_id, viewer_key)
) strict, without rowid;
