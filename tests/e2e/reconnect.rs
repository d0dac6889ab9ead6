//! The broadcaster's network is gone for three seconds: the same show goes on, with one discontinuity, in sync.

use crate::harness::hls::{Renditions, Segment};
use crate::harness::wait::absence;
use crate::harness::{Api, Browser, Limit, MediaPlaylist, Picture, Server, Show, Viewer, Visit, probe, report, until};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::Duration;

/// A video frame at 30 frames a second and an AAC frame at 48 kHz: neither can start more exactly than that.
const IN_SYNC_S: f64 = 0.033 + 0.022;

#[tokio::test]
async fn publisher_gone_for_three_seconds_goes_on_in_the_same_show() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "A bad network").await?;
    let encoder = show.publish(&server, &Picture::CLAPPER)?;
    show.listed(&api).await?;
    let viewer = show.viewer()?;
    let renditions = until(Limit::MEDIA, "the playlists", async || viewer.renditions().await.map(Some)).await?;
    let browser = Browser::start()?;
    let page =
        browser.open(&format!("{}/watch/{}?player=hls", server.base(), show.session_id), Visit::default()).await?;
    page.player_state("playing").await?;
    let before = segments_past(&viewer, &renditions, 3).await?;

    encoder.kill()?;
    absence(Duration::from_secs(3)).await;
    ensure!(show.in_list(&api).await?.is_some(), "the session outlives its publisher's connection");
    for url in renditions.all() {
        ensure!(!viewer.playlist(url).await?.ended, "an interruption is no end");
    }
    let _encoder = show.publish(&server, &Picture::CLAPPER)?;
    let last = before.iter().filter_map(MediaPlaylist::last_number).max().context("there were segments")?;
    let after = segments_past(&viewer, &renditions, last + 4).await?;

    for (before, after) in before.iter().zip(&after) {
        ensure!(after.discontinuities() == 1, "exactly one discontinuity:\n{}", after.text);
        numbering_goes_on(before, after)?;
    }
    let now = viewer.renditions().await?;
    ensure!(now.video == renditions.video && now.audio == renditions.audio, "the playlists moved: {}", now.text);
    page.plays_on(3_000).await?;
    page.player_state("playing").await?;
    let log = page.log().await?;
    ensure!(log.errors.is_empty(), "the page noticed nothing: {log:?}");

    let [video, audio] = after.as_slice() else { anyhow::bail!("two renditions") };
    let (video, audio) = (after_the_break(video), after_the_break(audio));
    let worst = worst_offset(&viewer, &video, &audio, server.scratch()).await?;
    report!("sound against picture after the reconnect: {:.0} ms at worst", worst * 1000.0);
    ensure!(worst.abs() <= IN_SYNC_S, "sound and picture are {worst} s apart");
    Ok(())
}

/// The playlists of all renditions once each has a segment with this number.
async fn segments_past(viewer: &Viewer, renditions: &Renditions, number: u64) -> Result<Vec<MediaPlaylist>> {
    until(Limit::MEDIA, &format!("segment {number} in every rendition"), async || {
        let mut playlists = Vec::new();
        for url in renditions.all() {
            let playlist = viewer.playlist(url).await?;
            ensure!(playlist.last_number() >= Some(number), "the last is {:?}", playlist.last_number());
            playlists.push(playlist);
        }
        Ok(Some(playlists))
    })
    .await
}

/// What both list is the same; numbers have no hole; dates follow each other outside the break.
fn numbering_goes_on(before: &MediaPlaylist, after: &MediaPlaylist) -> Result<()> {
    for segment in &after.segments {
        let known = before.segments.iter().find(|earlier| earlier.number == segment.number);
        ensure!(
            known.is_none_or(|known| known == segment),
            "segment {} changed: {known:?} {segment:?}",
            segment.number
        );
    }
    for pair in after.segments.windows(2) {
        let [one, next] = pair else { continue };
        #[expect(clippy::cast_precision_loss, reason = "a few seconds in ms")]
        let gap = (next.date_ms - one.date_ms) as f64 / 1000.0 - one.seconds;
        ensure!(next.discontinuity || gap.abs() < 0.25, "dates jump by {gap} s at {}:\n{}", next.number, after.text);
        ensure!(!next.discontinuity || gap > 1.0, "the break lasted seconds, the dates say {gap} s:\n{}", after.text);
    }
    Ok(())
}

fn after_the_break(playlist: &MediaPlaylist) -> Vec<Segment> {
    let from = playlist.segments.iter().position(|segment| segment.discontinuity).unwrap_or_default();
    playlist.segments[from..].to_vec()
}

/// How far the worst beep is from its flash, in seconds; positive when the sound comes late.
async fn worst_offset(viewer: &Viewer, video: &[Segment], audio: &[Segment], scratch: &Path) -> Result<f64> {
    let flashes = probe::flashes(&viewer.save(video, scratch, "after.video.mp4").await?).await?;
    let beeps = probe::beeps(&viewer.save(audio, scratch, "after.audio.mp4").await?).await?;
    let until = beeps.last().copied().unwrap_or_default();
    let offsets = flashes.iter().filter(|&&flash| flash < until).map(|flash| {
        let nearest = beeps.iter().copied().min_by(|a, b| (a - flash).abs().total_cmp(&(b - flash).abs()));
        nearest.unwrap_or(f64::INFINITY) - flash
    });
    let offsets: Vec<f64> = offsets.collect();
    ensure!(offsets.len() >= 3, "too few claps to judge: {flashes:?} {beeps:?}");
    offsets.into_iter().max_by(|a, b| a.abs().total_cmp(&b.abs())).context("there are offsets")
}
