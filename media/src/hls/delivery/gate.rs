//! Who may watch a public show: anybody, as long as admission says so. It is asked once, and now and then again, so no
//! request of a viewer needs a lookup. Private shows: see `pass.rs`.

use crate::model::BroadcastId;
use crate::seam::{Admission, Refusal, WatchRequest};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What public shows' admission said, by broadcast. Bounded: when full, what is out of date goes, else all.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    gates: Mutex<HashMap<BroadcastId, Arc<Gate>>>,
}

#[derive(Debug, Default)]
struct Gate {
    answer: Mutex<Option<Answer>>,
    /// One asks, the others wait for its answer.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Answer {
    verdict: Result<(), Refusal>,
    until: Instant,
    /// It was public before. Its viewers may still fetch the end.
    was_public: bool,
}

const MAX_GATES: usize = 4_096;
/// A refusal is remembered this long, so that a player that insists does not become admission's load.
const REFUSED_FOR: Duration = Duration::from_secs(1);

impl Gates {
    /// Whether a viewer without a ticket may watch.
    pub(crate) async fn admit_anyone(
        &self,
        broadcast: &BroadcastId,
        admission: &dyn Admission,
        recheck: Duration,
    ) -> Result<(), Refusal> {
        let gate = self.gate(broadcast);
        if let Some(verdict) = gate.known() {
            return verdict;
        }
        let _one = gate.asking.lock().await;
        if let Some(verdict) = gate.known() {
            return verdict;
        }
        let request = WatchRequest { broadcast: broadcast.clone(), ticket: None };
        let verdict = admission.admit_viewer(request).await.map(drop);
        let was_public = gate.answer.lock().as_ref().is_some_and(|answer| answer.was_public);
        let verdict = match verdict {
            // Who was let in sees the end of the show, and is not cut while control is away.
            Err(Refusal::Ended | Refusal::Unavailable) if was_public => Ok(()),
            verdict => verdict,
        };
        let valid = if verdict.is_ok() { recheck.max(REFUSED_FOR) } else { REFUSED_FOR };
        let was_public = was_public || verdict.is_ok();
        *gate.answer.lock() = Some(Answer { verdict: verdict.clone(), until: Instant::now() + valid, was_public });
        verdict
    }

    fn gate(&self, broadcast: &BroadcastId) -> Arc<Gate> {
        let mut gates = self.gates.lock();
        if let Some(gate) = gates.get(broadcast) {
            return Arc::clone(gate);
        }
        if gates.len() >= MAX_GATES {
            gates.retain(|_, gate| gate.known().is_some());
            if gates.len() >= MAX_GATES {
                gates.clear();
            }
        }
        Arc::clone(gates.entry(broadcast.clone()).or_default())
    }
}

impl Gate {
    fn known(&self) -> Option<Result<(), Refusal>> {
        let answer = self.answer.lock();
        answer.as_ref().filter(|answer| answer.until > Instant::now()).map(|answer| answer.verdict.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::door::Door;
    use super::*;
    use crate::seam::WatchGrant;
    use std::sync::atomic::Ordering;

    fn show(text: &str) -> BroadcastId {
        BroadcastId::parse(text).unwrap()
    }

    const OPEN: WatchGrant = WatchGrant { viewer: None, expires: None };
    const RECHECK: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_public_show_is_asked_about_once_per_recheck() {
        let (gates, door, show) = (Gates::default(), Door::new(Ok(OPEN)), show("session_1"));
        for _ in 0..100 {
            assert_eq!(gates.admit_anyone(&show, &door, RECHECK).await, Ok(()));
        }
        assert_eq!(door.asked.load(Ordering::Relaxed), 1);
        *door.answer.lock() = Err(Refusal::Forbidden);
        tokio::time::advance(RECHECK).await;
        assert_eq!(gates.admit_anyone(&show, &door, RECHECK).await, Err(Refusal::Forbidden));
        assert_eq!(door.asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_let_in_may_see_the_end_and_nobody_else() {
        let (gates, door) = (Gates::default(), Door::new(Ok(OPEN)));
        assert_eq!(gates.admit_anyone(&show("public"), &door, RECHECK).await, Ok(()));
        *door.answer.lock() = Err(Refusal::Ended);
        tokio::time::advance(RECHECK).await;
        assert_eq!(gates.admit_anyone(&show("public"), &door, RECHECK).await, Ok(()));
        assert_eq!(gates.admit_anyone(&show("other"), &door, RECHECK).await, Err(Refusal::Ended));
    }
}
