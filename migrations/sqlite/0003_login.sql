-- One login on one device: the family its refresh tokens belong to. Written by auth. `ended_at` says it is over, and why:
-- 'logout', or 'reuse' when a refresh token that had been replaced came back.
create table login (
    login_id text not null,
    user_id text not null,
    created_at integer not null,
    last_used_at integer not null,
    ended_at integer,
    end_reason text,
    constraint login_login_id_key primary key (login_id),
    constraint login_user_id_fkey foreign key (user_id) references app_user (user_id) on delete cascade,
    constraint login_end_check check ((ended_at is null) = (end_reason is null))
) strict;

create index login_user_id on login (user_id);

-- A refresh token, by its SHA-256. 'open': given out; 'used': exchanged, still good until one of its children is used;
-- 'dead': replaced, its return means theft. Written by auth, pruned when it expires.
create table refresh_token (
    digest text not null,
    login_id text not null,
    parent_digest text,
    state text not null,
    created_at integer not null,
    expires_at integer not null,
    constraint refresh_token_digest_key primary key (digest),
    constraint refresh_token_login_id_fkey foreign key (login_id) references login (login_id) on delete cascade,
    constraint refresh_token_state_check check (state in ('open', 'used', 'dead'))
) strict, without rowid;

create index refresh_token_login_id on refresh_token (login_id);
