//! Behind the HTTP resources: an offer becomes a peer.
//!
//! In: offers with their credentials. Out: answers, and peers on the worker that has the fewest. Admission is asked once;
//! a publisher takes its broadcast over only after its offer was found to be good and there is a place for it.

use super::directory::{Directory, Entry, Reservation};
use super::inbox::{Command, Inbox};
use super::peer::{Media, NewPeer, PeerEnd};
use super::service::Surroundings;
use super::ufrag::name_worker;
use crate::ejected::KnownAs;
use crate::hub::{ClaimError, Phase};
use crate::ingest::whip::Receiver;
use crate::model::{BroadcastId, PeerAddr, ViewerId};
use crate::places::{NoPlace, PlaceGuard, Places};
use crate::rtc::ice::Credentials;
use crate::rtc::negotiate::{self, Candidate, Local, NegotiationError, Offer};
use crate::seam::{Protocol, PublishRequest, Refusal, WatchRequest};
use crate::signalling::{self, DeskError, Direction, OpenRequest, Opened, ResourceId, Restarted, SdpFragment};
use crate::whep::feed::{Feeds, Offered};
use crate::whep::line_up::LineUp;
use crate::whep::path::Path;
use crate::whep::roster::Roster;
use crate::whep::viewer::{Seat, Viewer};
use crate::whep::wish::{Choice, PictureLayers};
use async_trait::async_trait;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

pub(crate) struct DeskParts {
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) fingerprint: String,
    pub(crate) feeds: Feeds,
    pub(crate) workers: Vec<Inbox>,
    pub(crate) directory: Directory,
    pub(crate) roster: Roster,
    pub(crate) max_peers: usize,
    /// By address, those that are not connected yet.
    pub(crate) connecting: Arc<Places>,
    /// By address, the viewers. Fewer than `max_peers`: the others are for publishers.
    pub(crate) audience: Arc<Places>,
    pub(crate) around: Surroundings,
}

pub(crate) struct Desk {
    parts: DeskParts,
}

/// What is kept for a client while its offer is answered.
struct Seating {
    reservation: Reservation,
    place: PlaceGuard,
    audience: Option<PlaceGuard>,
    worker: Inbox,
    credentials: Credentials,
}

/// How long a viewer's offer waits for the first frame of a show that has begun.
const FIRST_FRAME_MAX: Duration = Duration::from_secs(3);
/// How long it waits, in all, for those of the co-hosts.
const CO_HOSTS_MAX: Duration = Duration::from_secs(1);
const NOT_LIVE_RETRY: Duration = Duration::from_secs(2);
const FULL_RETRY: Duration = Duration::from_secs(5);
const ADMISSION_MAX: Duration = Duration::from_secs(5);
/// How long a question waits for its worker, whose turns take milliseconds.
const WORKER_MAX: Duration = Duration::from_secs(2);

impl Desk {
    pub(crate) fn new(parts: DeskParts) -> Self {
        Self { parts }
    }

    fn local(&self, credentials: &Credentials) -> Local {
        Local {
            ufrag: credentials.ufrag.clone(),
            pwd: credentials.pwd.clone(),
            fingerprint_sha256: self.parts.fingerprint.clone(),
            candidates: self.parts.candidates.clone(),
            session_id: rand::random::<u64>() >> 2,
        }
    }

    /// On the worker with the fewest peers, with credentials that name it. `publishes`: a viewer publishes nothing.
    fn reserve(&self, offer: &Offer, client: IpAddr, publishes: Option<BroadcastId>) -> Result<Seating, DeskError> {
        let full = || DeskError::Full { retry_after: FULL_RETRY };
        let audience = match publishes {
            Some(_) => None,
            None => Some(self.parts.audience.take(client).map_err(|none| match none {
                NoPlace::Address => DeskError::AddressFull { retry_after: FULL_RETRY },
                NoPlace::Connections | NoPlace::Handshakes => full(),
            })?),
        };
        let place = self.parts.connecting.take(client).map_err(|none| match none {
            NoPlace::Address => DeskError::Crowded { retry_after: FULL_RETRY },
            NoPlace::Connections | NoPlace::Handshakes => full(),
        })?;
        let fewest = self.parts.workers.iter().enumerate().min_by_key(|(_, worker)| worker.peers());
        let (index, worker) = fewest.expect("there is at least one worker");
        let (worker_index, worker) = (index as u8, worker.clone());
        let mid = offer.sections.first().map(|section| section.mid.clone()).unwrap_or_default();
        let credentials = credentials_on(worker_index);
        let (tag, remote_ufrag) = (credentials.ufrag.clone(), offer.ice_ufrag.clone());
        let entry = Entry { worker: worker.clone(), worker_index, tag, remote_ufrag, mid, publishes };
        let reservation = self.parts.directory.reserve(entry, self.parts.max_peers).ok_or_else(full)?;
        Ok(Seating { reservation, place, audience, worker, credentials })
    }

