//! Events between slices: published after commit, heard by whoever subscribed.
//!
//! In: facts from services and presence. Out: the same facts, in order, to every subscriber (rooms, and in time
//! notifications and analytics). Driven by nobody: publishing never waits.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::chat::ChatMessage;
use crate::clock::Timestamp;
use crate::cohost::{Candidate, CoHostCard};
use crate::id::{SessionId, UserId};
use crate::session::SessionStats;

/// Something that happened. It is durable before it is published, or, as with viewers, was never meant to last.
#[derive(Debug, Clone)]
pub(crate) enum DomainEvent {
    MessagePosted(Arc<ChatMessage>),
    /// Media arrived for the first time.
    SessionWentLive {
        session_id: SessionId,
        at: Timestamp,
    },
    /// The publisher is gone; the session waits for it.
    SessionInterrupted {
        session_id: SessionId,
        at: Timestamp,
    },
    SessionResumed {
        session_id: SessionId,
        at: Timestamp,
    },
    SessionEnded {
        session_id: SessionId,
        ended_at: Timestamp,
        stats: SessionStats,
    },
    /// A person started to watch. `viewer` is a user, guest or connection id.
    ViewerJoined {
        session_id: SessionId,
        viewer: String,
        viewer_count: u64,
        at: Timestamp,
    },
    ViewerLeft {
        session_id: SessionId,
        viewer: String,
        viewer_count: u64,
        at: Timestamp,
    },
    /// The count moved; at most once a second per session.
    AudienceChanged {
        session_id: SessionId,
        viewer_count: u64,
        at: Timestamp,
    },
    /// The host's encoder sends something viewers suffer from.
    IngestWarned {
        session_id: SessionId,
        host_id: UserId,
        code: String,
        at: Timestamp,
    },
    /// Another one of those on air is the loudest: the host (`None`) or a co-host.
    SpeakerChanged {
        session_id: SessionId,
        co_host: Option<UserId>,
        at: Timestamp,
    },
    /// Somebody asks to be a co-host.
    CoHostRequested {
        session_id: SessionId,
        host_id: UserId,
        user: Arc<Candidate>,
        at: Timestamp,
    },
    /// The host wants somebody as a co-host.
    CoHostInvited {
        session_id: SessionId,
        user_id: UserId,
        host: Arc<Candidate>,
        at: Timestamp,
    },
    /// A request or an invitation of `user_id` came to nothing; `other_side` did not do it and is told.
    CoHostDeclined {
        session_id: SessionId,
        user_id: UserId,
        other_side: UserId,
        at: Timestamp,
    },
    /// A session that is private is closed to this user from now on.
    ViewerEjected {
        session_id: SessionId,
        user_id: UserId,
    },
    /// The co-hosts of a session, or how they stand, changed; these are all of them now.
    CoHostsChanged {
        session_id: SessionId,
        co_hosts: Arc<Vec<CoHostCard>>,
        at: Timestamp,
    },
}

/// The in-process bus. Cloning gives another handle to the same bus.
#[derive(Debug, Clone)]
pub(crate) struct Bus {
    sender: broadcast::Sender<DomainEvent>,
}

impl Bus {
    /// About a second of the busiest show we plan for. A subscriber that falls further behind loses the oldest events
    /// and is told so ([`Heard::Missed`]); publishers and other subscribers notice nothing. Costs some 100 bytes each.
    const CAPACITY: usize = 8192;

    pub(crate) fn new() -> Self {
        Self { sender: broadcast::Sender::new(Self::CAPACITY) }
    }

    /// Tells every subscriber; with none there is nobody to tell.
    pub(crate) fn publish(&self, event: DomainEvent) {
        let _ = self.sender.send(event);
    }

    pub(crate) fn subscribe(&self) -> Subscription {
        Subscription { receiver: self.sender.subscribe() }
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self::new()
    }
}

/// What a subscriber hears next.
#[derive(Debug)]
pub(crate) enum Heard {
    Event(DomainEvent),
    /// This many events were lost to this subscriber because it was too slow.
    Missed(u64),
    /// The bus is gone; nothing will follow.
    Closed,
}

/// One subscriber's place on the bus.
#[derive(Debug)]
pub(crate) struct Subscription {
    receiver: broadcast::Receiver<DomainEvent>,
}

impl Subscription {
    /// Waits for the next event. Safe to drop: nothing is lost.
    pub(crate) async fn next(&mut self) -> Heard {
        match self.receiver.recv().await {
            Ok(event) => Heard::Event(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Heard::Missed(missed),
            Err(broadcast::error::RecvError::Closed) => Heard::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(viewer_count: u64) -> DomainEvent {
        DomainEvent::AudienceChanged { session_id: SessionId::generate(), viewer_count, at: Timestamp::from_micros(0) }
    }

    #[tokio::test]
    async fn every_subscriber_hears_every_event_in_order() {
        let bus = Bus::new();
        let mut subscribers = [bus.subscribe(), bus.subscribe()];
        (0..3).for_each(|n| bus.publish(count(n)));
        for subscriber in &mut subscribers {
            for expected in 0..3 {
                let Heard::Event(DomainEvent::AudienceChanged { viewer_count, .. }) = subscriber.next().await else {
                    panic!("expected an event");
                };
                assert_eq!(viewer_count, expected);
            }
        }
    }

    #[tokio::test]
    async fn slow_subscriber_learns_how_much_it_missed() {
        let bus = Bus::new();
        let mut slow = bus.subscribe();
        let extra = 10;
        (0..Bus::CAPACITY as u64 + extra).for_each(|n| bus.publish(count(n)));
        assert!(matches!(slow.next().await, Heard::Missed(missed) if missed == extra));
        assert!(
            matches!(slow.next().await, Heard::Event(DomainEvent::AudienceChanged { viewer_count, .. }) if viewer_count == extra)
        );
    }

    #[tokio::test]
    async fn subscriber_learns_that_the_bus_is_gone() {
        let bus = Bus::new();
        let mut subscriber = bus.subscribe();
        drop(bus);
        assert!(matches!(subscriber.next().await, Heard::Closed));
    }
}
