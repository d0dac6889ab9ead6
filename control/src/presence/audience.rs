//! Who is watching one session: counts, peak, and what the database has yet to hear.
//!
//! In: joins, leaves and snapshots by viewer. Out: changes by *person*. Driven by ingress.rs. Pure: no clock, no queue.
//!
//! A viewer is one connection; a person may hold several (a phone and a laptop, WHEP while HLS winds down). The count
//! is of people: the first viewer of a person is a join, the last one a leave. Deltas may be lost on the way here, so
//! every operation is idempotent and [`Audience::replace`] brings the truth back.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::{Transport, ViewerEntry, ViewerIdentity};
use crate::clock::Timestamp;
use crate::id::UserId;

/// Somebody who watches, by the best name we have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Person {
    Known(ViewerIdentity),
    /// Came without a ticket: one connection is one person.
    Anonymous(String),
}

impl Person {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Known(identity) => identity.as_str(),
            Self::Anonymous(viewer_id) => viewer_id,
        }
    }

    pub(crate) fn user_id(&self) -> Option<&UserId> {
        match self {
            Self::Known(identity) => identity.user_id(),
            Self::Anonymous(_) => None,
        }
    }
}

/// A person who came or went, and how many are there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) person: Person,
    pub(crate) direction: Direction,
    pub(crate) viewer_count: u64,
    pub(crate) at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Joined,
    Left,
}

/// What the database has yet to hear about one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) person: Person,
    /// Set for somebody who may be new to the session.
    pub(crate) joined_at: Option<Timestamp>,
    /// Watch time to add, zero while the first viewing goes on.
    pub(crate) watched: Duration,
    pub(crate) last_seen_at: Timestamp,
}

/// The audience of one session.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    /// By viewer id.
    present: HashMap<String, (Person, Transport)>,
    /// How many viewers each person holds.
    people: HashMap<Person, u32>,
    peak: u64,
    /// People the database has heard of already: saves writes when someone comes and goes. Dropping it is harmless,
    /// the database ignores whom it knows; so it is simply emptied at [`Audience::MAX_KNOWN`].
    known: HashSet<Person>,
    /// Waiting for [`Audience::take_visits`]; at most [`Audience::MAX_VISITS`], beyond that new ones are not recorded
    /// (the counts stay right).
    visits: HashMap<Person, Visit>,
    counts_changed: bool,
}

impl Audience {
    /// 100 000 people cost about 10 MB; beyond that the set starts over.
    const MAX_KNOWN: usize = 100_000;
    /// Reached only when the database is away for long while people pour in.
    const MAX_VISITS: usize = 100_000;

    pub(crate) fn join(
        &mut self,
        viewer_id: String,
        identity: Option<ViewerIdentity>,
        transport: Transport,
        at: Timestamp,
    ) -> Option<Change> {
        if self.present.contains_key(&viewer_id) {
            return None;
        }
        let person = identity.map_or_else(|| Person::Anonymous(viewer_id.clone()), Person::Known);
        self.present.insert(viewer_id, (person.clone(), transport));
        self.note_visit(&person, at, Duration::ZERO);
        let held = self.people.entry(person.clone()).or_default();
        *held += 1;
        (*held == 1).then(|| self.change(person, Direction::Joined, at))
    }

    pub(crate) fn leave(&mut self, viewer_id: &str, watched: Duration, at: Timestamp) -> Option<Change> {
        let (person, _) = self.present.remove(viewer_id)?;
        self.note_visit(&person, at, watched);
        let held = self.people.get_mut(&person).expect("a present viewer's person is counted");
        *held -= 1;
        if *held > 0 {
            return None;
        }
        self.people.remove(&person);
        Some(self.change(person, Direction::Left, at))
    }

    /// Makes the audience over one transport what `viewers` says and returns what that changed. Leaves that were never told count no
    /// watch time: nobody knows it.
    pub(crate) fn replace(&mut self, transport: Transport, viewers: Vec<ViewerEntry>, at: Timestamp) -> Vec<Change> {
        let there: HashSet<&str> = viewers.iter().map(|viewer| viewer.viewer_id.as_str()).collect();
        let staying: HashSet<Person> =
            viewers.iter().filter_map(|viewer| viewer.identity.clone().map(Person::Known)).collect();
        // A person who only changed viewers must neither leave and join nor lift the peak: whoever is gone altogether
        // goes first, then the new viewers come, then the spare viewers of those who stay go.
        let over = self.present.iter().filter(|(_, (_, over))| *over == transport);
        let gone = over.filter(|(id, _)| !there.contains(id.as_str()));
        let (spare, gone): (Vec<_>, Vec<_>) = gone.partition(|(_, (person, _))| staying.contains(person));
        let ids = |viewers: Vec<(&String, _)>| viewers.into_iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
        let (spare, gone) = (ids(spare), ids(gone));

        let mut changes = Vec::new();
        changes.extend(gone.iter().filter_map(|id| self.leave(id, Duration::ZERO, at)));
        changes.extend(
            viewers.into_iter().filter_map(|viewer| self.join(viewer.viewer_id, viewer.identity, viewer.transport, at)),
        );
        changes.extend(spare.iter().filter_map(|id| self.leave(id, Duration::ZERO, at)));
        changes
    }

