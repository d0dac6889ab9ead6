//! A host and as many co-hosts as a show takes, all on air at once: over one peer, each known by their own, and the floor is
//! with the loudest.

use crate::harness::api::text;
use crate::harness::peer::{Loudness, Peer, Script, Way};
use crate::harness::wait::holds;
use crate::harness::{Account, Api, Limit, Room, Server, Show, report};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const CO_HOSTS: usize = 7;
/// Decibels below the loudest there is: somebody who speaks, and a room in which nobody does.
const SPEAKS: i8 = 20;
const LISTENS: i8 = 90;

/// Invited and willing.
async fn seat(show: &Show, guest: &Account) -> Result<()> {
    show.host.api.mutate("coHosts.invite", json!({ "sessionId": show.session_id, "userId": guest.id })).await?;
    guest.api.mutate("coHosts.accept", json!({ "sessionId": show.session_id })).await?;
    Ok(())
}

/// Marks at the ends of the frames of a track, each once.
fn marks(track: &[Vec<u8>]) -> Vec<u8> {
    let mut marks: Vec<u8> = track.iter().filter_map(|frame| frame.last().copied()).collect();
    marks.sort_unstable();
    marks.dedup();
    marks
}

/// Waits until the room was told that this one speaks; `Null` is the host.
async fn floor(room: &Room, who: &Value) -> Result<()> {
    holds(Limit::EVENT, &format!("the floor to be with {who}"), async || {
        let told = room.all("active_speaker");
        let last = told.last().map(|frame| &frame["data"]["userId"]);
        ensure!(last == Some(who), "it is with {last:?}");
        Ok(true)
    })
    .await
}

#[tokio::test]
async fn eight_publish_at_once_one_peer_gets_them_all_and_the_loudest_has_the_floor() -> Result<()> {
    // So many accounts from one address are unusual elsewhere.
    let server = Server::start_with(&[("CHOBI_API__LIMITS__REGISTER_ADDRESS__BURST", "20")], &[]).await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "A full house").await?;
    let (id, way) = (&show.session_id, Way::loopback(&server));
    let (whip, whep) = (format!("{}/whip", server.base()), format!("{}/whep/{id}", server.base()));
    let room = Room::join(&server, id, None).await?;
    let mut guests = Vec::new();
    for number in 0..=CO_HOSTS {
        guests.push(api.register(&format!("guest{number}")).await?);
    }
    let one_too_many = guests.pop().context("the last")?;

    let mut on_air: Vec<(Peer, Loudness)> = Vec::new();
    let script = Script::marked(0);
    let loudness = script.loudness();
    loudness.is(LISTENS);
    on_air.push((Peer::open(&whip, Some(&show.stream_key), Some(script), way).await?, loudness));
    show.listed(&api).await?;
    for (mark, guest) in (1..).zip(&guests) {
        seat(&show, guest).await?;
        let joined = json!({ "sessionId": id, "role": "co-host" });
        let joined = guest.api.mutate("streaming.joinSession", joined).await?;
        let ticket = text(&joined["viewerSession"], "token")?;
        let script = Script::marked(mark);
        let loudness = script.loudness();
        loudness.is(LISTENS);
        on_air.push((Peer::open(&whip, Some(&ticket), Some(script), way).await?, loudness));
    }
    room.next("co_hosts", |frame| {
        let all = frame["data"]["coHosts"].as_array();
        all.is_some_and(|all| all.len() == CO_HOSTS && all.iter().all(|one| one["isLive"] == true))
    })
    .await
    .context("all of them are live")?;

    // One more than the show takes.
    let theirs = json!({ "sessionId": id, "userId": one_too_many.id });
    show.host.api.mutate("coHosts.invite", theirs).await?;
    let refusal = one_too_many.api.refusal("mutate", "coHosts.accept", json!({ "sessionId": id })).await?;
    ensure!(refusal.code.as_deref() == Some("PRECONDITION_FAILED"), "{refusal:?}");
    ensure!(refusal.message == "اكتمل عدد المضيفين المشاركين في هذا البث", "in words: {refusal:?}");
    let early = json!({ "sessionId": id, "role": "co-host" });
    let early = one_too_many.api.refusal("mutate", "streaming.joinSession", early).await?;
    ensure!(early.code.as_deref() == Some("FORBIDDEN"), "and no ticket to publish with: {early:?}");

    let viewer = Peer::watch(&whep, CO_HOSTS + 1, way).await?;
    holds(Limit::MEDIA, "pictures and sounds of all eight", async || {
        let got: Vec<_> = viewer.got().tracks.iter().map(Vec::len).collect();
        ensure!(got.len() == 16 && got.iter().all(|frames| *frames >= 20), "so far {got:?}");
        Ok(true)
    })
    .await?;
    let got = viewer.got();
    for kind in [0, 1] {
        let tracks: Vec<_> = got.tracks.iter().skip(kind).step_by(2).map(|track| marks(track)).collect();
        ensure!(tracks.first() == Some(&vec![0]), "the host comes first: {tracks:?}");
        let mut all: Vec<_> = tracks.concat();
        all.sort_unstable();
        ensure!(
            all == (0..8).collect::<Vec<_>>() && tracks.iter().all(|track| track.len() == 1),
            "each alone: {tracks:?}"
        );
    }
    report!("frames of eight, by m-line: {:?}", got.tracks.iter().map(Vec::len).collect::<Vec<_>>());

    let speaks = |who: usize| {
        for (place, (_, loudness)) in on_air.iter().enumerate() {
            loudness.is(if place == who { SPEAKS } else { LISTENS });
        }
    };
    for who in [3, 0, 7, 0] {
        speaks(who);
        let named = if who == 0 { Value::Null } else { json!(guests[who - 1].id) };
        floor(&room, &named).await?;
    }
    let told: Vec<_> = room.all("active_speaker").iter().map(|frame| frame["data"]["userId"].clone()).collect();
    ensure!(told.len() == 4, "and nobody else ever had it: {told:?}");
    Ok(())
}
