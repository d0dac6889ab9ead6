//! What became of a peer.

use std::time::Duration;

/// How a peer stood when it was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Connected to the end.
    Stayed,
    /// Still on its way when the time was over.
    Connecting,
    /// No address of the answer answered a connectivity check.
    NoPath,
    /// DTLS failed, or was not over in time.
    NoKeys(String),
    /// The server said goodbye.
    Closed,
    /// The server no longer answers connectivity checks (RFC 7675).
    Silent,
    /// This machine gave no socket.
    NoSocket(String),
}

/// One peer's figures. Times count from the POST of its offer.
#[derive(Debug, Clone)]
pub struct PeerReport {
    pub number: usize,
    pub fate: Fate,
    /// DTLS was done.
    pub connected: Option<Duration>,
    pub first_packet: Option<Duration>,
    /// The first packet of a picture that can be decoded alone.
    pub first_keyframe: Option<Duration>,
    pub video: LaneReport,
    pub audio: LaneReport,
    /// Packets that were opened, so that they are known to be authentic, and those that were not.
    pub verified: u64,
    pub forged: u64,
    pub keyframe_requests: u64,
}

/// One direction of one track: received by a viewer, sent by a publisher.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneReport {
    pub packets: u64,
    pub bytes: u64,
    /// A viewer's: numbers that never came, asked for or not. A publisher's: what the server's last report says.
    pub lost: u64,
    /// Numbers asked for by NACK: by this viewer, or of this publisher.
    pub asked: u64,
    /// Sent again, and of use.
    pub resent: u64,
    pub reordered: u64,
    pub duplicates: u64,
}

impl PeerReport {
    pub fn packets(&self) -> u64 {
        self.video.packets + self.audio.packets
    }
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stayed => f.write_str("connected to the end"),
            Self::Connecting => f.write_str("was still connecting when the time was over"),
            Self::NoPath => f.write_str("no address of the answer answers over UDP; is the server's port reachable?"),
            Self::NoKeys(why) => write!(f, "DTLS: {why}"),
            Self::Closed => f.write_str("the server closed the connection"),
            Self::Silent => f.write_str("the server stopped answering connectivity checks"),
            Self::NoSocket(why) => write!(f, "no socket: {why}"),
        }
    }
}
