//! Nothing goes wrong: what is in the bucket during a show and after it.

use super::stage::{SHOW, id, uris};
use super::theatre::{PREFIX, SEGMENTS, Theatre, WHOLE, play, watch};
use chobi_media::store::RenditionId;
use chobi_media::store::journal::{self, Entry, SegmentEntry};
use http::StatusCode;

#[tokio::test]
async fn a_show_is_in_the_bucket_live_and_whole_after_its_end() {
    let theatre = Theatre::new().await;
    let stage = theatre.open();
    let publisher = play(&stage).await;
    watch(&stage, WHOLE).await;
    theatre
        .eventually("three segments in both live playlists", |theatre| {
            ["v0", "a0"].iter().all(|rendition| {
                let playlist = theatre.playlist(&format!("{rendition}/index.m3u8"));
                playlist.is_some_and(|playlist| uris(&playlist, "").len() as u64 == WHOLE)
            })
        })
        .await;

    // The same segments under the same numbers as the low-latency playlist.
    let (live, low_latency) = (theatre.playlist("v0/index.m3u8").unwrap(), stage.playlist_with("v0", WHOLE).await);
    assert_eq!(uris(&live, ""), uris(&low_latency, ""));
    let tags = |playlist: &str, tag: &str| -> Vec<String> {
        playlist.lines().filter(|line| line.starts_with(tag)).take(3).map(str::to_owned).collect()
    };
    for tag in
        ["#EXT-X-MEDIA-SEQUENCE", "#EXT-X-DISCONTINUITY-SEQUENCE", "#EXT-X-TARGETDURATION", "#EXT-X-MAP", "#EXTINF"]
    {
        assert_eq!(tags(&live, tag), tags(&low_latency, tag), "{tag}");
    }
    assert!(
        !live.contains("#EXT-X-ENDLIST") && !live.contains("#EXT-X-PART") && !live.contains("SERVER-CONTROL"),
        "{live}"
    );
    theatre.eventually("the multivariant playlist", |theatre| theatre.playlist("index.m3u8").is_some()).await;
    let multivariant = theatre.playlist("index.m3u8").unwrap();
    assert!(
        multivariant.contains("\nv0/index.m3u8\n") && multivariant.contains("URI=\"a0/index.m3u8\""),
        "{multivariant}"
    );

    stage.end(SHOW, publisher).await;
    theatre.complete().await;
    theatre.assert_whole(SEGMENTS);
    let index = theatre.playlist("thumbnails.vtt").unwrap();
    assert!(index.starts_with("WEBVTT\n") && index.contains("\nv0/0/1.jpg\n"), "{index}");
    assert!(theatre.spooled().contains_key(&format!("{PREFIX}/{SHOW}/v0/0/1.jpg")));
    assert!(stage.service.storage_health().trouble().is_none());
    let ended = theatre.service.texts(&format!("{PREFIX}/{SHOW}/v0/index.m3u8"));
    assert!(
        ended.iter().any(|text| text.ends_with("#EXT-X-ENDLIST\n") && !text.contains("VOD")),
        "players see the end first"
    );
}

#[tokio::test]
async fn each_object_has_its_type_and_may_be_kept_as_long_as_it_lasts() {
    let theatre = Theatre::new().await;
    let stage = theatre.open();
    let publisher = play(&stage).await;
    let written = format!("{PREFIX}/{SHOW}/index.m3u8");
    theatre.eventually("the multivariant playlist", |theatre| !theatre.service.texts(&written).is_empty()).await;
    let header = |path: &str, name| theatre.service.header(&format!("{PREFIX}/{SHOW}/{path}"), name);
    for path in ["index.m3u8", "v0/index.m3u8", "a0/index.m3u8"] {
        assert_eq!(
            (header(path, "content-type"), header(path, "cache-control")),
            ("application/vnd.apple.mpegurl".into(), "no-cache".into()),
            "{path}"
        );
    }
    stage.end(SHOW, publisher).await;
    theatre.complete().await;
    let immutable = "public, max-age=31536000, immutable".to_owned();
    for (path, kind) in [("v0/0/init.mp4", "video/mp4"), ("v0/0/1.m4s", "video/mp4"), ("a0/0/1.m4s", "audio/mp4")] {
        assert_eq!(
            (header(path, "content-type"), header(path, "cache-control")),
            (kind.to_owned(), immutable.clone()),
            "{path}"
        );
        assert!(!header(path, "x-amz-checksum-crc32").is_empty(), "{path}");
    }
    let poster = theatre.service.objects().get(&format!("{PREFIX}/{SHOW}/thumbnail.jpg")).cloned();
    assert!(poster.is_some() && poster.as_ref() == theatre.spooled().get(&format!("{PREFIX}/{SHOW}/v0/0/1.jpg")));
    let of = |path: &str| (header(path, "content-type"), header(path, "cache-control"));
    assert_eq!(of("v0/0/1.jpg"), ("image/jpeg".to_owned(), immutable.clone()));
    assert_eq!(of("thumbnail.jpg"), ("image/jpeg".to_owned(), "max-age=300".to_owned()));
    assert_eq!(of("thumbnails.vtt"), ("text/vtt; charset=utf-8".to_owned(), "max-age=300".to_owned()));
    for path in ["index.m3u8", "v0/index.m3u8"] {
        assert_eq!(header(path, "cache-control"), "max-age=300", "{path}");
    }
    // The last list of what was live gives way to that of the whole show, under the same name: nobody may keep it.
    let (key, name) = (format!("{PREFIX}/{SHOW}/v0/index.m3u8"), "cache-control");
    let mut ended = theatre.service.texts(&key).into_iter().zip(theatre.service.values(&key, name));
    ended.by_ref().find(|(text, _)| text.ends_with("#EXT-X-ENDLIST\n") && !text.contains("VOD")).map_or_else(
        || panic!("no list of what was live said that it is over"),
        |(_, caching)| assert_eq!(caching, "no-cache"),
    );
    assert_eq!(ended.next_back().map(|(_, caching)| caching).as_deref(), Some("max-age=300"));
}

