//! What flows: identities, time, track formats and frames. Everything else in this plane knows these words.

mod addr;
mod frame;
mod id;
mod time;
mod timeline;
mod track;

pub use addr::PeerAddr;
pub use frame::{Epoch, Frame};
pub use id::{BroadcastId, InvalidId, Rid, TrackId, ViewerId};
pub use time::{CounterUnwrapper, MediaTime, Timescale};
pub use timeline::{Lane, Mend, Placement, SampleClock, Timeline};
pub use track::{AudioCodec, AudioFormat, FrameRate, MediaFormat, TrackFormat, VideoCodec, VideoFormat};
