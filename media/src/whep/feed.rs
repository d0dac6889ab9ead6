//! One subscriber of the hub per broadcast that is watched by WebRTC: frames are packetized once, for everybody.
//!
//! In: the hub's feed. Out: bursts to every worker, and what can be offered to a viewer. Sound of an RTMP show, which is
//! AAC, becomes Opus here: once per broadcast, and only while somebody watches.

use super::burst::{Burst, LAYERS_MAX, Lane};
use super::wish::layer_formats;
use crate::codec::h264;
use crate::hub::{Broadcast, Feed as HubFeed, Subscriber};
use crate::model::{AudioCodec, BroadcastId, Epoch, Frame, MediaFormat, MediaTime, Timescale, TrackId, VideoCodec};
use crate::rtp::packetize::{Packetizer, RtpPayload};
use crate::transcode::{AacToOpus, OpusPacket, default_bitrate};
use crate::webrtc::inbox::{Command, Inbox};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Feeds by broadcast. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Feeds {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    feeds: Mutex<HashMap<BroadcastId, Arc<Feed>>>,
    workers: Vec<Inbox>,
    next: AtomicU64,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

/// Names a feed to the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FeedId(u64);

#[derive(Debug)]
struct Feed {
    id: FeedId,
    broadcast: Arc<Broadcast>,
    offered: watch::Sender<Offered>,
    leases: AtomicUsize,
}

/// Keeps a feed running. Dropped with the viewer.
#[derive(Debug)]
pub(crate) struct FeedLease {
    feed: Arc<Feed>,
    /// What its viewer was promised of it.
    promised: Option<Promise>,
}

/// The kinds of tracks: an answer is good for as long as they stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Promise {
    video: Option<VideoCodec>,
    audio: bool,
}

/// Whether a feed is still what its viewer was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    AsPromised,
    Changed,
    Ended,
}

/// What a viewer can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Offered {
    /// No frame yet.
    Unknown,
    Tracks(Tracks),
    /// WebRTC cannot carry this show; HLS can.
    Unfit(Unfit),
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tracks {
    pub(crate) video: Option<VideoCodec>,
    /// Profile, constraints and level of H.264 (RFC 6184 section 8.1).
    pub(crate) profile: Option<[u8; 3]>,
    pub(crate) audio: bool,
    /// Of the picture.
    pub(crate) layers: usize,
}

impl Offered {
    fn promise(&self) -> Option<Promise> {
        match self {
            Self::Tracks(tracks) => Some(tracks.promise()),
            Self::Unknown | Self::Unfit(_) | Self::Ended => None,
        }
    }
}

impl Tracks {
    fn promise(&self) -> Promise {
        Promise { video: self.video, audio: self.audio }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("the video is H.265, which browsers do not play over WebRTC")]
    H265,
    #[error(
        "the video is in a profile of its codec that browsers do not play over WebRTC (more than eight bits, or not 4:2:0)"
    )]
    Profile,
    #[error(
        "the video has B-frames, which WebRTC cannot carry; the broadcaster can turn them off (OBS: x264 option bframes=0)"
    )]
    BFrames,
}

/// A feed without viewers goes on for this long, so that one who reloads the page finds it warm.
const UNWATCHED_MAX: Duration = Duration::from_secs(5);
/// Frames that may wait here. A packetizer that is this far behind loses frames up to the next keyframe.
const QUEUE_FRAMES: usize = 1_024;

impl Feeds {
    pub(crate) fn new(workers: Vec<Inbox>, tasks: TaskTracker, cancel: CancellationToken) -> Self {
        let shared = Shared { feeds: Mutex::default(), workers, next: AtomicU64::new(1), tasks, cancel };
        Self { shared: Arc::new(shared) }
    }

