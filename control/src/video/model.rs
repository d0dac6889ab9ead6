//! What a video is and which way it goes.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::{SessionId, UserId, VideoId};
use crate::session::{HostCard, Session, SessionKind};
use crate::trpc::choices;

choices! {
    /// Where a recording stands.
    pub(super) enum VideoState {
        /// The show is over; waits for media to say what it has of it.
        Processing = "processing",
        /// The same of a show that is not to be kept.
        Discarding = "discarding",
        /// Can be watched.
        Ready = "ready",
        /// It should be there and is not.
        Failed = "failed",
        /// Waits for media to say that nothing is left.
        Deleting = "deleting",
        /// Nothing is left, or there never was anything.
        Gone = "gone",
    }
}

choices! {
    /// The states the app tells apart.
    pub(super) enum VideoStatus { Processing = "processing", Ready = "ready", Failed = "failed" }
}

/// What media has of a show that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// Nothing, and there was nothing to record.
    Nothing,
    /// Nothing, though there was.
    Lost,
    Kept {
        duration: Duration,
        /// It has a picture.
        has_video: bool,
    },
}

/// The recording of a show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Video {
    pub(super) id: VideoId,
    pub(super) session_id: SessionId,
    pub(super) user_id: UserId,
    pub(super) title: String,
    pub(super) description: Option<String>,
    pub(super) category: Option<String>,
    pub(super) kind: SessionKind,
    pub(super) is_private: bool,
    pub(super) allow_download: bool,
    pub(super) state: VideoState,
    pub(super) duration: Duration,
    /// Media has made pictures of it.
    pub(super) has_thumbnail: bool,
    pub(super) counters: Counters,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) views: u64,
    pub(super) likes: u64,
    pub(super) dislikes: u64,
    pub(super) comments: u64,
    pub(super) shares: u64,
}

/// What is said of a replay to those who want it as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplayFile {
    pub(crate) title: String,
    pub(crate) is_private: bool,
    pub(crate) allow_download: bool,
    owner_id: UserId,
}

/// A video with the card of its owner.
pub(super) type Shown = (Video, HostCard);

impl VideoState {
    /// As the app sees it; `None` for what it is not shown.
    pub(super) const fn public(self) -> Option<VideoStatus> {
        match self {
            Self::Processing => Some(VideoStatus::Processing),
            Self::Ready => Some(VideoStatus::Ready),
            Self::Failed => Some(VideoStatus::Failed),
            Self::Discarding | Self::Deleting | Self::Gone => None,
        }
    }

    /// The state after media said what it has; the same for what was said before, or too late. `has_parts`: recordings of
    /// co-hosts may be left.
    pub(super) const fn after(self, recorded: Recorded, has_parts: bool) -> Self {
        match (self, recorded) {
            (Self::Processing, Recorded::Kept { .. }) => Self::Ready,
            (Self::Processing, Recorded::Lost) => Self::Failed,
            (Self::Processing | Self::Discarding, Recorded::Nothing) if has_parts => Self::Deleting,
            (Self::Processing | Self::Discarding, Recorded::Nothing) => Self::Gone,
            // Its setting was not known while it ran.
            (Self::Discarding, Recorded::Kept { .. } | Recorded::Lost) => Self::Deleting,
            (Self::Ready | Self::Failed | Self::Deleting | Self::Gone, _) => self,
        }
    }
}

impl Video {
    /// Of a session that is over, or whose end media knows first.
    pub(super) fn of(session: &Session, now: Timestamp) -> Self {
        let (details, at) = (&session.details, session.ended_at.unwrap_or(now));
        Self {
            id: VideoId::generate(),
            session_id: session.id.clone(),
            user_id: session.host_id.clone(),
            title: details.title.clone(),
            description: details.description.clone(),
            category: details.category.clone(),
            kind: details.kind,
            is_private: details.is_private,
            allow_download: details.allow_download,
            state: if details.is_recorded { VideoState::Processing } else { VideoState::Discarding },
            duration: Duration::ZERO,
            has_thumbnail: session.has_thumbnail,
            counters: Counters::default(),
            created_at: at,
            updated_at: at,
        }
    }

    /// `None` while there is nothing to take home.
    pub(super) fn file(&self) -> Option<ReplayFile> {
        (self.state == VideoState::Ready).then(|| ReplayFile {
            title: self.title.clone(),
            is_private: self.is_private,
            allow_download: self.allow_download,
            owner_id: self.user_id.clone(),
        })
    }

    /// What a search compares with.
    pub(super) fn search_text(&self) -> String {
        folded(&format!("{} {}", self.title, self.description.as_deref().unwrap_or_default()))
    }
}

impl ReplayFile {
    /// Whether somebody who may watch it may take it home.
    pub(crate) fn is_open_to(&self, user_id: Option<&UserId>) -> bool {
        self.allow_download || user_id == Some(&self.owner_id)
    }
}

/// A text as it is searched: without regard to case.
pub(super) fn folded(text: &str) -> String {
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Recorded = Recorded::Kept { duration: Duration::from_secs(1), has_video: true };

    #[test]
    fn what_media_says_first_counts() {
        for (recorded, state) in
            [(KEPT, VideoState::Ready), (Recorded::Lost, VideoState::Failed), (Recorded::Nothing, VideoState::Gone)]
        {
            assert_eq!(VideoState::Processing.after(recorded, false), state);
            for later in [KEPT, Recorded::Lost, Recorded::Nothing] {
                assert_eq!(state.after(later, true), state);
            }
        }
        assert_eq!(VideoState::Processing.after(Recorded::Nothing, true), VideoState::Deleting);
    }

    #[test]
    fn what_is_not_to_be_kept_never_shows() {
        for recorded in [KEPT, Recorded::Lost, Recorded::Nothing] {
            assert_eq!(VideoState::Discarding.after(recorded, true).public(), None);
        }
        assert_eq!(VideoState::Deleting.after(KEPT, false), VideoState::Deleting);
    }
}
