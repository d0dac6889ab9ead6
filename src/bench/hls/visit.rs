//! One connection of a player, kept open from request to request, with the cookies it was given.
//!
//! In: addresses. Out: playlists as text, media as a number of bytes, or a sentence on why there is none.

use super::super::web::{self, REQUEST_MAX, Web};
use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, COOKIE, LOCATION, SET_COOKIE};
use http::{Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use std::io::Read;
use std::time::{Duration, Instant};

pub(super) struct Visit {
    web: Web,
    token: Option<String>,
    /// As the header wants them.
    cookies: String,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// A playlist, where it was found in the end.
pub(super) struct Found {
    pub(super) text: String,
    pub(super) uri: Uri,
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

const PLAYLIST_BYTES_MAX: usize = 8 * 1024 * 1024;
const REASON_BYTES_MAX: usize = 64 * 1024;
const REDIRECTS_MAX: usize = 3;

impl Visit {
    pub(super) fn new(web: &Web, token: Option<&str>) -> Self {
        Self { web: web.clone(), token: token.map(str::to_owned), cookies: String::new(), connection: None }
    }

    /// Another connection of the same player.
    pub(super) fn another(&self) -> Self {
        Self { web: self.web.clone(), token: self.token.clone(), cookies: self.cookies.clone(), connection: None }
    }

    pub(super) async fn playlist(&mut self, uri: &Uri) -> anyhow::Result<Found> {
        let began = Instant::now();
        let (uri, head, body) = self.get(uri, true).await?;
        let body = web::text(body, PLAYLIST_BYTES_MAX).await?;
        let took = began.elapsed();
        let packed = head.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
        let mut text = String::new();
        if packed {
            let limit = PLAYLIST_BYTES_MAX as u64;
            GzDecoder::new(&*body).take(limit).read_to_string(&mut text).context("the playlist cannot be unpacked")?;
        } else {
            text = String::from_utf8(body.to_vec()).context("the playlist is not UTF-8")?;
        }
        Ok(Found { text, uri, bytes: body.len() as u64, took })
    }

    /// How many bytes came, and how long all of them took.
    pub(super) async fn media(&mut self, uri: &Uri) -> anyhow::Result<(u64, Duration)> {
        let began = Instant::now();
        let (_, _, mut body) = self.get(uri, false).await?;
        let mut bytes = 0;
        let all = async {
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| anyhow!("media broke off: {error}"))?;
                bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(REQUEST_MAX, all).await.context("media did not end")??;
        Ok((bytes, began.elapsed()))
    }

    async fn get(&mut self, uri: &Uri, is_text: bool) -> anyhow::Result<(Uri, http::response::Parts, Incoming)> {
        let mut uri = uri.clone();
        for _ in 0..=REDIRECTS_MAX {
            let response = tokio::time::timeout(REQUEST_MAX, self.send(&uri, is_text));
            let (head, body) =
                response.await.map_err(|_| anyhow!("GET was not answered within {REQUEST_MAX:?}"))??.into_parts();
            self.take_cookies(&head.headers);
            let status = head.status;
            if status.is_redirection() {
                let location = head.headers.get(LOCATION).and_then(|value| value.to_str().ok());
                let location = location.and_then(|location| web::resolve(&uri, location));
                uri = location.with_context(|| format!("{status} without a Location"))?;
                self.connection = None;
                continue;
            }
            if status != StatusCode::OK {
                let body = web::text(body, REASON_BYTES_MAX).await?;
                bail!("{status}{}", web::reason(&head.headers, &String::from_utf8_lossy(&body)));
            }
            return Ok((uri, head, body));
        }
        bail!("more than {REDIRECTS_MAX} redirections")
    }

    async fn send(&mut self, uri: &Uri, is_text: bool) -> anyhow::Result<http::Response<Incoming>> {
        let kept = match self.connection.take() {
            Some(mut connection) => connection.ready().await.is_ok().then_some(connection),
            None => None,
        };
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.web.connect(uri).await?,
        };
        let mut request = web::request(Method::GET, uri, self.token.as_deref());
        if is_text {
            request = request.header(ACCEPT_ENCODING, "gzip");
        }
        if !self.cookies.is_empty() {
            request = request.header(COOKIE, &self.cookies);
        }
        let request = request.body(Full::new(Bytes::new())).context("the token cannot stand in a header")?;
        let response = connection.send_request(request).await.context("the server did not answer in HTTP")?;
        self.connection = Some(connection);
        Ok(response)
    }

    fn take_cookies(&mut self, headers: &http::HeaderMap) {
        for cookie in headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let pair = cookie.split(';').next().unwrap_or_default().trim();
            if !self.cookies.split("; ").any(|known| known == pair) {
                let separator = if self.cookies.is_empty() { "" } else { "; " };
                self.cookies = format!("{}{separator}{pair}", self.cookies);
            }
        }
    }
}
