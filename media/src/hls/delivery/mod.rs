//! Playlists, inits, segments and parts over HTTP.
//!
//! A request is parsed once (`request`), let in once (`visitor`, by `gate` or `pass`), held until what it asks for is there
//! (`hold`), answered with shared bytes (`answer`), which may be in the store (`found`), and counted (`viewers`). A show
//! that is over is answered from its journal (`replay`); as one file it goes its own way (`download`).

mod answer;
#[cfg(test)]
mod door;
mod download;
mod found;
mod gate;
mod hold;
mod pass;
mod replay;
mod request;
mod routes;
mod viewers;
mod visitor;

#[cfg(test)]
pub(crate) use door::Door;
pub(crate) use gate::Gates;
pub(crate) use pass::PassKey;
pub(crate) use routes::router;
pub(crate) use viewers::Viewers;
