//! A show is a replay the moment it ends: listed, played from its beginning with its chat, private when the show was, gone
//! when its owner says so; taken home as one file by those who may; and nothing of a show that was not to be kept.

use crate::harness::api::text;
use crate::harness::wait::holds;
use crate::harness::{Account, Api, Browser, Limit, Page, Picture, Server, Show, Viewer, Visit, probe, report, until};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Instant;

/// The video of a session in the caller's list, once it is ready.
async fn ready_video(api: &Api, session_id: &str) -> Result<Value> {
    until(Limit::EVENT, "the replay to be listed", async || {
        let list = api.query("videos.getVideos", json!({})).await?;
        let videos = list["videos"].as_array().context("a list")?;
        Ok(videos.iter().find(|video| video["sessionId"] == session_id && video["status"] == "ready").cloned())
    })
    .await
}

async fn segments(viewer: &Viewer, at_least: usize) -> Result<()> {
    until(Limit::MEDIA, "some segments", async || {
        let video = viewer.renditions().await?.video.context("a picture")?;
        Ok((viewer.playlist(&video).await?.segments.len() >= at_least).then_some(()))
    })
    .await
}

async fn say(by: &Account, session_id: &str, message: &str) -> Result<()> {
    by.api.mutate("chat.sendMessage", json!({ "sessionId": session_id, "message": message })).await.map(drop)
}

/// The lines of chat on the page.
async fn lines(page: &Page) -> Result<String> {
    let shown =
        page.evaluate("[...document.querySelectorAll('.chat-text')].map((line) => line.textContent).join()").await?;
    Ok(shown.as_str().unwrap_or_default().to_owned())
}

async fn shows_lines(page: &Page, wanted: &str) -> Result<()> {
    holds(Limit::EVENT, &format!("the chat to be {wanted:?}"), async || {
        let shown = lines(page).await?;
        ensure!(shown == wanted, "it is {shown:?}");
        Ok(true)
    })
    .await
}

/// Lets the knob of the seek bar go at a part of the whole, as a hand would.
async fn seek(page: &Page, part: f64) -> Result<f64> {
    let moved = format!(
        "(() => {{ const bar = document.querySelector('#seek-bar'); bar.value = bar.max * {part}; \
         for (const name of ['input', 'change']) bar.dispatchEvent(new Event(name, {{ bubbles: true }})); \
         return Number(bar.value); }})()"
    );
    let to = page.evaluate(&moved).await?.as_f64().context("a place")?;
    holds(Limit::EVENT, "the picture to be there", async || {
        let at =
            page.evaluate("document.querySelector('video').seeking ? -1 : document.querySelector('video').currentTime");
        let at = at.await?.as_f64().unwrap_or(-1.0);
        ensure!(at >= to - 0.2 && at < to + 4.0, "it is at {at} instead of {to}");
        Ok(true)
    })
    .await?;
    Ok(to)
}

async fn plays_replay(browser: &Browser, url: &str, visit: Visit<'_>) -> Result<Page> {
    let page = browser.open(url, visit).await?;
    page.says("playerMode", "replay").await?;
    page.player_state("playing").await?;
    holds(Limit::MEDIA, "the picture to move", async || {
        Ok(page.evaluate("document.querySelector('video').currentTime").await?.as_f64() > Some(0.5))
    })
    .await?;
    Ok(page)
}

