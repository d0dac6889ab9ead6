//! The real `chobi` on free ports with a data directory of its own.

use super::process::{Process, bound_to_test};
use super::wait::{Limit, holds, until};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// SIGTERM to exit: the drain, with room for a busy machine.
const STOP_LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    // Field order is drop order: the process before its directory, the turn last.
    process: Option<Process>,
    pub(crate) http_port: u16,
    pub(crate) rtmp_port: u16,
    pub(crate) ops_port: u16,
    pub(crate) webrtc_port: u16,
    /// Of all public listeners.
    host: IpAddr,
    settings: Vec<(String, String)>,
    flags: Vec<String>,
    dir: TempDir,
    _turn: Turn,
}

impl Server {
    pub(crate) async fn start() -> Result<Self> {
        Self::start_with(&[], &[]).await
    }

    /// `settings` are environment variables on top of the ports and the data directory, `flags` those of `chobi serve`.
    pub(crate) async fn start_with(settings: &[(&str, &str)], flags: &[&str]) -> Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), settings, flags).await
    }

    /// At every address of this machine, as by default.
    pub(crate) async fn start_on_both_versions(settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_at(Ipv6Addr::UNSPECIFIED.into(), settings, &[]).await
    }

    async fn start_at(host: IpAddr, settings: &[(&str, &str)], flags: &[&str]) -> Result<Self> {
        let turn = Turn::take()?;
        let [http_port, rtmp_port, ops_port, webrtc_port] = free_ports()?;
        let mut server = Self {
            process: None,
            http_port,
            rtmp_port,
            ops_port,
            webrtc_port,
            host,
            settings: settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            dir: tempfile::Builder::new().prefix("chobi-e2e-").tempdir()?,
            _turn: turn,
        };
        server.run().await?;
        Ok(server)
    }

    /// Starts the process and waits until it calls itself ready.
    async fn run(&mut self) -> Result<()> {
        let mut command = command(self.dir.path());
        command.arg("serve").args(&self.flags);
        for (section, host, port) in [
            ("HTTP", self.host, self.http_port),
            ("RTMP", self.host, self.rtmp_port),
            ("WEBRTC", self.host, self.webrtc_port),
            ("OPS", Ipv4Addr::LOCALHOST.into(), self.ops_port),
        ] {
            command.env(format!("CHOBI_{section}__LISTEN"), SocketAddr::new(host, port).to_string());
        }
        command.env("CHOBI_DATA_DIR", self.data_dir());
        // Nobody spreads load here, and every walk stops its server.
        command.env("CHOBI_HTTP__DRAIN_DELAY", "0s");
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        let process = self.process.insert(Process::start("chobi", command, &self.dir.path().join("chobi.log"))?);
        let readyz = format!("http://127.0.0.1:{}/readyz", self.ops_port);
        holds(Limit::PROCESS, "the server to be ready", async || {
            process.must_run()?;
            Ok(reqwest::get(&readyz).await?.status().is_success())
        })
        .await
    }

    /// Of the process as it runs now.
    pub(crate) fn id(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("the server is stopped")?.id())
    }

    pub(crate) fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A place for the logs of what the test starts beside the server.
    pub(crate) fn scratch(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn log(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// Peak resident memory of the running process so far.
    pub(crate) fn peak_memory_bytes(&self) -> Result<u64> {
        let id = self.process.as_ref().context("the server is stopped")?.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// The sum over all labels of one counter or gauge on the operators' port; 0 when it was never touched.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        self.metric_where(name, "").await
    }

    /// The same for the lines that contain `label`.
    pub(crate) async fn metric_where(&self, name: &str, label: &str) -> Result<f64> {
        let text = reqwest::get(format!("http://127.0.0.1:{}/metrics", self.ops_port)).await?.text().await?;
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        text.lines()
            .filter(of_name)
            .filter(|line| line.contains(label))
            .map(|line| Ok(line.rsplit(' ').next().unwrap_or_default().parse::<f64>()?))
            .sum()
    }

    /// SIGTERM, and exit code 0 within the limit.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let mut process = self.ask_to_stop()?;
        let status = until(STOP_LIMIT, "the server to exit after SIGTERM", async || process.has_ended()).await?;
        ensure!(status.success(), "SIGTERM ended the server with {status} instead of code 0");
        Ok(())
    }

    /// SIGTERM, and nothing waited for.
    pub(crate) fn ask_to_stop(&mut self) -> Result<Process> {
        let mut process = self.process.take().context("the server is stopped already")?;
        process.must_run()?;
        process.signal(Signal::TERM)?;
        Ok(process)
    }

    /// Ends it in an instant, as a power cut would, and starts it again on the same ports and data.
    pub(crate) async fn kill_and_start(&mut self) -> Result<()> {
        self.process.take().context("the server is stopped already")?.kill()?;
        self.run().await
    }

    /// Stops it and starts it again on the same ports and data.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.run().await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.is_none() {
            return;
        }
        let status = self.ask_to_stop().and_then(|mut process| process.wait(STOP_LIMIT));
        if !std::thread::panicking() {
            assert!(
                matches!(status, Ok(status) if status.success()),
                "the server stops cleanly after every walk: {status:?}"
            );
        }
    }
}

/// `chobi` in `dir` with nothing of this machine's environment in it.
pub(crate) fn command(dir: &Path) -> Command {
    let mut command = bound_to_test(env!("CARGO_BIN_EXE_chobi"));
    command.env_clear().current_dir(dir);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    // For looking closer at one walk: CHOBI_TEST_LOG=debug cargo test --test e2e publish_to_hls
    if let Ok(level) = std::env::var("CHOBI_TEST_LOG") {
        command.env("CHOBI_LOG__LEVEL", level);
    }
    command
}

/// Ports nobody has now, for TCP or UDP. They lie below those that systems hand to sockets which do not care (Linux begins at
/// 32 768), so that no browser's or encoder's socket takes one before the server does.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut ports = [0; N];
    for port in &mut ports {
        *port = (0..COUNT)
            // Test processes that run side by side begin apart.
            .map(|_| std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)))
            .map(|number| (FIRST + number % COUNT) as u16)
            .find(|port| {
                let address = (Ipv4Addr::LOCALHOST, *port);
                TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
            })
            .context("no free port")?;
    }
    Ok(ports)
}

/// The whole machine for one walk at a time, across test threads and test processes: two encoders and two browsers on
/// two cores would measure each other.
pub(crate) struct Turn(#[expect(dead_code, reason = "held for its lock")] File);

impl Turn {
    pub(crate) fn take() -> Result<Self> {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e.turn");
        let file = File::options().create(true).append(true).open(path)?;
        file.lock()?;
        Ok(Self(file))
    }
}
