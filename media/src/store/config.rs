//! Settings of the store: the bucket, and the spool on disk before it.

use crate::config::ConfigFault;
use crate::seam::Secret;
use http::Uri;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// Where segments last. Without a bucket: on the local disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// The S3 bucket. Empty: segments stay on the local disk and nothing below applies.
    pub bucket: String,
    pub region: String,
    /// Address of an S3-compatible service, asked path style. Empty: AWS in that region.
    pub endpoint: String,
    pub access_key_id: String,
    #[serde(serialize_with = "hide", deserialize_with = "take_secret")]
    pub secret_access_key: Secret,
    /// What every key begins with, so that a bucket can be shared.
    pub prefix: String,
    pub checksum: ChecksumMode,
    /// Objects of one show on their way at one time. More: a backlog is gone sooner, one show takes more of the line.
    pub uploads_per_session: usize,
    /// The same for this node. Each holds one segment in memory.
    pub uploads_per_node: usize,
    /// One attempt to upload an object, connecting included. Longer survives slow lines; shorter notices a dead one.
    #[serde(with = "humantime_serde")]
    pub attempt_timeout: Duration,
    /// How long the live playlist in the bucket waits for a segment before it says EXT-X-GAP and goes on. About the live
    /// window; the replay gets the segment all the same.
    #[serde(with = "humantime_serde")]
    pub gap_after: Duration,
    /// How often the journal of a live show goes to the bucket. A server whose disk is lost in mid-show goes on with it, and its
    /// replay lacks what came since. Shorter: less is lost, more requests.
    #[serde(with = "humantime_serde")]
    pub journal_every: Duration,
    /// Bytes of segments on the local disk while there is a bucket. When full, the oldest that were uploaded go; when
    /// there are none, new segments are not kept. More: longer outages of the bucket lose nothing.
    pub spool_max_bytes: u64,
}

/// When uploads carry a checksum header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChecksumMode {
    /// CRC32 with every object.
    WhenSupported,
    /// Only where S3 demands one: for older services that refuse the header. The signature still covers every byte.
    WhenRequired,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            region: "us-east-1".to_owned(),
            endpoint: String::new(),
            access_key_id: String::new(),
            secret_access_key: Secret::new(""),
            prefix: String::new(),
            checksum: ChecksumMode::WhenSupported,
            uploads_per_session: 4,
            uploads_per_node: 64,
            attempt_timeout: Duration::from_secs(10),
            gap_after: Duration::from_secs(20),
            journal_every: Duration::from_secs(60),
            spool_max_bytes: 8 * 1024 * 1024 * 1024,
        }
    }
}

/// Room for a few segments of a good show; less could not bridge a single retry.
const SPOOL_LEAST_BYTES: u64 = 16 * 1024 * 1024;

impl StorageConfig {
    /// Whether segments go to a bucket.
    pub fn has_bucket(&self) -> bool {
        !self.bucket.is_empty()
    }

