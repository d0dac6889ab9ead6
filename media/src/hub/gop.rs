//! The frames since the last keyframe, so that a subscriber who joins late has a picture at once.

use crate::model::Frame;
use std::sync::Arc;

/// Bounded by frames and by bytes; a GOP that outgrows either is forgotten until the next keyframe.
#[derive(Debug)]
pub(super) struct Gop {
    frames: Vec<Arc<Frame>>,
    bytes: usize,
    max_frames: usize,
    max_bytes: usize,
    open: bool,
}

impl Gop {
    pub(super) fn new(max_frames: usize, max_bytes: usize) -> Self {
        Self { frames: Vec::new(), bytes: 0, max_frames, max_bytes, open: false }
    }

    /// `resync`: a subscriber could start with this frame.
    pub(super) fn push(&mut self, frame: &Arc<Frame>, resync: bool) {
        if resync {
            self.clear();
            self.open = true;
        }
        if !self.open {
            return;
        }
        self.bytes += frame.payload.len();
        self.frames.push(Arc::clone(frame));
        if self.frames.len() > self.max_frames || self.bytes > self.max_bytes {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
        self.open = false;
    }

    pub(super) fn frames(&self) -> &[Arc<Frame>] {
        &self.frames
    }
}
