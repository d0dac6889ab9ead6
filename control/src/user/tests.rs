//! Profiles, as their owner and others see them.

use std::time::Duration;

use super::*;
use crate::both_engines;
use crate::caller::{Caller, Identity, Language, UserIdentity};
use crate::clock::{Clock, Timestamp};
use crate::db::statements;
use crate::error::Code;
use crate::id::{LoginId, UserId};
use crate::testing::TestDatabase;
use crate::testing::stage::guest;

statements! {
    SET_PREFERENCES = "update app_user set preferences = $2 where user_id = $1";
}

const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

fn new_user(name: &str) -> NewUser {
    NewUser {
        name: DisplayName::parse(name).unwrap(),
        username: Username::parse(name).unwrap(),
        email: Email::parse(&format!("{name}@Example.com")).unwrap(),
        password_hash: "hash".to_owned(),
        language: Language::Arabic,
    }
}

async fn add(db: &TestDatabase, new: &NewUser) -> Result<User, crate::error::Error> {
    let mut tx = db.begin().await.unwrap();
    let user = create(&mut tx, new, START).await?;
    tx.commit().await.unwrap();
    Ok(user)
}

fn signed_in(user_id: &UserId) -> Caller {
    let user_id = user_id.clone();
    let identity = Identity::User(UserIdentity { user_id, login_id: LoginId::generate(), language: Language::Arabic });
    Caller { identity, ..guest() }
}

both_engines! {
    async fn an_address_and_a_name_are_taken_once(db: TestDatabase) {
        add(&db, &new_user("sara")).await.unwrap();
        let same_address = NewUser { username: Username::parse("other").unwrap(), ..new_user("SARA") };
        assert_eq!(add(&db, &same_address).await.unwrap_err().reason(), Some("email_taken"));
        assert_eq!(add(&db, &new_user("sara")).await.unwrap_err().reason(), Some("email_taken"), "when both are");
        let same_name = NewUser { email: Email::parse("else@example.com").unwrap(), ..new_user("sara") };
        let refused = add(&db, &same_name).await.unwrap_err();
        assert_eq!((refused.code(), refused.reason()), (Code::Conflict, Some("username_taken")));
    }

    async fn two_at_once_cannot_have_the_same_address(db: TestDatabase) {
        let register = |name: &'static str| {
            let database = (*db).clone();
            let new = NewUser { email: Email::parse("same@example.com").unwrap(), ..new_user(name) };
            tokio::spawn(async move {
                let mut tx = database.begin().await?;
                create(&mut tx, &new, START).await?;
                Ok::<_, crate::error::Error>(tx.commit().await?)
            })
        };
        let mut outcomes = Vec::new();
        for racing in ["sara", "lina", "noor", "maya"].map(register) {
            outcomes.push(racing.await.unwrap());
        }
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert!(outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).all(|error| error.reason() == Some("email_taken")));
    }

    async fn what_was_stored_comes_back(db: TestDatabase) {
        let made = add(&db, &new_user("sara")).await.unwrap();
        let found = find(&mut db.reader().await.unwrap(), &made.id).await.unwrap().unwrap();
        assert_eq!(found.username.as_str(), "sara");
        assert_eq!((found.email.as_typed(), found.email.folded()), ("sara@Example.com", "sara@example.com"));
        assert_eq!((found.level, found.created_at, found.is_verified), (1, START, false));
        let (by_address, hash) =
            credentials(&mut db.reader().await.unwrap(), &Email::parse("SARA@example.COM").unwrap())
                .await.unwrap().unwrap();
        assert_eq!((by_address.id, hash.as_str()), (made.id, "hash"));
    }

    async fn a_profile_is_whole_for_its_owner_and_neutral_for_others(db: TestDatabase) {
        let sara = add(&db, &new_user("sara")).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        let hidden = r#"{"theme":"light","privacy":{"showOnlineStatus":false,"showStats":false}}"#;
        SET_PREFERENCES.on(&mut tx).bind(&sara.id).bind(hidden).execute().await.unwrap();
        tx.commit().await.unwrap();
        let clock = Clock::standing(START);
        let users = Users::new(db.clone(), clock.clone());

        let own = users.profile(&signed_in(&sara.id), None).await.unwrap();
        assert!(own.is_own && own.is_online);
        let other = users.profile(&guest(), Some(sara.id.as_str())).await.unwrap();
        assert!(!other.is_own && !other.is_online, "the owner hides it");
        let named = users.profile(&signed_in(&sara.id), Some(sara.id.as_str())).await.unwrap();
        assert!(named.is_own);

        clock.advance(Duration::from_secs(3600));
        assert!(!users.profile(&signed_in(&sara.id), None).await.unwrap().is_online);
    }

    async fn who_is_not_there_is_not_found(db: TestDatabase) {
        let users = Users::new(db.clone(), Clock::standing(START));
        for id in ["", "nobody", UserId::generate().as_str()] {
            assert_eq!(users.profile(&guest(), Some(id)).await.unwrap_err().code(), Code::NotFound);
        }
        assert_eq!(users.profile(&guest(), None).await.unwrap_err().code(), Code::Unauthorized);
    }

    async fn being_seen_is_written_once_a_minute(db: TestDatabase) {
        let sara = add(&db, &new_user("sara")).await.unwrap();
        let at = async |after: u64| {
            let mut tx = db.begin().await.unwrap();
            seen(&mut tx, &sara.id, START.plus(Duration::from_secs(after))).await.unwrap();
            tx.commit().await.unwrap();
            find(&mut db.reader().await.unwrap(), &sara.id).await.unwrap().unwrap().last_active_at
        };
        assert_eq!(at(30).await, START);
        assert_eq!(at(90).await, START.plus(Duration::from_secs(90)));
        assert_eq!(at(60).await, START.plus(Duration::from_secs(90)), "never backwards");
    }
}
