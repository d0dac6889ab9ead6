//! A show that is over, as players are given it: playlists, the index of its pictures, and what these name.
//!
//! In: a recording. Out: texts. Pure. Kept by `recordings`, served by delivery.

use super::packager::{Choice, render_multivariant, render_recording};
use super::recording::Recording;
use super::text::Text;
use super::thumbnails;
use crate::store::journal::ThumbnailEntry;
use crate::store::{ObjectName, RenditionId};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// The playlists of an ended show.
#[derive(Debug)]
pub(crate) struct RecordingPlaylists {
    choices: Vec<Choice>,
    independent: bool,
    pub(crate) multivariant: Text,
    pub(crate) media: BTreeMap<RenditionId, Text>,
    /// The pictures of the show; no text where there are none.
    pub(crate) thumbnails: Option<ThumbnailIndex>,
    /// What the media playlists and the index of pictures name, gaps aside.
    named: HashSet<(RenditionId, u64, ObjectName)>,
}

#[derive(Debug)]
pub(crate) struct ThumbnailIndex {
    entries: Vec<ThumbnailEntry>,
    length: Duration,
    pub(crate) text: Text,
    /// The one that stands for the show.
    pub(crate) poster: ThumbnailEntry,
}

impl ThumbnailIndex {
    pub(crate) fn render(&self, prefix: &str) -> String {
        thumbnails::render_index(&self.entries, self.length, prefix)
    }
}

impl RecordingPlaylists {
    /// Whether a player was told of this object. Nothing else is looked for: a bucket is paid by the question.
    pub(crate) fn names(&self, rendition: RenditionId, epoch: u64, object: ObjectName) -> bool {
        self.named.contains(&(rendition, epoch, object))
    }

    /// The multivariant playlist with addresses that begin with `prefix`.
    pub(crate) fn render(&self, prefix: &str) -> String {
        render_multivariant(&self.choices, self.independent, prefix)
    }
}

impl Recording {
    /// The whole show, for a player that comes after its end.
    pub(crate) fn playlists(&self) -> RecordingPlaylists {
        let choices = self.choices();
        let target_duration = self.target_duration();
        let segments = |choice: &Choice| self.segments(choice.id);
        let independent = choices.iter().all(|choice| segments(choice).iter().all(|segment| segment.independent));
        let media = choices
            .iter()
            .map(|choice| (choice.id, Text::new(render_recording(target_duration, segments(choice)))))
            .collect();
        let multivariant = Text::new(render_multivariant(&choices, independent, ""));
        let named = choices
            .iter()
            .flat_map(|choice| segments(choice).iter().map(|segment| (choice.id, segment)))
            .filter(|(_, segment)| !segment.gap)
            .flat_map(|(id, segment)| {
                let init = (id, segment.init_epoch, ObjectName::Init);
                [init, (id, segment.epoch, ObjectName::Segment(segment.number))]
            })
            .chain(self.thumbnails().iter().map(|one| (one.rendition, one.epoch, ObjectName::Thumbnail(one.number))))
            .collect();
        RecordingPlaylists { choices, independent, multivariant, media, thumbnails: self.thumbnail_index(), named }
    }

    /// `None`: there are no pictures.
    pub(crate) fn thumbnail_index(&self) -> Option<ThumbnailIndex> {
        let (entries, length) = (self.thumbnails().to_vec(), self.length()?);
        let poster = *thumbnails::poster(&entries, length)?;
        let text = Text::new(thumbnails::render_index(&entries, length, ""));
        Some(ThumbnailIndex { entries, length, text, poster })
    }
}
