//! The facts media tells: what happened, to which session, when. Each carries all its reader needs, so nobody asks back.

use std::time::{Duration, SystemTime};

use crate::id::{GuestId, SessionId, UserId};
use crate::session::EndReason;
use crate::video::Recorded;

/// A fact from the live plane, in the past tense.
#[derive(Debug, Clone)]
pub enum LiveFact {
    /// The first media of a session arrived, or media came back after a restart of the server.
    WentLive { session_id: SessionId, at: SystemTime },
    /// The publisher is gone; viewers stay attached for the grace.
    Interrupted { session_id: SessionId, at: SystemTime },
    /// The publisher is back within the grace.
    Resumed { session_id: SessionId, at: SystemTime },
    /// The broadcast is over for good.
    Ended { session_id: SessionId, at: SystemTime, reason: EndReason },
    /// A viewer received its first media.
    ViewerJoined {
        session_id: SessionId,
        viewer_id: String,
        identity: Option<ViewerIdentity>,
        transport: Transport,
        at: SystemTime,
    },
    /// A viewer is gone. Comes exactly once for each join that was told.
    ViewerLeft { session_id: SessionId, viewer_id: String, watched: Duration, at: SystemTime },
    /// Everybody who watches now over one transport. Repairs what a full queue lost.
    Audience { session_id: SessionId, transport: Transport, viewers: Vec<ViewerEntry>, at: SystemTime },
    /// Something about the incoming media that the host should know, such as B-frames. `code` is stable, for the
    /// app to translate.
    IngestWarning { session_id: SessionId, code: String, at: SystemTime },
    /// Among several who publish, another one is the loudest: the host (`None`) or a co-host.
    ActiveSpeaker { session_id: SessionId, co_host: Option<UserId>, at: SystemTime },
    /// A co-host's first media arrived, or media came back. Moves nothing but their place in the list.
    CoHostLive { session_id: SessionId, user_id: UserId, at: SystemTime },
    /// A co-host's publisher is gone, for whatever reason.
    CoHostGone { session_id: SessionId, user_id: UserId, at: SystemTime },
    /// There is a picture of the show from here on. May come twice.
    ThumbnailMade { session_id: SessionId },
    /// The show is over and this is what is kept of it, for good. May come twice, and before [`LiveFact::Ended`].
    RecordingEnded { session_id: SessionId, recorded: Recorded, at: SystemTime },
    /// Nothing is kept of the show any more, as was ordered.
    RecordingDeleted { session_id: SessionId, at: SystemTime },
}

impl LiveFact {
    /// The session the fact is about.
    pub fn session_id(&self) -> &SessionId {
        match self {
            Self::WentLive { session_id, .. }
            | Self::Interrupted { session_id, .. }
            | Self::Resumed { session_id, .. }
            | Self::Ended { session_id, .. }
            | Self::ViewerJoined { session_id, .. }
            | Self::ViewerLeft { session_id, .. }
            | Self::Audience { session_id, .. }
            | Self::IngestWarning { session_id, .. }
            | Self::ActiveSpeaker { session_id, .. }
            | Self::CoHostLive { session_id, .. }
            | Self::CoHostGone { session_id, .. }
            | Self::ThumbnailMade { session_id }
            | Self::RecordingEnded { session_id, .. }
            | Self::RecordingDeleted { session_id, .. } => session_id,
        }
    }
}

/// One viewer in an audience snapshot.
#[derive(Debug, Clone)]
pub struct ViewerEntry {
    pub viewer_id: String,
    pub identity: Option<ViewerIdentity>,
    pub transport: Transport,
    pub joined_at: SystemTime,
}

/// Who a viewer is, as far as its ticket said. Admission gives it out; media carries it back unopened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ViewerIdentity {
    User(UserId),
    /// Somebody without an account, named by `joinSession`.
    Guest(GuestId),
}

impl ViewerIdentity {
    /// The id that stands for this person in counts and in frames.
    pub fn as_str(&self) -> &str {
        match self {
            Self::User(user_id) => user_id.as_str(),
            Self::Guest(guest_id) => guest_id.as_str(),
        }
    }

    pub fn user_id(&self) -> Option<&UserId> {
        match self {
            Self::User(user_id) => Some(user_id),
            Self::Guest(_) => None,
        }
    }
}

/// How a viewer watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    Whep,
    Hls,
}
