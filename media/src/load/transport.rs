//! ICE and DTLS of one light peer: from the answer's addresses to keys.
//!
//! In: datagrams, the clock. Out: checks and records in the send batch; what a datagram is for those above. Pure.

use super::answer::Agreed;
use super::check::{self, TransactionId};
use super::handshake::{Handshake, Identity, Progress, Role};
use super::report::Fate;
use crate::rtc::datagram::{self, Kind};
use crate::rtc::ice::{BindingRequest, Credentials};
use crate::rtc::negotiate::Fingerprint;
use crate::rtc::outlet::Outlet;
use crate::rtc::route::Route;
use crate::rtc::socket::SendBatch;
use crate::rtc::srtp::{Opener, Sealer};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub(super) struct Transport {
    local: Credentials,
    remote: Credentials,
    identity: Identity,
    fingerprint: Fingerprint,
    role: Role,
    candidates: Vec<SocketAddr>,
    tie_breaker: u64,
    /// Checks that may still be answered, newest last.
    checks: VecDeque<(TransactionId, SocketAddr, Instant)>,
    tries: u32,
    next_check: Instant,
    path: Option<Path>,
    since: Instant,
    rtt: Duration,
}

/// Where the server answered.
struct Path {
    address: SocketAddr,
    route: Route,
    heard: Instant,
    handshake: Handshake,
    keys: Option<Keys>,
}

struct Keys {
    sealer: Sealer,
    opener: Opener,
}

/// What a datagram meant.
pub(super) enum Heard {
    Nothing,
    /// Keys are there.
    Connected,
    Rtp,
    Rtcp,
    Ended(Fate),
}

/// Every address once in this rhythm (RFC 8445 section 14.2), then again and again, slower each time.
const CHECK_PACE: Duration = Duration::from_millis(20);
const CHECK_AGAIN_MAX: Duration = Duration::from_millis(800);
const CHECKS_KEPT: usize = 16;
const PATH_MAX: Duration = Duration::from_secs(10);
const KEYS_MAX: Duration = Duration::from_secs(20);
/// RFC 7675 section 5.1.
const CONSENT_EVERY: Duration = Duration::from_secs(5);
const CONSENT_MAX: Duration = Duration::from_secs(30);
const RTT_FIRST: Duration = Duration::from_millis(50);

impl Transport {
    pub(super) fn new(agreed: &Agreed, now: Instant) -> Self {
        Self {
            local: agreed.local.clone(),
            remote: agreed.remote.clone(),
            identity: agreed.identity.clone(),
            fingerprint: agreed.fingerprint.clone(),
            role: agreed.role,
            candidates: agreed.candidates.clone(),
            tie_breaker: rand::random(),
            checks: VecDeque::new(),
            tries: 0,
            next_check: now,
            path: None,
            since: now,
            rtt: RTT_FIRST,
        }
    }

    pub(super) fn needs_v6(&self) -> bool {
        self.candidates.iter().any(SocketAddr::is_ipv6)
    }

    /// Of the newest check that was answered.
    pub(super) fn rtt(&self) -> Duration {
        self.rtt
    }