    /// The peer comes to its worker.
    async fn seat(&self, seating: Seating, offer: &Offer, media: Media) -> ResourceId {
        let Seating { reservation, place, audience, worker, credentials } = seating;
        let (resource, fingerprint) = (reservation.resource().clone(), offer.fingerprint.clone());
        let new = NewPeer { resource, credentials, fingerprint, media, place, audience };
        worker.send(Command::Add(Box::new(new))).await;
        reservation.keep()
    }

    async fn publish(&self, request: OpenRequest) -> Result<Opened, DeskError> {
        let key = request.secret.ok_or(DeskError::Refused(Refusal::BadCredentials))?;
        let offer = Offer::parse(&request.offer).map_err(|error| DeskError::BadOffer(error.to_string()))?;
        let around = &self.parts.around;
        let peer = PeerAddr(request.peer);
        let asked = PublishRequest { broadcast: request.target, key, protocol: Protocol::Whip, peer };
        let answer = tokio::time::timeout(ADMISSION_MAX, around.admission.admit_publisher(asked)).await;
        let grant = answer.unwrap_or(Err(Refusal::Unavailable)).map_err(DeskError::Refused)?;
        let seating = self.reserve(&offer, peer.0.ip(), Some(grant.broadcast.clone()))?;
        let local = self.local(&seating.credentials);
        let (agreement, answer) = negotiate::answer_publisher(&offer, &local).map_err(unanswerable)?;
        let claimed = around.hub.claim(grant, Protocol::Whip).await;
        let publisher = claimed.map_err(|error| match error {
            ClaimError::Busy => DeskError::Refused(Refusal::Busy),
            ClaimError::Ended => DeskError::Refused(Refusal::Ended),
            ClaimError::Full => DeskError::Full { retry_after: FULL_RETRY },
        })?;
        let broadcast = publisher.broadcast().id().clone();
        tracing::info!(broadcast.id = %broadcast, protocol = "whip", peer = %peer, "publishing starts");
        let etag = seating.credentials.ufrag.clone();
        let receiver = Receiver::new(&agreement, publisher, Instant::now());
        let resource = self.seat(seating, &offer, Media::Publisher(Box::new(receiver))).await;
        Ok(Opened { resource, etag, answer })
    }

    async fn play(&self, request: OpenRequest) -> Result<Opened, DeskError> {
        let broadcast = request.target.ok_or(DeskError::Refused(Refusal::NotFound))?;
        let offer = Offer::parse(&request.offer).map_err(|error| DeskError::BadOffer(error.to_string()))?;
        let around = &self.parts.around;
        let asked = WatchRequest { broadcast: broadcast.clone(), ticket: request.secret };
        let answer = tokio::time::timeout(ADMISSION_MAX, around.admission.admit_viewer(asked)).await;
        let grant = answer.unwrap_or(Err(Refusal::Unavailable)).map_err(DeskError::Refused)?;
        let opened = around.hub.get(&broadcast);
        let show = opened.as_ref().map_or(&broadcast, |opened| opened.show()).clone();
        let bearer = grant.viewer.as_ref().and_then(|viewer| ViewerId::parse(&viewer.id).ok());
        let known_as = KnownAs { bearer, player: request.name };
        let is_ejected = || around.ejected.has(&show, &known_as);
        if is_ejected() {
            return Err(DeskError::Ejected);
        }
        let not_live = || DeskError::NotLive { retry_after: NOT_LIVE_RETRY };
        let live = opened.filter(|broadcast| broadcast.phase() == Phase::Live).ok_or_else(not_live)?;
        let seating = self.reserve(&offer, request.peer.ip(), None)?;
        let lease = self.parts.feeds.attach(&live);
        let mut line_up = match lease.offered(FIRST_FRAME_MAX).await {
            Offered::Tracks(tracks) => LineUp::new(lease, &tracks),
            Offered::Unknown | Offered::Ended => return Err(not_live()),
            Offered::Unfit(unfit) => {
                let hls_path = hls_path(&broadcast);
                return Err(DeskError::PlaysOnlyByHls { reason: unfit.to_string(), hls_path });
            }
        };
        if line_up.leaves_room(&offer) {
            self.add_co_hosts(&mut line_up, &broadcast).await;
        }
        let local = self.local(&seating.credentials);
        let (tracks, has_layers) = (line_up.tracks(), line_up.has_layers());
        let (agreement, answer) =
            negotiate::answer_viewer(&offer, &local, tracks, has_layers).map_err(|error| match error {
                NegotiationError::NoCommonCodec { .. } => {
                    DeskError::PlaysOnlyByHls { reason: error.to_string(), hls_path: hls_path(&broadcast) }
                }
                other => unanswerable(other),
            })?;
        let viewer = ViewerId::parse(&format!("whep_{}", hex_id())).expect("letters, digits and an underscore");
        let seat = Seat {
            events: around.events.clone(),
            roster: self.parts.roster.clone(),
            broadcast: broadcast.clone(),
            viewer,
            identity: grant.viewer,
            known_as: known_as.clone(),
        };
        let etag = seating.credentials.ufrag.clone();
        let now = Instant::now();
        let measures = agreement.sections.iter().any(|section| section.transport_cc.is_some());
        let showings = line_up.showings(&agreement);
        let pictures = showings.iter().filter(|showing| showing.has_picture()).count();
        let viewer = Viewer::new(showings, Path::new(measures, pictures, now), seat, now);
        let resource = self.seat(seating, &offer, Media::Viewer(Box::new(viewer))).await;
        if is_ejected() {
            // Meanwhile: the order may have passed the worker before the peer came to it.
            let _ = self.close_with(&resource, PeerEnd::Ejected).await;
            return Err(DeskError::Ejected);
        }
        Ok(Opened { resource, etag, answer })
    }

