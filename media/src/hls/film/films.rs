//! Which films there are, and how far those are that are being made.
//!
//! In: who asks for a film. Out: it, or how long it will be. Driven by requests and by two tasks of its own, which read films that
//! are kept, and make those that are not.
//!
//! A film is made when it is first asked for, and kept in the folder of its broadcast: it goes with it.

use super::maker::{self, FilmError};
use super::map::Film;
use super::plan::Plan;
use crate::model::BroadcastId;
use crate::store::Keeper;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[derive(Debug)]
pub(crate) struct Films {
    orders: mpsc::Sender<BroadcastId>,
    state: Mutex<State>,
    /// Held while a film is written, and while a broadcast is struck off: nothing is written of one that is to go.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Being made, or failed a moment ago.
    jobs: HashMap<BroadcastId, watch::Sender<Progress>>,
    /// Newest last.
    known: VecDeque<(BroadcastId, Arc<Film>)>,
}

#[derive(Debug, Clone)]
enum Progress {
    Waits,
    /// Of all segments.
    Read {
        done: usize,
        of: usize,
    },
    Made(Arc<Film>),
    Failed {
        why: Unavailable,
        until: Instant,
    },
}

/// How a film stands.
#[derive(Debug, Clone)]
pub(crate) enum Showing {
    Ready(Arc<Film>),
    /// A part of one.
    Preparing(f64),
    Not(Unavailable),
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unavailable {
    #[error("there is no replay of this show")]
    Nothing,
    #[error("the file could not be prepared, try again shortly")]
    Failed,
    #[error("too many files are being prepared, try again shortly")]
    Busy,
}

/// Films that may wait to be made. When full, whoever asks is told to come back.
const QUEUE: usize = 64;
/// Films made at the same time: a long one does not keep all others.
const MAKERS: usize = 2;
/// Films in memory. When there are more, or they are heavier, the one asked for longest ago goes; two hours take 5 MB.
const MAX_KNOWN: usize = 32;
const MAX_KNOWN_BYTES: usize = 64 * 1_024 * 1_024;
/// So long a failure is the answer, and then it is tried again.
const FAILED_FOR: Duration = Duration::from_secs(5);
/// Failures remembered.
const MAX_FAILED: usize = 256;
/// The name of a film in the folder of its broadcast.
const FILE: &str = "film";
/// A film of three days is smaller.
const MAX_BYTES: u64 = 512 * 1_024 * 1_024;

impl Films {
    pub(crate) fn open(keeper: &Keeper, tasks: &TaskTracker, cancel: &CancellationToken) -> Arc<Self> {
        let (orders, waiting) = mpsc::channel(QUEUE);
        let films = Arc::new(Self { orders, state: Mutex::default(), writing: tokio::sync::Mutex::default() });
        let waiting = Arc::new(tokio::sync::Mutex::new(waiting));
        for _ in 0..MAKERS {
            let (films, waiting, keeper) = (Arc::clone(&films), Arc::clone(&waiting), keeper.clone());
            let cancel = cancel.clone();
            tasks.spawn(async move {
                let work = films.work(&waiting, &keeper);
                tokio::select! {
                    () = work => {}
                    () = cancel.cancelled() => {}
                }
            });
        }
        films
    }

    /// How the film of a show stands; it is made if it is not there. Waits for it, but not longer than `patience`.
    pub(crate) async fn ask(&self, broadcast: &BroadcastId, patience: Duration) -> Showing {
        let mut progress = match self.look(broadcast) {
            Ok(showing) => return showing,
            Err(progress) => progress,
        };
        let ends = |progress: &Progress| matches!(progress, Progress::Made(_) | Progress::Failed { .. });
        // In time or not, what it has come to is the answer. One that nobody makes any more was struck off.
        let waited = tokio::time::timeout(patience, progress.wait_for(ends)).await;
        let is_struck_off = matches!(waited, Ok(Err(_)));
        drop(waited);
        if is_struck_off {
            return Showing::Not(Unavailable::Nothing);
        }
        let progress = progress.borrow().clone();
        match progress {
            Progress::Waits => Showing::Preparing(0.0),
            Progress::Read { done, of } => Showing::Preparing(done as f64 / of.max(1) as f64),
            Progress::Made(film) => Showing::Ready(film),
            Progress::Failed { why, .. } => Showing::Not(why),
        }
    }

    /// What is known at once, or where it will be told.
    fn look(&self, broadcast: &BroadcastId) -> Result<Showing, watch::Receiver<Progress>> {
        let mut state = self.state.lock();
        if let Some(film) = state.recall(broadcast) {
            return Ok(Showing::Ready(film));
        }
        if let Some(job) = state.jobs.get(broadcast) {
            match &*job.borrow() {
                Progress::Failed { until, .. } if *until <= Instant::now() => {}
                _ => return Err(job.subscribe()),
            }
        }
        // An order given before is still in the queue: the queue is what bounds those that wait.
        if self.orders.try_send(broadcast.clone()).is_err() {
            return Ok(Showing::Not(Unavailable::Busy));
        }
        state.forget_failures();
        let (job, progress) = watch::channel(Progress::Waits);
        state.jobs.insert(broadcast.clone(), job);
        Err(progress)
    }

