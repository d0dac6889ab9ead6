//! Limits, failures and corners that nobody recorded.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use http::Request;
use serde_json::{Value as Json, json};

use super::probes::{Probe, Reply};
use crate::config::{ApiConfig, Rate};

fn code(reply: &Reply) -> Json {
    reply.json()["error"]["json"]["data"]["code"].clone()
}

#[tokio::test]
async fn too_large_a_body_is_refused_once_per_call() {
    let probe = Probe::new(&ApiConfig { body_max_bytes: 2000, ..ApiConfig::default() });
    let body = json!({"json": {"title": "x".repeat(3000), "type": "video"}}).to_string();
    let reply = probe.post("/api/trpc/streaming.createSession", body.clone()).await;
    assert_eq!(
        reply.json(),
        json!({"error": {"json": {"message": "PAYLOAD_TOO_LARGE", "code": -32013,
            "data": {"code": "PAYLOAD_TOO_LARGE", "httpStatus": 413, "path": "streaming.createSession"}}}})
    );
    let reply = probe.post("/api/trpc/streaming.createSession,streaming.joinSession?batch=1", body).await;
    assert_eq!(reply.status, 413);
    assert_eq!(reply.json()[1]["error"]["json"]["data"]["path"], "streaming.joinSession");
}

#[tokio::test]
async fn a_body_without_declared_length_is_cut_at_the_limit() {
    let probe = Probe::new(&ApiConfig { body_max_bytes: 2000, ..ApiConfig::default() });
    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 1024])));
    let reply = probe.post("/api/trpc/streaming.joinSession", Body::from_stream(endless)).await;
    assert_eq!((reply.status, code(&reply)), (413, json!("PAYLOAD_TOO_LARGE")));
}