#[tokio::test]
async fn a_service_that_knows_no_checksums_gets_none() {
    let mut theatre = Theatre::new().await;
    theatre.storage.checksum = chobi_media::store::ChecksumMode::WhenRequired;
    let stage = theatre.open();
    let publisher = play(&stage).await;
    stage.end(SHOW, publisher).await;
    theatre.complete().await;
    theatre.assert_whole(SEGMENTS);
    let key = format!("{PREFIX}/{SHOW}/v0/0/1.m4s");
    assert_eq!(theatre.service.header(&key, "x-amz-checksum-crc32"), "");
    let signed = theatre.service.header(&key, "x-amz-content-sha256");
    assert_eq!(signed.len(), 64, "the signature covers the bytes: {signed}");
}

#[tokio::test]
async fn a_deleted_recording_is_gone_from_the_bucket_too() {
    let theatre = Theatre::new().await;
    let stage = theatre.open();
    let publisher = play(&stage).await;
    stage.end(SHOW, publisher).await;
    theatre.complete().await;
    let over = format!("/hls/{SHOW}/v0/index.m3u8");
    loop {
        // The show is on stage for a moment more.
        if stage.service.delete_recording(&id(SHOW)).await.unwrap() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(theatre.service.objects().keys().collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(theatre.service.lists(), 0, "the journal says what there is");
    assert_eq!(theatre.spooled().len(), 0);
    assert_eq!(stage.get(&over).await.status, StatusCode::NOT_FOUND);
}

/// A call of DeleteObjects takes a thousand.
#[tokio::test]
async fn long_shows_are_deleted_whole_also_when_their_journal_is_lost() {
    const LONG: &str = "session_long";
    const COUNT: u64 = 1_100;
    let theatre = Theatre::new().await;
    let stage = theatre.open();
    let segment = |number| SegmentEntry {
        rendition: RenditionId::parse("v0").unwrap(),
        number,
        epoch: 0,
        init_epoch: 0,
        discontinuity: 0,
        marks: 0,
        at_micros: number * 2_000_000,
        duration_nanos: 2_000_000_000,
        ends_at_nanos: (number + 1) * 2_000_000_000,
        independent: true,
        kept: true,
        bytes: 3,
    };
    for has_journal in [true, false] {
        for name in (0..COUNT)
            .map(|number| format!("v0/0/{number}.m4s"))
            .chain(["v0/0/init.mp4", "v0/index.m3u8"].map(str::to_owned))
        {
            theatre.service.place(&format!("{PREFIX}/{LONG}/{name}"), b"abc");
        }
        if has_journal {
            let folder = theatre.data.path().join("hls").join(LONG);
            std::fs::create_dir_all(&folder).unwrap();
            let lines: Vec<_> =
                (0..COUNT).map(|number| serde_json::to_string(&Entry::Segment(segment(number))).unwrap()).collect();
            std::fs::write(folder.join(journal::FILE), lines.join("\n") + "\n").unwrap();
        }
        assert!(stage.service.delete_recording(&id(LONG)).await.unwrap());
        assert_eq!(theatre.service.objects().len(), 0, "journal: {has_journal}");
        assert_eq!(theatre.service.lists() == 0, has_journal, "{}", theatre.service.lists());
        assert!(!theatre.data.path().join("hls").join(LONG).exists());
    }
}
