//! A whole show packaged at once: for benchmarks, and for tools that turn frames into files.

use super::config::HlsConfig;
use super::packager::{Kept, Packager};
use super::text::Encoding;
use crate::model::{Epoch, Frame};
use std::sync::Arc;

/// What became of the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packaged {
    pub segments: usize,
    pub parts: usize,
    /// Of all segments.
    pub media_bytes: u64,
    /// Of all playlists that were rendered, gzip and all.
    pub playlist_bytes: usize,
}

/// Packages frames of one epoch. `rendered`: every playlist a viewer would have been given is written and compressed
/// too.
pub fn package_in_memory(config: &HlsConfig, epoch: &Arc<Epoch>, frames: &[Arc<Frame>], rendered: bool) -> Packaged {
    let mut packager = Packager::new(config.clone());
    let mut packaged = Packaged::default();
    packager.handle_epoch(epoch);
    for frame in frames {
        packager.handle_frame(frame);
        packaged.take(&mut packager, rendered);
    }
    packager.handle_end();
    packaged.take(&mut packager, rendered);
    packaged
}

impl Packaged {
    fn take(&mut self, packager: &mut Packager, rendered: bool) {
        for snapshot in packager.poll_snapshots() {
            if rendered {
                self.playlist_bytes += snapshot.playlist().bytes(Encoding::Plain).len();
                self.playlist_bytes += snapshot.playlist().bytes(Encoding::Gzip).len();
            }
        }
        while let Some(kept) = packager.poll_kept() {
            if let Kept::Segment { segment, .. } = kept {
                self.segments += 1;
                self.parts += segment.parts.len();
                self.media_bytes += segment.byte_len();
            }
        }
    }
}
