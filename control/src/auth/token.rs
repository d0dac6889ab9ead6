//! Access tokens: who calls, for an hour, without asking the database.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::key::{TokenError, TokenKey, TokenKind};
use crate::caller::{Language, UserIdentity};
use crate::clock::Timestamp;
use crate::id::{LoginId, UserId};
use crate::secret::Secret;

/// Issues and verifies access tokens. Clones share the key.
#[derive(Debug, Clone)]
pub struct AccessTokens {
    key: TokenKey,
    ttl: Duration,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    sid: String,
    lang: String,
}

impl AccessTokens {
    pub const fn new(key: TokenKey, ttl: Duration) -> Self {
        Self { key, ttl }
    }

    /// A token for `user` and when it ends.
    pub fn issue(&self, user: &UserIdentity, now: Timestamp) -> Result<(Secret, Timestamp), TokenError> {
        let expires_at = now.plus(self.ttl);
        let claims = Claims {
            sub: user.user_id.to_string(),
            sid: user.login_id.to_string(),
            lang: user.language.as_str().to_owned(),
        };
        Ok((self.key.sign(TokenKind::Access, expires_at, claims)?, expires_at))
    }

    pub fn verify(&self, token: &str) -> Result<UserIdentity, TokenError> {
        let (claims, _) = self.key.verify::<Claims>(TokenKind::Access, token)?;
        Ok(UserIdentity {
            user_id: UserId::parse(&claims.sub).ok_or(TokenError::Claims)?,
            login_id: LoginId::parse(&claims.sid).ok_or(TokenError::Claims)?,
            language: Language::parse(&claims.lang).ok_or(TokenError::Claims)?,
        })
    }
}
