//! Who may not watch any more, although admission let them in.
//!
//! In: orders to put somebody out of a show, and to take that back. Out: the answer, asked with every offer (WHEP) and
//! every request (HLS). It says nothing of those who are connected: each output cuts its own off.
//!
//! A viewer is put out under an id that outlives a connection, the same for both outputs: whose ticket it is, and without
//! a ticket the name that the player gave itself (`X-Playback-Session-Id`, over HLS also our cookie). Whoever comes without
//! either, or under another name, is a stranger: a show that is open to all is open to them.

use crate::model::{BroadcastId, ViewerId};
use parking_lot::RwLock;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// By show: the co-hosts' broadcasts belong to that of their host. It is not forgotten with the broadcast, because what was
/// signed for a viewer while it was live opens its recording too. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Ejected {
    table: Arc<RwLock<Table>>,
}

/// Who a viewer is over other connections too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KnownAs {
    /// Whose ticket it is. Whoever has one is its bearer, whatever the player calls itself.
    pub(crate) bearer: Option<ViewerId>,
    /// The player's own word.
    pub(crate) player: Option<ViewerId>,
}

/// What is remembered of one viewer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Id {
    /// As the order named it: a bearer or a player.
    Ordered(ViewerId),
    /// A player's name only: nobody has a bearer refused by taking their name.
    Player(ViewerId),
}

#[derive(Debug, Default)]
struct Table {
    shows: HashMap<BroadcastId, HashSet<Id>>,
    /// The same, oldest first.
    order: VecDeque<(BroadcastId, Id)>,
}

/// Remembered per show. More than that are not thrown out of one show by hand; beyond it the new one is cut but could come
/// back, so that no host makes the server forget what others have ordered.
const SHOW_MAX: usize = 10_000;
/// Remembered in all, about 20 MB; beyond it the oldest is forgotten.
const ALL_MAX: usize = 100_000;

impl Ejected {
    /// From here on this viewer is refused.
    pub fn put(&self, show: &BroadcastId, viewer: &ViewerId) {
        self.table.write().put(show, Id::Ordered(viewer.clone()), (SHOW_MAX, ALL_MAX));
    }

    /// From here on it is admission's word again. For those who have a ticket.
    pub fn take_back(&self, show: &BroadcastId, viewer: &ViewerId) {
        let (mut table, id) = (self.table.write(), Id::Ordered(viewer.clone()));
        if table.forget(show, &id) {
            table.order.retain(|(of, who)| (of, who) != (show, &id));
        }
    }

    /// `ordered` was put out, and this is who that is. Nothing happens when it was taken back meanwhile.
    pub(crate) fn put_all(&self, show: &BroadcastId, ordered: &ViewerId, who: &KnownAs) {
        let mut table = self.table.write();
        if !table.shows.get(show).is_some_and(|ids| ids.contains(&Id::Ordered(ordered.clone()))) {
            return;
        }
        let (bearer, player) = (who.bearer.clone().map(Id::Ordered), who.player.clone().map(Id::Player));
        for id in bearer.into_iter().chain(player) {
            table.put(show, id, (SHOW_MAX, ALL_MAX));
        }
    }

    pub(crate) fn has(&self, show: &BroadcastId, who: &KnownAs) -> bool {
        self.has_either(show, who.bearer.as_ref(), who.player.as_ref())
    }

    /// The same for who is asked about with every request: nothing is copied where nobody was put out.
    pub(crate) fn has_either(&self, show: &BroadcastId, bearer: Option<&ViewerId>, player: Option<&ViewerId>) -> bool {
        let table = self.table.read();
        let Some(ids) = table.shows.get(show) else { return false };
        match (bearer, player) {
            (Some(bearer), _) => ids.contains(&Id::Ordered(bearer.clone())),
            (None, Some(player)) => {
                ids.contains(&Id::Ordered(player.clone())) || ids.contains(&Id::Player(player.clone()))
            }
            (None, None) => false,
        }
    }
}