    async fn close_with(&self, resource: &ResourceId, end: PeerEnd) -> Result<(), DeskError> {
        let entry = self.parts.directory.get(resource).ok_or(DeskError::Gone)?;
        // Taken out here, so that a second DELETE finds nothing whatever the worker is busy with.
        self.parts.directory.remove(resource);
        entry.worker.send(Command::Close { resource: resource.clone(), end }).await;
        Ok(())
    }

    /// Lines up what the co-hosts of a show publish now. One whose first frame does not come in time is left out.
    async fn add_co_hosts(&self, line_up: &mut LineUp, show: &BroadcastId) {
        let deadline = Instant::now() + CO_HOSTS_MAX;
        let parts = self.parts.around.hub.live_parts(show);
        let leases: Vec<_> = parts.iter().map(|part| self.parts.feeds.attach(part)).collect();
        for lease in leases {
            let patience = deadline.saturating_duration_since(Instant::now());
            if let Offered::Tracks(tracks) = lease.offered(patience).await {
                line_up.add(lease, &tracks);
            }
        }
    }
}

#[async_trait]
impl signalling::Desk for Desk {
    async fn open(&self, request: OpenRequest) -> Result<Opened, DeskError> {
        match request.direction {
            Direction::Publish => self.publish(request).await,
            Direction::Play => self.play(request).await,
        }
    }

    async fn trickle(&self, resource: &ResourceId, fragment: &SdpFragment) -> Result<(), DeskError> {
        let entry = self.parts.directory.get(resource).ok_or(DeskError::Gone)?;
        match fragment.ufrag() {
            // The client's candidates are not needed: it is the one who checks (RFC 8445 section 2.5).
            Some(ufrag) if ufrag == entry.remote_ufrag => Ok(()),
            Some(_) => Err(DeskError::BadOffer("the fragment is of another ICE session".to_owned())),
            None => Ok(()),
        }
    }

    async fn restart(
        &self,
        resource: &ResourceId,
        before: &str,
        fragment: &SdpFragment,
    ) -> Result<Restarted, DeskError> {
        let entry = self.parts.directory.get(resource).ok_or(DeskError::Gone)?;
        let ufrag = fragment.ufrag().ok_or_else(|| DeskError::BadOffer("a=ice-ufrag is missing".to_owned()))?;
        let credentials = credentials_on(entry.worker_index);
        let text =
            signalling::answer_fragment(&credentials.ufrag, &credentials.pwd, &entry.mid, &self.parts.candidates);
        let (directory, worker) = (&self.parts.directory, &entry.worker);
        // The worker hears of the tags in the order in which they follow each other here.
        let told = worker.send_made(|| {
            let etag = credentials.ufrag.clone();
            let is_next = directory.restarted(resource, before, etag.clone(), ufrag.to_owned());
            is_next.then(|| (Command::Restart { resource: resource.clone(), credentials }, etag))
        });
        let etag = told.await.ok_or(DeskError::Restarted)?;
        Ok(Restarted { etag, fragment: text })
    }

    async fn close(&self, resource: &ResourceId) -> Result<(), DeskError> {
        self.close_with(resource, PeerEnd::Deleted).await
    }

    async fn layers(&self, resource: &ResourceId, choice: Option<Choice>) -> Result<Vec<PictureLayers>, DeskError> {
        let entry = self.parts.directory.get(resource).ok_or(DeskError::Gone)?;
        let (reply, answer) = oneshot::channel();
        let command = Command::Layers { resource: resource.clone(), choice, reply };
        let asked = async {
            entry.worker.send(command).await;
            answer.await
        };
        match tokio::time::timeout(WORKER_MAX, asked).await {
            Ok(Ok(pictures)) => pictures.map_err(|error| DeskError::NoSuchLayer(error.to_string())),
            Ok(Err(_)) => Err(DeskError::Gone),
            Err(_) => Err(DeskError::Refused(Refusal::Unavailable)),
        }
    }

    fn has(&self, resource: &ResourceId) -> bool {
        self.parts.directory.get(resource).is_some()
    }

    fn is_draining(&self) -> bool {
        let around = &self.parts.around;
        around.draining.is_cancelled() || around.cancel.is_cancelled()
    }
}

fn credentials_on(worker: u8) -> Credentials {
    let mut credentials = Credentials::generate();
    name_worker(&mut credentials.ufrag, worker);
    credentials
}

fn unanswerable(error: NegotiationError) -> DeskError {
    DeskError::Unanswerable(error.to_string())
}

fn hls_path(broadcast: &BroadcastId) -> String {
    format!("/hls/{broadcast}/index.m3u8")
}

fn hex_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}
