//! RFC 9725 section 4.4, draft-ietf-wish-whep section 4.5: what WebRTC is narrowed to.

use crate::endpoint::{Endpoint, Role};
use crate::offer::{Offer, UNKNOWN_CODEC};
use crate::requirement::{Finding, Requirement, requirement};
use anyhow::{Context, Result, ensure};

pub(crate) const REQUIREMENTS: &[Requirement] = &[
    requirement!("4.4.1", "4.5.1", Must, "all that is accepted stands in one BUNDLE group", bundled),
    requirement!("4.4.1", "4.5.1", Must, "sections that are bundle-only (port 0) are accepted", bundle_only),
    requirement!("4.4.1", "4.5.1", Must, "every accepted section has rtcp-mux", multiplexed),
    requirement!("4.4.1", "4.5.1", Must, "rtcp-mux-only in the answer", multiplexed_only),
    requirement!("4.4.2", -, Must, "a second picture is refused with 422, not half taken", second_picture),
    requirement!("4.4.3", "4.5.3", Should, "an offer of nothing but unknown codecs is refused (422)", unanswerable),
    requirement!("4.4.3", -, Should, "an offer with one unknown section is refused whole (422)", partly_unanswerable),
    requirement!("4.4.3", "4.5.3", Should, "an offer of nothing but a data channel is refused (422)", no_media),
    requirement!("4.4.4", "4.5.4", Must, "actpass is answered with active or passive", set_up),
    requirement!("4.4.4", "4.5.4", Should, "active is answered with passive, or refused with 422", set_up_active),
    requirement!("4.4.4", "4.5.4", Must, "every accepted section has a fingerprint of SHA-256 or better", fingerprints),
];

async fn bundled(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    let bundles = session.answer.bundles();
    ensure!(bundles.len() == 1, "there are {} groups", bundles.len());
    let accepted: Vec<&str> = session.answer.accepted().map(|section| section.mid()).collect();
    ensure!(bundles[0] == accepted, "{:?} is bundled, {accepted:?} is accepted", bundles[0]);
    Ok(Finding::Met)
}

async fn bundle_only(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session_for(endpoint.offer().bundle_only()).await?;
    let accepted = session.answer.accepted().count();
    ensure!(accepted == 2, "{accepted} of 2 are accepted");
    Ok(Finding::Met)
}

async fn multiplexed(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    for section in session.answer.accepted() {
        ensure!(section.has("rtcp-mux"), "{} has none", section.kind);
    }
    Ok(Finding::Met)
}

/// RFC 9725 wants it of both sides by RFC 8858 section 3, which keeps it to offers.
async fn multiplexed_only(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    let there = session.answer.accepted().all(|section| section.has("rtcp-mux-only"));
    let seen = if there { "it is there" } else { "it is not there" };
    Ok(Finding::Open(format!("{seen}; RFC 9725 wants it, RFC 8858 section 3 forbids it in answers")))
}

async fn second_picture(endpoint: &Endpoint) -> Result<Finding> {
    let (direction, _) = endpoint.directions();
    let reply = endpoint.post(&endpoint.offer().second_video(direction).text()).await?;
    if reply.status == 201 && !endpoint.ours {
        let answer = crate::answer::Answer::parse(&reply.body)?;
        let whole = answer.sections.iter().all(crate::answer::Section::is_accepted);
        ensure!(whole, "201 with a section that is rejected");
        return Ok(Finding::Open("the server takes several pictures".to_owned()));
    }
    reply.is(422)?;
    Ok(Finding::Met)
}

async fn unanswerable(endpoint: &Endpoint) -> Result<Finding> {
    let (direction, _) = endpoint.directions();
    let reply = endpoint.post(&Offer::empty().video(direction, UNKNOWN_CODEC).text()).await?;
    if endpoint.ours && endpoint.role == Role::Egress {
        // Ours tells where else the show plays. Whoever decodes nothing that it is sent in is refused all the same.
        reply.is(409)?;
        ensure!(reply.header("link").is_some_and(|link| link.contains("rel=\"alternate\"")), "it names no other way");
        return Ok(Finding::Open("409 with a Link to HLS, which plays what WebRTC cannot".to_owned()));
    }
    reply.refuses(endpoint, 422)?;
    Ok(Finding::Met)
}

async fn partly_unanswerable(endpoint: &Endpoint) -> Result<Finding> {
    let (direction, _) = endpoint.directions();
    let reply = endpoint.post(&Offer::empty().audio(direction).video(direction, UNKNOWN_CODEC).text()).await?;
    reply.is(422)?;
    Ok(Finding::Met)
}

async fn no_media(endpoint: &Endpoint) -> Result<Finding> {
    endpoint.post(&Offer::empty().data_channel().text()).await?.refuses(endpoint, 422)?;
    Ok(Finding::Met)
}

async fn set_up(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    for section in session.answer.accepted() {
        let setup = session.answer.value(section, "setup").context("there is no a=setup")?;
        ensure!(matches!(setup, "active" | "passive"), "{} is {setup:?}", section.kind);
    }
    Ok(Finding::Met)
}

async fn set_up_active(endpoint: &Endpoint) -> Result<Finding> {
    let offer = endpoint.offer().setup("active");
    let reply = endpoint.post(&offer.text()).await?;
    if reply.status != 201 {
        reply.is(422)?;
        return Ok(Finding::Met);
    }
    let answer = crate::answer::Answer::parse(&reply.body)?;
    for section in answer.accepted() {
        let setup = answer.value(section, "setup").context("there is no a=setup")?;
        ensure!(setup == "passive", "{} is {setup:?}", section.kind);
    }
    Ok(Finding::Met)
}

async fn fingerprints(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    for section in session.answer.accepted() {
        let stated = session.answer.value(section, "fingerprint").context("there is no a=fingerprint")?;
        let (hash, digest) = stated.split_once(' ').context("a fingerprint has two words")?;
        let bytes = match hash.to_ascii_lowercase().as_str() {
            "sha-256" => 32,
            "sha-384" => 48,
            "sha-512" => 64,
            other => anyhow::bail!("the hash is {other}"),
        };
        let pairs: Vec<&str> = digest.split(':').collect();
        let well_formed = pairs.len() == bytes && pairs.iter().all(|pair| u8::from_str_radix(pair, 16).is_ok());
        ensure!(well_formed, "no digest: {digest:?}");
    }
    Ok(Finding::Met)
}
