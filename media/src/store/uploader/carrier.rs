//! Carries one object, or the playlists of one moment, to the bucket: one attempt each.
//!
//! In: a key, or playlists. Out: how it went. Driven by the shipment of a show, which decides what follows.

use super::super::journal::{self, Entry};
use super::super::s3::PlaylistAge;
use super::super::uploads::{self, Mark};
use super::super::{ObjectKey, ObjectName, SegmentStore, StoreError, disk};
use super::{Node, Playlist};
use crate::model::BroadcastId;
use std::sync::Arc;
use tokio::time::Instant;

/// How an upload went.
pub(super) struct Upload {
    pub(super) order: u64,
    pub(super) key: ObjectKey,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    /// `noted`: a restart will know.
    Done {
        bytes: u64,
        noted: bool,
    },
    /// There is no such file.
    Missing,
    Failed(StoreError),
}

/// Playlists that the bucket has now.
pub(super) struct Written {
    pub(super) playlists: Vec<Playlist>,
    pub(super) age: PlaylistAge,
    /// How long the journal was that the playlists of a recording were made from.
    pub(super) journal_bytes: u64,
}

/// One attempt. The bytes are read when its turn has come, so what waits takes no memory.
pub(super) async fn upload(node: Arc<Node>, order: u64, key: ObjectKey) -> Upload {
    let outcome = attempt(&node, &key).await.unwrap_or_else(Outcome::Failed);
    Upload { order, key, outcome }
}

async fn attempt(node: &Node, key: &ObjectKey) -> Result<Outcome, StoreError> {
    let _turn = node.uploads.acquire().await.map_err(|_| StoreError::Closed)?;
    let Some(object) = node.disk.get(key).await? else { return Ok(Outcome::Missing) };
    let (bytes, began) = (object.len() as u64, Instant::now());
    node.bucket.put(key, vec![object]).await?;
    node.health.uploaded(began.elapsed());
    let (folder, mark) = (node.disk.folder(&key.broadcast), Mark::uploaded(key));
    let noted = disk::blocking(move || uploads::append(&folder, &mark)).await;
    if let Err(error) = &noted {
        node.health.failed(error);
    }
    Ok(Outcome::Done { bytes, noted: noted.is_ok() })
}

/// Writes playlists in their order: what one names is there before it.
pub(super) async fn write_playlists(
    node: &Node,
    broadcast: &BroadcastId,
    playlists: Vec<Playlist>,
    age: PlaylistAge,
) -> Result<Written, StoreError> {
    for playlist in &playlists {
        let _turn = node.uploads.acquire().await.map_err(|_| StoreError::Closed)?;
        node.bucket.put_playlist(broadcast, &playlist.path, playlist.text.clone(), age).await?;
        node.health.is_well();
    }
    Ok(Written { playlists, age, journal_bytes: 0 })
}

/// Writes the playlists of the whole show, as far as the bucket has it.
pub(super) async fn write_recording(node: &Node, broadcast: &BroadcastId) -> Result<Written, StoreError> {
    let folder = node.disk.folder(broadcast);
    let (journal_bytes, mut entries, known) = disk::blocking(move || {
        // The length first: a line that comes meanwhile is for the next time.
        Ok((uploads::journal_bytes(&folder), journal::read(&folder)?, uploads::read(&folder)?))
    })
    .await?;
    for entry in &mut entries {
        if let Entry::Segment(segment) = entry {
            segment.kept &= known.has(segment.rendition, segment.epoch, ObjectName::Segment(segment.number))
                && known.has(segment.rendition, segment.init_epoch, ObjectName::Init);
        }
    }
    let playlists = node.playlists.recording(entries);
    let written = write_playlists(node, broadcast, playlists, PlaylistAge::Ended).await?;
    Ok(Written { journal_bytes, ..written })
}
