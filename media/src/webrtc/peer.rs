//! One WebRTC connection on its worker: ICE and SRTP state below, a viewer or a publisher above.

use crate::ingest::whip::Receiver;
use crate::metrics;
use crate::places::PlaceGuard;
use crate::rtc::dtls::PeerKey;
use crate::rtc::ice::Credentials;
use crate::rtc::negotiate::Fingerprint;
use crate::rtc::outlet::Outlet;
use crate::rtc::route::Route;
use crate::rtc::socket::SendBatch;
use crate::rtc::srtp::{Opener, Sealer};
use crate::signalling::ResourceId;
use crate::whep::viewer::Viewer;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What the desk agreed on with a client, on its way to a worker.
pub(crate) struct NewPeer {
    pub(crate) resource: ResourceId,
    pub(crate) credentials: Credentials,
    /// Of the client's certificate, from its offer.
    pub(crate) fingerprint: Fingerprint,
    pub(crate) media: Media,
    /// Among those of its address that are not connected yet.
    pub(crate) place: PlaceGuard,
    /// Of a viewer: among those of its address, for as long as it is there.
    pub(crate) audience: Option<PlaceGuard>,
}

pub(crate) enum Media {
    Viewer(Box<Viewer>),
    Publisher(Box<Receiver>),
}

pub(crate) struct Peer {
    pub(crate) resource: ResourceId,
    pub(crate) key: PeerKey,
    pub(crate) credentials: Credentials,
    /// From an ICE restart whose first check has not come yet.
    pub(crate) restarting: Option<Credentials>,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) media: Media,
    /// Where the client is, once a check proved it.
    pub(crate) route: Option<Route>,
    pub(crate) chosen: Chosen,
    /// Every proved source, so that all of them can be forgotten.
    pub(crate) sources: Vec<Source>,
    pub(crate) keys: Option<Keys>,
    /// Until it is connected.
    pub(crate) place: Option<PlaceGuard>,
    _audience: Option<PlaceGuard>,
    pub(crate) heard: Instant,
    pub(crate) since: Instant,
    /// It is among those that every tick looks after.
    is_stirred: bool,
}

/// SRTP in both directions.
pub(crate) struct Keys {
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
}

/// Where a datagram came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Udp(SocketAddr),
    Tcp(u64),
}

/// Which of its sources a client is sent to, and when a check last came from there.
#[derive(Debug, Default)]
pub(crate) struct Chosen(Option<(Source, Instant)>);

/// Why a peer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerEnd {
    /// DELETE.
    Deleted,
    /// The client closed DTLS.
    Closed,
    /// Nothing was heard for too long.
    Silent,
    /// ICE or DTLS was never completed.
    NeverConnected,
    /// The client's certificate is not the one of its offer.
    WrongCertificate,
    Ejected,
    /// The same key publishes elsewhere.
    Replaced,
    /// The broadcast is over.
    Ended,
    /// What it was promised no longer exists; it may ask anew.
    Renegotiate,
    /// No media came.
    NoMedia,
    Stopping,
}

/// A source that is new.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proved {
    pub(crate) forgotten: Option<Source>,
}

/// A client checks the path it uses every five seconds, give or take a fifth (RFC 7675 section 5.1).
const UNCHECKED_MAX: Duration = Duration::from_secs(8);

/// Two networks, both IP versions, TCP: a client has a handful. Of more, the newest are remembered: a phone that moves all
/// day is always at its last one.
const SOURCES_MAX: usize = 16;

impl PeerEnd {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Closed => "closed",
            Self::Silent => "silent",
            Self::NeverConnected => "never_connected",
            Self::WrongCertificate => "wrong_certificate",
            Self::Ejected => "ejected",
            Self::Replaced => "replaced",
            Self::Ended => "ended",
            Self::Renegotiate => "renegotiate",
            Self::NoMedia => "no_media",
            Self::Stopping => "stopping",
        }
    }
}

