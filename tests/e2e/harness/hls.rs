//! A viewer who reads playlists as text, and `m3u8-rs` as the judge of them.

use anyhow::{Context, Result, anyhow, ensure};
use m3u8_rs::AlternativeMediaType;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use std::path::{Path, PathBuf};

/// One person with a cookie jar.
#[derive(Clone)]
pub(crate) struct Viewer {
    client: reqwest::Client,
    pub(crate) url: Url,
}

/// The renditions of a show, each by the address of its media playlist.
#[derive(Debug, Clone)]
pub(crate) struct Renditions {
    pub(crate) text: String,
    /// The first of the variants.
    pub(crate) video: Option<Url>,
    pub(crate) audio: Option<Url>,
    pub(crate) variants: Vec<Url>,
}

impl Renditions {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Url> {
        self.video.iter().chain(&self.audio)
    }
}

/// One state of one media playlist.
#[derive(Debug, Clone)]
pub(crate) struct MediaPlaylist {
    pub(crate) text: String,
    pub(crate) segments: Vec<Segment>,
    pub(crate) ended: bool,
    pub(crate) discontinuity_sequence: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) url: Url,
    /// The initialisation section that holds for it.
    pub(crate) init: Url,
    pub(crate) discontinuity: bool,
    pub(crate) seconds: f64,
    /// EXT-X-PROGRAM-DATE-TIME in ms since the epoch.
    pub(crate) date_ms: i64,
}

/// What the segments of a playlist add up to, in seconds.
pub(crate) fn adds_up(playlist: &str) -> f64 {
    playlist.lines().filter_map(|line| line.strip_prefix("#EXTINF:")?.split(',').next()?.parse::<f64>().ok()).sum()
}

impl MediaPlaylist {
    fn parse(text: String, base: &Url) -> Result<Self> {
        let judged = m3u8_rs::parse_media_playlist_res(text.as_bytes())
            .map_err(|error| anyhow!("m3u8-rs refuses the playlist: {error}\n{text}"))?;
        let mut init = None;
        let mut segments = Vec::with_capacity(judged.segments.len());
        for (number, segment) in (judged.media_sequence..).zip(&judged.segments) {
            if let Some(map) = &segment.map {
                init = Some(base.join(&map.uri)?);
            }
            segments.push(Segment {
                number,
                url: base.join(&segment.uri)?,
                init: init.clone().with_context(|| format!("segment {number} has no EXT-X-MAP\n{text}"))?,
                discontinuity: segment.discontinuity,
                seconds: f64::from(segment.duration),
                date_ms: segment
                    .program_date_time
                    .with_context(|| format!("segment {number} has no date"))?
                    .timestamp_millis(),
            });
        }
        Ok(Self { ended: judged.end_list, discontinuity_sequence: judged.discontinuity_sequence, segments, text })
    }

    pub(crate) fn last_number(&self) -> Option<u64> {
        self.segments.last().map(|segment| segment.number)
    }

    /// Discontinuities since the start of the show: those listed and those that have left the window.
    pub(crate) fn discontinuities(&self) -> u64 {
        // Written out instead of counted on segments, so that one before a segment still in parts counts too.
        let listed = self.text.lines().filter(|line| *line == "#EXT-X-DISCONTINUITY").count() as u64;
        self.discontinuity_sequence + listed
    }
}

impl Viewer {
    pub(crate) fn of(playback_url: &str) -> Result<Self> {
        Ok(Self {
            client: reqwest::Client::builder().cookie_store(true).no_proxy().build()?,
            url: playback_url.parse()?,
        })
    }

    pub(crate) async fn renditions(&self) -> Result<Renditions> {
        let text = self.text(&self.url).await?;
        let judged = m3u8_rs::parse_master_playlist_res(text.as_bytes())
            .map_err(|error| anyhow!("m3u8-rs refuses the multivariant playlist: {error}\n{text}"))?;
        let variant = judged.variants.first().with_context(|| format!("no variant\n{text}"))?;
        let variants = judged.variants.iter().map(|variant| self.url.join(&variant.uri));
        let variants = variants.collect::<Result<Vec<_>, _>>()?;
        let first = variants[0].clone();
        let audio_group = judged.alternatives.iter().find(|media| media.media_type == AlternativeMediaType::Audio);
        let audio = audio_group.and_then(|media| media.uri.as_deref()).map(|uri| self.url.join(uri)).transpose()?;
        let has_video = variant.resolution.is_some();
        ensure!(variant.codecs.is_some(), "a variant names its codecs\n{text}");
        Ok(if has_video {
            Renditions { text, video: Some(first), audio, variants }
        } else {
            Renditions { text, video: None, audio: Some(audio.unwrap_or(first)), variants }
        })
    }

    pub(crate) async fn playlist(&self, url: &Url) -> Result<MediaPlaylist> {
        MediaPlaylist::parse(self.text(url).await?, url)
    }

    pub(crate) async fn text(&self, url: &Url) -> Result<String> {
        let answer = self.client.get(url.clone()).send().await?;
        let status = answer.status();
        let kind = answer.headers().get(CONTENT_TYPE).cloned();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{url}: {status} {text}");
        ensure!(kind.is_some_and(|kind| kind == "application/vnd.apple.mpegurl"), "{url} is not typed as a playlist");
        Ok(text)
    }

    pub(crate) async fn bytes(&self, url: &Url) -> Result<Vec<u8>> {
        let answer = self.client.get(url.clone()).send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "{url}: {status}");
        Ok(answer.bytes().await?.to_vec())
    }

    /// Writes the init section and these segments into one file that a demuxer reads.
    pub(crate) async fn save(&self, segments: &[Segment], folder: &Path, name: &str) -> Result<PathBuf> {
        let first = segments.first().context("no segment to save")?;
        let mut bytes = self.bytes(&first.init).await?;
        for segment in segments {
            bytes.extend(self.bytes(&segment.url).await?);
        }
        let path = folder.join(name);
        std::fs::write(&path, bytes)?;
        Ok(path)
    }
}
