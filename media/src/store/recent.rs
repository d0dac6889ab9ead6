//! Objects that were read lately, in memory, so that many who watch one recording cost one read of the disk or bucket.
//!
//! In: keys, and how to read what is not here. Out: bytes. Objects never change, so nothing here grows old; readers of
//! one object wait for the first of them. Bounded in bytes: what is asked for rarely goes first.

use super::{ObjectKey, StoreError};
use crate::cache;
use crate::model::BroadcastId;
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

pub(super) struct Recent {
    objects: Cache<ObjectKey, Bytes, Weight>,
    /// How often something was forgotten: what is read meanwhile may be of it.
    forgotten: AtomicU64,
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<ObjectKey, Bytes> for Weight {
    fn weight(&self, _: &ObjectKey, bytes: &Bytes) -> u64 {
        // Zero would stay for ever.
        bytes.len().max(1) as u64
    }
}

/// What objects weigh as a rule, to size the table by.
const USUAL_BYTES: u64 = 256 * 1024;

impl Recent {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { objects: cache::by_weight(Weight, bytes_max, USUAL_BYTES), forgotten: AtomicU64::new(0) }
    }

    /// The object, from here or by `read`, which one reader at a time is asked for.
    pub(super) async fn get(
        &self,
        key: &ObjectKey,
        read: impl Future<Output = Result<Option<Bytes>, StoreError>>,
    ) -> Result<Option<Bytes>, StoreError> {
        let place = match self.objects.get_value_or_guard_async(key).await {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(place) => place,
        };
        let before = self.forgotten.load(SeqCst);
        let found = read.await?;
        if let Some(bytes) = &found {
            let _ = place.insert(bytes.clone());
            // Looked at after it is there: whoever forgets from now on finds it.
            if self.forgotten.load(SeqCst) != before {
                self.objects.remove(key);
            }
        }
        Ok(found)
    }

    /// What is known of a broadcast is no more.
    pub(super) fn forget(&self, broadcast: &BroadcastId) {
        self.forgotten.fetch_add(1, SeqCst);
        self.objects.retain(|key, _| key.broadcast != *broadcast);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ObjectName, RenditionId};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::oneshot;

    fn key(broadcast: &str, number: u64) -> ObjectKey {
        ObjectKey {
            broadcast: BroadcastId::parse(broadcast).unwrap(),
            rendition: RenditionId::parse("v0").unwrap(),
            epoch: 0,
            object: ObjectName::Segment(number),
        }
    }

    /// Reads that were made.
    #[derive(Default)]
    struct Reads(AtomicUsize);

    impl Reads {
        async fn read(&self, len: usize) -> Result<Option<Bytes>, StoreError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(Some(Bytes::from(vec![1; len])))
        }

        fn made(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn many_readers_of_one_object_cost_one_read() {
        let (recent, reads) = (Arc::new(Recent::new(1_000_000)), Arc::new(Reads::default()));
        let readers = (0..50).map(|_| {
            let (recent, reads) = (Arc::clone(&recent), Arc::clone(&reads));
            tokio::spawn(async move { recent.get(&key("a", 0), reads.read(1_000)).await.unwrap().unwrap().len() })
        });
        for reader in readers.collect::<Vec<_>>() {
            assert_eq!(reader.await.unwrap(), 1_000);
        }
        assert_eq!(reads.made(), 1);
    }

    #[tokio::test]
    async fn what_is_not_there_and_what_cannot_be_read_is_asked_for_again() {
        let recent = Recent::new(1_000_000);
        assert_eq!(recent.get(&key("a", 0), async { Ok(None) }).await.unwrap(), None);
        let refused = recent.get(&key("a", 0), async { Err(StoreError::Full { limit: 1 }) }).await;
        assert!(refused.is_err());
        let reads = Reads::default();
        assert!(recent.get(&key("a", 0), reads.read(10)).await.unwrap().is_some());
        assert_eq!(reads.made(), 1);
    }

    #[tokio::test]
    async fn one_who_began_to_read_before_a_broadcast_was_deleted_does_not_bring_it_back() {
        let recent = Arc::new(Recent::new(1_000_000));
        let ((began, has_begun), (go_on, gate)) = (oneshot::channel(), oneshot::channel());
        let read = async move {
            began.send(()).unwrap();
            gate.await.unwrap();
            Ok(Some(Bytes::from_static(b"old")))
        };
        let reader = Arc::clone(&recent);
        let early = tokio::spawn(async move { reader.get(&key("a", 0), read).await.unwrap() });
        has_begun.await.unwrap();
        recent.forget(&BroadcastId::parse("a").unwrap());
        go_on.send(()).unwrap();
        assert_eq!(early.await.unwrap().as_deref(), Some(b"old".as_slice()));
        assert_eq!(recent.get(&key("a", 0), async { Ok(None) }).await.unwrap(), None, "it is gone");
    }

    #[tokio::test]
    async fn no_more_is_kept_than_was_allowed_and_what_is_deleted_is_forgotten() {
        let (recent, reads) = (Recent::new(10_000), Reads::default());
        for number in 0..100 {
            recent.get(&key("a", number), reads.read(1_000)).await.unwrap();
        }
        assert!(recent.objects.weight() <= 10_000, "{}", recent.objects.weight());
        recent.get(&key("b", 0), reads.read(20_000)).await.unwrap();
        assert!(recent.objects.weight() <= 10_000, "one larger than everything is read, not kept");
        recent.get(&key("b", 1), reads.read(100)).await.unwrap();
        recent.forget(&BroadcastId::parse("a").unwrap());
        assert!(recent.objects.iter().all(|(key, _)| key.broadcast.as_str() == "b"));
        let none = Recent::new(0);
        assert!(none.get(&key("a", 0), reads.read(1_000)).await.unwrap().is_some());
        assert_eq!(none.objects.weight(), 0);
    }
}
