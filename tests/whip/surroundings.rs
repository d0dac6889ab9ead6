//! RFC 9725 sections 4.5 to 4.9, draft-ietf-wish-whep sections 4.6 to 4.8: load, servers for ICE, bearers, layers, extensions.

use crate::answer::Answer;
use crate::endpoint::{Endpoint, Reply, SDP};
use crate::requirement::{Finding, Requirement, requirement};
use anyhow::{Context, Result, ensure};
use reqwest::Method;

pub(crate) const REQUIREMENTS: &[Requirement] = &[
    requirement!("4.5", "4.6", Must, "a POST is redirected with 307 or 308 only", redirections),
    requirement!("4.5", "4.6", May, "503 has a Retry-After in seconds", busy),
    requirement!("4.6", "4.7", May, "ICE servers are Links with rel=\"ice-server\" in good form", ice_servers),
    requirement!("4.6", "4.7", Should, "a preflight OPTIONS names no ICE servers", no_servers_in_preflight),
    requirement!("4.7", "4.8", Must, "POST without a token is 401 with WWW-Authenticate", no_token),
    requirement!("4.7.1", "4.8.1", Must, "POST with a wrong token is 401 with WWW-Authenticate", wrong_token),
    requirement!("4.7.1", "4.8.1", May, "a session is closed to whoever has a wrong token", session_token),
    requirement!("4.7.1", "4.8.1", Must, "the token's scheme is Bearer in any case (RFC 9110 section 11.1)", any_case),
    requirement!("4.8", -, May, "simulcast is answered by RFC 8853, layer by layer", simulcast),
    requirement!("4.9", "4.9", Must, "extensions are Links with a registered rel and an address", extensions),
];

async fn redirections(endpoint: &Endpoint) -> Result<Finding> {
    endpoint.session().await?;
    let seen = endpoint.redirections.borrow();
    ensure!(seen.iter().all(|status| matches!(status.as_u16(), 307 | 308)), "{seen:?}");
    Ok(if seen.is_empty() { Finding::Open("no POST was redirected".to_owned()) } else { Finding::Met })
}

/// It is read where it comes; nobody is brought down for it.
async fn busy(endpoint: &Endpoint) -> Result<Finding> {
    match &*endpoint.busy.borrow() {
        None => Ok(Finding::Open(format!("no 503 came in {} requests", endpoint.asked.get()))),
        Some(Ok(_)) => Ok(Finding::Met),
        Some(Err(said)) => anyhow::bail!("{said}"),
    }
}

/// One Link (RFC 8288 section 3).
struct Link {
    target: String,
    parameters: Vec<Parameter>,
}

type Parameter = (String, String);

impl Link {
    fn all(reply: &Reply) -> Result<Vec<Self>> {
        let mut links = Vec::new();
        for header in reply.all("link") {
            let broken = || format!("no Link: {header:?}");
            let mut rest = header.trim();
            while !rest.is_empty() {
                let opened = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
                let (target, behind) = opened.with_context(broken)?;
                let (parameters, behind) = parameters(behind).with_context(broken)?;
                links.push(Self { target: target.to_owned(), parameters });
                rest = behind.trim_start_matches([',', ' ']);
            }
        }
        Ok(links)
    }

    fn named(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn is_ice_server(&self) -> bool {
        self.named("rel") == Some("ice-server")
    }
}

/// `; name="value"` and `; name=value`, up to the comma that ends the link.
fn parameters(mut rest: &str) -> Option<(Vec<Parameter>, &str)> {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start();
        let Some(behind) = rest.strip_prefix(';') else {
            return (rest.is_empty() || rest.starts_with(',')).then_some((found, rest));
        };
        let (name, behind) = behind.split_once('=')?;
        let mut value = String::new();
        if let Some(quoted) = behind.strip_prefix('"') {
            let mut characters = quoted.char_indices();
            rest = loop {
                match characters.next()? {
                    (at, '"') => break &quoted[at + 1..],
                    (_, '\\') => value.push(characters.next()?.1),
                    (_, other) => value.push(other),
                }
            };
        } else {
            let end = behind.find([';', ',']).unwrap_or(behind.len());
            value.push_str(behind[..end].trim());
            rest = &behind[end..];
        }
        found.push((name.trim().to_ascii_lowercase(), value));
    }
}

async fn ice_servers(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    let links = Link::all(&session.reply)?;
    let servers: Vec<_> = links.iter().filter(|link| link.is_ice_server()).collect();
    for link in &servers {
        let target = &link.target;
        let (scheme, place) = target.split_once(':').context("a server's address has a scheme")?;
        ensure!(matches!(scheme, "stun" | "stuns" | "turn" | "turns"), "{target:?} is no STUN or TURN server");
        ensure!(!place.is_empty() && !place.starts_with("//"), "{target:?} names no host (RFC 7064, RFC 7065)");
        let by_password = matches!(link.named("credential-type"), None | Some("password"));
        if scheme.starts_with("turn") && by_password {
            let complete = link.named("username").is_some() && link.named("credential").is_some();
            ensure!(complete, "{target:?} has no username or no credential");
        }
    }
    Ok(if servers.is_empty() { Finding::Open("the server names none".to_owned()) } else { Finding::Met })
}

