//! One line that is written over and over, where somebody looks at a terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

pub(super) struct Progress {
    is_seen: bool,
}

const SHOW: Duration = Duration::from_millis(500);

impl Progress {
    pub(super) fn new() -> Self {
        Self { is_seen: std::io::stderr().is_terminal() }
    }

    pub(super) fn show(&self, line: std::fmt::Arguments<'_>) {
        if self.is_seen {
            // Back to the start of the line, and away with what stood there.
            let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
        }
    }

    pub(super) fn clear(&self) {
        self.show(format_args!(""));
    }

    /// Waits for `duration` and shows how it goes, in words that are asked for again and again.
    pub(super) async fn watch(&self, duration: Duration, mut words: impl FnMut() -> String) {
        let began = Instant::now();
        while let Some(left) = duration.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
            tokio::time::sleep(left.min(SHOW)).await;
            let done = (began.elapsed().as_secs_f64() / duration.as_secs_f64()).min(1.0);
            let bar = "#".repeat((done * 20.0) as usize);
            self.show(format_args!("[{bar:<20}] {}", words()));
        }
    }
}
