//! HTTP from the client's side, for every kind of load: addresses, connections, and why a server said no.
//!
//! In: addresses as people write them. Out: connections that carry requests, over TCP or TLS.

use anyhow::{Context, anyhow, bail, ensure};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// How servers are reached.
#[derive(Debug, Clone)]
pub(super) struct Web {
    tls: Arc<ClientConfig>,
}

pub(super) const REQUEST_MAX: Duration = Duration::from_secs(15);
/// Of a refusal that is shown.
const REASON_CHARS_MAX: usize = 300;

impl Web {
    /// `insecure`: every certificate is believed.
    pub(super) fn new(insecure: bool) -> anyhow::Result<Self> {
        Ok(Self { tls: Arc::new(tls_config(insecure)?) })
    }

    /// A connection, for one request after another.
    pub(super) async fn connect(&self, uri: &Uri) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let host = uri.host().context("an address without a host")?;
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream =
            TcpStream::connect((bare, port)).await.with_context(|| format!("cannot connect to {host}:{port}"))?;
        stream.set_nodelay(true)?;
        if !is_tls {
            return converse(stream).await;
        }
        let name = ServerName::try_from(bare.to_owned()).with_context(|| format!("{bare} is no name for TLS"))?;
        let tls = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls));
        converse(tls.connect(name, stream).await.context("TLS")?).await
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the sender and the last response's body.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

/// What every request says.
pub(super) fn request(method: Method, uri: &Uri, token: Option<&str>) -> http::request::Builder {
    let host = uri.authority().map_or_else(|| uri.host().unwrap_or_default(), |authority| authority.as_str());
    let request = Request::builder()
        .method(method)
        .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(HOST, host)
        .header(USER_AGENT, concat!("chobi-bench/", env!("CARGO_PKG_VERSION")));
    match token {
        Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
        None => request,
    }
}

/// `--url`; `examples`: what it looks like.
pub(super) fn parse_address(url: &str, examples: &str) -> anyhow::Result<Uri> {
    let wrong = || format!("--url {url:?} is no address: write {examples}");
    let uri: Uri = url.parse().with_context(wrong)?;
    ensure!(uri.host().is_some_and(|host| !host.is_empty()), wrong());
    match uri.scheme_str() {
        Some("http" | "https") => Ok(uri),
        _ => bail!(wrong()),
    }
}

/// A reference against the address it was found at (RFC 3986 section 5.2).
pub(super) fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    url::Url::parse(&base.to_string()).ok()?.join(reference).ok()?.as_str().parse().ok()
}

/// A body that must be whole and small.
pub(super) async fn text(body: Incoming, bytes_max: usize) -> anyhow::Result<Bytes> {
    let collected = tokio::time::timeout(REQUEST_MAX, Limited::new(body, bytes_max).collect());
    let collected = collected.await.context("the answer did not end")?;
    Ok(collected.map_err(|error| anyhow!("the answer cannot be read: {error}"))?.to_bytes())
}

/// Why, in the server's words: `detail` of RFC 9457, `error` of others, or the first line; with a colon before it.
pub(super) fn reason(headers: &HeaderMap, body: &str) -> String {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let told = if content_type.contains("json") {
        let json: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        ["detail", "error", "message", "title"].iter().find_map(|key| json[key].as_str()).map(str::to_owned)
    } else {
        let line = body.lines().map(str::trim).find(|line| !line.is_empty());
        line.filter(|line| !line.starts_with('<')).map(str::to_owned)
    };
    let told: String =
        told.unwrap_or_default().chars().filter(|char| !char.is_control()).take(REASON_CHARS_MAX).collect();
    if told.is_empty() { told } else { format!(": {told}") }
}

fn tls_config(insecure: bool) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    if insecure {
        let verifier = Arc::new(Unverified(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    }
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Believes every certificate: `--insecure`, for a server that made its own.
#[derive(Debug)]
struct Unverified(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_asked_are_refused_with_one_that_can() {
        for wrong in ["", "nonsense", "127.0.0.1:3000", "ftp://host/whep", "http://", "/whep/x", "http://a b/"] {
            let error = parse_address(wrong, "http://HOST:PORT/whep/SESSION").unwrap_err().to_string();
            assert!(error.contains("write http://HOST:PORT/whep/SESSION"), "{wrong:?}: {error}");
        }
        assert!(parse_address("https://host/whip", "").is_ok());
        assert!(parse_address("http://[::1]:3000/whep/x", "").is_ok());
    }

    #[test]
    fn references_are_found_however_they_are_written() {
        let base = "http://host:8889/show/whep?ticket=x".parse().unwrap();
        for (reference, expected) in [
            ("/whep/r/1", "http://host:8889/whep/r/1"),
            ("whep/1", "http://host:8889/show/whep/1"),
            ("../a/index.m3u8?x=1", "http://host:8889/a/index.m3u8?x=1"),
            ("https://other/r?x=1", "https://other/r?x=1"),
        ] {
            assert_eq!(resolve(&base, reference).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        let told = |content_type: &'static str, body: &str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static(content_type))]);
            reason(&headers, body)
        };
        assert_eq!(told("application/problem+json", r#"{"detail":"not live"}"#), ": not live");
        assert_eq!(told("application/json", r#"{"error":"no\u0007 stream"}"#), ": no stream");
        assert_eq!(told("text/plain", "\n404 page not found\n"), ": 404 page not found");
        assert_eq!(told("text/html", "<html>"), "");
        assert_eq!(told("application/json", "not json"), "");
    }
}
