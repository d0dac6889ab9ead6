//! The whole binary with a bucket that is not there: operators are told, viewers are not bothered.

use crate::harness::wait::holds;
use crate::harness::{Api, Limit, Server, until};
use anyhow::{Context, Result, ensure};
use serde_json::json;

#[tokio::test]
async fn a_bucket_that_is_down_is_told_to_operators_and_the_show_goes_on() -> Result<()> {
    // Nothing listens on port 9, the discard service of old.
    let settings = [
        ("S3_BUCKET", "chobi-shows"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2hunter2"),
    ];
    let mut server = Server::start_with(&settings, &["--demo"]).await?;
    let readyz = format!("http://127.0.0.1:{}/readyz", server.ops_port);
    holds(Limit::MEDIA, "a word about the bucket", async || {
        let answer = reqwest::get(&readyz).await?;
        ensure!(answer.status().is_success(), "the server takes traffic: {answer:?}");
        Ok(answer.text().await?.contains("degraded: the bucket takes nothing"))
    })
    .await?;
    ensure!(server.metric("chobi_store_upload_failures_total").await? > 0.0, "failures are counted");
    let backlog = async || Ok(server.metric("chobi_store_backlog_segments").await? > 0.0);
    holds(Limit::MEDIA, "the backlog to be seen", backlog).await?;

    let api = Api::of(&server)?;
    let live = until(Limit::MEDIA, "the demo to be live", async || {
        let answer = api.query("streaming.getActiveSessions", json!({})).await?;
        Ok(answer["sessions"].get(0).cloned())
    })
    .await?;
    let id = live["id"].as_str().context("it has an id")?;
    let playlist = reqwest::get(format!("{}/hls/{id}/v0/index.m3u8", server.base())).await?.text().await?;
    ensure!(playlist.contains(".m4s") && !playlist.contains("#EXT-X-GAP"), "viewers notice nothing: {playlist}");
    ensure!(!server.log().contains("hunter2"), "keys are in no log");
    server.stop().await
}