    /// The way out for media, once there are keys, and what opens what comes in.
    pub(super) fn split<'a>(&'a mut self, batch: &'a mut SendBatch) -> Option<(Outlet<'a>, &'a mut Opener)> {
        let Path { route, keys, .. } = self.path.as_mut()?;
        let Keys { sealer, opener } = keys.as_mut()?;
        Some((Outlet { sealer, batch, route }, opener))
    }

    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        batch: &mut SendBatch,
    ) -> Heard {
        match datagram::classify(datagram) {
            Kind::Stun => self.stun(now, from, datagram, batch).map_or(Heard::Nothing, Heard::Ended),
            Kind::Dtls => {
                let Some(path) = &mut self.path else { return Heard::Nothing };
                let progress = path.handshake.handle_datagram(now, datagram);
                let heard = path.follow(progress);
                path.send_records(batch);
                heard
            }
            Kind::Rtp => Heard::Rtp,
            Kind::Rtcp => Heard::Rtcp,
            Kind::Unknown => Heard::Nothing,
        }
    }

    /// Sends what is due; the end, when too much time has passed.
    pub(super) fn poll(&mut self, now: Instant, batch: &mut SendBatch) -> Option<Fate> {
        if now >= self.next_check {
            self.check(now, batch);
        }
        let waited = now.duration_since(self.since);
        let Some(path) = &mut self.path else { return (waited > PATH_MAX).then_some(Fate::NoPath) };
        if path.keys.is_none() {
            path.handshake.handle_timeout(now);
            path.send_records(batch);
            if waited > KEYS_MAX {
                return Some(Fate::NoKeys(format!("no end of the handshake within {KEYS_MAX:?}")));
            }
        }
        (now.duration_since(path.heard) > CONSENT_MAX).then_some(Fate::Silent)
    }

    fn check(&mut self, now: Instant, batch: &mut SendBatch) {
        let (to, pause) = match &self.path {
            Some(path) => (path.address, CONSENT_EVERY),
            None => {
                let count = self.candidates.len() as u32;
                let round = self.tries / count;
                let to = self.candidates[(self.tries % count) as usize];
                self.tries += 1;
                (to, CHECK_PACE.saturating_mul(1 << round.min(8)).min(CHECK_AGAIN_MAX))
            }
        };
        self.next_check = now + pause;
        let id: TransactionId = rand::random();
        if self.checks.len() >= CHECKS_KEPT {
            self.checks.pop_front();
        }
        self.checks.push_back((id, to, now));
        let username = format!("{}:{}", self.remote.ufrag, self.local.ufrag);
        let start = batch.begin();
        check::write_request(batch.arena(), &id, &username, self.remote.pwd.as_bytes(), self.tie_breaker);
        batch.commit(start, to);
    }

    fn stun(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], batch: &mut SendBatch) -> Option<Fate> {
        if let Ok(request) = BindingRequest::parse(datagram) {
            // A server that is not lite checks too.
            let pwd = self.local.pwd.as_bytes();
            if request.local_ufrag() == self.local.ufrag && request.verify(pwd) {
                let start = batch.begin();
                request.write_success(batch.arena(), from, pwd);
                batch.commit(start, from);
            }
            return None;
        }
        let id = check::answered(datagram, self.remote.pwd.as_bytes())?;
        let at = self.checks.iter().position(|(known, ..)| *known == id)?;
        let (_, address, sent) = self.checks.remove(at)?;
        self.rtt = now.duration_since(sent);
        if let Some(path) = &mut self.path {
            path.heard = now;
            return None;
        }
        match Handshake::begin(&self.identity, self.role, self.fingerprint.clone(), now) {
            Ok(handshake) => {
                let route = Route::Udp(address);
                let path = self.path.insert(Path { address, route, heard: now, handshake, keys: None });
                path.send_records(batch);
                self.next_check = now + CONSENT_EVERY;
                None
            }
            Err(why) => Some(Fate::NoKeys(why)),
        }
    }
}

impl Path {
    fn follow(&mut self, progress: Option<Progress>) -> Heard {
        match progress {
            None => Heard::Nothing,
            Some(Progress::Connected(keys)) => {
                self.keys = Some(Keys { sealer: keys.sealer(), opener: keys.opener() });
                Heard::Connected
            }
            Some(Progress::Closed) => Heard::Ended(Fate::Closed),
            // Keys stand; a record that cannot be read changes nothing.
            Some(Progress::Failed(_)) if self.keys.is_some() => Heard::Nothing,
            Some(Progress::Failed(why)) => Heard::Ended(Fate::NoKeys(why)),
        }
    }

    fn send_records(&mut self, batch: &mut SendBatch) {
        while let Some(record) = self.handshake.poll_transmit() {
            let start = batch.begin();
            batch.arena().extend_from_slice(&record);
            batch.commit(start, self.address);
        }
    }
}
