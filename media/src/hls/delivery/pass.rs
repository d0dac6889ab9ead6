//! Who may watch with a ticket. Admission is asked once per ticket; after that a signed pass in the path is enough.
//!
//! ```text
//! pass = base64url(expires:8 kind:1 viewer:n) "." base64url(tag:16)
//! tag  = the first 16 bytes of HMAC-SHA256(key, "chobi hls pass" 0 broadcast 0 expires kind viewer)
//! ```
//!
//! The pass stands in the path and not in a cookie because most native players, and browsers across origins, send no
//! cookies. Relative addresses in playlists keep it, so media playlists are the same bytes for every viewer.

use crate::model::{BroadcastId, ViewerId};
use crate::private_file;
use crate::seam::{Admission, Refusal, Secret, ViewerIdentity, WatchRequest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use rand::RngCore;
use sha2::Sha256;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
        private_file::write(path, &key)?;
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

    /// A pass for another broadcast says the same of its bearer.
    pub(crate) fn sign(&self, broadcast: &BroadcastId, pass: &Pass) -> String {
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
    use super::super::door::Door;
    use super::*;
    use crate::seam::WatchGrant;

    fn show(text: &str) -> BroadcastId {
        BroadcastId::parse(text).unwrap()
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
