//! What cargo cannot see by itself about the files this crate embeds.
//!
//! New migration files must rebuild it. The folder of the pages must exist, so that the server compiles on a machine
//! without node: empty is fine, the pages then answer with the command that builds them. A release build carries the
//! pages inside and must be made anew when they change; a debug build reads them from the disk and need not.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=../migrations/sqlite");
    println!("cargo:rerun-if-changed=../migrations/postgres");
    let pages = Path::new("web/dist");
    if let Err(error) = std::fs::create_dir_all(pages) {
        panic!("cannot create control/{}: {error}. Create it by hand, or run `make web`.", pages.display());
    }
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rerun-if-changed={}", pages.display());
    }
}
