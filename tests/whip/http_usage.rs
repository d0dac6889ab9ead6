//! RFC 9725 section 4.1: the resources as HTTP sees them.

use crate::endpoint::{Endpoint, SDP};
use crate::requirement::{Finding, Requirement, requirement};
use anyhow::{Result, ensure};
use reqwest::{Method, Url};
use serde_json::Value;

pub(crate) const REQUIREMENTS: &[Requirement] = &[
    requirement!("4.1", "4.1", Must, "GET on the endpoint is 2xx without content", endpoint_is_empty),
    requirement!("4.1", "4.1", Must, "GET on a session is 2xx without content", session_is_empty),
    requirement!("4.1", "4.1", May, "a refusal that explains itself is problem+json (RFC 9457)", problems_are_json),
];

async fn endpoint_is_empty(endpoint: &Endpoint) -> Result<Finding> {
    is_empty(endpoint, &endpoint.url).await
}

async fn session_is_empty(endpoint: &Endpoint) -> Result<Finding> {
    let session = endpoint.session().await?;
    is_empty(endpoint, &session.url).await
}

async fn is_empty(endpoint: &Endpoint, url: &Url) -> Result<Finding> {
    let reply = endpoint.send(Method::GET, url, &[], "").await?;
    ensure!(reply.status.is_success() && reply.body.is_empty(), "it is {}", reply.told());
    Ok(Finding::Met)
}

async fn problems_are_json(endpoint: &Endpoint) -> Result<Finding> {
    let reply = endpoint.send(Method::POST, &endpoint.url, &[("content-type", SDP)], "this is not SDP").await?;
    if reply.media_type() != "application/problem+json" {
        return Ok(Finding::Open(format!("the refusal's type is {:?}", reply.media_type())));
    }
    let problem: Value = serde_json::from_str(&reply.body)?;
    ensure!(problem.is_object(), "a problem is an object: {problem}");
    let status = &problem["status"];
    ensure!(status.is_null() || *status == reply.status.as_u16(), "its status is that of the answer: {problem}");
    Ok(Finding::Met)
}
