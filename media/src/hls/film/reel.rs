//! A film on its way to a viewer: objects read one after the other, one ahead, and nothing kept of them.
//!
//! In: readings of a film. Out: bytes, or an error that cuts the answer short. Driven by the connection: who reads slowly has
//! little read for them, and who goes ends it.

use super::maker::object;
use super::map::{Film, Reading, Slice};
use crate::model::BroadcastId;
use crate::store::{Keeper, ObjectKey, StoreError};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use std::ops::Range;
use std::sync::Arc;

/// What a viewer is shown.
#[derive(Debug, Clone)]
pub(crate) struct Reel {
    pub(crate) broadcast: BroadcastId,
    pub(crate) film: Arc<Film>,
    pub(crate) keeper: Keeper,
}

/// Why an answer ends before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TornReel {
    #[error("the segment {key} of a film cannot be read")]
    Store { key: ObjectKey, source: StoreError },
    /// What the film was made of is no longer there.
    #[error("the segment {key} of a film is not what it was")]
    Changed { key: ObjectKey },
}

/// Objects in memory for one viewer: the one that goes out and the next.
const READ_AHEAD: usize = 2;
const TRIES: u32 = 3;

/// The bytes of a range.
pub(crate) fn play(reel: Reel, range: Range<u64>) -> impl Stream<Item = Result<Bytes, TornReel>> + Send + 'static {
    let readings = reel.film.readings(range);
    stream::iter(readings)
        .map(move |reading| read(reel.clone(), reading))
        .buffered(READ_AHEAD)
        .map_ok(|slices| stream::iter(slices.into_iter().map(Ok)))
        .try_flatten()
}

async fn read(reel: Reel, reading: Reading) -> Result<Vec<Bytes>, TornReel> {
    let (name, slices) = match reading {
        Reading::Head(bytes) => return Ok(vec![bytes]),
        Reading::Object { name, slices } => (name, slices),
    };
    let key = name.key(&reel.broadcast);
    let found = match object(&reel.keeper, &key, TRIES).await {
        Ok(found) => found,
        Err(source) => return Err(TornReel::Store { key, source }),
    };
    let Some(object) = found else { return Err(TornReel::Changed { key }) };
    let bytes = |slice| match slice {
        Slice::Of(range) if range.end <= object.len() => Some(object.slice(range)),
        Slice::Of(_) => None,
        Slice::Own(bytes) => Some(bytes),
    };
    slices.into_iter().map(bytes).collect::<Option<_>>().ok_or(TornReel::Changed { key })
}
