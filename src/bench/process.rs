//! What the system says of a server's process: CPU time of all its threads, resident memory; and of this machine's UDP.
//!
//! In: a process id. Out: samples to subtract from each other. proc(5).

use anyhow::{Context, ensure};
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

/// The kernel counts in this for programs, whatever its own clock is.
const USER_HZ: u64 = 100;

impl Process {
    pub(super) fn open(pid: u32) -> anyhow::Result<Self> {
        let process = Self { pid };
        process.sample().with_context(|| format!("--pid {pid}: there is no such process on this machine"))?;
        Ok(process)
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
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
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let allowed = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    ensure!(allowed >= wanted, "so many peers need {wanted} open files, and {allowed} are allowed (ulimit -n)");
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).context("the limit of open files")
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