    /// Everything that is wrong, all at once.
    pub fn faults(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        let mut check = |legal: bool, key: &'static str, problem: &dyn Fn() -> String, mend: &str| {
            if !legal {
                faults.push(ConfigFault { key, problem: problem(), mend: mend.to_owned() });
            }
        };
        if self.has_bucket() {
            check(
                is_bucket_name(&self.bucket),
                "storage.bucket",
                &|| format!("{:?} is no bucket's name", self.bucket),
                "write the name alone: 3 to 63 of a-z, 0-9, '-' and '.'; the address goes into storage.endpoint",
            );
            check(
                !self.access_key_id.is_empty(),
                "storage.access_key_id",
                &|| "is not set, but storage.bucket is".to_owned(),
                "set it or AWS_ACCESS_KEY_ID; without a bucket segments stay on the local disk",
            );
            check(
                !self.secret_access_key.expose().is_empty(),
                "storage.secret_access_key",
                &|| "is not set, but storage.bucket is".to_owned(),
                "set it or AWS_SECRET_ACCESS_KEY",
            );
        }
        check(
            !self.region.is_empty() && self.region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
            "storage.region",
            &|| format!("{:?} is no region", self.region),
            "write one such as eu-central-1; services that have none take us-east-1",
        );
        check(
            self.endpoint.is_empty() || is_endpoint(&self.endpoint),
            "storage.endpoint",
            &|| format!("{:?} is not an address of the form https://host:port", self.endpoint),
            "write scheme, host and port only, or leave it empty for AWS",
        );
        check(
            is_prefix(&self.prefix),
            "storage.prefix",
            &|| format!("{:?} cannot begin a key", self.prefix),
            "write words of A-Z, a-z, 0-9, '-', '_' and '.' with single slashes between them, such as live/hls",
        );
        for (key, count) in [
            ("storage.uploads_per_session", self.uploads_per_session),
            ("storage.uploads_per_node", self.uploads_per_node),
        ] {
            check(
                (1..=1_024).contains(&count),
                key,
                &|| format!("{count} is not between 1 and 1024"),
                "use the default",
            );
        }
        check(
            !self.attempt_timeout.is_zero(),
            "storage.attempt_timeout",
            &|| "no upload could succeed".to_owned(),
            "use 10s",
        );
        check(
            !self.gap_after.is_zero(),
            "storage.gap_after",
            &|| "every segment would be a gap".to_owned(),
            "use 20s, about the live window",
        );
        check(
            !self.journal_every.is_zero(),
            "storage.journal_every",
            &|| "it would be written all the time".to_owned(),
            "use 1m",
        );
        check(
            self.spool_max_bytes >= SPOOL_LEAST_BYTES,
            "storage.spool_max_bytes",
            &|| format!("{} bytes hold hardly a segment", self.spool_max_bytes),
            "use at least 16777216 (16 MiB)",
        );
        faults
    }
}

/// The rules that all services share.
fn is_bucket_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| legal(*byte))
        && ends(bytes.first())
        && ends(bytes.last())
}

fn is_endpoint(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let plain = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
    let authority = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    matches!(uri.scheme_str(), Some("http" | "https")) && authority && plain
}

fn is_prefix(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let word = |word: &str| !word.is_empty() && word.bytes().all(legal) && !word.bytes().all(|byte| byte == b'.');
    text.is_empty() || (text.len() <= 256 && text.split('/').all(word))
}

/// A configuration may be printed; the key in it may not.
fn hide<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.expose().is_empty() { "" } else { "***" })
}

fn take_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(config: &StorageConfig) -> Vec<&'static str> {
        config.faults().into_iter().map(|fault| fault.key).collect()
    }

    #[test]
    fn defaults_have_no_faults_and_all_faults_are_told_at_once() {
        assert_eq!(StorageConfig::default().faults(), []);
        let wrong = StorageConfig {
            bucket: "https://bucket".to_owned(),
            region: String::new(),
            endpoint: "s3.example.org".to_owned(),
            prefix: "/live/".to_owned(),
            uploads_per_session: 0,
            uploads_per_node: 0,
            attempt_timeout: Duration::ZERO,
            gap_after: Duration::ZERO,
            journal_every: Duration::ZERO,
            spool_max_bytes: 1,
            ..StorageConfig::default()
        };
        let expected = [
            "storage.bucket",
            "storage.access_key_id",
            "storage.secret_access_key",
            "storage.region",
            "storage.endpoint",
            "storage.prefix",
            "storage.uploads_per_session",
            "storage.uploads_per_node",
            "storage.attempt_timeout",
            "storage.gap_after",
            "storage.journal_every",
            "storage.spool_max_bytes",
        ];
        assert_eq!(keys(&wrong), expected);
    }

    #[test]
    fn an_endpoint_is_scheme_host_and_port() {
        for good in ["http://127.0.0.1:9000", "https://s3.example.org", "https://s3.example.org/", "http://[::1]:9000"]
        {
            assert!(is_endpoint(good), "{good}");
        }
        for bad in
            ["", "s3.example.org", "ftp://host", "https://", "https://host/bucket", "https://u:p@host", "https://a b"]
        {
            assert!(!is_endpoint(bad), "{bad}");
        }
    }

    #[test]
    fn the_secret_is_neither_printed_nor_written() {
        let config = StorageConfig { secret_access_key: Secret::new("hunter2"), ..StorageConfig::default() };
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(!serde_json::to_string(&config).unwrap().contains("hunter2"));
        let read: StorageConfig = serde_json::from_str(r#"{"secret_access_key":"hunter2"}"#).unwrap();
        assert_eq!(read.secret_access_key.expose(), "hunter2");
    }
}
