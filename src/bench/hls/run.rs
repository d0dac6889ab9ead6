//! One run: everybody begins to watch, a while is measured, everybody stops.
//!
//! In: a show and how many watch it. Out: figures, printed. What is measured begins when the last viewer has something to
//! play.

use super::super::process::{self, Process, Spent};
use super::super::progress::Progress;
use super::super::quantity::grouped;
use super::super::web::Web;
use super::figures::{Figures, Measured};
use super::player::{self, Manner, Report, Tally};
use super::visit::Visit;
use anyhow::Context;
use http::Uri;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) struct Plan {
    pub(crate) url: Uri,
    pub(crate) web: Web,
    pub(crate) token: Option<String>,
    pub(crate) viewers: u32,
    pub(crate) duration: Duration,
    /// Viewers who begin per second.
    pub(crate) ramp: u32,
    pub(crate) pid: Option<u32>,
    pub(crate) plain: bool,
    pub(crate) unpaced: bool,
    pub(crate) json: bool,
}

/// What became of a viewer: of the picture, of the sound, and why it stopped early.
pub(super) type Outcome = ([Report; 2], anyhow::Result<()>);

/// From the last viewer's first request until everybody plays or has given up.
const BEGIN_MAX: Duration = Duration::from_secs(25);
const SETTLE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(50);
/// Connections of a viewer, and the files of everything else.
const FILES_PER_VIEWER: u64 = 2;
const OTHER_FILES: u64 = 256;

pub(crate) async fn run(plan: Plan) -> anyhow::Result<ExitCode> {
    let process = plan.pid.map(Process::open).transpose()?;
    process::allow_files(u64::from(plan.viewers) * FILES_PER_VIEWER + OTHER_FILES)?;
    let sample = || process.as_ref().map(Process::sample).transpose().context("the server's process has ended");
    let (tally, stop, progress) = (Arc::new(Tally::default()), CancellationToken::new(), Progress::new());
    let before = sample()?;
    let mut interrupted = std::pin::pin!(async {
        // Without the handler the run cannot be cut short, and that is all.
        let _ = tokio::signal::ctrl_c().await;
    });

    let mut viewers = JoinSet::new();
    let begun = async {
        begin(&plan, &mut viewers, &tally, &stop, &progress).await;
        playing(&plan, &tally, &progress).await;
    };
    let everybody = tokio::select! {
        () = begun => true,
        () = &mut interrupted => false,
    };
    let mut measured = Measured::default();
    if everybody && tally.playing.load(Relaxed) > 0 {
        let (from, sampled) = (Measured::now(&tally), sample()?);
        tally.is_measuring.store(true, Relaxed);
        tokio::select! {
            () = watch(&progress, &tally, plan.duration) => {}
            () = &mut interrupted => {}
        }
        tally.is_measuring.store(false, Relaxed);
        measured = Measured::now(&tally).since(&from);
        if let (Some(process), Some(before), Some(from), Some(to)) = (process, &before, &sampled, &sample()?) {
            measured.spent = Some(Spent::between(process, before, from, to, measured.seconds()));
        }
    }
    stop.cancel();
    progress.clear();
    let mut outcomes = Vec::with_capacity(plan.viewers as usize);
    while let Some(viewer) = viewers.join_next().await {
        outcomes.push(viewer.context("a viewer has panicked")?);
    }
    let figures = Figures::new(&plan, &measured, outcomes);
    if plan.json {
        println!("{}", figures.json());
    } else {
        print!("{}", figures.table());
    }
    Ok(if figures.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sends every viewer on its way, in the rhythm of the ramp.
async fn begin(
    plan: &Plan,
    viewers: &mut JoinSet<Outcome>,
    tally: &Arc<Tally>,
    stop: &CancellationToken,
    progress: &Progress,
) {
    let mut rhythm = tokio::time::interval(Duration::from_secs(1) / plan.ramp);
    let manner = Manner { plain: plan.plain, unpaced: plan.unpaced };
    for _ in 0..plan.viewers {
        rhythm.tick().await;
        joining(progress, plan, tally);
        let visit = Visit::new(&plan.web, plan.token.as_deref());
        let (url, tally, stop) = (plan.url.clone(), Arc::clone(tally), stop.clone());
        viewers.spawn(async move {
            let mut reports = [Report::default(), Report::default()];
            let outcome = {
                let watching = player::watch(visit, &url, manner, &tally, reports.each_mut());
                tokio::select! {
                    outcome = watching => outcome,
                    () = stop.cancelled() => Ok(()),
                }
            };
            tally.stopped.fetch_add(1, Relaxed);
            (reports, outcome)
        });
    }
}

/// Until everybody plays or has stopped, and a moment more.
async fn playing(plan: &Plan, tally: &Tally, progress: &Progress) {
    let deadline = Instant::now() + BEGIN_MAX;
    while tally.playing.load(Relaxed) + tally.stopped.load(Relaxed) < u64::from(plan.viewers)
        && Instant::now() < deadline
    {
        joining(progress, plan, tally);
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::sleep(SETTLE).await;
}

fn joining(progress: &Progress, plan: &Plan, tally: &Tally) {
    let (playing, stopped) = (tally.playing.load(Relaxed), tally.stopped.load(Relaxed));
    progress.show(format_args!("joining: {playing} of {} play, {stopped} stopped", plan.viewers));
}

/// Waits for `duration` and says how it goes.
async fn watch(progress: &Progress, tally: &Tally, duration: Duration) {
    let mut last = Measured::now(tally);
    progress
        .watch(duration, || {
            let now = Measured::now(tally);
            let step = now.since(&last);
            last = now;
            let playing = tally.playing.load(Relaxed).saturating_sub(tally.stopped.load(Relaxed));
            let (requests, megabits) = (step.per_second(step.requests()), step.per_second(step.bytes) * 8e-6);
            format!("{playing} viewers   {} requests/s   {megabits:.1} Mbit/s", grouped(requests as u64))
        })
        .await;
}
