//! `onMetaData`: what the encoder says about itself (FLV 10.1 annex E.5). Hints only; the bitstream decides.

use crate::model::FrameRate;
use rml_amf0::Amf0Value;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hints {
    /// Whether a track is to be expected; `None` when the encoder does not say.
    pub has_video: Option<bool>,
    pub has_audio: Option<bool>,
    pub frame_rate: Option<FrameRate>,
}

impl Hints {
    /// From the values of a data message: `["@setDataFrame",] "onMetaData", properties`. `None` for other data.
    pub fn parse(values: &[Amf0Value]) -> Option<Self> {
        let named =
            |value: Option<&Amf0Value>, name: &str| matches!(value, Some(Amf0Value::Utf8String(text)) if text == name);
        let values = if named(values.first(), "@setDataFrame") { &values[1..] } else { values };
        if !named(values.first(), "onMetaData") {
            return None;
        }
        let Some(Amf0Value::Object(properties)) = values.get(1) else { return None };
        let number = |name: &str| match properties.get(name) {
            Some(Amf0Value::Number(number)) if number.is_finite() => Some(*number),
            _ => None,
        };
        // A codec id may also be a FourCC in text. Zero means none, except for audio, where it is raw PCM: not carried.
        let codec = |name: &str| match properties.get(name) {
            Some(Amf0Value::Number(id)) => Some(*id != 0.0),
            Some(Amf0Value::Utf8String(id)) => Some(!id.is_empty()),
            _ => None,
        };
        let video = codec("videocodecid");
        let audio = codec("audiocodecid");
        // An encoder that names one codec and not the other has only that one.
        Some(Self {
            has_video: video.or(audio.map(|_| number("width").is_some())),
            has_audio: audio.or(video.map(|_| number("audiosamplerate").is_some())),
            frame_rate: number("framerate").or_else(|| number("videoframerate")).and_then(frame_rate),
        })
    }
}

/// The fraction an encoder means by 29.97.
fn frame_rate(rate: f64) -> Option<FrameRate> {
    if !(1.0..=240.0).contains(&rate) {
        return None;
    }
    let whole = rate.round();
    let broadcast = whole * 1000.0 / 1001.0;
    Some(if (rate - whole).abs() < 0.001 {
        FrameRate { numerator: whole as u32, denominator: 1 }
    } else if (rate - broadcast).abs() < 0.005 {
        FrameRate { numerator: whole as u32 * 1000, denominator: 1001 }
    } else {
        FrameRate { numerator: (rate * 1000.0).round() as u32, denominator: 1000 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(properties: &[(&str, f64)]) -> Vec<Amf0Value> {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), Amf0Value::Number(*value)));
        let text = |text: &str| Amf0Value::Utf8String(text.to_owned());
        vec![text("@setDataFrame"), text("onMetaData"), Amf0Value::Object(properties.collect())]
    }

    #[test]
    fn tracks_and_frame_rate_are_told() {
        let both = Hints::parse(&metadata(&[("videocodecid", 7.0), ("audiocodecid", 10.0), ("framerate", 29.97)]));
        let rate = FrameRate { numerator: 30_000, denominator: 1_001 };
        assert_eq!(both, Some(Hints { has_video: Some(true), has_audio: Some(true), frame_rate: Some(rate) }));
        let video_only = Hints::parse(&metadata(&[("videocodecid", 7.0), ("framerate", 25.0)])[1..]).unwrap();
        assert_eq!((video_only.has_video, video_only.has_audio), (Some(true), Some(false)));
        assert_eq!(Hints::parse(&metadata(&[("framerate", f64::INFINITY)])), Some(Hints::default()));
        assert_eq!(Hints::parse(&[Amf0Value::Utf8String("onTextData".into())]), None);
        assert_eq!(Hints::parse(&[]), None);
    }
}
