//! Viewers by HLS.
//!
//! In: the address of a playlist. Out: figures. A viewer (`player`) reads playlists (`playlist`) and fetches what they name
//! over connections of its own (`visit`); `run` sends many, `figures` says what came of it.

mod figures;
mod player;
mod playlist;
mod run;
mod visit;

pub(super) use run::{Plan, run};
