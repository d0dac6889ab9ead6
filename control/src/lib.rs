//! Control plane: sessions, chat, users and viewers, over tRPC and one WebSocket.
//!
//! [`Control::build`] opens the database, starts the workers and hands out what the binary composes: a router, media's
//! admission and ingress, and what a restart needs. It never names the media plane: what it orders of it is a port
//! ([`ports::LivePlane`]), what it hears of it a fact ([`presence::LiveFact`]).

pub mod admission;
pub mod auth;
mod bus;
pub mod caller;
mod chat;
pub mod clock;
mod cohost;
pub mod config;
pub mod db;
pub mod demo;
pub mod error;
mod fault;
pub mod id;
mod pages;
mod plain_text;
pub mod ports;
pub mod presence;
mod rate;
pub mod secret;
pub mod session;
#[cfg(any(test, feature = "test-support"))]
pub mod testing;
pub mod trpc;
mod user;
pub mod video;
mod ws;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::admission::Admission;
use self::auth::{AccessTokens, Auth, KeyError, TokenKey};
use self::bus::Bus;
use self::caller::CallerReader;
use self::chat::Chat;
use self::clock::Clock;
use self::cohost::CoHosts;
use self::config::ControlConfig;
use self::db::{Database, DbError};
use self::demo::DemoShow;
use self::error::Error;
use self::id::SessionId;
use self::ports::LivePlane;
use self::presence::{Ingress, LiveIngress, Slices};
use self::session::{Parts, Sessions, TicketPrinter};
use self::trpc::{Api, Table};
use self::user::Users;
use self::video::Videos;
use self::ws::{Services, Ws};

/// Why the control plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(
        "the database cannot be opened; may this user write to the data directory (CHOBI_DATA_DIR), or is DATABASE_URL right?"
    )]
    Database(#[from] DbError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the sessions of the last run cannot be read")]
    Sessions(#[source] Error),
}

/// The running control plane.
pub struct Control {
    router: Router,
    table: Table,
    admission: Admission,
    ingress: LiveIngress,
    /// Live when the server last stopped.
    resumable: Vec<SessionId>,
    sessions: Sessions,
    db: Database,
    clock: Clock,
    ws: Arc<Ws>,
    workers: TaskTracker,
    stop: CancellationToken,
}

impl Control {
    /// Opens the database, brings it up to date and starts the workers. `config` is known to have no faults.
    pub async fn build(config: ControlConfig, plane: Arc<dyn LivePlane>) -> Result<Self, BuildError> {
        let (clock, bus, stop) = (Clock::system(), Bus::new(), CancellationToken::new());
        let db = Database::open(&config.database, &config.data_dir).await?;
        let key = if config.auth.jwt_secret.is_empty() {
            TokenKey::in_data_dir(&config.data_dir, clock.clone())?
        } else {
            TokenKey::from_secret(&config.auth.jwt_secret, clock.clone())
        };
        let tokens = AccessTokens::new(key.clone(), config.auth.access_token_ttl);
        let auth = Auth::new(db.clone(), clock.clone(), tokens.clone(), &config.auth, &config.api.limits);
        let users = Users::new(db.clone(), clock.clone());
        let callers = CallerReader::new(tokens, config.api.trusted_proxies.clone());

        let (ingress, facts) = presence::channel();
        let sessions = Sessions::new(Parts {
            db: db.clone(),
            bus: bus.clone(),
            plane: Arc::clone(&plane),
            presence: ingress.clone(),
            tickets: TicketPrinter::new(key, config.auth.ticket_ttl),
            clock: clock.clone(),
            config: config.session.clone(),
            recording: config.recording,
            public: config.public.clone(),
        });
        let co_hosts = CoHosts::new(db.clone(), bus.clone(), clock.clone(), sessions.clone(), Arc::clone(&plane));
        let videos = Videos::new(db.clone(), clock.clone(), sessions.clone(), plane, config.recording);
        let chat = Chat::new(db.clone(), bus.clone(), clock.clone(), sessions.clone(), &config.chat);
        let resumable = sessions.interrupt_all().await.map_err(BuildError::Sessions)?;
        let since = clock.now().minus(config.auth.ticket_ttl);
        co_hosts.put_out_again(since).await.map_err(BuildError::Sessions)?;

        let table = Table::default()
            .with(auth::namespace(auth))
            .with(user::namespace(users))
            .with(session::namespace(sessions.clone()))
            .with(cohost::namespace(co_hosts.clone()))
            .with(video::namespace(videos.clone()))
            .with(chat::namespace(chat.clone()));
        let api = Api::new(table.clone(), callers.clone(), &config.api);
        let (presence, clock_of_ws) = (ingress.clone(), clock.clone());
        let services = Services { callers, sessions: sessions.clone(), chat, presence, clock: clock_of_ws };
        let ws = Ws::new(config.ws.clone(), services);
        let pages = pages::router_playing_from(&config.public.hls_url);
        let router = api.router().merge(ws.router()).merge(pages);

        let workers = TaskTracker::new();
        let slices = Slices { sessions: sessions.clone(), co_hosts: co_hosts.clone(), videos: videos.clone() };
        let reader = Ingress::new(slices, bus.clone(), clock.clone(), &facts);
        workers.spawn(reader.run(facts, stop.clone()));
        workers.spawn(co_hosts.run(stop.clone()));
        workers.spawn(videos.run(stop.clone()));
        workers.spawn(ws.run_rooms(&bus, stop.clone()));
        workers.close();
        let admission = Admission::new(sessions.clone());
        Ok(Self { router, table, admission, ingress, resumable, sessions, db, clock, ws, workers, stop })
    }

    /// `/api`, `/api/trpc`, `/trpc`, `/ws` and the pages. Peers arrive as `ConnectInfo<SocketAddr>`.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The TypeScript type of the API, as `control/web/src/api/app-router.ts` holds it.
    pub fn app_router(&self) -> String {
        self.table.typescript()
    }

    /// Where media asks who may publish and watch.
    pub fn admission(&self) -> Admission {
        self.admission.clone()
    }

    /// Where media tells its facts.
    pub fn ingress(&self) -> LiveIngress {
        self.ingress.clone()
    }

    /// Sessions that were live when the server last stopped: media expects their publishers for the grace.
    pub async fn resumable_sessions(&self) -> Vec<SessionId> {
        self.resumable.clone()
    }

    /// A public session of the demo host by that title, there again after every start.
    pub async fn demo_show(&self, title: &str) -> Result<DemoShow, Error> {
        demo::show(&self.db, &self.sessions, title, self.clock.now()).await
    }

    /// Whether a request would be served: proved by a write to the database.
    pub async fn readiness(&self) -> Result<(), String> {
        self.db.probe().await.map_err(|error| error.to_string())
    }

    /// Asks sockets to reconnect elsewhere, lets the workers finish what they hold, and closes the database. Takes no
    /// longer than `deadline`; what is left then is dropped.
    pub async fn shutdown(&self, deadline: Duration) {
        self.ws.drain(deadline.mul_f64(0.7)).await;
        self.stop.cancel();
        let rest = async {
            self.workers.wait().await;
            self.db.close().await;
        };
        if tokio::time::timeout(deadline.mul_f64(0.3), rest).await.is_err() {
            tracing::warn!("control workers were still busy when the time to stop was over");
        }
    }
}

/// Brings the configured database up to date, and nothing else.
pub async fn migrate(config: &ControlConfig) -> Result<(), BuildError> {
    Database::open(&config.database, &config.data_dir).await?.close().await;
    Ok(())
}
