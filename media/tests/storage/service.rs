//! A real S3 server, and a watcher at its door that is told of every object and looks at every playlist.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub(crate) const BUCKET: &str = "chobi-shows";
pub(crate) const KEY_ID: &str = "AKIDTEST";
pub(crate) const KEY: &str = "a-secret-access-key";

pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    watcher: Arc<Watcher>,
    folder: TempDir,
}

/// How the service answers, uploads for the most part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Fine,
    /// 503 SlowDown.
    Busy,
    /// 403 AccessDenied.
    Denying,
    /// 503 for one object, whose key ends so; all else is fine.
    Picky(&'static str),
    /// 507: no room is left.
    Full,
    /// 500 to half of the uploads, in no order.
    Half,
    /// It keeps what it is given, and hangs up before it says so, the first time for each key.
    Forgetful,
    /// Reads and deletions are never answered.
    Hanging,
    /// One deletion is never answered, and all that comes after it is.
    HangingOnce,
    /// 403 AccessDenied to deletions.
    Clinging,
    /// 403 AccessDenied to reads of what is not there, and to lists: the keys may not list.
    Reticent,
}

struct Watcher {
    s3: S3Service,
    /// The bucket's files.
    root: PathBuf,
    mood: Mutex<Mood>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Headers of the last upload of a key.
    headers: BTreeMap<String, HeaderMap>,
    bytes: BTreeMap<String, Bytes>,
    /// Every text a playlist had.
    playlists: BTreeMap<String, Vec<String>>,
    /// And its headers.
    of_playlists: BTreeMap<String, Vec<HeaderMap>>,
    refused: usize,
    /// Keys whose upload was kept and not answered.
    unanswered: BTreeSet<String>,
    /// Uploads while half of them are refused.
    turns: u32,
    /// Objects asked for.
    reads: usize,
    lists: usize,
    /// A deletion that hangs.
    hangs: bool,
    wrong: Vec<String>,
}

impl Service {
    pub(crate) async fn start() -> Self {
        Self::start_over(None).await
    }

