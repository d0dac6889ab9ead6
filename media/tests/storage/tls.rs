//! A service that speaks HTTPS, as all in the world do.
//!
//! Which authorities a process trusts is read once, from the file that SSL_CERT_FILE names, so the walks run in processes
//! of their own: this test binary again, with one walk chosen.

use super::service::Service;
use super::stage::SHOW;
use super::theatre::{SEGMENTS, Theatre, WHOLE, play, watch};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// The folder with the certificate and the key of the service.
const FOLDER: &str = "CHOBI_TEST_TLS_FOLDER";

#[test]
fn a_show_goes_to_a_service_over_https() {
    let folder = tempfile::tempdir().unwrap();
    write_pair(folder.path());
    run("tls::show_over_https", folder.path(), &folder.path().join("crt.pem"));
}

#[test]
fn a_service_with_a_strange_certificate_gets_nothing_and_operators_are_told_why() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_pair(folder.path());
    write_pair(other.path());
    run("tls::strange_certificate", folder.path(), &other.path().join("crt.pem"));
}

#[tokio::test]
#[ignore = "run by a_show_goes_to_a_service_over_https"]
async fn show_over_https() {
    let theatre = theatre().await;
    let stage = theatre.open();
    let publisher = play(&stage).await;
    watch(&stage, WHOLE).await;
    stage.end(SHOW, publisher).await;
    theatre.complete().await;
    theatre.assert_whole(SEGMENTS);
}

#[tokio::test]
#[ignore = "run by a_service_with_a_strange_certificate_gets_nothing_and_operators_are_told_why"]
async fn strange_certificate() {
    let theatre = theatre().await;
    let stage = theatre.open();
    let _publisher = play(&stage).await;
    watch(&stage, WHOLE).await;
    let health = stage.service.storage_health();
    theatre.eventually("a word to operators", |_| health.trouble().is_some()).await;
    let trouble = health.trouble().unwrap();
    assert!(trouble.contains("certificate"), "{trouble}");
    assert_eq!(theatre.service.objects().len(), 0);
}

fn write_pair(folder: &Path) {
    let pair = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(folder.join("crt.pem"), pair.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
}

fn run(walk: &str, folder: &Path, trusted: &Path) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", walk, "--ignored"])
        .env(FOLDER, folder)
        .env("SSL_CERT_FILE", trusted)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

async fn theatre() -> Theatre {
    let folder = std::env::var_os(FOLDER).expect("run by the other test");
    let folder = Path::new(&folder);
    let certificate = CertificateDer::from_pem_file(folder.join("crt.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let service = Service::start_over(Some(TlsAcceptor::from(Arc::new(config)))).await;
    let mut theatre = Theatre::before(service).await;
    theatre.storage.endpoint = theatre.storage.endpoint.replace("http://", "https://");
    theatre
}
