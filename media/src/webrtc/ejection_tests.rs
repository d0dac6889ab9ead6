//! Who is put out of a show, over HTTP and against the real desk and worker: from the offer to the closed connection.

use super::{Service, Surroundings, WebrtcConfig};
use crate::codec::opus;
use crate::config::HubConfig;
use crate::ejected::Ejected;
use crate::hub::{Broadcast, Hub};
use crate::model::{BroadcastId, Epoch, Frame, MediaFormat, Timescale, TrackFormat, TrackId, ViewerId};
use crate::seam::{
    Admission, Deaf, EventSink, Part, Protocol, PublishGrant, PublishRequest, Refusal, ViewerIdentity, WatchGrant,
    WatchRequest,
};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(super) const SHOW: &str = "session_1";
const CO_HOST: &str = "session_1-user_9";
const OFFER: &str = include_str!("../rtc/negotiate/testdata/chromium-156-receives.sdp");
/// Longer than anything a test waits for on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Everybody may watch; a ticket is the name of its bearer. Everybody may publish the show, as the same host.
struct Door;

#[async_trait::async_trait]
impl Admission for Door {
    async fn admit_publisher(&self, _: PublishRequest) -> Result<PublishGrant, Refusal> {
        Ok(PublishGrant::of_host(id(SHOW), SHOW))
    }

    async fn admit_viewer(&self, request: WatchRequest) -> Result<WatchGrant, Refusal> {
        let bearer = |ticket: crate::seam::Secret| ViewerIdentity { id: ticket.expose().to_owned(), is_guest: false };
        Ok(WatchGrant { viewer: request.ticket.map(bearer), expires: None })
    }
}

pub(super) struct Stage {
    hub: Hub,
    /// Kept, or no broadcast would open.
    _opened: mpsc::Receiver<Arc<Broadcast>>,
    service: Service,
    router: Router,
    ejected: Ejected,
    cancel: CancellationToken,
    _data_dir: tempfile::TempDir,
}

/// A publisher that goes on until it is dropped: who subscribes is served with the next frame.
pub(super) struct OnAir {
    broadcast: Arc<Broadcast>,
    task: JoinHandle<()>,
}

impl Drop for OnAir {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Who comes: with a ticket, or with a name of their own.
#[derive(Clone, Copy)]
pub(super) enum Viewer<'a> {
    Bearer(&'a str),
    Named(&'a str),
    Both(&'a str, &'a str),
    Nobody,
}

fn id(text: &str) -> BroadcastId {
    BroadcastId::parse(text).unwrap()
}

fn viewer(text: &str) -> ViewerId {
    ViewerId::parse(text).unwrap()
}

impl Stage {
    async fn new() -> Self {
        Self::with(WebrtcConfig::default()).await
    }

    pub(super) async fn with(config: WebrtcConfig) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let events: Arc<dyn EventSink> = Arc::new(Deaf);
        let (hub, _opened) = Hub::new(HubConfig::default(), Arc::clone(&events));
        let (ejected, cancel) = (Ejected::default(), CancellationToken::new());
        let around = Surroundings {
            hub: hub.clone(),
            admission: Arc::new(Door),
            events,
            ejected: ejected.clone(),
            draining: CancellationToken::new(),
            cancel: cancel.clone(),
        };
        let config = WebrtcConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            external_addresses: vec![Ipv4Addr::LOCALHOST.into()],
            tcp: false,
            workers: 2,
            ..config
        };
        let service = Service::start(config, data_dir.path(), around).await.unwrap();
        Self { hub, _opened, router: service.router(), service, ejected, cancel, _data_dir: data_dir }
    }

