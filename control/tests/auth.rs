//! Accounts over the wire, as the app meets them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use chobi_control::both_engines;
use chobi_control::config::Rate;
use chobi_control::testing::TestDatabase;
use serde_json::{Value as Json, json};

use self::support::{Answer, Server, registration};

fn code(answer: Answer) -> String {
    answer.expect_err("a refusal")["data"]["code"].as_str().expect("a code").to_owned()
}

both_engines! {
    async fn a_new_user_holds_what_the_app_keeps(db: TestDatabase) {
        let server = Server::start(db).await;
        let reply = server.mutate("auth.register", registration("Sara_99"), None).await;
        let answer = reply.answer().unwrap();
        let user = &answer["user"];
        assert_eq!((&answer["success"], &user["username"]), (&json!(true), &json!("@sara_99")));
        assert_eq!((&user["name"], &user["email"]), (&json!("Sara_99"), &json!("Sara_99@example.com")));
        for (member, value) in [("avatar", json!("")), ("bio", json!("")), ("followers", json!(0)), ("posts", json!(0))] {
            assert_eq!(user[member], value, "{member}");
        }
        let dates = &reply.json()["result"]["data"]["meta"]["values"];
        assert_eq!(*dates, json!({"expiresAt": ["Date"]}), "joinedDate is kept as text by the app");
        assert!(user["joinedDate"].as_str().unwrap().ends_with('Z'));
        assert!(!reply.body.contains("argon2"));

        let token = answer["accessToken"].as_str().unwrap();
        let me = server.query("auth.me", json!(null), Some(token)).await.answer().unwrap();
        assert_eq!(me["user"], *user);
        let profile = server.query("users.getProfile", json!({}), Some(token)).await.answer().unwrap();
        assert_eq!(profile["isOwnProfile"], true);
        assert_eq!(profile["profile"]["preferences"]["language"], "en", "registered in English");
        let seen = server.query("users.getProfile", json!({"userId": user["id"]}), None).await.answer().unwrap();
        assert_eq!((&seen["isOwnProfile"], &seen["profile"]["currentStreamId"]), (&json!(false), &Json::Null));
        assert!(seen["profile"].get("email").is_none());
    }

    async fn a_login_can_be_kept_and_ended(db: TestDatabase) {
        let server = Server::start(db).await;
        server.user("sara").await;
        let credentials = json!({"email": " SARA@example.com", "password": "correct horse"});
        let login = server.mutate("auth.login", credentials, None).await.answer().unwrap();
        let refresh = json!({"refreshToken": login["refreshToken"]});
        // The expired access token a phone still sends must not stand in the way.
        let renewed = server.mutate("auth.refresh", refresh.clone(), Some("expired")).await.answer().unwrap();
        assert_ne!(renewed["refreshToken"], login["refreshToken"]);
        let token = renewed["accessToken"].as_str().unwrap();
        assert!(server.query("auth.me", json!(null), Some(token)).await.answer().is_ok());

        let logout = json!({"refreshToken": renewed["refreshToken"]});
        for _ in 0..2 {
            assert_eq!(server.mutate("auth.logout", logout.clone(), None).await.answer().unwrap(), json!({"success": true}));
        }
        assert_eq!(code(server.mutate("auth.refresh", logout, None).await.answer()), "UNAUTHORIZED");
    }

    async fn refusals_are_what_the_app_expects(db: TestDatabase) {
        let server = Server::start(db).await;
        server.user("sara").await;
        let register = async |change: Json| {
            let mut input = registration("other");
            input.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            server.mutate("auth.register", input, None).await.answer()
        };
        assert_eq!(code(register(json!({"email": "SARA@example.com"})).await), "CONFLICT");
        assert_eq!(code(register(json!({"username": "sara"})).await), "CONFLICT");
        for change in [
            json!({"name": ""}),
            json!({"name": "\u{202e}"}),
            json!({"name": "x".repeat(51)}),
            json!({"username": "@ab"}),
            json!({"username": "سارة"}),
            json!({"email": "sara"}),
            json!({"email": "a b@c.d"}),
            json!({"password": "12345"}),
            json!({"password": "x".repeat(129)}),
            json!({"password": null}),
        ] {
            let refused = register(change.clone()).await.expect_err("a refusal");
            assert_eq!(refused["data"]["code"], "BAD_REQUEST", "{change}");
            assert!(refused["message"].as_str().unwrap().starts_with("[\n  {\n"), "{change}: {refused}");
        }
        let wrong = json!({"email": "sara@example.com", "password": "wrong horse"});
        let unknown = json!({"email": "nobody@example.com", "password": "wrong horse"});
        let answers = [server.mutate("auth.login", wrong, None).await.body, server.mutate("auth.login", unknown, None).await.body];
        assert_eq!(answers[0], answers[1]);
        assert!(answers[0].contains("UNAUTHORIZED"));
    }

    async fn guessing_is_slowed_down(db: TestDatabase) {
        let server = Server::with(db, |config| {
            config.api.limits.login_account = Rate::every(Duration::from_secs(30), 3);
        })
        .await;
        server.user("sara").await;
        let guess = json!({"email": "sara@example.com", "password": "wrong horse"});
        for _ in 0..3 {
            assert_eq!(code(server.mutate("auth.login", guess.clone(), None).await.answer()), "UNAUTHORIZED");
        }
        let reply = server.mutate("auth.login", guess, None).await;
        assert_eq!(reply.status, 429);
        let wait: u64 = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=30).contains(&wait), "{wait}");
    }
}

#[tokio::test]
async fn a_restart_keeps_accounts_and_tokens() {
    let database = TestDatabase::sqlite().await;
    let (config, data_dir) = (database.config().clone(), database.data_dir().to_owned());
    let first = Server::start(database).await;
    let (token, _) = first.user("sara").await;
    first.control.shutdown(Duration::from_secs(5)).await;
    let again = Server::reopen(&config, &data_dir).await;
    assert!(again.query("auth.me", json!(null), Some(&token)).await.answer().is_ok());
}
