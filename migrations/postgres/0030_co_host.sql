-- Where one user stands as a co-host of one session: asked, invited, approved, or gone again. Written by the co-host slice.
-- Says nothing of whether they publish at the moment: that media tells, and after a restart nobody does.
create table co_host (
    session_id text not null constraint co_host_session_id_fkey references session (session_id),
    user_id text not null constraint co_host_user_id_fkey references app_user (user_id),
    state text not null constraint co_host_state_check
        check (state in ('requested', 'invited', 'approved', 'declined', 'removed', 'left')),
    -- Whether their sound is off, and whose word that was.
    mute text not null constraint co_host_mute_check check (mute in ('open', 'self', 'host')),
    created_at bigint not null,
    -- When they came to this state.
    changed_at bigint not null,
    constraint co_host_session_id_user_id_key primary key (session_id, user_id)
);

-- Who of a session is or wants to be one, beside the many who once were.
create index co_host_open on co_host (session_id, state, changed_at) where state in ('requested', 'invited', 'approved');
