//! An address of WHIP or WHEP, and what can be asked of it.

use crate::answer::Answer;
use crate::harness::wait::absence;
use crate::offer::Offer;
use crate::tunnel;
use anyhow::{Context, Result, bail, ensure};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// WHIP: we publish.
    Ingest,
    /// WHEP: we watch.
    Egress,
}

pub(crate) struct Endpoint {
    pub(crate) role: Role,
    pub(crate) url: Url,
    pub(crate) token: Option<String>,
    /// Ours answers with exactly the status that is meant where the documents leave a choice.
    pub(crate) ours: bool,
    /// Of WHEP: where nothing is live.
    pub(crate) idle: Option<Url>,
    client: reqwest::Client,
    tunnels: RefCell<HashMap<(String, u16), SocketAddr>>,
    open: RefCell<Vec<Url>>,
    /// What a 503 said; none came yet.
    pub(crate) busy: RefCell<Option<Result<u64, String>>>,
    /// Statuses of redirections of a POST.
    pub(crate) redirections: RefCell<Vec<StatusCode>>,
    pub(crate) asked: Cell<usize>,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) body: String,
}

/// One that was opened.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) url: Url,
    pub(crate) etag: String,
    pub(crate) answer: Answer,
    pub(crate) reply: Reply,
    pub(crate) offer: Offer,
}

pub(crate) const SDP: &str = "application/sdp";
pub(crate) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const REQUEST_MAX: Duration = Duration::from_secs(30);
const REDIRECTIONS_MAX: usize = 5;
/// A server that is busy is asked again so many times, and waited for no longer than so many seconds each time.
const BUSY_MAX: usize = 3;
const BUSY_SECONDS_MAX: u64 = 10;

impl Endpoint {
    pub(crate) fn new(role: Role, url: Url, token: Option<String>) -> Result<Self> {
        let client =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(REQUEST_MAX).build()?;
        Ok(Self {
            role,
            url,
            token,
            ours: false,
            idle: None,
            client,
            tunnels: RefCell::default(),
            open: RefCell::default(),
            busy: RefCell::default(),
            redirections: RefCell::default(),
            asked: Cell::new(0),
        })
    }

    /// The direction of an offer for this endpoint, and that of its answer.
    pub(crate) fn directions(&self) -> (&'static str, &'static str) {
        match self.role {
            Role::Ingest => ("sendonly", "recvonly"),
            Role::Egress => ("recvonly", "sendonly"),
        }
    }

    pub(crate) fn offer(&self) -> Offer {
        Offer::new(self.directions().0)
    }

    /// Opens a session as a client would.
    pub(crate) async fn session(&self) -> Result<Session> {
        self.session_for(self.offer()).await
    }

    pub(crate) async fn session_for(&self, offer: Offer) -> Result<Session> {
        let reply = self.post(&offer.text()).await?;
        ensure!(reply.status == StatusCode::CREATED, "the offer is answered {}", reply.told());
        let location = reply.header("location").context("201 has no Location")?;
        let url = self.url.join(&location)?;
        let answer = Answer::parse(&reply.body)?;
        let etag = reply.header("etag").unwrap_or_default();
        Ok(Session { url, etag, answer, reply, offer })
    }

    pub(crate) async fn post(&self, offer: &str) -> Result<Reply> {
        let reply = self.send(Method::POST, &self.url, &[("content-type", SDP)], offer).await?;
        Ok(reply)
    }

    pub(crate) async fn patch(&self, session: &Session, if_match: Option<&str>, body: &str) -> Result<Reply> {
        let mut headers = vec![("content-type", FRAGMENT)];
        headers.extend(if_match.map(|etag| ("if-match", etag)));
        self.send(Method::PATCH, &session.url, &headers, body).await
    }

    pub(crate) async fn delete(&self, session: &Session, headers: &[(&str, &str)]) -> Result<Reply> {
        self.send(Method::DELETE, &session.url, headers, "").await
    }

    /// With the token, if there is one.
    pub(crate) async fn send(&self, method: Method, url: &Url, headers: &[(&str, &str)], body: &str) -> Result<Reply> {
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let headers: Vec<_> =
            headers.iter().copied().chain(bearer.as_deref().map(|bearer| ("authorization", bearer))).collect();
        self.send_plain(method, url, &headers, body).await
    }

