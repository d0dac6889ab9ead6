//! A stage for slice stories: the live slices on a throwaway database, with people and a live plane that takes notes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::TestDatabase;
use crate::auth::{AccessTokens, TokenKey};
use crate::bus::{Bus, DomainEvent, Heard, Subscription};
use crate::caller::{Caller, ClientAddress, Identity, Language, SignedIn, UserIdentity};
use crate::chat::Chat;
use crate::clock::{Clock, Timestamp};
use crate::cohost::CoHosts;
use crate::config::{ChatConfig, PublicConfig, RecordingConfig, SessionConfig};
use crate::db::statements;
use crate::id::{LoginId, SessionId, UserId};
use crate::ports::LivePlane;
use crate::presence::{Ingress, LiveFact, LiveIngress, Slices, channel};
use crate::secret::Secret;
use crate::session::{Created, Details, EndReason, Parts, SessionKind, Sessions, TicketPrinter};
use crate::video::Videos;

statements! {
    ADD_USER = "insert into app_user (user_id, email, email_folded, username, display_name, password_hash, avatar,
            preferences, created_at, last_active_at)
        values ($1, $2, $2, $2, $3, '', $4, '{}', 0, 0)";
}

/// Everything a story needs. The clock stands until it is moved.
pub(crate) struct Stage {
    pub(crate) db: TestDatabase,
    pub(crate) clock: Clock,
    pub(crate) bus: Bus,
    pub(crate) sessions: Sessions,
    pub(crate) co_hosts: CoHosts,
    /// Its archivist runs only in stories of its own.
    pub(crate) videos: Videos,
    pub(crate) chat: Chat,
    pub(crate) presence: LiveIngress,
    pub(crate) plane: Arc<NotedOrders>,
    pub(crate) tokens: AccessTokens,
    _presence_runs: DropGuard,
}

/// A live plane that does nothing but note its orders.
#[derive(Default)]
pub(crate) struct NotedOrders {
    pub(crate) ended: Mutex<Vec<(SessionId, EndReason)>>,
    /// And who was let in again: `false`.
    pub(crate) ejected: Mutex<Vec<(SessionId, String, bool)>>,
    pub(crate) co_hosts_ended: Mutex<Vec<(SessionId, UserId)>>,
    pub(crate) co_hosts_muted: Mutex<Vec<(SessionId, UserId, bool)>>,
    pub(crate) settled: Mutex<Vec<SessionId>>,
    pub(crate) deleted: Mutex<Vec<(SessionId, Vec<UserId>)>>,
}

#[async_trait]
impl LivePlane for NotedOrders {
    async fn end_broadcast(&self, session_id: &SessionId, reason: EndReason) {
        self.ended.lock().push((session_id.clone(), reason));
    }

    async fn eject_viewer(&self, session_id: &SessionId, viewer_id: &str) {
        self.ejected.lock().push((session_id.clone(), viewer_id.to_owned(), true));
    }

    async fn readmit_viewer(&self, session_id: &SessionId, viewer_id: &str) {
        self.ejected.lock().push((session_id.clone(), viewer_id.to_owned(), false));
    }

    async fn end_co_host(&self, session_id: &SessionId, user_id: &UserId) {
        self.co_hosts_ended.lock().push((session_id.clone(), user_id.clone()));
    }

    async fn mute_co_host(&self, session_id: &SessionId, user_id: &UserId, muted: bool) {
        self.co_hosts_muted.lock().push((session_id.clone(), user_id.clone(), muted));
    }

    async fn settle_recording(&self, session_id: &SessionId) {
        self.settled.lock().push(session_id.clone());
    }

    async fn delete_recording(&self, session_id: &SessionId, co_hosts: &[UserId]) {
        self.deleted.lock().push((session_id.clone(), co_hosts.to_vec()));
    }
}

