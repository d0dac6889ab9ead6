//! Our side of the conversation: messages become chunks through `rml_rtmp`'s serializer.
//!
//! In: what to say. Out: bytes for the socket. Driven by `net_connection`.

use rml_amf0::Amf0Value;
use rml_rtmp::chunk_io::ChunkSerializer;
use rml_rtmp::messages::{PeerBandwidthLimitType, RtmpMessage, UserControlEventType};
use rml_rtmp::time::RtmpTimestamp;
use std::collections::HashMap;

/// Collects bytes until the connection takes them. Holds a few hundred bytes: every answer is flushed before the next
/// message is read.
pub(super) struct Writer {
    serializer: ChunkSerializer,
    out: Vec<u8>,
}

/// Fits the longest answer and lets encoders that copy our size (ffmpeg) send a frame in one or two chunks.
const CHUNK_SIZE: u32 = 65_536;
/// How many bytes the peer may send before it hears from us, and we before we hear from it.
pub(super) const WINDOW_BYTES: u32 = 2_500_000;

/// An AMF0 object literal.
pub(super) fn object<const N: usize>(properties: [(&str, Amf0Value); N]) -> Amf0Value {
    Amf0Value::Object(properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<HashMap<_, _>>())
}

pub(super) fn text(text: &str) -> Amf0Value {
    Amf0Value::Utf8String(text.to_owned())
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { serializer: ChunkSerializer::new(), out: Vec::new() }
    }

    pub(super) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Window, bandwidth and chunk size, before the answer to `connect` (RTMP 1.0 section 7.2.1.1).
    pub(super) fn greeting(&mut self) {
        self.message(RtmpMessage::WindowAcknowledgement { size: WINDOW_BYTES }, 0);
        let limit_type = PeerBandwidthLimitType::Dynamic;
        self.message(RtmpMessage::SetPeerBandwidth { size: WINDOW_BYTES, limit_type }, 0);
        let packet = self.serializer.set_max_chunk_size(CHUNK_SIZE, RtmpTimestamp::new(0));
        self.out.extend(packet.expect("the chunk size is in range").bytes);
    }

    pub(super) fn acknowledge(&mut self, total: u64) {
        // The sequence number wraps at 2^32 like everything in RTMP.
        self.message(RtmpMessage::Acknowledgement { sequence_number: total as u32 }, 0);
    }

    pub(super) fn pong(&mut self, timestamp: u32) {
        self.user_control(UserControlEventType::PingResponse, None, Some(RtmpTimestamp::new(timestamp)));
    }

    pub(super) fn stream_begin(&mut self, stream_id: u32) {
        self.user_control(UserControlEventType::StreamBegin, Some(stream_id), None);
    }

    pub(super) fn result(&mut self, transaction: f64, object: Amf0Value, arguments: Vec<Amf0Value>) {
        self.command("_result", transaction, 0, object, arguments);
    }

    pub(super) fn error(&mut self, transaction: f64, status: Amf0Value) {
        self.command("_error", transaction, 0, Amf0Value::Null, vec![status]);
    }

    pub(super) fn status(&mut self, stream_id: u32, level: &str, code: &str, description: &str) {
        let status = status(level, code, description);
        self.command("onStatus", 0.0, stream_id, Amf0Value::Null, vec![status]);
    }

    pub(super) fn command(
        &mut self,
        name: &str,
        transaction: f64,
        stream_id: u32,
        object: Amf0Value,
        arguments: Vec<Amf0Value>,
    ) {
        let message = RtmpMessage::Amf0Command {
            command_name: name.to_owned(),
            transaction_id: transaction,
            command_object: object,
            additional_arguments: arguments,
        };
        self.message(message, stream_id);
    }

    fn user_control(&mut self, event_type: UserControlEventType, id: Option<u32>, timestamp: Option<RtmpTimestamp>) {
        self.message(RtmpMessage::UserControl { event_type, stream_id: id, buffer_length: None, timestamp }, 0);
    }

    fn message(&mut self, message: RtmpMessage, stream_id: u32) {
        let payload = message.into_message_payload(RtmpTimestamp::new(0), stream_id);
        let payload = payload.expect("what we say has no text longer than AMF0 allows");
        // Whole headers: some encoders lose their way when the first messages leave theirs out.
        let packet = self.serializer.serialize(&payload, true, false);
        self.out.extend(packet.expect("what we say is shorter than a message may be").bytes);
    }
}

/// The object an `onStatus` or `_error` carries (RTMP 1.0 section 7.2.2).
pub(super) fn status(level: &str, code: &str, description: &str) -> Amf0Value {
    object([("level", text(level)), ("code", text(code)), ("description", text(description))])
}
