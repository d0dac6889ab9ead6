//! The secret a publisher presents.

use std::fmt;

use crate::secret::Secret;

/// 160 random bits behind a prefix that secret scanners can learn. Shown once, to the host; the database keeps its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamKey(Secret);

impl StreamKey {
    pub const PREFIX: &'static str = "chobi_sk_";

    pub(crate) fn generate() -> Self {
        Self(Secret::random::<20>(Self::PREFIX))
    }

    /// What a publisher presented. Nothing is checked here: a key that is none is simply nobody's.
    pub(crate) const fn presented(secret: Secret) -> Self {
        Self(secret)
    }

    /// For its host, or for an encoder of our own.
    pub fn into_secret(self) -> Secret {
        self.0
    }

    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// What the database keeps. Looking a digest up leaks no timing of the key: whoever cannot invert SHA-256 cannot
    /// choose how much of it matches.
    pub(super) fn digest(&self) -> String {
        self.0.digest()
    }

    /// Whether it is worth a look-up: our prefix, and no longer than ours are.
    pub(super) fn is_plausible(&self) -> bool {
        let text = self.reveal();
        text.starts_with(Self::PREFIX) && text.len() == Self::PREFIX.len() + 27
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_plausible_unguessable_and_unprintable() {
        let (one, other) = (StreamKey::generate(), StreamKey::generate());
        assert_ne!(one, other);
        assert!(one.is_plausible());
        assert!(!format!("{one:?}").contains(StreamKey::PREFIX));
        assert!(!one.reveal().contains(['/', '?', '.', '+']), "it is the last part of an RTMP address");
    }

    #[test]
    fn other_texts_are_not_looked_up() {
        let long = format!("{}{}", StreamKey::PREFIX, "x".repeat(28));
        for text in ["", "chobi_sk_", "session_0197f3c2a8b07c4e9d1f3a5b7c9d1e2f", &long] {
            assert!(!StreamKey::presented(Secret::new(text)).is_plausible(), "{text}");
        }
    }
}
