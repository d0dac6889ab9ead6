//! Passwords are hashed slowly on purpose, and so only a few at a time.
//!
//! In: a password. Out: its argon2id hash, or whether it fits one. At most `hash_threads` run at once, on the runtime's
//! blocking threads, so that a rush of logins cannot take the cores from live media; `hash_queue` more wait their turn;
//! the next is refused at once and told to come back.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::config::AuthConfig;
use crate::error::{Code, Error, Refusal, Text};
use crate::secret::Secret;

const CROWDED: Refusal = Refusal::new(
    Code::ServiceUnavailable,
    "login_crowded",
    Text::new("عدد كبير من عمليات الدخول الآن، حاول بعد ثوانٍ", "Many people are signing in, try again in a few seconds"),
);

/// Hashes and verifies. Clones share the queue.
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    argon2: Argon2<'static>,
    /// Running and waiting together; nobody waits for this one.
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
    /// A hash no password fits, with the same cost as a real one.
    decoy: Arc<str>,
}

impl Passwords {
    pub(crate) fn new(config: &AuthConfig) -> Self {
        let params = Params::new(config.argon2_memory_kib, config.argon2_passes, 1, None)
            .expect("hashing costs were checked with the configuration");
        let decoy = format!(
            "$argon2id$v=19$m={},t={},p=1${}${}",
            config.argon2_memory_kib,
            config.argon2_passes,
            "A".repeat(22),
            "A".repeat(43)
        );
        Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            admitted: Arc::new(Semaphore::new(config.hash_threads + config.hash_queue)),
            running: Arc::new(Semaphore::new(config.hash_threads)),
            decoy: decoy.into(),
        }
    }

    /// The PHC text to keep.
    pub(crate) async fn hash(&self, password: Secret) -> Result<String, Error> {
        let argon2 = self.argon2.clone();
        let hashed = move || argon2.hash_password(password.reveal().as_bytes()).map(|hash| hash.to_string());
        self.run(hashed).await?.map_err(|cause| Error::Internal(format!("password cannot be hashed: {cause}").into()))
    }

    /// Whether `password` fits. Without a hash to compare with (no such account) it costs the same and says no.
    pub(crate) async fn fits(&self, password: Secret, hash: Option<String>) -> Result<bool, Error> {
        let (argon2, is_real) = (self.argon2.clone(), hash.is_some());
        let hash = hash.unwrap_or_else(|| self.decoy.to_string());
        let verified = move || {
            let parsed = PasswordHash::new(&hash)?;
            // The costs in the hash count, not ours: they may have been raised since.
            Ok::<_, argon2::password_hash::phc::Error>(
                argon2.verify_password(password.reveal().as_bytes(), &parsed).is_ok(),
            )
        };
        let fits = self.run(verified).await?;
        let fits =
            fits.map_err(|cause| Error::Internal(format!("stored password hash is unreadable: {cause}").into()))?;
        Ok(fits && is_real)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let Ok(_admitted) = Arc::clone(&self.admitted).try_acquire_owned() else {
            return Err(Error::Wait { refusal: CROWDED, retry_after: Duration::from_secs(2) });
        };
        let running = Arc::clone(&self.running).acquire_owned().await.expect("the semaphore is never closed");
        // The permit moves with the work: a caller that goes away does not make room for one more.
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop(running);
            outcome
        });
        done.await.map_err(|cause| Error::Internal(format!("password hashing ended early: {cause}").into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lowest costs argon2 allows: these tests are about the queue.
    fn cheap(hash_threads: usize, hash_queue: usize) -> Passwords {
        let config =
            AuthConfig { argon2_memory_kib: 8, argon2_passes: 1, hash_threads, hash_queue, ..AuthConfig::default() };
        Passwords::new(&config)
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = cheap(1, 8);
        let hash = passwords.hash(Secret::new("كلمة سر")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        assert!(passwords.fits(Secret::new("كلمة سر"), Some(hash.clone())).await.unwrap());
        assert!(!passwords.fits(Secret::new("other"), Some(hash.clone())).await.unwrap());
        assert_ne!(passwords.hash(Secret::new("كلمة سر")).await.unwrap(), hash, "salted");
    }

    #[tokio::test]
    async fn nobodys_password_fits_and_the_decoy_is_a_real_hash() {
        let passwords = cheap(1, 8);
        assert!(!passwords.fits(Secret::new("anything"), None).await.unwrap());
        assert!(PasswordHash::new(&passwords.decoy).is_ok());
        assert!(passwords.fits(Secret::new("x"), Some("not a hash".to_owned())).await.is_err());
    }

    #[tokio::test]
    async fn hashes_made_with_older_costs_still_fit() {
        let hash = cheap(1, 1).hash(Secret::new("old")).await.unwrap();
        let now = Passwords::new(&AuthConfig { argon2_memory_kib: 64, argon2_passes: 2, ..AuthConfig::default() });
        assert!(now.fits(Secret::new("old"), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn beyond_the_queue_logins_are_refused_at_once() {
        let passwords = cheap(1, 1);
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let passwords = passwords.clone();
            async move { passwords.run(move || held.recv()).await.map(drop) }
        });
        let second = tokio::spawn({
            let passwords = passwords.clone();
            async move { passwords.run(|| ()).await }
        });
        while passwords.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = passwords.run(|| ()).await.unwrap_err();
        assert_eq!(refused.code(), Code::ServiceUnavailable);
        assert_eq!(refused.retry_after(), Some(Duration::from_secs(2)));
        drop(hold);
        first.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
        passwords.run(|| ()).await.unwrap();
    }
}
