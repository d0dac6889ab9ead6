//! Whole shows through the packager, held to the rules after every frame.

mod offer;

use super::conformance::{Follower, ListedSegment, Listing};
use super::snapshot::RenditionSnapshot;
use super::*;
use crate::model::{
    AudioCodec, AudioFormat, FrameRate, MediaFormat, Timescale, TrackFormat, TrackId, VideoCodec, VideoFormat,
};
use mp4_atom::{Decode, Encode};
use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

pub(crate) fn video(rate: Option<FrameRate>, timescale: Timescale) -> TrackFormat {
    let mut avcc = Vec::new();
    let sps = [0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00];
    mp4_atom::Avcc::new(&sps, &[0x68, 0xeb, 0xec, 0xb2, 0x2c]).unwrap().encode(&mut avcc).unwrap();
    let video = VideoFormat {
        codec: VideoCodec::H264,
        configuration: Bytes::copy_from_slice(&avcc[8..]),
        rfc6381: "avc1.64001f".to_owned(),
        width: 1280,
        height: 720,
        frame_rate: rate,
    };
    TrackFormat { id: TrackId(0), rid: None, timescale, media: MediaFormat::Video(video) }
}

pub(crate) fn audio(id: u8, codec: AudioCodec, sample_rate: u32, samples_per_frame: u32) -> TrackFormat {
    let (configuration, rfc6381): (&[u8], _) = match codec {
        AudioCodec::Aac => (&[0x11, 0x90], "mp4a.40.2"),
        AudioCodec::Opus => (&[0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0], "opus"),
    };
    let audio = AudioFormat {
        codec,
        configuration: Bytes::from_static(configuration),
        rfc6381: rfc6381.to_owned(),
        sample_rate,
        channels: 2,
        samples_per_frame,
    };
    TrackFormat { id: TrackId(id), rid: None, timescale: Timescale::new(sample_rate), media: MediaFormat::Audio(audio) }
}

/// A show as an encoder makes it: frames of all tracks in order of time, stamped in whole milliseconds as RTMP does.
struct Script {
    fps: f64,
    gop: Duration,
    stated: bool,
    audio: Option<(AudioCodec, u32, u32)>,
    video: bool,
    b_frames: i64,
}

impl Default for Script {
    fn default() -> Self {
        let audio = Some((AudioCodec::Aac, 48_000, 1_024));
        Self { fps: 30.0, gop: Duration::from_secs(2), stated: true, audio, video: true, b_frames: 0 }
    }
}

impl Script {
    fn epoch(&self, zero: SystemTime) -> Arc<Epoch> {
        let mut tracks = Vec::new();
        if self.video {
            let rate = FrameRate { numerator: (self.fps * 1_000.0).round() as u32, denominator: 1_000 };
            tracks.push(Arc::new(video(self.stated.then_some(rate), Timescale::MILLIS)));
        }
        if let Some((codec, rate, samples)) = self.audio {
            tracks.push(Arc::new(audio(tracks.len() as u8, codec, rate, samples)));
        }
        Arc::new(Epoch { tracks, zero })
    }

    /// Frames up to `length`, by decode time.
    fn frames(&self, length: Duration) -> Vec<Arc<Frame>> {
        let mut frames = Vec::new();
        let length_ms = length.as_secs_f64() * 1_000.0;
        if self.video {
            let gop = (self.gop.as_secs_f64() * self.fps).round() as i64;
            let count = (length.as_secs_f64() * self.fps) as i64;
            let millis = |frame: i64| (frame as f64 * 1_000.0 / self.fps).floor() as i64;
            for frame in 0..count {
                let position = frame % gop;
                // I P B B P B B …: shown order differs from decoding order by up to b_frames.
                let group = self.b_frames + 1;
                let shown = match (position, self.b_frames) {
                    (_, 0) | (0, _) => frame,
                    (position, _) if (position - 1) % group == 0 => frame + self.b_frames,
                    _ => frame - 1,
                };
                let delay = if self.b_frames > 0 { 1 } else { 0 };
                let payload = Bytes::from(format!("video {frame:06}").repeat(40));
                let (dts, pts) = (millis(frame), millis(shown + delay));
                frames.push((
                    millis(frame) as f64,
                    Frame { track: TrackId(0), dts, pts, keyframe: position == 0, payload },
                ));
            }
        }
        if let Some((_, rate, samples)) = self.audio {
            let track = TrackId(u8::from(self.video));
            let mut at = 0;
            while at as f64 * 1_000.0 / f64::from(rate) < length_ms {
                let payload = Bytes::from(format!("audio {at:09}").repeat(8));
                let millis = at as f64 * 1_000.0 / f64::from(rate);
                // Rounded to milliseconds and back, as it comes out of RTMP.
                let ticks = (millis.floor() * f64::from(rate) / 1_000.0).round() as i64;
                frames.push((millis + 5.0, Frame { track, dts: ticks, pts: ticks, keyframe: true, payload }));
                at += i64::from(samples);
            }
        }
        frames.sort_by(|one, other| one.0.total_cmp(&other.0));
        frames.into_iter().map(|(_, frame)| Arc::new(frame)).collect()
    }
}

