//! Stories of sockets, through a real listener and a real client.

use std::time::{Duration, SystemTime};

use futures_util::SinkExt;
use http::StatusCode;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::{Error as WireError, Message};
use tokio_tungstenite::{MaybeTlsStream, client_async, connect_async};

use super::log::{Class, Reach};
use crate::both_engines;
use crate::config::Rate;
use crate::id::SessionId;
use crate::presence::{LiveFact, Transport};
use crate::session::EndReason;
use crate::testing::TestDatabase;
use crate::testing::served::{Client, LIMIT, Served};

/// Waits until `holds`; a story that waits longer than the limit has failed.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let poll = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, poll).await.unwrap_or_else(|_| panic!("{what} never came true"));
}

both_engines! {
    async fn message_posted_over_http_reaches_every_socket(db: TestDatabase) {
        let served = Served::on(db).await;
        let (host, fan) = (served.person("host").await, served.person("fan").await);
        let id = served.session(&host).await;
        let (mut guest, mut signed_in) = (served.socket("/ws").await, served.socket("/ws").await);
        signed_in.sign_in(&fan).await;
        let joined = guest.join(&id).await;
        assert_eq!(joined["data"], json!({"viewerCount": 0, "status": "waiting", "recovered": false}));
        signed_in.join(&id).await;

        let input = json!({"sessionId": id, "message": "مرحبا 👋"});
        let (status, sent) = served.mutate(Some(&fan), "chat.sendMessage", input).await;
        assert_eq!(status, StatusCode::OK, "{sent}");
        for client in [&mut guest, &mut signed_in] {
            let frame = client.hear().await;
            assert_eq!((&frame["type"], &frame["sessionId"]), (&json!("new_message"), &json!(id)));
            assert_eq!(frame["data"], sent["message"], "the same object as the answer's");
        }
        let (_, page) = served.query(None, "chat.getMessages", json!({"sessionId": id})).await;
        assert_eq!(page, json!({"messages": [sent["message"]], "hasMore": false}));
    }

    async fn message_sent_on_a_socket_comes_back_to_its_author(db: TestDatabase) {
        let served = Served::on(db).await;
        let host = served.person("host").await;
        let id = served.session(&host).await;
        let mut client = served.socket("/ws").await;
        client.join(&id).await;
        let say = json!({"type": "send_message", "sessionId": id, "message": "hello", "clientMessageId": "1"});
        client.say(say.clone()).await;
        let refused = client.hear().await;
        assert_eq!((&refused["type"], &refused["data"]["code"]), (&json!("error"), &json!("UNAUTHORIZED")));

        client.sign_in(&host).await;
        client.say(say.clone()).await;
        let frame = client.hear_type("new_message").await;
        assert_eq!((&frame["data"]["message"], &frame["data"]["userName"]), (&json!("hello"), &json!("host")));
        client.say(say).await;
        client.expect_quiet().await;
    }

    async fn viewers_come_and_go_by_what_media_tells(db: TestDatabase) {
        let served = Served::on(db).await;
        let host = served.person("host").await;
        let id = served.session(&host).await;
        let session_id = SessionId::parse(&id).unwrap();
        let (mut client, ingress, at) = (served.socket("/ws").await, served.control.ingress(), SystemTime::now());
        client.join(&id).await;
        ingress.tell(LiveFact::WentLive { session_id: session_id.clone(), at }).await;
        assert_eq!(client.hear().await["data"], json!({"status": "live"}));
        let (viewer_id, transport) = ("viewer_1".to_owned(), Transport::Hls);
        let joined =
            LiveFact::ViewerJoined { session_id: session_id.clone(), viewer_id, identity: None, transport, at };
        ingress.tell(joined).await;
        let frame = client.hear().await;
        assert_eq!((&frame["type"], &frame["userId"]), (&json!("viewer_joined"), &json!("viewer_1")));
        assert_eq!(frame["data"], json!({"userId": "viewer_1", "viewerCount": 1}));
        assert_eq!(served.socket("/ws").await.join(&id).await["data"]["viewerCount"], 1);

        let watched = Duration::from_secs(3);
        ingress.tell(LiveFact::ViewerLeft { session_id, viewer_id: "viewer_1".into(), watched, at }).await;
        let frame = client.hear().await;
        assert_eq!(frame["type"], "viewer_left");
        assert_eq!(frame["data"], json!({"userId": "viewer_1", "viewerCount": 0}));
        client.expect_quiet().await;
    }

    async fn end_is_told_to_the_room_and_to_media(db: TestDatabase) {
        let served = Served::on(db).await;
        let host = served.person("host").await;
        let id = served.session(&host).await;
        let mut client = served.socket(&format!("/ws/{id}")).await;
        assert_eq!(client.hear().await["type"], "session_joined");
        let input = json!({"sessionId": id});
        let (status, answer) = served.mutate(Some(&host), "streaming.endSession", input.clone()).await;
        assert_eq!(status, StatusCode::OK);
        let frame = client.hear().await;
        assert_eq!((&frame["type"], &frame["data"]["sessionId"]), (&json!("session_ended"), &json!(id)));
        assert_eq!(frame["data"]["stats"], answer["stats"]);
        assert_eq!(frame["data"]["endedAt"], frame["timestamp"]);
        assert_eq!(*served.plane.ended.lock(), [(SessionId::parse(&id).unwrap(), EndReason::Host)]);
        let (_, again) = served.mutate(Some(&host), "streaming.endSession", input).await;
        assert_eq!(again["stats"], answer["stats"]);
        client.expect_quiet().await;
        assert_eq!(served.socket("/ws").await.join(&id).await["data"]["status"], "ended");
    }

    async fn private_room_opens_to_its_host_and_to_tickets(db: TestDatabase) {
        let served = Served::on(db).await;
        let (host, fan) = (served.person("host").await, served.person("fan").await);
        let input = json!({"title": "Hidden", "type": "video", "isPrivate": true});
        let (_, created) = served.mutate(Some(&host), "streaming.createSession", input).await;
        let id = created["session"]["id"].as_str().unwrap().to_owned();
        let join = json!({"type": "join_session", "sessionId": id});
        let mut client = served.socket("/ws").await;
        client.sign_in(&fan).await;
        client.say(join.clone()).await;
        let refused = client.hear().await;
        assert_eq!((&refused["data"]["code"], &refused["data"]["reason"]), (&json!("FORBIDDEN"), &json!("private_session")));
        client.say(json!({"type": "join_session", "sessionId": "session_nowhere"})).await;
        assert_eq!(client.hear().await["data"]["code"], "NOT_FOUND");

        let (_, joined) = served.mutate(Some(&host), "streaming.joinSession", json!({"sessionId": id})).await;
        let mut invited = join.clone();
        invited["token"] = joined["viewerSession"]["token"].clone();
        client.say(invited).await;
        assert_eq!(client.hear().await["type"], "session_joined");
        let ticket = joined["viewerSession"]["token"].as_str().unwrap();
        let mut by_address = served.socket(&format!("/ws/{id}?token={ticket}")).await;
        assert_eq!(by_address.hear().await["type"], "session_joined");
        let mut own = served.socket_bearing("/ws", &host.token).await;
        assert_eq!(own.hear().await["type"], "auth_ok");
        own.join(&id).await;
    }
}

