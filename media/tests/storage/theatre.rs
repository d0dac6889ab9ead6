//! A stage whose shows go on to a bucket, with everything between.

use super::clip::CLIP;
use super::line::Line;
use super::service::{BUCKET, KEY, KEY_ID, Service};
use super::stage::{FIRST, LIMIT, SHOW, Stage, later, uris, write};
use chobi_media::config::StorageConfig;
use chobi_media::hls::HlsConfig;
use chobi_media::hub::Publisher;
use chobi_media::model::Frame;
use chobi_media::seam::Secret;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const PREFIX: &str = "live";

pub(crate) struct Theatre {
    pub(crate) service: Service,
    pub(crate) line: Line,
    pub(crate) data: TempDir,
    pub(crate) storage: StorageConfig,
}

impl Theatre {
    pub(crate) async fn new() -> Self {
        Self::before(Service::start().await).await
    }

    /// A theatre that sends its shows to this service.
    pub(crate) async fn before(service: Service) -> Self {
        let line = Line::to(service.address).await;
        let storage = StorageConfig {
            bucket: BUCKET.to_owned(),
            endpoint: format!("http://{}", line.address),
            access_key_id: KEY_ID.to_owned(),
            secret_access_key: Secret::new(KEY),
            prefix: PREFIX.to_owned(),
            ..StorageConfig::default()
        };
        Self { service, line, data: tempfile::tempdir().unwrap(), storage }
    }

    /// The server starts, for the first time or again.
    pub(crate) fn open(&self) -> Stage {
        self.open_with(HlsConfig::default())
    }

    pub(crate) fn open_with(&self, config: HlsConfig) -> Stage {
        Stage::with_storage(self.data.path(), brief(config), self.storage.clone())
    }

    /// The server starts again, and its clock has gone on.
    pub(crate) fn open_later(&self) -> Stage {
        Stage::at(later, self.data.path(), brief(HlsConfig::default()), self.storage.clone())
    }

    /// What the disk has of the show: inits, segments and pictures, by key.
    pub(crate) fn spooled(&self) -> BTreeMap<String, Vec<u8>> {
        self.spooled_of(SHOW)
    }

    pub(crate) fn spooled_of(&self, show: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.folder(show), &format!("{PREFIX}/{show}"), &mut found);
        found
    }

    /// Where the disk has a show.
    pub(crate) fn folder(&self, show: &str) -> PathBuf {
        self.data.path().join("hls").join(show)
    }

    pub(crate) fn playlist(&self, path: &str) -> Option<String> {
        self.service.text(&format!("{PREFIX}/{SHOW}/{path}"))
    }

    /// Waits for something in the bucket or on the disk.
    pub(crate) async fn eventually(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let wait = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(LIMIT, wait).await;
        assert!(
            waited.is_ok(),
            "waited in vain for: {what}\n{:#?}\n{:#?}",
            self.playlist("v0/index.m3u8"),
            self.service.objects().keys()
        );
    }

    /// Waits until nothing is left to do for the show.
    pub(crate) async fn complete(&self) {
        self.complete_of(SHOW).await;
    }

    pub(crate) async fn complete_of(&self, show: &str) {
        let marks = self.folder(show).join("uploads.jsonl");
        self.eventually("the show to be complete in the bucket", |_| {
            let marks = std::fs::read_to_string(&marks).unwrap_or_default();
            marks.lines().last().is_some_and(|last| last.contains("complete"))
        })
        .await;
    }

    /// A whole show that the bucket alone has, since the disk is new. What the disk had of it.
    pub(crate) async fn play_and_lose_the_disk(&self) -> BTreeMap<String, Vec<u8>> {
        let stage = self.open();
        let publisher = play(&stage).await;
        stage.end(SHOW, publisher).await;
        self.complete().await;
        stage.stop().await;
        let had = self.spooled();
        std::fs::remove_dir_all(self.data.path().join("hls")).unwrap();
        had
    }

    /// Every object of the disk is in the bucket, byte for byte; the playlists there list all segments and no gap.
    pub(crate) fn assert_whole(&self, segments: u64) {
        let (disk, bucket) = (self.spooled(), self.service.objects());
        assert!(disk.len() > 4);
        for (key, bytes) in &disk {
            assert!(bucket.get(key) == Some(bytes), "{key} is not in the bucket as it is on the disk");
        }
        for rendition in ["v0", "a0"] {
            let playlist = self.playlist(&format!("{rendition}/index.m3u8")).unwrap();
            assert!(playlist.ends_with("#EXT-X-ENDLIST\n") && !playlist.contains("#EXT-X-GAP"), "{playlist}");
            let parsed = m3u8_rs::parse_media_playlist_res(playlist.as_bytes()).unwrap();
            assert_eq!(parsed.playlist_type, Some(m3u8_rs::MediaPlaylistType::Vod));
            assert_eq!(parsed.media_sequence, FIRST);
            assert_eq!(parsed.segments.len() as u64, segments, "{rendition}: {playlist}");
        }
        self.service.assert_never_wrong();
    }
}

/// The live playlist gives way to the recording soon, and every read is one of the disk or the bucket.
fn brief(config: HlsConfig) -> HlsConfig {
    HlsConfig { end_linger: Duration::from_millis(200), replay_cache_bytes: 0, ..config }
}

/// A viewer asks the server itself for all that the live playlist lists, and gets it: whatever the bucket does.
pub(crate) async fn watch(stage: &Stage, segment: u64) {
    for rendition in ["v0", "a0"] {
        let playlist = stage.playlist_with(rendition, segment).await;
        assert!(!playlist.contains("#EXT-X-GAP"), "{playlist}");
        for uri in uris(&playlist, "").iter().chain(&uris(&playlist, "#EXT-X-MAP")) {
            assert!(!stage.fetch(&format!("/hls/{SHOW}/{rendition}/{uri}")).await.is_empty());
        }
    }
}

/// The clip, eight seconds, as one epoch. Answers its publisher; a show of one clip has `SEGMENTS` when it is over.
pub(crate) async fn play(stage: &Stage) -> Publisher {
    let mut publisher = stage.publish(SHOW).await;
    write(&mut publisher, CLIP.epoch(), &CLIP.frames).await;
    publisher
}

/// The first half of the clip, with a whole segment of each rendition in it; the other half is for later.
pub(crate) async fn play_half(stage: &Stage) -> (Publisher, &'static [Frame]) {
    let mut publisher = stage.publish(SHOW).await;
    let (first, second) = CLIP.frames.split_at(CLIP.frames.len() / 2);
    write(&mut publisher, CLIP.epoch(), first).await;
    for rendition in ["v0", "a0"] {
        stage.playlist_with(rendition, FIRST).await;
    }
    (publisher, second)
}

/// A whole show, and then the server stops.
pub(crate) async fn play_and_stop(stage: Stage) {
    let publisher = play(&stage).await;
    stage.end(SHOW, publisher).await;
    watch(&stage, SEGMENTS).await;
    stage.stop().await;
}

/// Segments of the clip once the show is over, and those that are whole before.
pub(crate) const SEGMENTS: u64 = 4;
pub(crate) const WHOLE: u64 = 3;

fn collect(folder: &Path, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{prefix}/{name}"), found);
        } else if [".mp4", ".m4s", ".jpg"].iter().any(|kind| name.ends_with(kind))
            // One that went since it was listed is not there.
            && let Ok(bytes) = std::fs::read(entry.path())
        {
            found.insert(format!("{prefix}/{name}"), bytes);
        }
    }
}
