//! Presence: who is watching, told by media and by nobody else.
//!
//! A `/ws` room says nothing about viewers: a socket may be open without a picture, and a picture without a socket.
//! Counts come from the facts of the media path. Deltas ([`LiveFact::ViewerJoined`], [`LiveFact::ViewerLeft`]) are for
//! speed and may be lost when the queue is full; snapshots ([`LiveFact::Audience`]) are for truth.

mod audience;
mod fact;
mod ingress;
mod places;

#[cfg(test)]
mod tests;

pub use self::fact::{LiveFact, Transport, ViewerEntry, ViewerIdentity};
pub use self::ingress::LiveIngress;
pub(crate) use self::ingress::{Ingress, Slices, channel};
