//! `streaming.*`: tRPC in, service, tRPC out.

use super::entrance::Joined;
use super::model::{Details, HostCard, PublicState, Role, Session, SessionKind, SessionState, SessionStats};
use super::service::{ActivePage, Created, Sessions};
use super::store::ActiveFilter;
use crate::caller::{Caller, SignedIn};
use crate::clock::Timestamp;
use crate::error::{Error, Text};
use crate::id::{SessionId, UserId};
use crate::secret::Secret;
use crate::trpc::{Namespace, choices, input, output};

pub(crate) fn namespace(sessions: Sessions) -> Namespace<Sessions> {
    Namespace::new("streaming", sessions)
        .mutation("createSession", create_session)
        .mutation("joinSession", join_session)
        .query("getActiveSessions", get_active_sessions)
        .query("getSession", get_session)
        .query("getMySessions", get_my_sessions)
        .mutation("rotateStreamKey", rotate_stream_key)
        .mutation("endSession", end_session)
}

const CREATED: Text = Text::new("تم إنشاء البث، ابدأ الإرسال متى شئت", "Session created, go live when you are ready");
const JOINED: Text = Text::new("انضممت إلى البث", "You joined the session");
const ROTATED: Text = Text::new("مفتاح بث جديد، والقديم لم يعد صالحًا", "A new stream key; the old one no longer works");
const ENDED: Text = Text::new("انتهى البث", "The session has ended");

input! {
    pub(super) struct CreateSession {
        title "title": String = text().min(1).max(120),
        description "description": Option<String> = text().max(2000).optional(),
        kind "type": SessionKind = one_of(),
        category "category": Option<String> = text().max(50).optional(),
        is_private "isPrivate": bool = boolean().or(false),
        max_viewers "maxViewers": Option<i64> = integer().min(1).max(10_000_000).optional(),
        /// A time in the past is no fault: the phone's clock may be, and media decides when a show begins.
        scheduled_at "scheduledAt": Option<Timestamp> = date().optional(),
        /// Whether to keep it for a replay; a server that keeps nothing does not keep this either.
        is_recorded "recording": bool = boolean().or(true),
        /// Whether others may take the replay home; its owner always may, and decides anew with `videos.updateVideo`.
        allow_download "allowDownload": bool = boolean().or(false),
    }
}

output! {
    /// A session as its host sees it. The stream key is shown here and never again.
    pub(super) struct StreamingSession {
        id "id": SessionId,
        host_id "hostId": UserId,
        host_name "hostName": String,
        host_avatar "hostAvatar": String,
        title "title": String,
        description "description": Option<String>,
        kind "type": SessionKind,
        category "category": Option<String>,
        is_private "isPrivate": bool,
        max_viewers "maxViewers": Option<u32>,
        scheduled_at "scheduledAt": Option<Timestamp>,
        is_recorded "recording": bool,
        allow_download "allowDownload": bool,
        status "status": PublicState,
        viewer_count "viewerCount": u64,
        thumbnail "thumbnail": Option<String>,
        tags "tags": Vec<String>,
        created_at "createdAt": Timestamp,
        started_at "startedAt": Option<Timestamp>,
        ended_at "endedAt": Option<Timestamp>,
        stream_key "streamKey": String,
        rtmp_url "rtmpUrl": String,
        playback_url "playbackUrl": String,
    }
}

output! {
    pub(super) struct SessionCreated {
        success "success": bool,
        session "session": StreamingSession,
        message "message": &'static str,
    }
}

async fn create_session(sessions: Sessions, host: SignedIn, input: CreateSession) -> Result<SessionCreated, Error> {
    let CreateSession { title, description, kind, category, is_private, max_viewers, scheduled_at, .. } = input;
    let CreateSession { is_recorded, allow_download, .. } = input;
    let max_viewers = max_viewers.map(|max| u32::try_from(max).unwrap_or(u32::MAX));
    let details = Details {
        title,
        description,
        kind,
        category,
        is_private,
        max_viewers,
        scheduled_at,
        is_recorded,
        allow_download,
    };
    let created = sessions.create(&host.user_id, details).await?;
    let session = host_view(&sessions, created);
    Ok(SessionCreated { success: true, session, message: CREATED.within(host.language) })
}

fn host_view(sessions: &Sessions, created: Created) -> StreamingSession {
    let Created { session, host, stream_key } = created;
    let Details { title, description, kind, category, is_private, max_viewers, scheduled_at, .. } = session.details;
    let Details { is_recorded, allow_download, .. } = session.details;
    StreamingSession {
        rtmp_url: sessions.rtmp_url().to_owned(),
        playback_url: sessions.playback_url(&session.id, is_private),
        id: session.id,
        host_id: session.host_id,
        host_name: host.name,
        host_avatar: host.avatar,
        title,
        description,
        kind,
        category,
        is_private,
        max_viewers,
        scheduled_at,
        is_recorded,
        allow_download,
        status: session.state.public(),
        viewer_count: session.viewer_count,
        thumbnail: None,
        tags: Vec::new(),
        created_at: session.created_at,
        started_at: session.started_at,
        ended_at: session.ended_at,
        stream_key: stream_key.reveal().to_owned(),
    }
}

