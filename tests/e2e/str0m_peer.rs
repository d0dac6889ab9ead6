//! Rust to Rust by way of the server: what str0m gets is what str0m sent, byte for byte. The server hands payloads on and
//! makes none of its own. One port takes IPv6 and IPv4, over UDP and over TCP.

use crate::harness::peer::{Peer, Script, Way};
use crate::harness::wait::holds;
use crate::harness::{Api, Limit, Room, Server, Show, loopback_addresses, report};
use anyhow::{Result, ensure};
use std::collections::HashSet;
use std::net::SocketAddr;
use str0m::net::Protocol;

#[tokio::test]
async fn str0m_gets_back_byte_for_byte_what_str0m_publishes() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "Rust to Rust").await?;
    let room = Room::join(&server, &show.session_id, None).await?;
    let sent = Script::new();
    let (pictures, sounds): (HashSet<_>, HashSet<_>) =
        (sent.pictures.iter().cloned().collect(), sent.sounds.iter().cloned().collect());
    let key = Some(show.stream_key.as_str());
    let way = Way::loopback(&server);
    let host = Peer::open(&format!("{}/whip", server.base()), key, Some(sent), way).await?;
    show.listed(&api).await?;
    let viewer = Peer::open(&format!("{}/whep/{}", server.base(), show.session_id), None, None, way).await?;
    holds(Limit::MEDIA, "120 pictures and 200 packets of sound", async || {
        let got = viewer.got();
        ensure!(
            got.pictures().len() >= 120 && got.sounds().len() >= 200,
            "{} and {}",
            got.pictures().len(),
            got.sounds().len()
        );
        Ok(true)
    })
    .await?;
    let got = viewer.got();
    ensure!(host.got().connected && got.connected, "both are connected");
    let strange = got.pictures().iter().filter(|picture| !pictures.contains(*picture)).count();
    ensure!(strange == 0, "{strange} of {} pictures are none that was sent", got.pictures().len());
    let strange = got.sounds().iter().filter(|sound| !sounds.contains(*sound)).count();
    ensure!(strange == 0, "{strange} of {} packets of sound are none that was sent", got.sounds().len());
    let number = |sound: &Vec<u8>| sound[1];
    let gaps = got.sounds().windows(2).filter(|pair| (number(&pair[0]) + 1) % 50 != number(&pair[1])).count();
    ensure!(gaps == 0, "{gaps} gaps in the sound");
    report!("{} pictures and {} packets of sound, each as it was sent", got.pictures().len(), got.sounds().len());

    room.next("viewer_joined", |frame| frame["data"]["viewerCount"] == 1).await?;
    viewer.hang_up().await?;
    room.next("viewer_left", |frame| frame["data"]["viewerCount"] == 0).await?;
    host.hang_up().await
}

#[tokio::test]
async fn one_port_carries_ipv6_and_ipv4_over_udp_and_tcp() -> Result<()> {
    // Whoever is connected does not count as one who connects.
    let settings = [("CHOBI_WEBRTC__WORKERS", "2"), ("CHOBI_WEBRTC__MAX_CONNECTING_PER_IP", "1")];
    let server = Server::start_on_both_versions(&settings).await?;
    let api = Api::of(&server)?;
    let hosts = loopback_addresses();
    let ways: Vec<_> = hosts
        .iter()
        .flat_map(|&host| [Protocol::Udp, Protocol::Tcp].map(|protocol| (host, protocol)))
        .map(|(host, protocol)| Way { server: SocketAddr::new(host, server.webrtc_port), protocol })
        .collect();
    // Whoever publishes one way is watched in all ways.
    for (name, from) in [("first", ways[0]), ("second", ways[ways.len() - 1])] {
        let show = Show::create_for(api.register(name).await?, "Four ways").await?;
        let key = Some(show.stream_key.as_str());
        let host = Peer::open(&format!("{}/whip", server.base()), key, Some(Script::new()), from).await?;
        show.listed(&api).await?;
        for way in &ways {
            let url = format!("{}/whep/{}", server.base(), show.session_id);
            let viewer = Peer::open(&url, None, None, *way).await?;
            for wanted in &hosts {
                let offered = viewer.candidates.iter().filter(|one| one.contains(&format!(" {wanted} "))).count();
                ensure!(offered == 2, "{wanted} over UDP and TCP: {:#?}", viewer.candidates);
            }
            holds(Limit::MEDIA, &format!("media by {way:?} of a show from {from:?}"), async || {
                let got = viewer.got();
                ensure!(got.connected, "not connected");
                ensure!(
                    got.pictures().len() >= 30 && got.sounds().len() >= 40,
                    "{} {}",
                    got.pictures().len(),
                    got.sounds().len()
                );
                Ok(true)
            })
            .await?;
            viewer.hang_up().await?;
        }
        host.hang_up().await?;
    }
    Ok(())
}
