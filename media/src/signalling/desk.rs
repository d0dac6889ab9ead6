//! What is asked of whoever makes connections.

use super::doorkeeper::ResourceId;
use super::fragment::SdpFragment;
use crate::model::{BroadcastId, ViewerId};
use crate::seam::{Refusal, Secret};
use crate::whep::wish::{Choice, PictureLayers};
use async_trait::async_trait;
use std::net::SocketAddr;
use std::time::Duration;

/// Makes, restarts and closes connections.
#[async_trait]
pub(crate) trait Desk: Send + Sync + 'static {
    /// One offer, one answer.
    async fn open(&self, request: OpenRequest) -> Result<Opened, DeskError>;
    /// Candidates of the client.
    async fn trickle(&self, resource: &ResourceId, fragment: &SdpFragment) -> Result<(), DeskError>;
    /// New credentials of the client for new ones of ours, in the ICE session of this tag. Nothing is waited for once the
    /// tag is another.
    async fn restart(
        &self,
        resource: &ResourceId,
        before: &str,
        fragment: &SdpFragment,
    ) -> Result<Restarted, DeskError>;
    async fn close(&self, resource: &ResourceId) -> Result<(), DeskError>;
    /// What a viewer's pictures are made of; before that it makes a choice.
    async fn layers(&self, resource: &ResourceId, choice: Option<Choice>) -> Result<Vec<PictureLayers>, DeskError>;
    /// Whether a connection is there, connected already or not.
    fn has(&self, resource: &ResourceId) -> bool;
    /// The server stops: nobody new is let in.
    fn is_draining(&self) -> bool;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// WHIP.
    Publish,
    /// WHEP.
    Play,
}

#[derive(Debug, Clone)]
pub(crate) struct OpenRequest {
    pub(crate) direction: Direction,
    /// Named in the path; a stream key alone also finds its broadcast.
    pub(crate) target: Option<BroadcastId>,
    /// The bearer token.
    pub(crate) secret: Option<Secret>,
    pub(crate) offer: String,
    /// What a player without a ticket calls itself (`X-Playback-Session-Id`), so that its connections are known as one
    /// viewer's.
    pub(crate) name: Option<ViewerId>,
    pub(crate) peer: SocketAddr,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) resource: ResourceId,
    /// Names the ICE session; without quotes.
    pub(crate) etag: String,
    pub(crate) answer: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restarted {
    pub(crate) etag: String,
    pub(crate) fragment: String,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeskError {
    /// The SDP is broken or breaks the RFC's rules.
    BadOffer(String),
    /// Good SDP that cannot be answered (RFC 9725 section 4.4.3).
    Unanswerable(String),
    /// What was chosen is not there.
    NoSuchLayer(String),
    Refused(Refusal),
    /// Put out of the show.
    Ejected,
    NotLive {
        retry_after: Duration,
    },
    /// WebRTC cannot carry this show to this client; HLS can.
    PlaysOnlyByHls {
        reason: String,
        hls_path: String,
    },
    Full {
        retry_after: Duration,
    },
    /// As many watch from the same address as may.
    AddressFull {
        retry_after: Duration,
    },
    /// Too many of the same address are not connected yet.
    Crowded {
        retry_after: Duration,
    },
    /// Another restart was first.
    Restarted,
    Gone,
}
