//! 3c. WHAT MUST LAST.
//!
//! Objects (inits and segments) go through a [`SegmentStore`] under keys that are never reused; a [`journal`] per
//! broadcast names them in order. The [`Keeper`] writes both behind a bounded queue, off the packaging path: live goes
//! on whatever the disk does.
//!
//! Order: object first, then its journal line, so that every line names an object that is there. With a bucket the disk
//! is a spool: the [`uploader`] brings each object on, then writes playlists that name it, then lets it go when room is
//! needed.

mod config;
mod disk;
mod error;
pub mod journal;
mod keeper;
mod key;
mod lines;
mod note;
mod owed;
mod recent;
mod s3;
mod spool;
mod trouble;
mod uploader;
mod uploads;

pub use config::{ChecksumMode, StorageConfig};
pub use disk::DiskStore;
pub use error::{BucketFault, StoreError};
pub use keeper::{Bucket, Keeper, Room};
pub use key::{ObjectKey, ObjectName, RenditionId, RenditionKind, parse_number};
pub use s3::S3Store;
pub(crate) use s3::{INDEX, THUMBNAIL, THUMBNAIL_INDEX};
pub use trouble::StoreHealth;
use uploader::StorageHealth;
pub use uploader::{LiveRules, Playlist, PlaylistWriter};

use crate::model::BroadcastId;
use async_trait::async_trait;
use bytes::Bytes;

/// Where objects are kept. Implementations answer only for what they have acknowledged.
#[async_trait]
pub trait SegmentStore: Send + Sync + 'static {
    /// Keeps an object, given in pieces. Whole or not at all: a reader never sees half of it.
    async fn put(&self, key: &ObjectKey, chunks: Vec<Bytes>) -> Result<(), StoreError>;

    /// `None`: there is no such object.
    async fn get(&self, key: &ObjectKey) -> Result<Option<Bytes>, StoreError>;

    /// All objects of a broadcast, in no order.
    async fn list(&self, broadcast: &BroadcastId) -> Result<Vec<ObjectKey>, StoreError>;

    /// Removes a broadcast with everything it has. Nothing happens when there is none.
    async fn delete(&self, broadcast: &BroadcastId) -> Result<(), StoreError>;
}
