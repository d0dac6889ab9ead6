//! What a live show has of an object that somebody asks for.
//!
//! In: the newest snapshot, an epoch and a name that anybody may have made up. Out: bytes, or whether the store is to be
//! asked. Pure. Driven by routes.rs.

use super::super::show::Channel;
use crate::store::ObjectName;
use bytes::Bytes;

/// Where the bytes of an object of a living show are.
pub(super) enum Found {
    Here(Vec<Bytes>),
    /// Not in memory, but a playlist named it.
    Stored,
    /// No playlist ever named it: neither the disk nor the bucket, which is paid by the question, is asked.
    Nowhere,
}

impl Found {
    pub(super) fn of(channel: &Channel, epoch: u64, object: ObjectName) -> Self {
        let snapshot = channel.snapshot();
        match object {
            ObjectName::Init => match snapshot.init(epoch) {
                Some(init) => Self::Here(vec![init.clone()]),
                None if snapshot.names_init(epoch) => Self::Stored,
                None => Self::Nowhere,
            },
            ObjectName::Segment(number) => match snapshot.segment(epoch, number) {
                Some(segment) if !segment.parts.is_empty() => Self::Here(segment.chunks()),
                _ if snapshot.names_segment(epoch, number) => Self::Stored,
                _ => Self::Nowhere,
            },
            // Named by the index of the replay, and reached below it.
            ObjectName::Thumbnail(_) => Self::Nowhere,
        }
    }
}
