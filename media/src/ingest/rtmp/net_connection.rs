//! The command state machine of RTMP's NetConnection and NetStream (RTMP 1.0 section 7.2).
//!
//! In: whole messages. Out: answers for the socket, and events for the connection. Driven by `connection`, pure.
//!
//! Encoders differ in what they send between `connect` and `publish` and in what they wait for: OBS and FMLE send
//! `releaseStream` and `FCPublish` first, GStreamer waits for each answer, librtmp sends `_checkbw`. So every call is
//! answered in every phase; only `connect` must be the first and `publish` needs a stream.

use super::amf0;
use super::chunk::{Message, message_type};
use super::error::ConnectionEnd;
use super::publish_name::{ConnectPath, PublishName};
use super::writer::{self, WINDOW_BYTES, Writer, text};
use crate::ingest::flv::Hints;
use crate::seam::Refusal;
use bytes::{Buf, Bytes};
use rml_amf0::Amf0Value;
use std::collections::HashMap;

/// What the connection must act on.
#[derive(Debug)]
pub(super) enum Event {
    /// Ask admission, then answer with [`NetConnection::accept`] or [`NetConnection::refuse`].
    PublishRequested(PublishName),
    Metadata(Hints),
    Audio {
        timestamp: u32,
        body: Bytes,
    },
    Video {
        timestamp: u32,
        body: Bytes,
    },
    /// The encoder ended the publication and may begin another.
    Unpublished,
}

pub(super) struct NetConnection {
    application: String,
    phase: Phase,
    streams_made: u32,
    writer: Writer,
    received_bytes: u64,
    acknowledged_bytes: u64,
    window_bytes: u64,
}

enum Phase {
    /// Waits for `connect`.
    Fresh,
    /// Waits for `publish`.
    Connected(ConnectPath),
    /// Waits for admission's answer.
    Requested { path: ConnectPath, stream_id: u32 },
    /// Waits for media, and for the end of it.
    Publishing { path: ConnectPath, stream_id: u32 },
}

/// A peer that wants to hear from us more often than this is not served better by it.
const WINDOW_MIN_BYTES: u64 = 64 * 1024;

/// Enhanced RTMP v2 `capsEx`: multitrack and ModEx.
const CAPABILITIES: f64 = 6.0;
const FOURCCS: [&str; 6] = ["avc1", "hvc1", "av01", "vp09", "Opus", "mp4a"];

impl NetConnection {
    pub(super) fn new(application: &str) -> Self {
        Self {
            application: application.to_owned(),
            phase: Phase::Fresh,
            streams_made: 0,
            writer: Writer::new(),
            received_bytes: 0,
            acknowledged_bytes: 0,
            window_bytes: u64::from(WINDOW_BYTES),
        }
    }

