//! How much of the local disk objects may take while a bucket has them too.
//!
//! In: objects as the keeper writes them and as the uploader brings them to the bucket. Out: room, made by removing the
//! oldest of those that were uploaded, or the answer that there is none.
//!
//! Inits stay: they are a thousandth of a show, and one that is taken up after a restart must find them without asking a
//! bucket that may be down.

use super::uploads::{self, Uploads};
use super::{DiskStore, ObjectKey, ObjectName, StoreError, journal};
use crate::metrics;
use crate::model::BroadcastId;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::SystemTime;
use tokio::sync::watch;

#[derive(Debug)]
pub(super) struct Spool {
    disk: DiskStore,
    max_bytes: u64,
    holds: Mutex<Holds>,
    /// Whether what earlier runs left has been counted.
    counted: watch::Sender<bool>,
}

/// Objects that the disk does not remove, before it is asked for no more of them.
const REFUSED_MAX: usize = 16;

#[derive(Debug, Default)]
struct Holds {
    bytes: u64,
    /// In the bucket too, oldest first. As many as the spool has room for.
    spare: VecDeque<(ObjectKey, u64)>,
}

impl Spool {
    pub(super) fn new(disk: DiskStore, max_bytes: u64) -> Self {
        Self { disk, max_bytes, holds: Mutex::default(), counted: watch::Sender::new(false) }
    }

    /// Counts what earlier runs left. Answers the broadcasts that are not complete in the bucket, oldest id first; also those
    /// of which that cannot be read, which `refused` hears of. Reads folders: call it where that may wait.
    pub(super) fn count(&self, refused: impl Fn(&StoreError)) -> Result<Vec<BroadcastId>, StoreError> {
        let (mut bytes, mut spare, mut unfinished) = (0, Vec::new(), Vec::new());
        for broadcast in self.disk.broadcasts()? {
            let folder = self.disk.folder(&broadcast);
            let (uploads, is_known) = match uploads::read(&folder) {
                Ok(uploads) => (uploads, true),
                Err(error) => {
                    refused(&error);
                    (Uploads::default(), false)
                }
            };
            let journal_bytes = uploads::journal_bytes(&folder);
            let lacks = journal_bytes > 0 && !uploads.is_complete(journal_bytes);
            // That of a host who was not live yet names co-hosts, and stays. One that cannot be read is asked again.
            if !is_known || (lacks && journal::has_a_show(&folder).unwrap_or(true)) {
                unfinished.push(broadcast.clone());
            }
            for object in self.disk.sizes(&broadcast).inspect_err(&refused).unwrap_or_default() {
                bytes += object.bytes;
                if is_spare(&object.key) && uploads.has(object.key.rendition, object.key.epoch, object.key.object) {
                    spare.push((object.written, object.key, object.bytes));
                }
            }
        }
        spare.sort_by_key(|(written, ..): &(SystemTime, ObjectKey, u64)| *written);
        let mut holds = self.holds.lock();
        holds.bytes += bytes;
        holds.spare = spare.into_iter().map(|(_, key, bytes)| (key, bytes)).collect();
        tell(holds.bytes);
        unfinished.sort();
        Ok(unfinished)
    }

    /// Lets the keeper write.
    pub(super) fn open(&self) {
        self.counted.send_replace(true);
    }

    /// Makes room for an object that is about to be written. An init has it always: without one nothing can be played.
    pub(super) async fn reserve(&self, key: &ObjectKey, bytes: u64) -> Result<(), StoreError> {
        // The sender lives as long as we do.
        let _ = self.counted.subscribe().wait_for(|counted| *counted).await;
        loop {
            {
                let mut holds = self.holds.lock();
                if holds.bytes + bytes <= self.max_bytes || !is_spare(key) {
                    holds.bytes += bytes;
                    tell(holds.bytes);
                    return Ok(());
                }
            }
            if !self.spare(1).await? {
                return Err(StoreError::SpoolFull { limit_bytes: self.max_bytes });
            }
        }
    }

    /// Removes the oldest that were uploaded, so many bytes at least. `false`: there is nothing to remove. Those that cannot be
    /// removed take their room as before, and are an error where none can.
    pub(super) async fn spare(&self, bytes: u64) -> Result<bool, StoreError> {
        let (mut gone, mut refused) = (0, Vec::new());
        let mut outcome = Ok(());
        while gone < bytes && refused.len() < REFUSED_MAX {
            let oldest = self.holds.lock().spare.pop_front();
            let Some((key, size)) = oldest else { break };
            if let Err(error) = self.disk.remove(&key).await {
                outcome = Err(error);
                refused.push((key, size));
                continue;
            }
            self.release(size);
            gone += size;
        }
        // Behind the others, for they need not be refused as well.
        self.holds.lock().spare.extend(refused);
        if gone == 0 { outcome.map(|()| false) } else { Ok(true) }
    }

    /// Gives back what was reserved, or what an object took that is gone.
    pub(super) fn release(&self, bytes: u64) {
        let mut holds = self.holds.lock();
        holds.bytes = holds.bytes.saturating_sub(bytes);
        tell(holds.bytes);
    }

    /// The bucket has it, and a restart will know: it may go when room is needed.
    pub(super) fn is_uploaded(&self, key: ObjectKey, bytes: u64) {
        if is_spare(&key) {
            self.holds.lock().spare.push_back((key, bytes));
        }
    }

