//! SIGTERM seen from outside: first it is said, then the door closes; what runs goes on until then.

use crate::harness::peer::{Peer, Script, Way};
use crate::harness::wait::holds;
use crate::harness::{Api, Encoder, Limit, Picture, Server, Show, until};
use anyhow::{Result, ensure};
use reqwest::StatusCode;
use rustix::process::Signal;

async fn readyz(server: &Server) -> Result<StatusCode> {
    Ok(reqwest::get(format!("http://127.0.0.1:{}/readyz", server.ops_port)).await?.status())
}

/// Status and Retry-After of an offer by somebody new.
async fn offer(url: String, token: Option<&str>) -> Result<(u16, Option<String>)> {
    let mut post = reqwest::Client::new().post(url).header("content-type", "application/sdp");
    if let Some(token) = token {
        post = post.bearer_auth(token);
    }
    let answer = post.body("v=0\r\n").send().await?;
    let after = answer.headers().get("retry-after").map(|value| value.to_str().map(str::to_owned)).transpose()?;
    Ok((answer.status().as_u16(), after))
}

#[tokio::test]
async fn before_the_door_closes_newcomers_are_told_and_what_runs_goes_on() -> Result<()> {
    // As long as a busy machine may need to look; nothing below waits for it to pass but the end.
    let mut server = Server::start_with(&[("CHOBI_HTTP__DRAIN_DELAY", "10s")], &[]).await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Until the end").await?;
    let way = Way::loopback(&server);
    let key = Some(show.stream_key.as_str());
    let (whip, whep) = (format!("{}/whip", server.base()), format!("{}/whep/{}", server.base(), show.session_id));
    let _host = Peer::open(&whip, key, Some(Script::new()), way).await?;
    show.listed(&api).await?;
    let viewer = Peer::open(&whep, None, None, way).await?;
    let seen = async |count: usize| {
        holds(Limit::MEDIA, &format!("{count} pictures"), async || Ok(viewer.pictures() >= count)).await
    };
    seen(30).await?;
    // One encoder publishes already, another one comes too late.
    let [early, late] = [
        Show::create_for(api.register("early").await?, "By encoder").await?,
        Show::create_for(api.register("late").await?, "Too late").await?,
    ];
    let mut goes_on = early.publish(&server, &Picture::CLOCK)?;
    early.listed(&api).await?;
    ensure!(readyz(&server).await? == StatusCode::OK, "ready");

    let mut process = server.ask_to_stop()?;
    holds(Limit::EVENT, "/readyz to say that it drains", async || {
        Ok(readyz(&server).await? == StatusCode::SERVICE_UNAVAILABLE)
    })
    .await?;
    for (url, token) in [(whip, key), (whep, None)] {
        let (status, after) = offer(url.clone(), token).await?;
        ensure!(status == 503, "{url} answered {status}");
        ensure!(after.as_deref().is_some_and(|after| after.parse::<u64>().is_ok_and(|after| after > 0)), "{after:?}");
    }
    let scratch = server.scratch().join("late");
    std::fs::create_dir(&scratch)?;
    let mut refused = Encoder::ffmpeg(&Picture::CLOCK, &late.publish_url(), &scratch)?;
    holds(Limit::PROCESS, "the encoder that comes too late to be told so", async || refused.has_ended()).await?;
    let told = refused.output();
    ensure!(told.contains("the server stops, connect again in a moment"), "it was told: {told}");
    ensure!(server.metric_where("chobi_publish_refused_total", "stopping").await? == 1.0, "and counted");
    goes_on.must_run()?;
    ensure!(early.in_list(&api).await?.is_some(), "who published before goes on");
    ensure!(show.in_list(&api).await?.is_some(), "the API still answers, and the show is on");
    seen(viewer.pictures() + 30).await?;
    ensure!(process.has_ended()?.is_none(), "all of this while it runs");

    let status = until(Limit::PROCESS, "the server to exit", async || process.has_ended()).await?;
    ensure!(status.success(), "and the end is a good one: {status}");
    Ok(())
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() -> Result<()> {
    for signal in [Signal::TERM, Signal::INT] {
        // Longer than anything below is waited for.
        let mut server = Server::start_with(&[("CHOBI_HTTP__DRAIN_DELAY", "60s")], &[]).await?;
        let mut process = server.ask_to_stop()?;
        holds(Limit::EVENT, "/readyz to say that it drains", async || {
            Ok(readyz(&server).await? == StatusCode::SERVICE_UNAVAILABLE)
        })
        .await?;
        process.signal(signal)?;
        let status = until(Limit::EVENT, "the server to exit at once", async || process.has_ended()).await?;
        ensure!(status.code() == Some(1), "{signal:?} after SIGTERM: {status}");
    }
    Ok(())
}
