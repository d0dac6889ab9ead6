//! `streaming.*` as the app calls it.

use http::StatusCode;
use serde_json::{Value, json};

use crate::admission::{PublishAttempt, PublishRefusal};
use crate::both_engines;
use crate::clock::Timestamp;
use crate::id::SessionId;
use crate::presence::LiveFact;
use crate::secret::Secret;
use crate::testing::TestDatabase;
use crate::testing::served::{Person, Served};

fn refused(answer: (StatusCode, Value)) -> (u16, String) {
    let (status, error) = answer;
    (status.as_u16(), error["data"]["code"].as_str().expect("an error").to_owned())
}

async fn go_live(served: &Served, id: &str) {
    let session_id = SessionId::parse(id).unwrap();
    served
        .control
        .ingress()
        .tell(LiveFact::WentLive { session_id: session_id.clone(), at: std::time::SystemTime::now() })
        .await;
    served.control.ingress().settle(&session_id).await;
}

async fn end(served: &Served, by: Option<&Person>, id: &str) -> (StatusCode, Value) {
    served.mutate(by, "streaming.endSession", json!({"sessionId": id})).await
}

both_engines! {
    async fn create_session_answers_all_the_app_needs(db: TestDatabase) {
        let served = Served::on(db).await;
        let host = served.person("host").await;
        let input = json!({"title": "بث", "type": "audio", "description": "d", "category": "music", "maxViewers": 100});
        let (status, answer) = served.mutate(Some(&host), "streaming.createSession", input.clone()).await;
        assert_eq!((status, &answer["success"]), (StatusCode::OK, &json!(true)));
        let mut session = answer["session"].clone();
        let taken = session.as_object_mut().unwrap();
        let mut take = |key| taken.remove(key).and_then(|value| value.as_str().map(str::to_owned)).expect(key);
        let id = take("id");
        assert!(SessionId::parse(&id).is_some());
        assert!(take("streamKey").starts_with("chobi_sk_"));
        assert!(Timestamp::parse_iso(&take("createdAt")).is_some());
        assert_eq!(take("rtmpUrl"), "rtmp://127.0.0.1:1935/live");
        assert_eq!(take("playbackUrl"), format!("http://127.0.0.1:3000/hls/{id}/index.m3u8"));
        let rest = json!({
            "hostId": host.user.user_id, "hostName": "host", "hostAvatar": "https://cdn.test/host.png", "title": "بث",
            "description": "d", "type": "audio", "category": "music", "isPrivate": false, "maxViewers": 100,
            "status": "waiting", "viewerCount": 0, "tags": [], "recording": true,
            "allowDownload": false,
        });
        assert_eq!(session, rest);
        assert_eq!(refused(served.mutate(None, "streaming.createSession", input).await), (401, "UNAUTHORIZED".into()));
    }

    async fn create_session_names_every_fault(db: TestDatabase) {
        let served = Served::on(db).await;
        let host = served.person("host").await;
        let input = json!({"title": "", "type": "film", "maxViewers": 0, "scheduledAt": "2026-06-01T00:00:00.000Z"});
        let (status, error) = served.mutate(Some(&host), "streaming.createSession", input).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let issues: Vec<Value> = serde_json::from_str(error["message"].as_str().unwrap()).unwrap();
        let paths: Vec<_> = issues.iter().map(|issue| issue["path"][0].as_str().unwrap()).collect();
        assert_eq!(paths, ["title", "type", "maxViewers", "scheduledAt"]);
        let hidden = json!({"title": "\u{202e}", "type": "video"});
        let (_, error) = served.mutate(Some(&host), "streaming.createSession", hidden).await;
        assert_eq!(error["data"]["reason"], "empty_title");
        for _ in 0..10 {
            served.session(&host).await;
        }
        let one_more = served.mutate(Some(&host), "streaming.createSession", json!({"title": "11", "type": "video"}));
        assert_eq!(refused(one_more.await), (409, "CONFLICT".into()));
    }

    async fn join_session_gives_a_ticket_and_the_addresses(db: TestDatabase) {
        let served = Served::on(db).await;
        let (host, fan) = (served.person("host").await, served.person("fan").await);
        let id = served.session(&host).await;
        let join = async |by, input| served.mutate(by, "streaming.joinSession", input).await;
        let (status, answer) = join(None, json!({"sessionId": id})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["playbackUrl"], format!("http://127.0.0.1:3000/hls/{id}/index.m3u8"));
        assert_eq!(answer["chatEndpoint"], "ws://127.0.0.1:3000/ws");
        let viewer = &answer["viewerSession"];
        assert_eq!((&viewer["sessionId"], &viewer["role"]), (&json!(id), &json!("viewer")));
        assert!(viewer["userId"].as_str().unwrap().starts_with("guest_"));
        let none = json!({"canChat": false, "canSendGifts": false, "canRequestCoHost": false, "canModerate": false});
        assert_eq!(viewer["permissions"], none);
        let (_, answer) = join(Some(&fan), json!({"sessionId": id, "role": "viewer"})).await;
        assert_eq!(answer["viewerSession"]["userId"], json!(fan.user.user_id));
        let co_host = json!({"sessionId": id, "role": "co-host"});
        assert_eq!(refused(join(Some(&fan), co_host.clone()).await), (403, "FORBIDDEN".into()));
        assert_eq!(join(Some(&host), co_host).await.1["viewerSession"]["permissions"]["canModerate"], true);
        assert_eq!(refused(join(None, json!({"sessionId": ""})).await), (404, "NOT_FOUND".into()));
    }

    async fn list_shows_live_sessions_without_their_secrets(db: TestDatabase) {
        let served = Served::on(db).await;
        let host = served.person("host").await;
        let list = async |input| served.query(None, "streaming.getActiveSessions", input).await;
        assert_eq!(list(json!({})).await.1, json!({"sessions": [], "total": 0, "hasMore": false}));
        let mut ids = Vec::new();
        for _ in 0..3 {
            let id = served.session(&host).await;
            go_live(&served, &id).await;
            ids.push(id);
        }
        let (status, answer) = list(json!({"type": "video", "limit": 2})).await;
        assert_eq!((status, &answer["total"], &answer["hasMore"]), (StatusCode::OK, &json!(3), &json!(true)));
        let item = &answer["sessions"][0];
        assert_eq!((&item["id"], &item["isLive"], &item["hostName"]), (&json!(ids[2]), &json!(true), &json!("host")));
        assert!(item["startedAt"].is_string());
        for secret in ["chobi_sk_", "streamKey", "rtmpUrl", "playbackUrl"] {
            assert!(!answer.to_string().contains(secret), "{secret}");
        }
        let (_, rest) = list(json!({"offset": 2, "limit": 2})).await;
        assert_eq!((rest["sessions"].as_array().unwrap().len(), &rest["hasMore"]), (1, &json!(false)));
        assert_eq!(list(json!({"type": "audio"})).await.1["total"], 0);
        assert_eq!(refused(list(json!({"limit": 51})).await), (400, "BAD_REQUEST".into()));
        assert_eq!(refused(list(Value::Null).await), (400, "BAD_REQUEST".into()));
    }

    async fn a_session_is_found_by_its_id_in_every_state(db: TestDatabase) {
        let served = Served::on(db).await;
        let host = served.person("host").await;
        let id = served.session(&host).await;
        let find = async |id: &str| served.query(None, "streaming.getSession", json!({"sessionId": id})).await;
        let (_, waiting) = find(&id).await;
        assert_eq!((&waiting["status"], &waiting["session"]["isLive"]), (&json!("waiting"), &json!(false)));
        assert_eq!((&waiting["session"]["id"], &waiting["session"]["hostName"]), (&json!(id), &json!("host")));
        go_live(&served, &id).await;
        let (_, live) = find(&id).await;
        assert_eq!((&live["status"], &live["isInterrupted"]), (&json!("live"), &json!(false)));
        end(&served, Some(&host), &id).await;
        let (_, ended) = find(&id).await;
        assert_eq!((&ended["status"], &ended["session"]["isLive"]), (&json!("ended"), &json!(false)));
        for secret in ["chobi_sk_", "streamKey", "rtmpUrl"] {
            assert!(!live.to_string().contains(secret), "{secret}");
        }
        assert_eq!(refused(find("session_unknown").await), (404, "NOT_FOUND".into()));
    }

    async fn the_picture_of_a_show_is_told_from_the_first_that_media_made(db: TestDatabase) {
        let served = Served::on(db).await;
        let host = served.person("host").await;
        let id = served.session(&host).await;
        let closed = json!({"title": "Among us", "type": "video", "isPrivate": true});
        let (_, closed) = served.mutate(Some(&host), "streaming.createSession", closed).await;
        let closed = closed["session"]["id"].as_str().unwrap().to_owned();
        let shown = async |id: &str| {
            let (_, list) = served.query(Some(&host), "streaming.getActiveSessions", json!({})).await;
            let item = list["sessions"].as_array().unwrap().iter().find(|item| item["id"] == id).cloned();
            let (_, found) = served.query(Some(&host), "streaming.getSession", json!({"sessionId": id})).await;
            let listed = item.map(|item| item.get("thumbnail").cloned().unwrap_or_default());
            (listed, found["session"].get("thumbnail").cloned().unwrap_or_default())
        };
        let made = async |id: &str| {
            let session_id = SessionId::parse(id).unwrap();
            served.control.ingress().tell(LiveFact::ThumbnailMade { session_id: session_id.clone() }).await;
            served.control.ingress().settle(&session_id).await;
        };
        let picture = json!(format!("http://127.0.0.1:3000/hls/{id}/thumbnail.jpg"));
        for id in [&id, &closed] {
            go_live(&served, id).await;
            assert_eq!(shown(id).await, (Some(Value::Null), Value::Null));
            made(id).await;
            made(id).await;
        }
        assert_eq!(shown(&id).await, (Some(picture.clone()), picture.clone()));
        assert_eq!(shown(&closed).await, (Some(Value::Null), Value::Null), "media shows it for a ticket only");
        for id in [&id, &closed] {
            end(&served, Some(&host), id).await;
        }
        assert_eq!(shown(&id).await, (None, picture), "the poster of its replay");
        assert_eq!(shown(&closed).await, (None, Value::Null));
    }

    async fn host_finds_what_goes_on_and_nobody_elses(db: TestDatabase) {
        let served = Served::on(db).await;
        let (host, other) = (served.person("host").await, served.person("other").await);
        let mine = async |by| served.query(by, "streaming.getMySessions", Value::Null).await;
        assert_eq!(refused(mine(None).await), (401, "UNAUTHORIZED".into()));
        assert_eq!(mine(Some(&host)).await.1, json!({"sessions": []}));
        let (waiting, over, live) = (
            served.session(&host).await,
            served.session(&host).await,
            served.session(&host).await,
        );
        served.session(&other).await;
        go_live(&served, &live).await;
        end(&served, Some(&host), &over).await;
        let (status, answer) = mine(Some(&host)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let sessions: Vec<_> = answer["sessions"].as_array().unwrap().iter().map(|s| (&s["id"], &s["status"])).collect();
        assert_eq!(sessions, [(&json!(live), &json!("live")), (&json!(waiting), &json!("waiting"))]);
        assert!(answer["sessions"][0]["startedAt"].is_string() && answer["sessions"][1].get("startedAt").is_none());
        for secret in ["chobi_sk_", "streamKey"] {
            assert!(!answer.to_string().contains(secret), "{secret}");
        }
    }

    async fn lost_stream_key_is_replaced_for_the_host_alone(db: TestDatabase) {
        let served = Served::on(db).await;
        let (host, fan) = (served.person("host").await, served.person("fan").await);
        let made = served.mutate(Some(&host), "streaming.createSession", json!({"title": "t", "type": "video"})).await.1;
        let id = made["session"]["id"].as_str().unwrap();
        let rotate = async |by, id| served.mutate(by, "streaming.rotateStreamKey", json!({"sessionId": id})).await;
        let publish = async |key: &Value| {
            let key = Secret::new(key.as_str().unwrap());
            let attempt = PublishAttempt { session_hint: None, key, protocol: "test" };
            served.control.admission().admit_publisher(attempt).await.map(|permit| permit.session_id.to_string())
        };
        assert_eq!(refused(rotate(None, id).await), (401, "UNAUTHORIZED".into()));
        assert_eq!(refused(rotate(Some(&fan), id).await), (403, "FORBIDDEN".into()));
        assert_eq!(refused(rotate(Some(&host), "session_x").await), (404, "NOT_FOUND".into()));
        assert_eq!(publish(&made["session"]["streamKey"]).await, Ok(id.to_owned()), "refusals leave the key alone");

        let (status, answer) = rotate(Some(&host), id).await;
        assert_eq!((status, &answer["sessionId"]), (StatusCode::OK, &json!(id)), "{answer}");
        assert_eq!(answer["rtmpUrl"], "rtmp://127.0.0.1:1935/live");
        assert_eq!(publish(&answer["streamKey"]).await, Ok(id.to_owned()));
        assert_eq!(publish(&made["session"]["streamKey"]).await, Err(PublishRefusal::BadKey));

        end(&served, Some(&host), id).await;
        assert_eq!(refused(rotate(Some(&host), id).await), (404, "NOT_FOUND".into()));
    }

    async fn end_session_is_for_the_host_and_may_be_repeated(db: TestDatabase) {
        let served = Served::on(db).await;
        let (host, fan) = (served.person("host").await, served.person("fan").await);
        let id = served.session(&host).await;
        go_live(&served, &id).await;
        assert_eq!(refused(end(&served, None, &id).await), (401, "UNAUTHORIZED".into()));
        assert_eq!(refused(end(&served, Some(&fan), &id).await), (403, "FORBIDDEN".into()));
        assert_eq!(refused(end(&served, Some(&host), "session_x").await), (404, "NOT_FOUND".into()));
        let (status, answer) = end(&served, Some(&host), &id).await;
        assert_eq!((status, &answer["success"]), (StatusCode::OK, &json!(true)));
        assert_eq!(answer["stats"]["totalMessages"], 0);
        assert_eq!(end(&served, Some(&host), &id).await.1["stats"], answer["stats"]);
        let join = served.mutate(None, "streaming.joinSession", json!({"sessionId": id})).await;
        assert_eq!(refused(join), (404, "NOT_FOUND".into()));
    }

    async fn chat_follows_the_session(db: TestDatabase) {
        let served = Served::on(db).await;
        let (host, fan) = (served.person("host").await, served.person("fan").await);
        let id = served.session(&host).await;
        let send = async |by, input| served.mutate(by, "chat.sendMessage", input).await;
        let hello = json!({"sessionId": id, "message": "hello"});
        assert_eq!(refused(send(None, hello.clone()).await), (401, "UNAUTHORIZED".into()));
        let rose = json!({"sessionId": id, "message": "🌹", "type": "gift", "giftId": "gift_rose"});
        assert_eq!(refused(send(Some(&fan), rose).await), (403, "FORBIDDEN".into()));
        let elsewhere = json!({"sessionId": "session_x", "message": "hello"});
        assert_eq!(refused(send(Some(&fan), elsewhere).await), (404, "NOT_FOUND".into()));
        let long = json!({"sessionId": id, "message": "🌹".repeat(501)});
        assert_eq!(refused(send(Some(&fan), long).await), (400, "BAD_REQUEST".into()));
        for _ in 0..3 {
            assert_eq!(send(Some(&fan), hello.clone()).await.0, StatusCode::OK);
        }
        assert_eq!(refused(send(Some(&fan), hello.clone()).await), (429, "TOO_MANY_REQUESTS".into()));
        end(&served, Some(&host), &id).await;
        assert_eq!(refused(send(Some(&host), hello).await), (403, "FORBIDDEN".into()));
        let (_, page) = served.query(None, "chat.getMessages", json!({"sessionId": id, "limit": 2})).await;
        assert_eq!((page["messages"].as_array().unwrap().len(), &page["hasMore"]), (2, &json!(true)));
    }
}

#[tokio::test]
async fn show_survives_a_restart_of_the_server() {
    let db = TestDatabase::sqlite().await;
    let served = Served::on(db).await;
    let host = served.person("host").await;
    let id = served.session(&host).await;
    go_live(&served, &id).await;
    served.session(&host).await;
    let hello = json!({"sessionId": id, "message": "before"});
    served.mutate(Some(&host), "chat.sendMessage", hello).await;
    let again = served.restart().await;
    let resumable = again.control.resumable_sessions().await;
    assert_eq!(resumable.iter().map(SessionId::as_str).collect::<Vec<_>>(), [id.as_str()]);
    go_live(&again, &id).await;
    let (_, list) = again.query(None, "streaming.getActiveSessions", json!({})).await;
    assert_eq!((&list["sessions"][0]["id"], &list["total"]), (&json!(id), &json!(1)));
    let (_, page) = again.query(None, "chat.getMessages", json!({"sessionId": id})).await;
    assert_eq!(page["messages"][0]["message"], "before");
    assert_eq!(end(&again, Some(&host), &id).await.1["stats"]["totalMessages"], 1, "and the token still holds");
}
