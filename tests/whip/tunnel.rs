//! TLS to other people's servers. The HTTP client of the tests is built without, since nothing else here needs it; a port on
//! loopback takes its plain requests and carries them on.

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// Where Debian and its kin keep the authorities that are trusted.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Opens a port that leads to `host:port`, for as long as the suite runs.
pub(crate) async fn open(host: &str, port: u16) -> Result<SocketAddr> {
    let mut roots = RootCertStore::empty();
    let file = std::env::var("SSL_CERT_FILE").unwrap_or_else(|_| AUTHORITIES.to_owned());
    for certificate in CertificateDer::pem_file_iter(&file).with_context(|| file.clone())? {
        // Authorities with odd encodings are passed over, as browsers do.
        let _ = roots.add(certificate?);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from(host.to_owned())?;
    let address = (host.to_owned(), port);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let local = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (connector, name, address) = (connector.clone(), name.clone(), address.clone());
            tokio::spawn(async move {
                if let Err(error) = carry(near, &connector, name, address).await {
                    eprintln!("TLS: {error:#}");
                }
            });
        }
    });
    Ok(local)
}

async fn carry(
    mut near: TcpStream,
    connector: &TlsConnector,
    name: ServerName<'static>,
    address: (String, u16),
) -> Result<()> {
    let far = TcpStream::connect(address).await?;
    let mut far = connector.connect(name, far).await?;
    // Either side hangs up as it likes.
    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    Ok(())
}
