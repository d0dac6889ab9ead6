//! Recorded calls of the app's procedures, sent to the real ones.
//!
//! What the recorded validator refused, ours refuses in the same words; what it let pass, ours lets pass unless a rule of
//! ours is stricter on purpose. Answers have every member the recorded ones have, of the same kind, with their dates.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use chobi_control::both_engines;
use chobi_control::id::SessionId;
use chobi_control::presence::LiveFact;
use chobi_control::video::Recorded;
use http::Request;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use self::support::{Reply, Server};

#[derive(Deserialize)]
struct Record {
    name: String,
    compare: String,
    request: Sent,
    response: Received,
}

#[derive(Deserialize)]
struct Sent {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Option<String>,
}

#[derive(Deserialize)]
struct Received {
    status: u16,
    body: String,
}

/// Recorded as accepted, refused by us: counts are whole and positive.
const STRICTER: &[&str] = &[
    "streaming.createSession:maxViewers_negative_is_accepted",
    "streaming.createSession:maxViewers_fraction_is_accepted",
    "streaming.getActiveSessions:limit_fraction_is_accepted",
];

/// Recorded as refused, accepted by us: lengths are counted in code points, not in UTF-16 units.
const KINDER: &[&str] = &["chat.sendMessage:message_251_emoji_is_502_utf16"];

