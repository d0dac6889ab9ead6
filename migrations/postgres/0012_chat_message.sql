-- One line of chat. Written once by the chat slice, read newest first; ids sort by time.
create table chat_message (
    message_id text not null constraint chat_message_message_id_key primary key,
    session_id text not null constraint chat_message_session_id_fkey references session (session_id),
    user_id text not null constraint chat_message_user_id_fkey references app_user (user_id),
    kind text not null constraint chat_message_kind_check check (kind in ('text', 'emoji', 'gift')),
    body text not null,
    gift_id text,
    -- Chosen by the client so that a repeated send posts once; null when it chose none.
    client_message_id text,
    posted_at bigint not null,
    constraint chat_message_session_id_user_id_client_message_id_key unique (session_id, user_id, client_message_id)
);

-- A session's lines, newest first, from any point on.
create index chat_message_session on chat_message (session_id, message_id desc);
