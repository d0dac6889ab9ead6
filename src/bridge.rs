//! Where one plane's types meet the other's, and nowhere else.
//!
//! Media asks [`Admission`] and tells [`EventSink`]; control orders through [`LivePlane`]. Every translation is an
//! exhaustive match, so that a new fact on either side breaks the build here and only here.

use async_trait::async_trait;
use chobi_control::admission::{self, PublishAttempt, PublishRefusal, WatchAttempt, WatchRefusal};
use chobi_control::id::{BroadcastName, GuestId, SessionId, UserId};
use chobi_control::ports::LivePlane;
use chobi_control::presence::{self, LiveFact, LiveIngress, ViewerEntry};
use chobi_control::session::EndReason;
use chobi_control::video;
use chobi_media::model::{BroadcastId, ViewerId};
use chobi_media::seam::{
    Admission, BroadcastEnd, DownloadGrant, EventSink, Handle, MediaEvent, Part, PresentViewer, PublishGrant,
    PublishRequest, Recorded, Refusal, Transport, ViewerIdentity, WarningCode, WatchGrant, WatchRequest,
};

/// Control's answers in media's words.
#[derive(Debug)]
pub(crate) struct Gatekeeper(pub(crate) admission::Admission);

/// Media's facts in control's words.
#[derive(Debug)]
pub(crate) struct Reporter(pub(crate) LiveIngress);

/// Control's orders in media's words.
#[derive(Debug)]
pub(crate) struct Conductor(pub(crate) Handle);

#[async_trait]
impl Admission for Gatekeeper {
    async fn admit_publisher(&self, request: PublishRequest) -> Result<PublishGrant, Refusal> {
        let attempt = PublishAttempt {
            session_hint: request.broadcast.map(|broadcast| broadcast.as_str().to_owned()),
            key: chobi_control::secret::Secret::new(request.key.expose()),
            protocol: request.protocol.as_str(),
        };
        let permit = self.0.admit_publisher(attempt).await.map_err(|refusal| match refusal {
            PublishRefusal::BadKey => Refusal::BadCredentials,
            PublishRefusal::Forbidden => Refusal::Forbidden,
            PublishRefusal::Ended => Refusal::Ended,
            PublishRefusal::Unavailable => Refusal::Unavailable,
        })?;
        let broadcast = broadcast_id(&permit.broadcast())?;
        let publisher = permit.publisher().to_string();
        let host = BroadcastName::host(permit.session_id);
        let part = permit.co_host.map(|co_host| Ok(Part { of: broadcast_id(&host)?, muted: co_host.is_muted }));
        Ok(PublishGrant { broadcast, publisher, part: part.transpose()? })
    }

    async fn admit_viewer(&self, request: WatchRequest) -> Result<WatchGrant, Refusal> {
        let attempt = WatchAttempt {
            session_id: request.broadcast.as_str().to_owned(),
            ticket: request.ticket.map(|ticket| chobi_control::secret::Secret::new(ticket.expose())),
        };
        let permit = self.0.admit_viewer(attempt).await.map_err(refusal)?;
        let viewer = permit.viewer.map(|identity| ViewerIdentity {
            id: identity.as_str().to_owned(),
            is_guest: matches!(identity, presence::ViewerIdentity::Guest(_)),
        });
        Ok(WatchGrant { viewer, expires: permit.expires_at })
    }

    async fn admit_download(&self, request: WatchRequest) -> Result<DownloadGrant, Refusal> {
        let attempt = WatchAttempt {
            session_id: request.broadcast.as_str().to_owned(),
            ticket: request.ticket.map(|ticket| chobi_control::secret::Secret::new(ticket.expose())),
        };
        let permit = self.0.admit_download(attempt).await.map_err(refusal)?;
        Ok(DownloadGrant { title: permit.title, is_private: permit.is_private })
    }

    async fn keeps_recording(&self, broadcast: &BroadcastId) -> Result<bool, Refusal> {
        self.0.keeps_recording(broadcast.as_str()).await.map_err(refusal)
    }
}

fn refusal(refusal: WatchRefusal) -> Refusal {
    match refusal {
        WatchRefusal::NotFound => Refusal::NotFound,
        WatchRefusal::BadTicket => Refusal::BadCredentials,
        WatchRefusal::Forbidden => Refusal::Forbidden,
        WatchRefusal::Ended => Refusal::Ended,
        WatchRefusal::Unavailable => Refusal::Unavailable,
    }
}

