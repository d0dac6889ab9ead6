//! HTTPS from outside, over real sockets.

use super::*;
use crate::tls::testing::{PairFiles, connect, replace};
use crate::tls::{Certificates, TlsConfig};
use axum::routing::get;
use std::path::Path;
use std::time::{Instant, SystemTime};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Bench {
    plain: SocketAddr,
    tls: SocketAddr,
    files: PairFiles,
    certificates: Certificates,
    cancel: CancellationToken,
    served: tokio::task::JoinHandle<()>,
    folder: TempDir,
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
const BOTH: [&str; 2] = ["h2", "http/1.1"];

async fn start(config: HttpConfig) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let files = PairFiles::write(folder.path(), "a", -1, 90);
    let tls = TlsConfig { certificate: files.certificate.clone(), key: files.key.clone(), ..TlsConfig::default() };
    let certificates = Certificates::open(&tls, folder.path(), SystemTime::now()).unwrap().unwrap();
    let acceptor = TlsAcceptor::from(certificates.for_http().unwrap());
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let encrypted = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (plain_address, tls_address) = (plain.local_addr().unwrap(), encrypted.local_addr().unwrap());
    let cancel = CancellationToken::new();
    let router =
        Router::new().route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string()));
    let listeners = Listeners { plain, tls: Some((encrypted, acceptor)), proxies: Vec::new() };
    let served = tokio::spawn(serve(listeners, router, config, cancel.clone(), Duration::from_secs(5)));
    Bench { plain: plain_address, tls: tls_address, files, certificates, cancel, served, folder }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> String {
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer));
    let _ = read.await.expect("the server closes the connection in time");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get_over_tls(bench: &Bench, certificate: &Path) -> std::io::Result<String> {
    Ok(exchange(connect(bench.tls, certificate, &["http/1.1"]).await?, GET).await)
}

#[tokio::test]
async fn http2_is_agreed_on_by_alpn_and_http1_where_the_client_knows_no_other() {
    let bench = start(HttpConfig::default()).await;
    let mut stream = connect(bench.tls, &bench.files.certificate, &BOTH).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "the server's own SETTINGS come first: {frame:?}");

    let answer = get_over_tls(&bench, &bench.files.certificate).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("127.0.0.1"), "{answer}");
    assert!(connect(bench.tls, &bench.files.certificate, &["spdy/3"]).await.is_err(), "nothing in common");
    let plain = exchange(TcpStream::connect(bench.plain).await.unwrap(), GET).await;
    assert!(plain.starts_with("HTTP/1.1 200 OK"), "the plain port goes on: {plain}");
}

#[tokio::test]
async fn slow_handshakes_and_slow_heads_are_cut() {
    let config = HttpConfig { header_timeout: Duration::from_millis(300), ..HttpConfig::default() };
    let bench = start(config).await;
    // Nothing at all, and the beginning of a ClientHello of 512 bytes.
    for beginning in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let began = Instant::now();
        let answer = exchange(TcpStream::connect(bench.tls).await.unwrap(), beginning).await;
        assert_eq!(answer, "", "{beginning:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{beginning:?} held on");
    }
    let stream = connect(bench.tls, &bench.files.certificate, &BOTH).await.unwrap();
    assert_eq!(exchange(stream, b"GET / HT").await, "");
}

#[tokio::test]
async fn plain_http_on_the_port_of_https_is_not_answered() {
    let bench = start(HttpConfig::default()).await;
    let answer = exchange(TcpStream::connect(bench.tls).await.unwrap(), GET).await;
    assert!(!answer.contains("HTTP"), "{answer}");
}

#[tokio::test]
async fn an_address_has_one_number_of_connections_on_both_ports() {
    let bench = start(HttpConfig { max_connections_per_ip: 1, ..HttpConfig::default() }).await;
    let mut held = connect(bench.tls, &bench.files.certificate, &["http/1.1"]).await.unwrap();
    held.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    held.read_exact(&mut [0]).await.unwrap();
    assert_eq!(exchange(TcpStream::connect(bench.plain).await.unwrap(), GET).await, "");
}

#[tokio::test]
async fn a_renewed_certificate_is_presented_and_a_broken_one_is_not() {
    let mut bench = start(HttpConfig::default()).await;
    let first = bench.folder.path().join("first");
    std::fs::copy(&bench.files.certificate, &first).unwrap();
    let open_before = connect(bench.tls, &first, &["http/1.1"]).await.unwrap();

    let now = SystemTime::now();
    let looks = |bench: &mut Bench| [bench.certificates.look(now), bench.certificates.look(now)];
    replace(&bench.files.key, "no key");
    looks(&mut bench);
    assert!(get_over_tls(&bench, &first).await.unwrap().contains("200 OK"), "the old one is still good");

    let second = PairFiles::write(bench.folder.path(), "a", -1, 90).certificate;
    looks(&mut bench);
    assert!(get_over_tls(&bench, &second).await.unwrap().contains("200 OK"));
    assert!(get_over_tls(&bench, &first).await.is_err(), "the old one is gone");
    assert!(exchange(open_before, GET).await.contains("200 OK"), "who is connected stays");
}

#[tokio::test]
async fn stopping_waits_for_nobody_in_a_handshake() {
    let bench = start(HttpConfig { header_timeout: Duration::from_secs(600), ..HttpConfig::default() }).await;
    let mut silent = TcpStream::connect(bench.tls).await.unwrap();
    silent.write_all(b"\x16\x03\x01").await.unwrap();
    // Once this one is answered, the silent one was accepted before it.
    get_over_tls(&bench, &bench.files.certificate).await.unwrap();
    bench.cancel.cancel();
    tokio::time::timeout(Duration::from_secs(4), bench.served).await.expect("within the drain").unwrap();
    assert!(TcpStream::connect(bench.tls).await.is_err(), "nobody listens any more");
}
