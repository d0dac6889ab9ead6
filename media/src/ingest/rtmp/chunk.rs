//! Chunks become messages (RTMP 1.0 section 5.3.1), bounded in every direction.
//!
//! In: bytes in any portions. Out: whole messages. Driven by `connection`. Writing is `rml_rtmp`'s serializer.
//!
//! ```text
//! basic header     fmt 2, csid 6 (0: one more byte, 1: two more)
//! message header   fmt 0: timestamp 3, length 3, type 1, message stream id 4 (little endian)
//!                  fmt 1: delta 3, length 3, type 1     fmt 2: delta 3     fmt 3: nothing
//! extended         4 bytes where the 3-byte field is 0xFFFFFF, repeated on fmt 3
//! ```
//!
//! A message's memory grows with the bytes that have arrived, never with the length it announces.

use super::error::ChunkError;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A whole RTMP message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Milliseconds on the sender's clock, wrapping at 2^32.
    pub timestamp: u32,
    pub type_id: u8,
    pub stream_id: u32,
    pub payload: Bytes,
}

/// Message types that are named outside this file (RTMP 1.0 sections 5.4 and 7.1).
pub mod message_type {
    pub const SET_CHUNK_SIZE: u8 = 1;
    pub const ABORT: u8 = 2;
    pub const ACKNOWLEDGEMENT: u8 = 3;
    pub const USER_CONTROL: u8 = 4;
    pub const WINDOW_ACK_SIZE: u8 = 5;
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    pub const AUDIO: u8 = 8;
    pub const VIDEO: u8 = 9;
    pub const DATA_AMF3: u8 = 15;
    pub const COMMAND_AMF3: u8 = 17;
    pub const DATA_AMF0: u8 = 18;
    pub const COMMAND_AMF0: u8 = 20;
    pub const AGGREGATE: u8 = 22;
}

/// What one connection may make us keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Of an audio, video or aggregate message, once publishing was accepted.
    pub media_message_max_bytes: usize,
    /// Of every other message, and of media before that.
    pub command_message_max_bytes: usize,
    /// Of all unfinished messages together.
    pub unfinished_max_bytes: usize,
    pub chunk_streams_max: usize,
}

#[derive(Debug)]
pub struct ChunkReader {
    limits: ChunkLimits,
    media_accepted: bool,
    chunk_size: usize,
    /// Few: encoders use three to five. Searched from the front, the latest used first.
    chunk_streams: Vec<ChunkStream>,
    /// Bytes of unfinished messages.
    unfinished_bytes: usize,
    /// Where the reader stands inside a chunk: bytes of its payload still to come, for `chunk_streams[0]`.
    payload_left: usize,
    /// The start of a header whose rest has not arrived.
    carry: Carry,
    /// Bytes consumed since the handshake, to say where a fault was.
    consumed: u64,
}

#[derive(Debug)]
struct ChunkStream {
    id: u32,
    timestamp: u32,
    /// The field as it was sent: absolute after fmt 0, else the delta.
    field: u32,
    extended: bool,
    length: usize,
    type_id: u8,
    stream_id: u32,
    /// A message of which chunks are still to come.
    message: Option<BytesMut>,
}

/// Three bytes of basic header, eleven of message header, four of extended timestamp.
const HEADER_MAX_BYTES: usize = 18;
const EXTENDED: u32 = 0x00ff_ffff;
/// RTMP 1.0 section 5.4.1.
const CHUNK_SIZE_DEFAULT: usize = 128;
const CHUNK_SIZE_MIN: u32 = 128;
const CHUNK_SIZE_MAX: u32 = 1024 * 1024;
/// The first allocation of a message; most frames fit. It then grows to four times what has arrived.
const FIRST_RESERVE_BYTES: usize = 16 * 1024;
const GROWTH: usize = 4;

#[derive(Debug, Default)]
struct Carry {
    bytes: [u8; HEADER_MAX_BYTES],
    length: usize,
}

enum Step {
    Message(Message),
    Progress,
    /// The input is used up, or holds only the start of a header.
    NeedsMore,
}

/// A header that is complete: what it says and how long it is.
struct Header {
    chunk_stream: usize,
    length: usize,
}

impl ChunkReader {
    pub fn new(limits: ChunkLimits) -> Self {
        Self {
            limits,
            media_accepted: false,
            chunk_size: CHUNK_SIZE_DEFAULT,
            chunk_streams: Vec::with_capacity(4),
            unfinished_bytes: 0,
            payload_left: 0,
            carry: Carry::default(),
            consumed: 0,
        }
    }

    /// Whether large media messages are allowed from now on.
    pub fn set_media_accepted(&mut self, accepted: bool) {
        self.media_accepted = accepted;
    }

