//! C0 to S2 (RTMP 1.0 section 5.2), plain or with Flash's digest, through `rml_rtmp`.
//!
//! In: the first 3 073 bytes of a connection. Out: ours, and what came after them. Driven by `connection`, which also
//! holds the deadline.

use rml_rtmp::handshake::{Handshake as Engine, HandshakeError, HandshakeProcessResult, PeerType};

pub(super) struct Handshake {
    engine: Engine,
}

pub(super) struct HandshakeStep {
    pub(super) response: Vec<u8>,
    /// The bytes behind the handshake, once it is done.
    pub(super) rest: Option<Vec<u8>>,
}

impl Handshake {
    pub(super) fn new() -> Self {
        Self { engine: Engine::new(PeerType::Server) }
    }

    /// Keeps at most what is missing of the handshake and `bytes` itself.
    pub(super) fn handle_input(&mut self, bytes: &[u8]) -> Result<HandshakeStep, HandshakeError> {
        Ok(match self.engine.process_bytes(bytes)? {
            HandshakeProcessResult::InProgress { response_bytes } => {
                HandshakeStep { response: response_bytes, rest: None }
            }
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                HandshakeStep { response: response_bytes, rest: Some(remaining_bytes) }
            }
        })
    }
}
