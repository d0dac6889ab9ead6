//! Clients that are slow, greedy or hostile: cut, counted, and the show beside them undisturbed.

use crate::harness::wait::holds;
use crate::harness::{Api, Limit, Picture, Server, Show, until};
use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};

const HTTP_CLOSED: &str = "chobi_http_connections_closed_total";

#[tokio::test]
async fn slow_http_headers_are_cut() -> Result<()> {
    let server = Server::start_with(&[("CHOBI_HTTP__HEADER_TIMEOUT", "2s")], &[]).await?;
    let counted = server.metric(HTTP_CLOSED).await?;
    let silent = TcpStream::connect(("127.0.0.1", server.http_port)).await?;
    let mut half = TcpStream::connect(("127.0.0.1", server.http_port)).await?;
    half.write_all(b"GET /api HTTP/1.1\r\nhost: a\r\n").await?;
    let dripping = drip(TcpStream::connect(("127.0.0.1", server.http_port)).await?);
    let (one, two, three) = tokio::join!(cut(silent), cut(half), dripping);
    one.context("says nothing")?;
    two.context("stops in the middle of the head")?;
    three.context("sends a header line now and then")?;
    holds(Limit::EVENT, "all three to be counted", async || Ok(server.metric(HTTP_CLOSED).await? >= counted + 3.0))
        .await
}

/// The server closes within the limit, with or without an answer.
async fn cut(mut socket: TcpStream) -> Result<()> {
    let mut answer = Vec::new();
    // A reset is a way of closing too.
    let _ = timeout(Limit::EVENT, socket.read_to_end(&mut answer)).await.context("it was left open")?;
    Ok(())
}

/// Always one more header line, never the end of the head.
async fn drip(mut socket: TcpStream) -> Result<()> {
    socket.write_all(b"GET /api HTTP/1.1\r\n").await?;
    let deadline = Instant::now() + Limit::EVENT;
    let mut ticks = interval(Duration::from_millis(300));
    while Instant::now() < deadline {
        ticks.tick().await;
        if socket.write_all(b"x-slow: yes\r\n").await.is_err() {
            return Ok(());
        }
    }
    anyhow::bail!("it was fed for {:?}", Limit::EVENT)
}

#[tokio::test]
async fn no_path_leads_out_of_the_segments() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Nothing but segments").await?;
    let id = &show.session_id;
    std::fs::write(server.data_dir().join("canary.m4s"), "CANARY")?;
    for path in [
        "/hls/../canary.m4s".to_owned(),
        "/hls/../../../../../../etc/passwd".to_owned(),
        "/hls/%2e%2e/canary.m4s".to_owned(),
        "/hls/..%2f..%2f..%2f..%2fetc%2fpasswd".to_owned(),
        "/hls/%2fetc%2fpasswd".to_owned(),
        format!("/hls/{id}/../../canary.m4s"),
        format!("/hls/{id}/..%2f..%2fcanary.m4s"),
        format!("/hls/{id}/video/..%5c..%5c..%5ccanary.m4s"),
        format!("/hls/{id}/video/0/..%2f..%2f..%2f..%2fcanary.m4s"),
        format!("/hls/{id}/video/0/%00.m4s"),
        format!("/hls/{id}//////canary.m4s"),
        "/assets/..%2f..%2fCargo.toml".to_owned(),
        "/watch/..%2f..%2fetc%2fpasswd".to_owned(),
    ] {
        let answer = raw(&server, &format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await?;
        let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
        // The page of an unknown show is still a page; what matters is what is in it.
        ensure!(["400", "404"].contains(&status.as_str()) || path.starts_with("/watch/"), "{path}: {answer}");
        ensure!(!answer.contains("CANARY") && !answer.contains("root:"), "{path} leads out: {answer}");
    }
    Ok(())
}

/// Bytes as they are, since an HTTP client would tidy the path first.
async fn raw(server: &Server, request: &str) -> Result<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", server.http_port)).await?;
    socket.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    timeout(Limit::EVENT, socket.read_to_end(&mut answer)).await.context("no answer")??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn refusals_of_the_http_layer_are_envelopes_to_the_client() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let body = json!({ "email": "a@example.org", "password": "x".repeat(2 * 1024 * 1024) });
    let refusal = api.refusal("mutate", "auth.login", body).await?;
    ensure!(refusal.code.as_deref() == Some("PAYLOAD_TOO_LARGE"), "too large: {refusal:?}");
    let refusal = api.refusal("query", "no.such", json!({})).await?;
    ensure!(refusal.code.as_deref() == Some("NOT_FOUND"), "unknown: {refusal:?}");
    let refusal = api.refusal("mutate", "streaming.createSession", json!({ "title": "x", "type": "video" })).await?;
    ensure!(refusal.code.as_deref() == Some("UNAUTHORIZED"), "nobody's session: {refusal:?}");
    let refusal = api.refusal("query", "chat.getMessages", json!({ "limit": 1000 })).await?;
    ensure!(refusal.code.as_deref() == Some("BAD_REQUEST"), "two faults: {refusal:?}");
    let issues: Value = serde_json::from_str(&refusal.message)?;
    ensure!(issues.as_array().map(Vec::len) == Some(2), "both faults are told: {refusal:?}");
    Ok(())
}

/// Opened and left alone; far more than one address may have.
const HALF_OPEN: usize = 10_000;
/// More than this would be memory that grows with what strangers open.
const GROWTH_MAX_BYTES: u64 = 64 * 1024 * 1024;

#[tokio::test]
async fn ten_thousand_half_open_connections_leave_the_show_alone() -> Result<()> {
    let files = raise_open_files();
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Under siege").await?;
    let mut encoder = show.publish(&server, &Picture::CLOCK)?;
    show.listed(&api).await?;
    let viewer = show.viewer()?;
    let video = until(Limit::MEDIA, "the playlists", async || Ok(viewer.renditions().await?.video)).await?;
    let before = until(Limit::MEDIA, "a segment", async || Ok(viewer.playlist(&video).await?.last_number())).await?;
    let memory = server.peak_memory_bytes()?;

    let mut held = Vec::new();
    for _ in 0..HALF_OPEN {
        // Refused at the door is one of the right answers; a connection that hangs is not.
        let connect = timeout(Limit::EVENT, TcpStream::connect(("127.0.0.1", server.rtmp_port)));
        if let Ok(socket) = connect.await.context("connecting hangs")? {
            // C0 alone: enough to take a handshake's place, never enough to finish it.
            let _ = socket.try_write(&[3]);
            held.push(socket);
        }
        if held.len() >= files {
            held.clear();
        }
    }
    let grown = server.peak_memory_bytes()? - memory;
    ensure!(grown < GROWTH_MAX_BYTES, "memory grew by {grown} bytes");
    let goes_on = async || Ok(viewer.playlist(&video).await?.last_number() >= Some(before + 3));
    holds(Limit::MEDIA, "the show to go on", goes_on).await?;
    encoder.must_run()?;
    let playlist = viewer.playlist(&video).await?;
    ensure!(playlist.discontinuities() == 0, "the show was disturbed:\n{}", playlist.text);
    for socket in held {
        cut(socket).await.context("a half-open connection")?;
    }
    Ok(())
}

/// Allows this process as many sockets as it may have; answers how many to hold at once.
fn raise_open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Without it fewer are held at once; the number opened stays the same.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(now / 2).unwrap_or(usize::MAX).min(HALF_OPEN)
}
