//! Co-hosts: people whom the host lets publish in their own show.
//!
//! A session has one host and at most seven co-hosts. Both sides have to want it: a viewer asks and the host approves, or
//! the host invites and the user accepts. From then on `joinSession` gives them a ticket of the role `co-host`, which is
//! what admits their publisher; it is looked up again each time, so a ticket is worth nothing once they left or were
//! removed. Each publishes a broadcast of their own within the session, under the name of [`BroadcastName`].
//!
//! - Whoever was removed by the host may not ask again; an invitation makes up for it.
//! - The host silences anybody and lets them speak again; co-hosts silence themselves, and undo only that.
//! - Invited and approved users may see a private session. When they are that no longer, what they watch of it is cut and
//!   their seats in its room are taken away; an invitation opens it again.
//! - What changed is first committed, then carried out by one task (`steward`): orders to media, the list to the room.
//! - When the session is over so are its co-hosts, whatever their rows say.
//!
//! The room hears, beside `sessionId` and `timestamp`:
//!
//! | `type` | `data` | who |
//! |---|---|---|
//! | `co_hosts` | `{coHosts: CoHostCard[]}`: all of them, after every change | everybody |
//! | `co_host_requested` | `{userId, name, avatar, since}` of who asks | the host |
//! | `co_host_invited` | `{userId, name, avatar, since}` of the host who invites | the invited |
//! | `co_host_declined` | `{userId}` of whose request or invitation came to nothing | the other side |
//!
//! [`BroadcastName`]: crate::id::BroadcastName

mod model;
mod procedures;
mod service;
mod steward;
mod store;

#[cfg(test)]
mod tests;

pub(crate) use self::model::{Candidate, CoHostCard, Seat};
pub(crate) use self::procedures::namespace;
pub(crate) use self::service::CoHosts;
pub(crate) use self::store::{ever_seated, seat};
