//! What a session is and how it may change.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::{SessionId, UserId};
use crate::trpc::{choices, output};

choices! {
    /// Where a session stands. The app sees `live` for both middle states ([`SessionState::public`]).
    pub enum SessionState {
        /// Created; waits for the first media.
        Waiting = "waiting",
        /// Media flows.
        Live = "live",
        /// The publisher is gone; waits for it to return within the grace.
        Interrupted = "interrupted",
        /// Over for good.
        Ended = "ended",
    }
}

/// What moves a session from one state to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    MediaArrived,
    MediaLost,
    Over,
}

impl SessionState {
    /// The state after `cause`; the same state when the cause changes nothing (a fact told twice, or too late).
    pub const fn after(self, cause: Cause) -> Self {
        match (self, cause) {
            (Self::Waiting | Self::Live | Self::Interrupted, Cause::MediaArrived) => Self::Live,
            (Self::Live | Self::Interrupted, Cause::MediaLost) => Self::Interrupted,
            (Self::Waiting, Cause::MediaLost) => Self::Waiting,
            (Self::Waiting | Self::Live | Self::Interrupted, Cause::Over) => Self::Ended,
            (Self::Ended, Cause::MediaArrived | Cause::MediaLost | Cause::Over) => Self::Ended,
        }
    }

    /// As the app sees it.
    pub(crate) const fn public(self) -> PublicState {
        match self {
            Self::Waiting => PublicState::Waiting,
            Self::Live | Self::Interrupted => PublicState::Live,
            Self::Ended => PublicState::Ended,
        }
    }
}

choices! {
    /// The states the app tells apart.
    pub(crate) enum PublicState { Waiting = "waiting", Live = "live", Ended = "ended" }
}

choices! {
    /// What a show is made of.
    pub enum SessionKind { Video = "video", Audio = "audio" }
}

choices! {
    /// Why a session ended.
    pub enum EndReason {
        /// The host said so.
        Host = "host",
        /// The publisher did not return within the grace.
        GraceOver = "grace_over",
        /// It waited too long for its first media.
        Abandoned = "abandoned",
        /// Somebody with the right to do so put an end to it.
        Moderator = "moderator",
    }
}

choices! {
    /// As what somebody joins.
    pub enum Role { Viewer = "viewer", CoHost = "co-host" }
}

/// The durable record of a live show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub host_id: UserId,
    pub details: Details,
    pub state: SessionState,
    /// Who watches now, as of the last second.
    pub viewer_count: u64,
    pub counters: Counters,
    /// Media has made a picture of it.
    pub has_thumbnail: bool,
    pub created_at: Timestamp,
    /// First media; stays through interruptions.
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}

/// What the host says about a show when creating it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    pub title: String,
    pub description: Option<String>,
    pub kind: SessionKind,
    pub category: Option<String>,
    pub is_private: bool,
    pub max_viewers: Option<u32>,
    pub scheduled_at: Option<Timestamp>,
    /// What is sent is kept, and can be watched after the end.
    pub is_recorded: bool,
    /// Whoever may watch the replay may take it home too.
    pub allow_download: bool,
}

/// What a session has gathered so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub total_viewers: u64,
    pub peak_viewers: u64,
    pub total_messages: u64,
    pub total_gifts: u64,
}

output! {
    /// The outcome of a show, as `endSession` answers and `session_ended` tells.
    #[derive(Copy, PartialEq, Eq)]
    pub struct SessionStats {
        total_viewers "totalViewers": u64,
        peak_viewers "peakViewers": u64,
        /// Whole seconds from the first media to the end; 0 for a show that never went live.
        duration "duration": u64,
        total_messages "totalMessages": u64,
        total_gifts "totalGifts": u64,
    }
}

/// The host as shown beside a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCard {
    pub name: String,
    pub avatar: String,
}

impl Session {
    /// A session as it begins.
    pub(super) fn waiting(id: SessionId, host_id: UserId, details: Details, now: Timestamp) -> Self {
        Self {
            id,
            host_id,
            details,
            state: SessionState::Waiting,
            viewer_count: 0,
            counters: Counters::default(),
            has_thumbnail: false,
            created_at: now,
            started_at: None,
            ended_at: None,
        }
    }

    pub fn is_over(&self) -> bool {
        self.state == SessionState::Ended
    }

    /// The outcome; of a session that is not over, the outcome if it ended at `now`.
    pub fn stats(&self, now: Timestamp) -> SessionStats {
        let until = self.ended_at.unwrap_or(now);
        let duration = self.started_at.map_or(Duration::ZERO, |started| until.since(started));
        SessionStats {
            total_viewers: self.counters.total_viewers,
            peak_viewers: self.counters.peak_viewers,
            duration: duration.as_secs(),
            total_messages: self.counters.total_messages,
            total_gifts: self.counters.total_gifts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_show_goes_live_is_interrupted_returns_and_ends() {
        let mut state = SessionState::Waiting;
        for (cause, next) in [
            (Cause::MediaArrived, SessionState::Live),
            (Cause::MediaLost, SessionState::Interrupted),
            (Cause::MediaArrived, SessionState::Live),
            (Cause::MediaLost, SessionState::Interrupted),
            (Cause::Over, SessionState::Ended),
        ] {
            state = state.after(cause);
            assert_eq!(state, next);
        }
    }

    #[test]
    fn nothing_wakes_an_ended_session() {
        for cause in [Cause::MediaArrived, Cause::MediaLost, Cause::Over] {
            assert_eq!(SessionState::Ended.after(cause), SessionState::Ended);
        }
    }

    #[test]
    fn the_app_sees_no_interruption() {
        let shown = [SessionState::Waiting, SessionState::Live, SessionState::Interrupted, SessionState::Ended]
            .map(|s| s.public().as_str());
        assert_eq!(shown, ["waiting", "live", "live", "ended"]);
    }
}
