//! One run: everybody joins, a while is measured, everybody leaves.
//!
//! In: offers to be posted. Out: figures, printed. What is measured begins when the last peer has joined; losses count
//! from each peer's first packet on.

use super::super::process::{self, Process, Spent};
use super::super::progress::Progress;
use super::super::quantity::grouped;
use super::figures::{Figures, Measured};
use super::signalling::Endpoint;
use anyhow::Context;
use chobi_media::load::{Crew, Fate, Offering, Part, PeerReport, Tally};
use http::Uri;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub(crate) struct Plan {
    pub(crate) kind: &'static str,
    pub(crate) url: String,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) peers: u32,
    pub(crate) duration: Duration,
    /// Joins per second.
    pub(crate) ramp: u32,
    pub(crate) threads: usize,
    pub(crate) pid: Option<u32>,
    pub(crate) json: bool,
}

/// One peer that is to be.
pub(crate) struct Start {
    pub(crate) offering: Offering,
    pub(crate) part: Part,
    pub(crate) token: Option<String>,
}

/// One whose offer was answered.
struct Joined {
    number: usize,
    resource: Option<Uri>,
    token: Option<String>,
}

/// Offers under way at one time.
const OFFERS_MAX: usize = 64;
/// From the last answer until every peer is connected or has given up.
const CONNECT_MAX: Duration = Duration::from_secs(25);
/// Viewers catch up with a picture; that is no steady state.
const SETTLE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(50);
/// Files beside one socket per peer.
const OTHER_FILES: u64 = 256;

