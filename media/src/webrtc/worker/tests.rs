//! Workers by hand, one command or datagram after the other: who is believed, and what of it the others learn.

use super::*;
use crate::codec::opus;
use crate::config::HubConfig;
use crate::ejected::KnownAs;
use crate::hub::{Broadcast, Hub, Publisher};
use crate::load::check::write_request;
use crate::model::{BroadcastId, Epoch, Frame, MediaFormat, Timescale, TrackFormat, TrackId, ViewerId};
use crate::places::{PlaceLimits, Places};
use crate::rtc::dtls::Identity;
use crate::rtc::ice::Credentials;
use crate::rtc::negotiate::{Offer, answer_viewer, testing};
use crate::seam::{BroadcastEnd, Deaf, Protocol, PublishGrant};
use crate::webrtc::inbox;
use crate::webrtc::peer::NewPeer;
use crate::whep::feed::{Feeds, Offered};
use crate::whep::line_up::LineUp;
use crate::whep::path::Path;
use crate::whep::roster::Roster;
use crate::whep::viewer::{Seat, Viewer};
use bytes::Bytes;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const OFFER: &str = include_str!("../../rtc/negotiate/testdata/chromium-156-receives.sdp");
/// Longer than anything a test waits for on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Three workers, a show with sound, and its feed.
struct Stage {
    workers: Vec<Worker>,
    feeds: Feeds,
    places: Arc<Places>,
    hub: Hub,
    broadcast: Arc<Broadcast>,
    /// Until the show ends.
    publisher: Option<Publisher>,
    _opened: mpsc::Receiver<Arc<Broadcast>>,
}

fn epoch(channels_toc: &[u8]) -> Epoch {
    let media = MediaFormat::Audio(opus::format_of_packet(channels_toc).unwrap());
    let track = TrackFormat { id: TrackId(0), rid: None, timescale: Timescale::new(48_000), media };
    Epoch { tracks: vec![Arc::new(track)], zero: SystemTime::now() }
}