    /// The feed of a broadcast, started when there is none.
    pub(crate) fn attach(&self, broadcast: &Arc<Broadcast>) -> FeedLease {
        let mut feeds = self.shared.feeds.lock();
        if let Some(feed) = feeds.get(broadcast.id()).filter(|feed| Arc::ptr_eq(&feed.broadcast, broadcast)) {
            return FeedLease::new(feed);
        }
        let feed = Arc::new(Feed {
            id: FeedId(self.shared.next.fetch_add(1, Ordering::Relaxed)),
            broadcast: Arc::clone(broadcast),
            offered: watch::Sender::new(Offered::Unknown),
            leases: AtomicUsize::new(0),
        });
        let lease = FeedLease::new(&feed);
        feeds.insert(broadcast.id().clone(), Arc::clone(&feed));
        let span = tracing::info_span!("whep_feed", broadcast.id = %broadcast.id());
        let subscriber = broadcast.subscribe(QUEUE_FRAMES);
        self.shared.tasks.spawn(run(Arc::clone(&self.shared), feed, subscriber).instrument(span));
        lease
    }
}

impl FeedLease {
    fn new(feed: &Arc<Feed>) -> Self {
        feed.leases.fetch_add(1, Ordering::Relaxed);
        Self { feed: Arc::clone(feed), promised: None }
    }

    pub(crate) fn id(&self) -> FeedId {
        self.feed.id
    }

    pub(crate) fn broadcast(&self) -> &Arc<Broadcast> {
        &self.feed.broadcast
    }

    /// The viewer was told of these tracks.
    pub(crate) fn promise(&mut self, tracks: &Tracks) {
        self.promised = Some(tracks.promise());
    }

    /// Orders about a feed go to the viewers who are there. Whoever came after one looks for themselves.
    pub(crate) fn standing(&self) -> Standing {
        match (&*self.feed.offered.borrow(), self.promised) {
            (Offered::Ended, _) => Standing::Ended,
            (offered, Some(promised)) if offered.promise() != Some(promised) => Standing::Changed,
            (_, _) => Standing::AsPromised,
        }
    }

    /// What can be sent, waited for while the first frame has not come.
    pub(crate) async fn offered(&self, patience: Duration) -> Offered {
        let mut offered = self.feed.offered.subscribe();
        let known = offered.wait_for(|offered| *offered != Offered::Unknown);
        match tokio::time::timeout(patience, known).await {
            Ok(Ok(offered)) => offered.clone(),
            Ok(Err(_)) => Offered::Ended,
            Err(_) => Offered::Unknown,
        }
    }
}

