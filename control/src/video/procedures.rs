//! `videos.*`: tRPC in, service, tRPC out.

use super::model::folded;
use super::model::{Shown, VideoState, VideoStatus};
use super::service::{Page, Playing, Videos};
use super::store::{Filter, Order};
use crate::caller::{Caller, SignedIn};
use crate::clock::Timestamp;
use crate::error::{Error, Text};
use crate::id::{SessionId, UserId, VideoId};
use crate::plain_text::{Lines, plain};
use crate::session::SessionKind;
use crate::trpc::{Namespace, choices, input, output};

pub(crate) fn namespace(videos: Videos) -> Namespace<Videos> {
    Namespace::new("videos", videos)
        .query("getVideos", get_videos)
        .mutation("playVideo", play_video)
        .mutation("downloadVideo", download_video)
        .mutation("updateVideo", update_video)
        .mutation("deleteVideo", delete_video)
}

const DELETED: Text = Text::new("حُذف الفيديو", "The video was deleted");

choices! {
    /// In which order videos are asked for.
    pub(super) enum SortBy { Recent = "recent", Popular = "popular", Trending = "trending" }
}

impl SortBy {
    const fn order(self) -> Order {
        match self {
            Self::Recent => Order::Recent,
            Self::Popular => Order::MostViewed,
            Self::Trending => Order::MostLiked,
        }
    }
}

input! {
    pub(super) struct GetVideos {
        category "category": Option<String> = text().optional(),
        sort_by "sortBy": SortBy = one_of().or(SortBy::Recent),
        limit "limit": i64 = integer().min(1).max(50).or(20),
        offset "offset": i64 = integer().min(0).or(0),
        user_id "userId": Option<String> = text().optional(),
        search "search": Option<String> = text().max(200).optional(),
    }
}

output! {
    /// The replay of a show.
    pub(super) struct VideoItem {
        id "id": VideoId,
        user_id "userId": UserId,
        user_name "userName": String,
        user_avatar "userAvatar": String,
        title "title": String,
        description "description": Option<String>,
        category "category": String,
        tags "tags": Vec<String>,
        thumbnail "thumbnail": String,
        video_url "videoUrl": String,
        /// Whole seconds, rounded.
        duration "duration": u64,
        is_private "isPrivate": bool,
        allow_comments "allowComments": bool,
        allow_download "allowDownload": bool,
        status "status": VideoStatus,
        views "views": u64,
        likes "likes": u64,
        dislikes "dislikes": u64,
        comments "comments": u64,
        shares "shares": u64,
        created_at "createdAt": Timestamp,
        updated_at "updatedAt": Timestamp,
        /// The show it is the replay of.
        session_id "sessionId": SessionId,
        kind "type": SessionKind,
        /// The duration as exactly as it is known.
        duration_millis "durationMs": u64,
    }
}

output! {
    pub(super) struct VideoList {
        videos "videos": Vec<VideoItem>,
        total "total": u64,
        has_more "hasMore": bool,
    }
}

async fn get_videos(videos: Videos, caller: Caller, input: GetVideos) -> Result<VideoList, Error> {
    let GetVideos { category, sort_by, limit, offset, user_id, search } = input;
    let search = search.map(|text| folded(&plain(&text, Lines::One))).filter(|text| !text.is_empty());
    let filter = Filter { caller: caller.user_id().cloned(), owner: user_id, category, search };
    let Page { videos: found, total } = videos.list(&filter, sort_by.order(), limit, offset).await?;
    let has_more = u64::try_from(offset.saturating_add(limit)).is_ok_and(|seen| seen < total);
    Ok(VideoList { videos: found.into_iter().filter_map(|shown| item(&videos, shown)).collect(), total, has_more })
}

