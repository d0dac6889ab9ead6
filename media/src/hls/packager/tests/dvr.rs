//! Viewers who go back further than memory reaches.

use super::*;

fn with_dvr(window: Duration) -> HlsConfig {
    HlsConfig { dvr_window: window, ..HlsConfig::default() }
}

#[test]
fn a_dvr_window_lists_what_the_store_has_and_says_where_it_has_a_hole() {
    let script = Script { fps: 25.0, ..Script::default() };
    let mut theatre = Theatre::with(Packager::new(with_dvr(Duration::from_secs(40))));
    theatre.packager.handle_epoch(&script.epoch(zero()));
    let frames = script.frames(Duration::from_secs(50));
    let (before, after) = frames.split_at(frames.len() / 3);
    theatre.play(before);
    let lost = RenditionId::parse("v0").unwrap();
    theatre.packager.handle_lost(lost, 7);
    assert!(!theatre.text("v0").contains("#EXT-X-GAP"), "the window still has its bytes");
    theatre.play(after);

    let whole = theatre.text("v0");
    assert!(whole.contains("#EXT-X-GAP\n#EXTINF:2.00000,\n0/7.m4s\n"), "{whole}");
    for id in ["v0", "a0"] {
        let listing = theatre.listing(id);
        let length: f64 = listing.closed().map(|segment| segment.duration).sum();
        assert!((36.0..=40.5).contains(&length), "{id} goes {length} s back");
        assert!(listing.closed().count() >= 18, "{id}");
    }
    let (snapshot, _) = &theatre.latest[&lost];
    let delta = media_playlist::render_delta(snapshot);
    assert!(delta.len() < 4_000 && delta.contains("#EXT-X-SKIP:SKIPPED-SEGMENTS="), "{delta}");
    assert!(snapshot.segments.len() <= 10, "no more is held in memory: {}", snapshot.segments.len());
}

#[test]
fn a_disk_that_refuses_late_leaves_a_hole_too() {
    let script = Script { fps: 25.0, ..Script::default() };
    let mut theatre = Theatre::with(Packager::new(with_dvr(Duration::from_secs(60))));
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(Duration::from_secs(50)));
    assert!(theatre.text("v0").contains("\n0/3.m4s\n") && !theatre.text("v0").contains("#EXT-X-GAP"));
    let lost = RenditionId::parse("v0").unwrap();
    theatre.packager.handle_lost(lost, 3);
    theatre.look();
    assert!(theatre.text("v0").contains("#EXT-X-GAP\n#EXTINF:2.00000,\n0/3.m4s\n"), "{}", theatre.text("v0"));
    assert_eq!(theatre.text("v0").matches("#EXT-X-GAP").count(), 1);
    // What has left the list is no hole in it.
    theatre.packager.handle_lost(lost, 10_000);
    theatre.look();
    assert_eq!(theatre.text("v0").matches("#EXT-X-GAP").count(), 1);
}

