//! Players of other people on what the server writes: the live playlist in a bucket, and a replay from both the bucket and
//! the server, across a discontinuity and from any place.

use crate::harness::wait::holds;
use crate::harness::{Api, Browser, Bucket, Limit, Picture, Server, Show, report, until};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

const PLAYERS: [&str; 2] = ["hls.js", "shaka"];
/// To the beginning, into both parts of the show, near the end and back.
const SEEKS: [f64; 5] = [0.5, 0.1, 0.8, 0.3, 0.6];

fn number(value: &Value, name: &str) -> Result<f64> {
    value[name].as_f64().with_context(|| format!("{name} in {value}"))
}

/// The lengths of what lies between discontinuities, in seconds.
fn lengths(playlist: &str) -> Vec<f64> {
    let seconds = |line: &str| line.strip_prefix("#EXTINF:")?.split(',').next()?.parse::<f64>().ok();
    playlist.split("#EXT-X-DISCONTINUITY\n").map(|part| part.lines().filter_map(seconds).sum()).collect()
}

#[tokio::test]
async fn others_play_the_bucket_and_the_replay_from_any_place() -> Result<()> {
    let bucket = Bucket::start().await?;
    let settings = bucket.settings();
    let mut settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    settings.push(("CHOBI_HLS__END_LINGER", "6s"));
    let server = Server::start_with(&settings, &[]).await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "For all players").await?;
    let in_bucket = bucket.url(&format!("{}/index.m3u8", show.session_id));
    let key = format!("{}/v0/index.m3u8", show.session_id);
    let segments_in_bucket = async |wanted: usize| {
        until(Limit::MEDIA, "segments in the bucket", async || {
            let playlist = bucket.text(&key).await?;
            Ok(playlist.filter(|text| text.matches("#EXTINF:").count() >= wanted))
        })
        .await
    };

    let first = show.publish(&server, &Picture::CLOCK)?;
    segments_in_bucket(4).await?;
    first.kill()?;
    let _second = show.publish(&server, &Picture::CLOCK)?;
    let live = segments_in_bucket(8).await?;
    ensure!(live.contains("#EXT-X-DISCONTINUITY\n") && !live.contains("ENDLIST"), "two publishers of one show: {live}");
    let browser = Browser::start()?;
    for player in PLAYERS {
        let seen = browser.play(player, &in_bucket, &[0.2]).await?;
        ensure!(number(&seen, "seekable")? > 5.0, "{player} plays the live show from the bucket: {seen}");
    }

    show.end().await?;
    let whole = until(Limit::MEDIA, "the recording in the bucket", async || {
        let playlist = bucket.text(&key).await?;
        Ok(playlist.filter(|text| text.contains("#EXT-X-PLAYLIST-TYPE:VOD")))
    })
    .await?;
    holds(Limit::EVENT, "the replay at the server", async || {
        Ok(show.viewer()?.renditions().await?.video.is_some_and(|video| !video.path().contains("/replay/")))
    })
    .await?;
    let sound = bucket.text(&format!("{}/a0/index.m3u8", show.session_id)).await?.context("the sound's playlist")?;
    // A publisher that is cut off sends sound and picture that do not end together, and the second begins after the later of the
    // two. hls.js counts what the picture adds up to, Shaka where the last of all ends.
    let (picture, sound) = (lengths(&whole), lengths(&sound));
    ensure!(picture.len() == 2 && sound.len() == 2, "two publishers: {picture:?} {sound:?}");
    let end: f64 = picture.iter().zip(&sound).map(|(picture, sound)| picture.max(*sound)).sum();
    let (picture, sound): (f64, f64) = (picture.iter().sum(), sound.iter().sum());
    let length = picture.min(sound)..=end;
    for (place, url) in [("the bucket", &in_bucket), ("the server", &show.playback_url)] {
        for player in PLAYERS {
            let seen = browser.play(player, url, &SEEKS).await?;
            let duration = number(&seen, "duration")?;
            report!(
                "{player} from {place}: {duration:.3} s; picture {picture:.3} s, sound {sound:.3} s, end {end:.3} s"
            );
            let near = *length.start() - 0.1..=*length.end() + 0.1;
            ensure!(near.contains(&duration), "{player} from {place}: {length:?} s are listed: {seen}");
            let reached = seen["reached"].as_array().context("places")?;
            ensure!(
                reached.len() == SEEKS.len() && seen["errors"] == serde_json::json!([]),
                "{player} from {place}: {seen}"
            );
            for place in reached {
                let apart = (number(place, "stood")? - number(place, "asked")?).abs();
                ensure!(apart < 0.5, "{player} stands where it was asked to: {seen}");
            }
        }
    }
    Ok(())
}
