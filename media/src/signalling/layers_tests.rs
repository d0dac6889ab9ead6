//! The choice of a layer, as a client meets it.

use super::tests::{Client, header, text};
use crate::model::Rid;
use http::{Method, StatusCode};

/// A viewing with a ticket, and where its layers are.
async fn viewing(client: &Client) -> String {
    let response = client.post("/whep/session_1", Some("ticket")).await;
    let links: Vec<_> = response.headers().get_all("link").iter().filter_map(|link| link.to_str().ok()).collect();
    let found = links.iter().find(|link| link.ends_with("; rel=\"urn:ietf:params:whep:ext:core:layer\""));
    let layer = found.and_then(|link| link.strip_prefix('<')?.split_once('>')).map(|(at, _)| at.to_owned()).unwrap();
    assert_eq!(layer, format!("{}/layer", header(&response, "location")));
    layer
}

const TICKET: (&str, &str) = ("authorization", "Bearer ticket");
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn whep_layers_are_listed_and_chosen_from_and_left_to_the_server_again() {
    let client = Client::new();
    let at = viewing(&client).await;
    let listed = client.send(Method::GET, &at, &[TICKET], "").await;
    assert_eq!((listed.status(), header(&listed, "content-type")), (StatusCode::OK, "application/json".to_owned()));
    let list: serde_json::Value = serde_json::from_str(&text(listed).await).unwrap();
    let low = serde_json::json!(
        { "rid": "l", "encodingId": "l", "width": 320, "height": 180, "bitrate": 150_000, "sent": true }
    );
    assert_eq!((&list["1"]["layers"][1], &list["1"]["chosen"]), (&low, &serde_json::json!({})));
    assert_eq!(list["1"]["layers"][0]["bitrate"], 0, "on the list, though nothing comes of it");
    for (posted, chosen) in [
        (r#"{"mediaId":"1","rid":"l"}"#, serde_json::json!({ "rid": "l" })),
        (r#"{"encodingId":"h"}"#, serde_json::json!({ "rid": "h" })),
        (r#"{"maxWidth":640,"maxHeight":360}"#, serde_json::json!({ "maxWidth": 640, "maxHeight": 360 })),
        (r#"{"mediaId":"1"}"#, serde_json::json!({})),
        (r#"{"rid":null}"#, serde_json::json!({})),
    ] {
        let response = client.send(Method::POST, &at, &[TICKET, JSON], posted).await;
        assert_eq!(response.status(), StatusCode::OK, "{posted}");
        let list: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(list["1"]["chosen"], chosen, "{posted}");
    }
}

#[tokio::test]
async fn whep_a_choice_that_is_none_is_refused_with_the_reason_and_changes_nothing() {
    let client = Client::new();
    let at = viewing(&client).await;
    let kept = client.send(Method::POST, &at, &[TICKET, JSON], r#"{"rid":"l"}"#).await;
    assert_eq!(kept.status(), StatusCode::OK);
    for (posted, status, reason) in [
        ("", StatusCode::BAD_REQUEST, "no choice of a layer"),
        ("[]x", StatusCode::BAD_REQUEST, "no choice of a layer"),
        (r#"{"rid":7}"#, StatusCode::BAD_REQUEST, "string"),
        (r#"{"rid":"h","encodingId":"h"}"#, StatusCode::BAD_REQUEST, "duplicate"),
        (r#"{"rid":"a b"}"#, StatusCode::BAD_REQUEST, "rid: not an id"),
        (r#"{"mediaId":"video"}"#, StatusCode::BAD_REQUEST, "number of a media section"),
        (r#"{"maxWidth":0}"#, StatusCode::BAD_REQUEST, "nonzero"),
        (r#"{"maxHeight":-1}"#, StatusCode::BAD_REQUEST, "-1"),
        (r#"{"temporalLayerId":1}"#, StatusCode::BAD_REQUEST, "temporalLayerId"),
        (r#"{"rid":"x"}"#, StatusCode::UNPROCESSABLE_ENTITY, "there are: h, l"),
        (r#"{"mediaId":"4"}"#, StatusCode::UNPROCESSABLE_ENTITY, "there are"),
    ] {
        let response = client.send(Method::POST, &at, &[TICKET, JSON], posted).await;
        assert_eq!(
            (response.status(), header(&response, "content-type").as_str()),
            (status, "application/problem+json")
        );
        let problem = text(response).await;
        assert!(problem.contains(reason), "{posted}: {problem}");
    }
    let sdp = client.send(Method::POST, &at, &[TICKET, ("content-type", "application/sdp")], "{}").await;
    assert_eq!(sdp.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(header(&sdp, "accept-post"), "application/json");
    let long = format!("{{\"rid\":\"{}\"}}", "x".repeat(70_000));
    let long = client.send(Method::POST, &at, &[TICKET, JSON], &long).await;
    assert_eq!(long.status(), StatusCode::PAYLOAD_TOO_LARGE);
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        let response = client.send(method, &at, &[TICKET], "").await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
    assert_eq!(client.stage.wish.lock().rid.as_ref().map(Rid::as_str), Some("l"));
}

#[tokio::test]
async fn whep_layers_are_for_whoever_may_end_the_viewing() {
    let client = Client::new();
    let at = viewing(&client).await;
    for headers in [&[JSON][..], &[JSON, ("authorization", "Bearer forged")]] {
        for method in [Method::GET, Method::POST] {
            let response = client.send(method, &at, headers, "{}").await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            assert!(header(&response, "www-authenticate").starts_with("Bearer"));
        }
    }
    let preflight = client.send(Method::OPTIONS, &at, &[], "").await;
    assert_eq!(
        (preflight.status(), header(&preflight, "accept-post")),
        (StatusCode::OK, "application/json".to_owned())
    );
    assert!(header(&preflight, "access-control-allow-methods").contains("POST"));
    let publication = format!("{}/layer", client.opened().await.replace("/whip/", "/whep/"));
    for unknown in ["/whep/r/0123/layer", publication.as_str()] {
        let response = client.send(Method::GET, unknown, &[("authorization", "Bearer key")], "").await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{unknown}");
    }
    client.send(Method::DELETE, at.trim_end_matches("/layer"), &[TICKET], "").await;
    assert_eq!(client.send(Method::GET, &at, &[TICKET], "").await.status(), StatusCode::NOT_FOUND);
}
