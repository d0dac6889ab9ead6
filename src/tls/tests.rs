//! Pairs made, kept, renewed and followed.

use super::certificates::Look;
use super::self_signed::SelfSigned;
use super::testing::{PairFiles, connect, replace};
use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const DAY: Duration = Duration::from_secs(DAY_SECONDS);

fn of_files(files: &PairFiles) -> TlsConfig {
    TlsConfig { certificate: files.certificate.clone(), key: files.key.clone(), ..TlsConfig::default() }
}

fn self_signed() -> TlsConfig {
    TlsConfig { self_signed: true, ..TlsConfig::default() }
}

fn open(config: &TlsConfig, data_dir: &Path, now: SystemTime) -> Certificates {
    Certificates::open(config, data_dir, now).unwrap().expect("TLS is on")
}

#[test]
fn tls_is_off_until_somebody_asks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Certificates::open(&TlsConfig::default(), folder.path(), SystemTime::now()).unwrap().is_none());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
}

#[test]
fn a_self_signed_pair_is_made_once_and_its_key_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let first = open(&self_signed(), folder.path(), now);
    let again = open(&self_signed(), folder.path(), now);
    assert_eq!(first.fingerprint(), again.fingerprint());
    assert_eq!(first.fingerprint().len(), 32 * 3 - 1);
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(SelfSigned::below(folder.path()).key()), 0o600);
    assert_eq!(mode(folder.path().join("tls")), 0o700);
    assert!(first.is_self_signed());
}

#[test]
fn a_self_signed_pair_is_renewed_when_it_is_about_to_expire_or_broken() {
    let folder = tempfile::tempdir().unwrap();
    let own = SelfSigned::below(folder.path());
    let now = SystemTime::now();
    let first = own.ensure(now).unwrap();
    assert_eq!(own.ensure(now + 366 * DAY).unwrap().fingerprint, first.fingerprint);
    let second = own.ensure(now + 368 * DAY).unwrap();
    assert_ne!(second.fingerprint, first.fingerprint);
    assert!(second.validity.left(now + 368 * DAY) > 390 * DAY);
    std::fs::write(own.key(), "-----BEGIN PRIVATE KEY-----\n").unwrap();
    let third = own.ensure(now + 368 * DAY).unwrap();
    assert_ne!(third.fingerprint, second.fingerprint);
    assert_eq!(std::fs::metadata(own.key()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_server_that_runs_for_a_year_renews_its_own_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let mut certificates = open(&self_signed(), folder.path(), now);
    let first = certificates.fingerprint().to_owned();
    assert_eq!(certificates.look(now), Look::Unchanged);
    assert_eq!(certificates.look(now + 368 * DAY), Look::Reloaded);
    assert_ne!(certificates.fingerprint(), first);
    assert_eq!(certificates.look(now + 368 * DAY), Look::Unchanged);
}

#[test]
fn a_renewal_that_fails_keeps_the_certificate_and_is_not_tried_at_every_look() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let mut certificates = open(&self_signed(), folder.path(), now);
    // A folder where the new key is to be written: nobody, root included, can write there.
    let blocked = folder.path().join("tls/self-signed.new");
    std::fs::create_dir(&blocked).unwrap();
    let late = now + 368 * DAY;
    assert_eq!(certificates.look(late), Look::Kept);
    assert_eq!(certificates.look(late + Duration::from_secs(3)), Look::Unchanged);
    std::fs::remove_dir(&blocked).unwrap();
    assert_eq!(certificates.look(late + DAY), Look::Reloaded);
}

#[test]
fn changed_files_are_taken_up_once_they_rest_and_broken_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let files = PairFiles::write(folder.path(), "a", -1, 90);
    let now = SystemTime::now();
    let mut certificates = open(&of_files(&files), folder.path(), now);
    let first = certificates.fingerprint().to_owned();
    assert_eq!(certificates.look(now), Look::Unchanged);

    replace(&files.certificate, "half a certif");
    assert_eq!([certificates.look(now), certificates.look(now)], [Look::Changing, Look::Kept]);
    assert_eq!(certificates.look(now), Look::Unchanged, "one complaint is enough");
    std::fs::remove_file(&files.key).unwrap();
    assert_eq!([certificates.look(now), certificates.look(now)], [Look::Changing, Look::Kept]);
    assert_eq!(certificates.fingerprint(), first);

    PairFiles::write(folder.path(), "a", -1, 90);
    assert_eq!(certificates.look(now), Look::Changing);
    PairFiles::write(folder.path(), "a", -1, 90);
    assert_eq!(certificates.look(now), Look::Changing, "it changed again");
    assert_eq!(certificates.look(now), Look::Reloaded);
    assert_ne!(certificates.fingerprint(), first);
}

#[tokio::test]
async fn the_self_signed_certificate_holds_for_this_machines_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = open(&self_signed(), folder.path(), SystemTime::now());
    let acceptor = TlsAcceptor::from(certificates.for_rtmp().unwrap());
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepting = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let _ = acceptor.accept(socket).await;
        }
    });
    let certificate = SelfSigned::below(folder.path()).certificate();
    let loopback = std::net::IpAddr::from([127, 0, 0, 1]);
    let addresses = lan_addresses().into_iter().filter(std::net::IpAddr::is_ipv4);
    for address in [loopback].into_iter().chain(addresses) {
        let stream = connect((address, port).into(), &certificate, &[]).await;
        assert!(stream.is_ok(), "{address}: {stream:?}");
    }
    accepting.abort();
}
