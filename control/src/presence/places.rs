//! How many watch each session, and who has a place in one that takes only so many.
//!
//! In: counts, people who come and go, those who ask to watch. Out: counts, and whether there is room. Pure: no clock.

use std::collections::HashMap;
use std::time::Duration;

use super::ViewerIdentity;
use super::audience::Direction;
use crate::clock::Timestamp;
use crate::id::SessionId;

#[derive(Debug, Default)]
pub(super) struct Places {
    /// Viewers as of the last fact; only sessions somebody watches.
    watching: HashMap<SessionId, u64>,
    /// Who watches, by those names that tickets give, and of sessions with a limit who was told that there is room.
    given: HashMap<SessionId, HashMap<ViewerIdentity, Place>>,
    swept: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Not there yet; free again after this moment.
    Kept(Timestamp),
    /// Counted among those who watch.
    Taken,
}

/// From the answer to the first picture, a slow phone and its second try included.
const KEPT_FOR: Duration = Duration::from_secs(15);

impl Places {
    pub(super) fn watching(&self, session_id: &SessionId) -> u64 {
        self.watching.get(session_id).copied().unwrap_or(0)
    }

    pub(super) fn watching_all(&self) -> u64 {
        self.watching.values().sum()
    }

    pub(super) fn set_watching(&mut self, session_id: SessionId, viewers: u64) {
        match viewers {
            0 => self.watching.remove(&session_id),
            _ => self.watching.insert(session_id, viewers),
        };
    }

    /// Who has a place keeps it; others get one if one is left.
    pub(super) fn keep(
        &mut self,
        session_id: &SessionId,
        viewer: &ViewerIdentity,
        places: u32,
        now: Timestamp,
    ) -> bool {
        self.sweep(now);
        let watching = self.watching(session_id);
        let given = self.given.entry(session_id.clone()).or_default();
        given.retain(|_, place| !place.is_over(now));
        let until = Place::Kept(now.plus(KEPT_FOR));
        match given.get_mut(viewer) {
            Some(Place::Taken) => return true,
            Some(kept) => {
                *kept = until;
                return true;
            }
            None => {}
        }
        let kept = given.values().filter(|place| **place != Place::Taken).count() as u64;
        let is_free = watching + kept < u64::from(places);
        if is_free {
            given.insert(viewer.clone(), until);
        }
        is_free
    }

    /// Somebody came or went.
    pub(super) fn note(&mut self, session_id: &SessionId, viewer: &ViewerIdentity, direction: Direction) {
        match direction {
            Direction::Joined => {
                self.given.entry(session_id.clone()).or_default().insert(viewer.clone(), Place::Taken);
            }
            Direction::Left => {
                let Some(given) = self.given.get_mut(session_id) else { return };
                given.remove(viewer);
                if given.is_empty() {
                    self.given.remove(session_id);
                }
            }
        }
    }

    /// Those that nobody came for are forgotten.
    fn sweep(&mut self, now: Timestamp) {
        if self.swept.is_some_and(|swept| now < swept.plus(KEPT_FOR)) {
            return;
        }
        self.swept = Some(now);
        self.given.retain(|_, given| {
            given.retain(|_, place| !place.is_over(now));
            !given.is_empty()
        });
    }
}

impl Place {
    fn is_over(self, now: Timestamp) -> bool {
        matches!(self, Self::Kept(until) if until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::id::GuestId;

    fn guest() -> ViewerIdentity {
        ViewerIdentity::Guest(GuestId::generate())
    }

    #[test]
    fn many_who_come_at_once_get_no_more_places_than_there_are() {
        let (mut places, id, now) = (Places::default(), SessionId::generate(), Clock::system().now());
        let people: Vec<_> = (0..30).map(|_| guest()).collect();
        let let_in = people.iter().filter(|person| places.keep(&id, person, 2, now)).count();
        assert_eq!(let_in, 2, "though nobody is counted yet");
        assert!(places.keep(&id, &people[0], 2, now), "who has a place has it when asking again");
        assert!(places.keep(&id, &guest(), 2, now.plus(KEPT_FOR)), "places are not kept for who does not come");
    }

    #[test]
    fn who_watches_may_come_again_and_who_leaves_makes_room() {
        let (mut places, id, now) = (Places::default(), SessionId::generate(), Clock::system().now());
        let (first, second) = (guest(), guest());
        // Whose place was kept too long ago, or by a server that has started anew since.
        places.note(&id, &first, Direction::Joined);
        places.set_watching(id.clone(), 1);
        let later = now.plus(KEPT_FOR * 4);
        assert!(!places.keep(&id, &second, 1, later), "full");
        assert!(places.keep(&id, &first, 1, later), "a second device or a lost connection of the same person");
        places.note(&id, &first, Direction::Left);
        places.set_watching(id.clone(), 0);
        assert!(places.keep(&id, &second, 1, later));
        assert!(!places.keep(&id, &first, 1, later));
    }

    #[test]
    fn sessions_that_nobody_asks_about_are_forgotten() {
        let (mut places, now) = (Places::default(), Clock::system().now());
        for _ in 0..100 {
            assert!(places.keep(&SessionId::generate(), &guest(), 1, now));
        }
        assert!(places.keep(&SessionId::generate(), &guest(), 1, now.plus(KEPT_FOR * 2)));
        assert_eq!(places.given.len(), 1);
    }
}
