//! `coHosts.*` as the app calls it, and what the room hears of it.

use http::StatusCode;
use serde_json::{Value, json};

use crate::admission::{PublishAttempt, PublishPermit, PublishRefusal};
use crate::both_engines;
use crate::id::{SessionId, UserId};
use crate::presence::LiveFact;
use crate::secret::Secret;
use crate::testing::TestDatabase;
use crate::testing::served::{Client, Person, Served};

async fn call(served: &Served, by: &Person, name: &str, input: Value) -> Value {
    let (status, answer) = served.mutate(Some(by), &format!("coHosts.{name}"), input).await;
    assert_eq!(status, StatusCode::OK, "{name}: {answer}");
    answer
}

async fn refused(served: &Served, by: &Person, path: &str, input: Value) -> (String, String) {
    let (status, error) = served.mutate(Some(by), path, input).await;
    assert_ne!(status, StatusCode::OK, "{path}: {error}");
    let text = |key: &str| error["data"][key].as_str().unwrap_or_default().to_owned();
    (text("code"), text("reason"))
}

async fn publish(served: &Served, ticket: &Value, hint: Option<&str>) -> Result<PublishPermit, PublishRefusal> {
    let key = Secret::new(ticket.as_str().expect("a ticket"));
    let attempt = PublishAttempt { session_hint: hint.map(str::to_owned), key, protocol: "whip" };
    served.control.admission().admit_publisher(attempt).await
}

/// A signed-in socket in the room.
async fn seat(served: &Served, person: &Person, id: &str) -> Client {
    let mut client = served.socket("/ws").await;
    client.sign_in(person).await;
    client.join(id).await;
    client
}

