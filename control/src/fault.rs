//! Settings that contradict themselves or each other.
//!
//! In: a parsed configuration. Out: every fault at once, each with its key, what is wrong and how to mend it, before
//! anything is opened or bound.

use std::fmt;
use std::time::Duration;

use crate::config::{ApiConfig, AuthConfig, ControlConfig, DatabaseConfig, PublicConfig, WsConfig};

/// One setting that cannot be right, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    pub key: &'static str,
    pub problem: String,
    pub mend: String,
}

impl ControlConfig {
    /// All settings that contradict themselves or each other; empty when the plane can be built.
    pub fn faults(&self) -> Vec<ConfigFault> {
        let mut faults = Faults::default();
        self.database.check(&mut faults);
        self.auth.check(&mut faults);
        self.api.check(&mut faults);
        self.ws.check(&mut faults);
        faults.within("chat.message_max", self.chat.message_max, 1, 500);
        self.public.check(&mut faults);
        faults.0
    }
}

#[derive(Default)]
struct Faults(Vec<ConfigFault>);

impl Faults {
    fn unless(&mut self, holds: bool, key: &'static str, problem: impl Into<String>, mend: impl Into<String>) {
        if !holds {
            self.0.push(ConfigFault { key, problem: problem.into(), mend: mend.into() });
        }
    }

    fn within<N: PartialOrd + fmt::Display>(&mut self, key: &'static str, value: N, least: N, most: N) {
        let holds = value >= least && value <= most;
        self.unless(holds, key, format!("{value} is out of range"), format!("choose {least} to {most}"));
    }
}

impl DatabaseConfig {
    fn check(&self, faults: &mut Faults) {
        let url = self.url.reveal();
        faults.unless(
            url.is_empty() || ["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)),
            "database.url",
            "neither sqlite: nor postgres://",
            "leave it empty for the embedded database or give postgres://user:password@host/name",
        );
        faults.within("database.pool_size", self.pool_size, 1, 256);
    }
}

impl AuthConfig {
    fn check(&self, faults: &mut Faults) {
        let secret = self.jwt_secret.reveal().chars().count();
        faults.unless(
            secret == 0 || secret >= 32,
            "auth.jwt_secret",
            format!("{secret} characters can be guessed"),
            "use at least 32 random characters, or leave it empty to have a key generated",
        );
        faults.unless(
            self.access_token_ttl >= Duration::from_secs(60) && self.access_token_ttl <= self.refresh_token_ttl,
            "auth.access_token_ttl",
            format!("{:?} with a refresh lifetime of {:?}", self.access_token_ttl, self.refresh_token_ttl),
            "choose one minute or more, and not more than auth.refresh_token_ttl",
        );
        faults.within("auth.argon2_memory_kib", self.argon2_memory_kib, 8192, 1_048_576);
        faults.within("auth.argon2_passes", self.argon2_passes, 1, 10);
        faults.within("auth.hash_threads", self.hash_threads, 1, 64);
        faults.within("auth.hash_queue", self.hash_queue, 1, 1024);
    }
}

impl ApiConfig {
    fn check(&self, faults: &mut Faults) {
        faults.within("api.body_max_bytes", self.body_max_bytes, 1024, 16 << 20);
        faults.within("api.batch_max", self.batch_max, 1, 100);
        let limit = self.request_timeout;
        faults.unless(
            limit >= Duration::from_secs(1) && limit <= Duration::from_secs(300),
            "api.request_timeout",
            format!("{limit:?} is out of range"),
            "choose 1s to 5m",
        );
    }
}

impl WsConfig {
    fn check(&self, faults: &mut Faults) {
        faults.within("ws.room_frames_max", self.room_frames_max, 16, 65_536);
        faults.within("ws.rooms_per_socket", self.rooms_per_socket, 1, 1024);
        faults.within("ws.frame_max_bytes", self.frame_max_bytes, 1024, 1 << 20);
        faults.within("ws.read_buffer_bytes", self.read_buffer_bytes, 512, 1 << 20);
    }
}

impl PublicConfig {
    fn check(&self, faults: &mut Faults) {
        for (key, url, schemes) in [
            ("public.rtmp_url", &self.rtmp_url, ["rtmp://", "rtmps://"]),
            ("public.hls_url", &self.hls_url, ["http://", "https://"]),
            ("public.base_url", &self.base_url, ["http://", "https://"]),
        ] {
            let known = schemes.iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme));
            let mend = format!("begin with {} or {} and a host", schemes[0], schemes[1]);
            faults.unless(known, key, format!("{url:?} is no such address"), mend);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn defaults_have_no_faults() {
        assert_eq!(ControlConfig::default().faults(), []);
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let mut config = ControlConfig::default();
        config.database.url = Secret::new("mysql://localhost/x");
        config.auth.jwt_secret = Secret::new("short");
        config.auth.access_token_ttl = Duration::from_secs(90 * 86_400);
        config.api.batch_max = 0;
        config.public.hls_url = "ftp://x".to_owned();
        let keys: Vec<_> = config.faults().into_iter().map(|fault| fault.key).collect();
        assert_eq!(
            keys,
            ["database.url", "auth.jwt_secret", "auth.access_token_ttl", "api.batch_max", "public.hls_url"]
        );
    }
}
