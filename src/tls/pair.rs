//! A certificate chain and its key, read from PEM files and known to fit each other.

use super::validity::Validity;
use ring::digest::{SHA256, digest};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a TLS listener presents.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// Of the server's own certificate, the first of the chain.
    pub(super) validity: Validity,
    /// SHA-256 of the same, as browsers show it: `AB:CD:…`.
    pub(super) fingerprint: String,
}

/// Why a pair cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PairError {
    #[error("{} cannot be read: {source}", path.display())]
    Certificate { path: PathBuf, source: io::Error },
    #[error("{} cannot be read: {source}", path.display())]
    Key { path: PathBuf, source: io::Error },
    #[error("{} holds no certificate in PEM form: {source}", path.display())]
    NoCertificate { path: PathBuf, source: pem::Error },
    #[error("{} holds no private key in PEM form: {source}", path.display())]
    NoKey { path: PathBuf, source: pem::Error },
    #[error("the first certificate in {} cannot be understood: {reason}", path.display())]
    BadCertificate { path: PathBuf, reason: String },
    #[error("the key in {} is of no use: {source}", path.display())]
    BadKey { path: PathBuf, source: rustls::Error },
    #[error("the key in {} is not that of the first certificate in {}", key.display(), certificate.display())]
    Mismatch { key: PathBuf, certificate: PathBuf },
}

/// A long chain is 10 KiB.
const FILE_MAX_BYTES: u64 = 1024 * 1024;
/// Certificates in a chain; a usual one has two or three, and each is sent in every full handshake.
const CHAIN_MAX: usize = 10;

impl Pair {
    /// Reads both files. Blocks on the disk.
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, PairError> {
        let path = || certificate.to_owned();
        let text = read(certificate).map_err(|source| PairError::Certificate { path: path(), source })?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
            .take(CHAIN_MAX)
            .collect::<Result<_, _>>()
            .map_err(|source| PairError::NoCertificate { path: path(), source })?;
        let Some(own) = chain.first() else {
            return Err(PairError::NoCertificate { path: path(), source: pem::Error::NoItemsFound });
        };
        let validity = Validity::parse(own).ok_or_else(|| PairError::BadCertificate {
            path: path(),
            reason: "its dates cannot be found".to_owned(),
        })?;
        let fingerprint = fingerprint(own);
        let text = read(key).map_err(|source| PairError::Key { path: key.to_owned(), source })?;
        let private =
            PrivateKeyDer::from_pem_slice(&text).map_err(|source| PairError::NoKey { path: key.to_owned(), source })?;
        let signing = default_provider()
            .key_provider
            .load_private_key(private)
            .map_err(|source| PairError::BadKey { path: key.to_owned(), source })?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) => Ok(Self { certified: Arc::new(certified), validity, fingerprint }),
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(PairError::Mismatch { key: key.to_owned(), certificate: path() })
            }
            Err(error) => Err(PairError::BadCertificate { path: path(), reason: error.to_string() }),
        }
    }
}

impl PairError {
    /// The setting at fault.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Certificate { .. } | Self::NoCertificate { .. } | Self::BadCertificate { .. } => "tls.certificate",
            Self::Key { .. } | Self::NoKey { .. } | Self::BadKey { .. } | Self::Mismatch { .. } => "tls.key",
        }
    }

    /// What to do about it.
    pub(super) fn mend(&self) -> &'static str {
        match self {
            Self::Certificate { .. } | Self::Key { .. } => "name a file that exists and that this server may read",
            Self::NoCertificate { .. } => "name a file with -----BEGIN CERTIFICATE-----, such as fullchain.pem",
            Self::NoKey { .. } => {
                "name a file with -----BEGIN PRIVATE KEY-----; an encrypted one is opened with openssl pkey -in FILE -out KEY"
            }
            Self::BadCertificate { .. } => {
                "check it with openssl x509 -in FILE -text; it must be an X.509 version 3 one"
            }
            Self::BadKey { .. } => "use an ECDSA key (P-256, P-384), an Ed25519 key, or RSA of at least 2048 bits",
            Self::Mismatch { .. } => {
                "name the key that the certificate was made for; the server's own certificate comes first in its file"
            }
        }
    }

    /// Nothing is there yet, as opposed to something broken.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Certificate { source, .. } | Self::Key { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {FILE_MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

fn fingerprint(der: &[u8]) -> String {
    let bytes: Vec<_> = digest(&SHA256, der).as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}
