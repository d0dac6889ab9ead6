//! THE OTHER SIDE OF THE WIRE: many light peers that watch or publish, to measure a server with.
//!
//! In: a server's answers to [`Offering`]s (the HTTP is the caller's). Out: one [`PeerReport`] per peer. A [`Crew`] has a
//! few threads; each owns its peers with one UDP socket per peer, for a server tells viewers apart by address. A peer is
//! what a browser is to a server: connectivity checks (`check`, RFC 8445), DTLS (`handshake`, RFC 6347), both driven by
//! `transport`; above it a `watcher` that counts, reports and asks for what it lost, or a `sender` that plays a `clip` and
//! answers the server's feedback. Made of the layers the server stands on, so that a thousand viewers cost the machine
//! little beside the server that is measured.

mod answer;
pub(crate) mod check;
mod clip;
mod crew;
mod handshake;
mod offer;
mod report;
mod sender;
mod transport;
mod watcher;
mod window;

pub use answer::{Agreed, AnswerError};
pub use clip::{Clip, ClipProblem};
pub use crew::{Crew, Part, Tally};
pub use handshake::{Identity, IdentityError};
pub use offer::Offering;
pub use report::{Fate, LaneReport, PeerReport};
