//! The limits, from outside, over real sockets.

use super::*;
use axum::routing::get;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

struct Bench {
    address: SocketAddr,
    cancel: CancellationToken,
    served: tokio::task::JoinHandle<()>,
    /// `/slow` says that it was entered and waits to be released.
    slow: Arc<(Notify, Notify)>,
}

async fn start(config: HttpConfig) -> Bench {
    start_behind(&[], config).await
}

async fn start_behind(proxies: &[&str], config: HttpConfig) -> Bench {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let cancel = CancellationToken::new();
    let slow = Arc::new((Notify::new(), Notify::new()));
    let gate = Arc::clone(&slow);
    let hold = async move || -> &'static str {
        gate.0.notify_one();
        gate.1.notified().await;
        "done"
    };
    let router = Router::new()
        .route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string()))
        .route("/slow", get(hold))
        .fallback(not_found);
    let proxies = proxies.iter().map(|network| network.parse().unwrap()).collect();
    let listeners = Listeners { proxies, ..Listeners::from(listener) };
    let served = tokio::spawn(serve(listeners, router, config, cancel.clone(), Duration::from_secs(5)));
    Bench { address, cancel, served, slow }
}

fn brief() -> HttpConfig {
    HttpConfig { header_timeout: Duration::from_millis(300), ..HttpConfig::default() }
}

async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // A server that has already closed answers by resetting; what it sent before is still read.
    let _ = socket.write_all(request).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut answer));
    let _ = read.await.expect("the server closes the connection in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn requests_are_served_with_the_peers_address() {
    let bench = start(HttpConfig::default()).await;
    let answer = exchange(bench.address, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("127.0.0.1"), "{answer}");
    let answer = exchange(bench.address, b"GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test]
async fn http2_without_tls_is_spoken() {
    let bench = start(HttpConfig::default()).await;
    let mut socket = TcpStream::connect(bench.address).await.unwrap();
    // Preface and an empty SETTINGS frame (RFC 9113 section 3.4).
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    socket.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "the server's own SETTINGS come first: {frame:?}");
}

#[tokio::test]
async fn slow_heads_are_cut_whatever_the_protocol() {
    let bench = start(brief()).await;
    for beginning in [&b""[..], b"GET / HT", b"PRI * HTTP/2.0\r", b"GET / HTTP/1.1\r\nhost: x\r\n"] {
        let began = Instant::now();
        let answer = exchange(bench.address, beginning).await;
        assert!(!answer.contains("200 OK"), "{answer}");
        assert!(began.elapsed() < Duration::from_secs(5), "{beginning:?} held on");
    }
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_refused() {
    let bench = start(HttpConfig::default()).await;
    let many: String = (0..100).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer = exchange(bench.address, format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let large = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(64 * 1024));
    let answer = exchange(bench.address, large.as_bytes()).await;
    assert!(!answer.contains("200 OK"), "{answer}");
}

/// So many connections, open and answered.
async fn hold(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut byte = [0];
        socket.read_exact(&mut byte).await.unwrap();
        held.push(socket);
    }
    held
}

#[tokio::test]
async fn an_address_may_not_take_every_connection() {
    let bench = start(HttpConfig { max_connections_per_ip: 2, ..HttpConfig::default() }).await;
    let held = hold(bench.address, 2).await;
    assert_eq!(exchange(bench.address, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await, "");
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let answer = exchange(bench.address, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        if answer.contains("200 OK") {
            break;
        }
        assert!(Instant::now() < deadline, "places are given back when connections close");
    }
}

#[tokio::test]
async fn a_proxy_that_is_trusted_may_take_every_connection() {
    let config = HttpConfig { max_connections_per_ip: 1, ..HttpConfig::default() };
    let bench = start_behind(&["127.0.0.0/8"], config).await;
    hold(bench.address, 5).await;
}

#[test]
fn neighbours_in_one_ipv6_network_count_together() {
    let server = Arc::new(Server {
        config: HttpConfig { max_connections_per_ip: 1, ..HttpConfig::default() },
        proxies: Vec::new(),
        router: Router::new(),
        slots: Arc::new(Semaphore::new(9)),
        per_ip: Mutex::default(),
        cancel: CancellationToken::new(),
        tasks: TaskTracker::new(),
    });
    let take = |ip: &str| Place::take(Arc::clone(&server), ip.parse().unwrap());
    let first = take("2001:db8::1").unwrap();
    assert!(take("2001:db8::2").is_none());
    let others = ["2001:db8:0:1::1", "192.0.2.1", "192.0.2.2"].map(|ip| take(ip).unwrap());
    drop(first);
    assert!(take("2001:db8::2").is_some(), "places are given back to the whole network");
    drop(others);
    assert!(server.per_ip.lock().unwrap().is_empty());
}

#[tokio::test]
async fn stopping_lets_a_request_in_progress_finish() {
    let bench = start(HttpConfig::default()).await;
    let address = bench.address;
    let request = tokio::spawn(async move { exchange(address, b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await });
    bench.slow.0.notified().await;
    bench.cancel.cancel();
    bench.slow.1.notify_one();
    let answer = request.await.unwrap();
    assert!(answer.contains("200 OK") && answer.ends_with("done"), "{answer}");
    bench.served.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}
