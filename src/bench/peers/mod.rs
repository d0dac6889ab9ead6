//! Peers by WHEP and WHIP.
//!
//! In: offers. Out: figures. The peers are `chobi_media::load`; here are the HTTP before and after them (`signalling`), the
//! run (`run`) and what it found (`figures`).

mod figures;
mod run;
mod signalling;

pub(super) use run::{Plan, Start, run};
pub(super) use signalling::Endpoint;