    /// The next whole message, or `None` when `input` is used up. Set Chunk Size and Abort take effect here and are
    /// also returned.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Message>, ChunkError> {
        loop {
            let message = if self.carry.length > 0 { self.step_carried(input)? } else { self.step(input)? };
            match message {
                Step::Message(message) => {
                    self.obey(&message)?;
                    return Ok(Some(message));
                }
                Step::Progress => {}
                Step::NeedsMore => {
                    self.carry.length = self.carry.fill(input);
                    *input = &[];
                    return Ok(None);
                }
            }
        }
    }

    /// Steps over the kept start of a header followed by the new bytes.
    fn step_carried(&mut self, input: &mut &[u8]) -> Result<Step, ChunkError> {
        let before = self.carry.length;
        let filled = self.carry.fill(input);
        let joined = self.carry.bytes;
        let mut rest = &joined[..filled];
        let step = self.step(&mut rest)?;
        let used = filled - rest.len();
        if used >= before {
            self.carry.length = 0;
            input.advance(used - before);
        } else {
            // Bytes that looked like the start of an extended timestamp are payload or the next header after all.
            self.carry.bytes.copy_within(used..before, 0);
            self.carry.length = before - used;
        }
        Ok(step)
    }

    /// Takes one header, if one is due, and what is there of its chunk's payload.
    fn step(&mut self, input: &mut &[u8]) -> Result<Step, ChunkError> {
        if self.payload_left == 0 {
            let Some(header) = self.parse_header(input)? else { return Ok(Step::NeedsMore) };
            input.advance(header.length);
            self.enter(header);
        } else if input.is_empty() {
            return Ok(Step::NeedsMore);
        }
        let portion = self.payload_left.min(input.len());
        self.append(&input[..portion])?;
        input.advance(portion);
        self.consumed += portion as u64;
        self.payload_left -= portion;
        let finished = if self.payload_left == 0 { self.finish() } else { None };
        Ok(finished.map_or(Step::Progress, Step::Message))
    }

    fn enter(&mut self, header: Header) {
        self.consumed += header.length as u64;
        self.chunk_streams.swap(0, header.chunk_stream);
        let stream = &self.chunk_streams[0];
        let arrived = stream.message.as_ref().map_or(0, BytesMut::len);
        self.payload_left = (stream.length - arrived).min(self.chunk_size);
    }

    /// `None`: more bytes are needed to know. Changes the chunk stream only when the header is complete.
    fn parse_header(&mut self, bytes: &[u8]) -> Result<Option<Header>, ChunkError> {
        let Some((format, id, basic)) = basic_header(bytes) else { return Ok(None) };
        let known = self.chunk_streams.iter().position(|stream| stream.id == id);
        let fields_length = [11, 7, 3, 0][usize::from(format)];
        let Some(fields) = bytes.get(basic..basic + fields_length) else { return Ok(None) };
        let short_field = (format < 3).then(|| uint24(fields));
        let previous = known.map(|index| &self.chunk_streams[index]);
        if previous.is_none() && format != 0 {
            return Err(ChunkError::NoPredecessor { format, id, at: self.consumed });
        }
        let announced = match format {
            0 | 1 => Some((uint24(&fields[3..]) as usize, fields[6])),
            _ => None,
        };
        let extended =
            short_field.map_or_else(|| previous.is_some_and(|stream| stream.extended), |field| field == EXTENDED);
        let after = &bytes[basic + fields_length..];
        let (field, extension) = match (extended, format, previous) {
            (false, 3, Some(stream)) => (stream.field, 0),
            (false, _, _) => (short_field.unwrap_or_default(), 0),
            (true, 3, Some(stream)) => match repeats_extended(stream, after) {
                Some(extension) => (stream.field, extension),
                None => return Ok(None),
            },
            (true, _, _) => match after.first_chunk() {
                Some(field) => (u32::from_be_bytes(*field), 4),
                None => return Ok(None),
            },
        };
        let chunk_stream = match known {
            Some(index) => index,
            None => self.open_chunk_stream(id)?,
        };
        let length = basic + fields_length + extension;
        if format == 0 {
            let id = [fields[7], fields[8], fields[9], fields[10]];
            self.chunk_streams[chunk_stream].stream_id = u32::from_le_bytes(id);
        }
        self.apply(chunk_stream, format, announced, field, extended)?;
        Ok(Some(Header { chunk_stream, length }))
    }

    fn open_chunk_stream(&mut self, id: u32) -> Result<usize, ChunkError> {
        if self.chunk_streams.len() >= self.limits.chunk_streams_max {
            return Err(ChunkError::TooManyChunkStreams { limit: self.limits.chunk_streams_max });
        }
        self.chunk_streams.push(ChunkStream {
            id,
            timestamp: 0,
            field: 0,
            extended: false,
            length: 0,
            type_id: 0,
            stream_id: 0,
            message: None,
        });
        Ok(self.chunk_streams.len() - 1)
    }

    /// Takes over what a complete header says.
    fn apply(
        &mut self,
        index: usize,
        format: u8,
        announced: Option<(usize, u8)>,
        field: u32,
        extended: bool,
    ) -> Result<(), ChunkError> {
        let at = self.consumed;
        let stream = &mut self.chunk_streams[index];
        if stream.message.is_some() {
            // A message is continued by fmt 3. Publishers built on rml_rtmp repeat the whole header instead.
            let same = announced.is_none_or(|announced| announced == (stream.length, stream.type_id));
            return if same { Ok(()) } else { Err(ChunkError::Interrupted { id: stream.id, at }) };
        }
        if let Some((length, type_id)) = announced {
            (stream.length, stream.type_id) = (length, type_id);
        }
        stream.timestamp = if format == 0 { field } else { stream.timestamp.wrapping_add(field) };
        (stream.field, stream.extended) = (field, extended);
        let media = matches!(stream.type_id, message_type::AUDIO | message_type::VIDEO | message_type::AGGREGATE);
        let limit = if media && self.media_accepted {
            self.limits.media_message_max_bytes
        } else {
            self.limits.command_message_max_bytes
        };
        if stream.length > limit {
            let (type_id, announced) = (stream.type_id, stream.length);
            return Err(ChunkError::MessageTooLong { type_id, announced, limit, at });
        }
        let capacity = stream.length.min(FIRST_RESERVE_BYTES);
        stream.message = Some(BytesMut::with_capacity(capacity));
        Ok(())
    }

    fn append(&mut self, portion: &[u8]) -> Result<(), ChunkError> {
        let stream = &mut self.chunk_streams[0];
        let Some(message) = &mut stream.message else { return Ok(()) };
        self.unfinished_bytes += portion.len();
        if self.unfinished_bytes > self.limits.unfinished_max_bytes {
            return Err(ChunkError::TooMuchUnfinished { limit: self.limits.unfinished_max_bytes });
        }
        let arrived = message.len() + portion.len();
        if arrived > message.capacity() {
            // Not `reserve`: it may double, and the frame keeps its buffer for as long as the GOP is cached.
            let mut larger = BytesMut::with_capacity((arrived * GROWTH).min(stream.length));
            larger.put_slice(message);
            *message = larger;
        }
        message.put_slice(portion);
        Ok(())
    }

    /// The message of the current chunk, if that was its last.
    fn finish(&mut self) -> Option<Message> {
        let stream = &mut self.chunk_streams[0];
        let payload = stream.message.take_if(|message| message.len() == stream.length)?;
        self.unfinished_bytes -= payload.len();
        let (timestamp, type_id, stream_id) = (stream.timestamp, stream.type_id, stream.stream_id);
        Some(Message { timestamp, type_id, stream_id, payload: payload.freeze() })
    }

    /// The two messages that are about chunks (RTMP 1.0 sections 5.4.1 and 5.4.2).
    fn obey(&mut self, message: &Message) -> Result<(), ChunkError> {
        let value = || message.payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        match (message.type_id, value()) {
            (message_type::SET_CHUNK_SIZE, Some(size)) => {
                if !(CHUNK_SIZE_MIN..=CHUNK_SIZE_MAX).contains(&size) {
                    return Err(ChunkError::ChunkSize { size });
                }
                self.chunk_size = size as usize;
            }
            (message_type::ABORT, Some(id)) => {
                if let Some(stream) = self.chunk_streams.iter_mut().find(|stream| stream.id == id) {
                    self.unfinished_bytes -= stream.message.take().map_or(0, |message| message.len());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Carry {
    /// Copies what fits behind the kept bytes; returns how many bytes are there then.
    fn fill(&mut self, input: &[u8]) -> usize {
        let portion = input.len().min(HEADER_MAX_BYTES - self.length);
        self.bytes[self.length..self.length + portion].copy_from_slice(&input[..portion]);
        self.length + portion
    }
}

/// Format, chunk stream id and the header's own length.
fn basic_header(bytes: &[u8]) -> Option<(u8, u32, usize)> {
    let first = *bytes.first()?;
    let format = first >> 6;
    match first & 0x3f {
        0 => Some((format, 64 + u32::from(*bytes.get(1)?), 2)),
        1 => Some((format, 64 + u32::from(*bytes.get(1)?) + 256 * u32::from(*bytes.get(2)?), 3)),
        id => Some((format, u32::from(id), 1)),
    }
}

fn uint24(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]])
}

/// Bytes of the extended timestamp on a fmt 3 chunk: 4, or 0 from encoders that leave it out (old librtmp and hardware
/// encoders). They are told apart by the value, which repeats the field or, from some, gives the whole timestamp.
/// `None`: too few bytes to tell.
fn repeats_extended(stream: &ChunkStream, after: &[u8]) -> Option<usize> {
    let candidates = [stream.field.to_be_bytes(), stream.timestamp.to_be_bytes()];
    if let Some(bytes) = after.first_chunk::<4>() {
        return Some(if candidates.contains(bytes) { 4 } else { 0 });
    }
    let undecided = candidates.iter().any(|candidate| candidate.starts_with(after));
    if undecided { None } else { Some(0) }
}

#[cfg(test)]
#[path = "chunk_tests.rs"]
mod tests;
