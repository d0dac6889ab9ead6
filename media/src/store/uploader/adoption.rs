//! A show of a disk that was lost: what the bucket knows of it goes back to the disk, as if it had been there.
//!
//! In: the journal that the bucket has. Out: marks of what is in the bucket, then the journal. Driven by the uploader, before
//! anything else of the show is on the disk.

use super::super::journal::{self, Entry};
use super::super::uploads::{self, Mark};
use super::super::{ObjectKey, ObjectName, StoreError};
use crate::model::BroadcastId;
use std::collections::HashSet;
use std::path::Path;

/// The journal comes last: without it the next who looks begins again.
pub(super) fn adopt(folder: &Path, broadcast: &BroadcastId, entries: &[Entry]) -> Result<(), StoreError> {
    uploads::append_all(folder, &marks(broadcast, entries))?;
    journal::append_all(folder, entries)
}

/// What is there is marked so, and so is what is not: nobody can bring it any more.
fn marks(broadcast: &BroadcastId, entries: &[Entry]) -> Vec<Mark> {
    let key = |rendition, epoch, object| ObjectKey { broadcast: broadcast.clone(), rendition, epoch, object };
    let mut there = HashSet::new();
    for entry in entries {
        match entry {
            Entry::Segment(one) if one.kept => {
                there.insert(key(one.rendition, one.init_epoch, ObjectName::Init));
                there.insert(key(one.rendition, one.epoch, ObjectName::Segment(one.number)));
            }
            Entry::Thumbnail(one) => drop(there.insert(one.key(broadcast))),
            Entry::Segment(_) | Entry::Epoch { .. } | Entry::Part { .. } | Entry::Stopped | Entry::Ended { .. } => {}
        }
    }
    let named = journal::objects(broadcast, entries);
    let mark = |key: &ObjectKey| if there.contains(key) { Mark::uploaded(key) } else { Mark::lost(key) };
    // What was uploaded after the journal was is named by nobody.
    std::iter::once(Mark::More).chain(named.iter().map(mark)).collect()
}
