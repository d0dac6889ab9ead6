//! 3b. FRAMES BECOME CMAF FOR HLS.
//!
//! frame → part → segment → playlist → viewer, and each closed segment → store:
//!
//! 1. `from_hub` reads a broadcast and feeds its packager.
//! 2. `remux` writes an init per format and a fragment per part (ISO/IEC 14496-12, 23000-19).
//! 3. `packager` decides where parts and segments end, keeps the live window and renders playlists (rfc8216bis).
//! 4. `show` holds the newest snapshots, `delivery` serves them, holds requests for what is not there yet, and counts
//!    viewers.
//! 5. `thumbnails` has a keyframe made a picture now and then: the newest for whoever looks at the show from outside, all
//!    of them for the seek bar of the replay.
//! 6. `recording` reads back what the store kept, which `entries` wrote: after a restart, and once a show is over;
//!    `replay` makes its playlists, `recordings` remembers those that are watched. `bucket` writes the same as playlists that
//!    lie beside the segments in a bucket.
//!    `film` makes one MP4 file of it for those who take it home.

mod archive;
mod bucket;
mod config;
mod delivery;
mod entries;
mod film;
mod from_hub;
mod in_memory;
mod packager;
mod recording;
mod recordings;
mod remux;
mod replay;
mod service;
mod show;
mod text;
mod thumbnails;

pub use archive::Archive;
pub use config::HlsConfig;
pub use in_memory::{Packaged, package_in_memory};
pub use service::{Service, ServiceError, Shelf};
