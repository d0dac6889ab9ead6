//! A hub and an HLS service without sockets: a test writes frames on one side and sends requests on the other.

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use chobi_media::config::{HubConfig, StorageConfig};
use chobi_media::ejected::Ejected;
use chobi_media::hls::{HlsConfig, Service, Shelf};
use chobi_media::hub::{Hub, Publisher, Revoked};
use chobi_media::model::{BroadcastId, Epoch, Frame, ViewerId};
use chobi_media::seam::{
    Admission, BroadcastEnd, DownloadGrant, EventSink, MediaEvent, Part, Protocol, PublishGrant, PublishRequest,
    Recorded, Refusal, ViewerIdentity, WatchGrant, WatchRequest,
};
use http::{HeaderMap, Method, Request, StatusCode};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(crate) const SHOW: &str = "session_1";
/// The number of a show's first segment.
pub(crate) const FIRST: u64 = 1;
/// Longer than anything a test waits for on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Stage {
    pub(crate) hub: Hub,
    pub(crate) service: Service,
    pub(crate) router: Router,
    pub(crate) heard: Arc<Heard>,
    pub(crate) door: Arc<Door>,
    pub(crate) ejected: Ejected,
    pub(crate) cancel: CancellationToken,
}

/// Everybody may watch shows without "private" in their name; tickets are user names.
#[derive(Default)]
pub(crate) struct Door {
    pub(crate) asked: AtomicUsize,
    /// Shows that begin from now on are not to be kept.
    pub(crate) keeps_nothing: AtomicBool,
}

#[async_trait]
impl Admission for Door {
    async fn admit_publisher(&self, _: PublishRequest) -> Result<PublishGrant, Refusal> {
        Err(Refusal::Forbidden)
    }

    async fn keeps_recording(&self, _: &BroadcastId) -> Result<bool, Refusal> {
        Ok(!self.keeps_nothing.load(Ordering::Relaxed))
    }

    async fn admit_viewer(&self, request: WatchRequest) -> Result<WatchGrant, Refusal> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match request.ticket {
            Some(ticket) if ticket.expose().starts_with("user_") => {
                let viewer = ViewerIdentity { id: ticket.expose().to_owned(), is_guest: false };
                Ok(WatchGrant { viewer: Some(viewer), expires: None })
            }
            Some(_) => Err(Refusal::BadCredentials),
            None if request.broadcast.as_str().contains("private") => Err(Refusal::Forbidden),
            None => Ok(WatchGrant { viewer: None, expires: None }),
        }
    }

    /// The host may, and whoever comes to a show with "gift" in its name.
    async fn admit_download(&self, request: WatchRequest) -> Result<DownloadGrant, Refusal> {
        let is_private = request.broadcast.as_str().contains("private");
        match request.ticket {
            Some(ticket) if ticket.expose() == "user_host" => {}
            Some(_) => return Err(Refusal::BadCredentials),
            None if request.broadcast.as_str().contains("gift") => {}
            None => return Err(Refusal::Forbidden),
        }
        Ok(DownloadGrant { title: "ليلة في بغداد".to_owned(), is_private })
    }
}

/// Remembers every event, but has no room for the first warning.
pub(crate) struct Heard(watch::Sender<Vec<MediaEvent>>, AtomicBool);

#[async_trait]
impl EventSink for Heard {
    fn try_emit(&self, event: MediaEvent) -> bool {
        let is_refused = matches!(event, MediaEvent::IngestWarning { .. }) && !self.1.swap(true, Ordering::Relaxed);
        if !is_refused {
            self.0.send_modify(|events| events.push(event));
        }
        !is_refused
    }

    async fn emit(&self, event: MediaEvent) {
        self.try_emit(event);
    }
}

impl Heard {
    /// Waits until the events so far are as wanted.
    pub(crate) async fn wait_for(&self, wanted: impl Fn(&[MediaEvent]) -> bool) -> Vec<MediaEvent> {
        let mut events = self.0.subscribe();
        let heard = tokio::time::timeout(LIMIT, events.wait_for(|events| wanted(events))).await;
        heard.expect("in time").expect("the stage is up").clone()
    }

