//! What a run found, for people and for programs.
//!
//! In: sums over the measured time, and what became of every peer. Out: a table, or one JSON object.

use super::super::process::{Spent, Yield};
use super::super::quantity::{grouped, times_json, times_text};
use super::run::Plan;
use chobi_media::load::{LaneReport, PeerReport, Tally};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Sums over the time that was measured.
#[derive(Debug, Default)]
pub(super) struct Measured {
    seconds: f64,
    packets: u64,
    bytes: u64,
    /// By the server, when its process is known.
    pub(super) spent: Option<Spent>,
    /// Datagrams that this machine dropped for want of room, whosever they were.
    pub(super) overflows: Option<u64>,
}

pub(super) struct Figures<'a> {
    plan: &'a Plan,
    measured: &'a Measured,
    joined: usize,
    failures: BTreeMap<String, usize>,
    undeleted: usize,
    video: LaneReport,
    audio: LaneReport,
    verified: u64,
    forged: u64,
    keyframe_requests: u64,
    /// From POST to: keys, first packet, first keyframe. Sorted.
    connected: Vec<Duration>,
    first_packet: Vec<Duration>,
    first_keyframe: Vec<Duration>,
}

type Moment = (Instant, Tally);

impl Measured {
    pub(super) fn between(from: &Moment, to: &Moment) -> Self {
        Self {
            seconds: to.0.duration_since(from.0).as_secs_f64(),
            packets: to.1.packets - from.1.packets,
            bytes: to.1.bytes - from.1.bytes,
            spent: None,
            overflows: None,
        }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.seconds
    }
}

