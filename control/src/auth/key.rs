//! The key that signs what this server hands out: access tokens and tickets.
//!
//! One algorithm per server: HS256 when the operator gave a secret, otherwise Ed25519 with a key generated once and kept
//! in the data directory. A token names its purpose twice, in `typ` and `aud`, and both are checked, so that a ticket
//! is never an access token (RFC 8725 sections 3.1, 3.9 and 3.11).

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::{Clock, Timestamp};
use crate::secret::Secret;

/// What a signed token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Proves who calls the API.
    Access,
    /// Admits one viewer to one session.
    Ticket,
    /// Takes one replay home. Opens nothing else, for links are passed on.
    Download,
}

impl TokenKind {
    /// The `typ` header (RFC 9068 section 2.1 for access tokens).
    const fn typ(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Ticket => "ticket+jwt",
            Self::Download => "download+jwt",
        }
    }

    /// The `aud` claim.
    const fn audience(self) -> &'static str {
        match self {
            Self::Access => "chobi-api",
            Self::Ticket => "chobi-playback",
            Self::Download => "chobi-download",
        }
    }
}

/// Why a token is not accepted. Callers are told none of this.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("token longer than {} bytes", TokenKey::TOKEN_MAX)]
    TooLong,
    #[error("token is for another purpose")]
    WrongKind,
    #[error("token has expired")]
    Expired,
    #[error("token carries header fields that could redirect its verification")]
    Header,
    #[error("token content does not fit")]
    Claims,
    #[error(transparent)]
    Jwt(#[from] jsonwebtoken::errors::Error),
}

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("token key {path} cannot be {action}")]
    File { path: String, action: &'static str, source: std::io::Error },
    #[error("token key {path} is not an Ed25519 private key; move it away to have a new one made")]
    Format { path: String },
}

/// Signs and verifies. Clones share the key.
#[derive(Clone)]
pub struct TokenKey {
    inner: Arc<Inner>,
    clock: Clock,
}

struct Inner {
    algorithm: Algorithm,
    sign: EncodingKey,
    verify: DecodingKey,
}

/// The claims every token has beside its own.
#[derive(Serialize, serde::Deserialize)]
struct Envelope<C> {
    aud: String,
    iat: i64,
    exp: i64,
    #[serde(flatten)]
    claims: C,
}

impl TokenKey {
    /// Longer than any token made here; refused before any cryptography.
    const TOKEN_MAX: usize = 4096;

    /// HS256 with the operator's secret.
    pub fn from_secret(secret: &Secret, clock: Clock) -> Self {
        let bytes = secret.reveal().as_bytes();
        let (sign, verify) = (EncodingKey::from_secret(bytes), DecodingKey::from_secret(bytes));
        Self { inner: Arc::new(Inner { algorithm: Algorithm::HS256, sign, verify }), clock }
    }

    /// The Ed25519 key in `data_dir`, made on first use and readable by its owner only.
    pub fn in_data_dir(data_dir: &Path, clock: Clock) -> Result<Self, KeyError> {
        let path = data_dir.join("token.key");
        let shown = path.display().to_string();
        let failed = |action| {
            let path = shown.clone();
            move |source| KeyError::File { path, action, source }
        };
        let der = match fs::read(&path) {
            Ok(der) => der,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = SigningKey::from_bytes(&rand::random());
                let der = key.to_pkcs8_der().map_err(|_| KeyError::Format { path: shown.clone() })?;
                write_once(&path, der.as_bytes()).map_err(failed("written"))?;
                der.as_bytes().to_vec()
            }
            Err(error) => return Err(failed("read")(error)),
        };
        let key = SigningKey::from_pkcs8_der(&der).map_err(|_| KeyError::Format { path: shown })?;
        let (sign, verify) = (EncodingKey::from_ed_der(&der), DecodingKey::from_ed_der(key.verifying_key().as_bytes()));
        Ok(Self { inner: Arc::new(Inner { algorithm: Algorithm::EdDSA, sign, verify }), clock })
    }

    /// A token of `kind` that stops working at `expires_at`.
    pub fn sign(&self, kind: TokenKind, expires_at: Timestamp, claims: impl Serialize) -> Result<Secret, TokenError> {
        let header = Header { typ: Some(kind.typ().to_owned()), ..Header::new(self.inner.algorithm) };
        let envelope = Envelope {
            aud: kind.audience().to_owned(),
            iat: self.clock.now().as_unix_seconds(),
            exp: expires_at.as_unix_seconds(),
            claims,
        };
        Ok(Secret::new(jsonwebtoken::encode(&header, &envelope, &self.inner.sign)?))
    }

    /// The claims of a token of `kind` that is genuine and still good, and when it ends.
    pub fn verify<C: DeserializeOwned>(&self, kind: TokenKind, token: &str) -> Result<(C, Timestamp), TokenError> {
        if token.len() > Self::TOKEN_MAX {
            return Err(TokenError::TooLong);
        }
        let mut validation = Validation::new(self.inner.algorithm);
        // Expiry is checked below against our own clock, to the second.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        validation.set_audience(&[kind.audience()]);
        let token = jsonwebtoken::decode::<Envelope<C>>(token, &self.inner.verify, &validation)?;
        let header = token.header;
        if header.typ.as_deref() != Some(kind.typ()) || token.claims.aud != kind.audience() {
            return Err(TokenError::WrongKind);
        }
        if header.crit.is_some() || header.jku.is_some() || header.jwk.is_some() || header.x5u.is_some() {
            return Err(TokenError::Header);
        }
        let expires_at = Timestamp::from_unix_seconds(token.claims.exp);
        if expires_at <= self.clock.now() {
            return Err(TokenError::Expired);
        }
        Ok((token.claims.claims, expires_at))
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} key", self.inner.algorithm)
    }
}

/// Creates the file for its owner only, and never over an existing one.
fn write_once(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}