impl Stage {
    async fn new() -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_create(data_dir.path()).unwrap();
        let (inboxes, receivers): (Vec<_>, Vec<_>) = (0..3).map(|_| inbox::channel().unwrap()).unzip();
        let loopback = "127.0.0.1:0".parse().unwrap();
        let worker = |(index, inbox)| {
            Worker::new(Parts {
                index,
                socket: UdpSocket::bind(loopback, false).unwrap(),
                dtls: DtlsServer::new(&identity),
                inbox,
                workers: inboxes.clone(),
                directory: Directory::default(),
                doorkeeper: Doorkeeper::default(),
                ejected: Ejected::default(),
                silence_timeout: Duration::from_secs(15),
            })
        };
        let workers = (0..).zip(receivers).map(worker).collect();
        let (hub, _opened) = Hub::new(HubConfig::default(), Arc::new(Deaf));
        let show = PublishGrant::of_host(BroadcastId::parse("session_1").unwrap(), "host");
        let mut publisher = hub.claim(show, Protocol::Whip).await.unwrap();
        publisher.begin_epoch(epoch(&[0xfc]));
        let feeds = Feeds::new(inboxes, TaskTracker::new(), CancellationToken::new());
        let places = Places::new(PlaceLimits { connections: 9, per_address: 9, handshakes: 9 });
        let broadcast = Arc::clone(publisher.broadcast());
        Self { workers, feeds, places, hub, broadcast, publisher: Some(publisher), _opened }
    }

    /// A viewer whose offer was answered, on its way to a worker.
    async fn newcomer(&mut self, ufrag: &str) -> NewPeer {
        let lease = self.feeds.attach(&self.broadcast);
        let payload = Bytes::from_static(&[0xfc, 0xff, 0xfe]);
        let publisher = self.publisher.as_mut().expect("the show is on");
        publisher.write(Frame { track: TrackId(0), dts: 0, pts: 0, keyframe: true, payload });
        let Offered::Tracks(tracks) = lease.offered(LIMIT).await else { panic!("the show has sound") };
        let offer = Offer::parse(OFFER).unwrap();
        let line_up = LineUp::new(lease, &tracks);
        let (agreement, _) = answer_viewer(&offer, &testing::local(), line_up.tracks(), false).unwrap();
        let seat = Seat {
            events: Arc::new(Deaf),
            roster: Roster::default(),
            broadcast: self.broadcast.id().clone(),
            viewer: ViewerId::parse("viewer").unwrap(),
            identity: None,
            known_as: KnownAs::default(),
        };
        let now = Instant::now();
        let viewer = Viewer::new(line_up.showings(&agreement), Path::new(false, 0, now), seat, now);
        NewPeer {
            resource: ResourceId::generate(),
            credentials: Credentials { ufrag: ufrag.to_owned(), ..Credentials::generate() },
            fingerprint: offer.fingerprint,
            media: Media::Viewer(Box::new(viewer)),
            place: self.places.take(std::net::Ipv4Addr::LOCALHOST.into()).unwrap(),
            audience: None,
        }
    }

    /// Waits until the feed has told the workers something of which `is_it` holds, and hands it to the first.
    async fn hear(&mut self, is_it: impl Fn(&Command) -> bool) {
        let heard = async {
            loop {
                while let Some(command) = self.workers[0].parts.inbox.take() {
                    let was_it = is_it(&command);
                    self.workers[0].command(command);
                    if was_it {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(LIMIT, heard).await.expect("it is told in time");
    }

    /// Hands a worker all that it was told. How many datagrams of others were among it.
    fn deliver(&mut self, worker: usize) -> usize {
        let mut datagrams = 0;
        while let Some(command) = self.workers[worker].parts.inbox.take() {
            datagrams += usize::from(matches!(command, Command::Datagram { .. }));
            self.workers[worker].command(command);
        }
        datagrams
    }

    fn receive(&mut self, worker: usize, from: SocketAddr, datagram: &[u8]) {
        self.workers[worker].datagram(from, datagram, Way::Socket);
    }
}

fn check(ufrag: &str, pwd: &str) -> Vec<u8> {
    let mut datagram = Vec::new();
    write_request(&mut datagram, &[7; 12], &format!("{ufrag}:theirs"), pwd.as_bytes(), 1);
    datagram
}

#[tokio::test]
async fn only_who_knows_a_password_has_datagrams_handed_from_worker_to_worker() {
    let mut stage = Stage::new().await;
    let peer = stage.newcomer("01peer").await;
    let pwd = peer.credentials.pwd.clone();
    stage.workers[1].add(peer);
    let hello = [22, 0xfe, 0xfd, 0, 0, 0, 0];
    let (client, victim): (SocketAddr, SocketAddr) =
        ("192.0.2.1:4000".parse().unwrap(), "192.0.2.2:4000".parse().unwrap());
    stage.deliver(1);

    // Somebody names the other worker, as any address may be written onto a datagram.
    for (ufrag, pwd) in [("01anything", "guessed"), ("01peer", "guessed")] {
        stage.receive(0, victim, &check(ufrag, pwd));
        assert_eq!(stage.deliver(1), 1, "the other worker judges");
        assert_eq!(stage.deliver(0), 0);
        stage.receive(0, victim, &hello);
        assert_eq!(stage.deliver(1), 0, "what comes from there still goes nowhere");
        assert!(stage.workers[0].foreign.is_empty(), "and nothing is remembered");
    }

    stage.receive(0, client, &check("01peer", &pwd));
    assert_eq!(stage.deliver(1), 1);
    stage.deliver(0);
    stage.receive(0, client, &hello);
    assert_eq!(stage.deliver(1), 1, "the peer's own datagrams find it");
    // Nor does the stranger divert it to where it is not.
    stage.receive(0, client, &check("00anything", "guessed"));
    stage.receive(0, client, &check("02anything", "guessed"));
    stage.deliver(2);
    stage.deliver(0);
    stage.receive(0, client, &hello);
    assert_eq!(stage.deliver(1), 1);
}

#[tokio::test]
async fn who_comes_after_the_show_has_changed_or_ended_is_not_kept_waiting_for_it() {
    let mut stage = Stage::new().await;
    let stays = stage.newcomer("00stays").await;
    let (early, late) = (stage.newcomer("00early").await, stage.newcomer("00late").await);
    stage.workers[0].add(stays);
    assert_eq!(stage.workers[0].by_resource.len(), 1);
    // Now there is a picture too, which nobody was promised.
    let picture = TrackFormat {
        id: TrackId(1),
        rid: None,
        timescale: Timescale::VIDEO,
        media: MediaFormat::Video(crate::whep::network_tests::format()),
    };
    let mut both = epoch(&[0xfc]);
    both.tracks.push(Arc::new(picture));
    stage.publisher.as_mut().unwrap().begin_epoch(both);
    stage.hear(|command| matches!(command, Command::Renegotiate(_))).await;
    assert_eq!(stage.workers[0].by_resource.len(), 0, "who was there must ask anew");
    stage.workers[0].add(early);
    assert_eq!(stage.workers[0].by_resource.len(), 0, "and so must who comes now");

    let again = stage.newcomer("00again").await;
    stage.workers[0].add(again);
    assert_eq!(stage.workers[0].by_resource.len(), 1, "with a new offer it watches");
    stage.hub.end(stage.broadcast.id(), BroadcastEnd::Ended);
    stage.publisher = None;
    stage.hear(|command| matches!(command, Command::FeedEnded(_))).await;
    stage.workers[0].add(late);
    assert_eq!(stage.workers[0].by_resource.len(), 0, "of a show that is over nothing more comes");
    assert!(stage.workers[0].feeds.is_empty(), "and nothing is kept of it");
}

#[tokio::test]
async fn who_reloads_behind_the_same_address_is_not_taken_for_who_was_there() {
    let mut stage = Stage::new().await;
    let (old, new) = (stage.newcomer("00old").await, stage.newcomer("01new").await);
    let (old_pwd, new_pwd) = (old.credentials.pwd.clone(), new.credentials.pwd.clone());
    stage.workers[0].add(old);
    stage.workers[1].add(new);
    stage.deliver(1);
    let client: SocketAddr = "192.0.2.1:4000".parse().unwrap();
    let hello = [22, 0xfe, 0xfd, 0, 0, 0, 0];
    stage.receive(0, client, &check("00old", &old_pwd));
    stage.receive(0, client, &hello);
    assert_eq!(stage.deliver(1), 0, "it is the first one's");
    stage.receive(0, client, &check("01new", &new_pwd));
    assert_eq!(stage.deliver(1), 1);
    stage.deliver(0);
    stage.receive(0, client, &hello);
    assert_eq!(stage.deliver(1), 1, "and now the second one's");
    // The first is there again as soon as it says so.
    stage.receive(0, client, &check("00old", &old_pwd));
    stage.receive(0, client, &hello);
    assert_eq!(stage.deliver(1), 0);
}

#[tokio::test]
async fn a_worker_that_is_behind_does_not_sleep() {
    let mut stage = Stage::new().await;
    let (from, mut received) = ("192.0.2.1:4000".parse().unwrap(), ReceiveBatch::default());
    for _ in 0..=COMMANDS_PER_TURN {
        stage.workers[1].parts.workers[0].try_command(Command::Belongs { from, worker: 2 });
    }
    let worker = &mut stage.workers[0];
    for (waiting, sleeps) in [(1, false), (0, true)] {
        assert!(!worker.turn(&mut received));
        assert_eq!((worker.parts.inbox.waiting(), !worker.patience().is_zero()), (waiting, sleeps));
    }
}