    /// Waits until there was no room for a warning.
    pub(crate) async fn refused(&self) {
        let refused = async {
            while !self.1.load(Ordering::Relaxed) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, refused).await.expect("in time");
    }

    /// What was told of the recording of this show.
    pub(crate) async fn recorded(&self, show: &str) -> Recorded {
        let of = |event: &MediaEvent| match event {
            MediaEvent::RecordingEnded { broadcast, recorded, .. } if broadcast.as_str() == show => Some(*recorded),
            _ => None,
        };
        let events = self.wait_for(|events| events.iter().any(|event| of(event).is_some())).await;
        events.iter().rev().find_map(of).expect("it was told")
    }

    /// `+viewer` and `-viewer`, in order.
    pub(crate) fn viewers(events: &[MediaEvent]) -> Vec<String> {
        let of = |event: &MediaEvent| match event {
            MediaEvent::ViewerJoined { viewer, .. } => Some(format!("+{viewer}")),
            MediaEvent::ViewerLeft { viewer, .. } => Some(format!("-{viewer}")),
            _ => None,
        };
        events.iter().filter_map(of).collect()
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("playlists are text")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Stage {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self::with(data_dir, HlsConfig::default())
    }

    pub(crate) fn with(data_dir: &Path, config: HlsConfig) -> Self {
        Self::with_storage(data_dir, config, StorageConfig::default())
    }

    pub(crate) fn with_storage(data_dir: &Path, config: HlsConfig, storage: StorageConfig) -> Self {
        Self::at(clock, data_dir, config, storage)
    }

    pub(crate) fn at(clock: fn() -> SystemTime, data_dir: &Path, config: HlsConfig, storage: StorageConfig) -> Self {
        let heard = Arc::new(Heard(watch::Sender::new(Vec::new()), AtomicBool::new(false)));
        let door = Arc::new(Door::default());
        let cancel = CancellationToken::new();
        let events = Arc::clone(&heard) as Arc<dyn EventSink>;
        let (hub, opened) = Hub::new(HubConfig::default(), Arc::clone(&events));
        let admission = Arc::clone(&door) as Arc<dyn Admission>;
        let (shelf, ejected) = (Shelf { data_dir, storage, clock }, Ejected::default());
        let service =
            Service::start(config, shelf, opened, (admission, ejected.clone()), events, cancel.clone()).unwrap();
        Self { hub, router: service.router(), service, heard, door, ejected, cancel }
    }

    /// As the order of the same name is carried out.
    pub(crate) fn eject(&self, show: &str, viewer: &str) {
        let viewer = ViewerId::parse(viewer).unwrap();
        self.ejected.put(&id(show), &viewer);
        self.service.eject(&id(show), &viewer);
    }

    pub(crate) async fn publish(&self, show: &str) -> Publisher {
        let publisher = self.hub.claim(PublishGrant::of_host(id(show), "host"), Protocol::Rtmp).await.unwrap();
        settle().await;
        publisher
    }

    /// A co-host of the show.
    pub(crate) async fn publish_beside(&self, show: &str, user: &str) -> Publisher {
        let part = Some(Part { of: id(show), muted: false });
        let grant = PublishGrant { broadcast: beside(show, user), publisher: user.to_owned(), part };
        let publisher = self.hub.claim(grant, Protocol::Whip).await.unwrap();
        settle().await;
        publisher
    }

    /// A broadcast of the last run, waiting for its publisher.
    pub(crate) async fn expect(&self, show: &str) {
        self.hub.expect(id(show)).await.unwrap();
        settle().await;
    }

    /// Ends the show; its publisher obeys.
    pub(crate) async fn end(&self, show: &str, mut publisher: Publisher) {
        self.hub.end(&id(show), BroadcastEnd::Ended);
        assert_eq!(publisher.revoked().await, Revoked::Ended);
    }

    /// What is told of a recording that is ordered to be settled, again and again until there is an answer.
    pub(crate) async fn settled(&self, show: &str) -> Recorded {
        let told = |event: &MediaEvent| matches!(event, MediaEvent::RecordingEnded { broadcast, .. } if broadcast.as_str() == show);
        let settle = async {
            while !self.heard.0.borrow().iter().any(told) {
                self.service.settle_recording(&id(show)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.heard.recorded(show).await
        };
        tokio::time::timeout(LIMIT, settle).await.expect("told in time")
    }

    /// The show is over and gone, nothing was told of its recording, and to order it again fails.
    pub(crate) async fn was_told_nothing(&self, show: &str) {
        let fails = async {
            while self.service.settle_recording(&id(show)).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, fails).await.expect("gone in time");
        let told = self.heard.0.borrow().iter().any(|event| matches!(event, MediaEvent::RecordingEnded { .. }));
        assert!(!told, "what failed is told by nobody");
    }

    pub(crate) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::empty()).unwrap());
        let response = tokio::time::timeout(LIMIT, response).await.expect("an answer in time").unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[]).await
    }

    /// Waits until the packager has read the disk and made the first part. Until then a playlist request waits for whole
    /// segments, for seconds of a paused clock, and frames queue up. A part that nobody knows is answered at once, so the
    /// clock stands still here.
    pub(crate) async fn has_opened(&self) {
        let begun = std::time::Instant::now();
        let part = format!("/hls/{SHOW}/v0/0/{FIRST}.0.m4s");
        while self.get(&part).await.status != StatusCode::OK {
            assert!(begun.elapsed() < LIMIT, "the show was not opened");
            tokio::task::yield_now().await;
        }
    }

    /// A playlist or object that must be there.
    pub(crate) async fn fetch(&self, path: &str) -> Bytes {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.body
    }

    pub(crate) async fn fetch_text(&self, path: &str) -> String {
        String::from_utf8(self.fetch(path).await.to_vec()).unwrap()
    }

    /// The media playlist once it has this segment.
    pub(crate) async fn playlist_with(&self, rendition: &str, segment: u64) -> String {
        let mut playlist = String::new();
        // Step by step: the server refuses to wait for what is far ahead.
        for segment in FIRST..=segment {
            playlist = self.fetch_text(&format!("/hls/{SHOW}/{rendition}/index.m3u8?_HLS_msn={segment}")).await;
        }
        playlist
    }

    /// The media playlist once it has its end.
    pub(crate) async fn ended_playlist(&self, rendition: &str) -> String {
        let mut segment = FIRST;
        loop {
            let playlist = self.playlist_with(rendition, segment).await;
            if playlist.ends_with("#EXT-X-ENDLIST\n") {
                return playlist;
            }
            segment += 1;
        }
    }

    pub(crate) async fn stop(&self) {
        self.cancel.cancel();
        tokio::time::timeout(LIMIT, self.service.stopped()).await.expect("stops in time");
    }
}

