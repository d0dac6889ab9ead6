-- A person with an account. Written by auth (at registration) and user (profile). `user` alone is a reserved word in
-- PostgreSQL. Times are UTC microseconds.
create table app_user (
    user_id text not null,
    -- As typed, for showing; found by the folded form.
    email text not null,
    email_folded text not null,
    -- Without the leading @, lower case.
    username text not null,
    display_name text not null,
    -- argon2id in PHC form. Never leaves auth.
    password_hash text not null,
    avatar text,
    bio text,
    level bigint not null default 1,
    experience bigint not null default 0,
    is_verified boolean not null default false,
    -- JSON as user/model.rs writes it; absent members mean their default.
    preferences text not null,
    banned_at bigint,
    created_at bigint not null,
    last_active_at bigint not null,
    constraint app_user_user_id_key primary key (user_id),
    constraint app_user_email_folded_key unique (email_folded),
    constraint app_user_username_key unique (username),
    constraint app_user_level_check check (level >= 1)
);
