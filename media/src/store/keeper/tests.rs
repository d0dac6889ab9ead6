use super::*;
use crate::store::{ObjectName, RenditionId};
use async_trait::async_trait;
use tokio::sync::Semaphore;

/// A store that works when it is let.
struct SlowStore {
    permits: Semaphore,
    disk: DiskStore,
}

#[async_trait]
impl SegmentStore for SlowStore {
    async fn put(&self, key: &ObjectKey, chunks: Vec<Bytes>) -> Result<(), StoreError> {
        self.permits.acquire().await.unwrap().forget();
        self.disk.put(key, chunks).await
    }
    async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, StoreError> {
        self.disk.get(key).await
    }
    async fn list(&self, broadcast: &BroadcastId) -> Result<Vec<ObjectKey>, StoreError> {
        self.disk.list(broadcast).await
    }
    async fn delete(&self, broadcast: &BroadcastId) -> Result<(), StoreError> {
        self.disk.delete(broadcast).await
    }
}

fn key(number: u64) -> ObjectKey {
    ObjectKey {
        broadcast: BroadcastId::parse("session_1").unwrap(),
        rendition: RenditionId::parse("v0").unwrap(),
        epoch: 0,
        object: ObjectName::Segment(number),
    }
}

#[tokio::test]
async fn what_waits_for_a_slow_disk_is_readable_and_what_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let disk = DiskStore::new(folder.path());
    let slow = Arc::new(SlowStore { permits: Semaphore::new(0), disk: disk.clone() });
    let tasks = TaskTracker::new();
    let keeper = Keeper::start(
        Arc::clone(&slow) as Arc<dyn SegmentStore>,
        disk.clone(),
        Room { queue: 2, recent_bytes: 1_000 },
        &tasks,
    );
    let given = (0..8).filter(|number| keeper.keep(key(*number), vec![Bytes::from_static(b"x")], None).is_ok()).count();
    assert_eq!(given, 2);
    assert!(keeper.get(&key(0)).await.unwrap().is_some());
    assert!(disk.get(&key(0)).await.unwrap().is_none());
    slow.permits.add_permits(8);
    keeper.settle().await;
    assert!(disk.get(&key(0)).await.unwrap().is_some());
    assert!(keeper.waiting.lock().is_empty());
    keeper.note(key(0).broadcast, Entry::Stopped).unwrap();
    keeper.settle().await;
    assert_eq!(keeper.journal(&key(0).broadcast).await.unwrap(), [Entry::Stopped]);
    keeper.delete(&key(0).broadcast).await.unwrap();
    assert!(keeper.get(&key(0)).await.unwrap().is_none());
}

#[tokio::test]
async fn lines_and_inits_wait_for_a_disk_that_refuses_and_are_read_meanwhile() {
    let root = tempfile::tempdir().unwrap();
    let disk = DiskStore::new(root.path());
    let tasks = TaskTracker::new();
    let room = Room { queue: 8, recent_bytes: 0 };
    let keeper = Keeper::start(Arc::new(disk.clone()), disk.clone(), room, &tasks);
    let (show, init) = (key(0).broadcast, ObjectKey { object: ObjectName::Init, ..key(0) });
    let segment = |number| {
        let text = format!(
            r#"{{"entry":"segment","rendition":"v0","number":{number},"epoch":0,"init_epoch":0,"discontinuity":0,
            "marks":0,"at_micros":0,"duration_nanos":1,"ends_at_nanos":1,"independent":true,"kept":true,"bytes":1}}"#
        );
        serde_json::from_str::<Entry>(&text).unwrap()
    };
    let epoch = Entry::Epoch { number: 0, discontinuity: 0, renditions: Vec::new() };
    let bytes = || vec![Bytes::from_static(b"x")];
    // A file where the folder is to be.
    let folder = disk.folder(&show);
    std::fs::write(&folder, "").unwrap();
    keeper.keep(init.clone(), bytes(), None).unwrap();
    keeper.note(show.clone(), epoch.clone()).unwrap();
    keeper.keep(key(1), bytes(), Some(segment(1))).unwrap();
    keeper.settle().await;
    let lost = segment(1).without_object().unwrap();
    std::fs::remove_file(&folder).unwrap();
    assert_eq!(keeper.journal(&show).await.unwrap(), [epoch.clone(), lost.clone()]);
    assert_eq!(keeper.get(&init).await.unwrap().unwrap(), bytes());
    assert_eq!(keeper.take_lost(&show), [key(1)], "an init is not lost");

    keeper.keep(key(2), bytes(), Some(segment(2))).unwrap();
    keeper.settle().await;
    assert_eq!(journal::read(&folder).unwrap(), [epoch, lost, segment(2)], "in their order");
    assert!(disk.get(&init).await.unwrap().is_some() && keeper.waiting.lock().is_empty());

    // What is owed to a show that is deleted is written no more.
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "").unwrap();
    keeper.keep(init.clone(), bytes(), None).unwrap();
    keeper.note(show.clone(), segment(3)).unwrap();
    keeper.settle().await;
    std::fs::remove_file(&folder).unwrap();
    keeper.delete(&show).await.unwrap();
    keeper.settle().await;
    assert!(!folder.exists() && keeper.get(&init).await.unwrap().is_none());
}

#[tokio::test]
async fn a_segment_without_a_place_is_a_gap_in_the_journal() {
    let root = tempfile::tempdir().unwrap();
    let disk = DiskStore::new(root.path());
    let slow = Arc::new(SlowStore { permits: Semaphore::new(0), disk: disk.clone() });
    let tasks = TaskTracker::new();
    let room = Room { queue: 1, recent_bytes: 0 };
    let keeper = Keeper::start(Arc::clone(&slow) as Arc<dyn SegmentStore>, disk, room, &tasks);
    let entries: Vec<Entry> = (0..3).map(|number| Entry::Ended { target_duration_secs: number }).collect();
    for (number, entry) in (0..).zip(&entries) {
        let kept = keeper.keep(key(number), vec![Bytes::from_static(b"x")], Some(entry.clone()));
        assert_eq!(kept.is_ok(), number == 0);
    }
    let init = ObjectKey { object: ObjectName::Init, ..key(0) };
    keeper.keep(init.clone(), vec![Bytes::from_static(b"x")], None).unwrap();
    slow.permits.add_permits(8);
    keeper.settle().await;
    assert_eq!(keeper.journal(&init.broadcast).await.unwrap(), entries, "every line is there");
    assert!(slow.disk.get(&init).await.unwrap().is_some(), "an init needs no place");
}