async fn no_servers_in_preflight(endpoint: &Endpoint) -> Result<Finding> {
    let headers = [
        ("origin", "https://page.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    let reply = endpoint.send_plain(Method::OPTIONS, &endpoint.url, &headers, "").await?;
    ensure!(!Link::all(&reply)?.iter().any(Link::is_ice_server), "it names some");
    Ok(Finding::Met)
}

fn no_token_needed(endpoint: &Endpoint) -> Option<Finding> {
    endpoint.token.is_none().then(|| Finding::Open("it asks for no token".to_owned()))
}

fn challenges(reply: &Reply) -> Result<Finding> {
    reply.is(401)?;
    let challenge = reply.header("www-authenticate").context("there is no WWW-Authenticate")?;
    ensure!(challenge.to_ascii_lowercase().contains("bearer"), "it challenges for {challenge:?}");
    Ok(Finding::Met)
}

async fn no_token(endpoint: &Endpoint) -> Result<Finding> {
    if let Some(open) = no_token_needed(endpoint) {
        return Ok(open);
    }
    let headers = [("content-type", SDP)];
    challenges(&endpoint.send_plain(Method::POST, &endpoint.url, &headers, &endpoint.offer().text()).await?)
}

const WRONG: (&str, &str) = ("authorization", "Bearer nobody-has-this-token");

async fn wrong_token(endpoint: &Endpoint) -> Result<Finding> {
    if let Some(open) = no_token_needed(endpoint) {
        return Ok(open);
    }
    let headers = [("content-type", SDP), WRONG];
    challenges(&endpoint.send_plain(Method::POST, &endpoint.url, &headers, &endpoint.offer().text()).await?)
}

async fn session_token(endpoint: &Endpoint) -> Result<Finding> {
    if let Some(open) = no_token_needed(endpoint) {
        return Ok(open);
    }
    let session = endpoint.session().await?;
    let reply = endpoint.send_plain(Method::DELETE, &session.url, &[WRONG], "").await?;
    if reply.status.is_success() && !endpoint.ours {
        return Ok(Finding::Open("the session's address is the secret".to_owned()));
    }
    challenges(&reply)?;
    let reply = endpoint.send(Method::DELETE, &session.url, &[], "").await?;
    ensure!(reply.status.is_success(), "and then its owner is answered {}", reply.told());
    Ok(Finding::Met)
}

async fn any_case(endpoint: &Endpoint) -> Result<Finding> {
    let Some(token) = &endpoint.token else { return Ok(Finding::Open("it asks for no token".to_owned())) };
    let lower = format!("bearer {token}");
    let headers = [("content-type", SDP), ("authorization", lower.as_str())];
    let reply = endpoint.send_plain(Method::POST, &endpoint.url, &headers, &endpoint.offer().text()).await?;
    reply.is(201)?;
    let url = endpoint.url.join(&reply.header("location").context("201 has no Location")?)?;
    let reply = endpoint.send_plain(Method::DELETE, &url, &[("authorization", &lower)], "").await?;
    ensure!(reply.status.is_success(), "DELETE is {}", reply.told());
    Ok(Finding::Met)
}

async fn simulcast(endpoint: &Endpoint) -> Result<Finding> {
    let reply = endpoint.post(&endpoint.offer().simulcast().text()).await?;
    reply.is(201)?;
    let answer = Answer::parse(&reply.body)?;
    let Some((section, answered)) =
        answer.accepted().find_map(|section| Some((section, section.values("simulcast").next()?)))
    else {
        return Ok(Finding::Open("the server takes one layer".to_owned()));
    };
    let layers = answered.strip_prefix("recv ").with_context(|| format!("the server receives: {answered:?}"))?;
    for layer in layers.split([';', ',']).map(|layer| layer.trim_start_matches('~')) {
        ensure!(matches!(layer, "h" | "m" | "l"), "{layer:?} was not offered");
        let described = section.values("rid").any(|rid| rid.split(' ').take(2).eq([layer, "recv"]));
        ensure!(described, "{layer:?} has no a=rid line to receive it");
    }
    Ok(Finding::Met)
}

async fn extensions(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    let mut found = 0;
    for link in Link::all(&session.reply)? {
        let rel = link.named("rel").with_context(|| format!("the Link to {:?} has no rel", link.target))?;
        if rel.starts_with("urn:ietf:params:whip:") || rel.starts_with("urn:ietf:params:whep:") {
            ensure!(rel.split(':').nth(4) == Some("ext"), "{rel:?} is of no registered type");
            endpoint.url.join(&link.target)?;
            found += 1;
        }
    }
    Ok(if found == 0 { Finding::Open("the server has none".to_owned()) } else { Finding::Met })
}
