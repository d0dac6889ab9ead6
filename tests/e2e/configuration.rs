//! A faulty configuration is told completely and binds nothing; a good one is called good.

use crate::harness::process::{Process, bound_to_test};
use crate::harness::server::{Turn, command, free_ports};
use anyhow::{Result, ensure};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, ExitStatus};
use tempfile::TempDir;

/// Runs `chobi` with a configuration file to its end: exit status and all it said.
fn chobi(dir: &Path, args: &[&str], file: &str, environment: &[(&str, &str)]) -> Result<(ExitStatus, String)> {
    std::fs::write(dir.join("chobi.toml"), file)?;
    let mut command: Command = command(dir);
    command.args(args).args(["--config", "chobi.toml"]).envs(environment.iter().copied());
    let mut process = Process::start("chobi", command, &dir.join("chobi.log"))?;
    let status = process.wait(crate::harness::Limit::PROCESS)?;
    Ok((status, process.output()))
}

const FAULTY: &str = r#"
data_dirr = "/tmp"

[http]
listen = "not an address"

[hls]
segment_durations = "2s"
part_duration = "a while"

[chat]
unheard_of = true
"#;

#[test]
fn all_faults_are_told_at_once_and_nothing_is_bound() -> Result<()> {
    let _turn = Turn::take()?;
    let dir = TempDir::new()?;
    let [port] = free_ports()?;
    // Held for the whole run: had the server tried to bind it, that would be one more complaint.
    let held = TcpListener::bind(("127.0.0.1", port))?;
    let address = format!("127.0.0.1:{port}");
    let environment =
        [("CHOBI_RTMP__LISTEN", address.as_str()), ("CHOBI_OPS__LISTEN", "nonsense"), ("JWT_EXPIRES_IN", "7")];
    let (status, said) = chobi(dir.path(), &["serve"], FAULTY, &environment)?;
    ensure!(status.code() == Some(2), "a faulty configuration has an exit code of its own, not {status}: {said}");
    for key in
        ["data_dirr", "http.listen", "hls.segment_durations", "hls.part_duration", "chat.unheard_of", "ops.listen"]
    {
        ensure!(said.contains(key), "{key} is not told:\n{said}");
    }
    ensure!(
        said.contains("data_dir?") && said.contains("hls.segment_duration?"),
        "the nearest names are told:\n{said}"
    );
    ensure!(said.contains("JWT_EXPIRES_IN"), "faults of the app's variables are told too:\n{said}");
    ensure!(!said.contains("in use"), "a port was bound before the faults were told:\n{said}");
    ensure!(!dir.path().join("data").exists(), "nothing is made before the faults are told");
    drop(held);
    Ok(())
}

#[test]
fn check_tells_good_from_faulty_without_starting() -> Result<()> {
    let _turn = Turn::take()?;
    let dir = TempDir::new()?;
    let (status, said) = chobi(dir.path(), &["config", "check"], "[hls]\nsegment_duration = \"2s\"\n", &[])?;
    ensure!(status.success(), "a good file is good: {said}");
    ensure!(!dir.path().join("data").exists(), "checking makes nothing");
    let (status, said) = chobi(dir.path(), &["config", "check"], FAULTY, &[])?;
    ensure!(status.code() == Some(2) && said.contains("http.listen"), "a faulty file is not: {status} {said}");
    Ok(())
}

#[test]
fn documented_defaults_are_accepted_as_a_file() -> Result<()> {
    let _turn = Turn::take()?;
    let dir = TempDir::new()?;
    let defaults = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/default.toml");
    let mut check = bound_to_test(env!("CARGO_BIN_EXE_chobi"));
    check.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    check.args(["config", "check", "--config"]).arg(defaults);
    let mut process = Process::start("chobi", check, &dir.path().join("chobi.log"))?;
    let status = process.wait(crate::harness::Limit::PROCESS)?;
    ensure!(status.success(), "config/default.toml is a good file: {}", process.output());
    Ok(())
}