#[async_trait]
impl EventSink for Reporter {
    fn try_emit(&self, event: MediaEvent) -> bool {
        fact(event).is_none_or(|fact| self.0.try_tell(fact))
    }

    async fn emit(&self, event: MediaEvent) {
        if let Some(fact) = fact(event) {
            self.0.tell(fact).await;
        }
    }
}

#[async_trait]
impl LivePlane for Conductor {
    async fn end_broadcast(&self, session_id: &SessionId, reason: EndReason) {
        let reason = match reason {
            EndReason::Host | EndReason::Abandoned => BroadcastEnd::Ended,
            EndReason::GraceOver => BroadcastEnd::GraceOver,
            EndReason::Moderator => BroadcastEnd::Ejected,
        };
        if let Ok(broadcast) = broadcast_id(&BroadcastName::host(session_id.clone())) {
            self.0.end_broadcast(broadcast, reason).await;
        }
    }

    async fn eject_viewer(&self, session_id: &SessionId, viewer_id: &str) {
        let broadcast = broadcast_id(&BroadcastName::host(session_id.clone()));
        if let (Ok(broadcast), Ok(viewer)) = (broadcast, ViewerId::parse(viewer_id)) {
            self.0.eject_viewer(broadcast, viewer).await;
        }
    }

    async fn readmit_viewer(&self, session_id: &SessionId, viewer_id: &str) {
        let broadcast = broadcast_id(&BroadcastName::host(session_id.clone()));
        if let (Ok(broadcast), Ok(viewer)) = (broadcast, ViewerId::parse(viewer_id)) {
            self.0.readmit_viewer(broadcast, viewer).await;
        }
    }

    async fn end_co_host(&self, session_id: &SessionId, user_id: &UserId) {
        if let Ok(broadcast) = broadcast_id(&BroadcastName::co_host(session_id.clone(), user_id.clone())) {
            self.0.end_broadcast(broadcast, BroadcastEnd::Ejected).await;
        }
    }

    async fn mute_co_host(&self, session_id: &SessionId, user_id: &UserId, muted: bool) {
        if let Ok(broadcast) = broadcast_id(&BroadcastName::co_host(session_id.clone(), user_id.clone())) {
            self.0.mute(broadcast, muted).await;
        }
    }

    async fn settle_recording(&self, session_id: &SessionId) {
        if let Ok(broadcast) = broadcast_id(&BroadcastName::host(session_id.clone())) {
            self.0.settle_recording(broadcast).await;
        }
    }

    async fn delete_recording(&self, session_id: &SessionId, co_hosts: &[UserId]) {
        let part = |user_id: &UserId| broadcast_id(&BroadcastName::co_host(session_id.clone(), user_id.clone()));
        let parts = co_hosts.iter().map(part).collect::<Result<_, _>>();
        if let (Ok(broadcast), Ok(parts)) = (broadcast_id(&BroadcastName::host(session_id.clone())), parts) {
            self.0.delete_recording(broadcast, parts).await;
        }
    }
}