#[tokio::test]
async fn show_is_watched_from_its_beginning_with_its_chat_and_deleted() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "ليلة في بغداد").await?;
    let (id, watch) = (&show.session_id, format!("{}/watch/{}", server.base(), show.session_id));
    let encoder = show.publish(&server, &Picture::CLOCK)?;
    show.listed(&api).await?;
    let viewer = show.viewer()?;
    segments(&viewer, 2).await?;
    say(&show.host, id, "early").await?;
    segments(&viewer, 5).await?;
    say(&show.host, id, "late").await?;
    let browser = Browser::start()?;
    let present = browser.open(&watch, Visit { lang: Some("en"), ..Visit::default() }).await?;
    present.player_state("playing").await?;
    segments(&viewer, 6).await?;

    show.end().await?;
    let ended = Instant::now();
    let video = ready_video(&api, id).await?;
    report!("the replay was listed {} ms after the end", ended.elapsed().as_millis());
    drop(encoder);
    ensure!(video["videoUrl"] == show.playback_url.as_str() && video["title"] == "ليلة في بغداد", "{video}");
    let told = video["durationMs"].as_f64().context("a duration")? / 1000.0;
    ensure!(video["duration"].as_f64() == Some(told.round()), "{video}");
    // The whole of it, at once: what is left of the live playlist has no more than its last window.
    let video_url = viewer.renditions().await?.video.context("a picture")?;
    let whole = viewer.playlist(&video_url).await?;
    ensure!(whole.ended && whole.text.contains("#EXT-X-PLAYLIST-TYPE:VOD"), "{}", whole.text);
    ensure!(whole.segments.first().map(|first| first.number) == Some(1), "{}", whole.text);
    let adds_up: f64 = whole.segments.iter().map(|segment| segment.seconds).sum();
    let probed = probe::duration(&show.playback_url).await?;
    report!("told {told} s, the playlist has {adds_up:.3} s, ffprobe reads {probed} s");
    ensure!(
        (told - adds_up).abs() < 0.1 && (told - probed).abs() < 0.1,
        "told {told}, {adds_up} and {probed} are there"
    );
    probe::decodes(&show.playback_url).await?;
    let refused = api.refusal("mutate", "streaming.joinSession", json!({ "sessionId": id })).await?;
    ensure!(refused.code.as_deref() == Some("NOT_FOUND"), "a show that is over is not joined: {refused}");

    // Who was there is told that it is over, and may begin again.
    present.player_state("ended").await?;
    present.click("#status-actions button").await?;
    present.says("playerMode", "replay").await?;
    present.player_state("playing").await?;
    present.close().await?;

    let page = plays_replay(&browser, &watch, Visit { lang: Some("en"), ..Visit::default() }).await?;
    ensure!(lines(&page).await?.is_empty(), "nothing was written at the beginning");
    let composer =
        page.evaluate("[document.querySelector('#chat-form').hidden, document.querySelector('#chat-sign-in').hidden]");
    ensure!(composer.await? == json!([true, true]), "nobody writes into a show that is over");
    shows_lines(&page, "early").await.context("played up to there")?;
    seek(&page, 0.97).await?;
    shows_lines(&page, "early,late").await?;
    seek(&page, 0.0).await?;
    shows_lines(&page, "").await?;
    seek(&page, 0.5).await?;
    shows_lines(&page, "early").await?;
    page.player_state("playing").await?;
    page.click("#toggle").await?;
    page.player_state("paused").await?;
    page.close().await?;

    let home = browser.open(&server.base(), Visit { lang: Some("ar"), ..Visit::default() }).await?;
    let card = format!("document.querySelector('#replays [data-session={id}] a[href=\"/watch/{id}\"]') !== null");
    holds(Limit::EVENT, "the home page to list the replay", async || Ok(home.evaluate(&card).await? == true)).await?;
    home.close().await?;

    // Deleted: from the list, from the disk, for everybody.
    let folder = server.data_dir().join("hls").join(id);
    ensure!(folder.join("v0").exists(), "it is on the disk");
    let named = json!({ "videoId": text(&video, "id")? });
    let stranger = api.register("stranger").await?;
    let refused = stranger.api.refusal("mutate", "videos.deleteVideo", named.clone()).await?;
    ensure!(refused.code.as_deref() == Some("FORBIDDEN"), "{refused}");
    show.host.api.mutate("videos.deleteVideo", named).await?;
    let list = show.host.api.query("videos.getVideos", json!({})).await?;
    ensure!(list["total"] == 0, "{list}");
    holds(Limit::EVENT, "the folder to be gone", async || Ok(!folder.exists())).await?;
    for url in [show.playback_url.clone(), video_url.to_string(), whole.segments[0].url.to_string()] {
        let status = reqwest::get(&url).await?.status();
        ensure!([404, 410].contains(&status.as_u16()), "{url} answers {status}");
    }
    let page = browser.open(&watch, Visit { lang: Some("en"), ..Visit::default() }).await?;
    page.player_state("ended").await?;
    shows_lines(&page, "early,late").await.context("what was said stays")
}

/// The first byte of a file, once it is prepared.
async fn prepared(url: &str) -> Result<()> {
    holds(Limit::MEDIA, "the file to be prepared", async || {
        let first = reqwest::Client::new().get(url).header("range", "bytes=0-0").send().await?;
        ensure!(first.status() == 206, "{} {:?}", first.status(), first.text().await);
        Ok(true)
    })
    .await
}