#[tokio::test(start_paused = true)]
async fn a_slow_procedure_is_answered_and_the_rest_of_its_batch_kept() {
    let probe = Probe::new(&ApiConfig { request_timeout: Duration::from_secs(15), ..ApiConfig::default() });
    let reply = probe.get("/api/trpc/probe.never,probe.stringQuery?batch=1").await;
    assert_eq!(reply.status, 207);
    assert_eq!(reply.json()[0]["error"]["json"]["data"]["code"], "TIMEOUT");
    assert_eq!(reply.json()[1]["result"]["data"]["json"], "plain");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_arrives_is_a_timeout() {
    let probe = Probe::new(&ApiConfig::default());
    let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let reply = probe.post("/api/trpc/streaming.joinSession", silent).await;
    assert_eq!((reply.status, code(&reply)), (408, json!("TIMEOUT")));
}

#[tokio::test]
async fn a_panic_fails_its_own_call_and_tells_nothing() {
    let probe = Probe::new(&ApiConfig::default());
    let reply = probe.get("/api/trpc/probe.failNonError,probe.failPlainError,probe.stringQuery?batch=1").await;
    assert_eq!(reply.status, 207);
    for failed in [0, 1] {
        assert_eq!(reply.json()[failed]["error"]["json"]["data"]["code"], "INTERNAL_SERVER_ERROR");
    }
    assert_eq!(reply.json()[2]["result"]["data"]["json"], "plain");
    assert!(!reply.body.contains("hunter2"), "{}", reply.body);
}

#[tokio::test]
async fn a_batch_has_a_size() {
    let probe = Probe::new(&ApiConfig { batch_max: 2, ..ApiConfig::default() });
    let two = probe.get("/api/trpc/probe.stringQuery,probe.stringQuery?batch=1").await;
    assert_eq!(two.status, 200);
    let three = probe.get("/api/trpc/probe.stringQuery,probe.stringQuery,probe.stringQuery?batch=1").await;
    assert_eq!(
        (three.status, three.json()),
        (
            400,
            json!({"error": {"json": {"message": "Batch call exceeds maximum size", "code": -32600,
                "data": {"code": "BAD_REQUEST", "httpStatus": 400}}}})
        )
    );
}

#[tokio::test]
async fn strangers_share_their_address_and_users_do_not() {
    let mut config = ApiConfig::default();
    config.limits.anonymous = Rate::every(Duration::from_secs(60), 2);
    let probe = Probe::new(&config);
    for _ in 0..2 {
        assert_eq!(probe.get("/api/trpc/probe.stringQuery").await.status, 200);
    }
    let refused = probe.get("/api/trpc/probe.stringQuery").await;
    assert_eq!((refused.status, code(&refused)), (429, json!("TOO_MANY_REQUESTS")));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(refused.json()["error"]["json"]["data"]["reason"], "too_often");

    let mine = Request::get("/api/trpc/probe.me").header("authorization", format!("bearer {}", probe.token.reveal()));
    assert_eq!(probe.send(mine.body(Body::empty()).unwrap()).await.status, 200);
}

/// The app's busiest screen asks 62 times a minute; nobody may be locked out for that.
#[tokio::test]
async fn the_apps_own_polling_is_never_too_often() {
    let probe = Probe::new(&ApiConfig::default());
    for _ in 0..60 {
        assert_eq!(probe.get("/api/trpc/probe.stringQuery").await.status, 200);
    }
}

#[tokio::test]
async fn a_token_that_does_not_hold_still_leaves_public_procedures() {
    let probe = Probe::new(&ApiConfig::default());
    let with = |path: &str| Request::get(path).header("authorization", "Bearer nonsense").body(Body::empty()).unwrap();
    assert_eq!(probe.send(with("/api/trpc/probe.stringQuery")).await.status, 200);
    let refused = probe.send(with("/api/trpc/probe.me")).await;
    assert_eq!((refused.status, code(&refused)), (401, json!("UNAUTHORIZED")));
}

#[tokio::test]
async fn the_short_mount_is_the_same() {
    let probe = Probe::new(&ApiConfig::default());
    assert_eq!(probe.get("/trpc/probe.stringQuery").await.json()["result"]["data"]["json"], "plain");
    assert_eq!(probe.get("/trpc").await.status, 404);
}

#[tokio::test]
async fn refusals_speak_arabic_unless_asked_otherwise() {
    let probe = Probe::new(&ApiConfig::default());
    let ask = |language: &str| {
        let request = Request::get("/api/trpc/probe.me").header("accept-language", language);
        request.body(Body::empty()).unwrap()
    };
    let arabic = probe.get("/api/trpc/probe.me").await;
    let english = probe.send(ask("en-US,en;q=0.9")).await;
    assert_eq!(english.json()["error"]["json"]["message"], "Please sign in to continue");
    assert_eq!(arabic.json()["error"]["json"]["message"], crate::error::SIGN_IN.text.ar);
}

#[tokio::test]
async fn hostile_envelopes_are_refused_quickly_and_whole() {
    let probe = Probe::new(&ApiConfig::default());
    let nested = |depth: usize| format!("{{\"json\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    let meta = |depth: usize| {
        let tree = "{\"a\":".repeat(depth) + "[\"Date\"]" + &"}".repeat(depth);
        format!("{{\"json\":{{\"a\":1}},\"meta\":{{\"values\":{tree}}}}}")
    };
    let wide = format!(
        "{{\"json\":{{\"a\":1}},\"meta\":{{\"values\":{{{}}}}}}}",
        (0..15_000).map(|n| format!("\"a{n}\":[\"Date\"]")).collect::<Vec<_>>().join(",")
    );
    let long_path = format!("{{\"json\":{{}},\"meta\":{{\"values\":{{\"{}\":[\"Date\"]}}}}}}", "a.".repeat(100_000));
    for (name, body) in [
        ("deep value", nested(40)),
        ("value beyond the parser", nested(100_000)),
        ("annotations beyond the parser", meta(20_000)),
        ("wide annotations", wide),
        ("root annotation of nothing", "{\"json\":1,\"meta\":{\"values\":[]}}".to_owned()),
        ("annotation that is no annotation", "{\"json\":{\"a\":1},\"meta\":{\"values\":{\"a\":5}}}".to_owned()),
        ("class", "{\"json\":{\"a\":1},\"meta\":{\"values\":{\"a\":[[\"class\",\"User\"]]}}}".to_owned()),
        ("prototype", "{\"json\":{\"a\":1},\"meta\":{\"values\":{\"constructor.x\":[\"Date\"]}}}".to_owned()),
        ("not utf-8", "{\"json\":\"\\ud800\"}".to_owned()),
    ] {
        let reply = probe.post("/api/trpc/probe.echoAny", body).await;
        assert_eq!((reply.status, code(&reply)), (400, json!("BAD_REQUEST")), "{name}: {}", reply.body);
    }
    let ignored = probe.post("/api/trpc/probe.echoAny", long_path).await;
    assert_eq!(ignored.status, 200, "a path to nowhere marks nothing: {}", ignored.body);
    assert_eq!(probe.post("/api/trpc/probe.echoAny", meta(40)).await.status, 200, "nor does one deeper than the value");
    assert_eq!(probe.post("/api/trpc/probe.echoAny", nested(30)).await.status, 200);
}

#[tokio::test]
async fn specials_reach_the_validator_as_what_they_are() {
    let probe = Probe::new(&ApiConfig::default());
    let max_viewers = async |json: Json, annotation: &str| {
        let body = json!({"json": {"title": "t", "type": "video", "maxViewers": json},
            "meta": {"values": {"maxViewers": [annotation]}}});
        let request = Request::post("/api/trpc/streaming.createSession")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", probe.token.reveal()))
            .body(Body::from(body.to_string()))
            .unwrap();
        let reply = probe.send(request).await;
        let message =
            reply.json()["error"]["json"]["message"].as_str().unwrap_or("[{\"message\":\"fine\"}]").to_owned();
        serde_json::from_str::<Json>(&message).unwrap()[0]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(max_viewers(json!("NaN"), "number").await, "Invalid input: expected number, received NaN");
    assert_eq!(max_viewers(json!("-Infinity"), "number").await, "Invalid input: expected number, received number");
    assert_eq!(max_viewers(json!("5"), "bigint").await, "Invalid input: expected number, received bigint");
    assert_eq!(max_viewers(json!([1]), "set").await, "Invalid input: expected number, received Set");
    assert_eq!(max_viewers(json!(null), "undefined").await, "fine");
    assert_eq!(max_viewers(json!("-0"), "number").await, "fine");
}

#[tokio::test]
async fn forms_and_bytes_are_named_to_the_validator() {
    let probe = Probe::new(&ApiConfig::default());
    for (kind, name) in
        [("multipart/form-data; boundary=x", "FormData"), ("application/octet-stream", "ReadableStream")]
    {
        let request = Request::post("/api/trpc/streaming.joinSession").header("content-type", kind);
        let reply = probe.send(request.body(Body::from("abc")).unwrap()).await;
        assert_eq!(reply.status, 400);
        assert!(reply.body.contains(&format!("expected object, received {name}")), "{}", reply.body);
    }
}

#[tokio::test]
async fn a_streamed_batch_is_a_line_per_call() {
    let probe = Probe::new(&ApiConfig::default());
    let ask =
        |path: &str, header: &str| Request::get(path).header(header, "application/jsonl").body(Body::empty()).unwrap();
    let path = "/api/trpc/probe.dateQuery,probe.me,probe.voidQuery?batch=1";
    for header in ["trpc-accept", "accept"] {
        let reply = probe.send(ask(path, header)).await;
        assert_eq!(reply.status, 200);
        let mut lines: Vec<Json> = reply.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            lines.remove(0),
            json!({"json": {"0": [[0], [null, 0, 0]], "1": [[0], [null, 0, 1]], "2": [[0], [null, 0, 2]]}})
        );
        lines.sort_by_key(|line| line["json"][0].as_u64());
        assert_eq!(
            lines[0],
            json!({"json": [0, 0, [[{"result": {"data": "2026-01-02T03:04:05.678Z"}}]]],
                "meta": {"values": {"2.0.0.result.data": ["Date"]}}})
        );
        assert_eq!(lines[1]["json"][2][0][0]["error"]["data"]["code"], "UNAUTHORIZED");
        assert_eq!(lines[2]["meta"]["values"]["2.0.0.result.data"], json!(["undefined"]));
        assert_eq!(lines.len(), 3);
    }
    let single = probe.send(ask("/api/trpc/probe.dateQuery", "trpc-accept")).await;
    assert_eq!(
        single.json()["error"]["json"]["message"],
        "Streaming requests must be batched (you can do a batch of 1)"
    );
}
