//! Who may watch over HLS. Admission is asked once per public show and now and then again, and once per ticket; after
//! that a signed pass in the path is enough, so no request of a private viewer needs a lookup.
//!
//! ```text
//! pass = base64url(expires:8 kind:1 viewer:n) "." base64url(tag:16)
//! tag  = the first 16 bytes of HMAC-SHA256(key, "chobi hls pass" 0 broadcast 0 expires kind viewer)
//! ```
//!
//! The pass stands in the path and not in a cookie because most native players, and browsers across origins, send no
//! cookies. Relative addresses in playlists keep it, so media playlists are the same bytes for every viewer.

use crate::model::{BroadcastId, ViewerId};
use crate::seam::{Admission, Refusal, Secret, ViewerIdentity, WatchRequest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use rand::RngCore;
use sha2::Sha256;
use std::collections::HashMap;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// What public shows' admission said, by broadcast. Bounded: when full, what is out of date goes, else all.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    gates: Mutex<HashMap<BroadcastId, Arc<Gate>>>,
}

#[derive(Debug, Default)]
struct Gate {
    answer: Mutex<Option<Answer>>,
    /// One asks, the others wait for its answer.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Answer {
    verdict: Result<(), Refusal>,
    until: Instant,
    /// It was public before. Its viewers may still fetch the end.
    was_public: bool,
}

const MAX_GATES: usize = 4_096;
/// A refusal is remembered this long, so that a player that insists does not become admission's load.
const REFUSED_FOR: Duration = Duration::from_secs(1);

impl Gates {
    /// Whether a viewer without a ticket may watch.
    pub(crate) async fn admit_anyone(
        &self,
        broadcast: &BroadcastId,
        admission: &dyn Admission,
        recheck: Duration,
    ) -> Result<(), Refusal> {
        let gate = self.gate(broadcast);
        if let Some(verdict) = gate.known() {
            return verdict;
        }
        let _one = gate.asking.lock().await;
        if let Some(verdict) = gate.known() {
            return verdict;
        }
        let request = WatchRequest { broadcast: broadcast.clone(), ticket: None };
        let verdict = admission.admit_viewer(request).await.map(drop);
        let was_public = gate.answer.lock().as_ref().is_some_and(|answer| answer.was_public);
        let verdict = match verdict {
            // Who was let in sees the end of the show, and is not cut while control is away.
            Err(Refusal::Ended | Refusal::Unavailable) if was_public => Ok(()),
            verdict => verdict,
        };
        let valid = if verdict.is_ok() { recheck.max(REFUSED_FOR) } else { REFUSED_FOR };
        let was_public = was_public || verdict.is_ok();
        *gate.answer.lock() = Some(Answer { verdict: verdict.clone(), until: Instant::now() + valid, was_public });
        verdict
    }

    fn gate(&self, broadcast: &BroadcastId) -> Arc<Gate> {
        let mut gates = self.gates.lock();
        if let Some(gate) = gates.get(broadcast) {
            return Arc::clone(gate);
        }
        if gates.len() >= MAX_GATES {
            gates.retain(|_, gate| gate.known().is_some());
            if gates.len() >= MAX_GATES {
                gates.clear();
            }
        }
        Arc::clone(gates.entry(broadcast.clone()).or_default())
    }
}

impl Gate {
    fn known(&self) -> Option<Result<(), Refusal>> {
        let answer = self.answer.lock();
        answer.as_ref().filter(|answer| answer.until > Instant::now()).map(|answer| answer.verdict.clone())
    }
}

/// Signs and checks passes. Kept on disk, so that passes outlive a restart.
#[derive(Clone)]
pub(crate) struct PassKey(Hmac<Sha256>);

/// Whose pass it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) viewer: ViewerId,
    /// `None`: the ticket named nobody.
    pub(crate) identity: Option<ViewerIdentity>,
    expires: u64,
}

const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const USER: u8 = 0;
const GUEST: u8 = 1;
const NOBODY: u8 = 2;

impl PassKey {
    /// The key in this file; made if there is none.
    pub(crate) fn load_or_create(path: &Path) -> io::Result<Self> {
        match std::fs::read(path) {
            Ok(key) if key.len() == KEY_BYTES => return Ok(Self::new(&key)),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut key = [0_u8; KEY_BYTES];
        rand::rng().fill_bytes(&mut key);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path)?.write_all(&key)?;
        Ok(Self::new(&key))
    }

    fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    /// Asks admission about a ticket and signs a pass for it.
    pub(crate) async fn admit_ticket(
        &self,
        broadcast: &BroadcastId,
        ticket: Secret,
        admission: &dyn Admission,
        lifetime: Duration,
    ) -> Result<(Pass, String), Refusal> {
        let request = WatchRequest { broadcast: broadcast.clone(), ticket: Some(ticket) };
        let grant = admission.admit_viewer(request).await?;
        let expires = grant.expires.unwrap_or_else(|| SystemTime::now() + lifetime);
        let expires = expires.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let viewer = grant.viewer.as_ref().and_then(|viewer| ViewerId::parse(&viewer.id).ok());
        let pass = match viewer {
            Some(viewer) => Pass { viewer, identity: grant.viewer, expires },
            None => Pass { viewer: random_viewer(), identity: None, expires },
        };
        let text = self.sign(broadcast, &pass);
        Ok((pass, text))
    }

