//! The journal of a show as the bucket is to have it: what the disk tells, as far as it is in the bucket, and before that what a
//! lost disk has left to the bucket's own journal.
//!
//! In: the journal and the marks on the disk, the journal in the bucket where it may know more. Out: entries, oldest first.

use super::super::journal::{self, Entry};
use super::super::uploads::{self, Mark, Uploads};
use super::super::{BucketFault, ObjectName, RenditionId, StoreError, disk};
use super::Node;
use crate::model::BroadcastId;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// The entries, and how long the journal is on the disk. `asked`: the bucket was asked once whether it knows of a beginning that the
/// disk does not; before that nothing may take the place of its journal.
pub(super) async fn read(
    node: &Node,
    broadcast: &BroadcastId,
    first_epoch: Option<u64>,
    asked: &AtomicBool,
) -> Result<(u64, Vec<Entry>), StoreError> {
    let folder = node.disk.folder(broadcast);
    let (journal_bytes, entries, known) = disk::blocking(move || {
        // The length first: a line that comes meanwhile is for the next time.
        Ok((uploads::journal_bytes(&folder), journal::read(&folder)?, uploads::read(&folder)?))
    })
    .await?;
    let was_emptied = first_of(&entries) != first_epoch;
    let mut before = Vec::new();
    if was_emptied || known.has_more() || !asked.load(Ordering::Relaxed) {
        before = in_bucket(node, broadcast).await?;
        let begins_earlier = journal::is_of_a_show(&before) && first_of(&before) != first_of(&entries);
        if (was_emptied || begins_earlier) && !known.has_more() {
            note_loss(node, broadcast).await?;
        } else if !known.has_more() {
            before.clear();
        }
        asked.store(true, Ordering::Relaxed);
    }
    Ok((journal_bytes, joined(before, entries, &known)))
}

/// Keys that may not list are refused where there is nothing.
async fn in_bucket(node: &Node, broadcast: &BroadcastId) -> Result<Vec<Entry>, StoreError> {
    match node.journal(broadcast).await {
        Err(StoreError::Bucket { fault: BucketFault::Denied, .. }) => Ok(Vec::new()),
        read => read,
    }
}

/// The first epoch that a journal names.
fn first_of(entries: &[Entry]) -> Option<u64> {
    entries.iter().find_map(|entry| if let Entry::Epoch { number, .. } = entry { Some(*number) } else { None })
}

/// Only a list of the bucket says from now on what it has of the show.
async fn note_loss(node: &Node, broadcast: &BroadcastId) -> Result<(), StoreError> {
    tracing::error!("the disk has lost the beginning of a show; the bucket's journal keeps it");
    let folder = node.disk.folder(broadcast);
    disk::blocking(move || uploads::append(&folder, &Mark::More)).await
}

/// What both tell of is told by the disk, which may know better by now.
fn joined(mut before: Vec<Entry>, mut entries: Vec<Entry>, known: &Uploads) -> Vec<Entry> {
    // Inits that the bucket has, of which the disk has forgotten it.
    let inits: HashSet<_> = before.iter().filter_map(init_of_kept).collect();
    let named: HashSet<_> = entries.iter().filter_map(name).collect();
    before.retain(|entry| name(entry).is_some_and(|name| !named.contains(&name)));
    for entry in &mut entries {
        if let Entry::Segment(segment) = entry {
            let (rendition, init_epoch) = (segment.rendition, segment.init_epoch);
            let has_init =
                known.has(rendition, init_epoch, ObjectName::Init) || inits.contains(&(rendition, init_epoch));
            segment.kept &=
                has_init && known.has(segment.rendition, segment.epoch, ObjectName::Segment(segment.number));
        }
    }
    entries.retain(|entry| match entry {
        Entry::Thumbnail(one) => known.has(one.rendition, one.epoch, ObjectName::Thumbnail(one.number)),
        Entry::Epoch { .. } | Entry::Segment(_) | Entry::Part { .. } | Entry::Stopped | Entry::Ended { .. } => true,
    });
    before.extend(entries);
    before
}

fn init_of_kept(entry: &Entry) -> Option<(RenditionId, u64)> {
    if let Entry::Segment(one) = entry { one.kept.then_some((one.rendition, one.init_epoch)) } else { None }
}

/// What an entry is about. `None`: a moment, which only the newest journal tells.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Name {
    Epoch(u64),
    Object(RenditionId, u64, ObjectName),
    Part(BroadcastId),
}

fn name(entry: &Entry) -> Option<Name> {
    match entry {
        Entry::Epoch { number, .. } => Some(Name::Epoch(*number)),
        Entry::Segment(one) => Some(Name::Object(one.rendition, one.epoch, ObjectName::Segment(one.number))),
        Entry::Thumbnail(one) => Some(Name::Object(one.rendition, one.epoch, ObjectName::Thumbnail(one.number))),
        Entry::Part { broadcast } => Some(Name::Part(broadcast.clone())),
        Entry::Stopped | Entry::Ended { .. } => None,
    }
}
