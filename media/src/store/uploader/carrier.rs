//! Carries one object, or the playlists of one moment, to the bucket: one attempt each.
//!
//! In: a key, or playlists. Out: how it went. Driven by the shipment of a show, which decides what follows.

use super::super::journal::{self, ThumbnailEntry};
use super::super::s3::PlaylistAge;
use super::super::{ObjectKey, ObjectName, SegmentStore, StoreError};
use super::{Node, Playlist, history};
use crate::model::BroadcastId;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How an upload went.
pub(super) struct Upload {
    pub(super) order: u64,
    pub(super) key: ObjectKey,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    Done {
        bytes: u64,
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

/// The newest picture of a show, by epoch and number: it has an address of its own too, for lists that know nothing else of
/// the show. Held while one is put there, so that none takes the place of a newer one.
pub(super) type NewestThumbnail = Mutex<Option<(u64, u64)>>;

/// One attempt. The bytes are read when its turn has come, so what waits takes no memory.
pub(super) async fn upload(node: Arc<Node>, order: u64, key: ObjectKey, newest: Arc<NewestThumbnail>) -> Upload {
    let outcome = attempt(&node, &key, &newest).await.unwrap_or_else(Outcome::Failed);
    Upload { order, key, outcome }
}

async fn attempt(node: &Node, key: &ObjectKey, newest: &NewestThumbnail) -> Result<Outcome, StoreError> {
    let _turn = node.uploads.acquire().await.map_err(|_| StoreError::Closed)?;
    let Some(object) = node.disk.get(key).await? else { return Ok(Outcome::Missing) };
    node.disk_health.works();
    let (bytes, began) = (object.len() as u64, Instant::now());
    node.bucket.put(key, vec![object.clone()]).await?;
    if let ObjectName::Thumbnail(number) = key.object {
        let mut newest = newest.lock().await;
        if *newest < Some((key.epoch, number)) {
            node.bucket.put_thumbnail(&key.broadcast, object, PlaylistAge::Live).await?;
            *newest = Some((key.epoch, number));
        }
    }
    node.health.uploaded(began.elapsed());
    Ok(Outcome::Done { bytes })
}

/// Writes playlists in their order: what one names is there before it.
pub(super) async fn write_playlists(
    node: &Node,
    broadcast: &BroadcastId,
    playlists: Vec<Playlist>,
    age: PlaylistAge,
) -> Result<Written, StoreError> {
    for playlist in &playlists {
        let put = || node.bucket.put_playlist(broadcast, &playlist.path, playlist.text.clone(), age);
        in_turn(node, put).await?;
    }
    Ok(Written { playlists, age, journal_bytes: 0 })
}

/// One upload of several that belong together: it is tried again at once, so that one that fails now and then does not send
/// all of them back to the beginning.
async fn in_turn<F: Future<Output = Result<(), StoreError>>>(
    node: &Node,
    put: impl Fn() -> F,
) -> Result<(), StoreError> {
    let mut attempt = 1;
    loop {
        let turn = node.uploads.acquire().await.map_err(|_| StoreError::Closed)?;
        match put().await {
            Ok(()) => break,
            Err(error) if attempt == ATTEMPTS => return Err(error),
            Err(error) => node.health.failed(&error),
        }
        // Others need not wait while this one does.
        drop(turn);
        attempt += 1;
        tokio::time::sleep(PAUSE.mul_f64(rand::random())).await;
    }
    node.health.is_well();
    Ok(())
}

/// Attempts at one of several uploads before all of them wait.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// Writes the journal of a show that is live, so that it outlives the disk. How long that took.
pub(super) async fn write_journal(
    node: &Node,
    broadcast: &BroadcastId,
    first_epoch: Option<u64>,
    asked: &AtomicBool,
) -> Result<Duration, StoreError> {
    let began = Instant::now();
    let (_, entries) = history::read(node, broadcast, first_epoch, asked).await?;
    let journal = journal::to_text(&entries);
    in_turn(node, || node.bucket.put_journal(broadcast, journal.clone())).await?;
    Ok(began.elapsed())
}

/// Writes the playlists of the whole show, as far as the bucket has it.
pub(super) async fn write_recording(
    node: &Node,
    broadcast: &BroadcastId,
    first_epoch: Option<u64>,
    asked: &AtomicBool,
) -> Result<Written, StoreError> {
    let (journal_bytes, entries) = history::read(node, broadcast, first_epoch, asked).await?;
    if let Some(poster) = node.playlists.poster(entries.clone()) {
        write_poster(node, broadcast, poster).await?;
    }
    let journal = journal::to_text(&entries);
    let playlists = node.playlists.recording(entries);
    let written = write_playlists(node, broadcast, playlists, PlaylistAge::Ended).await?;
    in_turn(node, || node.bucket.put_journal(broadcast, journal.clone())).await?;
    Ok(Written { journal_bytes, ..written })
}

/// Puts the picture that stands for a show that is over in the place of the newest.
async fn write_poster(node: &Node, broadcast: &BroadcastId, poster: ThumbnailEntry) -> Result<(), StoreError> {
    let key = poster.key(broadcast);
    let jpeg = match node.disk.get(&key).await? {
        Some(jpeg) => Some(jpeg),
        None => node.bucket.get(&key).await?,
    };
    let Some(jpeg) = jpeg else { return Ok(()) };
    in_turn(node, || node.bucket.put_thumbnail(broadcast, jpeg.clone(), PlaylistAge::Ended)).await
}
