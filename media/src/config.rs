//! Settings of this plane, one struct per station. `config/default.toml` shows the same values.

use crate::seam::Protocol;
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub use crate::hls::HlsConfig;
pub use crate::ingest::rtmp::RtmpConfig;
pub use crate::store::StorageConfig;
pub use crate::webrtc::WebrtcConfig;

/// How broadcasts wait and what they keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HubConfig {
    /// How long a broadcast waits for an RTMP publisher that is gone. Longer survives encoders that space out their
    /// retries; shorter ends abandoned shows sooner.
    #[serde(with = "humantime_serde")]
    pub grace_rtmp: Duration,
    /// The same for WHIP publishers, which come back faster.
    #[serde(with = "humantime_serde")]
    pub grace_whip: Duration,
    /// Frames kept since the last keyframe for viewers who join. A longer GOP than this is not kept.
    pub gop_max_frames: usize,
    /// Bytes of the same, per broadcast. More memory, longer GOPs kept at high bitrates.
    pub gop_max_bytes: usize,
    /// Broadcasts at one time. A publisher beyond it is refused.
    pub max_broadcasts: usize,
}

/// A setting that cannot be right, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// Dotted, as in the file: `hls.part_duration`.
    pub key: &'static str,
    pub problem: String,
    pub mend: String,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            grace_rtmp: Duration::from_secs(90),
            grace_whip: Duration::from_secs(60),
            gop_max_frames: 2_500,
            gop_max_bytes: 8 * 1024 * 1024,
            max_broadcasts: 1_000,
        }
    }
}

impl HubConfig {
    pub(crate) fn grace(&self, protocol: Protocol) -> Duration {
        match protocol {
            Protocol::Rtmp | Protocol::Demo => self.grace_rtmp,
            Protocol::Whip => self.grace_whip,
        }
    }
}