#[tokio::test]
async fn replay_is_taken_home_as_one_file_by_its_owner_and_by_others_when_let() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let show = Show::create(&api, "ليلة في بغداد").await?;
    let id = &show.session_id;
    let encoder = show.publish(&server, &Picture::CLOCK)?;
    segments(&show.viewer()?, 5).await?;
    show.end().await?;
    let video = ready_video(&api, id).await?;
    drop(encoder);
    ensure!(video["allowDownload"] == false, "{video}");
    let told = video["durationMs"].as_f64().context("a duration")? / 1000.0;

    let named = json!({ "videoId": text(&video, "id")? });
    let stranger = api.register("stranger").await?;
    for by in [&api, &stranger.api] {
        let refused = by.refusal("mutate", "videos.downloadVideo", named.clone()).await?;
        ensure!(refused.code.as_deref() == Some("FORBIDDEN"), "{refused}");
    }
    let bare = format!("{}/hls/{id}/replay/video.mp4", server.base());
    ensure!(reqwest::get(&bare).await?.status() == 403, "not without a link");

    let link = text(&show.host.api.mutate("videos.downloadVideo", named.clone()).await?, "downloadUrl")?;
    prepared(&link).await?;
    let probed = probe::duration(&link).await?;
    report!("told {told} s, ffprobe reads {probed} s from the file over HTTP");
    ensure!((told - probed).abs() <= 1.0 / 30.0, "told {told}, {probed} are there");
    let tracks = probe::tracks(&link).await?;
    let codecs: Vec<_> = tracks.iter().map(|track| track["codec_name"].as_str().unwrap_or_default()).collect();
    ensure!(codecs == ["h264", "aac"], "{codecs:?}");
    probe::decodes(&link).await?;
    let whole = reqwest::get(&link).await?;
    ensure!(whole.headers()["cache-control"] == "private, no-cache", "{whole:?}");
    let whole = whole.bytes().await?;

    // With the page: a button for those who may, in both languages, on a phone and a desk.
    let browser = Browser::start()?;
    let watch = format!("{}/watch/{id}", server.base());
    let closed = plays_replay(&browser, &watch, Visit { account: Some(&stranger), ..Visit::default() }).await?;
    ensure!(closed.evaluate("document.querySelector('#download').hidden").await? == true, "not for a stranger");
    closed.close().await?;
    let shots = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("../e2e-screenshots");
    std::fs::create_dir_all(&shots)?;
    for (lang, width) in [("ar", 1280), ("ar", 360), ("en", 1280), ("en", 360)] {
        let visit = Visit { lang: Some(lang), width: Some(width), account: Some(&show.host), ..Visit::default() };
        let page = plays_replay(&browser, &watch, visit).await?;
        let to = server.scratch().join(format!("{lang}-{width}.mp4"));
        page.screenshot(&shots.join(format!("watch-download-{lang}-{width}.png"))).await?;
        let name = page.download("#download", &to).await?;
        ensure!(name == "ليلة في بغداد.mp4", "it is called {name}");
        ensure!(std::fs::read(&to)? == whole, "the browser has another file");
        let room = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth").await?;
        ensure!(room == 0, "{room} pixels hang out at the side");
        let log = page.log().await?;
        ensure!(log.errors.is_empty() && log.refused.is_empty(), "{log:?}");
        page.close().await?;
    }

    // Let by the owner: for everybody, with no account.
    let allowed = json!({ "videoId": text(&video, "id")?, "allowDownload": true });
    show.host.api.mutate("videos.updateVideo", allowed).await?;
    ensure!(reqwest::get(&bare).await?.bytes().await? == whole, "the same file for everybody");
    let open = plays_replay(&browser, &watch, Visit { account: Some(&stranger), ..Visit::default() }).await?;
    holds(Limit::EVENT, "the button", async || {
        Ok(open.evaluate("document.querySelector('#download').hidden").await? == false)
    })
    .await?;
    show.host.api.mutate("videos.deleteVideo", named).await?;
    ensure!([403, 404].contains(&reqwest::get(&link).await?.status().as_u16()), "deleted is deleted");
    Ok(())
}

