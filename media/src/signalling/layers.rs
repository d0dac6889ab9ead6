//! The layers of a viewer's pictures as JSON (draft-ietf-wish-whep, Video Layer Selection).
//!
//! In: what a client posts, what the desk knows. Out: a choice; the list. Pure. The draft calls a layer `rid`, and its earlier
//! versions `encodingId`: both are understood and written.

use crate::model::Rid;
use crate::whep::wish::{Choice, LayerSeen, PictureLayers, Wish};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use std::num::NonZeroU16;

pub(super) const JSON: &str = "application/json";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Posted {
    media_id: Option<String>,
    #[serde(alias = "encodingId")]
    rid: Option<String>,
    max_width: Option<NonZeroU16>,
    max_height: Option<NonZeroU16>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Picture<'a> {
    /// The best first.
    layers: Vec<Layer<'a>>,
    /// Nothing in it: the server chooses.
    chosen: Chosen<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Layer<'a> {
    rid: &'a str,
    encoding_id: &'a str,
    width: u16,
    height: u16,
    bitrate: u64,
    sent: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Chosen<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    rid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_width: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_height: Option<u16>,
}

/// Why it is no choice, in words for whoever wrote the client.
pub(super) fn parse(text: &str) -> Result<Choice, String> {
    let posted: Posted =
        serde_json::from_str(text).map_err(|error| format!("this is no choice of a layer: {error}"))?;
    let m_line = posted.media_id.map(|id| {
        id.parse().map_err(|_| format!("mediaId is the number of a media section in quotes, such as \"0\", not {id:?}"))
    });
    let rid = posted.rid.map(|rid| Rid::parse(&rid).map_err(|error| format!("rid: {error}")));
    let (width_max, height_max) = (posted.max_width.map(NonZeroU16::get), posted.max_height.map(NonZeroU16::get));
    Ok(Choice { m_line: m_line.transpose()?, wish: Wish { rid: rid.transpose()?, width_max, height_max } })
}

/// By media section.
pub(super) fn write(pictures: &[PictureLayers]) -> String {
    let picture = |picture: &PictureLayers| {
        let PictureLayers { m_line, layers, wish } = picture;
        let chosen =
            Chosen { rid: wish.rid.as_ref().map(Rid::as_str), max_width: wish.width_max, max_height: wish.height_max };
        let picture = Picture { layers: layers.iter().map(Layer::of).collect(), chosen };
        (m_line.to_string(), serde_json::to_value(picture).expect("names and numbers"))
    };
    serde_json::Value::Object(pictures.iter().map(picture).collect::<Map<_, _>>()).to_string()
}

impl<'a> Layer<'a> {
    fn of(seen: &'a LayerSeen) -> Self {
        let (rid, format) = (seen.format.rid.as_str(), &seen.format);
        let (width, height) = (format.width, format.height);
        Self { rid, encoding_id: rid, width, height, bitrate: seen.bps, sent: seen.is_sent }
    }
}
