//! What the system says of a server's process: CPU time of all its threads, resident memory; and of this machine's UDP.
//!
//! In: a process id. Out: samples, and what was spent between them, for people and for programs. proc(5).

use crate::open_files;
use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// A process to be watched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process {
    pid: u32,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// User and system time of all threads, ended ones too.
    pub(super) cpu: Duration,
    /// The same of the threads that run, by name; numbers at the end of a name are left out.
    pub(super) threads: BTreeMap<String, Duration>,
    pub(super) resident_bytes: u64,
}

/// What a server spent while it was measured.
#[derive(Debug)]
pub(super) struct Spent {
    pid: u32,
    seconds: f64,
    cpu: Duration,
    threads: BTreeMap<String, Duration>,
    /// Before the first peer and at the end.
    resident_bytes: (u64, u64),
}

/// What the spending was for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Yield {
    /// "packet", "request".
    pub(super) unit: &'static str,
    pub(super) units: u64,
    pub(super) peers: usize,
}

/// The kernel counts in this for programs, whatever its own clock is.
const USER_HZ: u64 = 100;

impl Process {
    pub(super) fn open(pid: u32) -> anyhow::Result<Self> {
        let process = Self { pid };
        process.sample().with_context(|| format!("--pid {pid}: there is no such process on this machine"))?;
        Ok(process)
    }

    pub(super) fn sample(&self) -> anyhow::Result<Sample> {
        let dir = format!("/proc/{}", self.pid);
        let stat = std::fs::read_to_string(format!("{dir}/stat"))?;
        let (_, ticks) = name_and_ticks(&stat).context("its stat cannot be read")?;
        let mut threads = BTreeMap::new();
        for task in std::fs::read_dir(format!("{dir}/task"))?.flatten() {
            // A thread may end between the listing and the reading.
            let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else { continue };
            let Some((name, ticks)) = name_and_ticks(&stat) else { continue };
            *threads.entry(name).or_default() += duration(ticks);
        }
        let status = std::fs::read_to_string(format!("{dir}/status"))?;
        let resident_kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        let resident_bytes = resident_kib.context("it has ended")? * 1024;
        Ok(Sample { cpu: duration(ticks), threads, resident_bytes })
    }
}

impl Spent {
    /// `before`: ahead of the first peer; `from` to `to`: the measured time, which took so many `seconds`.
    pub(super) fn between(process: Process, before: &Sample, from: &Sample, to: &Sample, seconds: f64) -> Self {
        let spent = |(name, cpu): (&String, &Duration)| {
            let before = from.threads.get(name).copied().unwrap_or_default();
            (name.clone(), cpu.saturating_sub(before))
        };
        Self {
            pid: process.pid,
            seconds,
            cpu: to.cpu.saturating_sub(from.cpu),
            threads: to.threads.iter().map(spent).collect(),
            resident_bytes: (before.resident_bytes, to.resident_bytes),
        }
    }

