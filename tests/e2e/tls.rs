//! TLS by one flag: an encoder pushes RTMPS, the pages and the playlists come over HTTPS with HTTP/2.

use crate::harness::server::free_ports;
use crate::harness::{Api, Encoder, Limit, Picture, Server, Show, until};
use anyhow::{Context, Result, ensure};
use std::process::Command;

#[tokio::test]
async fn one_flag_gives_https_and_rtmps() -> Result<()> {
    let [https, rtmps] = free_ports()?;
    let (https_listen, rtmps_listen) = (format!("127.0.0.1:{https}"), format!("127.0.0.1:{rtmps}"));
    let settings =
        [("CHOBI_TLS__HTTP_LISTEN", https_listen.as_str()), ("CHOBI_TLS__RTMP_LISTEN", rtmps_listen.as_str())];
    let server = Server::start_with(&settings, &["--self-signed"]).await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Behind TLS").await?;
    let push = format!("rtmps://127.0.0.1:{rtmps}/live/{}", show.stream_key);
    let mut encoder = Encoder::ffmpeg(&Picture::CLOCK, &push, server.scratch())?;
    show.listed(&api).await?;
    encoder.must_run()?;
    let address = format!("https://127.0.0.1:{https}/hls/{}/index.m3u8", show.session_id);
    let answer = until(Limit::MEDIA, "the playlist over HTTPS", async || {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--insecure",
                "--http2",
                "--max-time",
                "10",
                "--write-out",
                "%{http_version} %{http_code}",
            ])
            .arg(&address)
            .output()
            .context("curl runs")?;
        let answer = String::from_utf8(output.stdout)?;
        Ok(answer.ends_with(" 200").then_some(answer))
    })
    .await?;
    ensure!(answer.contains("#EXTM3U") && answer.ends_with("2 200"), "HTTP/2 by ALPN: {answer}");
    Ok(())
}
