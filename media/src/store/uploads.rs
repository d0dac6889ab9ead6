//! What of a broadcast is in the bucket, line by line: `uploads.jsonl` beside its journal. Appended to, never rewritten.
//!
//! In: objects whose upload was acknowledged. Out: the same after a restart, which goes on with what is missing.
//! A line that was torn or never written costs an upload of the same bytes under the same key, nothing else.

use super::{ObjectKey, ObjectName, RenditionId, StoreError, journal, lines, parse_number};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mark {
    /// `<rendition>/<epoch>/<object>`
    Uploaded(String),
    /// The journal names it, but it was not on the disk when its turn came.
    Lost(String),
    /// All that the journal said when it was this long is in the bucket, playlists too.
    Complete { journal_bytes: u64 },
    /// The bucket may have more than the journal names, of a disk that was lost.
    More,
}

/// What the marks say together.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    /// `true`: in the bucket, `false`: lost.
    objects: HashMap<Place, bool>,
    complete_at: Option<u64>,
    has_more: bool,
}

/// An object within its broadcast.
type Place = (RenditionId, u64, ObjectName);

pub(super) const FILE: &str = "uploads.jsonl";

pub(super) fn append(folder: &Path, mark: &Mark) -> Result<(), StoreError> {
    lines::append(&folder.join(FILE), mark).map(drop)
}

pub(super) fn append_all(folder: &Path, marks: &[Mark]) -> Result<(), StoreError> {
    lines::append_all(&folder.join(FILE), marks).map(drop)
}

pub(super) fn read(folder: &Path) -> Result<Uploads, StoreError> {
    let mut uploads = Uploads::default();
    for mark in lines::read(&folder.join(FILE))? {
        uploads.take(&mark);
    }
    Ok(uploads)
}

/// How long the journal is.
pub(super) fn journal_bytes(folder: &Path) -> u64 {
    fs::metadata(folder.join(journal::FILE)).map_or(0, |about| about.len())
}

impl Mark {
    pub(super) fn uploaded(key: &ObjectKey) -> Self {
        Self::Uploaded(path(key))
    }

    pub(super) fn lost(key: &ObjectKey) -> Self {
        Self::Lost(path(key))
    }
}

impl Uploads {
    fn take(&mut self, mark: &Mark) {
        let (text, there) = match mark {
            Mark::Uploaded(text) => (text, true),
            Mark::Lost(text) => (text, false),
            Mark::Complete { journal_bytes } => {
                self.complete_at = Some(*journal_bytes);
                return;
            }
            Mark::More => {
                self.has_more = true;
                return;
            }
        };
        self.complete_at = None;
        if let Some(place) = parse(text) {
            let known = self.objects.entry(place).or_insert(there);
            *known |= there;
        }
    }

    pub(super) fn has(&self, rendition: RenditionId, epoch: u64, object: ObjectName) -> bool {
        self.objects.get(&(rendition, epoch, object)) == Some(&true)
    }

    pub(super) fn lost(&self, rendition: RenditionId, epoch: u64, object: ObjectName) -> bool {
        self.objects.get(&(rendition, epoch, object)) == Some(&false)
    }

    /// Only a list of the bucket can say what there is.
    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    /// Nothing is left to do for a journal of this length.
    pub(super) fn is_complete(&self, journal_bytes: u64) -> bool {
        self.complete_at == Some(journal_bytes)
    }
}

fn path(key: &ObjectKey) -> String {
    format!("{}/{}/{}", key.rendition, key.epoch, key.object)
}

fn parse(text: &str) -> Option<Place> {
    let mut words = text.split('/');
    let place = (RenditionId::parse(words.next()?)?, parse_number(words.next()?)?, ObjectName::parse(words.next()?)?);
    words.next().is_none().then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BroadcastId;

    fn key(number: u64) -> ObjectKey {
        ObjectKey {
            broadcast: BroadcastId::parse("session_1").unwrap(),
            rendition: RenditionId::parse("v0").unwrap(),
            epoch: 2,
            object: ObjectName::Segment(number),
        }
    }

    #[test]
    fn what_was_acknowledged_is_known_after_a_restart_and_a_torn_line_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("session_1");
        append(&folder, &Mark::uploaded(&key(1))).unwrap();
        append(&folder, &Mark::lost(&key(2))).unwrap();
        append(&folder, &Mark::Complete { journal_bytes: 7 }).unwrap();
        assert!(read(&folder).unwrap().is_complete(7));
        append(&folder, &Mark::uploaded(&key(3))).unwrap();
        let text = fs::read_to_string(folder.join(FILE)).unwrap();
        fs::write(folder.join(FILE), format!("{text}{{\"uploaded\":\"v0/2/4")).unwrap();
        let uploads = read(&folder).unwrap();
        append(&folder, &Mark::uploaded(&key(5))).unwrap();
        let after = read(&folder).unwrap();
        let v0 = key(1).rendition;
        let has = |uploads: &Uploads, number| uploads.has(v0, 2, ObjectName::Segment(number));
        assert_eq!([1, 2, 3, 4, 5].map(|number| has(&uploads, number)), [true, false, true, false, false]);
        assert!(uploads.lost(v0, 2, ObjectName::Segment(2)) && !uploads.is_complete(7));
        assert!(has(&after, 5), "the torn line does not swallow the next");
    }
}