/// Ours have some 300 characters.
const TICKET_MAX: u32 = 2_000;

input! {
    pub(super) struct JoinSession {
        session_id "sessionId": String = text(),
        role "role": Role = one_of().or(Role::Viewer),
        /// An earlier ticket to the same session: a guest who comes again is the same guest.
        ticket "ticket": Option<String> = text().min(1).max(TICKET_MAX).optional(),
    }
}

output! {
    pub(super) struct ViewerPermissions {
        can_chat "canChat": bool,
        can_send_gifts "canSendGifts": bool,
        can_request_co_host "canRequestCoHost": bool,
        can_moderate "canModerate": bool,
    }
}

output! {
    pub(super) struct ViewerSession {
        session_id "sessionId": SessionId,
        /// A user id, or a guest id made for this ticket.
        user_id "userId": String,
        role "role": Role,
        /// The ticket that playback, WebRTC and `/ws` accept.
        token "token": String,
        joined_at "joinedAt": Timestamp,
        permissions "permissions": ViewerPermissions,
    }
}

output! {
    pub(super) struct SessionJoined {
        success "success": bool,
        viewer_session "viewerSession": ViewerSession,
        playback_url "playbackUrl": String,
        chat_endpoint "chatEndpoint": String,
        message "message": &'static str,
    }
}

async fn join_session(sessions: Sessions, caller: Caller, input: JoinSession) -> Result<SessionJoined, Error> {
    let Joined { ticket, token, at, permissions, is_private } =
        sessions.join(&caller, &input.session_id, input.role, input.ticket.map(Secret::new).as_ref()).await?;
    let playback_url = sessions.playback_url(&ticket.session_id, is_private);
    let viewer_session = ViewerSession {
        user_id: ticket.viewer.as_str().to_owned(),
        session_id: ticket.session_id,
        role: ticket.role,
        token: token.reveal().to_owned(),
        joined_at: at,
        permissions: ViewerPermissions {
            can_chat: permissions.chat,
            can_send_gifts: permissions.send_gifts,
            can_request_co_host: permissions.request_co_host,
            can_moderate: permissions.moderate,
        },
    };
    let chat_endpoint = sessions.chat_endpoint();
    let message = JOINED.within(caller.language);
    Ok(SessionJoined { success: true, viewer_session, playback_url, chat_endpoint, message })
}

choices! {
    /// Which kinds of sessions are asked for.
    pub(super) enum KindFilter { Video = "video", Audio = "audio", All = "all" }
}

impl KindFilter {
    const fn kind(self) -> Option<SessionKind> {
        match self {
            Self::Video => Some(SessionKind::Video),
            Self::Audio => Some(SessionKind::Audio),
            Self::All => None,
        }
    }
}

input! {
    pub(super) struct GetActiveSessions {
        kind "type": KindFilter = one_of().or(KindFilter::All),
        category "category": Option<String> = text().optional(),
        limit "limit": i64 = integer().min(1).max(50).or(20),
        offset "offset": i64 = integer().min(0).or(0),
    }
}

output! {
    pub(super) struct SessionListItem {
        id "id": SessionId,
        host_id "hostId": UserId,
        host_name "hostName": String,
        host_avatar "hostAvatar": String,
        title "title": String,
        description "description": Option<String>,
        kind "type": SessionKind,
        category "category": Option<String>,
        viewer_count "viewerCount": u64,
        is_live "isLive": bool,
        thumbnail "thumbnail": Option<String>,
        started_at "startedAt": Option<Timestamp>,
        tags "tags": Vec<String>,
    }
}

output! {
    pub(super) struct ActiveSessions {
        sessions "sessions": Vec<SessionListItem>,
        total "total": u64,
        has_more "hasMore": bool,
    }
}

async fn get_active_sessions(
    sessions: Sessions,
    caller: Caller,
    input: GetActiveSessions,
) -> Result<ActiveSessions, Error> {
    let GetActiveSessions { kind, category, limit, offset } = input;
    let filter = ActiveFilter { caller: caller.user_id().cloned(), kind: kind.kind(), category };
    let ActivePage { sessions: found, total } = sessions.active(filter, limit, offset).await?;
    let has_more = u64::try_from(offset.saturating_add(limit)).is_ok_and(|seen| seen < total);
    let listed = found.into_iter().map(|shown| list_item(&sessions, shown)).collect();
    Ok(ActiveSessions { sessions: listed, total, has_more })
}

