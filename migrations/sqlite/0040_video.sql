-- Whether what a session sends is kept for a replay. What ended before this step was.
alter table session add column is_recorded integer not null default 1;

-- The recording of one show, from the end of the show on: what became of it and, while it can be watched, its card and its
-- counters. Written by the video slice. A row outlives its recording: it is how nobody makes the same one again.
create table video (
    video_id text not null constraint video_video_id_key primary key,
    session_id text not null constraint video_session_id_fkey references session (session_id),
    user_id text not null constraint video_user_id_fkey references app_user (user_id),
    title text not null,
    description text,
    category text,
    kind text not null constraint video_kind_check check (kind in ('video', 'audio')),
    is_private integer not null,
    -- Title and description in lower case, as a search compares them.
    search_text text not null,
    state text not null constraint video_state_check
        check (state in ('processing', 'discarding', 'ready', 'failed', 'deleting', 'gone')),
    -- Of what was recorded, in microseconds.
    duration integer not null default 0,
    views integer not null default 0,
    likes integer not null default 0,
    dislikes integer not null default 0,
    comments integer not null default 0,
    shares integer not null default 0,
    -- When the show ended.
    created_at integer not null,
    updated_at integer not null,
    constraint video_session_id_key unique (session_id)
) strict;

-- What is listed, newest first; and one owner's.
create index video_listed on video (created_at desc, video_id desc) where state in ('processing', 'ready', 'failed');
create index video_listed_of on video (user_id, created_at desc, video_id desc)
    where state in ('processing', 'ready', 'failed');

-- What media owes an answer about.
create index video_open on video (state, video_id) where state in ('processing', 'discarding', 'deleting');

-- Shows that ended before there were videos: media is asked what it has of them.
insert into video (video_id, session_id, user_id, title, description, category, kind, is_private, search_text, state,
    created_at, updated_at)
select 'video_' || substr(session_id, 9), session_id, host_id, title, description, category, kind, is_private,
    lower(title || ' ' || coalesce(description, '')), 'processing', ended_at, ended_at
from session
where state = 'ended' and started_at is not null;
