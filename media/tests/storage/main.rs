//! Shows that go on to a bucket: a real S3 server in this process (s3s-fs, which checks signatures and checksums), a line
//! to it that can be slow, cut, silent or down, and after each the question whether anything is missing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "../hls_show/clip.rs"]
#[allow(dead_code, reason = "the clips are shared with the tests of shows")]
mod clip;
#[path = "../hls_show/stage.rs"]
#[allow(dead_code, reason = "the stage is shared with the tests of shows")]
mod stage;

#[path = "../hls_show/film_probe.rs"]
#[allow(dead_code, reason = "the judges are shared with the tests of shows")]
mod film_probe;

mod answers;
mod faults;
mod film;
mod line;
mod parts;
mod refusals;
mod restart;
mod service;
mod shows;
mod spool;
mod strangers;
mod theatre;
mod tls;