    /// With these headers and no others; a POST follows redirections and comes again to a busy server.
    pub(crate) async fn send_plain(
        &self,
        method: Method,
        url: &Url,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Reply> {
        let (mut url, mut busy) = (url.clone(), 0);
        for _ in 0..=REDIRECTIONS_MAX + BUSY_MAX {
            let reply = self.once(method.clone(), &url, headers, body).await?;
            if method != Method::POST {
                return Ok(reply);
            }
            if reply.status.is_redirection() {
                self.redirections.borrow_mut().push(reply.status);
                url = url.join(&reply.header("location").context("a redirection has no Location")?)?;
                continue;
            }
            if reply.status == StatusCode::SERVICE_UNAVAILABLE && busy < BUSY_MAX {
                busy += 1;
                let said = reply.header("retry-after").unwrap_or_default();
                let after = said.parse::<u64>().map_err(|_| format!("Retry-After is {said:?}"));
                self.busy.replace(Some(after.clone()));
                let seconds = after.unwrap_or(1).min(BUSY_SECONDS_MAX);
                absence(Duration::from_secs(seconds)).await;
                continue;
            }
            if reply.status == StatusCode::CREATED
                && let Some(location) = reply.header("location")
            {
                self.open.borrow_mut().push(url.join(&location)?);
            }
            return Ok(reply);
        }
        bail!("redirected or sent away more than {} times", REDIRECTIONS_MAX + BUSY_MAX)
    }

    async fn once(&self, method: Method, url: &Url, headers: &[(&str, &str)], body: &str) -> Result<Reply> {
        self.asked.set(self.asked.get() + 1);
        let (near, host) = self.way(url).await?;
        let mut request = self.client.request(method, near).body(body.to_owned());
        if let Some(host) = host {
            request = request.header("host", host);
        }
        for (name, value) in headers {
            request = request.header(HeaderName::try_from(*name)?, HeaderValue::try_from(*value)?);
        }
        let response = request.send().await.with_context(|| format!("asking {url}"))?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Reply { status, headers, body: response.text().await? })
    }

    /// The address to ask, and the host to name where that is a tunnel's.
    async fn way(&self, url: &Url) -> Result<(Url, Option<String>)> {
        if url.scheme() != "https" {
            return Ok((url.clone(), None));
        }
        let host = url.host_str().context("the address names no host")?.to_owned();
        let key = (host.clone(), url.port_or_known_default().unwrap_or(443));
        let known = self.tunnels.borrow().get(&key).copied();
        let local = match known {
            Some(local) => local,
            None => {
                let local = tunnel::open(&key.0, key.1).await?;
                self.tunnels.borrow_mut().insert(key.clone(), local);
                local
            }
        };
        let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let named = if key.1 == 443 { host } else { format!("{host}:{}", key.1) };
        Ok((format!("http://{local}{path}").parse()?, Some(named)))
    }

    /// Leaves nothing behind on a server of somebody else.
    pub(crate) async fn close_all(&self) {
        let open = self.open.take();
        for url in open {
            // It may be closed already.
            let _ = self.send(Method::DELETE, &url, &[], "").await;
        }
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        Some(self.headers.get(name)?.to_str().ok()?.to_owned())
    }

    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
    }

    /// The media type without its parameters.
    pub(crate) fn media_type(&self) -> String {
        let stated = self.header("content-type").unwrap_or_default();
        stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    pub(crate) fn told(&self) -> String {
        let body: String = self.body.chars().take(200).collect();
        format!("{} {:?}", self.status, body)
    }

    /// An error for which the document leaves the choice of status; ours must be the one that is meant.
    pub(crate) fn refuses(&self, endpoint: &Endpoint, meant: u16) -> Result<()> {
        let fits = if endpoint.ours { self.status.as_u16() == meant } else { self.status.is_client_error() };
        ensure!(fits, "{meant} is meant, it is {}", self.told());
        Ok(())
    }

    pub(crate) fn is(&self, status: u16) -> Result<()> {
        ensure!(self.status.as_u16() == status, "{status} is asked for, it is {}", self.told());
        Ok(())
    }
}
