//! `chobi bench` against the real server: what it counts is what was sent, and what it refuses it explains.

use crate::harness::server::command;
use crate::harness::wait::holds;
use crate::harness::{Api, Limit, Picture, Server, Show};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::process::Output;

/// Runs `chobi bench` to its end.
async fn bench(server: &Server, arguments: &[&str]) -> Result<Output> {
    let mut command = command(server.scratch());
    command.arg("bench").args(arguments);
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

fn figures(output: &Output) -> Result<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn viewers_of_an_rtmp_show_get_every_packet_authentic() -> Result<()> {
    let server = Server::start_with(&[("CHOBI_WEBRTC__WORKERS", "2")], &[]).await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Measured").await?;
    let url = format!("{}/whep/{}", server.base(), show.session_id);
    let early = bench(&server, &["whep", "--url", &url, "--viewers", "2", "--duration", "1s"]).await?;
    let said = String::from_utf8_lossy(&early.stdout).into_owned();
    ensure!(early.status.code() == Some(1), "nobody could watch: {said}");
    ensure!(said.contains("2 x 409 Conflict: "), "why, once for both: {said}");

    let _encoder = show.publish(&server, &Picture::CLOCK)?;
    show.listed(&api).await?;
    let pid = server.id()?.to_string();
    let arguments =
        ["whep", "--url", &url, "--viewers", "6", "--duration", "3s", "--verify", "all", "--pid", &pid, "--json"];
    let output = bench(&server, &arguments).await?;
    let seen = figures(&output)?;
    ensure!(output.status.success(), "all is well: {seen}");
    ensure!(seen["joined"] == 6 && seen["failed"] == 0, "everybody joined: {seen}");
    ensure!(seen["lost"] == 0 && seen["forged"] == 0, "nothing is lost on loopback: {seen}");
    let count = |value: &Value| value.as_u64().unwrap_or_default();
    // Thirty pictures and fifty packets of sound a second, for three seconds, six times; half of it on a slow machine.
    ensure!(
        count(&seen["video"]["packets"]) > 6 * 45 && count(&seen["audio"]["packets"]) > 6 * 75,
        "media came: {seen}"
    );
    let came = count(&seen["video"]["packets"]) + count(&seen["audio"]["packets"]);
    ensure!(count(&seen["verified"]) == came, "every packet was opened: {seen}");
    ensure!(seen["firstKeyframeMs"]["max"].is_number(), "everybody saw a keyframe: {seen}");
    ensure!(
        seen["server"]["cpuMicrosPerPacket"].is_number() && seen["undeleted"] == 0,
        "the server was watched: {seen}"
    );
    holds(Limit::EVENT, "every viewer to be gone", async || Ok(server.metric("chobi_webrtc_peers").await? == 0.0)).await
}

#[tokio::test]
async fn publishers_by_whip_are_watched() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Measured").await?;
    let whip = format!("{}/whip", server.base());
    let refused = bench(&server, &["whip", "--url", &whip, "--key", "chobi_sk_wrong", "--duration", "1s"]).await?;
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    ensure!(refused.status.code() == Some(1) && said.contains("1 x 401 Unauthorized"), "a wrong key: {said}");

    let arguments =
        ["whip", "--url", &whip, "--key", &show.stream_key, "--bitrate", "1M", "--duration", "12s", "--json"];
    let whep = format!("{}/whep/{}", server.base(), show.session_id);
    let watching = async {
        show.listed(&api).await?;
        bench(&server, &["whep", "--url", &whep, "--viewers", "3", "--duration", "2s", "--verify", "all", "--json"])
            .await
    };
    let (published, watched) = tokio::join!(bench(&server, &arguments), watching);
    let (published, watched) = (figures(&published?)?, figures(&watched?)?);
    ensure!(
        published["joined"] == 1 && published["failed"] == 0 && published["lost"] == 0,
        "it published: {published}"
    );
    let rate = published["bitsPerSecond"].as_f64().unwrap_or_default();
    ensure!(rate > 500_000.0, "about the bit rate asked for: {published}");
    ensure!(watched["joined"] == 3 && watched["lost"] == 0 && watched["forged"] == 0, "it was seen: {watched}");
    ensure!(watched["video"]["packets"].as_u64() > Some(100), "with its picture: {watched}");
    ensure!(watched["audio"]["packets"].as_u64() > Some(100), "and its sound: {watched}");
    Ok(())
}