    pub(super) fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6
    }

    fn percent(&self, cpu: Duration) -> f64 {
        if self.seconds > 0.0 { 100.0 * cpu.as_secs_f64() / self.seconds } else { 0.0 }
    }

    /// Bytes of resident memory that a peer added.
    fn resident_per_peer(&self, of: Yield) -> Option<f64> {
        let (before, after) = self.resident_bytes;
        (of.peers > 0).then(|| (after as f64 - before as f64) / of.peers as f64)
    }

    pub(super) fn json(&self, of: Yield) -> Value {
        let each = |cpu: Duration| (of.units > 0).then(|| cpu.as_secs_f64() * 1e6 / of.units as f64);
        let (first, rest) = of.unit.split_at(1);
        let key = format!("cpuMicrosPer{}{rest}", first.to_uppercase());
        let threads: Map<_, _> = self
            .threads
            .iter()
            .map(|(name, cpu)| (name.clone(), json!({ "cpuPercent": self.percent(*cpu), &*key: each(*cpu) })))
            .collect();
        json!({
            "pid": self.pid,
            "cpuPercent": self.percent(self.cpu),
            key: each(self.cpu),
            "threads": threads,
            "residentBytesBefore": self.resident_bytes.0,
            "residentBytesAfter": self.resident_bytes.1,
            "residentBytesPerPeer": self.resident_per_peer(of),
        })
    }

    /// Names and values for a table.
    pub(super) fn lines(&self, of: Yield) -> Vec<(&'static str, String)> {
        let each = |cpu: Duration| match of.units {
            0 => String::new(),
            units => format!(", {:.2} us per {}", cpu.as_secs_f64() * 1e6 / units as f64, of.unit),
        };
        let whole = format!("pid {}: {:.1} % of a core{}", self.pid, self.percent(self.cpu), each(self.cpu));
        let mut lines = vec![("server", whole)];
        let mut threads: Vec<_> = self.threads.iter().filter(|(_, cpu)| self.percent(**cpu) >= 0.1).collect();
        threads.sort_by_key(|(_, cpu)| std::cmp::Reverse(**cpu));
        for (name, cpu) in threads.into_iter().take(4) {
            lines.push(("  of it", format!("threads {name}: {:.1} %{}", self.percent(*cpu), each(*cpu))));
        }
        if let Some(added) = self.resident_per_peer(of) {
            let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
            let (before, after) = (mib(self.resident_bytes.0), mib(self.resident_bytes.1));
            let each = added / 1_024.0;
            lines
                .push(("memory", format!("{before:.1} MiB before, {after:.1} MiB at the end: {each:.1} KiB per peer")));
        }
        lines
    }
}

fn duration(ticks: u64) -> Duration {
    Duration::from_micros(ticks * 1_000_000 / USER_HZ)
}

/// `4711 (media-0) S 1 …`: the name may hold blanks and brackets; user and system time are fields 14 and 15.
fn name_and_ticks(stat: &str) -> Option<(String, u64)> {
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let name = name.trim_end_matches(|last: char| last.is_ascii_digit()).trim_end_matches(['-', ':', '/', '_']);
    Some((name.to_owned(), ticks))
}

/// Datagrams that this machine dropped since it started because a receiving socket's buffer was full.
pub(super) fn receive_buffer_overflows() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/net/snmp")?;
    overflows(&text).context("/proc/net/snmp has no Udp RcvbufErrors")
}

fn overflows(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split(' ').position(|name| name == "RcvbufErrors")?;
    values.split(' ').nth(at)?.parse().ok()
}

/// Every peer has a socket: raises this process's own limit as far as it may go.
pub(super) fn allow_files(wanted: u64) -> anyhow::Result<()> {
    let allowed = open_files::allow(wanted).context("the limit of open files")?;
    ensure!(allowed >= wanted, "so many peers need {wanted} open files, and {allowed} are allowed (ulimit -n)");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_behind_the_name() {
        let stat = "4711 (a) b) media-12) S 1 2 3 0 -1 4194560 9 0 0 0 250 31 0 0 20 0 4 0 100 0 0";
        assert_eq!(name_and_ticks(stat), Some(("a) b) media".to_owned(), 281)));
        assert_eq!(name_and_ticks("4711 (short) S 1"), None);
    }

    #[test]
    fn this_process_is_seen_and_one_that_is_not_there_is_named() {
        let sample = Process::open(std::process::id()).unwrap().sample().unwrap();
        assert!(sample.resident_bytes > 0 && !sample.threads.is_empty());
        let error = Process::open(u32::MAX).unwrap_err().to_string();
        assert!(error.contains("no such process"), "{error}");
    }

    #[test]
    fn dropped_datagrams_are_found_by_name() {
        let text = "Ip: A\nIp: 1\nUdp: InDatagrams NoPorts RcvbufErrors SndbufErrors\nUdp: 10 2 7 0\nUdpLite: X\n";
        assert_eq!(overflows(text), Some(7));
        assert_eq!(overflows("Tcp: A\nTcp: 1\n"), None);
    }
}