/// Stands still at the moment from which epochs are counted: the first is 0, and those after it follow what the disk knows.
fn clock() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800)
}

/// The same clock, seven milliseconds later: an epoch that nothing is known of is numbered by it.
pub(crate) fn later() -> SystemTime {
    clock() + Duration::from_millis(7)
}

/// Lets the other tasks of this thread take what was sent to them.
async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

/// What a co-host of a show sends.
pub(crate) fn beside(show: &str, user: &str) -> BroadcastId {
    id(&format!("{show}-{user}"))
}

pub(crate) fn id(text: &str) -> BroadcastId {
    BroadcastId::parse(text).unwrap()
}

/// Writes frames, letting the packager keep up.
pub(crate) async fn write(publisher: &mut Publisher, epoch: Epoch, frames: &[Frame]) {
    publisher.begin_epoch(epoch);
    write_on(publisher, frames).await;
}

pub(crate) async fn write_on(publisher: &mut Publisher, frames: &[Frame]) {
    for frame in frames {
        publisher.write(frame.clone());
        tokio::task::yield_now().await;
    }
}

/// The URIs of a playlist: of segments, inits and parts.
pub(crate) fn uris(playlist: &str, tag: &str) -> Vec<String> {
    let attribute = |line: &str| Some(line.split_once("URI=\"")?.1.split_once('"')?.0.to_owned());
    playlist
        .lines()
        .filter_map(|line| match tag {
            "" => (!line.starts_with('#')).then(|| line.to_owned()),
            tag => line.starts_with(tag).then(|| attribute(line))?,
        })
        .collect()
}
