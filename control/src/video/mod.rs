//! Videos: what can be watched after a show.
//!
//! A video is the recording of one session and comes into being in the transaction that ends it, so no crash lies between
//! the two. What media then tells of the recording makes it watchable, or lets it go. Whoever could watch the show can
//! watch its replay, at the same address.
//!
//! ```text
//! (end of a show) ─> processing ──> ready ──────────> deleting ──> gone
//!                         │   └───> failed ──────────────┘           │
//!                         └─ nothing was recorded ───────────────────┤
//! (end of a show that is not to be kept) ─> discarding ──────────────┘
//! ```
//!
//! - Media is asked again about everything between two states (`archivist`): after a restart, and every minute. Each answer
//!   may come twice.
//! - Lists show `ready` videos; owners also see what is processing, failed or private among their own.
//! - A replay can be taken home as a file by its owner, and by whoever may watch it when the owner lets them (`allowDownload`).
//! - Deleting is marked first and carried out after, so a recording that was deleted never comes back.

mod archivist;
mod model;
mod procedures;
mod service;
mod store;

#[cfg(test)]
mod tests;

pub use self::model::Recorded;
pub(crate) use self::model::ReplayFile;
pub(crate) use self::procedures::namespace;
pub(crate) use self::service::{Videos, begin, can_be_watched, replay_file, set_thumbnail};