#[test]
fn listening_socket_is_a_small_task() {
    fn size<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }
    let bytes = size(super::attend);
    assert!(bytes <= 3 * 1024, "{bytes} bytes for every socket");
}

#[tokio::test]
async fn tokens_sign_in_wherever_they_are_shown() {
    let served = Served::on(TestDatabase::sqlite().await).await;
    let fan = served.person("fan").await;
    let mut client = served.socket(&format!("/ws?token={}", fan.token.reveal())).await;
    let frame = client.hear().await;
    assert_eq!((&frame["type"], &frame["data"]["userId"]), (&json!("auth_ok"), &json!(fan.user.user_id)));
    assert_eq!(served.socket_bearing("/ws", &fan.token).await.hear().await["type"], "auth_ok");

    let mut client = served.socket("/ws?token=forged").await;
    assert_eq!(client.hear().await["type"], "auth_error");
    client.say(json!({"type": "auth", "token": "also.not.good"})).await;
    let refused = client.hear().await;
    assert_eq!((&refused["type"], &refused["data"]["code"]), (&json!("auth_error"), &json!("UNAUTHORIZED")));
    client.sign_in(&fan).await;
}

#[tokio::test]
async fn nonsense_is_ignored_and_the_socket_stays_open() {
    let served = Served::on(TestDatabase::sqlite().await).await;
    let mut client = served.socket("/ws").await;
    for junk in ["", "{", "[1]", r#"{"type":"dance"}"#, r#"{"type":"join_session"}"#, "PING"] {
        client.wire.send(Message::text(junk)).await.unwrap();
    }
    client.wire.send(Message::binary(vec![0, 159, 146, 150])).await.unwrap();
    client.expect_quiet().await;
}

#[tokio::test]
async fn frame_over_the_limit_closes_the_socket() {
    let served = Served::on(TestDatabase::sqlite().await).await;
    let mut client = served.socket("/ws").await;
    client.say(json!({"type": "ping", "padding": "x".repeat(16_000)})).await;
    assert_eq!(client.hear().await["data"]["type"], "pong");
    client.wire.send(Message::text("x".repeat(16 * 1024 + 1))).await.unwrap();
    assert_eq!(client.closed().await, 1009);
}

