//! A small RTMP publisher that does exactly what a test says, good or bad.

use super::in_time;
use bytes::Bytes;
use chobi_media::ingest::flv::{TagKind, read_tags};
use rml_amf0::Amf0Value;
use rml_rtmp::chunk_io::{ChunkDeserializer, ChunkSerializer};
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::messages::{MessagePayload, RtmpMessage};
use rml_rtmp::time::RtmpTimestamp;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const AUDIO: u8 = 8;
pub const VIDEO: u8 = 9;
pub const DATA: u8 = 18;

pub struct RtmpClient {
    pub socket: TcpStream,
    serializer: ChunkSerializer,
    deserializer: ChunkDeserializer,
    received: Vec<u8>,
}

/// Why the client did not get to publish.
#[derive(Debug, PartialEq, Eq)]
pub enum Denied {
    Status(String),
    Closed,
}

pub fn text(text: &str) -> Amf0Value {
    Amf0Value::Utf8String(text.to_owned())
}

impl RtmpClient {
    /// Connects and shakes hands.
    pub async fn connect(address: SocketAddr) -> Self {
        let mut socket = in_time("a connection", TcpStream::connect(address)).await.expect("the listener accepts");
        let mut handshake = Handshake::new(PeerType::Client);
        let hello = handshake.generate_outbound_p0_and_p1().expect("a handshake begins");
        socket.write_all(&hello).await.expect("the hello is taken");
        let received = in_time("the handshake", async {
            let mut buffer = [0; 4_096];
            loop {
                let read = socket.read(&mut buffer).await.expect("the server answers");
                assert!(read > 0, "the server closed during the handshake");
                match handshake.process_bytes(&buffer[..read]).expect("a valid handshake") {
                    HandshakeProcessResult::InProgress { response_bytes } => {
                        socket.write_all(&response_bytes).await.expect("the answer is taken");
                    }
                    HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                        socket.write_all(&response_bytes).await.expect("the answer is taken");
                        return remaining_bytes;
                    }
                }
            }
        })
        .await;
        Self { socket, serializer: ChunkSerializer::new(), deserializer: ChunkDeserializer::new(), received }
    }

    /// Connects and publishes `name`, `rtmp://…/<app>/<name>`.
    pub async fn publish(address: SocketAddr, app: &str, name: &str) -> Result<Self, Denied> {
        let mut client = Self::connect(address).await;
        client.open(app).await?;
        client.command(1, "publish", 5.0, &[Amf0Value::Null, text(name), text("live")]).await;
        match client.status().await?.as_str() {
            "NetStream.Publish.Start" => Ok(client),
            code => Err(Denied::Status(code.to_owned())),
        }
    }

    /// `connect` and `createStream`, as Enhanced RTMP encoders do.
    pub async fn open(&mut self, app: &str) -> Result<(), Denied> {
        let fourccs = Amf0Value::StrictArray(["hvc1", "av01", "vp09", "Opus"].map(text).to_vec());
        let properties = [("app", text(app)), ("tcUrl", text("rtmp://test/live")), ("fourCcList", fourccs)];
        let properties = properties.into_iter().map(|(name, value)| (name.to_owned(), value));
        self.command(0, "connect", 1.0, &[Amf0Value::Object(properties.collect())]).await;
        self.result().await?;
        let packet = self.serializer.set_max_chunk_size(4_096, RtmpTimestamp::new(0)).expect("a legal size");
        self.send_raw(&packet.bytes).await;
        self.command(0, "createStream", 2.0, &[Amf0Value::Null]).await;
        self.result().await
    }

    pub async fn command(&mut self, stream_id: u32, name: &str, transaction: f64, arguments: &[Amf0Value]) {
        let values = [vec![text(name), Amf0Value::Number(transaction)], arguments.to_vec()].concat();
        let payload = rml_amf0::serialize(&values).expect("short values");
        self.send(20, stream_id, 0, payload.into()).await;
    }

    pub async fn video(&mut self, timestamp: u32, body: impl Into<Bytes>) {
        self.send(VIDEO, 1, timestamp, body.into()).await;
    }

    pub async fn audio(&mut self, timestamp: u32, body: impl Into<Bytes>) {
        self.send(AUDIO, 1, timestamp, body.into()).await;
    }

    /// `onMetaData` with numbers.
    pub async fn metadata(&mut self, properties: &[(&str, f64)]) {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), Amf0Value::Number(*value)));
        let values = vec![text("@setDataFrame"), text("onMetaData"), Amf0Value::Object(properties.collect())];
        self.send(DATA, 1, 0, rml_amf0::serialize(&values).expect("short values").into()).await;
    }

    /// Sends all tags of an FLV clip at once, `offset_ms` later than they say.
    pub async fn clip(&mut self, clip: &Bytes, offset_ms: u32) {
        for tag in read_tags(clip).expect("an FLV clip") {
            let type_id = match tag.kind {
                TagKind::Audio => AUDIO,
                TagKind::Video => VIDEO,
                TagKind::Script => DATA,
            };
            self.send(type_id, 1, tag.timestamp_ms.wrapping_add(offset_ms), tag.body).await;
        }
    }

    /// Any message. A connection that the server has closed takes nothing; that shows when the end is awaited.
    pub async fn send(&mut self, type_id: u8, stream_id: u32, timestamp: u32, data: Bytes) {
        let timestamp = RtmpTimestamp::new(timestamp);
        let message = MessagePayload { timestamp, type_id, message_stream_id: stream_id, data };
        let packet = self.serializer.serialize(&message, false, false).expect("a legal message");
        self.send_raw(&packet.bytes).await;
    }

    pub async fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }

    /// Waits for the next `_result`.
    pub async fn result(&mut self) -> Result<(), Denied> {
        loop {
            let (name, code) = self.answer().await?;
            match name.as_str() {
                "_result" => return Ok(()),
                "_error" | "onStatus" => return Err(Denied::Status(code)),
                _ => {}
            }
        }
    }

    /// Waits for the next `onStatus` and returns its code.
    pub async fn status(&mut self) -> Result<String, Denied> {
        loop {
            let (name, code) = self.answer().await?;
            if name == "onStatus" {
                return Ok(code);
            }
        }
    }

    /// The next command from the server with the `code` in it, if there is one.
    async fn answer(&mut self) -> Result<(String, String), Denied> {
        loop {
            let received = std::mem::take(&mut self.received);
            let message = self.deserializer.get_next_message(&received).expect("the server writes legal chunks");
            let Some(message) = message else {
                let mut buffer = vec![0; 4_096];
                let read = in_time("an answer", self.socket.read(&mut buffer)).await.unwrap_or(0);
                if read == 0 {
                    return Err(Denied::Closed);
                }
                buffer.truncate(read);
                self.received = buffer;
                continue;
            };
            match message.to_rtmp_message().expect("the server writes legal messages") {
                RtmpMessage::SetChunkSize { size } => {
                    self.deserializer.set_max_chunk_size(size as usize).expect("a legal size");
                }
                RtmpMessage::Amf0Command { command_name, additional_arguments, .. } => {
                    let code = additional_arguments
                        .into_iter()
                        .find_map(|value| value.get_object_properties()?.remove("code")?.get_string());
                    return Ok((command_name, code.unwrap_or_default()));
                }
                _ => {}
            }
        }
    }

    /// Waits until the server has closed the connection.
    pub async fn closed(&mut self) {
        let mut buffer = [0; 4_096];
        in_time("the server to close", async {
            // An end and a reset are the same to us.
            while self.socket.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        })
        .await;
    }
}
