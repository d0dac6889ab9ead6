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

/// A co-host, whom a viewer may choose to see or hear in the place of the host (section 4.4.6.1).
#[derive(Debug)]
pub(crate) struct Alternative {
    pub(crate) name: String,
    /// Stands before the URIs of their renditions.
    pub(crate) prefix: String,
    pub(crate) choices: Vec<Choice>,
}

/// A show without alternatives. `prefix` stands before every URI: empty, or the element that carries a private viewer's pass.
pub(crate) fn render(choices: &[Choice], independent: bool, prefix: &str) -> String {
    render_with(choices, &[], independent, prefix)
}

pub(crate) fn render_with(choices: &[Choice], alternatives: &[Alternative], independent: bool, prefix: &str) -> String {
    let mut text = String::with_capacity(256 + (choices.len() + alternatives.len()) * 256);
    text.push_str("#EXTM3U\n#EXT-X-VERSION:9\n");
    if independent {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let of = |kind| choices.iter().filter(move |choice: &&Choice| choice.id.kind == kind);
    let audio = of(RenditionKind::Audio).max_by_key(|audio| audio.peak_bps);
    let best = of(RenditionKind::Video).max_by_key(|video| video.peak_bps);
    let (sounds, pictures) = (fitting(alternatives, audio), fitting(alternatives, best));
    let sound_peak = audio.map_or(0, |audio| audio.peak_bps).max(peak(&sounds));

    let Some(best) = best else {
        if let (Some(audio), false) = (audio, sounds.is_empty()) {
            Entry { kind: "AUDIO", name: HOST, is_own: true, is_default: true, choice: audio, prefix: None }
                .write(&mut text);
            write_co_hosts(&mut text, "AUDIO", &sounds);
        }
        for audio in of(RenditionKind::Audio) {
            let groups: &[_] = if sounds.is_empty() { &[] } else { &["AUDIO"] };
            Variant { main: audio, audio: None, peak_bps: audio.peak_bps.max(sound_peak), groups }
                .write(&mut text, prefix);
        }
        return text;
    };
    for (index, audio) in of(RenditionKind::Audio).enumerate() {
        let (name, is_default) = (&*format!("audio {}", index + 1), index == 0);
        Entry { kind: "AUDIO", name, is_own: true, is_default, choice: audio, prefix: Some(prefix) }.write(&mut text);
    }
    write_co_hosts(&mut text, "AUDIO", &sounds);
    if !pictures.is_empty() {
        Entry { kind: "VIDEO", name: HOST, is_own: true, is_default: true, choice: best, prefix: None }
            .write(&mut text);
        write_co_hosts(&mut text, "VIDEO", &pictures);
    }
    for video in of(RenditionKind::Video) {
        // A variant's bandwidth covers all it may lead to. The small ones are not made larger by a co-host's picture.
        let leads_on = !pictures.is_empty() && (video.peak_bps >= peak(&pictures) || video.id == best.id);
        let picture_peak = if leads_on { video.peak_bps.max(peak(&pictures)) } else { video.peak_bps };
        let groups: &[_] = match (audio, leads_on) {
            (Some(_), true) => &["AUDIO", "VIDEO"],
            (Some(_), false) => &["AUDIO"],
            (None, true) => &["VIDEO"],
            (None, false) => &[],
        };
        Variant { main: video, audio, peak_bps: picture_peak + sound_peak, groups }.write(&mut text, prefix);
    }
    text
}

/// Where the host stands in a group.
const HOST: &str = "host";

/// Each co-host's smallest rendition in the codec of the host's own: a player that decodes the one decodes the other, and
/// the variant need not name a codec for the sake of somebody who may never be looked at.
fn fitting<'a>(alternatives: &'a [Alternative], own: Option<&Choice>) -> Vec<(&'a Alternative, &'a Choice)> {
    let Some(own) = own else { return Vec::new() };
    let sample_entry = |choice: &Choice| choice.format.codecs.split('.').next().map(str::to_owned);
    let of = |alternative: &'a Alternative| {
        let alike = alternative
            .choices
            .iter()
            .filter(|choice| choice.id.kind == own.id.kind && sample_entry(choice) == sample_entry(own));
        Some((alternative, alike.min_by_key(|choice| choice.peak_bps)?))
    };
    alternatives.iter().filter_map(of).collect()
}

fn peak(group: &[(&Alternative, &Choice)]) -> u64 {
    group.iter().map(|(_, choice)| choice.peak_bps).max().unwrap_or(0)
}

fn write_co_hosts(text: &mut String, kind: &str, group: &[(&Alternative, &Choice)]) {
    for (Alternative { name, prefix, .. }, choice) in group {
        Entry { kind, name, is_own: false, is_default: false, choice, prefix: Some(prefix) }.write(text);
    }
}

/// A rendition in a group (section 4.4.6.1).
struct Entry<'a> {
    kind: &'a str,
    name: &'a str,
    /// The host's. A player chooses no other on its own.
    is_own: bool,
    is_default: bool,
    choice: &'a Choice,
    /// `None`: it is where the variants themselves lead.
    prefix: Option<&'a str>,
}

