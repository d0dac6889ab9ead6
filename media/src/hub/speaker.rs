//! Who is speaking, where several people publish in one show.
//!
//! In: the loudest packet of each publisher since the last look (RFC 6464 section 3). Out: `ActiveSpeaker` when another one
//! speaks. The rule is pure; one task drives it for all shows.

use super::registry::Hub;
use crate::model::BroadcastId;
use crate::seam::{EventSink, MediaEvent};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Decibels below the loudest there is, as RFC 6464 has them.
pub(crate) const SILENCE: u8 = 127;

/// What is known of one show.
#[derive(Debug, Default)]
struct Floor {
    speaker: Option<BroadcastId>,
    /// Smoothed loudness of everybody, 0 for silence and 127 for the loudest there is.
    loudness: HashMap<BroadcastId, f32>,
    /// Who was louder than the speaker at the last looks, and at how many.
    challenger: Option<(BroadcastId, u8)>,
}

const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How much a look changes the smoothed loudness: a word counts at once, a cough is forgotten.
const FRESH_SHARE: f32 = 0.5;
/// Quieter is breath and the fan of a computer.
const SPEECH_MIN: f32 = (SILENCE - 55) as f32;
/// Whoever takes the floor is louder by this, at so many looks in a row.
const LOUDER: f32 = 6.0;
const LOOKS: u8 = 2;

impl Floor {
    /// Takes the newest levels of all who publish. `Some`: another one speaks.
    fn look(&mut self, levels: &[(BroadcastId, u8)]) -> Option<BroadcastId> {
        self.loudness.retain(|known, _| levels.iter().any(|(id, _)| id == known));
        for (id, level) in levels {
            let heard = f32::from(SILENCE - (*level).min(SILENCE));
            let known = self.loudness.entry(id.clone()).or_insert(0.0);
            *known += (heard - *known) * FRESH_SHARE;
        }
        let (loudest, loudness) = self.loudness.iter().max_by(|one, other| one.1.total_cmp(other.1))?;
        let present = self.speaker.as_ref().and_then(|speaker| self.loudness.get(speaker)).copied().unwrap_or(0.0);
        if *loudness < SPEECH_MIN || self.speaker.as_ref() == Some(loudest) || *loudness < present + LOUDER {
            self.challenger = None;
            return None;
        }
        let looks = match &self.challenger {
            Some((id, looks)) if id == loudest => looks + 1,
            _ => 1,
        };
        let loudest = loudest.clone();
        if looks < LOOKS {
            self.challenger = Some((loudest, looks));
            return None;
        }
        self.challenger = None;
        self.speaker = Some(loudest.clone());
        Some(loudest)
    }
}

/// Tells who speaks in every show of several people, until cancelled.
pub(crate) async fn tell_speakers(hub: Hub, events: Arc<dyn EventSink>, cancel: CancellationToken) {
    let mut floors: HashMap<BroadcastId, Floor> = HashMap::new();
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = cancel.cancelled() => return,
        }
        let shows = hub.levels();
        floors.retain(|show, _| shows.contains_key(show));
        for (show, levels) in shows {
            let floor = floors.entry(show.clone()).or_default();
            if let Some(speaker) = floor.look(&levels) {
                events.try_emit(MediaEvent::ActiveSpeaker { broadcast: show, speaker, at: SystemTime::now() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> BroadcastId {
        BroadcastId::parse(text).unwrap()
    }

    /// Who is told of, look by look, at these levels of `a` and `b`.
    fn speakers(levels: &[[u8; 2]]) -> Vec<Option<String>> {
        let mut floor = Floor::default();
        let mut look = |[a, b]: [u8; 2]| floor.look(&[(id("a"), a), (id("b"), b)]).map(|who| who.to_string());
        levels.iter().map(|levels| look(*levels)).collect()
    }

    fn last(levels: &[[u8; 2]]) -> Option<String> {
        speakers(levels).into_iter().flatten().next_back()
    }

    #[test]
    fn whoever_goes_on_speaking_has_the_floor() {
        let told = speakers(&[[30, 127], [30, 127], [30, 127], [30, 127]]);
        assert_eq!(told.iter().flatten().collect::<Vec<_>>(), ["a"], "told once");
        let mut conversation = vec![[30, 127]; 6];
        conversation.extend([[127, 25]; 6]);
        assert_eq!(last(&conversation).as_deref(), Some("b"));
        conversation.extend([[127, 127]; 20]);
        assert_eq!(last(&conversation).as_deref(), Some("b"), "silence takes the floor from nobody");
    }

    #[test]
    fn a_cough_and_a_fan_do_not() {
        let mut cough = vec![[30, 127]; 6];
        cough.push([30, 10]);
        cough.extend([[30, 127]; 6]);
        assert_eq!(last(&cough).as_deref(), Some("a"));
        assert_eq!(last(&[[127, 70]; 12]), None);
        let both = vec![[30, 28]; 12];
        assert_eq!(speakers(&both).iter().flatten().count(), 1, "two who are equally loud do not take turns");
    }

    #[test]
    fn whoever_is_gone_is_forgotten() {
        let mut floor = Floor::default();
        (0..4).for_each(|_| drop(floor.look(&[(id("a"), 20), (id("b"), 127)])));
        assert_eq!(floor.speaker, Some(id("a")));
        let told: Vec<_> = (0..8).filter_map(|_| floor.look(&[(id("b"), 50)])).collect();
        assert_eq!(told, [id("b")]);
        assert_eq!(floor.loudness.len(), 1);
        assert_eq!(floor.look(&[]), None);
    }
}
