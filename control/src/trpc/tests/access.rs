//! Every procedure against everybody who could call it. A new procedure without a row here fails.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::both_engines;
use crate::config::Rate;
use crate::secret::Secret;
use crate::testing::served::{Person, Served};
use crate::trpc::table::{Access, Kind};

/// What one procedure answers to each of [`ROLES`], on a private session of the host.
struct Row {
    path: &'static str,
    input: Json,
    answers: [&'static str; 4],
}

const ROLES: [&str; 4] = ["nobody", "somebody with a bad token", "a stranger", "the host"];

/// Ends the session, so it comes last.
fn rows(session: &str, host: &str, stranger: &str) -> Vec<Row> {
    let row = |path, input, answers| Row { path, input, answers };
    let everybody = ["OK"; 4];
    let users = ["UNAUTHORIZED", "UNAUTHORIZED", "OK", "OK"];
    let guests = ["FORBIDDEN", "FORBIDDEN", "FORBIDDEN", "OK"];
    vec![
        row("auth.login", json!({"email": "nobody@example.com", "password": "x"}), ["UNAUTHORIZED"; 4]),
        row("auth.logout", json!({"refreshToken": "unknown"}), everybody),
        row("auth.me", json!(null), users),
        row("auth.refresh", json!({"refreshToken": "unknown"}), ["UNAUTHORIZED"; 4]),
        row("auth.register", json!({"name": "n", "username": "x", "email": "x", "password": "x"}), ["BAD_REQUEST"; 4]),
        row("users.getProfile", json!({"userId": host}), everybody),
        row("streaming.createSession", json!({"title": "t", "type": "audio"}), users),
        row("streaming.getActiveSessions", json!({}), everybody),
        row("streaming.getMySessions", json!(null), users),
        row("streaming.getSession", json!({"sessionId": session}), guests),
        row("streaming.joinSession", json!({"sessionId": session}), guests),
        row("chat.getMessages", json!({"sessionId": session}), guests),
        row(
            "chat.sendMessage",
            json!({"sessionId": session, "message": "m"}),
            ["UNAUTHORIZED", "UNAUTHORIZED", "FORBIDDEN", "OK"],
        ),
        row(
            "streaming.rotateStreamKey",
            json!({"sessionId": session}),
            ["UNAUTHORIZED", "UNAUTHORIZED", "FORBIDDEN", "OK"],
        ),
        row("coHosts.getCoHosts", json!({"sessionId": session}), guests),
        row(
            "coHosts.request",
            json!({"sessionId": session}),
            ["UNAUTHORIZED", "UNAUTHORIZED", "FORBIDDEN", "FORBIDDEN"],
        ),
        row(
            "coHosts.invite",
            json!({"sessionId": session, "userId": stranger}),
            ["UNAUTHORIZED", "UNAUTHORIZED", "FORBIDDEN", "OK"],
        ),
        // From here on the stranger is invited.
        row("coHosts.accept", json!({"sessionId": session}), ["UNAUTHORIZED", "UNAUTHORIZED", "OK", "FORBIDDEN"]),
        row(
            "coHosts.approve",
            json!({"sessionId": session, "userId": stranger}),
            ["UNAUTHORIZED", "UNAUTHORIZED", "FORBIDDEN", "OK"],
        ),
        row(
            "coHosts.mute",
            json!({"sessionId": session, "userId": stranger, "muted": true}),
            ["UNAUTHORIZED", "UNAUTHORIZED", "OK", "OK"],
        ),
        row(
            "coHosts.decline",
            json!({"sessionId": session}),
            ["UNAUTHORIZED", "UNAUTHORIZED", "CONFLICT", "FORBIDDEN"],
        ),
        row(
            "coHosts.remove",
            json!({"sessionId": session, "userId": stranger}),
            ["UNAUTHORIZED", "UNAUTHORIZED", "FORBIDDEN", "OK"],
        ),
        row("coHosts.leave", json!({"sessionId": session}), ["UNAUTHORIZED", "UNAUTHORIZED", "FORBIDDEN", "FORBIDDEN"]),
        row("videos.getVideos", json!({}), everybody),
        row(
            "videos.deleteVideo",
            json!({"videoId": "unknown"}),
            ["UNAUTHORIZED", "UNAUTHORIZED", "NOT_FOUND", "NOT_FOUND"],
        ),
        row("videos.playVideo", json!({"sessionId": session}), ["NOT_FOUND"; 4]),
        row("videos.downloadVideo", json!({"sessionId": session}), ["NOT_FOUND"; 4]),
        row(
            "videos.updateVideo",
            json!({"videoId": "unknown", "allowDownload": true}),
            ["UNAUTHORIZED", "UNAUTHORIZED", "NOT_FOUND", "NOT_FOUND"],
        ),
        row("streaming.endSession", json!({"sessionId": session}), ["UNAUTHORIZED", "UNAUTHORIZED", "FORBIDDEN", "OK"]),
    ]
}

both_engines! {
    async fn everybody_gets_what_the_table_says(db: TestDatabase) {
        // One caller asks for everything there is within a second: more often than the defaults let anybody.
        let served = Served::with(db, |config| {
            let unhurried = Rate::per_second(1_000, 1_000);
            config.api.limits.user_mutations = unhurried;
            config.api.limits.anonymous = unhurried;
        })
        .await;
        let (host, stranger) = (served.person("host").await, served.person("stranger").await);
        let forged = Person { user: stranger.user.clone(), token: Secret::new("forged") };
        let private = json!({"title": "Behind a door", "type": "video", "isPrivate": true});
        let (_, created) = served.mutate(Some(&host), "streaming.createSession", private).await;
        let session = created["session"]["id"].as_str().unwrap();
        let rows = rows(session, host.user.user_id.as_str(), stranger.user.user_id.as_str());

        let table = served.control.table.clone();
        let known: BTreeSet<&str> = table.procedures().map(|procedure| procedure.path.as_str()).collect();
        assert_eq!(known, rows.iter().map(|row| row.path).collect(), "every procedure has its row");

        let mut wrong = Vec::new();
        for row in &rows {
            let procedure = table.find(row.path).unwrap();
            let closed = row.answers[0] == "UNAUTHORIZED" && row.answers[2] != "UNAUTHORIZED";
            assert_eq!(procedure.access == Access::SignedIn, closed, "{}", row.path);
            let callers = [None, Some(&forged), Some(&stranger), Some(&host)];
            for ((role, by), expected) in ROLES.iter().zip(callers).zip(row.answers) {
                let (status, answer) = match procedure.kind {
                    Kind::Query => served.query(by, row.path, row.input.clone()).await,
                    Kind::Mutation => served.mutate(by, row.path, row.input.clone()).await,
                };
                let code = if status == 200 { "OK" } else { answer["data"]["code"].as_str().unwrap_or_default() };
                if code != expected {
                    wrong.push(format!("{} by {role}: {code} instead of {expected}", row.path));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
