//! The HTTP of WHIP and WHEP from the client's side (RFC 9725 sections 4.2 and 4.3).
//!
//! In: offers. Out: answers with the address of their resource, or a sentence on why there is none. One connection per
//! request, as viewers who know nothing of each other have.

use anyhow::{Context, anyhow, bail, ensure};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Where offers go.
#[derive(Debug)]
pub(super) struct Endpoint {
    uri: Uri,
    tls: Option<Arc<ClientConfig>>,
}

/// What a POST brought.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) sdp: String,
    /// To be deleted in the end; a server that names none lets its peers time out.
    pub(super) resource: Option<Uri>,
    /// When the offer was handed to the connection.
    pub(super) posted: Instant,
}

const REQUEST_MAX: Duration = Duration::from_secs(15);
const BODY_MAX: usize = 256 * 1024;
const REDIRECTS_MAX: usize = 3;
/// Of a refusal that is shown.
const REASON_CHARS_MAX: usize = 300;

impl Endpoint {
    pub(super) fn parse(url: &str, insecure: bool) -> anyhow::Result<Self> {
        let wrong =
            || format!("--url {url:?} is no address: write http://HOST:PORT/whep/SESSION or http://HOST:PORT/whip");
        let uri: Uri = url.parse().with_context(wrong)?;
        ensure!(uri.host().is_some_and(|host| !host.is_empty()), wrong());
        match uri.scheme_str() {
            Some("http") => Ok(Self { uri, tls: None }),
            Some("https") => Ok(Self { uri, tls: Some(Arc::new(tls_config(insecure)?)) }),
            _ => bail!(wrong()),
        }
    }

    /// Posts an offer.
    pub(super) async fn open(&self, offer: &str, token: Option<&str>) -> anyhow::Result<Answer> {
        let mut uri = self.uri.clone();
        for _ in 0..=REDIRECTS_MAX {
            let (posted, response) = self.send(Method::POST, &uri, Some(offer), token).await?;
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let location = location.and_then(|location| resolve(&uri, location));
            let status = response.status();
            if matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                uri = location.ok_or_else(|| anyhow!("{status} without a Location"))?;
                continue;
            }
            let content_type = response
                .headers()
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned();
            let body = body(response).await?;
            if !status.is_success() {
                bail!("{status}{}", reason(&content_type, &body));
            }
            return Ok(Answer { sdp: body, resource: location, posted });
        }
        bail!("more than {REDIRECTS_MAX} redirections")
    }

    /// Ends a resource.
    pub(super) async fn close(&self, resource: &Uri, token: Option<&str>) -> anyhow::Result<()> {
        let (_, response) = self.send(Method::DELETE, resource, None, token).await?;
        ensure!(response.status().is_success(), "DELETE was answered {}", response.status());
        Ok(())
    }

    async fn send(
        &self,
        method: Method,
        uri: &Uri,
        offer: Option<&str>,
        token: Option<&str>,
    ) -> anyhow::Result<(Instant, Response<hyper::body::Incoming>)> {
        let exchange = async {
            let host = uri.host().context("an address without a host")?;
            let is_tls = uri.scheme_str() == Some("https");
            let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let stream =
                TcpStream::connect((bare, port)).await.with_context(|| format!("cannot connect to {host}:{port}"))?;
            stream.set_nodelay(true)?;
            let mut request = Request::builder()
                .method(&method)
                .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
                .header(HOST, uri.authority().map_or(host, |authority| authority.as_str()))
                .header(USER_AGENT, concat!("chobi-bench/", env!("CARGO_PKG_VERSION")))
                .header(ACCEPT, "application/sdp");
            if let Some(token) = token {
                request = request.header(AUTHORIZATION, format!("Bearer {token}"));
            }
            if offer.is_some() {
                request = request.header(CONTENT_TYPE, "application/sdp");
            }
            let body = offer.map_or_else(Bytes::new, |offer| Bytes::copy_from_slice(offer.as_bytes()));
            let request = request.body(Full::new(body)).context("the token cannot stand in a header")?;
            if !is_tls {
                return converse(stream, request).await;
            }
            let config = self.tls.clone().context("the server leads from http to https; use that address")?;
            let name = ServerName::try_from(bare.to_owned()).with_context(|| format!("{bare} is no name for TLS"))?;
            let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await.context("TLS")?;
            converse(stream, request).await
        };
        tokio::time::timeout(REQUEST_MAX, exchange)
            .await
            .map_err(|_| anyhow!("{method} was not answered within {REQUEST_MAX:?}"))?
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<(Instant, Response<hyper::body::Incoming>)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the response's body.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    let posted = Instant::now();
    let response = sender.send_request(request).await.context("the server did not answer in HTTP")?;
    Ok((posted, response))
}

async fn body(response: Response<hyper::body::Incoming>) -> anyhow::Result<String> {
    let limited = Limited::new(response.into_body(), BODY_MAX);
    let collected = tokio::time::timeout(REQUEST_MAX, limited.collect()).await.context("the answer did not end")?;
    let bytes = collected.map_err(|error| anyhow!("the answer cannot be read: {error}"))?.to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Why, in the server's words: `detail` of RFC 9457, `error` of others, or the first line.
fn reason(content_type: &str, body: &str) -> String {
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

/// A Location against the address it came from (RFC 3986 section 5.2, as far as servers use it).
fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    if location.starts_with("http://") || location.starts_with("https://") {
        return location.parse().ok();
    }
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let path = match location {
        _ if location.starts_with('/') => location.to_owned(),
        _ => {
            let (folder, _) = base.path().rsplit_once('/')?;
            format!("{folder}/{location}")
        }
    };
    format!("{scheme}://{authority}{path}").parse().ok()
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
    fn addresses_that_cannot_be_posted_to_are_refused_with_one_that_can() {
        for wrong in ["", "nonsense", "127.0.0.1:3000", "ftp://host/whep", "http://", "/whep/x", "http://a b/"] {
            let error = Endpoint::parse(wrong, false).unwrap_err().to_string();
            assert!(error.contains("http://HOST:PORT/whep/SESSION"), "{wrong:?}: {error}");
        }
        assert!(Endpoint::parse("https://host/whip", true).is_ok_and(|endpoint| endpoint.tls.is_some()));
        assert!(Endpoint::parse("http://[::1]:3000/whep/x", false).is_ok());
    }

    #[test]
    fn resources_are_found_however_they_are_named() {
        let base = "http://host:8889/show/whep".parse().unwrap();
        for (location, expected) in [
            ("/whep/r/1", "http://host:8889/whep/r/1"),
            ("whep/1", "http://host:8889/show/whep/1"),
            ("https://other/r?x=1", "https://other/r?x=1"),
        ] {
            assert_eq!(resolve(&base, location).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        assert_eq!(reason("application/problem+json", r#"{"detail":"not live"}"#), ": not live");
        assert_eq!(reason("application/json", r#"{"error":"no\u0007 stream"}"#), ": no stream");
        assert_eq!(reason("text/plain", "\n404 page not found\n"), ": 404 page not found");
        assert_eq!(reason("text/html", "<html>"), "");
        assert_eq!(reason("application/json", "not json"), "");
    }
}