/// `None` for what control has no word for, and for a broadcast that is no session of ours: admission names broadcasts, so there is
/// none.
fn fact(event: MediaEvent) -> Option<LiveFact> {
    Some(match event {
        MediaEvent::BroadcastStarted { broadcast, protocol: _, at } => match name(&broadcast)? {
            BroadcastName { session_id, co_host: None } => LiveFact::WentLive { session_id, at },
            BroadcastName { session_id, co_host: Some(user_id) } => LiveFact::CoHostLive { session_id, user_id, at },
        },
        MediaEvent::BroadcastInterrupted { broadcast, at } => match name(&broadcast)? {
            BroadcastName { session_id, co_host: None } => LiveFact::Interrupted { session_id, at },
            BroadcastName { session_id, co_host: Some(user_id) } => LiveFact::CoHostGone { session_id, user_id, at },
        },
        MediaEvent::BroadcastResumed { broadcast, protocol: _, at } => match name(&broadcast)? {
            BroadcastName { session_id, co_host: None } => LiveFact::Resumed { session_id, at },
            BroadcastName { session_id, co_host: Some(user_id) } => LiveFact::CoHostLive { session_id, user_id, at },
        },
        MediaEvent::BroadcastEnded { broadcast, reason, at } => match name(&broadcast)? {
            BroadcastName { session_id, co_host: None } => {
                let reason = match reason {
                    BroadcastEnd::Ended => EndReason::Host,
                    BroadcastEnd::GraceOver => EndReason::GraceOver,
                    BroadcastEnd::Ejected => EndReason::Moderator,
                };
                LiveFact::Ended { session_id, at, reason }
            }
            BroadcastName { session_id, co_host: Some(user_id) } => LiveFact::CoHostGone { session_id, user_id, at },
        },
        MediaEvent::ViewerJoined { broadcast, viewer, identity, transport, at } => LiveFact::ViewerJoined {
            session_id: session_id(&broadcast)?,
            viewer_id: viewer.as_str().to_owned(),
            identity: identity.and_then(identity_of),
            transport: transport_of(transport),
            at,
        },
        MediaEvent::ViewerLeft { broadcast, viewer, identity: _, transport: _, watched, at } => LiveFact::ViewerLeft {
            session_id: session_id(&broadcast)?,
            viewer_id: viewer.as_str().to_owned(),
            watched,
            at,
        },
        MediaEvent::AudienceSnapshot { broadcast, transport, viewers, at } => LiveFact::Audience {
            session_id: session_id(&broadcast)?,
            transport: transport_of(transport),
            viewers: viewers.into_iter().map(entry).collect(),
            at,
        },
        MediaEvent::ActiveSpeaker { broadcast, speaker, at } => {
            LiveFact::ActiveSpeaker { session_id: session_id(&broadcast)?, co_host: name(&speaker)?.co_host, at }
        }
        MediaEvent::ThumbnailMade { broadcast } => LiveFact::ThumbnailMade { session_id: session_id(&broadcast)? },
        MediaEvent::RecordingEnded { broadcast, recorded, at } => LiveFact::RecordingEnded {
            session_id: session_id(&broadcast)?,
            recorded: match recorded {
                Recorded::Nothing => video::Recorded::Nothing,
                Recorded::Lost => video::Recorded::Lost,
                Recorded::Kept { duration, has_video } => video::Recorded::Kept { duration, has_video },
            },
            at,
        },
        MediaEvent::RecordingDeleted { broadcast, at } => {
            LiveFact::RecordingDeleted { session_id: session_id(&broadcast)?, at }
        }
        MediaEvent::IngestWarning { broadcast, code } => {
            let code = match code {
                WarningCode::LongGop => "long_gop",
                WarningCode::BFrames => "b_frames",
                WarningCode::WebrtcOnly => "webrtc_only",
            };
            LiveFact::IngestWarning {
                session_id: session_id(&broadcast)?,
                code: code.to_owned(),
                at: std::time::SystemTime::now(),
            }
        }
    })
}

fn entry(present: PresentViewer) -> ViewerEntry {
    ViewerEntry {
        viewer_id: present.viewer.as_str().to_owned(),
        identity: present.identity.and_then(identity_of),
        transport: transport_of(present.transport),
        joined_at: present.since,
    }
}

fn identity_of(identity: ViewerIdentity) -> Option<presence::ViewerIdentity> {
    if identity.is_guest {
        GuestId::parse(&identity.id).map(presence::ViewerIdentity::Guest)
    } else {
        UserId::parse(&identity.id).map(presence::ViewerIdentity::User)
    }
}

fn transport_of(transport: Transport) -> presence::Transport {
    match transport {
        Transport::Hls => presence::Transport::Hls,
        Transport::Whep => presence::Transport::Whep,
    }
}

fn name(broadcast: &BroadcastId) -> Option<BroadcastName> {
    BroadcastName::parse(broadcast.as_str())
}

/// The session of a host's broadcast. A session's audience is that of its host: whoever watches a co-host beside is counted
/// there already, and what ails a co-host's picture is not for the host to mend.
fn session_id(broadcast: &BroadcastId) -> Option<SessionId> {
    name(broadcast).filter(|name| name.co_host.is_none()).map(|name| name.session_id)
}

/// Every name is a broadcast id: letters, digits, underscores and one dash.
fn broadcast_id(name: &BroadcastName) -> Result<BroadcastId, Refusal> {
    BroadcastId::parse(&name.to_string()).map_err(|_| Refusal::NotFound)
}
