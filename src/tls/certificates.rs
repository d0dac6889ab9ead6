//! The certificate in use, and the task that takes up a new one when the files change.
//!
//! In: files. Out: `rustls` configurations whose certificate is swapped in place; connections that are open keep
//! theirs. A file that is broken changes nothing but the log.

use super::TlsConfig;
use super::pair::{Pair, PairError};
use super::self_signed::{SelfSigned, SelfSignedError};
use super::validity::Validity;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;

/// Where the certificate comes from and which one is presented now.
#[derive(Debug)]
pub(crate) struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    /// Makes the files when they are ours.
    own: Option<SelfSigned>,
    pair: Pair,
    presented: Arc<Presented>,
    /// The files as they were when last read.
    read: Stamp,
    /// The files as they were at the last look, when they differ from that.
    changing: Option<Stamp>,
    /// After a renewal of our own failed, it is not tried before this time.
    renew_after: SystemTime,
}

/// TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Pair(#[from] PairError),
    #[error(transparent)]
    SelfSigned(#[from] SelfSignedError),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// What a look at the files found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Unchanged,
    /// They changed since the last look. Read once they have been the same for two looks: a certificate and its key
    /// are seldom written in the same instant.
    Changing,
    Reloaded,
    /// What is there now cannot be used; the old one stays.
    Kept,
}

/// Enough to notice a file written in place, replaced, or a symbolic link turned.
type Stamp = [Option<(u64, u64, i64, i64)>; 2];

/// How often the files are looked at. A new certificate is in use after two looks.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// A full disk is seldom mended within minutes, and the old certificate still holds for a month.
const RENEW_RETRY: Duration = Duration::from_secs(3_600);
/// When the certificate in use ends, in seconds since 1970.
const ENDS: &str = "chobi_tls_certificate_not_after_seconds";
/// Changed certificate files, by `outcome` (reloaded, kept).
const RELOADS: &str = "chobi_tls_reloads_total";

impl Certificates {
    /// `None` when TLS is off. Makes the self-signed pair where there is none.
    pub(crate) fn open(config: &TlsConfig, data_dir: &Path, now: SystemTime) -> Result<Option<Self>, OpenError> {
        if !config.is_on() {
            return Ok(None);
        }
        let own = config.self_signed.then(|| SelfSigned::below(data_dir));
        let (certificate, key) = match &own {
            Some(own) => (own.certificate(), own.key()),
            None => (config.certificate.clone(), config.key.clone()),
        };
        let own_pair = own.as_ref().map(|own| own.ensure(now)).transpose()?;
        // Taken before reading: what is written meanwhile is seen at the first look.
        let read = stamp(&certificate, &key);
        let pair = match own_pair {
            Some(pair) => pair,
            None => Pair::read(&certificate, &key)?,
        };
        let presented = Arc::new(Presented(ArcSwap::new(Arc::clone(&pair.certified))));
        measure(&pair.validity);
        Ok(Some(Self { certificate, key, own, pair, presented, read, changing: None, renew_after: now }))
    }

    /// For HTTPS: HTTP/2 where the client knows it (RFC 7301).
    pub(crate) fn for_http(&self) -> Result<Arc<ServerConfig>, OpenError> {
        self.server_config(&[b"h2", b"http/1.1"])
    }

    /// For RTMPS, which names no protocol.
    pub(crate) fn for_rtmp(&self) -> Result<Arc<ServerConfig>, OpenError> {
        self.server_config(&[])
    }

    /// SHA-256 of the certificate in use.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.pair.fingerprint
    }

    pub(crate) fn is_self_signed(&self) -> bool {
        self.own.is_some()
    }

    fn server_config(&self, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, OpenError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Presented>::clone(&self.presented));
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        // Returning viewers skip the signature, and this server keeps nothing for them (RFC 8446 section 4.6.1).
        config.ticketer = Ticketer::new()?;
        Ok(Arc::new(config))
    }

    /// Follows the files until cancelled.
    pub(crate) async fn watch(mut self, cancel: CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            // The files may lie on a network: this thread does not wait for them.
            let looked = tokio::task::spawn_blocking(move || {
                self.look(SystemTime::now());
                self
            });
            match looked.await {
                Ok(certificates) => self = certificates,
                Err(error) => {
                    tracing::error!(%error, "certificates are watched no more; a restart takes up new ones");
                    return;
                }
            }
        }
    }

    pub(crate) fn look(&mut self, now: SystemTime) -> Look {
        if let Some(own) = &self.own
            && SelfSigned::is_due(&self.pair, now)
            && now >= self.renew_after
        {
            return match own.ensure(now) {
                Ok(pair) => {
                    self.read = stamp(&self.certificate, &self.key);
                    self.present(pair)
                }
                Err(error) => {
                    self.renew_after = now + RENEW_RETRY;
                    self.keep(&error)
                }
            };
        }
        let stamp = stamp(&self.certificate, &self.key);
        if stamp == self.read {
            self.changing = None;
            return Look::Unchanged;
        }
        if self.changing.replace(stamp) != Some(stamp) {
            return Look::Changing;
        }
        // Taken before reading: what is written meanwhile is seen at the next look.
        self.read = stamp;
        self.changing = None;
        match Pair::read(&self.certificate, &self.key) {
            Ok(pair) => self.present(pair),
            Err(error) => self.keep(&error),
        }
    }

    fn present(&mut self, pair: Pair) -> Look {
        self.presented.0.store(Arc::clone(&pair.certified));
        measure(&pair.validity);
        ::metrics::counter!(RELOADS, "outcome" => "reloaded").increment(1);
        tracing::info!(
            certificate = %self.certificate.display(),
            fingerprint = %pair.fingerprint,
            valid_days = pair.validity.left(SystemTime::now()).as_secs() / super::DAY_SECONDS,
            "a new certificate is in use"
        );
        self.pair = pair;
        Look::Reloaded
    }

    fn keep(&self, error: &dyn std::error::Error) -> Look {
        ::metrics::counter!(RELOADS, "outcome" => "kept").increment(1);
        tracing::error!(%error, "the new certificate cannot be used; the old one stays in use");
        Look::Kept
    }
}

/// Every handshake is given this, whatever name the client asks for.
#[derive(Debug)]
struct Presented(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Presented {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

fn stamp(certificate: &Path, key: &Path) -> Stamp {
    [certificate, key].map(|path| {
        let facts = std::fs::metadata(path).ok()?;
        Some((facts.ino(), facts.len(), facts.mtime(), facts.mtime_nsec()))
    })
}

fn measure(validity: &Validity) {
    let since_epoch = validity.not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
    ::metrics::gauge!(ENDS).set(since_epoch.as_secs_f64());
}
