//! Pairs and clients for the tests of this crate.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const DAY: Duration = Duration::from_secs(86_400);

/// A certificate for `localhost` and `127.0.0.1`, and its key, in files.
pub(crate) struct PairFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl PairFiles {
    /// Replaces both files of that name, as a renewal does; valid for `days` from `from_day` days after now.
    pub(crate) fn write(folder: &Path, name: &str, from_day: i64, days: u32) -> Self {
        let mut params = CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned)).unwrap();
        let now = date_time_ymd(1970, 1, 1) + UNIX_EPOCH.elapsed().unwrap();
        let shift = DAY * u32::try_from(from_day.unsigned_abs()).unwrap();
        params.not_before = if from_day < 0 { now - shift } else { now + shift };
        params.not_after = params.not_before + DAY * days;
        let key = KeyPair::generate().unwrap();
        let files = Self { certificate: folder.join(format!("{name}.crt")), key: folder.join(format!("{name}.key")) };
        replace(&files.certificate, &params.self_signed(&key).unwrap().pem());
        replace(&files.key, &key.serialize_pem());
        files
    }
}

/// By a file of another inode: the clock of files ticks too slowly to tell two writes of one test apart.
pub(crate) fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("beside");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// Shakes hands with a server whose certificate must be the one in that file.
pub(crate) async fn connect(
    address: SocketAddr,
    certificate: &Path,
    protocols: &[&str],
) -> io::Result<TlsStream<TcpStream>> {
    let mut trusted = RootCertStore::empty();
    trusted.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let socket = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::from(address.ip()), socket).await
}
