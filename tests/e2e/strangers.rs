//! What strangers send to the media port, and what is sent twice: counted by its kind, and nobody who watches notices.

use crate::harness::peer::{Peer, Script, Way};
use crate::harness::wait::holds;
use crate::harness::{Api, Limit, Server, Show, report};
use anyhow::{Context, Result, ensure};
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

const DROPPED: &str = "chobi_webrtc_dropped_datagrams_total";
/// Of each kind.
const FLOOD: usize = 5_000;
/// Sent before the server is asked whether it has counted them: so many fit into the buffer of one of its sockets, and a flood
/// that the kernel throws away shows nothing.
const BURST: usize = 64;
/// Their addresses are spread over the workers' sockets.
const STRANGERS: usize = 8;
/// More would be memory that grows with what strangers send.
const GROWTH_MAX_BYTES: u64 = 32 * 1024 * 1024;

/// What was dropped so far, by reason.
async fn dropped(server: &Server) -> Result<HashMap<String, usize>> {
    let text = reqwest::get(format!("http://127.0.0.1:{}/metrics", server.ops_port)).await?.text().await?;
    let lines =
        text.lines().filter_map(|line| line.strip_prefix(DROPPED)?.strip_prefix("{reason=\"")?.split_once("\"} "));
    lines.map(|(reason, count)| Ok((reason.to_owned(), count.parse()?))).collect()
}

/// A xorshift: the same bytes every time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// 20 to 147 bytes, of which the first two are given.
    fn datagram(&mut self, first: [u8; 2]) -> Vec<u8> {
        let length = 20 + self.next() as usize % 128;
        first.into_iter().chain(std::iter::from_fn(|| Some(self.next() as u8))).take(length).collect()
    }
}

/// A connectivity check that whoever does not know the password can make (RFC 8489 sections 5 and 14).
fn check(username: &str, noise: &mut Noise) -> Vec<u8> {
    let attribute = |kind: u16, value: &[u8]| {
        let length = value.len() as u16;
        let padding = vec![0; value.len().next_multiple_of(4) - value.len()];
        [&kind.to_be_bytes()[..], &length.to_be_bytes(), value, &padding].concat()
    };
    let mut random = |bytes: usize| (0..bytes).map(|_| noise.next() as u8).collect::<Vec<_>>();
    let attributes = [
        attribute(0x0006, username.as_bytes()),
        attribute(0x0024, &[0x7e, 0x7f, 0x1e, 0xff]),
        attribute(0x8029, &random(8)),
        attribute(0x0025, &[]),
        attribute(0x0008, &random(20)),
    ]
    .concat();
    let length = attributes.len() as u16;
    [&[0, 1][..], &length.to_be_bytes(), &[0x21, 0x12, 0xa4, 0x42], &random(12), &attributes].concat()
}