#[tokio::test]
async fn who_left_hears_no_more() {
    let served = Served::on(TestDatabase::sqlite().await).await;
    let host = served.person("host").await;
    let id = served.session(&host).await;
    let (mut gone, mut stays) = (served.socket("/ws").await, served.socket("/ws").await);
    gone.join(&id).await;
    stays.join(&id).await;
    gone.say(json!({"type": "leave_session", "sessionId": id})).await;
    gone.expect_quiet().await;
    served.mutate(Some(&host), "chat.sendMessage", json!({"sessionId": id, "message": "hello"})).await;
    stays.hear_type("new_message").await;
    gone.expect_quiet().await;
}

#[tokio::test]
async fn who_comes_back_is_given_what_was_missed() {
    let served = Served::on(TestDatabase::sqlite().await).await;
    let host = served.person("host").await;
    let id = served.session(&host).await;
    let send = async |text: &str| {
        let input = json!({"sessionId": id, "message": text});
        assert_eq!(served.mutate(Some(&host), "chat.sendMessage", input).await.0, StatusCode::OK);
    };
    let mut client = served.socket("/ws").await;
    client.join(&id).await;
    send("1").await;
    let seen = client.hear().await;
    let position = format!("{}.{}", seen["epoch"].as_str().unwrap(), seen["seq"]);
    drop(client);
    send("2").await;
    send("3").await;

    let mut client = served.socket("/ws").await;
    client.say(json!({"type": "join_session", "sessionId": id, "lastEventId": position})).await;
    let joined = client.hear().await;
    assert_eq!((&joined["type"], &joined["data"]["recovered"]), (&json!("session_joined"), &json!(true)));
    assert_eq!((&joined["epoch"], &joined["seq"]), (&seen["epoch"], &seen["seq"]));
    for expected in ["2", "3"] {
        assert_eq!(client.hear().await["data"]["message"], expected);
    }
    client.say(json!({"type": "join_session", "sessionId": id, "lastEventId": "00000000000000aa.1"})).await;
    assert_eq!(client.hear().await["data"]["recovered"], false, "a hole is never hidden");
    client.expect_quiet().await;
}

#[tokio::test]
async fn address_has_its_share_of_sockets_and_it_comes_back() {
    const SHARE: usize = 50;
    let served = Served::with(TestDatabase::sqlite().await, |config| config.ws.sockets_per_address = SHARE).await;
    let mut clients = Vec::new();
    for _ in 0..SHARE {
        clients.push(served.socket("/ws").await);
    }
    let Err(WireError::Http(refused)) = connect_async(served.url("/ws")).await else { panic!("expected a refusal") };
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    clients.pop();
    until("a place", || served.control.ws.sockets.len() < SHARE).await;
    served.socket("/ws").await.expect_quiet().await;
}

#[tokio::test]
async fn user_has_so_many_sockets() {
    let served = Served::with(TestDatabase::sqlite().await, |config| config.ws.sockets_per_user = 2).await;
    let fan = served.person("fan").await;
    let (mut first, mut second, mut third) =
        (served.socket("/ws").await, served.socket("/ws").await, served.socket("/ws").await);
    first.sign_in(&fan).await;
    second.sign_in(&fan).await;
    second.sign_in(&fan).await;
    third.say(json!({"type": "auth", "token": fan.token.reveal()})).await;
    assert_eq!(third.closed().await, 4009);
    let mut by_query = served.socket(&format!("/ws?token={}", fan.token.reveal())).await;
    assert_eq!(by_query.closed().await, 4009);
    first.expect_quiet().await;
}

#[tokio::test]
async fn socket_sits_in_so_many_rooms() {
    let served = Served::with(TestDatabase::sqlite().await, |config| config.ws.rooms_per_socket = 2).await;
    let host = served.person("host").await;
    let mut client = served.socket("/ws").await;
    let mut rooms = Vec::new();
    for _ in 0..3 {
        rooms.push(served.session(&host).await);
    }
    client.join(&rooms[0]).await;
    client.join(&rooms[1]).await;
    client.join(&rooms[1]).await;
    client.say(json!({"type": "join_session", "sessionId": rooms[2]})).await;
    assert_eq!(client.hear().await["data"]["reason"], "too_many_rooms");
    client.say(json!({"type": "leave_session", "sessionId": rooms[0]})).await;
    client.join(&rooms[2]).await;
}

#[tokio::test]
async fn commands_beyond_the_rate_are_refused_and_told_so() {
    let served = Served::on(TestDatabase::sqlite().await).await;
    let mut client = served.socket("/ws").await;
    for _ in 0..60 {
        client.say(json!({"type": "ping"})).await;
    }
    let refused = client.hear_type("error").await;
    assert_eq!(refused["data"]["code"], "TOO_MANY_REQUESTS");
}