#[tokio::test]
async fn a_server_that_records_nothing_shows_what_is_live_and_keeps_none_of_it() -> Result<()> {
    let settings = [("CHOBI_RECORDING__ENABLED", "false"), ("CHOBI_HLS__END_LINGER", "6s")];
    let server = Server::start_with(&settings, &[]).await?;
    let api = Api::of(&server)?;
    let host = api.register("host").await?;
    // Who asks for a recording gets none either.
    let asked = json!({ "title": "Only now", "type": "video", "recording": true });
    let answer = host.api.mutate("streaming.createSession", asked.clone()).await?;
    ensure!(answer["session"]["recording"] == false, "hosts are told: {answer}");
    let show = Show::create_with(host, asked).await?;
    let encoder = show.publish(&server, &Picture::CLOCK)?;
    segments(&show.viewer()?, 3).await?;
    probe::tracks(&show.playback_url).await?;
    let browser = Browser::start()?;
    let watch = format!("{}/watch/{}", server.base(), show.session_id);
    let page = browser.open(&watch, Visit::default()).await?;
    page.player_state("playing").await?;
    page.plays_on(2_000).await?;
    page.close().await?;
    let written = server.data_dir().join("hls").join(&show.session_id);
    let media = || -> Vec<_> {
        let files =
            ["v0/0", "a0/0"].map(|folder| written.join(folder)).into_iter().filter_map(|dir| dir.read_dir().ok());
        let names = files.flatten().filter_map(|file| file.ok()?.file_name().into_string().ok());
        names.filter(|name| !name.ends_with("init.mp4")).collect()
    };
    ensure!(media().is_empty(), "no segment and no picture of it is kept: {:?}", media());
    show.end().await?;
    drop(encoder);
    holds(Limit::EVENT, "nothing to be left of the show", async || Ok(!written.exists())).await?;
    let list = show.host.api.query("videos.getVideos", json!({})).await?;
    ensure!(list["total"] == 0, "no video of it: {list}");
    let play = json!({ "sessionId": show.session_id });
    let refused = show.host.api.refusal("mutate", "videos.playVideo", play).await?;
    ensure!(refused.code.as_deref() == Some("NOT_FOUND"), "{refused}");
    holds(Limit::MEDIA, "the end to leave the stage", async || {
        Ok(reqwest::get(&show.playback_url).await?.status() == 404)
    })
    .await
}

#[tokio::test]
async fn private_replay_is_for_its_owner_and_a_show_off_the_record_leaves_none() -> Result<()> {
    let server = Server::start().await?;
    let api = Api::of(&server)?;
    let (host, stranger) = (api.register("host").await?, api.register("stranger").await?);
    let show = Show::create_with(host, json!({ "title": "Among us", "type": "video", "isPrivate": true })).await?;
    let off = json!({ "title": "Off the record", "type": "video", "recording": false });
    let off = Show::create_with(api.register("other").await?, off).await?;
    let encoders = (show.publish(&server, &Picture::CLOCK)?, off.publish(&server, &Picture::CLOCK)?);
    segments(&off.viewer()?, 3).await?;
    let written = server.data_dir().join("hls").join(&off.session_id);
    let mut kept = Vec::new();
    for epoch in std::fs::read_dir(written.join("v0"))? {
        kept.extend(std::fs::read_dir(epoch?.path())?.map(|file| file.map(|file| file.file_name())));
    }
    let kept = kept.into_iter().collect::<Result<Vec<_>, _>>()?;
    let has_segments = kept.iter().any(|name| name.to_string_lossy().ends_with(".m4s"));
    ensure!(written.join("index.jsonl").exists() && !kept.is_empty() && !has_segments, "{kept:?}");
    show.end().await?;
    off.end().await?;

    let (id, watch) = (&show.session_id, format!("{}/watch/{}", server.base(), show.session_id));
    let video = ready_video(&show.host.api, id).await?;
    drop(encoders);
    ensure!(video["isPrivate"] == true, "{video}");
    for by in [&api, &stranger.api] {
        let list = by.query("videos.getVideos", json!({})).await?;
        ensure!(list["total"] == 0, "nobody else sees it: {list}");
        let refused = by.refusal("mutate", "videos.playVideo", json!({ "sessionId": id })).await?;
        ensure!(refused.code.as_deref() == Some("FORBIDDEN"), "{refused}");
    }
    ensure!(reqwest::get(&show.playback_url).await?.status() == 403, "not without a ticket");
    let playing = show.host.api.mutate("videos.playVideo", json!({ "sessionId": id })).await?;
    let with_ticket = format!("{}?ticket={}", text(&playing, "playbackUrl")?, text(&playing, "token")?);
    probe::decodes(&with_ticket).await?;

    let browser = Browser::start()?;
    let closed = browser.open(&watch, Visit { account: Some(&stranger), ..Visit::default() }).await?;
    closed.player_state("private").await?;
    let open = plays_replay(&browser, &watch, Visit { account: Some(&show.host), ..Visit::default() }).await?;
    seek(&open, 0.5).await?;
    ensure!(open.log().await?.errors.is_empty(), "{:?}", open.log().await?);

    let gone = holds(Limit::EVENT, "nothing to be left of the other show", async || Ok(!written.exists()));
    gone.await?;
    let list = off.host.api.query("videos.getVideos", json!({})).await?;
    ensure!(list["total"] == 0, "no video of it: {list}");
    ensure!(reqwest::get(&off.playback_url).await?.status() != 403, "it was public");
    Ok(())
}
