//! Players of other people on what the server writes: the live playlist in a bucket, and a replay from both the bucket and
//! the server, across a discontinuity and from any place.

use crate::harness::hls::adds_up;
use crate::harness::wait::holds;
use crate::harness::{Api, Browser, Bucket, Limit, Picture, Show, report, until};
use anyhow::{Context, Result, ensure};
use serde_json::Value;

const PLAYERS: [&str; 2] = ["hls.js", "shaka"];
/// To the beginning, into both parts of the show, near the end and back.
const SEEKS: [f64; 5] = [0.5, 0.1, 0.8, 0.3, 0.6];

fn number(value: &Value, name: &str) -> Result<f64> {
    value[name].as_f64().with_context(|| format!("{name} in {value}"))
}

/// After each seek the picture stood near where it was asked to and went on, and nothing broke.
fn stood_where_asked(player: &str, place: &str, seen: &Value, places: usize) -> Result<()> {
    let reached = seen["reached"].as_array().context("places")?;
    ensure!(reached.len() == places && seen["errors"] == serde_json::json!([]), "{player} from {place}: {seen}");
    for one in reached {
        let apart = (number(one, "stood")? - number(one, "asked")?).abs();
        ensure!(apart < 0.5, "{player} stands where it was asked to in {place}: {seen}");
    }
    Ok(())
}

/// From the date of the first segment to the end of the last, in seconds.
fn by_date(playlist: &str) -> Result<f64> {
    let dates = playlist.lines().filter_map(|line| line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:"));
    let dates = dates.map(humantime::parse_rfc3339).collect::<Result<Vec<_>, _>>()?;
    let (first, last) = (dates.first().context("dates")?, dates.last().context("dates")?);
    let last_segment = playlist.rsplit("#EXTINF:").next().and_then(|rest| rest.split(',').next());
    let last_segment: f64 = last_segment.context("a last segment")?.parse()?;
    Ok(last.duration_since(*first)?.as_secs_f64() + last_segment)
}

#[tokio::test]
async fn others_play_the_bucket_and_the_replay_from_any_place() -> Result<()> {
    let bucket = Bucket::start().await?;
    // A longer window than by default: Shaka takes its time with each place, and what is listed goes on.
    let server = bucket.server(&[("CHOBI_HLS__END_LINGER", "6s"), ("CHOBI_HLS__WINDOW_SEGMENTS", "40")]).await?;
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
        let seen = browser.play(player, &in_bucket, &SEEKS).await?;
        ensure!(number(&seen, "seekable")? > 5.0, "{player} plays the live show from the bucket: {seen}");
        stood_where_asked(player, "the live bucket", &seen, SEEKS.len())?;
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
    // Between the publishers lies a moment without either: hls.js goes by what segments add up to, Shaka by their dates.
    let (added, dated) = (adds_up(&whole), by_date(&whole)?);
    for (place, url) in [("the bucket", &in_bucket), ("the server", &show.playback_url)] {
        for player in PLAYERS {
            let seen = browser.play(player, url, &SEEKS).await?;
            let duration = number(&seen, "duration")?;
            report!(
                "{player} from {place}: {duration:.3} s; segments add up to {added:.3} s, by date it is {dated:.3} s"
            );
            let near = added.min(dated) - 0.1..=added.max(dated) + 0.1;
            ensure!(near.contains(&duration), "{player} from {place}: {near:?} is right: {seen}");
            stood_where_asked(player, place, &seen, SEEKS.len())?;
        }
    }
    Ok(())
}
