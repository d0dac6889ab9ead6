//! Settings of the control plane: what each means, its unit, its default, and what moving it costs.
//!
//! The binary reads them from its file and environment; [`ControlConfig::faults`] cross-checks the result.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use crate::fault::ConfigFault;
use crate::secret::Secret;

/// Everything the control plane can be told.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlConfig {
    /// Where the embedded database and generated keys live. Filled in by the binary.
    #[serde(skip)]
    pub data_dir: PathBuf,
    pub database: DatabaseConfig,
    pub auth: AuthConfig,
    pub api: ApiConfig,
    pub ws: WsConfig,
    pub chat: ChatConfig,
    pub session: SessionConfig,
    pub recording: RecordingConfig,
    pub public: PublicConfig,
}

/// `[database]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `postgres://user:password@host/name` or `sqlite:/path/file.db`. Empty (the default): SQLite in the data directory.
    pub url: Secret,
    /// Connections: all of them on PostgreSQL, readers on SQLite. Default 8. More serve more requests at once and cost
    /// the server memory (PostgreSQL: about 10 MiB each).
    pub pool_size: u32,
    /// How long a request waits for a free connection before it is answered 503. Default 3 s. Longer rides out
    /// spikes, shorter sheds load sooner.
    #[serde(with = "humantime_serde")]
    pub acquire_timeout: Duration,
    /// PostgreSQL: longest statement. Default 5 s. Longer lets a slow query hold a connection longer.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// PostgreSQL: longest wait for a row lock. Default 2 s.
    #[serde(with = "humantime_serde")]
    pub lock_timeout: Duration,
    /// SQLite: how long to wait for another process's lock. Default 5 s.
    #[serde(with = "humantime_serde")]
    pub busy_timeout: Duration,
    /// SQLite: `normal` (default) survives a crash of the program but may lose the last moments on power failure;
    /// `full` waits for the disk at every commit, about ten times slower.
    pub sqlite_sync: SqliteSync,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            pool_size: 8,
            acquire_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(2),
            busy_timeout: Duration::from_secs(5),
            sqlite_sync: SqliteSync::Normal,
        }
    }
}

/// How far SQLite's commit goes before it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SqliteSync {
    Normal,
    Full,
}

/// `[auth]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Signs access tokens with HS256. Empty (the default): an Ed25519 key is generated once and kept in the data
    /// directory. Several nodes must share one secret. At least 32 characters.
    pub jwt_secret: Secret,
    /// Lifetime of access tokens. Default 1 h. A stolen token works this long; a shorter life means more refreshes.
    #[serde(with = "humantime_serde")]
    pub access_token_ttl: Duration,
    /// A login ends when it was not refreshed for this long. Default 30 days.
    #[serde(with = "humantime_serde")]
    pub refresh_token_ttl: Duration,
    /// Lifetime of the tickets `joinSession` gives out. Default 6 h: a long evening without asking again.
    #[serde(with = "humantime_serde")]
    pub ticket_ttl: Duration,
    /// argon2id memory per hash in KiB. Default 19456 (19 MiB). More resists cracking better and costs that much memory
    /// per hashing thread.
    pub argon2_memory_kib: u32,
    /// argon2id passes. Default 2. CPU per login grows with it.
    pub argon2_passes: u32,
    /// Threads that hash passwords. Default 1: logins then never take more than one core from live media.
    pub hash_threads: usize,
    /// Logins waiting for a hashing thread; beyond it they are answered 503 at once. Default 32, about a second's work.
    pub hash_queue: usize,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            jwt_secret: Secret::default(),
            access_token_ttl: Duration::from_secs(3600),
            refresh_token_ttl: Duration::from_secs(30 * 86_400),
            ticket_ttl: Duration::from_secs(6 * 3600),
            argon2_memory_kib: 19_456,
            argon2_passes: 2,
            hash_threads: 1,
            hash_queue: 32,
        }
    }
}

