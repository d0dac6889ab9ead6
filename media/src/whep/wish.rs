//! What a viewer asks for among the layers of a picture, and what it is told of them.
//!
//! In: names and sizes of layers, a wish. Out: the best layer that may be sent. Pure. draft-ietf-wish-whep, Video Layer
//! Selection.

use crate::model::{Epoch, Rid};

/// One layer as its publisher describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerFormat {
    pub(crate) rid: Rid,
    pub(crate) width: u16,
    pub(crate) height: u16,
}

/// Nothing better than this. Empty: the server chooses by what the viewer's network carries.
///
/// It is a ceiling, not an order: whoever asks for more than the network carries would get a picture that stands still and
/// take the sound down with it, so a smaller layer is sent until the one asked for fits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) rid: Option<Rid>,
    /// Pixels.
    pub(crate) width_max: Option<u16>,
    pub(crate) height_max: Option<u16>,
}

/// A wish for one of the pictures that a viewer is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    /// `None`: the first picture.
    pub(crate) m_line: Option<usize>,
    pub(crate) wish: Wish,
}

/// One picture that a viewer is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PictureLayers {
    /// Its media section in the answer.
    pub(crate) m_line: usize,
    /// The best first.
    pub(crate) layers: Vec<LayerSeen>,
    pub(crate) wish: Wish,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerSeen {
    pub(crate) format: LayerFormat,
    /// Bits per second as measured; 0 while nothing comes.
    pub(crate) bps: u64,
    /// This viewer is sent this one.
    pub(crate) is_sent: bool,
}

/// There is no such thing to choose.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSuchLayer {
    #[error("there is no picture in media section {asked}; those with one: {present:?}")]
    MediaSection { asked: usize, present: Vec<usize> },
    #[error("there is no layer {asked} on the air now; there are: {present:?}")]
    Layer { asked: Rid, present: Vec<Rid> },
    #[error("this viewer is sent no picture")]
    NoPicture,
}

/// The layers of an epoch, the smallest first. One without a name is called by its place.
pub(crate) fn layer_formats(epoch: &Epoch, layers_max: usize) -> Vec<LayerFormat> {
    let video = epoch.tracks.iter().filter_map(|track| Some((track.rid.as_ref(), track.video()?)));
    let named = |(place, (rid, video)): (usize, (Option<&Rid>, &crate::model::VideoFormat))| LayerFormat {
        rid: rid.cloned().unwrap_or_else(|| Rid::parse(&place.to_string()).expect("digits")),
        width: video.width,
        height: video.height,
    };
    video.take(layers_max).enumerate().map(named).collect()
}

impl Wish {
    /// The best layer that may be sent, of `formats` with the smallest first. `None`: any. A layer that was asked for and is
    /// not there leaves the choice to the server until it is back.
    pub(crate) fn ceiling(&self, formats: &[LayerFormat], is_alive: impl Fn(usize) -> bool) -> Option<usize> {
        let named = self.rid.as_ref().and_then(|rid| formats.iter().position(|format| format.rid == *rid));
        let by_name = named.filter(|layer| is_alive(*layer));
        [by_name, self.by_size(formats, &is_alive)].into_iter().flatten().min()
    }

    /// When none is small enough, the smallest.
    fn by_size(&self, formats: &[LayerFormat], is_alive: &impl Fn(usize) -> bool) -> Option<usize> {
        if self.width_max.is_none() && self.height_max.is_none() {
            return None;
        }
        let fits = |format: &LayerFormat| {
            self.width_max.is_none_or(|max| format.width <= max)
                && self.height_max.is_none_or(|max| format.height <= max)
        };
        let mut alive = (0..formats.len()).filter(|layer| is_alive(*layer));
        let smallest = alive.clone().next();
        alive.rfind(|layer| fits(&formats[*layer])).or(smallest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rid(name: &str) -> Rid {
        Rid::parse(name).unwrap()
    }

    fn formats() -> Vec<LayerFormat> {
        let format = |(name, width, height)| LayerFormat { rid: rid(name), width, height };
        [("l", 320, 180), ("m", 640, 360), ("h", 1280, 720)].map(format).to_vec()
    }

    fn wish(name: &str) -> Wish {
        Wish { rid: Some(rid(name)), ..Wish::default() }
    }

    #[test]
    fn a_layer_that_was_asked_for_is_the_ceiling_as_long_as_it_is_there() {
        assert_eq!(wish("m").ceiling(&formats(), |_| true), Some(1));
        assert_eq!(wish("m").ceiling(&formats(), |layer| layer != 1), None, "nothing comes of it");
        assert_eq!(wish("m").ceiling(&formats()[..1], |_| true), None, "the publisher has dropped it");
        assert_eq!(wish("h").ceiling(&formats()[1..], |_| true), Some(1), "its place is another one now");
        assert_eq!(Wish::default().ceiling(&formats(), |_| true), None);
    }

    #[test]
    fn sizes_are_ceilings_and_the_smallest_is_sent_when_none_is_small_enough() {
        let sizes = |width_max, height_max| Wish { rid: None, width_max, height_max };
        for (wish, layer) in [
            (sizes(Some(640), None), 1),
            (sizes(None, Some(719)), 1),
            (sizes(Some(4_000), Some(200)), 0),
            (sizes(Some(1), None), 0),
            (sizes(None, Some(720)), 2),
            (Wish { height_max: Some(180), ..wish("h") }, 0),
        ] {
            assert_eq!(wish.ceiling(&formats(), |_| true), Some(layer), "{wish:?}");
        }
        assert_eq!(sizes(Some(1), None).ceiling(&formats(), |layer| layer != 0), Some(1));
        assert_eq!(sizes(Some(1), None).ceiling(&[], |_| true), None);
    }
}
