//! Which keyframes of a show become pictures, and where each picture belongs.
//!
//! In: what the packager closes. Out: exposures for the darkroom, one at a time for each show; pictures as they come back, with
//! their place. Driven by the packager task, which waits for none of it while the show runs.
//!
//! The smallest layer of H.264 that is wide enough is pictured, since it costs the least. When that layer falls silent, any
//! other will do. A show without H.264 has no pictures.

use super::packager::{KeptRendition, OpeningFrame, Segment};
use crate::model::VideoCodec;
use crate::store::RenditionId;
use crate::store::journal::ThumbnailEntry;
use crate::thumbnail::{Darkroom, Exposure, Thumbnail};
use std::time::Duration;
use tokio::sync::oneshot;

#[derive(Debug)]
pub(super) struct Photographer {
    darkroom: Darkroom,
    /// `None`: no pictures are wanted.
    every: Option<Duration>,
    width: u16,
    /// The layer to picture.
    subject: Option<RenditionId>,
    /// Where on the show's timeline the newest exposure is.
    last: Option<Duration>,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    picture: oneshot::Receiver<Thumbnail>,
    place: Place,
}

/// What a picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) rendition: RenditionId,
    pub(super) epoch: u64,
    pub(super) number: u64,
    /// On the show's timeline.
    pub(super) at: Duration,
}

impl Photographer {
    pub(super) fn new(darkroom: Darkroom, every: Duration, width: u16) -> Self {
        let every = (!every.is_zero()).then_some(every);
        Self { darkroom, every, width, subject: None, last: None, pending: None }
    }

    pub(super) fn handle_epoch(&mut self, renditions: &[KeptRendition]) {
        self.subject = subject(renditions, self.width);
    }

    /// A segment is closed; `ends_at` on the show's timeline.
    pub(super) fn handle_segment(
        &mut self,
        rendition: RenditionId,
        segment: &Segment,
        ends_at: Duration,
        opening: Option<&OpeningFrame>,
    ) {
        let (Some(every), Some(opening), None) = (self.every, opening, &self.pending) else { return };
        let is_h264 = opening.format.video().is_some_and(|video| video.codec == VideoCodec::H264);
        let at = ends_at.saturating_sub(segment.duration);
        // The others are close behind the subject, so it has the first turn.
        let wait = if self.subject == Some(rendition) { every } else { every * 2 };
        let is_due = match self.last {
            Some(last) => at.saturating_sub(last) >= wait,
            None => self.subject == Some(rendition) || at >= every,
        };
        if !is_h264 || !is_due {
            return;
        }
        let exposure = Exposure { format: opening.format.clone(), frame: opening.frame.clone(), width: self.width };
        if let Some(picture) = self.darkroom.develop(exposure) {
            let place = Place { rendition, epoch: segment.epoch, number: segment.number, at };
            self.last = Some(at);
            self.pending = Some(Pending { picture, place });
        }
    }

    /// The next picture that comes back. Safe to drop; pending for ever when none is on its way.
    pub(super) async fn next(&mut self) -> (Place, Thumbnail) {
        loop {
            let Some(pending) = &mut self.pending else { return std::future::pending().await };
            let (developed, place) = ((&mut pending.picture).await, pending.place);
            self.pending = None;
            if let Ok(thumbnail) = developed {
                return (place, thumbnail);
            }
        }
    }

    /// The picture that is on its way, if there is one and it arrives.
    pub(super) async fn last(&mut self) -> Option<(Place, Thumbnail)> {
        let Pending { picture, place } = self.pending.take()?;
        picture.await.ok().map(|thumbnail| (place, thumbnail))
    }
}

/// The smallest that needs no enlarging, else the largest.
fn subject(renditions: &[KeptRendition], width: u16) -> Option<RenditionId> {
    let h264 = renditions.iter().filter(|rendition| rendition.format.codecs.starts_with("avc1."));
    let sized = h264.filter_map(|rendition| Some((rendition.format.picture?.width, rendition.id)));
    sized.min_by_key(|(wide, _)| if *wide >= width { (0, *wide) } else { (1, u16::MAX - *wide) }).map(|(_, id)| id)
}

impl Place {
    pub(super) fn entry(self, thumbnail: &Thumbnail) -> ThumbnailEntry {
        ThumbnailEntry {
            rendition: self.rendition,
            number: self.number,
            epoch: self.epoch,
            at_nanos: u64::try_from(self.at.as_nanos()).unwrap_or(u64::MAX),
            width: thumbnail.width,
            height: thumbnail.height,
            brightness: thumbnail.brightness,
        }
    }
}