impl<'a> Figures<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        measured: &'a Measured,
        reports: &[PeerReport],
        failures: Vec<String>,
        undeleted: usize,
    ) -> Self {
        let mut grouped = BTreeMap::new();
        failures.into_iter().for_each(|reason| *grouped.entry(reason).or_insert(0) += 1);
        let sum = |lane: fn(&PeerReport) -> LaneReport| {
            reports.iter().map(lane).fold(LaneReport::default(), |sum, lane| LaneReport {
                packets: sum.packets + lane.packets,
                bytes: sum.bytes + lane.bytes,
                lost: sum.lost + lane.lost,
                asked: sum.asked + lane.asked,
                resent: sum.resent + lane.resent,
                reordered: sum.reordered + lane.reordered,
                duplicates: sum.duplicates + lane.duplicates,
            })
        };
        let times = |time: fn(&PeerReport) -> Option<Duration>| {
            let mut times: Vec<_> = reports.iter().filter_map(time).collect();
            times.sort_unstable();
            times
        };
        let count = |count: fn(&PeerReport) -> u64| reports.iter().map(count).sum();
        Self {
            plan,
            measured,
            joined: reports.iter().filter(|report| report.connected.is_some() && report.packets() > 0).count(),
            failures: grouped,
            undeleted,
            video: sum(|report| report.video),
            audio: sum(|report| report.audio),
            verified: count(|report| report.verified),
            forged: count(|report| report.forged),
            keyframe_requests: count(|report| report.keyframe_requests),
            connected: times(|report| report.connected),
            first_packet: times(|report| report.first_packet),
            first_keyframe: times(|report| report.first_keyframe),
        }
    }

    /// Nobody failed, and something arrived.
    pub(super) fn is_good(&self) -> bool {
        self.failures.is_empty() && self.joined > 0
    }

    fn per_second(&self, count: u64) -> f64 {
        if self.measured.seconds > 0.0 { count as f64 / self.measured.seconds } else { 0.0 }
    }

    fn lost(&self) -> u64 {
        self.video.lost + self.audio.lost
    }

    fn loss_percent(&self) -> f64 {
        let came = self.video.packets + self.audio.packets;
        if came == 0 { 0.0 } else { 100.0 * self.lost() as f64 / (came + self.lost()) as f64 }
    }

    fn yielded(&self) -> Yield {
        Yield { unit: "packet", units: self.measured.packets, peers: self.joined }
    }

    pub(super) fn json(&self) -> Value {
        let lane = |lane: &LaneReport| {
            json!({
                "packets": lane.packets,
                "bytes": lane.bytes,
                "lost": lane.lost,
                "asked": lane.asked,
                "resent": lane.resent,
                "reordered": lane.reordered,
                "duplicates": lane.duplicates,
            })
        };
        let server = self.measured.spent.as_ref().map(|spent| spent.json(self.yielded()));
        json!({
            "kind": self.plan.kind,
            "url": self.plan.url,
            "peers": self.plan.peers,
            "joined": self.joined,
            "failed": self.failures.values().sum::<usize>(),
            "failures": self.failures,
            "undeleted": self.undeleted,
            "seconds": self.measured.seconds,
            "packets": self.measured.packets,
            "packetsPerSecond": self.per_second(self.measured.packets),
            "bitsPerSecond": self.per_second(self.measured.bytes) * 8.0,
            "lost": self.lost(),
            "lossPercent": self.loss_percent(),
            "video": lane(&self.video),
            "audio": lane(&self.audio),
            "verified": self.verified,
            "forged": self.forged,
            "keyframeRequests": self.keyframe_requests,
            "receiveBufferOverflows": self.measured.overflows,
            "connectedMs": times_json(&self.connected),
            "firstPacketMs": times_json(&self.first_packet),
            "firstKeyframeMs": times_json(&self.first_keyframe),
            "server": server,
        })
    }

    pub(super) fn table(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name:<16} {value}");
        };
        let watches = self.plan.kind == "whep";
        let (who, verb) = if watches { ("viewers", "received") } else { ("publishers", "sent") };
        let failed: usize = self.failures.values().sum();
        line(who, format!("{} asked for, {} joined, {failed} failed", self.plan.peers, self.joined));
        for (reason, count) in &self.failures {
            line("  failed", format!("{count} x {reason}"));
        }
        if self.joined > 0 {
            let (packets, bits) = (self.per_second(self.measured.packets), self.per_second(self.measured.bytes) * 8.0);
            line(
                verb,
                format!(
                    "{} packets/s, {:.1} Mbit/s, over {:.1} s; {} packets in all",
                    grouped(packets as u64),
                    bits / 1e6,
                    self.measured.seconds,
                    grouped(self.video.packets + self.audio.packets)
                ),
            );
            self.loss_lines(watches, &mut line);
            self.time_lines(watches, &mut line);
        }
        for (name, value) in self.measured.spent.iter().flat_map(|spent| spent.lines(self.yielded())) {
            line(name, value);
        }
        if self.undeleted > 0 {
            line("left behind", format!("{} resources that the server did not delete", self.undeleted));
        }
        out
    }

    fn loss_lines(&self, watches: bool, line: &mut impl FnMut(&str, String)) {
        let (video, audio) = (&self.video, &self.audio);
        let (asked, resent) = (video.asked + audio.asked, video.resent + audio.resent);
        if watches {
            line(
                "lost",
                format!(
                    "{} packets ({:.4} %); {asked} asked for by NACK, {resent} came again, {} reordered, {} twice",
                    grouped(self.lost()),
                    self.loss_percent(),
                    video.reordered + audio.reordered,
                    video.duplicates + audio.duplicates
                ),
            );
            line("authentic", format!("{} opened and proved, {} forged", grouped(self.verified), self.forged));
        } else {
            line("lost", format!("{} packets, by the server's reports", grouped(self.lost())));
            line(
                "feedback",
                format!(
                    "{asked} asked for by NACK, {resent} sent again, {} keyframes asked for",
                    self.keyframe_requests
                ),
            );
        }
        if let Some(overflows) = self.measured.overflows.filter(|overflows| *overflows > 0) {
            line(
                "",
                format!(
                    "{overflows} datagrams did not fit into receive buffers of this machine (not the network's doing)"
                ),
            );
        }
    }

    fn time_lines(&self, watches: bool, line: &mut impl FnMut(&str, String)) {
        let mut times = |name: &str, sorted: &[Duration]| {
            if let Some(times) = times_text(sorted) {
                line(name, format!("{times} after the POST"));
            }
        };
        times("connected", &self.connected);
        if watches {
            times("first packet", &self.first_packet);
            times("first keyframe", &self.first_keyframe);
        }
    }
}
