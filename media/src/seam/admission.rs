//! The one question media asks before it lets anybody publish or watch.

use super::Secret;
use crate::model::{BroadcastId, PeerAddr};
use async_trait::async_trait;
use std::time::SystemTime;

/// Answered by the control plane. Asked once per connection, never per packet or per request.
#[async_trait]
pub trait Admission: Send + Sync + 'static {
    async fn admit_publisher(&self, request: PublishRequest) -> Result<PublishGrant, Refusal>;
    /// Whether what this broadcast sends is to be kept after its end. Asked once, when it begins.
    async fn keeps_recording(&self, _broadcast: &BroadcastId) -> Result<bool, Refusal> {
        Ok(true)
    }

    async fn admit_viewer(&self, request: WatchRequest) -> Result<WatchGrant, Refusal>;

    /// Whether somebody may take the replay of a broadcast home. Asked with every request for it: those are few and long.
    async fn admit_download(&self, _request: WatchRequest) -> Result<DownloadGrant, Refusal> {
        Err(Refusal::Forbidden)
    }
}

#[derive(Debug, Clone)]
pub struct PublishRequest {
    /// Named by the encoder beside its key (`/live/<sessionId>?key=…`); the key alone also finds the broadcast.
    pub broadcast: Option<BroadcastId>,
    pub key: Secret,
    pub protocol: Protocol,
    pub peer: PeerAddr,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishGrant {
    pub broadcast: BroadcastId,
    /// Who publishes. The same identity takes a living publication over; another one is refused.
    pub publisher: String,
    /// Given to a co-host: the broadcast is a part of another one.
    pub part: Option<Part>,
}

/// What makes a broadcast that of a co-host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The host's broadcast. Its viewers are offered this one too, and its end is the end of both.
    pub of: BroadcastId,
    /// Nobody hears them, for now.
    pub muted: bool,
}

impl PublishGrant {
    /// For the host of a show.
    pub fn of_host(broadcast: BroadcastId, publisher: impl Into<String>) -> Self {
        Self { broadcast, publisher: publisher.into(), part: None }
    }
}

#[derive(Debug, Clone)]
pub struct WatchRequest {
    pub broadcast: BroadcastId,
    /// Absent for a public broadcast.
    pub ticket: Option<Secret>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchGrant {
    /// Known when a ticket was presented.
    pub viewer: Option<ViewerIdentity>,
    /// The grant must be asked for again after this.
    pub expires: Option<SystemTime>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadGrant {
    /// What the file is called, as its owner wrote it; without an ending.
    pub title: String,
    /// Nobody else may be given what is given here.
    pub is_private: bool,
}

/// Whose ticket it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewerIdentity {
    /// The user's id, or the guest id the ticket was made for.
    pub id: String,
    pub is_guest: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Rtmp,
    Whip,
    /// The looping clip of `--demo`.
    Demo,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Whip => "whip",
            Self::Demo => "demo",
        }
    }
}

/// Why not. Each maps to one answer per protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the stream key or ticket is not valid")]
    BadCredentials,
    #[error("no such broadcast")]
    NotFound,
    #[error("not allowed here")]
    Forbidden,
    #[error("the session has ended")]
    Ended,
    #[error("another publisher holds this broadcast")]
    Busy,
    #[error("admission is not available, try again shortly")]
    Unavailable,
    #[error("the server stops, connect again in a moment")]
    Stopping,
}