/// Darker than this a picture tells nothing: a stage before the lights go on.
const DARK: u8 = 24;

/// The picture that stands for a whole show: near its tenth part, where it has begun, and not dark if that can be.
pub(super) fn poster(thumbnails: &[ThumbnailEntry], length: Duration) -> Option<&ThumbnailEntry> {
    let tenth = u64::try_from(length.as_nanos() / 10).unwrap_or(u64::MAX);
    let near = |thumbnail: &&ThumbnailEntry| thumbnail.at_nanos.abs_diff(tenth);
    let bright = thumbnails.iter().filter(|thumbnail| thumbnail.brightness >= DARK).min_by_key(near);
    bright.or_else(|| thumbnails.iter().max_by_key(|thumbnail| thumbnail.brightness))
}

/// The pictures of a whole show as cues for a seek bar (WebVTT): each until the next. Addresses begin with `prefix`.
pub(super) fn render_index(thumbnails: &[ThumbnailEntry], length: Duration, prefix: &str) -> String {
    let mut text = "WEBVTT\n".to_owned();
    for (index, thumbnail) in thumbnails.iter().enumerate() {
        let ThumbnailEntry { rendition, epoch, number, at_nanos, .. } = *thumbnail;
        let from = Duration::from_nanos(at_nanos);
        let next = thumbnails.get(index + 1).map_or(length, |next| Duration::from_nanos(next.at_nanos));
        // A picture of the last moment still has one.
        let until = next.max(from + Duration::from_millis(1));
        text += &format!("\n{} --> {}\n{prefix}{rendition}/{epoch}/{number}.jpg\n", clock(from), clock(until));
    }
    text
}

fn clock(at: Duration) -> String {
    let (seconds, millis) = (at.as_secs(), at.subsec_millis());
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::super::packager::{Picture, RenditionFormat};
    use super::*;

    fn rendition(text: &str, codecs: &str, width: u16) -> KeptRendition {
        let picture = Some(Picture { width, height: 180, frames_per_second: 30.0 });
        let format = RenditionFormat { codecs: codecs.to_owned(), picture, channels: None };
        KeptRendition { id: RenditionId::parse(text).unwrap(), format, init_epoch: 0, init: None }
    }

    fn thumbnail(number: u64, seconds: u64, brightness: u8) -> ThumbnailEntry {
        let rendition = RenditionId::parse("v0").unwrap();
        let at_nanos = seconds * 1_000_000_000;
        ThumbnailEntry { rendition, number, epoch: 0, at_nanos, width: 320, height: 180, brightness }
    }

    #[test]
    fn the_smallest_layer_that_is_wide_enough_is_pictured() {
        let chosen = |layers: &[KeptRendition]| subject(layers, 320).map(|id| id.to_string());
        let layers = [
            rendition("v0", "avc1.64001f", 160),
            rendition("v1", "avc1.64001f", 320),
            rendition("v2", "avc1.64001f", 1280),
        ];
        assert_eq!(chosen(&layers).as_deref(), Some("v1"));
        assert_eq!(chosen(&layers[..1]).as_deref(), Some("v0"));
        assert_eq!(chosen(&[rendition("v0", "vp09.00", 320), rendition("v1", "hvc1.1", 320)]), None);
    }

    #[test]
    fn a_poster_is_near_the_tenth_part_and_not_dark() {
        let number = |thumbnails: &[ThumbnailEntry]| {
            poster(thumbnails, Duration::from_secs(200)).map(|thumbnail| thumbnail.number)
        };
        let show = [thumbnail(1, 0, 90), thumbnail(6, 10, 3), thumbnail(11, 20, 3), thumbnail(16, 30, 90)];
        assert_eq!(number(&show), Some(16));
        assert_eq!(number(&show[1..3]), Some(11), "dark is better than nothing");
        assert_eq!(number(&[]), None);
    }

    #[test]
    fn the_index_covers_the_whole_show() {
        let show = [thumbnail(1, 0, 90), thumbnail(6, 3_610, 90)];
        let expected =
            "WEBVTT\n\n00:00:00.000 --> 01:00:10.000\nv0/0/1.jpg\n\n01:00:10.000 --> 01:00:14.500\nv0/0/6.jpg\n";
        assert_eq!(render_index(&show, Duration::from_millis(3_614_500), ""), expected);
    }
}