fn list_item(sessions: &Sessions, (session, host): (Session, HostCard)) -> SessionListItem {
    let is_seen = session.has_thumbnail && session.state.public() == PublicState::Live;
    SessionListItem {
        thumbnail: sessions.thumbnail_url(&session.id, session.details.is_private, is_seen),
        id: session.id,
        host_id: session.host_id,
        host_name: host.name,
        host_avatar: host.avatar,
        title: session.details.title,
        description: session.details.description,
        kind: session.details.kind,
        category: session.details.category,
        viewer_count: session.viewer_count,
        is_live: session.state.public() == PublicState::Live,
        started_at: session.started_at,
        tags: Vec::new(),
    }
}

input! {
    pub(super) struct GetSession {
        session_id "sessionId": String = text(),
    }
}

output! {
    /// One session in any state, for a page that was opened by its address.
    pub(super) struct SessionFound {
        session "session": SessionListItem,
        status "status": PublicState,
        /// Live, but the publisher is gone for the moment.
        is_interrupted "isInterrupted": bool,
        /// Over, and it can be watched all the same (`videos.playVideo`), now or in a moment.
        has_replay "hasReplay": bool,
        /// How far back viewers of a live show may go by HLS; 0 where it is no further than any player goes.
        rewind_seconds "rewindSeconds": u64,
    }
}

async fn get_session(sessions: Sessions, caller: Caller, input: GetSession) -> Result<SessionFound, Error> {
    let (session, host) = sessions.look_at(&caller, &input.session_id).await?;
    let has_replay = session.is_over() && sessions.has_replay(&session).await?;
    let poster = sessions.thumbnail_url(&session.id, session.details.is_private, session.has_thumbnail && has_replay);
    let rewind_seconds = sessions.rewind_window(&session).as_secs();
    let (status, is_interrupted) = (session.state.public(), session.state == SessionState::Interrupted);
    let item = list_item(&sessions, (session, host));
    let session = SessionListItem { thumbnail: item.thumbnail.or(poster), ..item };
    Ok(SessionFound { session, status, is_interrupted, has_replay, rewind_seconds })
}

output! {
    /// A session that goes on, as its host finds it again. Without the key: that was shown once.
    pub(super) struct HostedSession {
        id "id": SessionId,
        title "title": String,
        category "category": Option<String>,
        is_private "isPrivate": bool,
        status "status": PublicState,
        is_interrupted "isInterrupted": bool,
        viewer_count "viewerCount": u64,
        created_at "createdAt": Timestamp,
        started_at "startedAt": Option<Timestamp>,
    }
}

output! {
    pub(super) struct MySessions {
        sessions "sessions": Vec<HostedSession>,
    }
}

/// What the caller has begun and not ended, newest first. There are never more than a host may have.
async fn get_my_sessions(sessions: Sessions, host: SignedIn, _: ()) -> Result<MySessions, Error> {
    let unfinished = sessions.unfinished_of(&host.user_id).await?;
    Ok(MySessions { sessions: unfinished.into_iter().map(hosted).collect() })
}

fn hosted(session: Session) -> HostedSession {
    HostedSession {
        status: session.state.public(),
        is_interrupted: session.state == SessionState::Interrupted,
        id: session.id,
        title: session.details.title,
        category: session.details.category,
        is_private: session.details.is_private,
        viewer_count: session.viewer_count,
        created_at: session.created_at,
        started_at: session.started_at,
    }
}

input! {
    pub(super) struct RotateStreamKey {
        session_id "sessionId": String = text(),
    }
}

output! {
    pub(super) struct StreamKeyRotated {
        success "success": bool,
        session_id "sessionId": SessionId,
        /// Shown here and never again; the one before no longer admits anybody.
        stream_key "streamKey": String,
        rtmp_url "rtmpUrl": String,
        message "message": &'static str,
    }
}

async fn rotate_stream_key(
    sessions: Sessions,
    host: SignedIn,
    input: RotateStreamKey,
) -> Result<StreamKeyRotated, Error> {
    let (session, stream_key) = sessions.rotate_key_of(&host, &input.session_id).await?;
    Ok(StreamKeyRotated {
        success: true,
        session_id: session.id,
        stream_key: stream_key.reveal().to_owned(),
        rtmp_url: sessions.rtmp_url().to_owned(),
        message: ROTATED.within(host.language),
    })
}

input! {
    pub(super) struct EndSession {
        session_id "sessionId": String = text(),
    }
}

output! {
    pub(super) struct SessionEnded {
        success "success": bool,
        stats "stats": SessionStats,
        message "message": &'static str,
    }
}

async fn end_session(sessions: Sessions, host: SignedIn, input: EndSession) -> Result<SessionEnded, Error> {
    let stats = sessions.end(&host, &input.session_id).await?;
    Ok(SessionEnded { success: true, stats, message: ENDED.within(host.language) })
}
