//! When to stop: the first SIGTERM or Ctrl-C drains, after `http.drain_delay`; the second ends at once.

use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Longest that connections, publishers and the disk are waited for once the listeners are closed.
pub const DRAIN: Duration = Duration::from_secs(10);

/// Cancels the token at the first signal; a second one ends the process with exit code 1.
pub fn on_signal() -> anyhow::Result<CancellationToken> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = term.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let name = next().await;
        tracing::info!(signal = name, "stopping: connections are drained; signal again to stop at once");
        token.cancel();
        next().await;
        tracing::warn!("stopping at once");
        std::process::exit(1);
    });
    Ok(cancel)
}