/// The packager with a strict reader on every rendition.
struct Theatre {
    packager: Packager,
    followers: BTreeMap<RenditionId, Follower>,
    latest: BTreeMap<RenditionId, (RenditionSnapshot, Listing)>,
    kept: Vec<Kept>,
}

impl Theatre {
    fn new() -> Self {
        Self::with(Packager::new(HlsConfig::default()))
    }

    fn with(packager: Packager) -> Self {
        Self { packager, followers: BTreeMap::new(), latest: BTreeMap::new(), kept: Vec::new() }
    }

    fn play(&mut self, frames: &[Arc<Frame>]) {
        for frame in frames {
            self.packager.handle_frame(frame);
            self.look();
        }
    }

    fn look(&mut self) {
        for snapshot in self.packager.poll_snapshots() {
            if snapshot.is_empty() {
                continue;
            }
            let listing = self.followers.entry(snapshot.id).or_default().follow(&snapshot);
            self.latest.insert(snapshot.id, (snapshot, listing));
        }
        for choice in self.packager.choices() {
            assert!(choice.peak_bps >= choice.average_bps, "{choice:?}");
        }
        while let Some(kept) = self.packager.poll_kept() {
            self.kept.push(kept);
        }
    }

    fn listing(&self, id: &str) -> &Listing {
        &self.latest[&RenditionId::parse(id).unwrap()].1
    }

    fn text(&self, id: &str) -> String {
        media_playlist::render(&self.latest[&RenditionId::parse(id).unwrap()].0)
    }

    fn segments(&self, id: &str) -> Vec<Arc<Segment>> {
        let id = RenditionId::parse(id).unwrap();
        let of = |kept: &Kept| match kept {
            Kept::Segment { rendition, segment, .. } if *rendition == id => Some(Arc::clone(segment)),
            Kept::Segment { .. } | Kept::Epoch { .. } | Kept::Ended { .. } => None,
        };
        self.kept.iter().filter_map(of).collect()
    }
}

/// Decode time, presentation time and duration in ticks of every sample of a segment.
fn samples(segment: &Segment) -> Vec<(i64, i64, i64)> {
    let mut samples = Vec::new();
    for part in &segment.parts {
        let moof = mp4_atom::Moof::decode(&mut &part.bytes[..]).unwrap();
        let mut at = moof.traf[0].tfdt.as_ref().unwrap().base_media_decode_time as i64;
        for entry in moof.traf[0].trun[0].samples.iter() {
            let duration = i64::from(entry.duration.unwrap());
            samples.push((at, at + entry.cts.unwrap(), duration));
            at += duration;
        }
    }
    samples
}

fn zero() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_000_000)
}

/// Longer than the window, so that segments leave it.
const SHOW: Duration = Duration::from_secs(25);

