//! The generated `AppRouter` type in `control/web` is the one this server speaks.
//!
//! When a procedure changed on purpose, bring the file up to date with
//! `CHOBI_UPDATE_APP_ROUTER=1 cargo test -p chobi-control --test app_router`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;

use chobi_control::testing::TestDatabase;

use self::support::Server;

#[tokio::test]
async fn committed_type_is_the_generated_one() {
    let server = Server::start(TestDatabase::sqlite().await).await;
    let generated = server.control.app_router();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("web/src/api/app-router.ts");
    if std::env::var_os("CHOBI_UPDATE_APP_ROUTER").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &generated).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "{} differs from the table of procedures; run\n  \
         CHOBI_UPDATE_APP_ROUTER=1 cargo test -p chobi-control --test app_router\n\n{generated}",
        path.display()
    );
}
