//! Makes sure that the folder the pages are embedded from exists, so that the server compiles on a machine without node.
//!
//! An empty folder is fine: the pages then answer with the command that builds them. A release build carries the files
//! inside and must be made anew when they change; a debug build reads them from the disk and need not.

use std::path::Path;

fn main() {
    let dist = Path::new("web/dist");
    if let Err(error) = std::fs::create_dir_all(dist) {
        panic!("cannot create control/{}: {error}. Create it by hand, or run `make web`.", dist.display());
    }
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rerun-if-changed={}", dist.display());
    }
}
