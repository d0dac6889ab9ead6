//! WebRTC stacks other than ours and Chromium's, as peers of their own process (`tests/e2e/interop`).

use super::process::{Process, bound_to_test};
use super::server::Server;
use super::wait::{Limit, until};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Stack {
    Aiortc,
    Gstreamer,
}

/// One peer, until stopped or dropped.
pub(crate) struct Peer {
    process: Process,
}

impl Stack {
    /// Watches what the server sends at `path`.
    pub(crate) fn watch(self, server: &Server, path: &str) -> Result<Peer> {
        self.start(server, &["watch", &format!("{}{path}", server.base())])
    }

    /// The same in a network that lets no UDP through.
    pub(crate) fn watch_over_tcp(self, server: &Server, path: &str) -> Result<Peer> {
        ensure!(matches!(self, Self::Gstreamer), "{self:?} opens no TCP connections");
        self.start(server, &["watch-tcp", &format!("{}{path}", server.base())])
    }

    /// Publishes a moving picture and a tone.
    pub(crate) fn publish(self, server: &Server, stream_key: &str) -> Result<Peer> {
        self.start(server, &["publish", &format!("{}/whip", server.base()), stream_key])
    }

    fn start(self, server: &Server, args: &[&str]) -> Result<Peer> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (python, script) = match self {
            Self::Aiortc => (root.join("target/tools/venv/bin/python"), "aiortc_peer.py"),
            // The one that the distribution's GStreamer bindings are installed for.
            Self::Gstreamer => (PathBuf::from("/usr/bin/python3"), "gstreamer_peer.py"),
        };
        ensure!(python.exists(), "{} is missing; `make deps-test` installs it", python.display());
        let mut command = bound_to_test(python);
        // -B: no compiled files beside the scripts.
        command.arg("-B").arg(root.join("tests/e2e/interop").join(script)).args(args);
        let log = server.scratch().join(format!("{script}-{}.log", args[0]));
        Ok(Peer { process: Process::start(script, command, &log)? })
    }
}

impl Peer {
    /// Waits until what the peer tells of itself is so. Of every fact the last word counts.
    pub(crate) async fn tells(&mut self, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        until(Limit::MEDIA, what, async || {
            let told = self.told();
            self.process.must_run()?;
            ensure!(is_so(&told), "it tells {}", Told(&told));
            Ok(Some(told))
        })
        .await
    }

    /// SIGTERM, upon which it deletes its resource; gives back the status of that.
    pub(crate) async fn hang_up(mut self) -> Result<Value> {
        self.process.must_run()?;
        self.process.signal(Signal::TERM)?;
        let status = until(Limit::PROCESS, "the peer to end", async || self.process.has_ended()).await?;
        ensure!(status.success(), "the peer ended with {status}:\n{}", self.process.output());
        self.told().get("ended").cloned().context("it was to tell how its DELETE was answered")
    }

    fn told(&self) -> Value {
        let mut told = Map::new();
        for line in self.process.output().lines() {
            if let Ok(Value::Object(facts)) = serde_json::from_str(line) {
                told.extend(facts);
            }
        }
        Value::Object(told)
    }
}

/// Without the session descriptions, which fill a screen each.
struct Told<'a>(&'a Value);

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for name in ["status", "state", "video", "audio", "sent"] {
            write!(f, "{name} {} ", self.0[name])?;
        }
        Ok(())
    }
}