    pub(super) async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(LIMIT, self.service.stop()).await.expect("stopped in time");
    }

    /// Sound is on the air: of the host, or of a co-host.
    pub(super) async fn publish(&self, broadcast: &str) -> OnAir {
        let part = (broadcast != SHOW).then(|| Part { of: id(SHOW), muted: false });
        let grant = PublishGrant { broadcast: id(broadcast), publisher: broadcast.to_owned(), part };
        let mut publisher = self.hub.claim(grant, Protocol::Whip).await.unwrap();
        let media = MediaFormat::Audio(opus::format_of_packet(&[0xfc]).unwrap());
        let track = TrackFormat { id: TrackId(0), rid: None, timescale: Timescale::new(48_000), media };
        publisher.begin_epoch(Epoch { tracks: vec![Arc::new(track)], zero: SystemTime::now() });
        let broadcast = Arc::clone(publisher.broadcast());
        let task = tokio::spawn(async move {
            for dts in (0..).step_by(960) {
                let payload = Bytes::from_static(&[0xfc, 0xff, 0xfe]);
                publisher.write(Frame { track: TrackId(0), dts, pts: dts, keyframe: true, payload });
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let mut phase = broadcast.watch_phase();
        let live = phase.wait_for(|phase| *phase == crate::hub::Phase::Live);
        tokio::time::timeout(LIMIT, live).await.expect("live in time").unwrap();
        OnAir { broadcast, task }
    }

    /// As the order of the same name is carried out.
    async fn eject(&self, who: &str) {
        self.ejected.put(&id(SHOW), &viewer(who));
        self.service.ejector().eject(&id(SHOW), &viewer(who)).await;
    }

    async fn send(&self, method: Method, path: &str, who: Viewer<'_>, body: &str) -> (StatusCode, String, String) {
        self.send_from(SocketAddr::from(([192, 0, 2, 1], 9)), method, path, who, body).await
    }

    pub(super) async fn send_from(
        &self,
        client: SocketAddr,
        method: Method,
        path: &str,
        who: Viewer<'_>,
        body: &str,
    ) -> (StatusCode, String, String) {
        let request = Request::builder()
            .extension(ConnectInfo(client))
            .method(method)
            .uri(path)
            .header("content-type", "application/sdp");
        let request = match who {
            Viewer::Bearer(ticket) => request.header("authorization", format!("Bearer {ticket}")),
            Viewer::Named(name) => request.header("x-playback-session-id", name),
            Viewer::Both(ticket, name) => {
                request.header("authorization", format!("Bearer {ticket}")).header("x-playback-session-id", name)
            }
            Viewer::Nobody => request,
        };
        let answer = self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let location = answer.headers().get("location").map_or("", |value| value.to_str().unwrap()).to_owned();
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, location, String::from_utf8(body.to_vec()).unwrap())
    }

    /// An offer to watch: the status, and where the connection is or why there is none.
    async fn offer(&self, broadcast: &str, who: Viewer<'_>) -> (StatusCode, String) {
        let (status, location, body) = self.send(Method::POST, &format!("/whep/{broadcast}"), who, OFFER).await;
        (status, if status == StatusCode::CREATED { location } else { body })
    }

    async fn watches(&self, broadcast: &str, who: Viewer<'_>) -> String {
        let (status, location) = self.offer(broadcast, who).await;
        assert_eq!(status, StatusCode::CREATED, "{location}");
        location
    }

    async fn is_refused(&self, broadcast: &str, who: Viewer<'_>) {
        let (status, why) = self.offer(broadcast, who).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{why}");
        assert!(why.contains("removed"), "{why}");
    }

    pub(super) async fn is_there(&self, location: &str, who: Viewer<'_>) -> bool {
        let (status, _, why) = self.send(Method::GET, location, who, "").await;
        match status {
            StatusCode::NO_CONTENT => true,
            StatusCode::NOT_FOUND => false,
            other => panic!("{other}: {why}"),
        }
    }

    async fn is_cut(&self, location: &str, who: Viewer<'_>) {
        let cut = async {
            while self.is_there(location, who).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, cut).await.expect("cut in time");
    }
}

#[tokio::test]
async fn whoever_is_put_out_is_cut_and_refused_whoever_publishes_and_whatever() {
    let stage = Stage::new().await;
    let (publisher, _co_host) = (stage.publish(SHOW).await, stage.publish(CO_HOST).await);
    let (ann, bob) = (Viewer::Bearer("user_1"), Viewer::Bearer("user_2"));
    let hers = [stage.watches(SHOW, ann).await, stage.watches(CO_HOST, ann).await, stage.watches(SHOW, ann).await];
    let his = stage.watches(SHOW, bob).await;
    stage.eject("user_1").await;
    for location in &hers {
        stage.is_cut(location, ann).await;
    }
    assert!(stage.is_there(&his, bob).await, "others are not touched");
    for broadcast in [SHOW, CO_HOST] {
        stage.is_refused(broadcast, ann).await;
        stage.watches(broadcast, bob).await;
    }

    // The publisher goes and another one comes, as the same broadcast: nothing of that lets her in.
    let mut phase = publisher.broadcast.watch_phase();
    drop(publisher);
    let gone = phase.wait_for(|phase| matches!(phase, crate::hub::Phase::Lingering { .. }));
    tokio::time::timeout(LIMIT, gone).await.expect("gone in time").unwrap();
    stage.is_refused(SHOW, ann).await;
    assert_eq!(stage.offer(SHOW, bob).await.0, StatusCode::CONFLICT, "he is told to wait");
    let _publisher = stage.publish(SHOW).await;
    stage.is_refused(SHOW, ann).await;

    stage.ejected.take_back(&id(SHOW), &viewer("user_1"));
    stage.watches(SHOW, ann).await;
    stage.stop().await;
}

#[tokio::test]
async fn without_a_ticket_it_is_the_players_own_name_that_is_refused() {
    let stage = Stage::new().await;
    let _publisher = stage.publish(SHOW).await;
    let (ann, bob) = (Viewer::Named("player-ann"), Viewer::Named("player-bob"));
    let (hers, his) = (stage.watches(SHOW, ann).await, stage.watches(SHOW, bob).await);
    stage.eject("player-ann").await;
    stage.is_cut(&hers, ann).await;
    stage.is_refused(SHOW, ann).await;
    assert!(stage.is_there(&his, bob).await);
    stage.watches(SHOW, Viewer::Nobody).await;
    stage.watches(SHOW, Viewer::Bearer("user_1")).await;
    stage.watches(SHOW, Viewer::Named("not an id!")).await;
    stage.stop().await;
}

#[tokio::test]
async fn whoever_is_put_out_by_ticket_does_not_come_back_without_it_and_whoever_is_let_in_again_does_by_ticket() {
    let stage = Stage::new().await;
    let _publisher = stage.publish(SHOW).await;
    let (ann, without) = (Viewer::Both("user_1", "player-ann"), Viewer::Named("player-ann"));
    let hers = stage.watches(SHOW, ann).await;
    stage.eject("user_1").await;
    stage.is_cut(&hers, ann).await;
    stage.is_refused(SHOW, ann).await;
    stage.is_refused(SHOW, without).await;
    stage.watches(SHOW, Viewer::Both("user_2", "player-ann")).await;
    stage.ejected.take_back(&id(SHOW), &viewer("user_1"));
    stage.watches(SHOW, ann).await;
    stage.stop().await;
}
