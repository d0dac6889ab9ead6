//! A clip that loops for ever: what `--demo` shows, and a publisher for tests that needs no network.
//!
//! In: an FLV file in memory. Out: epochs and frames, at the speed of the clock. Driven by the binary.

use super::flv::{self, Arrival, ClipError, FlvTag, Hints, TagKind, ToHub};
use super::rtmp::amf0;
use crate::codec::CodecError;
use crate::hub::{ClaimError, Hub, Publisher, Revoked};
use crate::model::BroadcastId;
use crate::seam::{Protocol, PublishGrant};
use bytes::Bytes;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Why a demo could not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Clip(#[from] ClipError),
    #[error("the clip's parameters cannot be read: {0}")]
    Codec(#[from] CodecError),
    #[error("the broadcast cannot be published: {0}")]
    Claim(#[from] ClaimError),
}

/// Why a demo stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DemoEnd {
    Cancelled,
    /// Another publisher with the same identity came, or the broadcast ended.
    Revoked(Revoked),
}

/// Publishes `clip` over and over; its timestamps go on from loop to loop.
pub async fn run(
    hub: &Hub,
    broadcast: BroadcastId,
    identity: &str,
    clip: Bytes,
    cancel: CancellationToken,
) -> Result<DemoEnd, DemoError> {
    let clip = Clip::parse(&clip)?;
    let mut publisher = hub.claim(PublishGrant::of_host(broadcast.clone(), identity), Protocol::Demo).await?;
    tracing::info!(broadcast.id = %broadcast, protocol = "demo", "publishing starts");
    let mut player = Player { to_hub: ToHub::default(), began: Instant::now(), began_wall: SystemTime::now() };
    for lap in 0.. {
        for tag in &clip.tags {
            let at = clip.length * lap + Duration::from_millis(u64::from(tag.timestamp_ms));
            let due = sleep_until(player.began + at);
            tokio::select! {
                () = cancel.cancelled() => return Ok(DemoEnd::Cancelled),
                reason = publisher.revoked() => return Ok(DemoEnd::Revoked(reason)),
                () = due => player.play(&mut publisher, tag, at)?,
            }
        }
    }
    Ok(DemoEnd::Cancelled)
}

#[derive(Debug)]
struct Clip {
    tags: Vec<FlvTag>,
    /// From the first tag of one lap to the first of the next.
    length: Duration,
}

struct Player {
    to_hub: ToHub,
    began: Instant,
    began_wall: SystemTime,
}

impl Clip {
    fn parse(clip: &Bytes) -> Result<Self, ClipError> {
        let tags = flv::read_tags(clip)?;
        // The lap ends where the longer track ends; the other has a gap of less than a frame there.
        let ends = [TagKind::Video, TagKind::Audio].map(|kind| {
            let times: Vec<_> = tags.iter().filter(|tag| tag.kind == kind).map(|tag| tag.timestamp_ms).collect();
            let (first, last) = (times.first()?, times.last()?);
            // The first tag is the configuration, stamped like the first frame.
            let frames = u32::try_from(times.len()).ok()?.checked_sub(2).filter(|frames| *frames > 0)?;
            Some(last + (last - first).div_ceil(frames))
        });
        let length_ms = ends.into_iter().flatten().max().ok_or(ClipError::Empty)?;
        Ok(Self { tags, length: Duration::from_millis(u64::from(length_ms)) })
    }
}

impl Player {
    fn play(&mut self, publisher: &mut Publisher, tag: &FlvTag, at: Duration) -> Result<(), CodecError> {
        // Wraps as RTMP's does, after 49 days of demo.
        let timestamp = at.as_millis() as u32;
        let arrival = Arrival { elapsed: at, wall: self.began_wall + at };
        match tag.kind {
            TagKind::Video => self.to_hub.video(publisher, timestamp, tag.body.clone(), arrival),
            TagKind::Audio => self.to_hub.audio(publisher, timestamp, tag.body.clone(), arrival),
            TagKind::Script => {
                let values = amf0::decode(&tag.body).unwrap_or_default();
                if let Some(hints) = Hints::parse(&values) {
                    self.to_hub.hint(hints);
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HubConfig;
    use crate::hub::Feed;
    use crate::seam::Deaf;
    use std::sync::Arc;

    static CLIP: &[u8] = include_bytes!("../../tests/fixtures/ffmpeg-5.1-h264-aac.flv");

    #[tokio::test(start_paused = true)]
    async fn laps_join_without_a_new_epoch_and_stay_in_step() {
        let (hub, mut opened) = Hub::new(HubConfig::default(), Arc::new(Deaf));
        let id = BroadcastId::parse("session_demo").unwrap();
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        let demo = tokio::spawn(async move { run(&hub, id, "demo", Bytes::from_static(CLIP), stop).await });
        let mut subscriber = opened.recv().await.unwrap().subscribe(4_096);
        let Feed::Epoch(epoch) = subscriber.recv().await else { panic!("an epoch comes first") };
        let scales: Vec<_> = epoch.tracks.iter().map(|track| i64::from(track.timescale.get())).collect();
        let (mut last, mut counts) = ([-1, -1], [0, 0]);
        while counts[0] < 60 * 10 {
            let Feed::Frame(frame) = subscriber.recv().await else { panic!("ten laps are one epoch") };
            let track = usize::from(frame.track.0);
            let step_ms = (frame.dts - last[track]) * 1_000 / scales[track];
            assert!(last[track] < 0 || (10..=60).contains(&step_ms), "a step of {step_ms} ms on track {track}");
            last[track] = frame.dts;
            counts[track] += 1;
        }
        let apart_ms = last[0] * 1_000 / scales[0] - last[1] * 1_000 / scales[1];
        assert!(apart_ms.abs() < 60, "{apart_ms} ms apart after ten laps");
        cancel.cancel();
        assert_eq!(demo.await.unwrap(), Ok(DemoEnd::Cancelled));
    }

    #[tokio::test]
    async fn a_clip_without_media_is_an_error() {
        let (hub, _opened) = Hub::new(HubConfig::default(), Arc::new(Deaf));
        let id = BroadcastId::parse("session_demo").unwrap();
        let empty = Bytes::from_static(b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00");
        let ended = run(&hub, id, "demo", empty, CancellationToken::new()).await;
        assert_eq!(ended, Err(DemoError::Clip(ClipError::Empty)));
    }
}
