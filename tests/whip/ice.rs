//! RFC 9725 section 4.3, draft-ietf-wish-whep section 4.4: candidates, entity tags and restarts.

use crate::answer::Answer;
use crate::endpoint::{Endpoint, FRAGMENT, Reply, Role, Session};
use crate::offer::{CANDIDATE, fragment, text};
use crate::requirement::{Finding, Requirement, requirement};
use anyhow::{Context, Result, ensure};
use reqwest::Method;
use std::net::IpAddr;

pub(crate) const REQUIREMENTS: &[Requirement] = &[
    requirement!("4.3.1", "4.4.1", Must, "201 has an ETag, and it is a strong one", strong_etag),
    requirement!("4.3.1", "4.4.1", Must, "the ETags of two sessions differ", unique_etag),
    requirement!("4.3.1", "4.4.1", Must, "PATCH of another content type is refused (415)", patch_type),
    requirement!("4.3.1", "4.4.1", Must, "PATCH of what is not an SDP fragment is refused (400)", patch_nonsense),
    requirement!("4.3.1", "4.4.1", Must, "DELETE looks at no entity tag", delete_any_etag),
    requirement!("4.3.2", "4.4.2", Must, "the answer has every candidate, so one at least, in good form", candidates),
    requirement!(
        "4.3.2",
        "4.4.2",
        Should,
        "the answer says that no more candidates come (RFC 8840)",
        end_of_candidates
    ),
    requirement!("4.3.2", "4.4.2", Must, "ICE credentials are there, of 4 and 22 characters or more", credentials),
    requirement!("4.3.2", "4.4.1", Must, "PATCH without If-Match is 428", unconditional),
    requirement!("4.3.2", "4.4.1", Must, "PATCH with a tag of no ICE session is 412", stale),
    requirement!("4.3.2", "4.4.2", Must, "candidates with the right tag are 204, no body, no ETag", trickle),
    requirement!("4.3.2", "4.4.2", Must, "a candidate that is of no use is passed over: 204", odd_candidates),
    requirement!("4.3.2", "4.4.2", Must, "the end of candidates alone is 204", end_alone),
    requirement!("4.3.3", "4.4.3", Must, "a restart (If-Match: *) is 200 with a fragment and a new ETag", restart),
    requirement!("4.3.3", "4.4.3", Must, "a restart gives a new ice-ufrag and a new ice-pwd", restart_credentials),
    requirement!("4.3.3", "4.4.3", Must, "after a restart the old tag is 412 and the new one 204", restart_tags),
    requirement!("4.3.3", "4.4.3", Must, "a restart that is refused leaves the session as it was", refused_restart),
];

async fn strong_etag(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    is_strong(&session.etag)
}

/// RFC 9110 section 8.8.3.
fn is_strong(etag: &str) -> Result<Finding> {
    ensure!(!etag.is_empty(), "there is no ETag");
    ensure!(!etag.starts_with("W/"), "{etag} is weak");
    let inner = etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).context("an ETag stands in quotes")?;
    ensure!(!inner.is_empty() && !inner.contains(['"', ' ']), "{etag} is not well formed");
    Ok(Finding::Met)
}

async fn unique_etag(endpoint: &Endpoint) -> Result<Finding> {
    let one = endpoint.session().await?.etag;
    if endpoint.role == Role::Ingest {
        endpoint.close_all().await;
    }
    let other = endpoint.session().await?.etag;
    ensure!(one != other, "both are {one}");
    Ok(Finding::Met)
}

async fn patch_type(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    let body = trickled(&session, CANDIDATE);
    let headers = [("content-type", "application/sdp"), ("if-match", session.etag.as_str())];
    endpoint.send(Method::PATCH, &session.url, &headers, &body).await?.refuses(endpoint, 415)?;
    Ok(Finding::Met)
}

async fn patch_nonsense(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    let reply = endpoint.patch(&session, Some(&session.etag), "{\"candidate\": \"by another protocol\"}").await?;
    reply.refuses(endpoint, 400)?;
    Ok(Finding::Met)
}

async fn delete_any_etag(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    let reply = endpoint.delete(&session, &[("if-match", "\"of-nothing\"")]).await?;
    ensure!(reply.status.is_success(), "it is {}", reply.told());
    Ok(Finding::Met)
}

async fn candidates(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    let found: Vec<&str> = session.answer.accepted().flat_map(|section| section.values("candidate")).collect();
    ensure!(
        !found.is_empty(),
        "there is none{}",
        if session.answer.is_ice_lite() { ", and it is ICE lite" } else { "" }
    );
    for candidate in found {
        // foundation component transport priority address port "typ" type (RFC 8839 section 5.1)
        let words: Vec<&str> = candidate.split(' ').collect();
        let named = words.get(4).is_some_and(|host| host.parse::<IpAddr>().is_ok() || host.contains('.'));
        let well_formed = words.len() >= 8
            && words[1].parse::<u16>().is_ok_and(|component| (1..=256).contains(&component))
            && words[3].parse::<u32>().is_ok()
            && named
            && words[5].parse::<u16>().is_ok()
            && words[6] == "typ";
        ensure!(well_formed, "no candidate: {candidate:?}");
    }
    Ok(Finding::Met)
}

async fn end_of_candidates(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    let ended = session.answer.accepted().any(|section| section.has("end-of-candidates"));
    ensure!(ended, "a=end-of-candidates is in no section");
    Ok(Finding::Met)
}

async fn credentials(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    for section in session.answer.accepted() {
        let (ufrag, pwd) = credentials_of(&session.answer, section)?;
        ensure!((4..=256).contains(&ufrag.len()) && (22..=256).contains(&pwd.len()), "{ufrag:?} and {pwd:?}");
    }
    Ok(Finding::Met)
}