impl Media {
    /// Whether something may be due within a few milliseconds, whatever else happens.
    pub(crate) fn is_restless(&self) -> bool {
        match self {
            Self::Viewer(viewer) => viewer.is_restless(),
            Self::Publisher(_) => true,
        }
    }

    pub(crate) fn role(&self) -> &'static str {
        match self {
            Self::Viewer(_) => "viewer",
            Self::Publisher(_) => "publisher",
        }
    }
}

impl Chosen {
    /// An authentic check came from `source`: whether the client is to be sent there from now on. The first is taken, then what it
    /// nominates (RFC 8445 section 7.3.1.5), and whatever it uses when nothing comes from the chosen one any more: where a
    /// router gives it another port, the client does not know that it has moved and nominates nothing.
    pub(crate) fn check(&mut self, source: Source, nominated: bool, now: Instant) -> bool {
        let taken = self.0.is_none_or(|(chosen, checked)| {
            nominated || chosen == source || now.saturating_duration_since(checked) > UNCHECKED_MAX
        });
        if taken {
            self.0 = Some((source, now));
        }
        taken
    }
}

impl Peer {
    pub(crate) fn new(new: NewPeer, key: PeerKey, now: Instant) -> Self {
        let NewPeer { resource, credentials, fingerprint, media, place, audience } = new;
        ::metrics::gauge!(metrics::WEBRTC_PEERS, "role" => media.role()).increment(1.0);
        Self {
            resource,
            key,
            credentials,
            restarting: None,
            fingerprint,
            media,
            route: None,
            chosen: Chosen::default(),
            sources: Vec::new(),
            keys: None,
            place: Some(place),
            _audience: audience,
            heard: now,
            since: now,
            is_stirred: false,
        }
    }

    /// A check from there was authentic. `None`: that was known. Else the oldest source may be forgotten for it.
    pub(crate) fn prove(&mut self, source: Source) -> Option<Proved> {
        if self.sources.contains(&source) {
            return None;
        }
        let forgotten = (self.sources.len() >= SOURCES_MAX).then(|| self.sources.remove(0));
        self.sources.push(source);
        Some(Proved { forgotten })
    }

    /// Whether every tick should look after it and did not yet; from here on it counts as told.
    pub(crate) fn stir(&mut self) -> bool {
        let is_new = !self.is_stirred && self.media.is_restless();
        self.is_stirred |= is_new;
        is_new
    }

    /// Whether a tick need not look after it any more.
    pub(crate) fn settle(&mut self) -> bool {
        self.is_stirred = self.media.is_restless();
        !self.is_stirred
    }

    /// The upper half with its way out, once both are there.
    pub(crate) fn split<'a>(&'a mut self, batch: &'a mut SendBatch) -> Option<(&'a mut Media, Outlet<'a>)> {
        let (route, keys) = (self.route.as_ref()?, self.keys.as_mut()?);
        Some((&mut self.media, Outlet { sealer: &mut keys.sealer, batch, route }))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        ::metrics::gauge!(metrics::WEBRTC_PEERS, "role" => self.media.role()).decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_sent_where_it_nominates_or_where_alone_it_still_is() {
        let (home, phone) = (Source::Tcp(1), Source::Tcp(2));
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut chosen = Chosen::default();
        assert!(chosen.check(home, false, at(0)), "the first, nominated or not");
        assert!(!chosen.check(phone, false, at(1)), "another path that it tries");
        assert!(
            chosen.check(home, false, at(5)) && !chosen.check(phone, false, at(12)),
            "seven seconds without a check may be"
        );
        assert!(chosen.check(phone, false, at(14)), "nine are too many");
        assert!(!chosen.check(home, false, at(15)) && chosen.check(home, true, at(16)), "unless it says so");
        assert!(chosen.check(home, false, at(500)), "a chosen one stays so, however late");
    }
}
