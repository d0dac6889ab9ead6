//! What integration tests share: a running RTMP listener, a small publisher, counters.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses its part, and a test may panic"
)]

pub mod counters;
pub mod log;
pub mod rtmp_client;
pub mod rtmp_server;

use std::time::Duration;

/// Nothing a test waits for takes longer on a machine that is not broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds; fails the test, naming `what`, when it does not in time.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "waited in vain for: {what}");
}

/// Waits for a value; fails the test, naming `what`, when it does not come in time.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for: {what}"),
    }
}

/// Bytes of memory this process holds.
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells a process its size");
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("the second field counts resident pages") * 4_096
}
