//! RFC 9725 section 4.2, draft-ietf-wish-whep sections 4.2 and 4.3: a session begins and ends.

use crate::answer::Answer;
use crate::endpoint::{Endpoint, Role, SDP};
use crate::offer::Offer;
use crate::requirement::{Finding, Requirement, requirement};
use anyhow::{Context, Result, ensure};
use reqwest::Method;

pub(crate) const REQUIREMENTS: &[Requirement] = &[
    requirement!("4.2", "4.2", Must, "an offer posted as application/sdp is answered 201", created),
    requirement!("4.2", "4.2", Must, "the answer's type is application/sdp", typed),
    requirement!("4.2", "4.2", Must, "Location, absolute or relative, leads to the session", located),
    requirement!("4.2", "4.2", Must, "the answer is SDP with the m= lines of the offer, in order", same_sections),
    requirement!("4.2", "4.2", Must, "the answer goes the other way: recvonly here, sendonly there", directed),
    requirement!("4.2", "4.2", Must, "an offer of both directions is answered one-way as well", one_way),
    requirement!("4.2", "4.2", Must, "another content type is refused (415)", other_type),
    requirement!("4.2", "4.2", Must, "no content type is refused (415)", no_type),
    requirement!("4.2", "4.2", Must, "text that is not SDP is refused (400)", nonsense),
    requirement!("4.2", "4.2", Must, "an empty body is refused (400)", nothing),
    requirement!("4.2", "4.2", Must, "SDP without ICE credentials is refused (400)", no_credentials),
    requirement!(-, "4.2", Must, "where nothing is live the offer waits: 409 with Retry-After", nothing_live),
    requirement!("4.2", "4.3", Must, "OPTIONS on the endpoint is 2xx and allows the page's POST (CORS)", preflight),
    requirement!(
        "4.2",
        "4.3",
        Must,
        "OPTIONS on a session is 2xx and allows PATCH and DELETE (CORS)",
        session_preflight
    ),
    requirement!("4.2", "4.3", Should, "OPTIONS on the endpoint has Accept-Post: application/sdp", accept_post),
    requirement!("4.2", "4.2", Should, "a page may read Location, ETag and Link of the answer (CORS)", exposed),
    requirement!("4.2", "4.3", Must, "DELETE ends the session, which is gone afterwards (404, or 410)", deleted),
    requirement!("5", "5", Should, "the addresses of sessions differ and are hard to guess", unguessable),
];

async fn created(endpoint: &Endpoint) -> Result<Finding> {
    endpoint.post(&endpoint.offer().text()).await?.is(201)?;
    Ok(Finding::Met)
}

async fn typed(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    ensure!(session.reply.media_type() == SDP, "it is {:?}", session.reply.media_type());
    Ok(Finding::Met)
}

async fn located(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    ensure!(session.url != endpoint.url, "it leads to the endpoint itself");
    let reply = endpoint.send(Method::GET, &session.url, &[], "").await?;
    ensure!(!matches!(reply.status.as_u16(), 404 | 410), "nothing is at {}", session.url);
    Ok(Finding::Met)
}

async fn same_sections(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    let offered = Answer::parse(&session.offer.text())?;
    let names = |sdp: &Answer| -> Vec<(String, String)> {
        sdp.sections.iter().map(|section| (section.kind.clone(), section.mid().to_owned())).collect()
    };
    ensure!(names(&offered) == names(&session.answer), "{:?} became {:?}", names(&offered), names(&session.answer));
    Ok(Finding::Met)
}

async fn directed(endpoint: &Endpoint) -> Result<Finding> {
    answers_with_direction(endpoint, endpoint.offer()).await
}

async fn one_way(endpoint: &Endpoint) -> Result<Finding> {
    answers_with_direction(endpoint, Offer::new("sendrecv")).await
}

async fn answers_with_direction(endpoint: &Endpoint, offer: Offer) -> Result<Finding> {
    let session = endpoint.session_for(offer).await?;
    let wanted = endpoint.directions().1;
    for section in session.answer.accepted() {
        ensure!(section.direction() == wanted, "{} is {}", section.kind, section.direction());
    }
    Ok(Finding::Met)
}

async fn other_type(endpoint: &Endpoint) -> Result<Finding> {
    let offer = endpoint.offer().text();
    let reply = endpoint.send(Method::POST, &endpoint.url, &[("content-type", "application/json")], &offer).await?;
    reply.refuses(endpoint, 415)?;
    Ok(Finding::Met)
}

async fn no_type(endpoint: &Endpoint) -> Result<Finding> {
    let reply = endpoint.send(Method::POST, &endpoint.url, &[], &endpoint.offer().text()).await?;
    reply.refuses(endpoint, 415)?;
    Ok(Finding::Met)
}

async fn nonsense(endpoint: &Endpoint) -> Result<Finding> {
    endpoint.post("{\"offer\": \"by another protocol\"}").await?.refuses(endpoint, 400)?;
    Ok(Finding::Met)
}