impl KnownAs {
    pub(crate) fn is(&self, viewer: &ViewerId) -> bool {
        [&self.bearer, &self.player].into_iter().flatten().any(|id| id == viewer)
    }
}

impl Table {
    fn put(&mut self, show: &BroadcastId, id: Id, (show_max, all_max): (usize, usize)) {
        let ids = self.shows.entry(show.clone()).or_default();
        if ids.len() >= show_max || !ids.insert(id.clone()) {
            return;
        }
        self.order.push_back((show.clone(), id));
        if self.order.len() > all_max
            && let Some((show, id)) = self.order.pop_front()
        {
            self.forget(&show, &id);
        }
    }

    /// `false`: it was not there.
    fn forget(&mut self, show: &BroadcastId, id: &Id) -> bool {
        let Some(ids) = self.shows.get_mut(show) else { return false };
        let was_there = ids.remove(id);
        if ids.is_empty() {
            self.shows.remove(show);
        }
        was_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> BroadcastId {
        BroadcastId::parse(text).unwrap()
    }

    fn viewer(text: &str) -> ViewerId {
        ViewerId::parse(text).unwrap()
    }

    fn bearer(text: &str) -> KnownAs {
        KnownAs { bearer: Some(viewer(text)), player: None }
    }

    fn player(text: &str) -> KnownAs {
        KnownAs { bearer: None, player: Some(viewer(text)) }
    }

    #[test]
    fn who_is_out_is_out_of_that_show_until_it_is_taken_back() {
        let ejected = Ejected::default();
        let (one, other) = (show("session_1"), show("session_2"));
        ejected.put(&one, &viewer("ann"));
        ejected.put(&one, &viewer("ann"));
        assert!(ejected.has(&one, &bearer("ann")) && ejected.has(&one, &player("ann")));
        assert!(!ejected.has(&other, &bearer("ann")) && !ejected.has(&one, &bearer("bob")));
        assert!(!ejected.has(&one, &KnownAs::default()), "a stranger");
        ejected.take_back(&one, &viewer("ann"));
        ejected.take_back(&one, &viewer("ann"));
        assert!(!ejected.has(&one, &bearer("ann")));
        let table = ejected.table.read();
        assert!(table.shows.is_empty() && table.order.is_empty(), "nothing is left of it");
    }

    #[test]
    fn a_player_that_takes_anothers_name_has_no_bearer_refused() {
        let (ejected, show) = (Ejected::default(), show("session_1"));
        let both = KnownAs { bearer: Some(viewer("ann")), player: Some(viewer("bob")) };
        ejected.put_all(&show, &viewer("whep_1"), &both);
        assert!(!ejected.has(&show, &bearer("ann")), "no order stands");
        ejected.put(&show, &viewer("whep_1"));
        ejected.put_all(&show, &viewer("whep_1"), &both);
        assert!(ejected.has(&show, &bearer("ann")) && ejected.has(&show, &player("bob")));
        assert!(!ejected.has(&show, &bearer("bob")));
        let named = KnownAs { bearer: Some(viewer("cleo")), player: Some(viewer("bob")) };
        assert!(!ejected.has(&show, &named), "a ticket says more than a name");
    }

    #[test]
    fn a_full_show_takes_no_more_and_a_full_table_forgets_the_oldest() {
        let (mut table, limits) = (Table::default(), (2, 3));
        let id = |who: &str| Id::Ordered(viewer(who));
        for who in ["ann", "bob", "cleo"] {
            table.put(&show("session_1"), id(who), limits);
        }
        assert_eq!(table.shows[&show("session_1")].len(), 2, "its own two");
        for who in ["dan", "eve"] {
            table.put(&show("session_2"), id(who), limits);
        }
        assert_eq!(table.shows[&show("session_1")], HashSet::from([id("bob")]));
        assert_eq!((table.order.len(), table.shows[&show("session_2")].len()), (3, 2));
    }
}