    /// `tls`: the service speaks HTTPS.
    pub(crate) async fn start_over(tls: Option<TlsAcceptor>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join(BUCKET);
        std::fs::create_dir(&root).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY_ID, KEY));
        let (mood, seen) = (Mutex::new(Mood::Fine), Mutex::default());
        let watcher = Arc::new(Watcher { s3: builder.build(), root, mood, seen });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(accept(listener, tls, Arc::clone(&watcher)));
        Self { address, watcher, folder }
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        *self.watcher.mood.lock().unwrap() = mood;
    }

    /// Keys whose upload was kept and not answered so far.
    pub(crate) fn unanswered(&self) -> usize {
        self.watcher.seen.lock().unwrap().unanswered.len()
    }

    /// Requests turned away by the mood so far.
    pub(crate) fn refused(&self) -> usize {
        self.watcher.seen.lock().unwrap().refused
    }

    /// Objects that were asked for so far.
    pub(crate) fn reads(&self) -> usize {
        self.watcher.seen.lock().unwrap().reads
    }

    /// How often it was asked what there is.
    pub(crate) fn lists(&self) -> usize {
        self.watcher.seen.lock().unwrap().lists
    }

    /// Whether a deletion waits for an answer that does not come.
    pub(crate) fn hangs(&self) -> bool {
        self.watcher.seen.lock().unwrap().hangs
    }

    /// Puts an object there behind everybody's back.
    pub(crate) fn place(&self, key: &str, bytes: &[u8]) {
        let path = self.watcher.root.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// What the bucket holds below its prefix, by key; playlists too.
    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.folder.path().join(BUCKET), &mut String::new(), &mut found);
        found
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        std::fs::read_to_string(self.watcher.root.join(key)).ok()
    }

    pub(crate) fn header(&self, key: &str, name: &str) -> String {
        let seen = self.watcher.seen.lock().unwrap();
        let value = seen.headers.get(key).and_then(|headers| headers.get(name));
        value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    /// Every text that a playlist had, oldest first.
    pub(crate) fn texts(&self, key: &str) -> Vec<String> {
        self.watcher.seen.lock().unwrap().playlists.get(key).cloned().unwrap_or_default()
    }

    /// A header of each upload of a playlist, oldest first.
    pub(crate) fn values(&self, key: &str, name: &str) -> Vec<String> {
        let seen = self.watcher.seen.lock().unwrap();
        let value = |headers: &HeaderMap| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        seen.of_playlists.get(key).into_iter().flatten().map(value).collect()
    }

    /// A playlist never named what was not there, and no key was ever given other bytes.
    pub(crate) fn assert_never_wrong(&self) {
        let seen = self.watcher.seen.lock().unwrap();
        assert!(seen.wrong.is_empty(), "{:#?}", seen.wrong);
        assert!(!seen.playlists.is_empty(), "no playlist was ever written");
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, watcher: Arc<Watcher>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (watcher, tls) = (Arc::clone(&watcher), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => serve(socket, watcher).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(socket).await {
                        serve(stream, watcher).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, watcher: Arc<Watcher>) {
    let service = hyper::service::service_fn(move |request| Arc::clone(&watcher).answer(request));
    // A connection that is cut is what the tests are about.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

impl Watcher {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<s3s::Body>, io::Error> {
        let (method, headers) = (request.method().clone(), request.headers().clone());
        let key = request.uri().path().strip_prefix(&format!("/{BUCKET}/")).unwrap_or_default().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let is_deletion = method == Method::POST && query.contains("delete");
        if let Some(refusal) = self.refusal(&method, is_deletion, &key) {
            self.seen.lock().unwrap().refused += 1;
            return Ok(refusal);
        }
        let mood = *self.mood.lock().unwrap();
        // The server asks once, when it starts, for an object that nobody has.
        if method == Method::GET && !key.ends_with("nobody/is-here") {
            let is_list = query.contains("list-type");
            let mut seen = self.seen.lock().unwrap();
            *if is_list { &mut seen.lists } else { &mut seen.reads } += 1;
        }
        if mood == Mood::HangingOnce && is_deletion && !std::mem::replace(&mut self.seen.lock().unwrap().hangs, true) {
            std::future::pending::<()>().await;
        }
        if mood == Mood::Hanging && (is_deletion || method == Method::GET) {
            std::future::pending::<()>().await;
        }
        let response = self.s3.call(request.map(s3s::Body::from)).await.expect("the S3 server answers");
        if mood == Mood::Reticent && method == Method::GET && response.status() == StatusCode::NOT_FOUND {
            return Ok(error(StatusCode::FORBIDDEN, "AccessDenied"));
        }
        if method == Method::PUT && response.status().is_success() {
            self.look_at(&key, headers);
            if mood == Mood::Forgetful && self.seen.lock().unwrap().unanswered.insert(key) {
                return Err(io::Error::other("the answer is lost"));
            }
        }
        Ok(response)
    }

    fn refusal(&self, method: &Method, is_deletion: bool, key: &str) -> Option<Response<s3s::Body>> {
        let is_upload = method == Method::PUT;
        let (status, code) = match *self.mood.lock().unwrap() {
            Mood::Busy if is_upload => (StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
            Mood::Denying if is_upload => (StatusCode::FORBIDDEN, "AccessDenied"),
            Mood::Picky(end) if is_upload && key.ends_with(end) => (StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
            Mood::Full if is_upload => (StatusCode::INSUFFICIENT_STORAGE, "InsufficientStorage"),
            Mood::Half if is_upload && self.is_unlucky() => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
            Mood::Clinging if is_deletion => (StatusCode::FORBIDDEN, "AccessDenied"),
            _ => return None,
        };
        Some(error(status, code))
    }

    /// The same in every run, as far as uploads come in the same order.
    fn is_unlucky(&self) -> bool {
        let mut seen = self.seen.lock().unwrap();
        seen.turns += 1;
        seen.turns.wrapping_mul(0x9e37_79b9).reverse_bits().wrapping_mul(0x85eb_ca6b) >> 31 == 1
    }

    fn look_at(&self, key: &str, headers: HeaderMap) {
        let bytes = Bytes::from(std::fs::read(self.root.join(key)).unwrap());
        let mut seen = self.seen.lock().unwrap();
        seen.headers.insert(key.to_owned(), headers.clone());
        if key.ends_with(".m3u8") {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            seen.wrong.extend(missing(&self.root, key, &text));
            seen.playlists.entry(key.to_owned()).or_default().push(text);
            seen.of_playlists.entry(key.to_owned()).or_default().push(headers);
        // The journal grows, and the picture of a show is its newest.
        } else if !key.ends_with("/index.jsonl")
            && !key.ends_with("/thumbnail.jpg")
            && let Some(before) = seen.bytes.insert(key.to_owned(), bytes.clone())
            && before != bytes
        {
            seen.wrong.push(format!("{key} was given other bytes"));
        }
    }
}

fn error(status: StatusCode, code: &str) -> Response<s3s::Body> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>not now</Message></Error>");
    let response = Response::builder().status(status).header("content-type", "application/xml");
    response.body(s3s::Body::from(body)).unwrap()
}

/// What a playlist names, gaps aside, that is not in the bucket.
fn missing(root: &Path, key: &str, text: &str) -> Vec<String> {
    let folder = root.join(key).parent().unwrap().to_owned();
    let mut gap = false;
    let mut missing = Vec::new();
    for line in text.lines() {
        let named = match line.split_once("URI=\"").and_then(|(_, rest)| rest.split_once('"')) {
            Some((uri, _)) => Some(uri),
            None if line.starts_with('#') => {
                gap |= line == "#EXT-X-GAP";
                None
            }
            None => (!std::mem::take(&mut gap)).then_some(line),
        };
        if let Some(named) = named.filter(|named| !folder.join(named).is_file()) {
            missing.push(format!("{key} names {named}, which is not there"));
        }
    }
    missing
}

fn collect(folder: &Path, prefix: &mut String, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let length = prefix.len();
        prefix.push_str(&name);
        if entry.file_type().unwrap().is_dir() {
            prefix.push('/');
            collect(&entry.path(), prefix, found);
        } else {
            found.insert(prefix.clone(), std::fs::read(entry.path()).unwrap());
        }
        prefix.truncate(length);
    }
}
