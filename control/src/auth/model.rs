//! What auth is asked and what it gives.

use crate::caller::Language;
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::user::{DisplayName, Email, Username};

/// What a new user says.
#[derive(Debug, Clone)]
pub(super) struct Registration {
    pub(super) name: DisplayName,
    pub(super) username: Username,
    pub(super) email: Email,
    pub(super) password: Secret,
    pub(super) language: Language,
}

/// What a returning user says.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub(super) email: Email,
    pub(super) password: Secret,
}

/// What a signed-in app holds.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) access_token: Secret,
    pub(super) refresh_token: Secret,
    /// When the access token ends.
    pub(super) expires_at: Timestamp,
}