impl Entry<'_> {
    fn write(&self, text: &mut String) {
        let yes_or_no = |yes| if yes { "YES" } else { "NO" };
        let (default, auto) = (yes_or_no(self.is_default), yes_or_no(self.is_own));
        let (kind, group, name) = (self.kind, group_id(self.kind), self.name);
        let _ = write!(
            text,
            "#EXT-X-MEDIA:TYPE={kind},GROUP-ID=\"{group}\",NAME=\"{name}\",DEFAULT={default},AUTOSELECT={auto}"
        );
        if let Some(channels) = self.choice.format.channels {
            let _ = write!(text, ",CHANNELS=\"{channels}\"");
        }
        if let Some(prefix) = self.prefix {
            let _ = write!(text, ",URI=\"{prefix}{}/index.m3u8\"", self.choice.id);
        }
        text.push('\n');
    }
}

fn group_id(kind: &str) -> String {
    kind.to_ascii_lowercase()
}

/// Section 4.4.6.2.
struct Variant<'a> {
    main: &'a Choice,
    audio: Option<&'a Choice>,
    /// Of the densest combination.
    peak_bps: u64,
    /// Kinds of the groups that it leads to.
    groups: &'a [&'a str],
}

impl Variant<'_> {
    fn write(&self, text: &mut String, prefix: &str) {
        let Self { main, audio, peak_bps, groups } = self;
        let average = main.average_bps + audio.map_or(0, |audio| audio.average_bps);
        let codecs = &main.format.codecs;
        let _ = write!(text, "#EXT-X-STREAM-INF:BANDWIDTH={peak_bps},AVERAGE-BANDWIDTH={average},CODECS=\"{codecs}");
        if let Some(audio) = audio {
            let _ = write!(text, ",{}", audio.format.codecs);
        }
        text.push('"');
        if let Some(picture) = &main.format.picture {
            let (width, height) = (picture.width, picture.height);
            let _ = write!(text, ",RESOLUTION={width}x{height},FRAME-RATE={:.3}", picture.frames_per_second);
        }
        for kind in *groups {
            let _ = write!(text, ",{kind}=\"{}\"", group_id(kind));
        }
        let _ = writeln!(text, "\n{prefix}{}/index.m3u8", main.id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::Picture;
    use super::*;

    fn choice(id: &str, codecs: &str, peak_bps: u64) -> Choice {
        let id = RenditionId::parse(id).unwrap();
        let picture = Picture { width: 640, height: 360, frames_per_second: 30.0 };
        let (picture, channels) = if id.kind == RenditionKind::Video { (Some(picture), None) } else { (None, Some(2)) };
        let format = RenditionFormat { codecs: codecs.to_owned(), picture, channels };
        Choice { id, format, peak_bps, average_bps: peak_bps / 2 }
    }

    fn co_host(name: &str, choices: Vec<Choice>) -> Alternative {
        Alternative { name: name.to_owned(), prefix: format!("../session_1-{name}/"), choices }
    }

    fn lines(text: &str, with: &str) -> Vec<String> {
        text.lines().filter(|line| line.contains(with)).map(str::to_owned).collect()
    }

    #[test]
    fn co_hosts_stand_beside_the_host_and_make_no_small_variant_larger() {
        let host = [
            choice("v0", "avc1.42e01f", 300_000),
            choice("v1", "avc1.64001f", 2_000_000),
            choice("a0", "opus", 100_000),
        ];
        let co_hosts = [
            co_host(
                "user_1",
                vec![
                    choice("v0", "avc1.42e01f", 500_000),
                    choice("v1", "avc1.42e01f", 900_000),
                    choice("a0", "opus", 110_000),
                ],
            ),
            co_host("user_2", vec![choice("v0", "av01.0.04M.08", 400_000), choice("a0", "mp4a.40.2", 90_000)]),
        ];
        let text = render_with(&host, &co_hosts, true, "");
        assert!(m3u8_rs::parse_master_playlist_res(text.as_bytes()).is_ok());
        assert_eq!(
            lines(&text, "TYPE=VIDEO"),
            [
                r#"#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="video",NAME="host",DEFAULT=YES,AUTOSELECT=YES"#,
                r#"#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="video",NAME="user_1",DEFAULT=NO,AUTOSELECT=NO,URI="../session_1-user_1/v0/index.m3u8""#,
            ]
        );
        assert_eq!(lines(&text, "TYPE=AUDIO").len(), 2, "a sound in another codec is left out: {text}");
        let variants = lines(&text, "STREAM-INF");
        assert!(variants[0].contains("BANDWIDTH=410000,") && variants[0].ends_with(r#"AUDIO="audio""#), "{variants:?}");
        assert!(variants[1].contains("BANDWIDTH=2110000,") && variants[1].ends_with(r#",VIDEO="video""#));
    }

    #[test]
    fn in_a_show_of_voices_each_can_be_heard() {
        let co_hosts = [co_host("user_1", vec![choice("a0", "opus", 90_000)])];
        let text = render_with(&[choice("a0", "opus", 100_000)], &co_hosts, true, "");
        assert_eq!(lines(&text, "TYPE=AUDIO").len(), 2);
        assert!(lines(&text, "STREAM-INF")[0].ends_with(r#"AUDIO="audio""#) && text.ends_with("\na0/index.m3u8\n"));
        assert!(m3u8_rs::parse_master_playlist_res(text.as_bytes()).is_ok());
        assert!(!render(&[choice("a0", "opus", 100_000)], true, "").contains("EXT-X-MEDIA"));
    }
}
