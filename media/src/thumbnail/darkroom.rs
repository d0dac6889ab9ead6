//! Where keyframes wait to become pictures: one room for the process, one picture at a time.
//!
//! In: exposures, through a bounded queue. Out: pictures to whoever asked, and counters. When the queue is full, an exposure
//! is refused at once: the show will have another keyframe. What cannot be developed is counted and forgotten, also when the
//! work panics.

use super::decode::KeyframeDecoder;
use super::{Thumbnail, ThumbnailError, develop};
use crate::metrics;
use crate::model::{Frame, TrackFormat};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// Cheap to clone. It closes when all clones are gone.
#[derive(Debug, Clone)]
pub(crate) struct Darkroom {
    exposures: mpsc::Sender<Job>,
}

/// A keyframe that is to become a picture.
#[derive(Debug, Clone)]
pub(crate) struct Exposure {
    pub(crate) format: Arc<TrackFormat>,
    pub(crate) frame: Arc<Frame>,
    /// Pixels.
    pub(crate) width: u16,
}

#[derive(Debug)]
struct Job {
    exposure: Exposure,
    developed: oneshot::Sender<Thumbnail>,
}

/// Some seconds of work. A show asks once in ten seconds, so more wait only when there are more shows than one core can
/// picture: some three hundred and fifty in 720p.
const QUEUE: usize = 32;
/// A room without work for so long gives the decoder's memory back. Shows come every ten seconds.
const IDLE: Duration = Duration::from_secs(60);

impl Darkroom {
    pub(crate) fn open(tasks: &TaskTracker) -> Self {
        let (exposures, jobs) = mpsc::channel(QUEUE);
        tasks.spawn(run(jobs));
        Self { exposures }
    }

    /// The picture comes, or the channel closes without one. `None`: there is no room.
    pub(crate) fn develop(&self, exposure: Exposure) -> Option<oneshot::Receiver<Thumbnail>> {
        let (developed, picture) = oneshot::channel();
        if self.exposures.try_send(Job { exposure, developed }).is_err() {
            ::metrics::counter!(metrics::THUMBNAILS_DROPPED).increment(1);
            return None;
        }
        Some(picture)
    }
}

async fn run(mut jobs: mpsc::Receiver<Job>) {
    let mut decoder = KeyframeDecoder::default();
    loop {
        let Job { exposure, developed } = match timeout(IDLE, jobs.recv()).await {
            Ok(Some(job)) => job,
            Ok(None) => return,
            Err(_) => {
                decoder = KeyframeDecoder::default();
                continue;
            }
        };
        if developed.is_closed() {
            continue;
        }
        let mut at_work = std::mem::take(&mut decoder);
        let work = tokio::task::spawn_blocking(move || (picture_of(&mut at_work, &exposure), at_work));
        let picture = match work.await {
            Ok((picture, rested)) => {
                decoder = rested;
                picture
            }
            Err(error) => {
                failed(&error);
                continue;
            }
        };
        match picture {
            Ok(thumbnail) => {
                ::metrics::counter!(metrics::THUMBNAILS_MADE).increment(1);
                // The show may be over.
                let _ = developed.send(thumbnail);
            }
            Err(error) => failed(&error),
        }
    }
}

fn picture_of(
    decoder: &mut KeyframeDecoder,
    Exposure { format, frame, width }: &Exposure,
) -> Result<Thumbnail, ThumbnailError> {
    let video = format.video().ok_or(ThumbnailError::Unsupported { what: "sound" })?;
    develop(decoder, video, frame, *width)
}

fn failed(error: &(dyn std::error::Error + 'static)) {
    ::metrics::counter!(metrics::THUMBNAILS_FAILED).increment(1);
    tracing::debug!(error, "no thumbnail of this keyframe");
}