impl Stage {
    pub(crate) async fn on(db: TestDatabase) -> Self {
        let clock = Clock::standing(Timestamp::from_unix_seconds(1_800_000_000));
        let (bus, plane) = (Bus::new(), Arc::new(NotedOrders::default()));
        let (presence, facts) = channel();
        let key = TokenKey::from_secret(&Secret::new("a secret of thirty-two characters"), clock.clone());
        let tokens = AccessTokens::new(key.clone(), Duration::from_secs(3600));
        let sessions = Sessions::new(Parts {
            db: db.clone(),
            bus: bus.clone(),
            plane: Arc::clone(&plane) as Arc<dyn LivePlane>,
            presence: presence.clone(),
            tickets: TicketPrinter::new(key, Duration::from_secs(3600)),
            clock: clock.clone(),
            config: SessionConfig::default(),
            recording: RecordingConfig::default(),
            public: PublicConfig::default(),
        });
        let orders = Arc::clone(&plane) as Arc<dyn LivePlane>;
        let co_hosts = CoHosts::new(db.clone(), bus.clone(), clock.clone(), sessions.clone(), orders);
        let chat = Chat::new(db.clone(), bus.clone(), clock.clone(), sessions.clone(), &ChatConfig::default());
        let stop = CancellationToken::new();
        let orders = Arc::clone(&plane) as Arc<dyn LivePlane>;
        let recording = RecordingConfig { enabled: true, keep_days: 30, rewind_window: Duration::ZERO };
        let videos = Videos::new(db.clone(), clock.clone(), sessions.clone(), orders, recording);
        let slices = Slices { sessions: sessions.clone(), co_hosts: co_hosts.clone(), videos: videos.clone() };
        let ingress = Ingress::new(slices, bus.clone(), clock.clone(), &facts);
        tokio::spawn(ingress.run(facts, stop.clone()));
        tokio::spawn(co_hosts.clone().run(stop.clone()));
        let _presence_runs = stop.drop_guard();
        Self { db, clock, bus, sessions, co_hosts, videos, chat, presence, plane, tokens, _presence_runs }
    }

    /// Somebody with an account, signed in.
    pub(crate) async fn user(&self, name: &str) -> SignedIn {
        add_user(&self.db, name).await
    }

    /// A public video session of `host`, waiting for media.
    pub(crate) async fn session(&self, host: &SignedIn) -> Created {
        self.sessions.create(&host.user_id, details("A show")).await.expect("a new session")
    }

    /// The same, gone live.
    pub(crate) async fn live_session(&self, host: &SignedIn) -> Created {
        let created = self.session(host).await;
        self.presence.tell(LiveFact::WentLive { session_id: created.session.id.clone(), at: self.now() }).await;
        self.presence.settle(&created.session.id).await;
        created
    }

    /// Now, as media tells it.
    pub(crate) fn now(&self) -> std::time::SystemTime {
        self.clock.now().into()
    }
}

/// Somebody with an account, signed in.
pub(crate) async fn add_user(db: &TestDatabase, name: &str) -> SignedIn {
    let user_id = UserId::generate();
    let mut tx = db.begin().await.expect("a transaction");
    let query = ADD_USER.on(&mut tx).bind(&user_id).bind(user_id.as_str()).bind(name).bind(avatar(name));
    query.execute().await.expect("a new user");
    tx.commit().await.expect("a commit");
    let (login_id, language) = (LoginId::generate(), Language::English);
    SignedIn { user_id, login_id, language, address: address() }
}

pub(crate) fn avatar(name: &str) -> Option<String> {
    Some(format!("https://cdn.test/{name}.png"))
}

pub(crate) fn address() -> ClientAddress {
    ClientAddress::new([192, 0, 2, 1].into())
}

pub(crate) fn guest() -> Caller {
    Caller::anonymous(address())
}

/// The same person, as procedures open to everybody meet them.
pub(crate) fn caller(user: &SignedIn) -> Caller {
    let SignedIn { user_id, login_id, language, address } = user.clone();
    Caller { identity: Identity::User(UserIdentity { user_id, login_id, language }), language, address }
}

pub(crate) fn details(title: &str) -> Details {
    Details {
        title: title.into(),
        description: None,
        kind: SessionKind::Video,
        category: None,
        is_private: false,
        max_viewers: None,
        scheduled_at: None,
        is_recorded: true,
        allow_download: false,
    }
}

/// The next event; a story that waits longer than this has failed.
pub(crate) async fn next(events: &mut Subscription) -> DomainEvent {
    let heard = tokio::time::timeout(Duration::from_secs(10), events.next()).await.expect("an event in time");
    let Heard::Event(event) = heard else { panic!("expected an event, heard {heard:?}") };
    event
}
