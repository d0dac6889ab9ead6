//! The app's own client library, with its transformer, against this server: what the transcripts cannot show is whether
//! the client makes of our answers what it should.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use chobi_control::testing::TestDatabase;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

use self::support::Server;

#[tokio::test]
async fn the_apps_client_understands_us() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    assert!(
        web.join("node_modules/@trpc/client").exists(),
        "the client library is needed: npm ci --prefix {}",
        web.display()
    );
    let server = Server::start(TestDatabase::sqlite().await).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = server.control.router().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_client.mjs");
    let node = Command::new("node").arg(script).arg(&web).arg(format!("http://{address}")).kill_on_drop(true).output();
    let output = timeout(Duration::from_secs(60), node).await.expect("the client is done in time").expect("node runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.ends_with("all calls as expected\n"), "{said}");
}