    /// Removes all of a broadcast.
    pub(super) async fn delete(&self, broadcast: &BroadcastId) -> Result<(), StoreError> {
        self.holds.lock().spare.retain(|(key, _)| key.broadcast != *broadcast);
        let (disk, id) = (self.disk.clone(), broadcast.clone());
        let bytes = super::disk::blocking(move || {
            let objects = disk.sizes(&id)?;
            Ok(objects.iter().map(|object| object.bytes).sum::<u64>())
        })
        .await?;
        super::SegmentStore::delete(&self.disk, broadcast).await?;
        self.release(bytes);
        Ok(())
    }
}

fn is_spare(key: &ObjectKey) -> bool {
    key.object != ObjectName::Init
}

fn tell(bytes: u64) {
    ::metrics::gauge!(metrics::STORE_SPOOL_BYTES).set(bytes as f64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::journal::Entry;
    use crate::store::uploads::Mark;
    use crate::store::{RenditionId, SegmentStore};
    use bytes::Bytes;

    fn key(object: ObjectName) -> ObjectKey {
        let broadcast = BroadcastId::parse("session_1").unwrap();
        ObjectKey { broadcast, rendition: RenditionId::parse("v0").unwrap(), epoch: 0, object }
    }

    async fn write(spool: &Spool, key: &ObjectKey) -> Result<(), StoreError> {
        spool.reserve(key, 10).await?;
        spool.disk.put(key, vec![Bytes::from_static(b"0123456789")]).await
    }

    #[tokio::test]
    async fn the_oldest_uploaded_go_first_and_what_the_bucket_lacks_stays() {
        let folder = tempfile::tempdir().unwrap();
        let disk = DiskStore::new(folder.path());
        let spool = Spool::new(disk.clone(), 40);
        spool.open();
        let (init, segment) = (key(ObjectName::Init), |number| key(ObjectName::Segment(number)));
        write(&spool, &init).await.unwrap();
        for number in 1..=3 {
            write(&spool, &segment(number)).await.unwrap();
        }
        assert!(matches!(write(&spool, &segment(4)).await, Err(StoreError::SpoolFull { limit_bytes: 40 })));
        for uploaded in [init.clone(), segment(2), segment(1)] {
            spool.is_uploaded(uploaded, 10);
        }
        write(&spool, &segment(4)).await.unwrap();
        let there = async |number| disk.get(&segment(number)).await.unwrap().is_some();
        assert!(there(1).await && !there(2).await && there(3).await && there(4).await);
        write(&spool, &segment(5)).await.unwrap();
        assert!(!there(1).await && there(3).await);
        assert!(write(&spool, &segment(6)).await.is_err(), "nothing is left that the bucket has");
        assert!(disk.get(&init).await.unwrap().is_some(), "an init stays");
    }

    #[tokio::test]
    async fn what_cannot_be_removed_takes_its_room_until_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let disk = DiskStore::new(folder.path());
        let spool = Spool::new(disk.clone(), 30);
        spool.open();
        let segment = |number| key(ObjectName::Segment(number));
        for number in 1..=3 {
            write(&spool, &segment(number)).await.unwrap();
            spool.is_uploaded(segment(number), 10);
        }
        // A file that is a folder cannot be removed as one.
        let path = folder.path().join(segment(1).to_string());
        std::fs::rename(&path, path.with_extension("aside")).unwrap();
        std::fs::create_dir(&path).unwrap();
        write(&spool, &segment(4)).await.unwrap();
        write(&spool, &segment(5)).await.unwrap();
        assert!(disk.get(&segment(3)).await.unwrap().is_none(), "others make room instead");
        assert!(matches!(write(&spool, &segment(6)).await, Err(StoreError::Disk { .. })));
        assert_eq!(spool.holds.lock().bytes, 30);
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(path.with_extension("aside"), &path).unwrap();
        write(&spool, &segment(6)).await.unwrap();
        assert!(disk.get(&segment(1)).await.unwrap().is_none());
        assert_eq!(spool.holds.lock().bytes, 30);
    }

    #[tokio::test]
    async fn what_an_earlier_run_left_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let disk = DiskStore::new(folder.path());
        let before = Spool::new(disk.clone(), 100);
        before.open();
        for number in 1..=3 {
            write(&before, &key(ObjectName::Segment(number))).await.unwrap();
        }
        uploads::append(&disk.folder(&key(ObjectName::Init).broadcast), &Mark::uploaded(&key(ObjectName::Segment(3))))
            .unwrap();
        let spool = Spool::new(disk.clone(), 35);
        assert_eq!(spool.count(|error| panic!("{error}")).unwrap(), [], "without a journal there is nothing to upload");
        spool.open();
        write(&spool, &key(ObjectName::Segment(4))).await.unwrap();
        assert!(disk.get(&key(ObjectName::Segment(3))).await.unwrap().is_none());
        spool.delete(&key(ObjectName::Init).broadcast).await.unwrap();
        assert_eq!(spool.holds.lock().bytes, 0);
    }

    #[test]
    fn a_show_that_has_only_co_hosts_has_nothing_to_upload() {
        let folder = tempfile::tempdir().unwrap();
        let disk = DiskStore::new(folder.path());
        let show = key(ObjectName::Init).broadcast;
        let journal = disk.folder(&show);
        let part = Entry::Part { broadcast: BroadcastId::parse("session_1-user_7").unwrap() };
        journal::append(&journal, &part).unwrap();
        let unfinished = || Spool::new(disk.clone(), 35).count(|error| panic!("{error}")).unwrap();
        assert_eq!(unfinished(), []);
        journal::append(&journal, &Entry::Epoch { number: 0, discontinuity: 0, renditions: Vec::new() }).unwrap();
        assert_eq!(unfinished(), [show], "now it was live");
    }
}