    /// What was known of a film is out of date, and nothing more will be written of it: its broadcast goes.
    pub(crate) async fn strike(&self, broadcast: &BroadcastId) {
        let _nobody_writes = self.writing.lock().await;
        let mut state = self.state.lock();
        state.jobs.remove(broadcast);
        state.known.retain(|(known, _)| known != broadcast);
    }

    /// What it was made of has changed: it is to be made again.
    pub(crate) async fn renounce(&self, broadcast: &BroadcastId, keeper: &Keeper) {
        self.strike(broadcast).await;
        if let Err(error) = keeper.drop_note(broadcast, FILE).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(broadcast.id = %broadcast, error, "a film that is out of date cannot be removed");
        }
    }

    async fn work(&self, waiting: &tokio::sync::Mutex<mpsc::Receiver<BroadcastId>>, keeper: &Keeper) {
        loop {
            let Some(broadcast) = waiting.lock().await.recv().await else { return };
            let made = self.film_of(&broadcast, keeper).await;
            let why = match &made {
                Ok(_) | Err(FilmError::Unwanted) => None,
                Err(FilmError::Nothing) => Some(Unavailable::Nothing),
                Err(FilmError::Store(_) | FilmError::TooLong | FilmError::Head(_)) => Some(Unavailable::Failed),
            };
            if let (Some(Unavailable::Failed), Err(error)) = (why, &made) {
                let error = error as &dyn std::error::Error;
                tracing::error!(broadcast.id = %broadcast, error, "the film of a replay cannot be made");
            }
            let mut state = self.state.lock();
            let Some(job) = state.jobs.get(&broadcast) else { continue };
            match (made, why) {
                (Ok(film), _) => {
                    let film = Arc::new(film);
                    job.send_replace(Progress::Made(Arc::clone(&film)));
                    state.jobs.remove(&broadcast);
                    state.remember(broadcast, film);
                }
                (Err(_), Some(why)) => {
                    job.send_replace(Progress::Failed { why, until: Instant::now() + FAILED_FOR });
                }
                (Err(_), None) => drop(state.jobs.remove(&broadcast)),
            }
        }
    }

    /// The film that is kept, when it is of this journal; else a new one.
    async fn film_of(&self, broadcast: &BroadcastId, keeper: &Keeper) -> Result<Film, FilmError> {
        let plan = Plan::of(keeper.archived(broadcast).await?).ok_or(FilmError::Nothing)?;
        if let Some(bytes) = keeper.note_of(broadcast, FILE, MAX_BYTES).await? {
            match Film::from_bytes(&bytes).filter(|film| film.is_of(&plan.digest)) {
                Some(film) => return Ok(film),
                None => {
                    tracing::warn!(broadcast.id = %broadcast, "a kept film is damaged or out of date and is made again")
                }
            }
        }
        let (of, begun) = (plan.pieces.len(), Instant::now());
        let progress = |done| self.tell(broadcast, Progress::Read { done, of });
        let film = maker::make(plan, broadcast, keeper, progress).await?;
        let _nobody_strikes = self.writing.lock().await;
        if !self.tell(broadcast, Progress::Read { done: of, of }) {
            return Err(FilmError::Unwanted);
        }
        // Without it the film is made again after a restart.
        if let Err(error) = keeper.keep_note(broadcast, FILE, film.to_bytes()).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(broadcast.id = %broadcast, error, "a film cannot be kept");
        }
        let (took, duration) = (begun.elapsed(), film.duration);
        tracing::info!(broadcast.id = %broadcast, segments = of, bytes = film.len(), ?duration, ?took, "film made");
        Ok(film)
    }

    /// `false`: nobody asks for it any more.
    fn tell(&self, broadcast: &BroadcastId, progress: Progress) -> bool {
        let state = self.state.lock();
        let job = state.jobs.get(broadcast);
        job.is_some_and(|job| {
            job.send_replace(progress);
            true
        })
    }
}

impl State {
    fn recall(&mut self, broadcast: &BroadcastId) -> Option<Arc<Film>> {
        let place = self.known.iter().position(|(known, _)| known == broadcast)?;
        let found = self.known.remove(place)?;
        let film = Arc::clone(&found.1);
        self.known.push_back(found);
        Some(film)
    }

    fn remember(&mut self, broadcast: BroadcastId, film: Arc<Film>) {
        self.known.retain(|(known, _)| *known != broadcast);
        self.known.push_back((broadcast, film));
        let weight =
            |known: &VecDeque<(BroadcastId, Arc<Film>)>| -> usize { known.iter().map(|(_, film)| film.weight()).sum() };
        while self.known.len() > 1 && (self.known.len() > MAX_KNOWN || weight(&self.known) > MAX_KNOWN_BYTES) {
            self.known.pop_front();
        }
    }

    fn forget_failures(&mut self) {
        let now = Instant::now();
        let failed = |job: &watch::Sender<Progress>| matches!(*job.borrow(), Progress::Failed { .. });
        self.jobs.retain(|_, job| !matches!(*job.borrow(), Progress::Failed { until, .. } if until <= now));
        if self.jobs.values().filter(|job| failed(job)).count() >= MAX_FAILED {
            self.jobs.retain(|_, job| !failed(job));
        }
    }
}