fn credentials_of<'a>(answer: &'a Answer, section: &'a crate::answer::Section) -> Result<(&'a str, &'a str)> {
    let ufrag = answer.value(section, "ice-ufrag").context("there is no ice-ufrag")?;
    let pwd = answer.value(section, "ice-pwd").context("there is no ice-pwd")?;
    Ok((ufrag, pwd))
}

/// A fragment of the ICE session that the offer began.
fn trickled(session: &Session, candidates: &str) -> String {
    fragment(&session.offer.ufrag, &session.offer.pwd, candidates)
}

/// A server need not know trickle ICE or restarts, and says so.
fn unsupported(reply: &Reply, endpoint: &Endpoint) -> Option<Finding> {
    let says_so = !endpoint.ours && matches!(reply.status.as_u16(), 405 | 422 | 501);
    says_so.then(|| Finding::Open(format!("the server does not support it: {}", reply.status)))
}

async fn unconditional(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    let reply = endpoint.patch(&session, None, &trickled(&session, CANDIDATE)).await?;
    if let Some(open) = unsupported(&reply, endpoint) {
        return Ok(open);
    }
    reply.is(428)?;
    Ok(Finding::Met)
}

async fn stale(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    let reply = endpoint.patch(&session, Some("\"of-nothing\""), &trickled(&session, CANDIDATE)).await?;
    if let Some(open) = unsupported(&reply, endpoint) {
        return Ok(open);
    }
    reply.is(412)?;
    Ok(Finding::Met)
}

async fn trickle(endpoint: &Endpoint) -> Result<Finding> {
    trickles(endpoint, CANDIDATE).await
}

async fn odd_candidates(endpoint: &Endpoint) -> Result<Finding> {
    let odd = "a=candidate:1 1 sctp 2122260223 192.0.2.1 61764 typ host\r\n\
        a=candidate:2 1 udp 2122260222 0fd9b6f2-nobody.local 61764 typ host\r\n\
        a=candidate:3 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active\r\n";
    trickles(endpoint, odd).await
}

async fn end_alone(endpoint: &Endpoint) -> Result<Finding> {
    trickles(endpoint, "a=end-of-candidates\r\n").await
}

async fn trickles(endpoint: &Endpoint, candidates: &str) -> Result<Finding> {
    let session = endpoint.session().await?;
    let reply = endpoint.patch(&session, Some(&session.etag), &trickled(&session, candidates)).await?;
    if let Some(open) = unsupported(&reply, endpoint) {
        return Ok(open);
    }
    reply.is(204)?;
    ensure!(reply.body.is_empty(), "it has a body: {}", reply.told());
    ensure!(reply.header("etag").is_none(), "it has an ETag");
    Ok(Finding::Met)
}

/// Asks for a restart with new credentials of ours.
async fn restarted(endpoint: &Endpoint, session: &Session) -> Result<Result<(Reply, String), Finding>> {
    let (ufrag, pwd) = (text::<4>(), text::<12>());
    let reply = endpoint.patch(session, Some("*"), &fragment(&ufrag, &pwd, "")).await?;
    if let Some(open) = unsupported(&reply, endpoint) {
        return Ok(Err(open));
    }
    reply.is(200)?;
    let candidates = fragment(&ufrag, &pwd, CANDIDATE);
    Ok(Ok((reply, candidates)))
}

async fn restart(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    let (reply, _) = match restarted(endpoint, &session).await? {
        Ok(done) => done,
        Err(open) => return Ok(open),
    };
    ensure!(reply.media_type() == FRAGMENT, "its type is {:?}", reply.media_type());
    let etag = reply.header("etag").unwrap_or_default();
    ensure!(etag != session.etag, "its ETag is the old one, {etag}");
    is_strong(&etag)
}

async fn restart_credentials(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    let (reply, _) = match restarted(endpoint, &session).await? {
        Ok(done) => done,
        Err(open) => return Ok(open),
    };
    let new = |name: &str| {
        let mut lines = reply.body.lines();
        lines.find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name} in {:?}", reply.body))
    };
    let (ufrag, pwd) = (new("a=ice-ufrag:")?, new("a=ice-pwd:")?);
    let first = session.answer.accepted().next().context("nothing was accepted")?;
    let (old_ufrag, old_pwd) = credentials_of(&session.answer, first)?;
    ensure!(ufrag != old_ufrag && pwd != old_pwd, "both must change, {ufrag:?} replaces {old_ufrag:?}");
    ensure!(ufrag.len() >= 4 && pwd.len() >= 22, "{ufrag:?} and {pwd:?} are short");
    Ok(Finding::Met)
}

async fn restart_tags(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    let (reply, candidates) = match restarted(endpoint, &session).await? {
        Ok(done) => done,
        Err(open) => return Ok(open),
    };
    let etag = reply.header("etag").context("there is no ETag")?;
    endpoint.patch(&session, Some(&session.etag), &trickled(&session, CANDIDATE)).await?.is(412)?;
    let reply = endpoint.patch(&session, Some(&etag), &candidates).await?;
    if let Some(open) = unsupported(&reply, endpoint) {
        return Ok(open);
    }
    reply.is(204)?;
    Ok(Finding::Met)
}

async fn refused_restart(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    // A restart without a password is none.
    let reply = endpoint.patch(&session, Some("*"), "a=ice-ufrag:half\r\n").await?;
    ensure!(!reply.status.is_success(), "half a restart is answered {}", reply.told());
    let reply = endpoint.patch(&session, Some(&session.etag), &trickled(&session, CANDIDATE)).await?;
    if let Some(open) = unsupported(&reply, endpoint) {
        return Ok(open);
    }
    reply.is(204)?;
    Ok(Finding::Met)
}