#[test]
fn every_usual_show_obeys_the_rules() {
    let audios = [
        Some((AudioCodec::Aac, 48_000, 1_024)),
        Some((AudioCodec::Aac, 44_100, 1_024)),
        Some((AudioCodec::Opus, 48_000, 960)),
        None,
    ];
    let rates = [24.0, 25.0, 29.97, 30.0, 60.0];
    let shows = rates.iter().flat_map(|fps| [1, 2, 4].map(|gop| (*fps, gop)));
    // Every rate with every GOP, every audio with each of them at least once.
    let shows = shows.enumerate().map(|(index, (fps, gop))| (fps, gop, audios[index % 4], index % 3 == 0));
    for (fps, gop, audio, stated) in shows.chain(audios.map(|audio| (30.0, 2, audio, true))) {
        let script = Script { fps, gop: Duration::from_secs(gop), stated, audio, ..Script::default() };
        let mut theatre = Theatre::new();
        theatre.packager.handle_epoch(&script.epoch(zero()));
        theatre.play(&script.frames(SHOW));
        let listing = theatre.listing("v0");
        let expected = if gop == 4 { 4 } else { 2 };
        assert_eq!(listing.target_duration, expected, "{fps} fps, GOP {gop}");
        assert!(listing.independent_segments && listing.closed().count() >= 6, "{fps} fps, GOP {gop}");
        if audio.is_some() {
            assert_eq!(theatre.listing("a0").target_duration, expected, "renditions share the target");
        }
    }
}

#[test]
fn audio_only_shows_obey_the_rules() {
    for audio in [(AudioCodec::Aac, 48_000, 1_024), (AudioCodec::Aac, 44_100, 1_024), (AudioCodec::Opus, 48_000, 960)] {
        let script = Script { video: false, audio: Some(audio), ..Script::default() };
        let mut theatre = Theatre::new();
        theatre.packager.handle_epoch(&script.epoch(zero()));
        theatre.play(&script.frames(SHOW));
        let listing = theatre.listing("a0");
        assert_eq!(listing.target_duration, 2);
        assert!(listing.closed().all(|segment| (1.9..2.1).contains(&segment.duration)));
    }
}

#[test]
fn audio_is_cut_where_video_is_within_one_frame() {
    for (fps, b_frames) in [(25.0, 0), (29.97, 0), (30.0, 2)] {
        let script = Script { fps, b_frames, ..Script::default() };
        let mut theatre = Theatre::new();
        theatre.packager.handle_epoch(&script.epoch(zero()));
        theatre.play(&script.frames(SHOW));
        let (videos, audios) = (theatre.segments("v0"), theatre.segments("a0"));
        assert!(videos.len() > 10 && audios.len() + 1 >= videos.len());
        for (video, audio) in videos.iter().zip(&audios) {
            assert_eq!(video.number, audio.number);
            let apart = video.at.duration_since(audio.at).unwrap_or_else(|error| error.duration());
            assert!(apart <= Duration::from_micros(21_400), "{apart:?} apart in segment {}", video.number);
            let (first, shown) = (samples(video)[0].1 as f64 / 90_000.0, samples(audio)[0].1 as f64 / 48_000.0);
            assert!((first - shown).abs() <= 0.0214, "file times {first} and {shown} in segment {}", video.number);
        }
    }
}

#[test]
fn no_sample_is_lost_and_presentation_times_are_true() {
    let script = Script { b_frames: 2, ..Script::default() };
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    let frames = script.frames(SHOW);
    theatre.play(&frames);
    theatre.packager.handle_interruption();
    theatre.look();

    let pts: Vec<i64> = frames.iter().filter(|frame| frame.track.0 == 0).map(|frame| frame.pts * 90).collect();
    let video: Vec<_> = theatre.segments("v0").iter().flat_map(|segment| samples(segment)).collect();
    assert_eq!(video.len(), pts.len());
    // Two milliseconds are the most by which a frame is moved onto the grid.
    assert!(video.iter().zip(&pts).all(|(sample, pts)| (sample.1 - pts).abs() <= 180));
    assert!(video.windows(2).all(|pair| pair[1].0 == pair[0].0 + pair[0].2), "decode times leave no gap");

    let audio: Vec<_> = theatre.segments("a0").iter().flat_map(|segment| samples(segment)).collect();
    // The sound before the first picture (one frame of B-frame delay) is dropped: 33 ms are one or two AAC frames.
    let sent = frames.iter().filter(|frame| frame.track.0 == 1).count();
    assert!((1..=2).contains(&(sent - audio.len())), "{sent} sent, {} kept", audio.len());
    assert!(audio.iter().all(|sample| sample.2 == 1_024), "every AAC frame lasts 1024 samples");
    assert!(audio.windows(2).all(|pair| pair[1].0 == pair[0].0 + pair[0].2));
}

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

