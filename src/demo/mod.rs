//! `--demo`: a host, a clip that loops live, and a session that waits for the reader's own encoder.

use chobi_control::Control;
use chobi_control::demo::DemoShow;
use chobi_media::Media;
use chobi_media::model::BroadcastId;
use tokio_util::sync::CancellationToken;

/// Eight seconds, 640x360 at 30 frames a second, H.264 without B-frames, a keyframe every two seconds, AAC stereo.
/// Made with ffmpeg's generated sources, so nobody's rights are in it.
pub(crate) const CLIP: &[u8] = include_bytes!("clip.flv");

/// Two shows of the demo host.
pub(crate) struct Demo {
    clip: DemoShow,
    own: DemoShow,
}

/// Makes the demo's host and shows, or finds those of an earlier start.
pub(crate) async fn prepare(control: &Control) -> anyhow::Result<Demo> {
    Ok(Demo {
        clip: control.demo_show("شوبي لايف · Chobi Live demo").await?,
        own: control.demo_show("عرضك أنت · Your own show").await?,
    })
}

impl Demo {
    /// Loops the clip until cancelled or until its session is ended.
    pub(crate) fn run(&self, media: &Media, cancel: CancellationToken) {
        match BroadcastId::parse(self.clip_session()) {
            Ok(broadcast) => {
                media.loop_clip(broadcast, self.clip.host_id.as_str(), bytes::Bytes::from_static(CLIP), cancel)
            }
            Err(error) => tracing::error!(%error, "the demo's session cannot be a broadcast"),
        }
    }

    pub(crate) fn clip_session(&self) -> &str {
        self.clip.session_id.as_str()
    }

    pub(crate) fn own_session(&self) -> &str {
        self.own.session_id.as_str()
    }

    pub(crate) fn own_key(&self) -> &str {
        self.own.stream_key.reveal()
    }
}
