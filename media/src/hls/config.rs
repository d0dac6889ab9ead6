//! Settings of the HLS output.

use crate::config::ConfigFault;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How shows are cut, listed and served over HLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HlsConfig {
    /// Wanted length of a segment; each is cut at the first keyframe from here on. Shorter: faster start for players
    /// without low latency, more requests. Longer: better caching. Whole seconds.
    #[serde(with = "humantime_serde")]
    pub segment_duration: Duration,
    /// Wanted length of a part, rounded to whole frames. Shorter: less delay, more requests; a player keeps three parts
    /// back.
    #[serde(with = "humantime_serde")]
    pub part_duration: Duration,
    /// Segments in the live playlist. More: viewers can go further back, more memory per show.
    pub window_segments: usize,
    /// How far back viewers of a live show may go, up to 2h; older segments than those of the window are read from the
    /// store, so only shows that are recorded go further back. 0s: no further than the window. More: longer playlists
    /// for players that do not ask for what is new alone.
    #[serde(with = "humantime_serde")]
    pub dvr_window: Duration,
    /// How long the live playlist of an ended show is served before the whole recording takes its place. Long enough
    /// for every player to see the end.
    #[serde(with = "humantime_serde")]
    pub end_linger: Duration,
    /// Frames that may wait for the packager. When full, frames are lost up to the next keyframe.
    pub queue_frames: usize,
    /// Viewers counted per show. Those beyond it are served but not counted.
    pub max_viewers: usize,
    /// How often a picture is made of a show: for lists, and for the seek bar of its replay. Made of H.264 only. Shorter:
    /// fresher lists and a finer seek bar, more work (20 ms of a core for 360p, 50 for 720p, 110 for 1080p, of the smallest
    /// layer that will do) and more small files. 0s: none.
    #[serde(with = "humantime_serde")]
    pub thumbnail_interval: Duration,
    /// Pixels from side to side. Wider: sharper on large screens, more bytes.
    pub thumbnail_width: u16,
    /// Closed segments that may wait for the disk, all shows together. When full, a segment is not kept; live goes on.
    pub store_queue_segments: usize,
    /// Bytes of recorded segments that were read lately and are kept in memory: viewers of one replay then share one read
    /// of the disk or bucket. 0: none are kept.
    pub replay_cache_bytes: u64,
    /// How long a public show stays known as public before admission is asked again. Longer: fewer questions; shorter:
    /// a show made private shuts sooner.
    #[serde(with = "humantime_serde")]
    pub public_recheck: Duration,
    /// How long a private viewer's pass holds when its ticket names no end.
    #[serde(with = "humantime_serde")]
    pub pass_lifetime: Duration,
}

/// A playlist of two hours is a third of a megabyte.
const DVR_MAX: Duration = Duration::from_secs(2 * 60 * 60);

impl Default for HlsConfig {
    fn default() -> Self {
        Self {
            segment_duration: Duration::from_secs(2),
            part_duration: Duration::from_millis(200),
            window_segments: 10,
            dvr_window: Duration::ZERO,
            end_linger: Duration::from_secs(60),
            queue_frames: 1_024,
            max_viewers: 100_000,
            thumbnail_interval: Duration::from_secs(10),
            thumbnail_width: 320,
            store_queue_segments: 256,
            replay_cache_bytes: 64 * 1024 * 1024,
            public_recheck: Duration::from_secs(10),
            pass_lifetime: Duration::from_secs(6 * 60 * 60),
        }
    }
}

impl HlsConfig {
    /// Segments in a playlist that lists all a viewer may go back to.
    pub(super) fn listed_segments(&self) -> usize {
        let segment = self.segment_duration.as_secs().max(1);
        self.window_segments.max((self.dvr_window.as_secs() / segment) as usize)
    }

    /// Everything that is wrong, all at once.
    pub fn faults(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        let mut check = |legal: bool, key: &'static str, problem: String, mend: &str| {
            if !legal {
                faults.push(ConfigFault { key, problem, mend: mend.to_owned() });
            }
        };
        let (segment, part) = (self.segment_duration, self.part_duration);
        check(
            segment.subsec_nanos() == 0 && (1..=10).contains(&segment.as_secs()),
            "hls.segment_duration",
            format!("{segment:?} is not a whole number of seconds from 1 to 10"),
            "use 2s",
        );
        check(
            part >= Duration::from_millis(100) && part <= Duration::from_secs(1) && part * 2 <= segment,
            "hls.part_duration",
            format!("{part:?} is not between 100ms and 1s, or more than half a segment"),
            "use 200ms",
        );
        check(
            (6..=3_600).contains(&self.window_segments),
            "hls.window_segments",
            format!("{} is not between 6 and 3600", self.window_segments),
            "use 10; players need at least three target durations, delta playlists more than six",
        );
        check(
            self.dvr_window <= DVR_MAX,
            "hls.dvr_window",
            format!("{:?} is more than two hours", self.dvr_window),
            "use 2h; what is older is in the replay",
        );
        check(
            self.end_linger >= segment * 3,
            "hls.end_linger",
            format!("{:?} is shorter than three segments", self.end_linger),
            "use 60s, so that every player sees the end",
        );
        check(
            self.queue_frames >= 64,
            "hls.queue_frames",
            format!("{} frames are under two seconds of a show", self.queue_frames),
            "use 1024",
        );
        check(
            self.store_queue_segments >= 4,
            "hls.store_queue_segments",
            format!("{} leaves no room for a slow disk", self.store_queue_segments),
            "use 256",
        );
        let interval = self.thumbnail_interval;
        check(
            interval.is_zero() || (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&interval),
            "hls.thumbnail_interval",
            format!("{interval:?} is neither 0s nor between 1s and 10m"),
            "use 10s, or 0s for no pictures",
        );
        check(
            (64..=1_920).contains(&self.thumbnail_width),
            "hls.thumbnail_width",
            format!("{} pixels are not between 64 and 1920", self.thumbnail_width),
            "use 320",
        );
        check(self.max_viewers > 0, "hls.max_viewers", "nobody could be counted".to_owned(), "use 100000");
        check(
            !self.pass_lifetime.is_zero(),
            "hls.pass_lifetime",
            "a pass would be over before it is used".to_owned(),
            "use 6h",
        );
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_have_no_faults_and_all_faults_are_told_at_once() {
        assert_eq!(HlsConfig::default().faults(), []);
        let wrong = HlsConfig {
            segment_duration: Duration::from_millis(1_500),
            part_duration: Duration::from_millis(50),
            window_segments: 2,
            end_linger: Duration::ZERO,
            dvr_window: Duration::from_secs(7_201),
            queue_frames: 1,
            max_viewers: 0,
            thumbnail_interval: Duration::from_millis(1),
            thumbnail_width: 1,
            store_queue_segments: 0,
            replay_cache_bytes: 0,
            public_recheck: Duration::ZERO,
            pass_lifetime: Duration::ZERO,
        };
        let keys: Vec<_> = wrong.faults().into_iter().map(|fault| fault.key).collect();
        let expected = [
            "hls.segment_duration",
            "hls.part_duration",
            "hls.window_segments",
            "hls.dvr_window",
            "hls.end_linger",
            "hls.queue_frames",
            "hls.store_queue_segments",
            "hls.thumbnail_interval",
            "hls.thumbnail_width",
            "hls.max_viewers",
            "hls.pass_lifetime",
        ];
        assert_eq!(keys, expected);
    }
}