pub(crate) async fn run(plan: Plan, starts: impl Iterator<Item = Start>) -> anyhow::Result<ExitCode> {
    let process = plan.pid.map(Process::open).transpose()?;
    process::allow_files(u64::from(plan.peers) + OTHER_FILES)?;
    let crew = Arc::new(Crew::start(plan.threads).context("the load threads cannot start")?);
    let progress = Progress::new();
    let sample = || process.as_ref().map(Process::sample).transpose().context("the server's process has ended");
    let overflows_before = process::receive_buffer_overflows().ok();
    let before = sample()?;

    let mut stop = std::pin::pin!(async {
        // Without the handler the run cannot be cut short, and that is all.
        let _ = tokio::signal::ctrl_c().await;
    });
    let (joined, mut failures) = tokio::select! {
        both = join_all(&plan, starts, &crew, &progress) => both,
        () = &mut stop => (Vec::new(), vec!["stopped before everybody had joined".to_owned()]),
    };
    let mut measured = Measured::default();
    if !joined.is_empty() {
        tokio::select! {
            () = connected(&crew, &plan, joined.len(), &progress) => {}
            () = &mut stop => {}
        }
        let (from, tally) = (Instant::now(), crew.tally());
        let sampled = sample()?;
        tokio::select! {
            () = watch(&progress, &crew, plan.duration) => {}
            () = &mut stop => {}
        }
        let after = sample()?;
        measured = Measured::between(&(from, tally), &(Instant::now(), crew.tally()));
        if let (Some(process), Some(before), Some(from), Some(to)) = (process, &before, &sampled, &after) {
            measured.spent = Some(Spent::between(process, before, from, to, measured.seconds()));
        }
    }
    crew.freeze();
    progress.clear();
    let undeleted = leave_all(&plan.endpoint, &joined).await;
    let crew = Arc::into_inner(crew).context("nobody joins any more")?;
    let reports = tokio::task::spawn_blocking(move || crew.finish()).await.context("the load threads have panicked")?;
    measured.overflows = overflows_before
        .zip(process::receive_buffer_overflows().ok())
        .map(|(before, after)| after.saturating_sub(before));

    failures.extend(reports.iter().filter_map(|report| failure(plan.kind, report)));
    let figures = Figures::new(&plan, &measured, &reports, failures, undeleted);
    if plan.json {
        println!("{}", figures.json());
    } else {
        print!("{}", figures.table());
    }
    Ok(if figures.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why a peer counts as failed.
fn failure(kind: &str, report: &PeerReport) -> Option<String> {
    match &report.fate {
        Fate::Stayed if report.packets() == 0 && kind == "whep" => Some("connected, but no media came".to_owned()),
        Fate::Stayed if report.packets() == 0 => Some("connected, but nothing was sent".to_owned()),
        Fate::Stayed => None,
        other => Some(other.to_string()),
    }
}

/// Posts every offer in the rhythm of the ramp.
async fn join_all(
    plan: &Plan,
    starts: impl Iterator<Item = Start>,
    crew: &Arc<Crew>,
    progress: &Progress,
) -> (Vec<Joined>, Vec<String>) {
    let mut rhythm = tokio::time::interval(Duration::from_secs(1) / plan.ramp);
    let room = Arc::new(Semaphore::new(OFFERS_MAX));
    let mut offers = JoinSet::new();
    for (number, start) in starts.enumerate() {
        rhythm.tick().await;
        let permit = Arc::clone(&room).acquire_owned().await.expect("it is never closed");
        joining(progress, plan.peers, &crew.tally());
        let (endpoint, crew) = (Arc::clone(&plan.endpoint), Arc::clone(crew));
        offers.spawn(async move {
            let _permit = permit;
            join(number, start, &endpoint, &crew).await
        });
    }
    let (mut joined, mut failures) = (Vec::new(), Vec::new());
    while let Some(offer) = offers.join_next().await {
        match offer {
            Ok(Ok(peer)) => joined.push(peer),
            Ok(Err(error)) => failures.push(format!("{error:#}")),
            Err(error) => failures.push(error.to_string()),
        }
    }
    joined.sort_by_key(|peer| peer.number);
    (joined, failures)
}

async fn join(number: usize, start: Start, endpoint: &Endpoint, crew: &Crew) -> anyhow::Result<Joined> {
    let Start { offering, part, token } = start;
    let answer = endpoint.open(offering.sdp(), token.as_deref()).await?;
    let agreed = offering.accept(&answer.sdp)?;
    crew.add(number, agreed, part, answer.posted);
    Ok(Joined { number, resource: answer.resource, token })
}

/// Until every peer is connected or has ended, and a moment more.
async fn connected(crew: &Crew, plan: &Plan, peers: usize, progress: &Progress) {
    let deadline = Instant::now() + CONNECT_MAX;
    loop {
        let tally = crew.tally();
        joining(progress, plan.peers, &tally);
        if tally.connected + tally.ended >= peers as u64 || Instant::now() >= deadline {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::sleep(SETTLE).await;
}

/// Deletes every resource; how many servers did not do as asked.
async fn leave_all(endpoint: &Arc<Endpoint>, joined: &[Joined]) -> usize {
    let room = Arc::new(Semaphore::new(OFFERS_MAX));
    let mut leaving = JoinSet::new();
    for peer in joined {
        let Some(resource) = peer.resource.clone() else { continue };
        let permit = Arc::clone(&room).acquire_owned().await.expect("it is never closed");
        let (endpoint, token) = (Arc::clone(endpoint), peer.token.clone());
        leaving.spawn(async move {
            let _permit = permit;
            endpoint.close(&resource, token.as_deref()).await.is_ok()
        });
    }
    let mut undeleted = 0;
    while let Some(left) = leaving.join_next().await {
        undeleted += usize::from(!matches!(left, Ok(true)));
    }
    undeleted
}

fn joining(progress: &Progress, peers: u32, tally: &Tally) {
    progress.show(format_args!("joining: {} of {peers} connected, {} failed", tally.connected, tally.ended));
}

/// Waits for `duration` and says how it goes.
async fn watch(progress: &Progress, crew: &Crew, duration: Duration) {
    let (mut last, mut at) = (crew.tally(), Instant::now());
    progress
        .watch(duration, || {
            let (tally, now) = (crew.tally(), Instant::now());
            let seconds = now.duration_since(at).as_secs_f64();
            let packets = (tally.packets - last.packets) as f64 / seconds;
            let megabits = (tally.bytes - last.bytes) as f64 * 8e-6 / seconds;
            (last, at) = (tally, now);
            let peers = tally.connected - tally.ended.min(tally.connected);
            format!("{peers} peers   {} packets/s   {megabits:.1} Mbit/s", grouped(packets as u64))
        })
        .await;
}