both_engines! {
    async fn inputs_are_refused_in_the_recorded_words(db: TestDatabase) {
        let server = Server::start(db).await;
        let (token, _) = server.user("sara").await;
        let records: Vec<Record> = serde_json::from_str(include_str!("transcripts/validation.json")).unwrap();
        let mut differences = Vec::new();
        for record in &records {
            let reply = send(&server, &record.request, &token, &BTreeMap::new()).await;
            if let Some(difference) = compare_validation(record, &reply) {
                differences.push(format!("{}: {difference}\n  {}", record.name, reply.body));
            }
        }
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        assert_eq!(records.len(), 41);
    }

    async fn answers_have_the_recorded_shape(db: TestDatabase) {
        let server = Server::start(db).await;
        let (token, registered) = server.user("sara").await;
        let records: Vec<Record> = serde_json::from_str(include_str!("transcripts/procedures.json")).unwrap();
        let mut real = BTreeMap::from([("user_ref1", registered["user"]["id"].as_str().unwrap().to_owned())]);
        let mut faults = Vec::new();
        for name in [
            "streaming.createSession",
            "streaming.joinSession",
            "chat.sendMessage",
            "chat.getMessages",
            "streaming.getActiveSessions",
            "users.getProfile",
            "users.getProfile#own",
            "streaming.endSession",
            "videos.getVideos",
        ] {
            if name == "videos.getVideos" {
                record_show(&server, &real["session_ref1"]).await;
            }
            let record = records.iter().find(|record| record.name == name).unwrap();
            let reply = send(&server, &record.request, &token, &real).await;
            assert_eq!(reply.status, 200, "{name}: {}", reply.body);
            let theirs: Json = serde_json::from_str(&record.response.body).unwrap();
            let (ours, theirs) = (reply.json()["result"]["data"].take(), &theirs["result"]["data"]);
            differences(name, &ours["json"], &theirs["json"], &mut faults);
            dates(name, &ours, theirs, &mut faults);
            if name.starts_with("users.getProfile") {
                let profile = &ours["json"]["profile"];
                assert_eq!(profile["currentStreamId"], json!(real["session_ref1"]), "{profile}");
                assert_eq!((&profile["totalStreams"], &profile["isOnline"]), (&json!(1), &json!(true)));
                assert_eq!(profile["stats"]["favoriteCategory"], "music");
            }
            if name == "streaming.createSession" {
                let id = ours["json"]["session"]["id"].as_str().unwrap();
                real.insert("session_ref1", id.to_owned());
                go_live(&server, id).await;
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    async fn gift_messages_cannot_be_made_up(db: TestDatabase) {
        let server = Server::start(db).await;
        let (token, _) = server.user("sara").await;
        let created = server.mutate("streaming.createSession", json!({"title": "t", "type": "video"}), Some(&token)).await;
        let id = created.answer().unwrap()["session"]["id"].clone();
        let gift = json!({"sessionId": id, "message": "🌹", "type": "gift", "giftId": "gift_rose"});
        let refused = server.mutate("chat.sendMessage", gift, Some(&token)).await;
        assert!([400, 403].contains(&refused.status), "{}", refused.body);
    }
}

async fn send(server: &Server, sent: &Sent, token: &str, real: &BTreeMap<&str, String>) -> Reply {
    let replaced = |text: &str| real.iter().fold(text.to_owned(), |text, (name, id)| text.replace(name, id));
    let mut request = Request::builder().method(sent.method.as_str()).uri(replaced(&sent.path));
    if let Some(kind) = sent.headers.get("content-type") {
        request = request.header("content-type", kind);
    }
    request = request.header("authorization", format!("Bearer {token}"));
    let body = sent.body.as_deref().map_or_else(Body::empty, |body| Body::from(replaced(body)));
    server.send(request.body(body).unwrap()).await
}

fn compare_validation(record: &Record, reply: &Reply) -> Option<String> {
    let name = record.name.as_str();
    let issues = reply.answer().err().and_then(|error| {
        let words = error["message"].as_str()?.to_owned();
        words.starts_with('[').then_some(words)
    });
    if record.response.status == 200 {
        return match (issues, STRICTER.contains(&name)) {
            (Some(_), false) => Some("refused by the validator".to_owned()),
            (None, true) if reply.status == 200 => Some("accepted, and listed as stricter".to_owned()),
            _ => None,
        };
    }
    if KINDER.contains(&name) {
        return issues.map(|_| "refused by the validator, and listed as kinder".to_owned());
    }
    let theirs: Json = serde_json::from_str(&record.response.body).unwrap();
    let theirs = theirs["error"]["json"]["message"].as_str().unwrap();
    let Some(ours) = issues else { return Some(format!("status {} instead of 400", reply.status)) };
    let same = if record.compare == "exact" { ours == theirs } else { without_words(&ours) == without_words(theirs) };
    (reply.status != 400 || !same).then(|| format!("instead of {theirs}"))
}

fn without_words(issues: &str) -> Json {
    let mut issues: Json = serde_json::from_str(issues).unwrap();
    for issue in issues.as_array_mut().unwrap() {
        issue.as_object_mut().unwrap().remove("message");
    }
    issues
}

/// Members the recorded answer has and ours lacks, or has as another kind.
fn differences(place: &str, ours: &Json, theirs: &Json, faults: &mut Vec<String>) {
    match (ours, theirs) {
        (Json::Object(ours), Json::Object(theirs)) => {
            for (key, value) in theirs {
                let place = format!("{place}.{key}");
                match ours.get(key) {
                    Some(member) => differences(&place, member, value, faults),
                    // Recorded as `undefined` or with an invented value: optional members we leave out when empty.
                    None if ["thumbnail", "bio", "scheduledAt", "description", "category", "giftId"]
                        .contains(&key.as_str()) => {}
                    None => faults.push(format!("{place} is missing")),
                }
            }
        }
        (Json::Array(ours), Json::Array(theirs)) => {
            if let (Some(ours), Some(theirs)) = (ours.first(), theirs.first()) {
                differences(&format!("{place}.0"), ours, theirs, faults);
            }
        }
        (_, Json::Null) => {}
        (ours, theirs) => {
            if std::mem::discriminant(ours) != std::mem::discriminant(theirs) {
                faults.push(format!("{place} is {ours} instead of {theirs}"));
            }
        }
    }
}

/// Recorded dates that ours has, but does not announce as such.
fn dates(name: &str, ours: &Json, theirs: &Json, faults: &mut Vec<String>) {
    let Some(annotated) = theirs["meta"]["values"].as_object() else { return };
    for (path, _) in annotated.iter().filter(|(_, kind)| **kind == json!(["Date"])) {
        let pointer = format!("/json/{}", path.replace('.', "/"));
        if ours.pointer(&pointer).is_some() && ours["meta"]["values"][path] != json!(["Date"]) {
            faults.push(format!("{name}: {path} is no Date"));
        }
    }
}

/// Tells that a show was recorded, and waits until its video is listed.
async fn record_show(server: &Server, id: &str) {
    let session_id = SessionId::parse(id).unwrap();
    let recorded = Recorded::Kept { duration: Duration::from_secs(180), has_video: false };
    let fact = LiveFact::RecordingEnded { session_id, recorded, at: SystemTime::now() };
    server.control.ingress().tell(fact).await;
    let listed = async {
        while server.query("videos.getVideos", json!({}), None).await.answer().unwrap()["total"] != 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), listed).await.expect("the video is listed");
}

/// Tells what media would, and waits until the list shows it.
async fn go_live(server: &Server, id: &str) {
    let session_id = SessionId::parse(id).unwrap();
    server.control.ingress().tell(LiveFact::WentLive { session_id, at: SystemTime::now() }).await;
    let listed = async {
        loop {
            let active = server.query("streaming.getActiveSessions", json!({}), None).await.answer().unwrap();
            if active["total"] == 1 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), listed).await.expect("the session is listed as live");
}
