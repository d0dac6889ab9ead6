//! What the control plane may order of the live plane.
//!
//! The caller owns the trait: control declares it, the binary's bridge implements it over the media plane's handle.

use async_trait::async_trait;

use crate::id::SessionId;
use crate::session::EndReason;

/// Orders to the live plane. Each returns once the order is accepted; what came of it arrives as a
/// [`LiveFact`](crate::presence::LiveFact).
#[async_trait]
pub trait LivePlane: Send + Sync {
    /// Ends a broadcast for good: publisher cut, playlists finished, viewers closed. Unknown sessions are no error,
    /// because the broadcast may have ended by itself a moment ago.
    async fn end_broadcast(&self, session_id: &SessionId, reason: EndReason);

    /// Cuts one viewer off, on whatever transport it watches.
    async fn eject_viewer(&self, session_id: &SessionId, viewer_id: &str);
}