/// Three hours of a modest show, listed two hours back: the text grows with what is listed, and neither what is held in
/// memory nor what a player that asks for the rest alone is sent does.
#[test]
fn two_hours_are_listed_and_a_delta_of_them_is_as_short_as_that_of_a_minute() {
    let script = Script { fps: 5.0, audio: None, ..Script::default() };
    let mut packager = Packager::new(with_dvr(Duration::from_secs(2 * 3_600)));
    let frames = script.frames(Duration::from_secs(3 * 3_600));
    let mut snapshots = Vec::new();
    // Three publications: one ends in what is listed, another shortly before the end, where a player looks on.
    let (past, end) = frames.split_at(frames.len() - 5 * 30);
    for (frames, is_watched) in past.chunks(past.len() / 2 + 1).map(|frames| (frames, false)).chain([(end, true)]) {
        packager.handle_epoch(&script.epoch(zero()));
        for frame in frames {
            packager.handle_frame(frame);
            while packager.poll_kept().is_some() {}
            snapshots.extend(packager.poll_snapshots().into_iter().filter(|_| is_watched));
        }
    }

    // One with every segment that was closed.
    snapshots.dedup_by_key(|snapshot| snapshot.last_closed());
    assert!(snapshots.len() > 10);
    let mut listed: Option<Listing> = None;
    for snapshot in &snapshots {
        let (whole, delta) = (media_playlist::render(snapshot), media_playlist::render_delta(snapshot));
        assert!(whole.len() > 200_000 && delta.len() < 4_000, "{} and {} bytes", whole.len(), delta.len());
        assert!(snapshot.segments.len() <= 10, "no more is held in memory: {}", snapshot.segments.len());
        let (whole, delta) = (Listing::parse(&whole), Listing::parse(&delta));
        let segments = |listing: &Listing| listing.closed().cloned().collect::<Vec<_>>();
        let (all, rest) = (segments(&whole), segments(&delta));
        let length: f64 = all.iter().map(|segment| segment.duration).sum();
        assert!((7_190.0..=7_200.5).contains(&length), "{length} s are listed");
        assert!(all.len() > 3_500 && !all.iter().any(|segment| segment.gap), "{} are listed", all.len());
        assert!(all.iter().map(|segment| segment.discontinuities).sum::<u64>() >= 1);
        let (skipped, uris) = (delta.skipped as usize, |list: &[ListedSegment]| -> Vec<Option<String>> {
            list.iter().map(|segment| segment.uri.clone()).collect()
        });
        assert_eq!(uris(&rest), uris(&all[skipped..]), "with what was skipped it is the whole");
        assert!(rest.len() < 20, "{} of {} are sent again", rest.len(), all.len());
        if let Some(before) = listed.replace(whole) {
            let known = segments(&before);
            assert!(all[..skipped].iter().all(|one| known.iter().any(|two| two.uri == one.uri)), "it was told of all");
        }
    }
    assert!(listed.is_some_and(|listed| listed.media_sequence > 1_700), "the first hour has left the list");
    let last = snapshots.last().unwrap();
    assert!(last.names_segment(0, 1), "who lags by an hour is not told that there never was such a segment");
}

#[test]
fn a_show_that_is_taken_up_goes_as_far_back_as_before() {
    let script = Script { fps: 25.0, audio: None, ..Script::default() };
    let config = with_dvr(Duration::from_secs(40));
    let mut theatre = Theatre::with(Packager::new(config.clone()));
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(Duration::from_secs(61)));
    let stored = theatre.segments("v0").into_iter().map(|segment| Segment { parts: Vec::new(), ..(*segment).clone() });
    let segments: Vec<_> = stored.skip(8).collect();
    let format = theatre.packager.choices()[0].format.clone();
    let id = RenditionId::parse("v0").unwrap();
    let rendition = ResumeRendition { id, format, segments, inits: Vec::new() };
    let resume = Resume { next_epoch: 1, discontinuity: 0, end: Duration::from_secs(60), renditions: vec![rendition] };
    let mut taken_up = Packager::resume(config, resume);
    // Its bytes are in a store that this test has not: the text alone is looked at.
    let list = |packager: &mut Packager| Listing::parse(&media_playlist::render(&packager.poll_snapshots()[0]));
    let length: f64 = list(&mut taken_up).closed().map(|segment| segment.duration).sum();
    assert!((36.0..=40.5).contains(&length), "{length} s");
    taken_up.handle_epoch(&script.epoch(zero() + Duration::from_secs(65)));
    script.frames(Duration::from_secs(5)).iter().for_each(|frame| taken_up.handle_frame(frame));
    let listing = list(&mut taken_up);
    assert!(listing.media_sequence > 9, "it moves on: {}", listing.media_sequence);
    assert_eq!(listing.segments.iter().map(|segment| segment.discontinuities).sum::<u64>(), 1);
}
