//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep) over HTTP; what is behind a resource is the [`Desk`]'s matter.
//!
//! In: requests. Out: answers with the headers the RFC names, in one place (`answer`). A resource is known here by its
//! address, by the secret that opened it and by its ETag ([`Doorkeeper`]); ICE is known to nobody in this folder. Below a
//! viewer's resource, `layer` says what its pictures are made of and takes a choice (`layers`).

mod answer;
mod desk;
mod doorkeeper;
mod fragment;
mod layers;
#[cfg(test)]
mod layers_tests;
mod routes;
#[cfg(test)]
mod tests;

pub(crate) use desk::{Desk, DeskError, Direction, OpenRequest, Opened, Restarted};
pub(crate) use doorkeeper::{Doorkeeper, ResourceId};
pub(crate) use fragment::{SdpFragment, answer_fragment};
pub(crate) use routes::{SignallingConfig, router};
