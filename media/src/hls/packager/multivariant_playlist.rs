//! In: what is known of each rendition. Out: the text of the multivariant playlist. Pure.
//! Driven by readers. rfc8216bis section 4.4.6.

use super::snapshot::RenditionFormat;
use crate::store::{RenditionId, RenditionKind};
use std::fmt::Write;

/// A rendition as a player chooses it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    pub(crate) id: RenditionId,
    pub(crate) format: RenditionFormat,
    /// Bits a second of its densest segment.
    pub(crate) peak_bps: u64,
    /// Bits a second over its window.
    pub(crate) average_bps: u64,
}

/// `prefix` stands before every URI: empty, or the element that carries a private viewer's pass.
pub(crate) fn render(choices: &[Choice], independent: bool, prefix: &str) -> String {
    let mut text = String::with_capacity(256 + choices.len() * 256);
    text.push_str("#EXTM3U\n#EXT-X-VERSION:9\n");
    if independent {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let of = |kind| choices.iter().filter(move |choice: &&Choice| choice.id.kind == kind);
    let mut videos = of(RenditionKind::Video).peekable();
    if videos.peek().is_none() {
        for audio in of(RenditionKind::Audio) {
            variant(&mut text, audio, None, prefix);
        }
        return text;
    }
    for (index, audio) in of(RenditionKind::Audio).enumerate() {
        media(&mut text, audio, index, prefix);
    }
    let audio = of(RenditionKind::Audio).max_by_key(|audio| audio.peak_bps);
    for video in videos {
        variant(&mut text, video, audio, prefix);
    }
    text
}

fn media(text: &mut String, audio: &Choice, index: usize, prefix: &str) {
    let default = if index == 0 { "YES" } else { "NO" };
    let _ = write!(
        text,
        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"audio {}\",DEFAULT={default},AUTOSELECT=YES",
        index + 1
    );
    if let Some(channels) = audio.format.channels {
        let _ = write!(text, ",CHANNELS=\"{channels}\"");
    }
    let _ = writeln!(text, ",URI=\"{prefix}{}/index.m3u8\"", audio.id);
}

fn variant(text: &mut String, main: &Choice, audio: Option<&Choice>, prefix: &str) {
    let sum = |of: fn(&Choice) -> u64| of(main) + audio.map_or(0, of);
    let _ = write!(
        text,
        "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}",
        sum(|choice| choice.peak_bps),
        sum(|choice| choice.average_bps),
        main.format.codecs
    );
    if let Some(audio) = audio {
        let _ = write!(text, ",{}", audio.format.codecs);
    }
    text.push('"');
    if let Some(picture) = &main.format.picture {
        let (width, height) = (picture.width, picture.height);
        let _ = write!(text, ",RESOLUTION={width}x{height},FRAME-RATE={:.3}", picture.frames_per_second);
    }
    if audio.is_some() {
        text.push_str(",AUDIO=\"audio\"");
    }
    let _ = writeln!(text, "\n{prefix}{}/index.m3u8", main.id);
}