    /// `None`: forged, for another broadcast, or over.
    pub(crate) fn check(&self, broadcast: &BroadcastId, text: &str, now: SystemTime) -> Option<Pass> {
        let (body, tag) = text.split_once('.')?;
        let (body, tag) = (URL_SAFE_NO_PAD.decode(body).ok()?, URL_SAFE_NO_PAD.decode(tag).ok()?);
        if tag.len() != TAG_BYTES {
            return None;
        }
        self.mac(broadcast, &body).verify_truncated_left(&tag).ok()?;
        let (expires, rest) = body.split_first_chunk::<8>()?;
        let (kind, viewer) = rest.split_first()?;
        let viewer = ViewerId::parse(std::str::from_utf8(viewer).ok()?).ok()?;
        let expires = u64::from_be_bytes(*expires);
        let identity =
            (*kind != NOBODY).then(|| ViewerIdentity { id: viewer.as_str().to_owned(), is_guest: *kind == GUEST });
        (UNIX_EPOCH + Duration::from_secs(expires) > now).then_some(Pass { viewer, identity, expires })
    }

    fn sign(&self, broadcast: &BroadcastId, pass: &Pass) -> String {
        let kind = match &pass.identity {
            Some(identity) if identity.is_guest => GUEST,
            Some(_) => USER,
            None => NOBODY,
        };
        let mut body = pass.expires.to_be_bytes().to_vec();
        body.push(kind);
        body.extend_from_slice(pass.viewer.as_str().as_bytes());
        let tag = self.mac(broadcast, &body).finalize().into_bytes();
        format!("{}.{}", URL_SAFE_NO_PAD.encode(&body), URL_SAFE_NO_PAD.encode(&tag[..TAG_BYTES]))
    }

    fn mac(&self, broadcast: &BroadcastId, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(b"chobi hls pass\0");
        mac.update(broadcast.as_str().as_bytes());
        mac.update(b"\0");
        mac.update(body);
        mac
    }
}

impl std::fmt::Debug for PassKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PassKey")
    }
}

/// An id for a viewer nobody knows: 128 random bits.
pub(crate) fn random_viewer() -> ViewerId {
    let bits: u128 = rand::random();
    ViewerId::parse(&format!("{bits:032x}")).expect("hexadecimal digits are an id")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::{PublishGrant, PublishRequest, WatchGrant};
    use async_trait::async_trait;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Door {
        asked: AtomicUsize,
        answer: Mutex<Result<WatchGrant, Refusal>>,
    }

    impl Door {
        fn new(answer: Result<WatchGrant, Refusal>) -> Self {
            Self { asked: AtomicUsize::new(0), answer: Mutex::new(answer) }
        }
    }

    #[async_trait]
    impl Admission for Door {
        async fn admit_publisher(&self, _: PublishRequest) -> Result<PublishGrant, Refusal> {
            Err(Refusal::Forbidden)
        }
        async fn admit_viewer(&self, _: WatchRequest) -> Result<WatchGrant, Refusal> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.answer.lock().clone()
        }
    }

    fn show(text: &str) -> BroadcastId {
        BroadcastId::parse(text).unwrap()
    }

    const OPEN: WatchGrant = WatchGrant { viewer: None, expires: None };
    const RECHECK: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_public_show_is_asked_about_once_per_recheck() {
        let (gates, door, show) = (Gates::default(), Door::new(Ok(OPEN)), show("session_1"));
        for _ in 0..100 {
            assert_eq!(gates.admit_anyone(&show, &door, RECHECK).await, Ok(()));
        }
        assert_eq!(door.asked.load(Ordering::Relaxed), 1);
        *door.answer.lock() = Err(Refusal::Forbidden);
        tokio::time::advance(RECHECK).await;
        assert_eq!(gates.admit_anyone(&show, &door, RECHECK).await, Err(Refusal::Forbidden));
        assert_eq!(door.asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_let_in_may_see_the_end_and_nobody_else() {
        let (gates, door) = (Gates::default(), Door::new(Ok(OPEN)));
        assert_eq!(gates.admit_anyone(&show("public"), &door, RECHECK).await, Ok(()));
        *door.answer.lock() = Err(Refusal::Ended);
        tokio::time::advance(RECHECK).await;
        assert_eq!(gates.admit_anyone(&show("public"), &door, RECHECK).await, Ok(()));
        assert_eq!(gates.admit_anyone(&show("other"), &door, RECHECK).await, Err(Refusal::Ended));
    }

    #[tokio::test]
    async fn a_pass_is_good_for_its_show_and_its_time_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/pass.key");
        let key = PassKey::load_or_create(&path).unwrap();
        let now = SystemTime::now();
        let identity = ViewerIdentity { id: "user_7".to_owned(), is_guest: true };
        let grant = WatchGrant { viewer: Some(identity.clone()), expires: Some(now + Duration::from_secs(60)) };
        let door = Door::new(Ok(grant));
        let (pass, text) =
            key.admit_ticket(&show("session_1"), Secret::new("t"), &door, Duration::from_secs(1)).await.unwrap();
        assert_eq!((pass.viewer.as_str(), pass.identity.as_ref()), ("user_7", Some(&identity)));
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));

        let again = PassKey::load_or_create(&path).unwrap();
        assert_eq!(again.check(&show("session_1"), &text, now), Some(pass));
        assert_eq!(again.check(&show("session_2"), &text, now), None);
        assert_eq!(again.check(&show("session_1"), &text, now + Duration::from_secs(61)), None);
        assert_eq!(PassKey::new(b"other").check(&show("session_1"), &text, now), None);
        for index in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[index] = if forged[index] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(again.check(&show("session_1"), &forged, now), None, "byte {index}");
        }
        for hostile in ["", ".", "a.b", "AAAA.", ".AAAA", "~", "é.é"] {
            assert_eq!(again.check(&show("session_1"), hostile, now), None, "{hostile}");
        }
    }
}