#[test]
fn a_segment_of_sound_is_divided_without_a_short_rest() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(Duration::from_secs(11)));
    let segments = theatre.segments("a0");
    assert!(segments.len() >= 5);
    for segment in segments {
        let shortest = segment.parts.iter().map(|part| part.duration).min().unwrap();
        assert!(shortest >= Duration::from_millis(149), "{shortest:?} in segment {}", segment.number);
    }
}

#[test]
fn a_part_is_out_with_its_last_frame() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    let mut frames = script.frames(Duration::from_secs(1));
    frames.retain(|frame| frame.track.0 == 0);
    theatre.play(&frames[..6]);
    assert_eq!(theatre.listing("v0").segments[0].parts.len(), 1, "six frames at 30 fps are a part of 200 ms");
    assert_eq!(theatre.listing("v0").hint.as_deref(), Some("0/1.1.m4s"));
}

#[test]
fn a_returning_publisher_makes_one_discontinuity_and_numbers_go_on() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(Duration::from_millis(5_300)));
    theatre.packager.handle_interruption();
    theatre.look();
    let interrupted = theatre.listing("v0").clone();
    assert!(!interrupted.ended && interrupted.hint.is_none());
    let before = interrupted.closed().count();

    // A publisher that connects and sends nothing leaves no trace.
    theatre.packager.handle_epoch(&script.epoch(zero() + Duration::from_secs(7)));
    theatre.packager.handle_interruption();
    theatre.packager.handle_epoch(&script.epoch(zero() + Duration::from_secs(8)));
    theatre.play(&script.frames(Duration::from_millis(6_300)));
    for id in ["v0", "a0"] {
        let listing = theatre.listing(id);
        let marks: Vec<u64> = listing.segments.iter().map(|segment| segment.discontinuities).collect();
        assert_eq!(marks.iter().sum::<u64>(), 1, "{id}: {marks:?}");
        assert_eq!(marks[before], 1);
        assert_eq!(listing.segments[before].map, None, "formats are the same, so is the init");
        assert!(listing.segments[before].uri.as_ref().unwrap().starts_with("1/"), "keys carry the new epoch");
    }
    assert_eq!(theatre.listing("v0").segments[before].at, "2026-11-18T11:06:48.000Z");
    let (videos, audios) = (theatre.segments("v0"), theatre.segments("a0"));
    let (video, audio) = (samples(&videos[before])[0].1 as f64 / 90e3, samples(&audios[before])[0].1 as f64 / 48e3);
    assert!((video - audio).abs() <= 0.0214, "sound and picture stay together: {video} {audio}");
}

#[test]
fn all_renditions_show_a_discontinuity_at_once_unless_one_has_nothing_to_show() {
    let marks = |theatre: &Theatre, id: &str| theatre.listing(id).segments.iter().map(|one| one.discontinuities).sum();
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(Duration::from_millis(4_300)));
    theatre.packager.handle_epoch(&script.epoch(zero() + Duration::from_secs(5)));
    let mut seen = Vec::new();
    for frame in script.frames(Duration::from_secs(1)) {
        theatre.play(&[frame]);
        let marks: [u64; 2] = ["v0", "a0"].map(|id| marks(&theatre, id));
        if seen.last() != Some(&marks) {
            seen.push(marks);
        }
    }
    assert_eq!(seen, [[0, 0], [1, 1]]);

    theatre.packager.handle_epoch(&script.epoch(zero() + Duration::from_secs(9)));
    let mut picture_only = script.frames(Duration::from_secs(1));
    picture_only.retain(|frame| frame.track == TrackId(0));
    theatre.play(&picture_only);
    assert_eq!(["v0", "a0"].map(|id| marks(&theatre, id)), [2_u64, 1], "a silent track holds nobody up for long");
}

