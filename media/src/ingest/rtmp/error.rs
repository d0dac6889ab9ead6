//! Why an RTMP connection ended other than by its own wish.

use super::amf0::Amf0Error;
use crate::codec::CodecError;
use crate::hub::Revoked;
use crate::ingest::flv::TooMuch;
use crate::seam::Refusal;
use crate::tls::handshake_failure;
use rml_rtmp::handshake::HandshakeError;

/// The peer's chunks break the protocol or our limits. `at` counts bytes since the handshake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("chunk of format {format} on chunk stream {id} has no predecessor, at byte {at}")]
    NoPredecessor { format: u8, id: u32, at: u64 },
    #[error("a new message interrupts an unfinished one on chunk stream {id}, at byte {at}")]
    Interrupted { id: u32, at: u64 },
    #[error("message of type {type_id} announces {announced} bytes, {limit} are allowed, at byte {at}")]
    MessageTooLong { type_id: u8, announced: usize, limit: usize, at: u64 },
    #[error("unfinished messages hold more than {limit} bytes")]
    TooMuchUnfinished { limit: usize },
    #[error("more than {limit} chunk streams")]
    TooManyChunkStreams { limit: usize },
    #[error("chunk size {size} is out of range")]
    ChunkSize { size: u32 },
}

/// Ends of a connection. Each has a name for the counter, see [`ConnectionEnd::reason`].
#[derive(Debug, thiserror::Error)]
pub enum ConnectionEnd {
    #[error("closed by the peer")]
    PeerClosed,
    #[error("reading or writing failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("the TLS handshake failed: {0}")]
    Tls(std::io::Error),
    #[error("not an RTMP handshake: {0}")]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    #[error(transparent)]
    Amf0(#[from] Amf0Error),
    #[error("command {command} is not well formed")]
    Command { command: &'static str },
    #[error("unknown application")]
    UnknownApplication,
    #[error("RTMP playback is not served")]
    PlayRefused,
    #[error("publishing refused: {0}")]
    Refused(#[from] Refusal),
    #[error("media cannot be used: {0}")]
    Media(#[from] CodecError),
    #[error("too much media: {0}")]
    TooMuch(#[from] TooMuch),
    #[error("{0} took too long")]
    TooSlow(Deadline),
    #[error("publisher revoked: {0:?}")]
    Revoked(Revoked),
    #[error("the server stops")]
    Shutdown,
}

/// What a connection must have done in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    Handshake,
    Publish,
    FirstMedia,
    Idle,
    Write,
}

impl std::fmt::Display for Deadline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Handshake => "the handshake",
            Self::Publish => "the publish command",
            Self::FirstMedia => "the first media",
            Self::Idle => "the next byte",
            Self::Write => "taking our answer",
        })
    }
}

impl ConnectionEnd {
    /// Value of the counter's `reason` label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::PeerClosed => "peer_closed",
            Self::Io(_) => "io",
            Self::Tls(error) => handshake_failure(error),
            Self::Handshake(_) => "handshake",
            Self::Chunk(ChunkError::MessageTooLong { .. }) => "message_too_long",
            Self::Chunk(_) => "chunk",
            Self::Amf0(_) => "amf0",
            Self::Command { .. } => "command",
            Self::UnknownApplication => "unknown_application",
            Self::PlayRefused => "play",
            Self::Refused(_) => "refused",
            Self::Media(_) => "media",
            Self::TooMuch(TooMuch::Rate { .. }) => "rate",
            Self::TooMuch(TooMuch::Clock { .. }) => "clock",
            Self::TooSlow(Deadline::Handshake) => "slow_handshake",
            Self::TooSlow(Deadline::Publish) => "slow_publish",
            Self::TooSlow(Deadline::FirstMedia) => "no_media",
            Self::TooSlow(Deadline::Idle) => "idle",
            Self::TooSlow(Deadline::Write) => "slow_reader",
            Self::Revoked(Revoked::Replaced) => "replaced",
            Self::Revoked(Revoked::Ended) => "ended",
            Self::Shutdown => "shutdown",
        }
    }
}
