-- How a user is shown beside what they do: the columns of app_user that other slices may join. Read by session and chat.
create view user_card as
select user_id, display_name, coalesce(avatar, '') as avatar from app_user;

-- One live show, from its creation to its end and after. Written by the session slice; presence adds the viewer figures,
-- chat and gifts count themselves in, each in the transaction of what it counts.
create table session (
    session_id text not null constraint session_session_id_key primary key,
    host_id text not null constraint session_host_id_fkey references app_user (user_id),
    -- SHA-256 of the stream key: 160 random bits need no salt, and an index must find it.
    stream_key_digest text not null,
    title text not null,
    description text,
    kind text not null constraint session_kind_check check (kind in ('video', 'audio')),
    category text,
    is_private integer not null,
    max_viewers integer,
    scheduled_at integer,
    state text not null constraint session_state_check check (state in ('waiting', 'live', 'interrupted', 'ended')),
    viewer_count integer not null default 0,
    peak_viewers integer not null default 0,
    total_viewers integer not null default 0,
    total_messages integer not null default 0,
    total_gifts integer not null default 0,
    created_at integer not null,
    started_at integer,
    ended_at integer,
    end_reason text,
    constraint session_stream_key_digest_key unique (stream_key_digest),
    constraint session_ended_check check ((state = 'ended') = (ended_at is not null))
) strict;

-- The list of live sessions, in the order it is shown.
create index session_live on session (viewer_count desc, started_at desc, session_id desc)
    where state in ('live', 'interrupted');

-- A host's unfinished sessions.
create index session_host on session (host_id, state);