both_engines! {
    async fn from_the_request_to_the_removal(db: TestDatabase) {
        let served = Served::on(db).await;
        let (host, fan) = (served.person("host").await, served.person("fan").await);
        let id = served.session(&host).await;
        let own = json!({"sessionId": id});
        let theirs = json!({"sessionId": id, "userId": fan.user.user_id});
        let broadcast = format!("{id}-{}", fan.user.user_id);
        let join = json!({"sessionId": id, "role": "co-host"});
        let overview = async |by| served.query(by, "coHosts.getCoHosts", own.clone()).await.1;
        let mut room = served.socket("/ws").await;
        room.join(&id).await;

        let asked = call(&served, &fan, "request", own.clone()).await;
        assert_eq!((&asked["success"], &asked["state"]), (&json!(true), &json!("requested")));
        assert!(asked["message"].is_string());
        let seen = overview(Some(&host)).await;
        assert_eq!((&seen["requests"][0]["userId"], &seen["invitations"]), (&json!(fan.user.user_id), &json!([])));
        assert!(seen["requests"][0]["since"].is_string() && seen.get("ownState").is_none());
        assert_eq!(overview(Some(&fan)).await, json!({"coHosts": [], "ownState": "requested"}));
        assert_eq!(overview(None).await, json!({"coHosts": []}));
        let not_approved = ("FORBIDDEN".to_owned(), "not_approved".to_owned());
        assert_eq!(refused(&served, &fan, "streaming.joinSession", join.clone()).await, not_approved);

        assert_eq!(call(&served, &host, "approve", theirs.clone()).await["state"], "approved");
        let card = json!({
            "userId": fan.user.user_id, "name": "fan", "avatar": "https://cdn.test/fan.png",
            "isLive": false, "isMuted": false, "mute": "open", "broadcastId": broadcast,
        });
        let frame = room.hear().await;
        assert_eq!((&frame["type"], &frame["data"]), (&json!("co_hosts"), &json!({"coHosts": [card]})));
        assert_eq!(overview(None).await, frame["data"]);

        let (status, joined) = served.mutate(Some(&fan), "streaming.joinSession", join.clone()).await;
        assert_eq!(status, StatusCode::OK, "{joined}");
        let viewer = &joined["viewerSession"];
        let may = json!({"canChat": true, "canSendGifts": true, "canRequestCoHost": false, "canModerate": true});
        assert_eq!((&viewer["role"], &viewer["permissions"]), (&json!("co-host"), &may));
        let ticket = &viewer["token"];
        let permit = publish(&served, ticket, None).await.unwrap();
        assert_eq!((permit.broadcast().to_string(), permit.publisher()), (broadcast.clone(), &fan.user.user_id));
        assert!(!permit.co_host.unwrap().is_muted);

        let (session_id, user_id) = (SessionId::parse(&id).unwrap(), fan.user.user_id.clone());
        let at = std::time::SystemTime::now();
        served.control.ingress().tell(LiveFact::CoHostLive { session_id, user_id, at }).await;
        assert_eq!(room.hear().await["data"]["coHosts"][0]["isLive"], true);

        let silence = json!({"sessionId": id, "userId": fan.user.user_id, "muted": true});
        let muted = call(&served, &host, "mute", silence.clone()).await;
        assert_eq!((&muted["isMuted"], &muted["mute"]), (&json!(true), &json!("host")));
        let told = &room.hear().await["data"]["coHosts"][0];
        assert_eq!((&told["isMuted"], &told["mute"], &told["isLive"]), (&json!(true), &json!("host"), &json!(true)));
        let unmute = json!({"sessionId": id, "userId": fan.user.user_id, "muted": false});
        let by_host = ("FORBIDDEN".to_owned(), "muted_by_host".to_owned());
        assert_eq!(refused(&served, &fan, "coHosts.mute", unmute).await, by_host);
        assert!(publish(&served, ticket, Some(&broadcast)).await.unwrap().co_host.unwrap().is_muted, "a new publisher");

        assert_eq!(call(&served, &host, "remove", theirs.clone()).await["state"], "removed");
        assert_eq!(room.hear().await["data"], json!({"coHosts": []}));
        let ended: Vec<(SessionId, UserId)> = served.plane.co_hosts_ended.lock().clone();
        assert_eq!(ended, [(SessionId::parse(&id).unwrap(), fan.user.user_id.clone())]);
        assert_eq!(publish(&served, ticket, None).await, Err(PublishRefusal::Forbidden));
        assert_eq!(refused(&served, &fan, "streaming.joinSession", join).await, not_approved);
        let removed = ("FORBIDDEN".to_owned(), "removed_by_host".to_owned());
        assert_eq!(refused(&served, &fan, "coHosts.request", own).await, removed);
    }

    async fn personal_frames_reach_only_whom_they_are_for(db: TestDatabase) {
        let served = Served::on(db).await;
        let (host, fan, other) = (served.person("host").await, served.person("fan").await, served.person("other").await);
        let id = served.session(&host).await;
        let own = json!({"sessionId": id});
        let theirs = json!({"sessionId": id, "userId": fan.user.user_id});
        let (mut at_host, mut at_fan) = (seat(&served, &host, &id).await, seat(&served, &fan, &id).await);
        let (mut at_other, mut at_guest) = (seat(&served, &other, &id).await, served.socket("/ws").await);
        at_guest.join(&id).await;

        call(&served, &fan, "request", own.clone()).await;
        let frame = at_host.hear().await;
        assert_eq!((&frame["type"], &frame["userId"]), (&json!("co_host_requested"), &json!(fan.user.user_id)));
        assert_eq!((&frame["data"]["name"], &frame["data"]["since"]), (&json!("fan"), &frame["timestamp"]));
        for client in [&mut at_fan, &mut at_other, &mut at_guest] {
            client.expect_quiet().await;
        }

        call(&served, &host, "decline", theirs.clone()).await;
        let frame = at_fan.hear().await;
        assert_eq!((&frame["type"], &frame["data"]), (&json!("co_host_declined"), &json!({"userId": fan.user.user_id})));
        for client in [&mut at_host, &mut at_other, &mut at_guest] {
            client.expect_quiet().await;
        }

        call(&served, &host, "invite", theirs).await;
        let frame = at_fan.hear().await;
        assert_eq!((&frame["type"], &frame["data"]["userId"]), (&json!("co_host_invited"), &json!(host.user.user_id)));
        for client in [&mut at_host, &mut at_other, &mut at_guest] {
            client.expect_quiet().await;
        }

        call(&served, &fan, "decline", own.clone()).await;
        let frame = at_host.hear().await;
        assert_eq!((&frame["type"], &frame["userId"]), (&json!("co_host_declined"), &json!(fan.user.user_id)));
        for client in [&mut at_fan, &mut at_other, &mut at_guest] {
            client.expect_quiet().await;
        }

        call(&served, &host, "invite", json!({"sessionId": id, "userId": other.user.user_id})).await;
        assert_eq!(at_other.hear().await["type"], "co_host_invited");
        call(&served, &other, "accept", own).await;
        for client in [&mut at_host, &mut at_fan, &mut at_other, &mut at_guest] {
            let frame = client.hear().await;
            assert_eq!(frame["type"], "co_hosts");
            assert_eq!(frame["data"]["coHosts"][0]["userId"], other.user.user_id.as_str());
        }
    }
}

/// A private session of `host` that is live, and `fan` a co-host of it.
async fn among_us(served: &Served, host: &Person, fan: &Person) -> String {
    let input = json!({"title": "Among us", "type": "video", "isPrivate": true});
    let (status, created) = served.mutate(Some(host), "streaming.createSession", input).await;
    assert_eq!(status, StatusCode::OK, "{created}");
    let id = created["session"]["id"].as_str().unwrap().to_owned();
    let (session_id, at) = (SessionId::parse(&id).unwrap(), std::time::SystemTime::now());
    served.control.ingress().tell(LiveFact::WentLive { session_id, at }).await;
    call(served, host, "invite", json!({"sessionId": id, "userId": fan.user.user_id})).await;
    call(served, fan, "accept", json!({"sessionId": id})).await;
    id
}

