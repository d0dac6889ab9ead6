//! Who watches a show over HLS.
//!
//! In: requests with a viewer's id, the clock, ejections. Out: joins and leaves, one leave per join, through
//! [`ViewerGuard`]. A viewer has joined when the first segment or part was served to it, and has left after three
//! target durations without a request; a request that is held counts as presence.

use crate::metrics;
use crate::model::{BroadcastId, ViewerId};
use crate::seam::{EventSink, MediaEvent, Transport, ViewerGuard, ViewerIdentity};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Viewers {
    broadcast: BroadcastId,
    events: Arc<dyn EventSink>,
    /// Viewers beyond this are served but not counted.
    max: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    present: HashMap<ViewerId, Presence>,
    /// The last snapshot told of somebody.
    told: bool,
}

#[derive(Debug)]
struct Presence {
    guard: ViewerGuard,
    seen: Instant,
    /// Requests that are held now.
    held: u32,
}

/// Counts as presence while a request is held.
#[derive(Debug)]
pub(crate) struct HeldGuard<'a> {
    viewers: &'a Viewers,
    /// `None`: was not present when the request came.
    viewer: Option<&'a ViewerId>,
}

impl Viewers {
    pub(crate) fn new(broadcast: BroadcastId, events: Arc<dyn EventSink>, max: usize) -> Self {
        Self { broadcast, events, max, table: Mutex::default() }
    }

    /// Media was served to this viewer: it is present, if it was not already.
    pub(crate) fn served(&self, viewer: &ViewerId, identity: Option<&ViewerIdentity>) {
        let mut table = self.table.lock();
        if let Some(presence) = table.present.get_mut(viewer) {
            presence.seen = Instant::now();
            return;
        }
        if table.present.len() >= self.max {
            return;
        }
        let (events, broadcast) = (Arc::clone(&self.events), self.broadcast.clone());
        let guard = ViewerGuard::join(events, broadcast, viewer.clone(), identity.cloned(), Transport::Hls);
        let presence = Presence { guard, seen: Instant::now(), held: 0 };
        table.present.insert(viewer.clone(), presence);
        gauge().increment(1.0);
    }

    /// A request of this viewer begins; until the guard is dropped it counts as presence.
    pub(crate) fn hold<'a>(&'a self, viewer: &'a ViewerId) -> HeldGuard<'a> {
        let present = self.change(viewer, 1);
        HeldGuard { viewers: self, viewer: present.then_some(viewer) }
    }

    /// A viewer is not there any more. Who may come back is not decided here.
    pub(crate) fn eject(&self, viewer: &ViewerId) {
        let gone = self.table.lock().present.remove(viewer);
        forget(gone);
    }

    /// Lets go of viewers that were silent for so long.
    pub(crate) fn sweep(&self, silence: Duration) {
        let now = Instant::now();
        let is_gone = |presence: &Presence| presence.held == 0 && now.duration_since(presence.seen) >= silence;
        let gone: Vec<_> = self.table.lock().present.extract_if(|_, presence| is_gone(presence)).collect();
        forget(gone.into_iter().map(|(_, presence)| presence));
    }

    /// Nobody is present any more.
    pub(crate) fn clear(&self) {
        let gone = std::mem::take(&mut self.table.lock().present);
        forget(gone.into_values());
    }

    /// Tells everyone who is present; once more when the last has left.
    pub(crate) fn tell_snapshot(&self) {
        let viewers: Vec<_> = {
            let mut table = self.table.lock();
            let nobody = table.present.is_empty();
            let told = std::mem::replace(&mut table.told, !nobody);
            if !told && nobody {
                return;
            }
            table.present.values().map(|presence| presence.guard.present().clone()).collect()
        };
        let (broadcast, at) = (self.broadcast.clone(), SystemTime::now());
        // Lost if the listener is busy; the next one follows in ten seconds.
        let transport = Transport::Hls;
        self.events.try_emit(MediaEvent::AudienceSnapshot { broadcast, transport, viewers, at });
    }

    /// Whether this viewer is present.
    fn change(&self, viewer: &ViewerId, held: i32) -> bool {
        let mut table = self.table.lock();
        let presence = table.present.get_mut(viewer);
        let is_present = presence.is_some();
        if let Some(presence) = presence {
            presence.held = presence.held.saturating_add_signed(held);
            presence.seen = Instant::now();
        }
        is_present
    }
}

impl Drop for HeldGuard<'_> {
    fn drop(&mut self) {
        if let Some(viewer) = self.viewer {
            self.viewers.change(viewer, -1);
        }
    }
}

impl Drop for Viewers {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Drops presences outside of the table's lock: each tells its leave.
fn forget(gone: impl IntoIterator<Item = Presence>) {
    for presence in gone {
        gauge().decrement(1.0);
        drop(presence.guard);
    }
}

fn gauge() -> ::metrics::Gauge {
    ::metrics::gauge!(metrics::VIEWERS, "transport" => Transport::Hls.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    #[async_trait]
    impl EventSink for Heard {
        fn try_emit(&self, event: MediaEvent) -> bool {
            let text = match event {
                MediaEvent::ViewerJoined { viewer, .. } => format!("+{viewer}"),
                MediaEvent::ViewerLeft { viewer, .. } => format!("-{viewer}"),
                MediaEvent::AudienceSnapshot { viewers, .. } => format!("={}", viewers.len()),
                other => format!("{other:?}"),
            };
            self.0.lock().push(text);
            true
        }
        async fn emit(&self, event: MediaEvent) {
            self.try_emit(event);
        }
    }

    fn viewers(max: usize) -> (Viewers, Arc<Heard>) {
        let heard = Arc::new(Heard::default());
        let broadcast = BroadcastId::parse("session_1").unwrap();
        (Viewers::new(broadcast, Arc::clone(&heard) as Arc<dyn EventSink>, max), heard)
    }

    fn id(text: &str) -> ViewerId {
        ViewerId::parse(text).unwrap()
    }

    const SILENCE: Duration = Duration::from_secs(6);

    #[tokio::test(start_paused = true)]
    async fn each_join_has_one_leave_and_a_held_request_is_presence() {
        let (viewers, heard) = viewers(10);
        let (ann, bob) = (id("ann"), id("bob"));
        viewers.served(&ann, None);
        viewers.served(&ann, None);
        viewers.served(&bob, None);
        let held = viewers.hold(&ann);
        tokio::time::advance(SILENCE).await;
        viewers.sweep(SILENCE);
        viewers.tell_snapshot();
        drop(held);
        tokio::time::advance(SILENCE - Duration::from_millis(1)).await;
        viewers.sweep(SILENCE);
        tokio::time::advance(Duration::from_millis(1)).await;
        viewers.sweep(SILENCE);
        viewers.tell_snapshot();
        viewers.tell_snapshot();
        drop(viewers);
        assert_eq!(*heard.0.lock(), ["+ann", "+bob", "-bob", "=1", "-ann", "=0"]);
    }

    #[tokio::test]
    async fn an_ejected_viewer_is_gone_at_once_and_once() {
        let (viewers, heard) = viewers(10);
        viewers.served(&id("ann"), None);
        viewers.eject(&id("ann"));
        viewers.eject(&id("ann"));
        drop(viewers);
        assert_eq!(*heard.0.lock(), ["+ann", "-ann"]);
    }

    #[tokio::test]
    async fn a_full_table_serves_without_counting() {
        let (viewers, heard) = viewers(1);
        viewers.served(&id("ann"), None);
        viewers.served(&id("bob"), None);
        viewers.clear();
        assert_eq!(*heard.0.lock(), ["+ann", "-ann"]);
    }
}
