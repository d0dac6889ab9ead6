//! The rules of videos and the transactions that keep them. What follows for media is left to the archivist.

use std::sync::Arc;
use std::time::Duration;

use super::archivist::Slate;
use super::model::{Recorded, ReplayFile, Shown, Video, VideoState};
use super::store::{self, Filter, Order};
use crate::caller::{Caller, ClientAddress, SignedIn};
use crate::clock::{Clock, Timestamp};
use crate::cohost;
use crate::config::{Rate, RecordingConfig};
use crate::db::{Connection, Database, DbError, Transaction};
use crate::error::{Code, Error, Refusal, Text};
use crate::id::{SessionId, UserId, VideoId};
use crate::ports::LivePlane;
use crate::rate::Limiter;
use crate::secret::Secret;
use crate::session::{Session, Sessions};

const NO_SUCH_VIDEO: Refusal =
    Refusal::new(Code::NotFound, "no_such_video", Text::new("الفيديو غير موجود", "There is no such video"));
const NAME_ONE: Refusal = Refusal::new(
    Code::BadRequest,
    "name_one_video",
    Text::new("حدّد الفيديو أو البث", "Name the video or the session, and not both"),
);
const PRIVATE: Refusal =
    Refusal::new(Code::Forbidden, "private_video", Text::new("هذا الفيديو خاص", "This video is private"));
const NOT_OWNER: Refusal = Refusal::new(
    Code::Forbidden,
    "not_owner",
    Text::new("هذا الإجراء متاح لصاحب الفيديو فقط", "Only the owner of the video may do this"),
);
const NOT_READY: Refusal = Refusal::new(
    Code::PreconditionFailed,
    "video_not_ready",
    Text::new("الفيديو قيد التجهيز، حاول بعد قليل", "The video is being prepared, try again in a moment"),
);
const FAILED: Refusal = Refusal::new(
    Code::PreconditionFailed,
    "video_failed",
    Text::new("تعذّر حفظ تسجيل هذا البث", "The recording of this session could not be kept"),
);

const NO_DOWNLOAD: Refusal = Refusal::new(
    Code::Forbidden,
    "download_not_allowed",
    Text::new("لم يسمح صاحب الفيديو بتنزيله", "The owner of this video does not let others download it"),
);

/// One person's views of one video that are counted. Reloading the page makes nobody popular.
const VIEWS: Rate = Rate::every(Duration::from_secs(3600), 1);

/// The video slice. Clones share everything.
#[derive(Clone)]
pub(crate) struct Videos {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) db: Database,
    pub(super) clock: Clock,
    pub(super) sessions: Sessions,
    pub(super) plane: Arc<dyn LivePlane>,
    pub(super) config: RecordingConfig,
    pub(super) slate: Slate,
    views: Limiter<(Viewer, VideoId)>,
}

/// Whose views are one person's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Viewer {
    User(UserId),
    /// Guests, as far as they can be told apart.
    Address(ClientAddress),
}

impl std::fmt::Debug for Videos {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("videos")
    }
}

/// One page of what was asked for.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) videos: Vec<Shown>,
    pub(super) total: u64,
}

/// A video that begins to play.
#[derive(Debug)]
pub(super) struct Playing {
    pub(super) video: Shown,
    pub(super) token: Secret,
}

/// More people than ever take a seat in one session.
const SEATS_MAX: u32 = 1000;

