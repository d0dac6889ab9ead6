//! The write side. Whoever holds it is the broadcast's only publisher.

use super::broadcast::Broadcast;
use super::gop::Gop;
use super::subscriber::Feeder;
use crate::codec::opus;
use crate::model::{AudioCodec, Epoch, Frame, MediaFormat};
use std::sync::Arc;
use tokio::sync::watch;

/// What a publisher writes into. It moves from publisher to publisher, so no lock guards it.
#[derive(Debug)]
pub(super) struct WriteSide {
    pub(super) feeders: Vec<Feeder>,
    epoch: Option<Arc<Epoch>>,
    gop: Gop,
}

/// Why a publisher must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// The same identity connected again.
    Replaced,
    /// The broadcast is over.
    Ended,
}

/// Publishes one broadcast. Dropping it interrupts the broadcast: subscribers stay and the grace begins.
#[derive(Debug)]
pub struct Publisher {
    broadcast: Arc<Broadcast>,
    /// `None` only while being dropped.
    side: Option<WriteSide>,
    revoked: watch::Receiver<Option<Revoked>>,
    produced: bool,
}

impl WriteSide {
    pub(super) fn new(gop: Gop) -> Self {
        Self { feeders: Vec::new(), epoch: None, gop }
    }

    /// A frame a decoder can start with: a keyframe of the video that leads, or any frame of a broadcast without video.
    fn is_resync(&self, frame: &Frame) -> bool {
        let Some(epoch) = &self.epoch else { return false };
        frame.keyframe && epoch.video().is_none_or(|leader| leader.id == frame.track)
    }

    /// The picture as it is, and silence in the place of sound; nothing where we cannot write silence in its codec.
    fn silenced(&self, mut frame: Frame) -> Option<Frame> {
        let track = self.epoch.as_ref()?.tracks.get(usize::from(frame.track.0))?;
        if let MediaFormat::Audio(format) = &track.media {
            frame.payload = match format.codec {
                AudioCodec::Opus => opus::silence_like(&frame.payload)?,
                AudioCodec::Aac => return None,
            };
        }
        Some(frame)
    }

    fn attach(&mut self, mut feeder: Feeder) {
        if let Some(epoch) = &self.epoch {
            feeder.epoch(epoch);
            for (index, frame) in self.gop.frames().iter().enumerate() {
                feeder.frame(frame, index == 0);
            }
            feeder.forgive();
        }
        self.feeders.push(feeder);
    }

    pub(super) fn interrupted(&mut self) {
        self.gop.clear();
        self.epoch = None;
        self.feeders.retain(|feeder| !feeder.is_gone());
        self.feeders.iter_mut().for_each(Feeder::interrupted);
    }
}

impl Publisher {
    pub(super) fn new(broadcast: Arc<Broadcast>, side: WriteSide, revoked: watch::Receiver<Option<Revoked>>) -> Self {
        Self { broadcast, side: Some(side), revoked, produced: false }
    }

    pub fn broadcast(&self) -> &Arc<Broadcast> {
        &self.broadcast
    }

    /// Says how the frames that follow are coded and timed. Needed before the first frame.
    pub fn begin_epoch(&mut self, epoch: Epoch) {
        let side = self.side.as_mut().expect("a publisher has its write side until it is dropped");
        let epoch = Arc::new(epoch);
        side.gop.clear();
        side.feeders.retain(|feeder| !feeder.is_gone());
        side.feeders.iter_mut().for_each(|feeder| feeder.epoch(&epoch));
        side.epoch = Some(epoch);
        if !self.produced {
            self.produced = true;
            self.broadcast.media_began();
        }
    }

    /// Hands a frame to every subscriber. Frames before the first epoch are dropped: nobody could decode them.
    pub fn write(&mut self, frame: Frame) {
        let side = self.side.as_mut().expect("a publisher has its write side until it is dropped");
        if side.epoch.is_none() {
            return;
        }
        let frame = if self.broadcast.is_muted() { side.silenced(frame) } else { Some(frame) };
        let Some(frame) = frame else { return };
        if self.broadcast.has_joiners() {
            self.broadcast.take_joiners().into_iter().for_each(|feeder| side.attach(feeder));
        }
        let frame = Arc::new(frame);
        let resync = side.is_resync(&frame);
        side.gop.push(&frame, resync);
        let mut someone_left = false;
        for feeder in &mut side.feeders {
            someone_left |= feeder.is_gone();
            feeder.frame(&frame, resync);
        }
        if someone_left {
            side.feeders.retain(|feeder| !feeder.is_gone());
        }
    }

    /// Whether this publisher must stop, asked without waiting.
    pub fn is_revoked(&self) -> Option<Revoked> {
        match self.revoked.has_changed() {
            Ok(false) => None,
            Ok(true) => *self.revoked.borrow(),
            Err(_) => Some(Revoked::Ended),
        }
    }

    /// Resolves when this publisher must stop. Safe to drop in a `select!`.
    pub async fn revoked(&mut self) -> Revoked {
        match self.revoked.wait_for(Option::is_some).await {
            Ok(reason) => reason.unwrap_or(Revoked::Ended),
            Err(_) => Revoked::Ended,
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Some(side) = self.side.take() {
            self.broadcast.release(side, self.produced);
        }
    }
}