/// `[api]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Largest request body in bytes. Default 262144 (256 KiB). The app's largest real call is under 8 KiB.
    pub body_max_bytes: usize,
    /// Most calls in one batch. Default 10. Each runs at once, so this multiplies what one request may cost.
    pub batch_max: usize,
    /// Longest time for one request, its body included. Default 15 s.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// Proxies whose `X-Forwarded-For` is believed, as networks (`10.0.0.0/8`) . Default: none. Naming too much lets
    /// callers choose their own address and escape rate limits.
    pub trusted_proxies: Vec<IpNet>,
    pub limits: RateLimits,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            body_max_bytes: 256 * 1024,
            batch_max: 10,
            request_timeout: Duration::from_secs(15),
            trusted_proxies: Vec::new(),
            limits: RateLimits::default(),
        }
    }
}

/// `[api.limits]`: how often one caller may ask. The app's busiest screen polls about 62 times a minute.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    /// Queries by one user. Default 50/s, burst 100.
    pub user_queries: Rate,
    /// Mutations by one user. Default 10/s, burst 20.
    pub user_mutations: Rate,
    /// Anything by one address without a sign-in. Default 20/s, burst 60; people behind one carrier address share it.
    pub anonymous: Rate,
    /// Logins to one account from one address. Default 1 in 30 s, burst 5.
    pub login_account: Rate,
    /// Logins from one address. Default 1 in 2 s, burst 30.
    pub login_address: Rate,
    /// New accounts from one address. Default 1 in 12 min, burst 5.
    pub register_address: Rate,
    /// Token refreshes of one login. Default 1/s, burst 5.
    pub refresh_login: Rate,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            user_queries: Rate::per_second(50, 100),
            user_mutations: Rate::per_second(10, 20),
            anonymous: Rate::per_second(20, 60),
            login_account: Rate::every(Duration::from_secs(30), 5),
            login_address: Rate::every(Duration::from_secs(2), 30),
            register_address: Rate::every(Duration::from_secs(720), 5),
            refresh_login: Rate::every(Duration::from_secs(1), 5),
        }
    }
}

/// A token bucket: `burst` at once, then one more each `every`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    pub burst: NonZeroU32,
}

impl Rate {
    pub const fn every(every: Duration, burst: u32) -> Self {
        Self { every, burst: NonZeroU32::new(burst).expect("a burst holds at least one") }
    }

    pub const fn per_second(count: u32, burst: u32) -> Self {
        Self::every(Duration::from_nanos(1_000_000_000 / count as u64), burst)
    }
}

/// `[ws]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WsConfig {
    /// Sockets on this node; beyond it the handshake is answered 503. Default 20000, about 12 KiB each.
    pub sockets_max: usize,
    /// Sockets from one address. Default 1000: a school or carrier shares one, and every page that watches has a socket.
    pub sockets_per_address: usize,
    /// Sockets of one user. Default 10.
    pub sockets_per_user: usize,
    /// Rooms one socket may be in. Default 16.
    pub rooms_per_socket: usize,
    /// Largest text frame from a client in bytes. Default 16384.
    pub frame_max_bytes: usize,
    /// Read buffer per socket in bytes. Default 4096; it is what an idle socket costs.
    pub read_buffer_bytes: usize,
    /// New sockets on this node. Default 200/s; beyond it the handshake is answered 429, so that a storm of reconnects
    /// arrives in pieces.
    pub handshakes: Rate,
    /// Frames a room remembers, shared by all its sockets: a slow socket is replayed from here, and one that falls out of
    /// it is closed with 4008. Default 2000. More forgives longer stalls.
    pub room_frames_max: usize,
    /// The same in bytes. Default 1048576 (1 MiB), the most a busy room costs.
    pub room_bytes_max: usize,
    /// How long a room remembers, and how long an empty room is kept for those who lost their connection. Default 5 min.
    #[serde(with = "humantime_serde")]
    pub room_memory: Duration,
    /// Join and leave frames a room hears per second; beyond it only the count is told. Default 20.
    pub room_presence_per_second: u32,
    /// How often the server pings. Default 25 s, below the idle limit of common proxies.
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    /// A socket silent for this long after a ping is closed. Default 8 s.
    #[serde(with = "humantime_serde")]
    pub pong_timeout: Duration,
    /// How long one write to a slow socket may take before it is closed. Default 10 s.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// Client commands on one socket. Default 20/s, burst 40; beyond it commands are refused, then the socket is
    /// closed with 4029.
    pub commands: Rate,
}