#[test]
fn new_formats_bring_a_new_init() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(Duration::from_millis(4_500)));
    let other = Script { fps: 24.0, audio: Some((AudioCodec::Opus, 48_000, 960)), ..Script::default() };
    theatre.packager.handle_epoch(&other.epoch(zero() + Duration::from_secs(5)));
    theatre.play(&other.frames(Duration::from_millis(4_500)));
    let maps =
        |id: &str| -> Vec<String> { theatre.listing(id).segments.iter().filter_map(|one| one.map.clone()).collect() };
    assert_eq!(maps("v0"), ["0/init.mp4", "1/init.mp4"]);
    assert_eq!(maps("a0"), ["0/init.mp4", "1/init.mp4"]);
}

#[test]
fn a_video_without_keyframes_is_cut_at_the_hard_limit() {
    let script = Script { gop: Duration::from_secs(100), ..Script::default() };
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(SHOW));
    let listing = theatre.listing("v0");
    assert_eq!(listing.target_duration, 4);
    assert!(!listing.independent_segments);
    assert!(listing.closed().count() >= 5);
}

#[test]
fn an_end_closes_the_playlist_for_good() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(Duration::from_millis(4_700)));
    theatre.packager.handle_end();
    theatre.look();
    for id in ["v0", "a0"] {
        let listing = theatre.listing(id);
        assert!(listing.ended && listing.hint.is_none() && listing.reports.is_empty());
        assert!(listing.segments.iter().all(|segment| segment.parts.is_empty()));
        let total: f64 = listing.segments.iter().map(|segment| segment.duration).sum();
        assert!((total - 4.7).abs() < 0.05, "{total}");
    }
    assert!(matches!(theatre.kept.last(), Some(Kept::Ended { target_duration: 2 })));
}

#[test]
fn frames_lost_by_us_are_waited_out_until_the_next_keyframe() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    let frames = script.frames(Duration::from_secs(8));
    theatre.play(&frames[..200]);
    theatre.packager.handle_lag();
    theatre.play(&frames[260..]);
    let video: Vec<_> = theatre.segments("v0").iter().flat_map(|segment| samples(segment)).collect();
    assert!(video.windows(2).all(|pair| pair[1].0 >= pair[0].0 + pair[0].2));
}

#[test]
fn a_second_video_layer_is_cut_where_the_first_is() {
    let script = Script { audio: None, ..Script::default() };
    let mut epoch = Epoch::clone(&script.epoch(zero()));
    let second = TrackFormat { id: TrackId(1), ..TrackFormat::clone(&epoch.tracks[0]) };
    epoch.tracks.push(Arc::new(second));
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&Arc::new(epoch));
    for frame in script.frames(Duration::from_secs(9)) {
        let other = Arc::new(Frame { track: TrackId(1), ..Frame::clone(&frame) });
        theatre.play(&[frame, other]);
    }
    let (first, second) = (theatre.segments("v0"), theatre.segments("v1"));
    assert!(first.len() >= 4 && second.len() + 1 >= first.len());
    for (first, second) in first.iter().zip(&second) {
        assert_eq!((first.number, first.at, first.duration), (second.number, second.at, second.duration));
        assert!(second.independent);
    }
    let multivariant = render_multivariant(&theatre.packager.choices(), true, "");
    let parsed = m3u8_rs::parse_master_playlist_res(multivariant.as_bytes()).unwrap();
    assert_eq!(parsed.variants.len(), 2);
}

#[test]
fn playlists_read_as_reviewed() {
    let script = Script::default();
    let mut theatre = Theatre::new();
    theatre.packager.handle_epoch(&script.epoch(zero()));
    theatre.play(&script.frames(Duration::from_millis(2_450)));
    assert_eq!(theatre.text("v0"), include_str!("../testdata/video.m3u8"));
    assert_eq!(theatre.text("a0"), include_str!("../testdata/audio.m3u8"));
    let multivariant = render_multivariant(&theatre.packager.choices(), true, "");
    assert_eq!(multivariant, include_str!("../testdata/multivariant.m3u8"));
    assert!(m3u8_rs::parse_master_playlist_res(multivariant.as_bytes()).is_ok());
}