impl Videos {
    pub(crate) fn new(
        db: Database,
        clock: Clock,
        sessions: Sessions,
        plane: Arc<dyn LivePlane>,
        config: RecordingConfig,
    ) -> Self {
        let (slate, views) = (Slate::default(), Limiter::new(VIEWS));
        Self { inner: Arc::new(Inner { db, clock, sessions, plane, config, slate, views }) }
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(super) async fn list(&self, filter: &Filter, order: Order, limit: i64, offset: i64) -> Result<Page, Error> {
        let mut reader = self.inner.db.reader().await?;
        let total = store::count_listed(&mut reader, filter).await?;
        let videos = store::list(&mut reader, filter, order, limit, offset).await?;
        Ok(Page { videos, total })
    }

    /// Lets somebody watch a video, named by itself or by its session, and counts the view.
    pub(super) async fn play(
        &self,
        caller: &Caller,
        video_id: Option<&str>,
        session_id: Option<&str>,
    ) -> Result<Playing, Error> {
        let Inner { db, sessions, views, .. } = &*self.inner;
        let ((video, owner), session) = self.watchable(caller, video_id, session_id).await?;
        let token = sessions.replay_ticket(&session, caller)?;
        let is_owner = caller.user_id() == Some(&video.user_id);
        let viewer = caller.user_id().cloned().map_or(Viewer::Address(caller.address), Viewer::User);
        if !is_owner && views.take(&(viewer, video.id.clone())).is_ok() {
            let mut tx = db.begin().await?;
            store::count_view(&mut tx, &video.id).await?;
            tx.commit().await?;
        }
        Ok(Playing { video: (video, owner), token })
    }

    /// Where somebody takes a replay home from.
    pub(super) async fn download(
        &self,
        caller: &Caller,
        video_id: Option<&str>,
        session_id: Option<&str>,
    ) -> Result<String, Error> {
        let ((video, _), session) = self.watchable(caller, video_id, session_id).await?;
        if !video.file().is_some_and(|file| file.is_open_to(caller.user_id())) {
            return Err(NO_DOWNLOAD.into());
        }
        self.inner.sessions.download_url(&session, caller)
    }

    /// A video that can be watched and that the caller may watch.
    async fn watchable(
        &self,
        caller: &Caller,
        video_id: Option<&str>,
        session_id: Option<&str>,
    ) -> Result<(Shown, Session), Error> {
        let Inner { db, sessions, .. } = &*self.inner;
        let mut reader = db.reader().await?;
        let found = match (video_id, session_id) {
            (Some(text), None) => store::find(&mut reader, &VideoId::parse(text).ok_or(NO_SUCH_VIDEO)?).await?,
            (None, Some(text)) => store::find_of(&mut reader, &SessionId::parse(text).ok_or(NO_SUCH_VIDEO)?).await?,
            (Some(_), Some(_)) | (None, None) => return Err(NAME_ONE.into()),
        };
        drop(reader);
        let (video, owner) = found.filter(|(video, _)| video.state.public().is_some()).ok_or(NO_SUCH_VIDEO)?;
        let session = sessions.find(&video.session_id).await?.ok_or(NO_SUCH_VIDEO)?;
        if !sessions.is_open_to(&session, caller.user_id()).await? {
            return Err(PRIVATE.into());
        }
        match video.state {
            VideoState::Ready => Ok(((video, owner), session)),
            VideoState::Failed => Err(FAILED.into()),
            _ => Err(NOT_READY.into()),
        }
    }

    /// Says for its owner whether others may take a video home.
    pub(super) async fn update(&self, owner: &SignedIn, video_id: &str, allow_download: bool) -> Result<Shown, Error> {
        let Inner { db, clock, .. } = &*self.inner;
        let video = self.owned(owner, video_id).await?;
        let mut tx = db.begin().await?;
        let video = store::lock(&mut tx, &video.session_id).await?.ok_or(NO_SUCH_VIDEO)?;
        if video.state.public().is_none() {
            return Err(NO_SUCH_VIDEO.into());
        }
        store::set_download(&mut tx, &video.id, allow_download, clock.now()).await?;
        tx.commit().await?;
        Ok(store::find(&mut db.reader().await?, &video.id).await?.ok_or(NO_SUCH_VIDEO)?)
    }

    /// A video of the caller's own, as it was a moment ago.
    async fn owned(&self, owner: &SignedIn, video_id: &str) -> Result<Video, Error> {
        let id = VideoId::parse(video_id).ok_or(NO_SUCH_VIDEO)?;
        let (video, _) = store::find(&mut self.inner.db.reader().await?, &id).await?.ok_or(NO_SUCH_VIDEO)?;
        if video.user_id == owner.user_id {
            return Ok(video);
        }
        let is_hidden = video.is_private || video.state != VideoState::Ready;
        Err(if is_hidden { NO_SUCH_VIDEO } else { NOT_OWNER }.into())
    }

    /// Deletes a video for its owner: nobody can watch it from here on, and what is stored of it follows. Deleting it again
    /// is no error.
    pub(super) async fn delete(&self, owner: &SignedIn, video_id: &str) -> Result<(), Error> {
        let Inner { db, clock, slate, .. } = &*self.inner;
        let video = self.owned(owner, video_id).await?;
        let mut tx = db.begin().await?;
        let video = store::lock(&mut tx, &video.session_id).await?.ok_or(NO_SUCH_VIDEO)?;
        let id = &video.id;
        match video.state {
            VideoState::Processing => return Err(NOT_READY.into()),
            VideoState::Ready | VideoState::Failed => {
                store::shift(&mut tx, id, VideoState::Deleting, video.duration, clock.now()).await?;
                tx.commit().await?;
                tracing::info!(video.id = %id, session.id = %video.session_id, user.id = %owner.user_id, "video deleted");
                slate.owe(video.session_id);
            }
            VideoState::Discarding | VideoState::Deleting | VideoState::Gone => {}
        }
        Ok(())
    }

    /// Media says what it has of a session that is over.
    pub(crate) async fn settle(&self, id: &SessionId, recorded: Recorded, at: Timestamp) -> Result<(), Error> {
        let Inner { db, slate, .. } = &*self.inner;
        let mut tx = db.begin().await?;
        let Some(session) = Sessions::hold(&mut tx, id).await? else {
            tracing::warn!(session.id = %id, ?recorded, "media recorded an unknown session");
            return Ok(());
        };
        if session.started_at.is_none() {
            return Ok(());
        }
        // Media may be quicker to say so than the end of the session is to be written down.
        store::begin(&mut tx, &Video::of(&session, at)).await?;
        let Some(video) = store::lock(&mut tx, id).await? else { return Ok(()) };
        let has_parts = !cohost::ever_seated(&mut tx, id, 1).await?.is_empty();
        let state = video.state.after(recorded, has_parts);
        if state == video.state {
            return Ok(());
        }
        let duration = if let Recorded::Kept { duration, .. } = recorded { duration } else { Duration::ZERO };
        store::shift(&mut tx, &video.id, state, duration, at).await?;
        tx.commit().await?;
        let (from, to) = (video.state.as_str(), state.as_str());
        tracing::info!(video.id = %video.id, session.id = %id, from, to, ?recorded, "video moved");
        metrics::counter!("chobi_videos_moved_total", "to" => to).increment(1);
        if state == VideoState::Deleting {
            slate.owe(id.clone());
        }
        Ok(())
    }

    /// Media says that nothing is left of a session's recording.
    pub(crate) async fn deleted(&self, id: &SessionId, at: Timestamp) -> Result<(), Error> {
        let mut tx = self.inner.db.begin().await?;
        if let Some(video) = store::lock(&mut tx, id).await?
            && video.state == VideoState::Deleting
        {
            store::shift(&mut tx, &video.id, VideoState::Gone, video.duration, at).await?;
            tx.commit().await?;
            tracing::info!(video.id = %video.id, session.id = %id, "nothing is left of the video");
        }
        Ok(())
    }

    /// Orders media to delete a recording, with what co-hosts of the show sent.
    pub(super) async fn order_deletion(&self, id: &SessionId) -> Result<(), Error> {
        let Inner { db, plane, .. } = &*self.inner;
        let mut reader = db.reader().await?;
        let is_due = store::state_of(&mut reader, id).await? == Some(VideoState::Deleting);
        let co_hosts = cohost::ever_seated(&mut reader, id, SEATS_MAX).await?;
        drop(reader);
        if is_due {
            plane.delete_recording(id, &co_hosts).await;
        }
        Ok(())
    }
}

/// Puts down that a show has ended which was live, in the transaction that ends it.
pub(crate) async fn begin(tx: &mut Transaction, session: &Session, now: Timestamp) -> Result<(), DbError> {
    if session.started_at.is_none() {
        return Ok(());
    }
    store::begin(tx, &Video::of(session, now)).await
}

/// A picture of a show came when it was over.
pub(crate) async fn set_thumbnail(tx: &mut Transaction, id: &SessionId) -> Result<(), DbError> {
    store::set_thumbnail(tx, id).await
}

/// Whether a session that is over can be watched, or is about to: media decides what there is to see.
pub(crate) async fn can_be_watched(connection: &mut impl Connection, id: &SessionId) -> Result<bool, DbError> {
    let state = store::state_of(connection, id).await?;
    Ok(state.is_some_and(|state| matches!(state, VideoState::Processing | VideoState::Ready)))
}

/// The replay of a session as those see it who want it as a file. `None` while there is none.
pub(crate) async fn replay_file(
    connection: &mut impl Connection,
    id: &SessionId,
) -> Result<Option<ReplayFile>, DbError> {
    Ok(store::find_of(connection, id).await?.and_then(|(video, _)| video.file()))
}