    /// Bytes to be written before anything else is read. Empty most of the time.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        self.writer.take_output()
    }

    /// Counts what was read and acknowledges a full window (section 5.4.3).
    pub(super) fn count_received(&mut self, bytes: usize) {
        self.received_bytes += bytes as u64;
        if self.received_bytes - self.acknowledged_bytes >= self.window_bytes {
            self.acknowledged_bytes = self.received_bytes;
            self.writer.acknowledge(self.received_bytes);
        }
    }

    pub(super) fn handle_message(&mut self, message: Message) -> Result<Option<Event>, ConnectionEnd> {
        let Message { timestamp, type_id, stream_id, payload } = message;
        let publishing = matches!(self.phase, Phase::Publishing { .. });
        match type_id {
            message_type::AUDIO if publishing => Ok(Some(Event::Audio { timestamp, body: payload })),
            message_type::VIDEO if publishing => Ok(Some(Event::Video { timestamp, body: payload })),
            message_type::DATA_AMF0 | message_type::DATA_AMF3 if publishing => {
                // Data of other kinds and data that cannot be read are no reason to end a show.
                let values = amf0::decode(without_amf3_mark(type_id, &payload)).unwrap_or_default();
                Ok(Hints::parse(&values).map(Event::Metadata))
            }
            message_type::COMMAND_AMF0 | message_type::COMMAND_AMF3 => {
                let values = amf0::decode(without_amf3_mark(type_id, &payload))?;
                self.handle_command(stream_id, values)
            }
            message_type::WINDOW_ACK_SIZE => {
                let size = payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
                self.window_bytes = size.map_or(self.window_bytes, |size| u64::from(size).max(WINDOW_MIN_BYTES));
                Ok(None)
            }
            message_type::USER_CONTROL => {
                const PING_REQUEST: [u8; 2] = [0, 6];
                if let (Some(&PING_REQUEST), Some(time)) = (payload.first_chunk(), payload.last_chunk())
                    && payload.len() == 6
                {
                    self.writer.pong(u32::from_be_bytes(*time));
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn handle_command(&mut self, stream_id: u32, values: Vec<Amf0Value>) -> Result<Option<Event>, ConnectionEnd> {
        let mut values = values.into_iter();
        let (Some(Amf0Value::Utf8String(name)), transaction) = (values.next(), values.next()) else {
            return Err(ConnectionEnd::Command { command: "without a name" });
        };
        let transaction = match transaction {
            Some(Amf0Value::Number(transaction)) => transaction,
            _ => 0.0,
        };
        let command_object = values.next();
        let argument = values.next();
        match (name.as_str(), &self.phase) {
            ("connect", Phase::Fresh) => self.connect(transaction, command_object),
            (_, Phase::Fresh) => Err(ConnectionEnd::Command { command: "before connect" }),
            ("connect", _) => Err(ConnectionEnd::Command { command: "second connect" }),
            ("createStream", _) => {
                // One is used; encoders that ask again after a failure get another number.
                self.streams_made = self.streams_made.saturating_add(1);
                let id = Amf0Value::Number(f64::from(self.streams_made));
                self.writer.result(transaction, Amf0Value::Null, vec![id]);
                Ok(None)
            }
            ("publish", Phase::Connected(path)) => {
                let Some(Amf0Value::Utf8String(name)) = argument else {
                    return Err(ConnectionEnd::Command { command: "publish without a name" });
                };
                let path = path.clone();
                let publish_name = path.publish_name(&name);
                self.phase = Phase::Requested { path, stream_id };
                match publish_name {
                    Ok(name) => Ok(Some(Event::PublishRequested(name))),
                    Err(refusal) => {
                        self.refuse(&refusal);
                        Err(ConnectionEnd::Refused(refusal))
                    }
                }
            }
            ("publish", _) => Err(ConnectionEnd::Command { command: "second publish" }),
            ("play" | "play2", _) => {
                let description = "RTMP playback is not served here, use HLS or WHEP";
                self.writer.status(stream_id, "error", "NetStream.Play.Failed", description);
                Err(ConnectionEnd::PlayRefused)
            }
            ("FCPublish", _) => {
                self.writer.result(transaction, Amf0Value::Null, vec![Amf0Value::Undefined]);
                let status = writer::status("status", "NetStream.Publish.Start", "ready to publish");
                self.writer.command("onFCPublish", 0.0, 0, Amf0Value::Null, vec![status]);
                Ok(None)
            }
            ("FCUnpublish" | "deleteStream" | "closeStream", _) => Ok(self.unpublish(&name, transaction)),
            _ => {
                self.answer_other(&name, transaction);
                Ok(None)
            }
        }
    }

    /// Section 7.2.1.1; the FourCC list and `capsEx` are Enhanced RTMP's.
    fn connect(&mut self, transaction: f64, properties: Option<Amf0Value>) -> Result<Option<Event>, ConnectionEnd> {
        let Some(Amf0Value::Object(properties)) = properties else {
            return Err(ConnectionEnd::Command { command: "connect without properties" });
        };
        let word = |name: &str| match properties.get(name) {
            Some(Amf0Value::Utf8String(text)) => text.as_str(),
            _ => "",
        };
        let Some(path) = ConnectPath::parse(&self.application, word("app"), word("tcUrl")) else {
            let status = writer::status("error", "NetConnection.Connect.Rejected", "unknown application");
            self.writer.error(transaction, status);
            return Err(ConnectionEnd::UnknownApplication);
        };
        self.writer.greeting();
        let encoding = match properties.get("objectEncoding") {
            Some(Amf0Value::Number(encoding)) => *encoding,
            _ => 0.0,
        };
        let mut server = HashMap::from([
            ("fmsVer".to_owned(), text("FMS/3,5,7,7009")),
            ("capabilities".to_owned(), Amf0Value::Number(31.0)),
        ]);
        let enhanced = ["fourCcList", "capsEx", "videoFourCcInfoMap", "audioFourCcInfoMap"];
        if enhanced.iter().any(|name| properties.contains_key(*name)) {
            server.insert("fourCcList".to_owned(), Amf0Value::StrictArray(FOURCCS.map(text).to_vec()));
            server.insert("capsEx".to_owned(), Amf0Value::Number(CAPABILITIES));
        }
        let mut status = HashMap::from([("objectEncoding".to_owned(), Amf0Value::Number(encoding))]);
        if let Amf0Value::Object(success) = writer::status("status", "NetConnection.Connect.Success", "connected") {
            status.extend(success);
        }
        self.writer.result(transaction, Amf0Value::Object(server), vec![Amf0Value::Object(status)]);
        self.phase = Phase::Connected(path);
        Ok(None)
    }

    /// Calls that want an answer and change nothing.
    fn answer_other(&mut self, name: &str, transaction: f64) {
        match name {
            "releaseStream" | "_checkbw" | "setBufferTime" | "receiveAudio" | "receiveVideo" if transaction > 0.0 => {
                self.writer.result(transaction, Amf0Value::Null, vec![Amf0Value::Undefined]);
            }
            "getStreamLength" if transaction > 0.0 => {
                self.writer.result(transaction, Amf0Value::Null, vec![Amf0Value::Number(0.0)]);
            }
            // An answer to nothing we asked.
            "_result" | "_error" => {}
            _ if transaction > 0.0 => {
                let status = writer::status("error", "NetConnection.Call.Failed", "unknown call");
                self.writer.error(transaction, status);
            }
            _ => {}
        }
    }

    fn unpublish(&mut self, name: &str, transaction: f64) -> Option<Event> {
        if name == "FCUnpublish" && transaction > 0.0 {
            self.writer.result(transaction, Amf0Value::Null, vec![Amf0Value::Undefined]);
        }
        match std::mem::replace(&mut self.phase, Phase::Fresh) {
            Phase::Publishing { path, stream_id } => {
                self.writer.status(stream_id, "status", "NetStream.Unpublish.Success", "publishing stopped");
                self.phase = Phase::Connected(path);
                Some(Event::Unpublished)
            }
            phase @ (Phase::Fresh | Phase::Connected(_) | Phase::Requested { .. }) => {
                self.phase = phase;
                None
            }
        }
    }

    /// Admission said yes: media may come.
    pub(super) fn accept(&mut self) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Fresh) {
            Phase::Requested { path, stream_id } => {
                self.writer.stream_begin(stream_id);
                self.writer.status(stream_id, "status", "NetStream.Publish.Start", "publishing started");
                Phase::Publishing { path, stream_id }
            }
            phase @ (Phase::Fresh | Phase::Connected(_) | Phase::Publishing { .. }) => phase,
        };
    }

    /// Admission said no. The connection closes after this.
    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        let code = match refusal {
            Refusal::BadCredentials | Refusal::NotFound | Refusal::Forbidden | Refusal::Ended | Refusal::Busy => {
                "NetStream.Publish.BadName"
            }
            Refusal::Unavailable | Refusal::Stopping => "NetStream.Publish.Failed",
        };
        self.say_end("error", code, &refusal.to_string());
    }

    /// The publication is over for a reason on our side. The connection closes after this.
    pub(super) fn revoke(&mut self, description: &str) {
        self.say_end("status", "NetStream.Unpublish.Success", description);
    }

    /// The encoder sends what nobody could play. The connection closes after this.
    pub(super) fn reject_media(&mut self, description: &str) {
        self.say_end("error", "NetStream.Publish.Rejected", description);
    }

    fn say_end(&mut self, level: &str, code: &str, description: &str) {
        if let Phase::Requested { stream_id, .. } | Phase::Publishing { stream_id, .. } = self.phase {
            self.writer.status(stream_id, level, code, description);
        }
    }
}

