//! Text that must never be seen: it prints as `***` and is compared in constant time.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A password, token, key or other text that logs must not hold.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// `prefix` followed by `N` random bytes in URL-safe base64, from a generator seeded by the system.
    pub fn random<const N: usize>(prefix: &str) -> Self {
        let bytes: [u8; N] = rand::random();
        Self(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The text itself. Every call is a place to look at when asking where secrets go.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the database keeps of a random secret, in hex. Only for secrets with enough entropy of their own;
    /// passwords go through argon2.
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(self.0.as_bytes()))
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Configuration may be printed; secrets in it may not.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "***" })
    }
}

/// A secret inside the one answer that hands it to its owner: serde writes it out, printing still does not.
#[derive(Clone, Debug)]
pub struct Disclosed(pub Secret);

impl Serialize for Disclosed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.reveal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_debug_nor_serde_shows_it() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        let disclosed = Disclosed(secret);
        assert_eq!(serde_json::to_string(&disclosed).unwrap(), "\"hunter2\"");
        assert!(!format!("{disclosed:?}").contains("hunter2"));
    }

    #[test]
    fn random_secrets_differ_and_carry_their_prefix() {
        let (one, other) = (Secret::random::<20>("chobi_sk_"), Secret::random::<20>("chobi_sk_"));
        assert_ne!(one, other);
        assert!(one.reveal().starts_with("chobi_sk_"));
        assert_eq!(one.reveal().len(), "chobi_sk_".len() + 27);
        assert_eq!(one.digest().len(), 64);
    }
}