both_engines! {
    async fn removed_from_a_private_session_hears_no_more_of_its_room(db: TestDatabase) {
        let served = Served::on(db).await;
        let (host, fan, other) = (served.person("host").await, served.person("fan").await, served.person("other").await);
        let id = among_us(&served, &host, &fan).await;
        call(&served, &host, "invite", json!({"sessionId": id, "userId": other.user.user_id})).await;
        let (_, joined) = served.mutate(Some(&fan), "streaming.joinSession", json!({"sessionId": id})).await;
        let ticket = joined["viewerSession"]["token"].as_str().unwrap().to_owned();
        let by_ticket = json!({"type": "join_session", "sessionId": id, "ticket": ticket});
        let (mut own, mut bearing) = (seat(&served, &fan, &id).await, served.socket("/ws").await);
        bearing.say(by_ticket.clone()).await;
        bearing.hear_type("session_joined").await;
        let (mut at_host, mut at_other) = (seat(&served, &host, &id).await, seat(&served, &other, &id).await);

        call(&served, &host, "remove", json!({"sessionId": id, "userId": fan.user.user_id})).await;
        for client in [&mut own, &mut bearing] {
            let told = client.hear_type("error").await;
            assert_eq!((&told["sessionId"], &told["data"]["reason"]), (&json!(id), &json!("private_session")));
        }
        let hello = json!({"sessionId": id, "message": "among us"});
        let (status, _) = served.mutate(Some(&host), "chat.sendMessage", hello).await;
        assert_eq!(status, StatusCode::OK);
        for client in [&mut at_host, &mut at_other] {
            client.hear_type("new_message").await;
        }
        for client in [&mut own, &mut bearing] {
            client.expect_quiet().await;
            client.say(by_ticket.clone()).await;
            assert_eq!(client.hear().await["data"]["reason"], "private_session", "and it stays so");
        }
        call(&served, &host, "invite", json!({"sessionId": id, "userId": fan.user.user_id})).await;
        own.join(&id).await;
    }
}

/// Tickets and passes outlive the server, and open the recording too.
#[tokio::test]
async fn after_a_restart_media_is_told_again_whom_private_sessions_and_their_replays_are_closed_to() {
    let served = Served::on(TestDatabase::sqlite().await).await;
    let (host, fan, other) = (served.person("host").await, served.person("fan").await, served.person("other").await);
    let live = among_us(&served, &host, &fan).await;
    call(&served, &host, "invite", json!({"sessionId": live, "userId": other.user.user_id})).await;
    call(&served, &host, "remove", json!({"sessionId": live, "userId": fan.user.user_id})).await;
    let over = among_us(&served, &host, &fan).await;
    call(&served, &host, "remove", json!({"sessionId": over, "userId": fan.user.user_id})).await;
    let (status, _) = served.mutate(Some(&host), "streaming.endSession", json!({"sessionId": over})).await;
    assert_eq!(status, StatusCode::OK);
    let again = served.restart().await;
    let told = async {
        while again.plane.ejected.lock().len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::testing::served::LIMIT, told).await.expect("two orders in time");
    let put_out = |id: &str| (SessionId::parse(id).unwrap(), fan.user.user_id.to_string(), true);
    let mut orders = again.plane.ejected.lock().clone();
    orders.sort();
    assert_eq!(orders, [put_out(&live), put_out(&over)]);
}

#[tokio::test]
async fn after_a_restart_co_hosts_are_seated_and_nobody_is_live() {
    let served = Served::on(TestDatabase::sqlite().await).await;
    let (host, fan) = (served.person("host").await, served.person("fan").await);
    let id = served.session(&host).await;
    let mut room = served.socket("/ws").await;
    room.join(&id).await;
    call(&served, &fan, "request", json!({"sessionId": id})).await;
    call(&served, &host, "approve", json!({"sessionId": id, "userId": fan.user.user_id})).await;
    room.hear_type("co_hosts").await;
    let (session_id, user_id) = (SessionId::parse(&id).unwrap(), fan.user.user_id.clone());
    let at = std::time::SystemTime::now();
    served.control.ingress().tell(LiveFact::CoHostLive { session_id, user_id, at }).await;
    assert_eq!(room.hear().await["data"]["coHosts"][0]["isLive"], true);
    drop(room);

    let again = served.restart().await;
    let (_, seen) = again.query(Some(&fan), "coHosts.getCoHosts", json!({"sessionId": id})).await;
    assert_eq!((&seen["coHosts"][0]["isLive"], &seen["ownState"]), (&json!(false), &json!("approved")));
}