/// Messages of AMF3 type carry AMF0 behind a zero byte; Flash-made encoders and some phones send them so.
fn without_amf3_mark(type_id: u8, payload: &Bytes) -> &[u8] {
    let marked = matches!(type_id, message_type::COMMAND_AMF3 | message_type::DATA_AMF3);
    if marked { payload.strip_prefix(&[0]).unwrap_or(payload) } else { payload }
}

/// The messages inside an aggregate (section 7.1.6): FLV tags, each followed by its size. Their timestamps count from
/// the aggregate's own. Ends at the first that is not whole.
pub(super) fn split_aggregate(aggregate: Message) -> Vec<Message> {
    let mut rest = aggregate.payload;
    let mut messages = Vec::new();
    let mut first_timestamp = None;
    while rest.len() >= 11 {
        let head = rest.split_to(11);
        let size = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
        if rest.len() < size {
            break;
        }
        let own = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
        let timestamp = aggregate.timestamp.wrapping_add(own.wrapping_sub(*first_timestamp.get_or_insert(own)));
        let payload = rest.split_to(size);
        rest.advance(rest.len().min(4));
        messages.push(Message { timestamp, type_id: head[0], stream_id: aggregate.stream_id, payload });
    }
    messages
}

#[cfg(test)]
#[path = "net_connection_tests.rs"]
mod tests;