#[tokio::test]
async fn viewers_by_hls_follow_a_show_and_play_its_recording() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Measured").await?;
    let url = format!("{}/hls/{}/index.m3u8", server.base(), show.session_id);
    let early = bench(&server, &["hls", "--url", &url, "--viewers", "2", "--duration", "1s"]).await?;
    let said = String::from_utf8_lossy(&early.stdout).into_owned();
    ensure!(early.status.code() == Some(1) && said.contains("2 x 404 Not Found: "), "nothing to watch: {said}");

    let _encoder = show.publish(&server, &Picture::CLOCK)?;
    show.listed(&api).await?;
    let pid = server.id()?.to_string();
    let follow = ["hls", "--url", &url, "--viewers", "5", "--duration", "4s", "--pid", &pid, "--json"];
    let live = bench(&server, &follow).await?;
    let (ok, live) = (live.status.success(), figures(&live)?);
    ensure!(ok && live["joined"] == 5 && live["failed"] == 0, "everybody watches: {live}");
    let count = |value: &Value| value.as_u64().unwrap_or_default();
    // Parts of 200 ms of picture and of sound, for four seconds, five times; half of it on a slow machine.
    ensure!(count(&live["media"]) > 5 * 20 && count(&live["playlists"]) > 5 * 20, "part by part: {live}");
    ensure!(live["fellBehind"] == 0 && live["behindMs"]["p50"].is_number(), "at the live edge: {live}");
    ensure!(live["cpuMicrosPerMiB"].is_number() && live["server"]["cpuMicrosPerRequest"].is_number(), "{live}");
    let whole = bench(&server, &[&follow[..], &["--plain"]].concat()).await?;
    let (ok, whole) = (whole.status.success(), figures(&whole)?);
    ensure!(ok && whole["joined"] == 5, "everybody watches without low latency: {whole}");
    ensure!(count(&whole["media"]) < count(&live["media"]) / 2, "segments are fewer than parts: {whole}");

    show.end().await?;
    let replay = format!("{}/hls/{}/replay/index.m3u8", server.base(), show.session_id);
    holds(Limit::EVENT, "the recording", async || Ok(reqwest::get(&replay).await?.status().is_success())).await?;
    let recording =
        bench(&server, &["hls", "--url", &replay, "--viewers", "3", "--unpaced", "--duration", "2s", "--json"]).await?;
    let (ok, recording) = (recording.status.success(), figures(&recording)?);
    ensure!(ok && recording["joined"] == 3 && recording["failed"] == 0, "the recording is played: {recording}");
    ensure!(count(&recording["media"]) > 3 * 10, "again and again: {recording}");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_measured_is_refused_with_its_reason() -> Result<()> {
    let server = Server::start().await?;
    let base = server.base();
    let nobody = format!("http://127.0.0.1:{}/whep/x", crate::harness::server::free_ports::<1>()?[0]);
    let unknown = format!("{base}/whep/session_unknown");
    let elsewhere = format!("{base}/nothing/here");
    for (arguments, code, reason) in [
        (&["whep", "--url", "nonsense"][..], 1, "http://HOST:PORT/whep/SESSION"),
        (&["whep", "--url", "ftp://127.0.0.1/whep/x"], 1, "http://HOST:PORT/whep/SESSION"),
        (&["whep", "--url", &nobody, "--viewers", "3"], 1, "3 x cannot connect to 127.0.0.1"),
        (&["whep", "--url", &unknown, "--viewers", "2"], 1, "2 x 404 Not Found: there is no such session"),
        (&["whep", "--url", &elsewhere, "--viewers", "1"], 1, "1 x 404 Not Found"),
        (&["whep", "--url", &unknown, "--pid", "4194305"], 1, "no such process"),
        (&["whep", "--url", &unknown, "--viewers", "0"], 2, "--viewers"),
        (&["whep", "--url", &unknown, "--duration", "soon"], 2, "write 20s or 2m"),
        (&["hls", "--url", "nonsense"], 1, "http://HOST:PORT/hls/SESSION/index.m3u8"),
        (&["hls", "--url", &nobody], 1, "10 x cannot connect to 127.0.0.1"),
        (&["hls", "--url", &base, "--viewers", "1"], 1, "1 x that is no playlist"),
        (&["whip", "--url", &base], 2, "--key"),
        (&["whip", "--url", &base, "--key", "k", "--bitrate", "fast"], 2, "write 2.4M"),
        (&["whip", "--url", &base, "--keys", "/nowhere"], 1, "cannot read /nowhere"),
        (&["whip", "--url", &base, "--key", "k", "--bitrate", "10k"], 1, "it has "),
        (&["whip", "--url", &base, "--key", "k", "--clip", "/dev/null"], 1, "not an FLV file"),
    ] {
        let output = bench(&server, arguments).await?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.code() == Some(code), "{arguments:?}: {:?} {said}", output.status);
        ensure!(said.contains(reason), "{arguments:?}: {said}");
    }
    Ok(())
}
