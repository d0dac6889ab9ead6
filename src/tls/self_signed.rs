//! The certificate a server makes for itself: once, kept, and made anew before it expires.

use super::names;
use super::pair::{Pair, PairError};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the pair is kept.
#[derive(Debug, Clone)]
pub(super) struct SelfSigned {
    dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SelfSignedError {
    #[error("a certificate cannot be made: {0}")]
    Generate(#[from] rcgen::Error),
    #[error("{} cannot be written: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Pair(#[from] PairError),
}

/// Browsers accept at most 398 days of a public certificate; some apply that to any.
const LIFETIME: Duration = Duration::from_secs(397 * 86_400);
/// Made anew when less is left. Everyone who trusts it is asked again, so not sooner than needed.
const RENEW_BEFORE_END: Duration = Duration::from_secs(30 * 86_400);
/// Clocks on a LAN differ; it holds from yesterday on.
const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(86_400);

impl SelfSigned {
    pub(super) fn below(data_dir: &Path) -> Self {
        Self { dir: data_dir.join("tls") }
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.dir.join("self-signed.crt")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.dir.join("self-signed.key")
    }

    /// The pair that is kept, or a new one when there is none, it is broken, or it is about to expire.
    pub(super) fn ensure(&self, now: SystemTime) -> Result<Pair, SelfSignedError> {
        match Pair::read(&self.certificate(), &self.key()) {
            Ok(pair) if !Self::is_due(&pair, now) => return Ok(pair),
            Ok(_) => tracing::info!("the self-signed certificate is about to expire; a new one is made"),
            Err(error) if error.is_absence() => {}
            Err(error) => tracing::warn!(%error, "the self-signed certificate is broken; a new one is made"),
        }
        self.make(now)?;
        Ok(Pair::read(&self.certificate(), &self.key())?)
    }

    /// Whether [`ensure`](Self::ensure) would make a new one in place of `pair`.
    pub(super) fn is_due(pair: &Pair, now: SystemTime) -> bool {
        pair.validity.left(now) <= RENEW_BEFORE_END
    }

    fn make(&self, now: SystemTime) -> Result<(), SelfSignedError> {
        let mut params = CertificateParams::new(names::of_this_machine())?;
        let host = names::host_name().unwrap_or_else(|| "localhost".to_owned());
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Chobi Live, self-signed");
        // At most 64 characters (RFC 5280 appendix A.1, ub-common-name).
        params.distinguished_name.push(DnType::CommonName, host.get(..64).unwrap_or(&host));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let epoch = date_time_ymd(1970, 1, 1);
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        params.not_before = epoch + since_epoch.saturating_sub(CLOCKS_DIFFER_BY);
        params.not_after = epoch + since_epoch + LIFETIME;
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(|source| SelfSignedError::Write { path: self.dir.clone(), source })?;
        // Ended between the two, the next start finds a pair that does not fit and makes another.
        write(&self.key(), key.serialize_pem().as_bytes(), 0o600)?;
        write(&self.certificate(), certificate.pem().as_bytes(), 0o644)
    }
}

/// Whole or not at all: written beside, synced, then renamed.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), SelfSignedError> {
    let beside = path.with_extension("new");
    let attempt = || {
        // What a run that was cut left there may have another mode.
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    attempt().map_err(|source| SelfSignedError::Write { path: path.to_owned(), source })
}
