//! Requests that were recorded against the original server, with its answers.
//!
//! Errors must be the same JSON (apart from wording where the record says so); answers of the probes too; answers of the
//! app's procedures must be answers, their content is proved where the real ones live.

use axum::body::Body;
use http::Request;
use serde::Deserialize;
use serde_json::Value as Json;

use super::probes::{Probe, Reply};
use crate::config::{ApiConfig, Rate};

#[derive(Deserialize)]
struct Record {
    name: String,
    compare: Option<String>,
    request: Sent,
    response: Received,
}

#[derive(Deserialize)]
struct Sent {
    method: String,
    path: String,
    headers: std::collections::BTreeMap<String, String>,
    body: Option<String>,
}

#[derive(Deserialize)]
struct Received {
    status: u16,
    headers: std::collections::BTreeMap<String, String>,
    body: Option<String>,
}

/// Recorded with options our server does not have, or about procedures it does not have.
const ELSEWHERE: &[&str] = &[
    "batch_mixing_subscription",
    "batch_subscription_only",
    "health_trailing_slash",
    "outside_mount",
    "context_creation_failure",
    "batch_context_creation_failure",
    "dev_mode_adds_stack",
    "with_zod_flatten_error_formatter",
    "with_zod_flatten_error_formatter_non_zod",
    "batch_disabled_on_server",
    "batch_query_method_override_post",
    "method_override_post_query_server_allowing",
    "method_override_post_query_no_input",
    "query_output_all_types",
];

/// Where we answer otherwise on purpose: we may leave out what clients ignore.
const LOOSER: &[&str] = &[
    // `undefined` inside an echoed object, and a second reference to one object, are restated by the original.
    "echo_input_undefined",
    "echo_input_nested",
    "superjson_referential_equalities",
    "superjson_string_json_missing_key",
    // Somebody else's user id.
    "query_with_authorization_header",
];

#[tokio::test]
async fn recorded_exchanges_are_answered_alike() {
    let mut config = ApiConfig::default();
    config.limits.anonymous = Rate::per_second(1000, 1000);
    config.limits.user_mutations = Rate::per_second(1000, 1000);
    let probe = Probe::new(&config);
    let mut differences = Vec::new();
    let mut replayed = 0;
    for file in [
        include_str!("../../../tests/transcripts/raw-edge.json"),
        include_str!("../../../tests/transcripts/errors.json"),
        include_str!("../../../tests/transcripts/batch.json"),
        include_str!("../../../tests/transcripts/http.json"),
    ] {
        let records: Vec<Record> = serde_json::from_str(file).unwrap();
        for record in records.iter().filter(|record| !ELSEWHERE.contains(&record.name.as_str())) {
            let reply = probe.send(request(&record.request, &probe)).await;
            if let Some(difference) = compare(record, &reply) {
                differences.push(format!("{}: {difference}", record.name));
            }
            replayed += 1;
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(replayed, 67 + 42 + 23 + 38 - ELSEWHERE.len());
}

fn request(sent: &Sent, probe: &Probe) -> Request<Body> {
    let mut request = Request::builder().method(sent.method.as_str()).uri(&sent.path);
    for (name, value) in &sent.headers {
        let ours = format!("Bearer {}", probe.token.reveal());
        request = request.header(name, if value.starts_with("Bearer good") { &ours } else { value });
    }
    // The recorded server let anybody create sessions; ours are for users.
    if sent.path.contains("createSession") && !sent.headers.contains_key("authorization") {
        request = request.header("authorization", format!("Bearer {}", probe.token.reveal()));
    }
    if sent.path.contains("chat.sendMessage") && !sent.headers.contains_key("authorization") {
        request = request.header("authorization", format!("Bearer {}", probe.token.reveal()));
    }
    request.body(sent.body.clone().map_or_else(Body::empty, Body::from)).unwrap()
}

fn compare(record: &Record, reply: &Reply) -> Option<String> {
    if reply.status != record.response.status {
        return Some(format!("status {} instead of {}: {}", reply.status, record.response.status, reply.body));
    }
    if reply.header("access-control-allow-origin") != Some("*") {
        return Some("no CORS header".to_owned());
    }
    for name in ["allow", "access-control-allow-headers", "access-control-allow-methods"] {
        let recorded = record.response.headers.get(name).map(|value| value.trim_end_matches(",QUERY"));
        if recorded.is_some() && reply.header(name) != recorded {
            return Some(format!("{name}: {:?} instead of {recorded:?}", reply.header(name)));
        }
    }
    let Some(recorded) = &record.response.body else {
        return (!reply.body.is_empty()).then(|| format!("a body: {}", reply.body));
    };
    if reply.header("content-type") != Some("application/json") {
        return Some(format!("content-type {:?}", reply.header("content-type")));
    }
    let without_words = record.compare.as_deref() == Some("ignore-message");
    let strict = record.request.path.contains("/probe.") && !LOOSER.contains(&record.name.as_str());
    let reduce = |json: Json| reduced(json, without_words, strict || record.compare.as_deref() == Some("exact"));
    let (ours, theirs) = (reduce(reply.json()), reduce(serde_json::from_str(recorded).unwrap()));
    (ours != theirs).then(|| format!("\n  ours   {ours}\n  theirs {theirs}"))
}

/// What of an envelope is compared: errors whole, answers only where they are ours to give.
fn reduced(envelope: Json, without_words: bool, strict: bool) -> Json {
    match envelope {
        Json::Array(items) => Json::Array(items.into_iter().map(|item| reduced(item, without_words, false)).collect()),
        mut single => {
            if let Some(error) = single.pointer_mut("/error/json").and_then(Json::as_object_mut) {
                // The validator's words are the contract; other sentences are ours to write.
                let is_list = error.get("message").and_then(Json::as_str).is_some_and(|text| text.starts_with('['));
                if without_words || !(strict || is_list) {
                    error.remove("message");
                }
                if let Some(data) = error.get_mut("data").and_then(Json::as_object_mut) {
                    // Ours beside the original's.
                    data.remove("reason");
                    data.remove("retryAfterMs");
                }
            }
            if let Some(data) = single.pointer_mut("/result/data").and_then(Json::as_object_mut) {
                if let Some(meta) = data.get_mut("meta").and_then(Json::as_object_mut) {
                    meta.remove("v");
                }
                if !strict {
                    assert!(data.contains_key("json"), "an answer is wrapped");
                    *data = serde_json::Map::from_iter([("json".to_owned(), Json::from("some answer"))]);
                }
            }
            single
        }
    }
}
