//! Sessions: the durable record of live shows.
//!
//! A session is made by its host (`createSession`), waits, goes live with the first media, survives the loss of its
//! publisher for a grace that media keeps (`live ⇄ interrupted`), and ends once: by its host, by the grace, or because it
//! was forgotten. Publisher connections come and go; the session is what viewers, chat and gifts hang on.
//!
//! - The stream key is shown to the host once and kept as a digest. It and the tickets of co-hosts admit publishers.
//! - Public sessions play without a ticket; private ones for the tickets of the host, co-hosts and those invited to be.
//! - Counters are written in the transaction of what they count. After the end they never change, so asking for the
//!   stats again gives the same answer.
//! - Viewer figures come from presence, at most once a second.

mod audience;
mod entrance;
mod model;
mod procedures;
mod service;
mod store;
mod stream_key;
mod ticket;

#[cfg(test)]
mod tests;

pub(crate) use self::audience::{AudienceReport, VisitReport};
pub use self::model::{Cause, Details, EndReason, HostCard, Role, Session, SessionKind, SessionState, SessionStats};
pub(crate) use self::procedures::namespace;
pub use self::service::{Created, Sessions};
pub(crate) use self::service::{Moved, NO_SUCH_SESSION, NOT_HOST, PRIVATE, Parts, SESSION_OVER};
pub use self::stream_key::StreamKey;
pub(crate) use self::ticket::{Ticket, TicketPrinter};
