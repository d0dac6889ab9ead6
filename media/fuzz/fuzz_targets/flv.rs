//! Any bodies in any order: no panic, and what the hub is promised holds.
#![no_main]

use bytes::Bytes;
use chobi_media::ingest::flv::{Arrival, FrameSink, ToHub, read_tags};
use chobi_media::model::{Epoch, Frame};
use libfuzzer_sys::fuzz_target;
use std::time::{Duration, SystemTime};

#[derive(Default)]
struct Sink {
    last_dts: Vec<Option<i64>>,
}

impl FrameSink for Sink {
    fn begin_epoch(&mut self, epoch: Epoch) {
        assert!(!epoch.tracks.is_empty());
        self.last_dts = vec![None; epoch.tracks.len()];
    }

    fn write(&mut self, frame: Frame) {
        let last = &mut self.last_dts[usize::from(frame.track.0)];
        assert!(frame.pts >= frame.dts && frame.dts >= 0);
        assert!(last.map_or(frame.keyframe, |last| frame.dts >= last));
        *last = Some(frame.dts);
    }
}

fuzz_target!(|bodies: Vec<(bool, u32, Vec<u8>)>| {
    let (mut to_hub, mut sink) = (ToHub::default(), Sink::default());
    for (index, (is_video, timestamp, body)) in bodies.into_iter().enumerate() {
        let body = Bytes::from(body);
        let _ = read_tags(&body);
        let arrival = Arrival { elapsed: Duration::from_millis(index as u64 * 20), wall: SystemTime::UNIX_EPOCH };
        let taken = if is_video {
            to_hub.video(&mut sink, timestamp, body, arrival)
        } else {
            to_hub.audio(&mut sink, timestamp, body, arrival)
        };
        if taken.is_err() {
            return;
        }
    }
});
