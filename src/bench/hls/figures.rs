//! What a run found, for people and for programs.
//!
//! In: sums over the measured time, and what became of every viewer. Out: a table, or one JSON object.

use super::super::process::{Spent, Yield};
use super::super::quantity::{grouped, times_json, times_text};
use super::player::{Report, Tally, Times};
use super::run::{Outcome, Plan};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Sums at one moment, or between two.
#[derive(Debug, Default)]
pub(super) struct Measured {
    at: Option<Instant>,
    seconds: f64,
    pub(super) playlists: u64,
    pub(super) media: u64,
    pub(super) bytes: u64,
    /// By the server, when its process is known.
    pub(super) spent: Option<Spent>,
}

pub(super) struct Figures<'a> {
    plan: &'a Plan,
    measured: &'a Measured,
    joined: usize,
    failures: BTreeMap<String, usize>,
    /// From the first request. Sorted, as all times are.
    first_media: Vec<Duration>,
    times: Times,
    /// Viewers who stood still, and for how long together.
    stalled: (usize, Duration),
    fell_behind: u64,
}

impl Measured {
    pub(super) fn now(tally: &Tally) -> Self {
        Self {
            at: Some(Instant::now()),
            playlists: tally.playlists.load(Relaxed),
            media: tally.media.load(Relaxed),
            bytes: tally.bytes.load(Relaxed),
            ..Self::default()
        }
    }

    pub(super) fn since(&self, from: &Self) -> Self {
        let seconds = self.at.zip(from.at).map_or(0.0, |(to, from)| to.duration_since(from).as_secs_f64());
        Self {
            at: None,
            seconds,
            playlists: self.playlists - from.playlists,
            media: self.media - from.media,
            bytes: self.bytes - from.bytes,
            spent: None,
        }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.seconds
    }

    pub(super) fn requests(&self) -> u64 {
        self.playlists + self.media
    }

    pub(super) fn per_second(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 }
    }

    /// What the server spent on a mebibyte.
    fn cpu_micros_per_mib(&self) -> Option<f64> {
        let spent = self.spent.as_ref().filter(|_| self.bytes > 0)?;
        Some(spent.cpu_micros() / (self.bytes as f64 / 1_048_576.0))
    }
}

impl<'a> Figures<'a> {
    pub(super) fn new(plan: &'a Plan, measured: &'a Measured, outcomes: Vec<Outcome>) -> Self {
        let mut figures = Self {
            plan,
            measured,
            joined: 0,
            failures: BTreeMap::new(),
            first_media: Vec::new(),
            times: Times::default(),
            stalled: (0, Duration::ZERO),
            fell_behind: 0,
        };
        for (reports, outcome) in outcomes {
            let why = match outcome {
                Err(error) => Some(format!("{error:#}")),
                Ok(()) if reports[0].first_media.is_none() => Some("no media came".to_owned()),
                Ok(()) => None,
            };
            why.into_iter().for_each(|why| *figures.failures.entry(why).or_insert(0) += 1);
            figures.take(reports);
        }
        let Times { media, playlists, behind } = &mut figures.times;
        [&mut figures.first_media, media, playlists, behind].into_iter().for_each(|times| times.sort_unstable());
        figures
    }

    fn take(&mut self, reports: [Report; 2]) {
        self.joined += usize::from(reports[0].first_media.is_some());
        self.first_media.extend(reports[0].first_media);
        self.stalled.0 += usize::from(reports.iter().any(|report| report.stalls > 0));
        for report in reports {
            self.stalled.1 += report.stalled;
            self.fell_behind += report.fell_behind;
            self.times.media.extend(report.times.media);
            self.times.playlists.extend(report.times.playlists);
            self.times.behind.extend(report.times.behind);
        }
    }

    /// Nobody failed, and something arrived.
    pub(super) fn is_good(&self) -> bool {
        self.failures.is_empty() && self.joined > 0
    }

    fn yielded(&self) -> Yield {
        Yield { unit: "request", units: self.measured.requests(), peers: self.joined }
    }

    pub(super) fn json(&self) -> Value {
        let measured = self.measured;
        json!({
            "kind": "hls",
            "url": self.plan.url.to_string(),
            "peers": self.plan.viewers,
            "joined": self.joined,
            "failed": self.failures.values().sum::<usize>(),
            "failures": self.failures,
            "seconds": measured.seconds,
            "playlists": measured.playlists,
            "media": measured.media,
            "requestsPerSecond": measured.per_second(measured.requests()),
            "bitsPerSecond": measured.per_second(measured.bytes) * 8.0,
            "stalledViewers": self.stalled.0,
            "stalledMs": self.stalled.1.as_millis() as u64,
            "fellBehind": self.fell_behind,
            "firstMediaMs": times_json(&self.first_media),
            "mediaMs": times_json(&self.times.media),
            "playlistMs": times_json(&self.times.playlists),
            "behindMs": times_json(&self.times.behind),
            "cpuMicrosPerMiB": measured.cpu_micros_per_mib(),
            "server": measured.spent.as_ref().map(|spent| spent.json(self.yielded())),
        })
    }

    pub(super) fn table(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name:<16} {value}");
        };
        let measured = self.measured;
        let failed: usize = self.failures.values().sum();
        line("viewers", format!("{} asked for, {} joined, {failed} failed", self.plan.viewers, self.joined));
        for (reason, count) in &self.failures {
            line("  failed", format!("{count} x {reason}"));
        }
        if self.joined > 0 {
            let per_second = |count| grouped(measured.per_second(count) as u64);
            line(
                "received",
                format!(
                    "{} playlists/s, {} pieces of media/s, {:.1} Mbit/s, over {:.1} s",
                    per_second(measured.playlists),
                    per_second(measured.media),
                    measured.per_second(measured.bytes) * 8e-6,
                    measured.seconds
                ),
            );
            let mut times = |name: &str, sorted: &[Duration], from: &str| {
                if let Some(times) = times_text(sorted) {
                    line(name, format!("{times} {from}"));
                }
            };
            times("first media", &self.first_media, "after the first request");
            times("media", &self.times.media, "after its request");
            times("playlists", &self.times.playlists, "after their request");
            times("behind live", &self.times.behind, "from a last frame to its media in hand, by the server's clock");
            if !self.plan.unpaced {
                let (viewers, together) = self.stalled;
                let behind = self.fell_behind;
                line(
                    "stalled",
                    format!(
                        "{viewers} viewers, {:.1} s together; {behind} times media was gone",
                        together.as_secs_f64()
                    ),
                );
            }
        }
        for (name, value) in measured.spent.iter().flat_map(|spent| spent.lines(self.yielded())) {
            line(name, value);
        }
        if let Some(micros) = measured.cpu_micros_per_mib() {
            line("", format!("{micros:.0} us of the server's CPU per MiB"));
        }
        out
    }
}