/// `None` for what is not shown to anybody.
fn item(videos: &Videos, (video, owner): Shown) -> Option<VideoItem> {
    let millis = u64::try_from(video.duration.as_millis()).unwrap_or(u64::MAX);
    let is_seen = video.has_thumbnail && video.state == VideoState::Ready;
    let thumbnail = videos.inner().sessions.thumbnail_url(&video.session_id, video.is_private, is_seen);
    Some(VideoItem {
        status: video.state.public()?,
        video_url: videos.inner().sessions.playback_url(&video.session_id, video.is_private),
        id: video.id,
        user_id: video.user_id,
        user_name: owner.name,
        user_avatar: owner.avatar,
        title: video.title,
        description: video.description,
        category: video.category.unwrap_or_default(),
        tags: Vec::new(),
        thumbnail: thumbnail.unwrap_or_default(),
        duration: millis.saturating_add(500) / 1000,
        is_private: video.is_private,
        allow_comments: false,
        allow_download: video.allow_download,
        views: video.counters.views,
        likes: video.counters.likes,
        dislikes: video.counters.dislikes,
        comments: video.counters.comments,
        shares: video.counters.shares,
        created_at: video.created_at,
        updated_at: video.updated_at,
        session_id: video.session_id,
        kind: video.kind,
        duration_millis: millis,
    })
}

input! {
    /// A video by its own id or by that of its show.
    pub(super) struct PlayVideo {
        video_id "videoId": Option<String> = text().optional(),
        session_id "sessionId": Option<String> = text().optional(),
    }
}

output! {
    pub(super) struct VideoPlaying {
        success "success": bool,
        video "video": VideoItem,
        playback_url "playbackUrl": String,
        /// The ticket that playback and `/ws` accept; a public video plays without it.
        token "token": String,
    }
}

async fn play_video(videos: Videos, caller: Caller, input: PlayVideo) -> Result<VideoPlaying, Error> {
    let PlayVideo { video_id, session_id } = input;
    let Playing { video, token } = videos.play(&caller, video_id.as_deref(), session_id.as_deref()).await?;
    let video = item(&videos, video).ok_or(Error::Internal("a video that plays is shown".into()))?;
    let (playback_url, token) = (video.video_url.clone(), token.reveal().to_owned());
    Ok(VideoPlaying { success: true, video, playback_url, token })
}

output! {
    pub(super) struct VideoDownload {
        success "success": bool,
        /// One MP4 file, in ranges as wanted. 503 with Retry-After while it is prepared; with `video.json` in the place of
        /// `video.mp4` it says how far it is. Good for some hours, for this video only.
        download_url "downloadUrl": String,
    }
}

async fn download_video(videos: Videos, caller: Caller, input: PlayVideo) -> Result<VideoDownload, Error> {
    let PlayVideo { video_id, session_id } = input;
    let download_url = videos.download(&caller, video_id.as_deref(), session_id.as_deref()).await?;
    Ok(VideoDownload { success: true, download_url })
}

input! {
    pub(super) struct UpdateVideo {
        video_id "videoId": String = text(),
        allow_download "allowDownload": bool = boolean(),
    }
}

output! {
    pub(super) struct VideoUpdated {
        success "success": bool,
        video "video": VideoItem,
    }
}

async fn update_video(videos: Videos, owner: SignedIn, input: UpdateVideo) -> Result<VideoUpdated, Error> {
    let shown = videos.update(&owner, &input.video_id, input.allow_download).await?;
    let video = item(&videos, shown).ok_or(Error::Internal("a video that was updated is shown".into()))?;
    Ok(VideoUpdated { success: true, video })
}

input! {
    pub(super) struct DeleteVideo {
        video_id "videoId": String = text(),
    }
}

output! {
    pub(super) struct VideoDeleted {
        success "success": bool,
        message "message": &'static str,
    }
}

async fn delete_video(videos: Videos, owner: SignedIn, input: DeleteVideo) -> Result<VideoDeleted, Error> {
    videos.delete(&owner, &input.video_id).await?;
    Ok(VideoDeleted { success: true, message: DELETED.within(owner.language) })
}