    pub(crate) fn viewer_count(&self) -> u64 {
        self.people.len() as u64
    }

    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }

    /// Whether the count moved since it was last written.
    pub(crate) fn has_count_news(&self) -> bool {
        self.counts_changed
    }

    /// The same, and forgets it.
    pub(crate) fn take_counts_changed(&mut self) -> bool {
        std::mem::take(&mut self.counts_changed)
    }

    /// Up to `max` visits to record. Those that could not be recorded come back through [`Audience::give_back`].
    pub(crate) fn take_visits(&mut self, max: usize) -> Vec<Visit> {
        let people: Vec<_> = self.visits.keys().take(max).cloned().collect();
        people.iter().filter_map(|person| self.visits.remove(person)).collect()
    }

    /// Remembers that the database holds these people now.
    pub(crate) fn recorded(&mut self, visits: Vec<Visit>) {
        if self.known.len() + visits.len() > Self::MAX_KNOWN {
            self.known.clear();
        }
        self.known.extend(visits.into_iter().map(|visit| visit.person));
    }

    /// Puts visits back that could not be recorded.
    pub(crate) fn give_back(&mut self, visits: Vec<Visit>) {
        self.counts_changed = true;
        for mut visit in visits {
            if let Some(later) = self.visits.remove(&visit.person) {
                visit.watched += later.watched;
                visit.last_seen_at = later.last_seen_at;
            }
            self.visits.insert(visit.person.clone(), visit);
        }
    }

    /// Whether anything waits to be written.
    pub(crate) fn is_settled(&self) -> bool {
        self.visits.is_empty() && !self.counts_changed
    }

    /// Whether there is nothing left to remember.
    pub(crate) fn is_over(&self) -> bool {
        self.present.is_empty() && self.is_settled()
    }

    fn change(&mut self, person: Person, direction: Direction, at: Timestamp) -> Change {
        let viewer_count = self.viewer_count();
        self.peak = self.peak.max(viewer_count);
        self.counts_changed = true;
        Change { person, direction, viewer_count, at }
    }

    fn note_visit(&mut self, person: &Person, at: Timestamp, watched: Duration) {
        if let Some(visit) = self.visits.get_mut(person) {
            visit.watched += watched;
            visit.last_seen_at = at;
            return;
        }
        let new = !self.known.contains(person);
        let worth_writing = new || watched > Duration::ZERO;
        if worth_writing && self.visits.len() < Self::MAX_VISITS {
            let visit = Visit { person: person.clone(), joined_at: new.then_some(at), watched, last_seen_at: at };
            self.visits.insert(person.clone(), visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::GuestId;

    const AT: Timestamp = Timestamp::from_micros(0);

    /// The same guest for the same name.
    fn guest(name: &str) -> Option<ViewerIdentity> {
        let id = format!("{}{}", GuestId::PREFIX, hex::encode(format!("{name:_>16}")));
        Some(ViewerIdentity::Guest(GuestId::parse(&id).expect("16 bytes are 32 hex digits")))
    }

    fn person(name: &str) -> Person {
        Person::Known(guest(name).expect("a guest"))
    }

    fn entry(viewer_id: &str, person: &str) -> ViewerEntry {
        ViewerEntry {
            viewer_id: viewer_id.into(),
            identity: guest(person),
            transport: Transport::Hls,
            joined_at: std::time::UNIX_EPOCH,
        }
    }

    #[test]
    fn two_viewers_of_one_person_count_once() {
        let mut audience = Audience::default();
        assert_eq!(audience.join("a1".into(), guest("ann"), Transport::Hls, AT).expect("a join").viewer_count, 1);
        assert_eq!(audience.join("a2".into(), guest("ann"), Transport::Hls, AT), None);
        assert_eq!(audience.join("b".into(), guest("bob"), Transport::Hls, AT).expect("a join").viewer_count, 2);
        assert_eq!(audience.leave("a1", Duration::from_secs(5), AT), None);
        let left = audience.leave("a2", Duration::from_secs(7), AT).expect("a leave");
        assert_eq!((left.direction, left.viewer_count), (Direction::Left, 1));
        assert_eq!(audience.peak(), 2);
    }

    #[test]
    fn a_repeated_join_and_an_unknown_leave_change_nothing() {
        let mut audience = Audience::default();
        assert!(audience.join("v".into(), None, Transport::Hls, AT).is_some());
        assert!(audience.join("v".into(), None, Transport::Hls, AT).is_none());
        assert!(audience.leave("w", Duration::ZERO, AT).is_none());
        assert!(audience.leave("v", Duration::ZERO, AT).is_some());
        assert!(audience.leave("v", Duration::ZERO, AT).is_none());
        assert_eq!(audience.viewer_count(), 0);
    }

    #[test]
    fn anonymous_viewer_stands_for_itself() {
        let mut audience = Audience::default();
        let joined = audience.join("viewer_1".into(), None, Transport::Hls, AT).expect("a join");
        assert_eq!(joined.person.as_str(), "viewer_1");
    }

    #[test]
    fn snapshot_repairs_lost_joins_and_leaves() {
        let mut audience = Audience::default();
        audience.join("a".into(), guest("ann"), Transport::Hls, AT);
        audience.join("b".into(), guest("bob"), Transport::Hls, AT);
        let changes = audience.replace(Transport::Hls, vec![entry("b", "bob"), entry("c", "cid")], AT);
        let told: Vec<_> = changes.into_iter().map(|c| (c.person, c.direction, c.viewer_count)).collect();
        assert_eq!(told, [(person("ann"), Direction::Left, 1), (person("cid"), Direction::Joined, 2)]);
        assert!(audience.replace(Transport::Hls, vec![entry("c", "cid"), entry("b", "bob")], AT).is_empty());
    }

    #[test]
    fn snapshot_of_one_transport_leaves_the_others_alone() {
        let mut audience = Audience::default();
        audience.join("w".into(), guest("ann"), Transport::Whep, AT);
        audience.join("h".into(), guest("bob"), Transport::Hls, AT);
        assert!(audience.replace(Transport::Hls, vec![entry("h", "bob")], AT).is_empty());
        assert_eq!(audience.replace(Transport::Whep, vec![], AT).len(), 1);
        assert_eq!(audience.viewer_count(), 1);
    }

    #[test]
    fn person_who_changed_viewers_neither_leaves_nor_joins() {
        let mut audience = Audience::default();
        audience.join("a1".into(), guest("ann"), Transport::Hls, AT);
        assert!(audience.replace(Transport::Hls, vec![entry("a2", "ann")], AT).is_empty());
        assert_eq!((audience.viewer_count(), audience.peak()), (1, 1));
        assert!(audience.leave("a2", Duration::ZERO, AT).is_some());
    }

    #[test]
    fn person_is_recorded_once_and_watch_time_adds_up() {
        let mut audience = Audience::default();
        audience.join("a1".into(), guest("ann"), Transport::Hls, AT);
        audience.leave("a1", Duration::from_secs(5), AT);
        let visits = audience.take_visits(10);
        assert_eq!(visits.len(), 1);
        assert_eq!((visits[0].joined_at, visits[0].watched), (Some(AT), Duration::from_secs(5)));
        audience.recorded(visits);
        audience.join("a2".into(), guest("ann"), Transport::Hls, AT);
        assert!(audience.take_visits(10).is_empty(), "a known person who comes back is no news");
        audience.leave("a2", Duration::from_secs(7), AT);
        let again = audience.take_visits(10);
        assert_eq!((again[0].joined_at, again[0].watched), (None, Duration::from_secs(7)));
    }

    #[test]
    fn visits_given_back_are_merged_with_what_came_meanwhile() {
        let mut audience = Audience::default();
        audience.join("a1".into(), guest("ann"), Transport::Hls, AT);
        audience.leave("a1", Duration::from_secs(5), AT);
        let failed = audience.take_visits(10);
        audience.join("a2".into(), guest("ann"), Transport::Hls, AT);
        audience.leave("a2", Duration::from_secs(7), AT);
        audience.give_back(failed);
        let visits = audience.take_visits(10);
        assert_eq!(visits.len(), 1);
        assert_eq!((visits[0].joined_at, visits[0].watched), (Some(AT), Duration::from_secs(12)));
    }

    #[test]
    fn empty_and_written_audience_is_over() {
        let mut audience = Audience::default();
        audience.join("a".into(), guest("ann"), Transport::Hls, AT);
        audience.leave("a", Duration::ZERO, AT);
        assert!(!audience.is_over());
        assert!(audience.take_counts_changed());
        let visits = audience.take_visits(10);
        audience.recorded(visits);
        assert!(audience.is_over());
    }

    proptest! {
        /// Against a model: the count is the number of people present, changes alternate per person, the peak is the
        /// highest count ever.
        #[test]
        fn counts_match_a_model(steps in prop::collection::vec((0_u8..6, 0_u8..3, any::<bool>()), 0..200)) {
            let mut audience = Audience::default();
            let mut model: HashMap<u8, u8> = HashMap::new();
            let mut peak = 0;
            for (viewer, person, joins) in steps {
                let people_before: HashSet<u8> = model.values().copied().collect();
                let change = if joins {
                    model.entry(viewer).or_insert(person);
                    audience.join(viewer.to_string(), guest(&person.to_string()), Transport::Hls, AT)
                } else {
                    model.remove(&viewer);
                    audience.leave(&viewer.to_string(), Duration::ZERO, AT)
                };
                let people: HashSet<u8> = model.values().copied().collect();
                peak = peak.max(people.len() as u64);
                prop_assert_eq!(audience.viewer_count(), people.len() as u64);
                prop_assert_eq!(audience.peak(), peak);
                prop_assert_eq!(change.is_some(), people != people_before);
            }
        }
    }
}
