//! What others are asked and told. These traits belong to media because media calls them; the binary implements them.

mod admission;
mod event;
mod handle;
mod secret;

pub use admission::{
    Admission, DownloadGrant, Part, Protocol, PublishGrant, PublishRequest, Refusal, ViewerIdentity, WatchGrant,
    WatchRequest,
};
#[cfg(test)]
pub(crate) use event::Deaf;
pub use event::{BroadcastEnd, EventSink, MediaEvent, PresentViewer, Recorded, Transport, ViewerGuard, WarningCode};
pub(crate) use handle::Order;
pub use handle::{Handle, Orders};
pub use secret::Secret;