/// Sends so many datagrams from strangers' addresses, no faster than the server counts them under one of `reasons`.
async fn flood(server: &Server, reasons: &[&str], mut make: impl FnMut(usize) -> Vec<u8>) -> Result<()> {
    let sockets: Vec<_> =
        (0..STRANGERS).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))).collect::<std::io::Result<_>>()?;
    let counted = async || -> Result<usize> {
        let dropped = dropped(server).await?;
        Ok(reasons.iter().filter_map(|reason| dropped.get(*reason)).sum())
    };
    let before = counted().await?;
    for from in (0..FLOOD).step_by(BURST) {
        let until = (from + BURST).min(FLOOD);
        for number in from..until {
            sockets[number % STRANGERS].send_to(&make(number), (Ipv4Addr::LOCALHOST, server.webrtc_port))?;
        }
        let deadline = Instant::now() + Limit::EVENT;
        loop {
            let now = counted().await? - before;
            if now >= until {
                break;
            }
            ensure!(Instant::now() < deadline, "of {until} sent, {now} are counted as {reasons:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    Ok(())
}

#[tokio::test]
async fn floods_of_garbage_forgeries_and_repetitions_are_counted_and_not_noticed() -> Result<()> {
    let server = Server::start_with(&[("CHOBI_WEBRTC__WORKERS", "3")], &[]).await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Among strangers").await?;
    let (script, way) = (Script::new(), Way::loopback(&server));
    let pictures: HashSet<_> = script.pictures.iter().cloned().collect();
    let host = Peer::open(&format!("{}/whip", server.base()), Some(&show.stream_key), Some(script), way).await?;
    show.listed(&api).await?;
    let whep = format!("{}/whep/{}", server.base(), show.session_id);
    let viewer = Peer::open(&whep, None, None, way).await?;
    holds(Limit::MEDIA, "a picture, and reports about it", async || {
        Ok(viewer.pictures() >= 60 && viewer.sent().len() >= 4)
    })
    .await?;
    let (memory, log, calm) = (server.peak_memory_bytes()?, server.log().len(), dropped(&server).await?);

    let mut noise = Noise(0x5eed);
    // By their first bytes: nothing known, STUN, DTLS, RTP, RTCP (RFC 7983).
    let firsts = [[99, 0], [0, 1], [22, 0xfe], [0x80, 96], [0x81, 201]];
    flood(&server, &["unknown", "stun", "stranger"], |number| noise.datagram(firsts[number % firsts.len()])).await?;
    // Names of nobody, at every worker and at one that there is not.
    flood(&server, &["stun"], |number| check(&format!("{:02x}nobody:theirs", number % 4), &mut noise)).await?;
    flood(&server, &["stun_integrity"], |_| check(&viewer.username, &mut noise)).await?;
    let copies: Vec<_> = viewer.sent().into_iter().chain(host.sent()).collect();
    let (reports, media): (Vec<_>, Vec<_>) = copies.iter().partition(|copy| matches!(copy[1], 192..=223));
    ensure!(!reports.is_empty() && !media.is_empty(), "{} reports and {} packets to copy", reports.len(), media.len());
    flood(&server, &["stranger"], |number| copies[number % copies.len()].clone()).await?;
    // And from their own addresses: the host sends all of it twice, the viewer its reports.
    let before = dropped(&server).await?;
    host.sends_twice(true);
    viewer.sends_twice(true);
    holds(Limit::MEDIA, "what is sent twice to be counted", async || {
        let now = dropped(&server).await?;
        let new = |reason| now.get(reason).unwrap_or(&0) - before.get(reason).unwrap_or(&0);
        ensure!(new("srtp") >= 100 && new("srtcp") >= 2, "so far {now:?}");
        Ok(true)
    })
    .await?;
    host.sends_twice(false);

    let seen = viewer.pictures();
    holds(Limit::MEDIA, "the viewer to see more", async || Ok(viewer.pictures() >= seen + 30)).await?;
    let got = viewer.got();
    let strange = got.pictures().iter().filter(|picture| !pictures.contains(*picture)).count();
    ensure!(strange == 0, "{strange} of {} pictures are none that was sent", got.pictures().len());
    let gaps = got.sounds().windows(2).filter(|pair| (pair[0][1] + 1) % 50 != pair[1][1]).count();
    ensure!(gaps == 0, "{gaps} gaps in {} packets of sound", got.sounds().len());
    let newcomer = Peer::open(&whep, None, None, way).await?;
    holds(Limit::MEDIA, "a newcomer to watch", async || Ok(newcomer.pictures() >= 10)).await?;

    let after = dropped(&server).await?;
    for (reason, least) in [("unknown", FLOOD / 5), ("stun", FLOOD), ("stun_integrity", FLOOD), ("stranger", FLOOD)] {
        let count = after.get(reason).with_context(|| format!("{reason} is counted"))?;
        ensure!(count - calm.get(reason).unwrap_or(&0) >= least, "{reason}: {after:?}");
    }
    let (said, grown) = (server.log(), server.peak_memory_bytes()? - memory);
    let said: Vec<_> = said[log..].lines().filter(|line| !line.contains("peer is connected")).collect();
    ensure!(said.is_empty(), "the log stays quiet: {said:#?}");
    ensure!(grown < GROWTH_MAX_BYTES, "memory grew by {grown} bytes");
    let closed = server.metric("chobi_webrtc_peers_closed_total").await?;
    ensure!(closed == 0.0, "nobody was put out: {closed}");
    report!("{} datagrams of strangers: {after:?}, memory grew by {grown} bytes", 4 * FLOOD);
    Ok(())
}
