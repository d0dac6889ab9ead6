//! Playlists, inits, segments and parts over HTTP.
//!
//! A request is parsed once ([`request`]), let in once ([`gate`]), held until what it asks for is there ([`hold`]),
//! answered with shared bytes ([`answer`]), and counted ([`viewers`]).

mod answer;
mod gate;
mod hold;
mod request;
mod routes;
mod viewers;

pub(crate) use gate::{Gates, PassKey};
pub(crate) use routes::router;
pub(crate) use viewers::Viewers;