impl Default for WsConfig {
    fn default() -> Self {
        Self {
            sockets_max: 20_000,
            sockets_per_address: 1_000,
            sockets_per_user: 10,
            rooms_per_socket: 16,
            frame_max_bytes: 16 * 1024,
            read_buffer_bytes: 4096,
            handshakes: Rate::per_second(200, 200),
            room_frames_max: 2000,
            room_bytes_max: 1024 * 1024,
            room_memory: Duration::from_secs(300),
            room_presence_per_second: 20,
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(8),
            write_timeout: Duration::from_secs(10),
            commands: Rate::per_second(20, 40),
        }
    }
}

/// `[chat]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChatConfig {
    /// Longest message in characters. Default and ceiling 500, the app's own bound.
    pub message_max: u32,
    /// How often one user may write. Default 1 in 1.5 s, burst 3; hosts are exempt.
    pub rate: Rate,
}

impl Default for ChatConfig {
    fn default() -> Self {
        Self { message_max: 500, rate: Rate::every(Duration::from_millis(1500), 3) }
    }
}

/// `[session]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionConfig {
    /// Sessions of one host that have not ended. Default 10; each holds a valid stream key.
    pub unfinished_per_host: u32,
    /// A session that saw no media for this long after its creation (or its scheduled time) is ended when its host makes
    /// the next one. Default 24 h. Shorter frees forgotten keys sooner.
    #[serde(with = "humantime_serde")]
    pub waiting_max: Duration,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self { unfinished_per_host: 10, waiting_max: Duration::from_secs(24 * 3600) }
    }
}

/// `[recording]`: what is kept of shows, for their replays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordingConfig {
    /// Whether shows are kept. Default true. Off: no show can be watched after its end, and the disk holds no media. On:
    /// hosts may still turn it off for a show, with `recording` of `createSession`.
    pub enabled: bool,
    /// Replays of shows that ended longer ago, in days, are deleted. Default 0: none is. Fewer days take less disk.
    pub keep_days: u32,
    /// How far back viewers of a live show may go. Filled in by the binary from `hls.dvr_window`.
    #[serde(skip)]
    pub rewind_window: Duration,
}

impl Default for RecordingConfig {
    fn default() -> Self {
        Self { enabled: true, keep_days: 0, rewind_window: Duration::ZERO }
    }
}

impl RecordingConfig {
    /// How old a replay may become; `None` for as old as it likes.
    pub(crate) fn keep_for(self) -> Option<Duration> {
        (self.keep_days > 0).then(|| Duration::from_secs(u64::from(self.keep_days) * 86_400))
    }
}

/// `[public]`: the addresses other machines are told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublicConfig {
    /// Where encoders push; they append `/<streamKey>`. `RTMP_SERVER_URL` wins over it.
    pub rtmp_url: String,
    /// What `/<sessionId>/index.m3u8` is appended to; it may be a CDN before the bucket. `HLS_SERVER_URL` wins over it.
    /// Private shows play from `base_url` whatever it says, because a CDN asks nobody who may watch.
    pub hls_url: String,
    /// This server's own address; `/ws` of it is what clients are told for chat, `/hls` for private shows.
    pub base_url: String,
}

impl Default for PublicConfig {
    fn default() -> Self {
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            rtmp_url: format!("rtmp://{host}:1935/live"),
            hls_url: format!("http://{host}:3000/hls"),
            base_url: format!("http://{host}:3000"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_leave_through_serde() {
        let mut config = ControlConfig::default();
        config.auth.jwt_secret = Secret::new("a-secret-of-at-least-32-characters");
        let printed = serde_json::to_string(&config).unwrap();
        assert!(!printed.contains("a-secret"), "{printed}");
        assert!(!format!("{config:?}").contains("a-secret"));
    }
}
