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
    /// When admission itself last let anybody in.
    public_at: Option<Instant>,
}

const MAX_GATES: usize = 4_096;
/// A refusal is remembered this long, so that a player that insists does not become admission's load.
const REFUSED_FOR: Duration = Duration::from_secs(1);
/// How long a show that was public is taken for one while nobody answers. Longer than control takes to start again; not for
/// ever, since nobody says then that it is private by now, or deleted.
const UNANSWERED_FOR: Duration = Duration::from_secs(10 * 60);

impl Gates {
    /// Whether a viewer without a ticket may watch. `is_shown`: it is live, or so lately over that players still fetch its end.
    pub(crate) async fn admit_anyone(
        &self,
        broadcast: &BroadcastId,
        is_shown: bool,
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
        let now = Instant::now();
        let before = gate.answer.lock().as_ref().and_then(|answer| answer.public_at);
        let public_at = if verdict.is_ok() { Some(now) } else { before };
        let verdict = match (verdict, public_at) {
            // Who was let in sees the end of the show, and is not cut while control is away.
            (Err(Refusal::Ended), Some(_)) if is_shown => Ok(()),
            (Err(Refusal::Unavailable), Some(at)) if now.duration_since(at) < UNANSWERED_FOR => Ok(()),
            (verdict, _) => verdict,
        };
        let valid = if verdict.is_ok() { recheck.max(REFUSED_FOR) } else { REFUSED_FOR };
        *gate.answer.lock() = Some(Answer { verdict: verdict.clone(), until: now + valid, public_at });
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
            assert_eq!(gates.admit_anyone(&show, true, &door, RECHECK).await, Ok(()));
        }
        assert_eq!(door.asked.load(Ordering::Relaxed), 1);
        *door.answer.lock() = Err(Refusal::Forbidden);
        tokio::time::advance(RECHECK).await;
        assert_eq!(gates.admit_anyone(&show, true, &door, RECHECK).await, Err(Refusal::Forbidden));
        assert_eq!(door.asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_let_in_may_see_the_end_and_nobody_else() {
        let (gates, door) = (Gates::default(), Door::new(Ok(OPEN)));
        let ask = async |name, is_shown| gates.admit_anyone(&show(name), is_shown, &door, RECHECK).await;
        assert_eq!(ask("public", true).await, Ok(()));
        *door.answer.lock() = Err(Refusal::Ended);
        tokio::time::advance(RECHECK).await;
        assert_eq!(ask("public", true).await, Ok(()));
        assert_eq!(ask("other", true).await, Err(Refusal::Ended));
        // Its end was shown, and now it is gone.
        tokio::time::advance(RECHECK).await;
        assert_eq!(ask("public", false).await, Err(Refusal::Ended));
    }

    #[tokio::test(start_paused = true)]
    async fn a_show_that_was_public_is_believed_to_be_for_a_while_when_nobody_answers() {
        let (gates, door) = (Gates::default(), Door::new(Ok(OPEN)));
        let ask = async |name| gates.admit_anyone(&show(name), false, &door, RECHECK).await;
        assert_eq!(ask("public").await, Ok(()));
        *door.answer.lock() = Err(Refusal::Unavailable);
        for _ in 0..4 {
            tokio::time::advance(UNANSWERED_FOR / 5).await;
            assert_eq!(ask("public").await, Ok(()));
        }
        assert_eq!(ask("other").await, Err(Refusal::Unavailable));
        tokio::time::advance(UNANSWERED_FOR / 5).await;
        assert_eq!(ask("public").await, Err(Refusal::Unavailable));
        *door.answer.lock() = Ok(OPEN);
        tokio::time::advance(RECHECK).await;
        assert_eq!(ask("public").await, Ok(()));
    }
}
