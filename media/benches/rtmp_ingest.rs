//! RTMP bytes to frames, without a socket: what one publication costs beyond the kernel.
//!
//! A good number: reading the chunks of a second of 2.5 Mbit/s costs well under 0.2 ms, bodies to frames less than half
//! of that. A stream then spends its time in the kernel's receive path, about 10 µs for each of its 77 messages a second.

use bytes::Bytes;
use chobi_media::ingest::flv::{Arrival, FlvTag, FrameSink, TagKind, ToHub, read_tags};
use chobi_media::ingest::rtmp::chunk::{ChunkLimits, ChunkReader};
use chobi_media::model::{Epoch, Frame};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rml_rtmp::chunk_io::ChunkSerializer;
use rml_rtmp::messages::MessagePayload;
use rml_rtmp::time::RtmpTimestamp;
use std::hint::black_box;
use std::time::{Duration, SystemTime};

static CLIP: &[u8] = include_bytes!("../tests/fixtures/ffmpeg-5.1-h264-aac.flv");

const LIMITS: ChunkLimits = ChunkLimits {
    media_message_max_bytes: 8 * 1024 * 1024,
    command_message_max_bytes: 64 * 1024,
    unfinished_max_bytes: 16 * 1024 * 1024,
    chunk_streams_max: 64,
};

struct Nowhere;

impl FrameSink for Nowhere {
    fn begin_epoch(&mut self, epoch: Epoch) {
        black_box(epoch);
    }

    fn write(&mut self, frame: Frame) {
        black_box(frame);
    }
}

/// The clip as RTMP bytes; `scale` repeats each body, which makes 0.3 Mbit/s into an everyday bitrate.
fn chunked(tags: &[FlvTag], scale: usize) -> Vec<u8> {
    let mut serializer = ChunkSerializer::new();
    let mut bytes = serializer.set_max_chunk_size(4_096, RtmpTimestamp::new(0)).expect("a legal size").bytes;
    for tag in tags {
        let type_id = if tag.kind == TagKind::Audio { 8 } else { 9 };
        let timestamp = RtmpTimestamp::new(tag.timestamp_ms);
        let data = Bytes::from(tag.body.repeat(scale));
        let message = MessagePayload { timestamp, type_id, message_stream_id: 1, data };
        bytes.extend(serializer.serialize(&message, false, false).expect("a legal message").bytes);
    }
    bytes
}

fn ingest(criterion: &mut Criterion) {
    let mut tags = read_tags(&Bytes::from_static(CLIP)).expect("an FLV clip");
    tags.retain(|tag| tag.kind != TagKind::Script);
    let mut group = criterion.benchmark_group("rtmp_ingest");

    let bytes = chunked(&tags, 8);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("chunks to messages, reads of 16 KiB", |bencher| {
        bencher.iter(|| {
            let mut reader = ChunkReader::new(LIMITS);
            reader.set_media_accepted(true);
            for mut portion in bytes.chunks(16 * 1024) {
                while let Some(message) = reader.next(&mut portion).expect("legal chunks") {
                    black_box(message);
                }
            }
        });
    });

    group.throughput(Throughput::Elements(tags.len() as u64));
    group.bench_function("bodies to frames", |bencher| {
        bencher.iter(|| {
            let mut to_hub = ToHub::default();
            for tag in &tags {
                let elapsed = Duration::from_millis(u64::from(tag.timestamp_ms));
                let arrival = Arrival { elapsed, wall: SystemTime::UNIX_EPOCH };
                let body = tag.body.clone();
                let taken = match tag.kind {
                    TagKind::Audio => to_hub.audio(&mut Nowhere, tag.timestamp_ms, body, arrival),
                    TagKind::Video | TagKind::Script => to_hub.video(&mut Nowhere, tag.timestamp_ms, body, arrival),
                };
                taken.expect("the clip's parameters are fine");
            }
        });
    });
    group.finish();
}

criterion_group!(benches, ingest);
criterion_main!(benches);
