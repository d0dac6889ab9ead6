//! What a broadcast has made, line by line: `index.jsonl` in its folder. Appended to, never rewritten. The bucket has one too, of
//! what the bucket has, now and then while the show is live and once it is over: shows and replays outlive the disk.
//!
//! In: entries. Out: the same entries after a restart. Driven by the keeper; read when a show is resumed or replayed.
//! A line that was torn while it was written is dropped.

use super::{ObjectKey, ObjectName, RenditionId, StoreError, lines};
use crate::model::BroadcastId;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::Path;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// An epoch began; its number is used up.
    Epoch { number: u64, discontinuity: u64, renditions: Vec<EpochRendition> },
    /// A segment was closed.
    Segment(SegmentEntry),
    /// A picture of a segment was kept.
    Thumbnail(ThumbnailEntry),
    /// A broadcast that belongs to this one, and has a journal of its own, was taken up.
    Part {
        #[serde(with = "name")]
        broadcast: BroadcastId,
    },
    /// The server stopped in good order: nothing that was shown is missing above.
    Stopped,
    /// The show is over.
    Ended { target_duration_secs: u64 },
}

impl Entry {
    fn is_of_a_show(&self) -> bool {
        matches!(self, Self::Epoch { .. } | Self::Segment(_) | Self::Thumbnail(_))
    }

    /// What is still to be said when its object was not kept: a segment leaves a gap, and nobody misses a picture.
    pub(super) fn without_object(self) -> Option<Self> {
        match self {
            Self::Segment(segment) => Some(Self::Segment(SegmentEntry { kept: false, ..segment })),
            Self::Thumbnail(_) => None,
            other => Some(other),
        }
    }
}

/// Whether the entries tell of something that was shown. Those of a host name co-hosts also before the host was live,
/// and on a disk that never had their show.
pub(crate) fn is_of_a_show(entries: &[Entry]) -> bool {
    entries.iter().any(Entry::is_of_a_show)
}

/// A rendition as it is in an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRendition {
    pub id: RenditionId,
    /// The epoch its init lies under.
    pub init_epoch: u64,
    /// RFC 6381.
    pub codecs: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<PictureEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PictureEntry {
    pub width: u16,
    pub height: u16,
    pub frames_per_second: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentEntry {
    pub rendition: RenditionId,
    pub number: u64,
    pub epoch: u64,
    pub init_epoch: u64,
    pub discontinuity: u64,
    /// Discontinuity tags before it.
    pub marks: u64,
    /// Wall clock of its first frame, microseconds since 1970.
    pub at_micros: u64,
    pub duration_nanos: u64,
    /// Where it ends on the show's timeline.
    pub ends_at_nanos: u64,
    pub independent: bool,
    /// Its bytes are in the store.
    pub kept: bool,
    pub bytes: u64,
}

/// It lies beside its segment, as `<number>.jpg`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ThumbnailEntry {
    pub rendition: RenditionId,
    pub number: u64,
    pub epoch: u64,
    /// Where what it shows stands on the show's timeline.
    pub at_nanos: u64,
    pub width: u16,
    pub height: u16,
    /// The mean of its light, 0 for black.
    pub brightness: u8,
}

impl ThumbnailEntry {
    /// Where the picture is kept.
    pub fn key(&self, broadcast: &BroadcastId) -> ObjectKey {
        let Self { rendition, epoch, number, .. } = *self;
        ObjectKey { broadcast: broadcast.clone(), rendition, epoch, object: ObjectName::Thumbnail(number) }
    }
}

/// Every object that the entries know of, kept or not.
pub(super) fn objects(broadcast: &BroadcastId, entries: &[Entry]) -> HashSet<ObjectKey> {
    let key = |rendition, epoch, object| ObjectKey { broadcast: broadcast.clone(), rendition, epoch, object };
    let mut keys = HashSet::new();
    for entry in entries {
        match entry {
            Entry::Epoch { renditions, .. } => {
                keys.extend(renditions.iter().map(|one| key(one.id, one.init_epoch, ObjectName::Init)));
            }
            Entry::Segment(one) => {
                keys.insert(key(one.rendition, one.init_epoch, ObjectName::Init));
                keys.insert(key(one.rendition, one.epoch, ObjectName::Segment(one.number)));
            }
            Entry::Thumbnail(one) => drop(keys.insert(one.key(broadcast))),
            Entry::Part { .. } | Entry::Stopped | Entry::Ended { .. } => {}
        }
    }
    keys
}

/// An id as its text.
mod name {
    use super::BroadcastId;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(id: &BroadcastId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(id.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BroadcastId, D::Error> {
        BroadcastId::parse(&Cow::<'de, str>::deserialize(deserializer)?).map_err(Error::custom)
    }
}

/// The journal's name in the folder of its broadcast.
pub const FILE: &str = "index.jsonl";

/// Appends one line.
pub(super) fn append(folder: &Path, entry: &Entry) -> Result<(), StoreError> {
    let path = folder.join(FILE);
    let file = lines::append(&path, entry)?;
    if matches!(entry, Entry::Ended { .. } | Entry::Stopped) {
        // The one moment at which waiting for the platter costs nothing: nothing comes after.
        file.sync_all().map_err(StoreError::disk("sync", &path))?;
    }
    Ok(())
}

/// Appends what a bucket has of a journal.
pub(super) fn append_all(folder: &Path, entries: &[Entry]) -> Result<(), StoreError> {
    lines::append_all(&folder.join(FILE), entries).map(drop)
}

/// A whole journal as it lies in a bucket.
pub(super) fn to_text(entries: &[Entry]) -> String {
    let line = |entry| serde_json::to_string(entry).expect("our lines hold nothing JSON cannot say") + "\n";
    entries.iter().map(line).collect()
}

/// The entries of a whole journal from a bucket.
pub(super) fn of_text(text: &[u8]) -> Vec<Entry> {
    lines::parse(text).0
}

/// All entries, oldest first; none where there is no journal.
pub(super) fn read(folder: &Path) -> Result<Vec<Entry>, StoreError> {
    lines::read(&folder.join(FILE))
}

/// Whether the journal tells of something that was shown; reads no further than the first line that does.
pub(super) fn has_a_show(folder: &Path) -> Result<bool, StoreError> {
    lines::any(&folder.join(FILE), Entry::is_of_a_show)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn segment(number: u64) -> Entry {
        Entry::Segment(SegmentEntry {
            rendition: RenditionId::parse("a0").unwrap(),
            number,
            epoch: 2,
            init_epoch: 1,
            discontinuity: 1,
            marks: 0,
            at_micros: 1_795_000_000_000_000,
            duration_nanos: 2_005_333_333,
            ends_at_nanos: 1,
            independent: true,
            kept: true,
            bytes: 12,
        })
    }

    #[test]
    fn a_torn_line_loses_itself_only() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("session_1");
        assert_eq!(read(&folder).unwrap(), []);
        append(&folder, &segment(1)).unwrap();
        append(&folder, &segment(2)).unwrap();
        let whole = fs::read(folder.join(FILE)).unwrap();
        for cut in 1..whole.len() / 2 {
            fs::write(folder.join(FILE), &whole[..whole.len() - cut]).unwrap();
            append(&folder, &Entry::Stopped).unwrap();
            let entries = read(&folder).unwrap();
            let expected =
                if cut == 1 { vec![segment(1), segment(2), Entry::Stopped] } else { vec![segment(1), Entry::Stopped] };
            assert_eq!(entries, expected, "{cut} bytes lost");
        }
    }
}
