//! What media tells: facts in the past tense, each with all its reader needs.

use super::admission::{Protocol, ViewerIdentity};
use crate::model::{BroadcastId, ViewerId};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The listener. Implemented once, by the binary's bridge.
#[async_trait]
pub trait EventSink: Send + Sync + 'static {
    /// Never waits. `false`: the listener's queue was full and the event is lost; the next snapshot repairs the count.
    fn try_emit(&self, event: MediaEvent) -> bool;

    /// Waits for room. For facts that may not be lost, told by tasks that can wait.
    async fn emit(&self, event: MediaEvent);
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaEvent {
    /// First media of a broadcast arrived.
    BroadcastStarted {
        broadcast: BroadcastId,
        protocol: Protocol,
        at: SystemTime,
    },
    /// The publisher is gone; the broadcast waits for its return.
    BroadcastInterrupted {
        broadcast: BroadcastId,
        at: SystemTime,
    },
    /// A publisher came back within the grace.
    BroadcastResumed {
        broadcast: BroadcastId,
        protocol: Protocol,
        at: SystemTime,
    },
    BroadcastEnded {
        broadcast: BroadcastId,
        reason: BroadcastEnd,
        at: SystemTime,
    },
    ViewerJoined {
        broadcast: BroadcastId,
        viewer: ViewerId,
        identity: Option<ViewerIdentity>,
        transport: Transport,
        at: SystemTime,
    },
    ViewerLeft {
        broadcast: BroadcastId,
        viewer: ViewerId,
        identity: Option<ViewerIdentity>,
        transport: Transport,
        watched: Duration,
        at: SystemTime,
    },
    /// All present viewers of one broadcast over one transport, every ten seconds while it has any and once when the
    /// last has left: truth that repairs lost joins and leaves.
    AudienceSnapshot {
        broadcast: BroadcastId,
        transport: Transport,
        viewers: Vec<PresentViewer>,
        at: SystemTime,
    },
    /// In a show of several people, another one is the loudest now.
    ActiveSpeaker {
        /// The show's.
        broadcast: BroadcastId,
        /// Of whom is heard: the show's own, or a co-host's.
        speaker: BroadcastId,
        at: SystemTime,
    },
    /// A broadcast has a picture from here on, live and, if it is recorded, after its end. Told again after a restart.
    ThumbnailMade {
        broadcast: BroadcastId,
    },
    /// A broadcast is over, and this is what is kept of it for good. Told when its last segment is in the store, and again
    /// whenever that is asked for.
    RecordingEnded {
        broadcast: BroadcastId,
        recorded: Recorded,
        at: SystemTime,
    },
    /// Nothing is kept of a broadcast and its parts any more, as was ordered.
    RecordingDeleted {
        broadcast: BroadcastId,
        at: SystemTime,
    },
    /// Something in the publication will trouble viewers; the broadcaster should be told.
    IngestWarning {
        broadcast: BroadcastId,
        code: WarningCode,
    },
}

/// One viewer in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentViewer {
    pub viewer: ViewerId,
    pub identity: Option<ViewerIdentity>,
    pub transport: Transport,
    pub since: SystemTime,
}

/// What is kept of a broadcast that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// There was nothing to keep, or it was not to be kept.
    Nothing,
    /// The store took none of what there was.
    Lost,
    Kept {
        /// Of the longest rendition, as its playlist adds up.
        duration: Duration,
        has_video: bool,
    },
}

/// Why a broadcast is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BroadcastEnd {
    /// The control plane ended the session.
    Ended,
    /// The publisher did not come back within the grace.
    GraceOver,
    /// The host or a moderator was banned, or the key was revoked.
    Ejected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    Hls,
    Whep,
}

impl Transport {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hls => "hls",
            Self::Whep => "whep",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WarningCode {
    /// Keyframes are more than four seconds apart.
    LongGop,
    /// Frames are reordered: plays over HLS, not over WebRTC.
    BFrames,
    /// The codec is one that HLS cannot carry (VP8): plays over WebRTC, not over HLS, and is not recorded.
    WebrtcOnly,
}

/// A viewer's presence. Made when the first media was served, it tells `ViewerJoined`; dropped, `ViewerLeft`.
#[derive(Debug)]
pub struct ViewerGuard {
    events: Arc<dyn EventSink>,
    broadcast: BroadcastId,
    present: PresentViewer,
    joined: Instant,
}

impl std::fmt::Debug for dyn EventSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventSink")
    }
}

impl ViewerGuard {
    /// The time watched is counted from here.
    pub fn join(
        events: Arc<dyn EventSink>,
        broadcast: BroadcastId,
        viewer: ViewerId,
        identity: Option<ViewerIdentity>,
        transport: Transport,
    ) -> Self {
        let at = SystemTime::now();
        let present = PresentViewer { viewer, identity, transport, since: at };
        let PresentViewer { viewer, identity, .. } = present.clone();
        events.try_emit(MediaEvent::ViewerJoined { broadcast: broadcast.clone(), viewer, identity, transport, at });
        Self { events, broadcast, present, joined: Instant::now() }
    }

    pub fn present(&self) -> &PresentViewer {
        &self.present
    }
}

impl Drop for ViewerGuard {
    fn drop(&mut self) {
        let PresentViewer { viewer, identity, transport, .. } = self.present.clone();
        self.events.try_emit(MediaEvent::ViewerLeft {
            broadcast: self.broadcast.clone(),
            viewer,
            identity,
            transport,
            watched: self.joined.elapsed(),
            at: SystemTime::now(),
        });
    }
}

/// Takes every event and remembers none, for tests that ask for no events.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Deaf;

#[cfg(test)]
#[async_trait]
impl EventSink for Deaf {
    fn try_emit(&self, _: MediaEvent) -> bool {
        true
    }

    async fn emit(&self, _: MediaEvent) {}
}
