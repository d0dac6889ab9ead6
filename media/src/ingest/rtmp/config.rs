//! Settings of the RTMP listener.

use super::chunk::ChunkLimits;
use crate::config::ConfigFault;
use crate::ingest::flv::MEDIA_MAX_BPS;
use serde::{Deserialize, Serialize};
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Who may connect, how long each step may take, and how much a connection may make us keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RtmpConfig {
    /// Address and port for encoders.
    pub listen: SocketAddr,
    /// The application in `rtmp://host/<app>/<streamKey>`. Another one is refused at connect.
    pub app: String,
    /// Connections at one time. Beyond it a new one is closed at once. A connection that publishes costs about 100 KiB.
    pub max_connections: usize,
    /// The same from one address. Encoders behind one company's or carrier's address share it.
    pub max_connections_per_ip: usize,
    /// Connections that have not finished their handshake, about 8 KiB each. Lower protects better against half-open
    /// floods, higher admits more encoders that start in the same second.
    pub max_handshakes: usize,
    /// From accept to the end of the handshake.
    #[serde(with = "humantime_serde")]
    pub handshake_timeout: Duration,
    /// From the handshake to `publish`.
    #[serde(with = "humantime_serde")]
    pub publish_timeout: Duration,
    /// From accepted `publish` to the first frame that can be shown. Phones may take seconds to open their camera.
    #[serde(with = "humantime_serde")]
    pub first_media_timeout: Duration,
    /// Without a byte while publishing. Shorter frees a dead publisher's place sooner, longer survives worse networks.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// The longest audio or video message once publishing was accepted. A keyframe of 4K at high quality is 2 MiB.
    pub media_message_max_bytes: usize,
    /// Bits a second of audio and video together, by the clock and by what the time stamps tell. A publisher that goes on
    /// above it is closed and told so. Lower protects memory and the line of viewers better.
    pub media_max_bps: u64,
    /// The longest command or metadata message, and the longest of any kind before publishing.
    pub command_message_max_bytes: usize,
}

impl Default for RtmpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 1935)),
            app: "live".to_owned(),
            max_connections: 2_000,
            max_connections_per_ip: 256,
            max_handshakes: 1_024,
            handshake_timeout: Duration::from_secs(5),
            publish_timeout: Duration::from_secs(10),
            first_media_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(8),
            media_message_max_bytes: 8 * 1024 * 1024,
            media_max_bps: MEDIA_MAX_BPS,
            command_message_max_bytes: 64 * 1024,
        }
    }
}

/// Encoders use three to five.
const CHUNK_STREAMS_MAX: usize = 64;

impl RtmpConfig {
    /// Everything that is wrong, all at once.
    pub fn faults(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        let mut check = |legal: bool, key: &'static str, problem: String, mend: &str| {
            if !legal {
                faults.push(ConfigFault { key, problem, mend: mend.to_owned() });
            }
        };
        check(
            !self.app.is_empty() && !self.app.contains(['/', '?']),
            "rtmp.app",
            format!("{:?} cannot stand in rtmp://host/<app>/<streamKey>", self.app),
            "use live",
        );
        for (key, count) in [
            ("rtmp.max_connections", self.max_connections),
            ("rtmp.max_connections_per_ip", self.max_connections_per_ip),
            ("rtmp.max_handshakes", self.max_handshakes),
        ] {
            check(count > 0, key, "nobody could publish".to_owned(), "choose at least 1");
        }
        for (key, limit) in [
            ("rtmp.handshake_timeout", self.handshake_timeout),
            ("rtmp.publish_timeout", self.publish_timeout),
            ("rtmp.first_media_timeout", self.first_media_timeout),
            ("rtmp.idle_timeout", self.idle_timeout),
        ] {
            let legal = (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&limit);
            check(legal, key, format!("{limit:?} is not between 1s and 10m"), "choose a few seconds");
        }
        check(
            (64 * 1024..=64 * 1024 * 1024).contains(&self.media_message_max_bytes),
            "rtmp.media_message_max_bytes",
            format!("{} is not between 64 KiB and 64 MiB", self.media_message_max_bytes),
            "use 8388608",
        );
        check(
            (1_000_000..=10_000_000_000).contains(&self.media_max_bps),
            "rtmp.media_max_bps",
            format!("{} is not between 1000000 and 10000000000", self.media_max_bps),
            "use 100000000, which is 100 Mbit/s",
        );
        check(
            (4 * 1024..=self.media_message_max_bytes).contains(&self.command_message_max_bytes),
            "rtmp.command_message_max_bytes",
            format!("{} is not between 4 KiB and the limit for media", self.command_message_max_bytes),
            "use 65536",
        );
        faults
    }

    pub(super) fn chunk_limits(&self) -> ChunkLimits {
        ChunkLimits {
            media_message_max_bytes: self.media_message_max_bytes,
            command_message_max_bytes: self.command_message_max_bytes,
            // One message on its way and another interleaved with it.
            unfinished_max_bytes: 2 * self.media_message_max_bytes,
            chunk_streams_max: CHUNK_STREAMS_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_have_no_faults_and_all_faults_are_told_at_once() {
        assert_eq!(RtmpConfig::default().faults(), []);
        let wrong = RtmpConfig {
            app: "a/b".to_owned(),
            max_handshakes: 0,
            idle_timeout: Duration::ZERO,
            media_message_max_bytes: 1,
            media_max_bps: 0,
            ..RtmpConfig::default()
        };
        let keys: Vec<_> = wrong.faults().into_iter().map(|fault| fault.key).collect();
        let expected = [
            "rtmp.app",
            "rtmp.max_handshakes",
            "rtmp.idle_timeout",
            "rtmp.media_message_max_bytes",
            "rtmp.media_max_bps",
            "rtmp.command_message_max_bytes",
        ];
        assert_eq!(keys, expected);
    }
}
