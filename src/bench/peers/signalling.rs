//! The HTTP of WHIP and WHEP from the client's side (RFC 9725 sections 4.2 and 4.3).
//!
//! In: offers. Out: answers with the address of their resource, or a sentence on why there is none. One connection per
//! request, as viewers who know nothing of each other have.

use super::super::web::{self, REQUEST_MAX, Web};
use anyhow::{Context, anyhow, bail, ensure};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::{Method, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use std::time::Instant;

/// Where offers go.
#[derive(Debug)]
pub(crate) struct Endpoint {
    uri: Uri,
    web: Web,
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

const BODY_MAX: usize = 256 * 1024;
const REDIRECTS_MAX: usize = 3;

impl Endpoint {
    pub(crate) fn parse(url: &str, insecure: bool) -> anyhow::Result<Self> {
        let uri = web::parse_address(url, "http://HOST:PORT/whep/SESSION or http://HOST:PORT/whip")?;
        Ok(Self { uri, web: Web::new(insecure)? })
    }

    /// Posts an offer.
    pub(super) async fn open(&self, offer: &str, token: Option<&str>) -> anyhow::Result<Answer> {
        let mut uri = self.uri.clone();
        for _ in 0..=REDIRECTS_MAX {
            let (posted, response) = self.send(Method::POST, &uri, Some(offer), token).await?;
            let (head, body) = response.into_parts();
            let location = head.headers.get(LOCATION).and_then(|value| value.to_str().ok());
            let location = location.and_then(|location| web::resolve(&uri, location));
            let status = head.status;
            if matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                uri = location.ok_or_else(|| anyhow!("{status} without a Location"))?;
                continue;
            }
            let body = web::text(body, BODY_MAX).await?;
            let body = String::from_utf8_lossy(&body);
            if !status.is_success() {
                bail!("{status}{}", web::reason(&head.headers, &body));
            }
            return Ok(Answer { sdp: body.into_owned(), resource: location, posted });
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
    ) -> anyhow::Result<(Instant, Response<Incoming>)> {
        let exchange = async {
            let mut request = web::request(method.clone(), uri, token).header(ACCEPT, "application/sdp");
            if offer.is_some() {
                request = request.header(CONTENT_TYPE, "application/sdp");
            }
            let body = offer.map_or_else(Bytes::new, |offer| Bytes::copy_from_slice(offer.as_bytes()));
            let request = request.body(Full::new(body)).context("the token cannot stand in a header")?;
            let mut connection = self.web.connect(uri).await?;
            let posted = Instant::now();
            let response = connection.send_request(request).await.context("the server did not answer in HTTP")?;
            Ok((posted, response))
        };
        tokio::time::timeout(REQUEST_MAX, exchange)
            .await
            .map_err(|_| anyhow!("{method} was not answered within {REQUEST_MAX:?}"))?
    }
}