#[tokio::test]
async fn silent_socket_is_closed() {
    let served = Served::with(TestDatabase::sqlite().await, |config| {
        config.ws.ping_interval = Duration::from_millis(200);
        config.ws.pong_timeout = Duration::from_secs(1);
    })
    .await;
    let mut answers = served.socket("/ws").await;
    let reading = tokio::spawn(async move { answers.closed().await });
    // Below the WebSocket nobody answers pings; what arrives there is read as bytes.
    let MaybeTlsStream::Plain(mut silent) = served.socket("/ws").await.wire.into_inner() else { panic!("no TLS here") };
    let mut heard = Vec::new();
    tokio::time::timeout(LIMIT, silent.read_to_end(&mut heard)).await.expect("an end in time").unwrap();
    let close_4000 = [0x88, 2 + 17, 0x0f, 0xa0];
    assert!(heard.windows(4).any(|bytes| bytes == close_4000), "{heard:x?}");
    assert!(!reading.is_finished(), "who answers stays");
    reading.abort();
}

#[tokio::test]
async fn slow_socket_is_closed_while_others_go_on() {
    let served = Served::with(TestDatabase::sqlite().await, |config| {
        config.ws.room_frames_max = 32;
        config.ws.write_timeout = LIMIT * 60;
    })
    .await;
    let host = served.person("host").await;
    let id = served.session(&host).await;
    let mut fast = served.socket("/ws").await;
    let mut slow = small_client(&served).await;
    fast.join(&id).await;
    slow.join(&id).await;

    // Far more than the kernel buffers for a small client and the room remembers. The fast one reads along.
    for _ in 0..400 {
        pump(&served, &id).await;
        fast.hear().await;
    }
    assert_eq!(slow.closed().await, 4008);
    fast.expect_quiet().await;
}

#[tokio::test]
async fn stuck_socket_is_given_up() {
    let served =
        Served::with(TestDatabase::sqlite().await, |config| config.ws.write_timeout = Duration::from_millis(200)).await;
    let host = served.person("host").await;
    let id = served.session(&host).await;
    let mut fast = served.socket("/ws").await;
    let mut stuck = small_client(&served).await;
    fast.join(&id).await;
    stuck.join(&id).await;
    for _ in 0..400 {
        pump(&served, &id).await;
        fast.hear().await;
    }
    until("the stuck socket to be gone", || served.control.ws.sockets.len() < 2).await;
    fast.expect_quiet().await;
}

#[tokio::test]
async fn restart_is_announced_to_every_socket() {
    let served = Served::on(TestDatabase::sqlite().await).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(served.socket("/ws").await);
    }
    let closing = clients.into_iter().map(|mut client| tokio::spawn(async move { client.closed().await }));
    let closing: Vec<_> = closing.collect();
    served.control.shutdown(Duration::from_secs(5)).await;
    for closed in closing {
        assert_eq!(closed.await.unwrap(), 4001);
    }
    assert!(served.control.readiness().await.is_err(), "the database is closed");
    let Err(WireError::Http(refused)) = connect_async(served.url("/ws")).await else { panic!("expected a refusal") };
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn crowd_hears_everything_in_order() {
    const CROWD: usize = 300;
    let served = Served::with(TestDatabase::sqlite().await, |config| {
        config.ws.sockets_per_address = CROWD;
        config.ws.handshakes = Rate::per_second(1000, 1000);
    })
    .await;
    let host = served.person("host").await;
    let id = served.session(&host).await;
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut client = served.socket("/ws").await;
        client.join(&id).await;
        crowd.push(client);
    }
    for n in 0..20 {
        let input = json!({"sessionId": id, "message": n.to_string()});
        assert_eq!(served.mutate(Some(&host), "chat.sendMessage", input).await.0, StatusCode::OK);
    }
    for client in &mut crowd {
        for n in 0..20 {
            let frame = client.hear().await;
            assert_eq!((&frame["data"]["message"], &frame["seq"]), (&json!(n.to_string()), &json!(n + 1)));
        }
    }
}

/// A client that can hold little, so that the server soon notices when it does not read.
async fn small_client(served: &Served) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let wire = MaybeTlsStream::Plain(socket.connect(served.address).await.unwrap());
    Client { wire: client_async(served.url("/ws"), wire).await.unwrap().0 }
}

/// One frame of 8 KiB to everybody in the room.
async fn pump(served: &Served, id: &str) {
    let session_id = SessionId::parse(id).unwrap();
    let text = json!({"type": "filler", "data": "x".repeat(8192)}).to_string();
    served.control.ws.rooms.say(&session_id, Class::Ordered, Reach::Everyone, text.into());
}
