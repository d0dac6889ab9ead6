//! Objects as files: `<root>/<broadcast>/<rendition>/<epoch>/<object>`.
//!
//! An object is written to a temporary name beside its own and renamed, so it is there whole or not at all. Files are
//! not synced one by one: a crash of this process loses nothing that was written; a power cut may lose what the kernel
//! had not yet written back, some seconds, and syncing every segment of every show would cost more than those are
//! worth.

use super::{ObjectKey, ObjectName, RenditionId, SegmentStore, StoreError, parse_number};
use crate::model::BroadcastId;
use async_trait::async_trait;
use bytes::Bytes;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

#[derive(Debug, Clone)]
pub struct DiskStore {
    root: PathBuf,
}

/// An object as it lies there.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) key: ObjectKey,
    pub(super) bytes: u64,
    pub(super) written: SystemTime,
}

impl DiskStore {
    /// Folders are made when the first object needs them.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder of a broadcast, where its journal lies too.
    pub fn folder(&self, broadcast: &BroadcastId) -> PathBuf {
        self.root.join(broadcast.as_str())
    }

    /// Every broadcast there is a folder of. Reads folders, as does `sizes`: call them where that may wait.
    pub(super) fn broadcasts(&self) -> Result<Vec<BroadcastId>, StoreError> {
        let found = children(&self.root, |name| BroadcastId::parse(name).ok());
        let found = found.map_err(StoreError::disk("list", &self.root))?;
        Ok(found.into_iter().map(|(broadcast, _)| broadcast).collect())
    }

    /// The objects of a broadcast and what they take.
    pub(super) fn sizes(&self, broadcast: &BroadcastId) -> Result<Vec<Stored>, StoreError> {
        let folder = self.folder(broadcast);
        let keys = list_objects(&folder, broadcast).map_err(StoreError::disk("list", folder))?;
        let size = |key: ObjectKey| {
            let about = fs::metadata(self.path(&key)).ok()?;
            Some(Stored { bytes: about.len(), written: about.modified().unwrap_or(SystemTime::UNIX_EPOCH), key })
        };
        Ok(keys.into_iter().filter_map(size).collect())
    }

    /// Removes one object. Nothing happens when there is none.
    pub(super) async fn remove(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let path = self.path(key);
        blocking(move || match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::disk("remove", path)(error)),
            _ => Ok(()),
        })
        .await
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        let mut path = self.folder(&key.broadcast);
        path.push(key.rendition.to_string());
        path.push(key.epoch.to_string());
        path.push(key.object.to_string());
        path
    }
}

#[async_trait]
impl SegmentStore for DiskStore {
    async fn put(&self, key: &ObjectKey, chunks: Vec<Bytes>) -> Result<(), StoreError> {
        let path = self.path(key);
        blocking(move || write_whole(&path, &chunks)).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, StoreError> {
        let path = self.path(key);
        blocking(move || match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::disk("read", path)(error)),
        })
        .await
    }

    async fn list(&self, broadcast: &BroadcastId) -> Result<Vec<ObjectKey>, StoreError> {
        let (folder, broadcast) = (self.folder(broadcast), broadcast.clone());
        blocking(move || list_objects(&folder, &broadcast).map_err(StoreError::disk("list", folder))).await
    }

    async fn delete(&self, broadcast: &BroadcastId) -> Result<(), StoreError> {
        let folder = self.folder(broadcast);
        blocking(move || match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::disk("remove", folder)(error)),
            _ => Ok(()),
        })
        .await
    }
}

/// Runs file work where it may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    // The runtime refuses only while it stops.
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Closed))
}

fn write_whole(path: &Path, chunks: &[Bytes]) -> Result<(), StoreError> {
    let folder = path.parent().expect("an object's path has a folder");
    // `+` is in no object's name, so a left-over is never taken for an object.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push("+");
    let temporary = PathBuf::from(temporary);
    let mut file = match File::create(&temporary) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(folder).map_err(StoreError::disk("make", folder))?;
            File::create(&temporary)
        }
        made => made,
    }
    .map_err(StoreError::disk("create", &temporary))?;
    let written = chunks.iter().try_for_each(|chunk| file.write_all(chunk)).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        // A full disk should not be kept full by our own left-overs.
        let _ = fs::remove_file(&temporary);
        StoreError::disk("write", path)(error)
    })
}

fn list_objects(folder: &Path, broadcast: &BroadcastId) -> io::Result<Vec<ObjectKey>> {
    let mut keys = Vec::new();
    for (rendition, renditions) in children(folder, RenditionId::parse)? {
        for (epoch, epochs) in children(&renditions, parse_number)? {
            for (object, _) in children(&epochs, ObjectName::parse)? {
                keys.push(ObjectKey { broadcast: broadcast.clone(), rendition, epoch, object });
            }
        }
    }
    Ok(keys)
}

/// Entries of a folder whose names mean something; none where there is no folder.
fn children<T>(folder: &Path, parse: impl Fn(&str) -> Option<T>) -> io::Result<Vec<(T, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().and_then(&parse) {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(object: ObjectName) -> ObjectKey {
        ObjectKey {
            broadcast: BroadcastId::parse("session_1").unwrap(),
            rendition: RenditionId::parse("v0").unwrap(),
            epoch: 3,
            object,
        }
    }

    #[tokio::test]
    async fn objects_are_kept_listed_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStore::new(folder.path().join("hls"));
        let (init, segment) = (key(ObjectName::Init), key(ObjectName::Segment(17)));
        assert_eq!(store.get(&init).await.unwrap(), None);
        assert_eq!(store.list(&init.broadcast).await.unwrap(), []);
        store.put(&init, vec![Bytes::from_static(b"init")]).await.unwrap();
        store.put(&segment, vec![Bytes::from_static(b"seg"), Bytes::from_static(b"ment")]).await.unwrap();
        assert_eq!(store.get(&segment).await.unwrap().unwrap(), "segment");
        fs::write(store.path(&segment).with_file_name("18.m4s+"), b"left over").unwrap();
        fs::write(store.folder(&init.broadcast).join("index.jsonl"), b"{}").unwrap();
        let mut listed = store.list(&init.broadcast).await.unwrap();
        listed.sort_by_key(ToString::to_string);
        assert_eq!(listed, [segment.clone(), init.clone()]);
        store.delete(&init.broadcast).await.unwrap();
        store.delete(&init.broadcast).await.unwrap();
        assert_eq!(store.get(&segment).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_disk_that_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), b"").unwrap();
        let store = DiskStore::new(folder.path().join("file"));
        assert!(store.put(&key(ObjectName::Init), vec![]).await.is_err());
    }
}
