//! What the control plane may order of the live plane.
//!
//! The caller owns the trait: control declares it, the binary's bridge implements it over the media plane's handle.

use std::time::Duration;

use async_trait::async_trait;

use crate::id::{SessionId, UserId};
use crate::session::EndReason;

/// Orders to the live plane. Each returns once the order is accepted; what came of it arrives as a
/// [`LiveFact`](crate::presence::LiveFact).
#[async_trait]
pub trait LivePlane: Send + Sync {
    /// Ends a broadcast for good: publisher cut, playlists finished, viewers closed. Unknown sessions are no error,
    /// because the broadcast may have ended by itself a moment ago.
    async fn end_broadcast(&self, session_id: &SessionId, reason: EndReason);

    /// Cuts one viewer off, on whatever transport it watches the host or a co-host, and refuses it from then on. Whose
    /// ticket it is, or the id in facts about it.
    async fn eject_viewer(&self, session_id: &SessionId, viewer_id: &str);

    /// Takes [`LivePlane::eject_viewer`] back. Nobody put out is no error.
    async fn readmit_viewer(&self, session_id: &SessionId, viewer_id: &str);

    /// Ends what a co-host publishes, now and without a grace: they are no co-host any more. Should they become one again,
    /// admission says so. Nobody publishing is no error.
    async fn end_co_host(&self, session_id: &SessionId, user_id: &UserId);

    /// Silences a co-host for everybody, or lets them be heard again. Given again for each publisher that goes live, and
    /// also when nothing changed. Nobody publishing is no error.
    async fn mute_co_host(&self, session_id: &SessionId, user_id: &UserId, muted: bool);

    /// Closes what is kept of a session that is over, should its end have been missed, and has media tell what that is.
    /// Told again when it was told before; about a show that is still there media tells by itself.
    async fn settle_recording(&self, session_id: &SessionId);

    /// Deletes what is kept of a session that is over and of what these co-hosts sent in it. That nothing is left arrives
    /// as a fact; without it the order is to be given again.
    async fn delete_recording(&self, session_id: &SessionId, co_hosts: &[UserId]);
}

/// Handing an order over is a matter of microseconds; a plane that takes longer is stuck, and nobody need wait for it.
pub(crate) const ORDER_TIMEOUT: Duration = Duration::from_secs(3);