impl Drop for FeedLease {
    fn drop(&mut self) {
        self.feed.leases.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs until the broadcast ends, nobody watches any more, or the server stops.
async fn run(shared: Arc<Shared>, feed: Arc<Feed>, mut subscriber: Subscriber) {
    let mut cutter = Cutter::new();
    let mut bursts = Vec::new();
    let mut look = tokio::time::interval(UNWATCHED_MAX);
    let mut unwatched = false;
    tracing::debug!("viewers by WebRTC: frames are packetized from here");
    loop {
        let item = tokio::select! {
            item = subscriber.recv() => item,
            _ = look.tick() => {
                let mut feeds = shared.feeds.lock();
                let nobody = feed.leases.load(Ordering::Relaxed) == 0;
                if nobody && unwatched {
                    remove(&mut feeds, &feed);
                    break;
                }
                unwatched = nobody;
                continue;
            }
            () = shared.cancel.cancelled() => break,
        };
        match item {
            HubFeed::Epoch(epoch) => {
                let offered = cutter.begin(&epoch);
                let formats: Arc<[_]> = layer_formats(&epoch, LAYERS_MAX).into();
                tell(&shared.workers, || Command::Described(feed.id, Arc::clone(&formats))).await;
                feed.announce(offered, &shared.workers).await;
            }
            HubFeed::Frame(frame) => {
                cutter.cut(&frame, &mut bursts);
                if cutter.take_unfit() {
                    feed.announce(Offered::Unfit(Unfit::BFrames), &shared.workers).await;
                }
                for burst in bursts.drain(..) {
                    let burst = Arc::new(burst);
                    shared.workers.iter().for_each(|worker| worker.burst(feed.id, &burst));
                }
            }
            HubFeed::Lagged { frames } => tracing::debug!(frames, "the packetizer was behind"),
            HubFeed::Interrupted => tell(&shared.workers, || Command::Interrupted(feed.id)).await,
            HubFeed::Ended(_) => {
                feed.offered.send_replace(Offered::Ended);
                remove(&mut shared.feeds.lock(), &feed);
                break;
            }
        }
    }
    tell(&shared.workers, || Command::FeedEnded(feed.id)).await;
}

fn remove(feeds: &mut HashMap<BroadcastId, Arc<Feed>>, feed: &Arc<Feed>) {
    if feeds.get(feed.broadcast.id()).is_some_and(|present| Arc::ptr_eq(present, feed)) {
        feeds.remove(feed.broadcast.id());
    }
}

async fn tell(workers: &[Inbox], command: impl Fn() -> Command) {
    for worker in workers {
        worker.send(command()).await;
    }
}

impl Feed {
    /// Says what can be sent from here on. Viewers who were promised something else must ask anew.
    async fn announce(&self, offered: Offered, workers: &[Inbox]) {
        let before = self.offered.send_replace(offered.clone());
        if before != Offered::Unknown && before.promise() != offered.promise() {
            tracing::info!(?before, now = ?offered, "what viewers were promised has changed");
            tell(workers, || Command::Renegotiate(self.id)).await;
        }
    }
}

/// Frames to bursts; pure.
struct Cutter {
    /// By layer.
    video: Vec<VideoCutter>,
    audio: Option<AudioCutter>,
    /// The wall clock at which both lanes' RTP clocks stood at their random start.
    origin: Option<SystemTime>,
    zero: SystemTime,
    starts: [u32; 2],
    strands: [Strand; LAYERS_MAX + 1],
    unfit: bool,
}

/// Numbers of one layer, or of the sound.
#[derive(Debug, Clone, Copy, Default)]
struct Strand {
    next: u64,
    last: Option<i64>,
}

struct VideoCutter {
    track: TrackId,
    scale: Timescale,
    packetizer: Packetizer,
    /// Bytes of a NAL unit's length, where the codec has NAL units.
    h264_length_size: Option<u8>,
    latest_pts: i64,
}

struct AudioCutter {
    track: TrackId,
    scale: Timescale,
    packetizer: Packetizer,
    transcoder: Option<Box<AacToOpus>>,
    opus: Vec<OpusPacket>,
}

impl Cutter {
    fn new() -> Self {
        Self {
            video: Vec::new(),
            audio: None,
            origin: None,
            zero: SystemTime::UNIX_EPOCH,
            starts: [rand::random(), rand::random()],
            strands: [Strand::default(); LAYERS_MAX + 1],
            unfit: false,
        }
    }

    /// Whether a frame came since the last call that WebRTC cannot carry.
    fn take_unfit(&mut self) -> bool {
        std::mem::take(&mut self.unfit)
    }

    fn begin(&mut self, epoch: &Epoch) -> Offered {
        self.zero = epoch.zero;
        self.origin.get_or_insert(epoch.zero);
        let layers = epoch.tracks.iter().filter(|track| track.is_video()).count();
        if layers > 1 || self.video.len() > 1 {
            // A layer's place may be another one's now: what comes next continues nothing.
            self.strands[..LAYERS_MAX].iter_mut().for_each(|strand| strand.next += 1);
        }
        self.video.clear();
        self.audio = None;
        let (mut video, mut profile) = (None, None);
        for track in &epoch.tracks {
            match &track.media {
                MediaFormat::Video(_) if self.video.len() == LAYERS_MAX => {}
                MediaFormat::Video(format) => {
                    let Some(packetizer) = Packetizer::video(format) else {
                        let is_h265 = format.codec == VideoCodec::H265;
                        return Offered::Unfit(if is_h265 { Unfit::H265 } else { Unfit::Profile });
                    };
                    let h264 = (format.codec == VideoCodec::H264)
                        .then(|| h264::Configuration::parse(&format.configuration).ok())
                        .flatten();
                    // The largest comes last; a decoder for it decodes the others.
                    if h264.is_some() {
                        profile = format.configuration.get(1..4).and_then(|bytes| bytes.try_into().ok());
                    }
                    video = Some(format.codec);
                    let h264_length_size = h264.map(|configuration| configuration.length_size);
                    let (track, scale) = (track.id, track.timescale);
                    let latest_pts = i64::MIN;
                    self.video.push(VideoCutter { track, scale, packetizer, h264_length_size, latest_pts });
                }
                MediaFormat::Audio(format) => {
                    let transcoder = match format.codec {
                        AudioCodec::Opus => None,
                        AudioCodec::Aac => match AacToOpus::new(format, default_bitrate(format.channels)) {
                            Ok(transcoder) => Some(Box::new(transcoder)),
                            Err(error) => {
                                tracing::warn!(%error, "the sound cannot be made Opus: viewers by WebRTC get none");
                                continue;
                            }
                        },
                    };
                    let (track, scale, packetizer) = (track.id, track.timescale, Packetizer::opus());
                    self.audio = Some(AudioCutter { track, scale, packetizer, transcoder, opus: Vec::new() });
                }
            }
        }
        Offered::Tracks(Tracks { video, profile, audio: self.audio.is_some(), layers: self.video.len() })
    }

    fn cut(&mut self, frame: &Frame, out: &mut Vec<Burst>) {
        if let Some(layer) = self.video.iter().position(|video| video.track == frame.track) {
            self.cut_video(layer, frame, out);
        } else if let Some(mut audio) = self.audio.take_if(|audio| audio.track == frame.track) {
            self.cut_audio(&mut audio, frame, out);
            self.audio = Some(audio);
        }
    }

    fn cut_video(&mut self, layer: usize, frame: &Frame, out: &mut Vec<Burst>) {
        let video = &mut self.video[layer];
        if frame.keyframe {
            video.latest_pts = frame.pts;
        } else if frame.pts < video.latest_pts {
            // Shown before a frame that came earlier: a B-frame. One that nothing refers to can be left out.
            let spare = video.h264_length_size.is_some_and(|size| h264::is_disposable(&frame.payload, size));
            self.unfit |= !spare;
            return;
        }
        video.latest_pts = frame.pts;
        let pts = MediaTime::new(frame.pts, video.scale).rescale_nearest(Timescale::VIDEO).ticks;
        let mut packets = Vec::new();
        video.packetizer.packetize(frame, &mut packets);
        out.extend(self.burst(Lane::Video, layer, pts, frame.keyframe, packets));
    }

    fn cut_audio(&mut self, audio: &mut AudioCutter, frame: &Frame, out: &mut Vec<Burst>) {
        let opus_clock = Timescale::new(Lane::Audio.clock_rate());
        let Some(transcoder) = &mut audio.transcoder else {
            let pts = MediaTime::new(frame.pts, audio.scale).rescale_nearest(opus_clock).ticks;
            let mut packets = Vec::new();
            audio.packetizer.packetize(frame, &mut packets);
            out.extend(self.burst(Lane::Audio, 0, pts, true, packets));
            return;
        };
        if let Err(error) = transcoder.push(frame.dts, &frame.payload, &mut audio.opus) {
            // The transcoder has put silence there; this is one frame of a damaged publication.
            tracing::debug!(%error, "a frame of sound is damaged");
        }
        for OpusPacket { pts, payload } in audio.opus.drain(..) {
            let frame = Frame { track: audio.track, dts: pts, pts, keyframe: true, payload };
            let mut packets = Vec::new();
            audio.packetizer.packetize(&frame, &mut packets);
            out.extend(self.burst(Lane::Audio, 0, pts, true, packets));
        }
    }

    fn burst(&mut self, lane: Lane, layer: usize, pts: i64, keyframe: bool, packets: Vec<RtpPayload>) -> Option<Burst> {
        if packets.is_empty() {
            return None;
        }
        let rate = i64::from(lane.clock_rate());
        let since_origin = match self.zero.duration_since(self.origin?) {
            Ok(after) => after.as_micros() as i64,
            Err(before) => -(before.duration().as_micros() as i64),
        };
        let strand = &mut self.strands[if lane == Lane::Audio { LAYERS_MAX } else { layer }];
        // A wall clock that was set back between two epochs must not take the RTP clock with it.
        let ticks = (since_origin * rate / 1_000_000 + pts).max(strand.last.map_or(i64::MIN, |last| last + 1));
        strand.last = Some(ticks);
        let first = strand.next;
        strand.next += packets.len() as u64;
        let offset = Duration::from_micros((pts.max(0) * 1_000_000 / rate) as u64);
        let timestamp = self.starts[lane.index()].wrapping_add(ticks as u32);
        Some(Burst { lane, layer: layer as u8, first, timestamp, wall: self.zero + offset, keyframe, packets })
    }
}
