//! Everyone who watches by WebRTC, over all workers: the truth that repairs lost joins and leaves.

use crate::metrics;
use crate::model::{BroadcastId, ViewerId};
use crate::seam::{EventSink, MediaEvent, PresentViewer, Transport};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

#[derive(Debug, Clone, Default)]
pub(crate) struct Roster {
    /// A broadcast whose last viewer has left stays until that has been told once.
    present: Arc<Mutex<HashMap<BroadcastId, HashMap<ViewerId, PresentViewer>>>>,
}

/// One viewer's place, given back when dropped.
#[derive(Debug)]
pub(crate) struct PlaceGuard {
    roster: Roster,
    broadcast: BroadcastId,
    viewer: ViewerId,
}

impl Roster {
    pub(crate) fn enter(&self, broadcast: &BroadcastId, present: &PresentViewer) -> PlaceGuard {
        let viewer = present.viewer.clone();
        self.present.lock().entry(broadcast.clone()).or_default().insert(viewer.clone(), present.clone());
        gauge().increment(1.0);
        PlaceGuard { roster: self.clone(), broadcast: broadcast.clone(), viewer }
    }

    /// Tells who is there, per broadcast; once more when the last has left.
    pub(crate) fn tell(&self, events: &dyn EventSink) {
        let at = SystemTime::now();
        let told: Vec<_> = {
            let mut present = self.present.lock();
            let told = present.iter().map(|(id, viewers)| (id.clone(), viewers.values().cloned().collect())).collect();
            present.retain(|_, viewers| !viewers.is_empty());
            told
        };
        for (broadcast, viewers) in told {
            // Lost if the listener is busy; the next one follows.
            events.try_emit(MediaEvent::AudienceSnapshot { broadcast, transport: Transport::Whep, viewers, at });
        }
    }
}

impl Drop for PlaceGuard {
    fn drop(&mut self) {
        if let Some(viewers) = self.roster.present.lock().get_mut(&self.broadcast) {
            viewers.remove(&self.viewer);
        }
        gauge().decrement(1.0);
    }
}

fn gauge() -> ::metrics::Gauge {
    ::metrics::gauge!(metrics::VIEWERS, "transport" => Transport::Whep.as_str())
}
