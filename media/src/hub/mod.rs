//! 2. FRAMES FAN OUT.
//!
//! Every ingest writes to the hub and every output reads from it. The invariants:
//!
//! - A broadcast has at most one publisher. The same identity takes over from itself; another is refused.
//! - Writing a frame never waits, never locks and never allocates per subscriber: each has a bounded ring of its own.
//! - A subscriber that is too slow loses its own frames, up to the next keyframe, and is told how many. Nobody else
//!   notices.
//! - The publisher going away is not the end: the broadcast lingers for its grace, subscribers stay attached.
//! - Facts about a broadcast (began, interrupted, resumed, ended) come from its one lifecycle task, in order.

mod broadcast;
mod gop;
mod lifecycle;
mod publisher;
mod registry;
mod speaker;
mod subscriber;
#[cfg(test)]
mod tests;

pub use broadcast::{Broadcast, ClaimError};
pub use lifecycle::Phase;
pub use publisher::{Publisher, Revoked};
pub use registry::Hub;
pub(crate) use speaker::tell_speakers;
pub use subscriber::{Feed, Subscriber};