async fn nothing(endpoint: &Endpoint) -> Result<Finding> {
    endpoint.post("").await?.refuses(endpoint, 400)?;
    Ok(Finding::Met)
}

async fn no_credentials(endpoint: &Endpoint) -> Result<Finding> {
    let offer = endpoint.offer().text();
    let lines = offer.split_inclusive('\n').filter(|line| !line.starts_with("a=ice-"));
    endpoint.post(&lines.collect::<String>()).await?.refuses(endpoint, 400)?;
    Ok(Finding::Met)
}

async fn nothing_live(endpoint: &Endpoint) -> Result<Finding> {
    let Some(idle) = &endpoint.idle else {
        return Ok(Finding::Open("no address without a show was given".to_owned()));
    };
    let reply = endpoint.send(Method::POST, idle, &[("content-type", SDP)], &endpoint.offer().text()).await?;
    reply.is(409)?;
    let after = reply.header("retry-after").context("there is no Retry-After")?;
    ensure!(after.parse::<u64>().is_ok(), "Retry-After is a number of seconds, it is {after:?}");
    Ok(Finding::Met)
}

async fn preflight(endpoint: &Endpoint) -> Result<Finding> {
    let reply = endpoint.send_plain(Method::OPTIONS, &endpoint.url, &asking("POST"), "").await?;
    ensure!(reply.status.is_success(), "it is {}", reply.told());
    allows(&reply.header("access-control-allow-origin").unwrap_or_default(), "https://page.example")?;
    allows(&reply.header("access-control-allow-headers").unwrap_or_default(), "authorization")?;
    allows(&reply.header("access-control-allow-headers").unwrap_or_default(), "content-type")?;
    Ok(Finding::Met)
}

async fn session_preflight(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    for method in ["PATCH", "DELETE"] {
        let reply = endpoint.send_plain(Method::OPTIONS, &session.url, &asking(method), "").await?;
        ensure!(reply.status.is_success(), "it is {}", reply.told());
        allows(&reply.header("access-control-allow-origin").unwrap_or_default(), "https://page.example")?;
        allows(&reply.header("access-control-allow-methods").unwrap_or_default(), method)?;
        allows(&reply.header("access-control-allow-headers").unwrap_or_default(), "if-match")?;
    }
    Ok(Finding::Met)
}

/// What a browser sends ahead of a page's request; without a token (section 4.7.1).
fn asking(method: &'static str) -> [(&'static str, &'static str); 3] {
    [
        ("origin", "https://page.example"),
        ("access-control-request-method", method),
        ("access-control-request-headers", "authorization,content-type,if-match"),
    ]
}

/// A wildcard does not reach `Authorization` (Fetch section 4.9).
fn allows(list: &str, wanted: &str) -> Result<()> {
    let allowed = |one: &str| one.eq_ignore_ascii_case(wanted) || one == "*" && wanted != "authorization";
    ensure!(list.split(',').map(str::trim).any(allowed), "{wanted} is not in {list:?}");
    Ok(())
}

async fn accept_post(endpoint: &Endpoint) -> Result<Finding> {
    let reply = endpoint.send_plain(Method::OPTIONS, &endpoint.url, &[], "").await?;
    let accepted = reply.header("accept-post").unwrap_or_default();
    ensure!(accepted.contains(SDP), "Accept-Post is {accepted:?}");
    Ok(Finding::Met)
}

async fn exposed(endpoint: &Endpoint) -> Result<Finding> {
    let origin = [("content-type", SDP), ("origin", "https://page.example")];
    let reply = endpoint.send(Method::POST, &endpoint.url, &origin, &endpoint.offer().text()).await?;
    let list = reply.header("access-control-expose-headers").unwrap_or_default();
    for name in ["location", "etag", "link"] {
        allows(&list, name)?;
    }
    Ok(Finding::Met)
}

async fn deleted(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    let reply = endpoint.delete(&session, &[]).await?;
    ensure!(reply.status.is_success(), "DELETE is answered {}", reply.told());
    let again = endpoint.delete(&session, &[]).await?;
    ensure!(matches!(again.status.as_u16(), 404 | 410), "it is {} when asked again", again.told());
    let patched = endpoint.patch(&session, Some("*"), "").await?;
    ensure!(patched.status.is_client_error(), "PATCH on what is gone is {}", patched.told());
    Ok(Finding::Met)
}

async fn unguessable(endpoint: &Endpoint) -> Result<Finding> {
    let (one, other) = (endpoint.session().await?, {
        if endpoint.role == Role::Ingest {
            endpoint.close_all().await;
        }
        endpoint.session().await?
    });
    ensure!(one.url != other.url, "two sessions have the address {}", one.url);
    let (one, other) = (one.url.as_str().as_bytes(), other.url.as_str().as_bytes());
    let differ = one.iter().zip(other).filter(|(one, other)| one != other).count();
    ensure!(differ >= 12, "only {differ} characters differ between two addresses");
    Ok(Finding::Met)
}
