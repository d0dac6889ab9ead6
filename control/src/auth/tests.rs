//! Accounts and logins on both engines.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::model::{Credentials, Grant, Registration};
use super::*;
use crate::both_engines;
use crate::caller::{ClientAddress, Identity, Language, SignedIn};
use crate::clock::{Clock, Timestamp};
use crate::config::{AuthConfig, Rate, RateLimits};
use crate::db::statements;
use crate::error::{Code, Error};
use crate::secret::Secret;
use crate::testing::TestDatabase;
use crate::user::{DisplayName, Email, Username};

statements! {
    BAN = "update app_user set banned_at = 1 where email_folded = $1";
    END_REASON = "select end_reason from login";
    COUNT_TOKENS = "select count(*) as total from refresh_token";
}

struct Desk {
    auth: Auth,
    tokens: AccessTokens,
    clock: Clock,
}

impl Desk {
    fn at(db: &TestDatabase) -> Self {
        let free = Rate::per_second(100_000, 100_000);
        let limits = RateLimits { login_account: free, login_address: free, ..RateLimits::default() };
        Self::limited(db, RateLimits { register_address: free, refresh_login: free, ..limits })
    }

    fn limited(db: &TestDatabase, limits: RateLimits) -> Self {
        let clock = Clock::standing(Timestamp::from_unix_seconds(1_800_000_000));
        let key = TokenKey::from_secret(&Secret::new("a secret of thirty-two characters"), clock.clone());
        let tokens = AccessTokens::new(key, Duration::from_secs(3600));
        // The lowest costs argon2 allows: these tests are not about how slow it is.
        let config = AuthConfig { argon2_memory_kib: 8, argon2_passes: 1, ..AuthConfig::default() };
        let auth = Auth::new((*db).clone(), clock.clone(), tokens.clone(), &config, &limits);
        Self { auth, tokens, clock }
    }

    async fn register(&self, name: &str) -> Result<Grant, Error> {
        let new = Registration {
            name: DisplayName::parse(name).unwrap(),
            username: Username::parse(name).unwrap(),
            email: Email::parse(&format!("{name}@example.com")).unwrap(),
            password: Secret::new("correct horse"),
            language: Language::English,
        };
        self.auth.register(new, address(1)).await.map(|(_, grant)| grant)
    }

    async fn login(&self, email: &str, password: &str, from: ClientAddress) -> Result<Grant, Error> {
        let credentials = Credentials { email: Email::parse(email).unwrap(), password: Secret::new(password) };
        self.auth.login(credentials, from).await.map(|(_, grant)| grant)
    }

    async fn refresh(&self, token: &Secret) -> Result<Secret, Error> {
        self.auth.refresh(token).await.map(|grant| grant.refresh_token)
    }
}

fn address(last: u8) -> ClientAddress {
    ClientAddress::new([192, 0, 2, last].into())
}

async fn end_reason(db: &TestDatabase) -> Option<String> {
    END_REASON.on(&mut db.reader().await.unwrap()).one().await.unwrap().column("end_reason").unwrap()
}

both_engines! {
    async fn a_new_user_is_signed_in_and_can_come_back(db: TestDatabase) {
        let desk = Desk::at(&db);
        let first = desk.register("sara").await.unwrap();
        let identity = desk.tokens.verify(first.access_token.reveal()).unwrap();
        assert_eq!(identity.language, Language::English);
        assert_eq!(first.expires_at, desk.clock.now().plus(Duration::from_secs(3600)));
        let again = desk.login("SARA@example.com", "correct horse", address(1)).await.unwrap();
        let later = desk.tokens.verify(again.access_token.reveal()).unwrap();
        assert_eq!(later.user_id, identity.user_id);
        assert_ne!(later.login_id, identity.login_id, "each login is its own");
    }

    async fn wrong_password_and_unknown_address_are_one_answer(db: TestDatabase) {
        let desk = Desk::at(&db);
        desk.register("sara").await.unwrap();
        let wrong = desk.login("sara@example.com", "incorrect", address(1)).await.unwrap_err();
        let unknown = desk.login("nobody@example.com", "incorrect", address(1)).await.unwrap_err();
        assert_eq!(wrong.code(), Code::Unauthorized);
        assert_eq!(wrong.public(Language::English), unknown.public(Language::English));
        assert_eq!(wrong.reason(), unknown.reason());
    }

    async fn banned_users_stay_out_and_learn_it_only_with_the_password(db: TestDatabase) {
        let desk = Desk::at(&db);
        let before = desk.register("sara").await.unwrap();
        let mut tx = db.begin().await.unwrap();
        BAN.on(&mut tx).bind("sara@example.com").execute().await.unwrap();
        tx.commit().await.unwrap();
        let refused = desk.login("sara@example.com", "correct horse", address(1)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Forbidden);
        let guessing = desk.login("sara@example.com", "guess", address(1)).await.unwrap_err();
        assert_eq!(guessing.code(), Code::Unauthorized);
        assert_eq!(desk.refresh(&before.refresh_token).await.unwrap_err().code(), Code::Forbidden);
    }

    async fn a_lost_answer_logs_nobody_out(db: TestDatabase) {
        let desk = Desk::at(&db);
        let first = desk.register("sara").await.unwrap().refresh_token;
        let _lost = desk.refresh(&first).await.unwrap();
        let _lost_too = desk.refresh(&first).await.unwrap();
        let received = desk.refresh(&first).await.unwrap();
        let next = desk.refresh(&received).await.unwrap();
        desk.refresh(&next).await.unwrap();
        assert_eq!(end_reason(&db).await, None);
    }

    async fn a_replaced_token_that_comes_back_ends_the_login(db: TestDatabase) {
        let desk = Desk::at(&db);
        let first = desk.register("sara").await.unwrap().refresh_token;
        let second = desk.refresh(&first).await.unwrap();
        let third = desk.refresh(&second).await.unwrap();
        let stolen = desk.refresh(&first).await.unwrap_err();
        assert_eq!((stolen.code(), stolen.reason()), (Code::Unauthorized, Some("login_over")));
        assert_eq!(desk.refresh(&third).await.unwrap_err().reason(), Some("login_over"));
        assert_eq!(end_reason(&db).await.as_deref(), Some("reuse"));
    }

    async fn two_holders_of_one_token_cannot_both_go_on(db: TestDatabase) {
        let desk = Desk::at(&db);
        let shared = desk.register("sara").await.unwrap().refresh_token;
        let owners = desk.refresh(&shared).await.unwrap();
        let thiefs = desk.refresh(&shared).await.unwrap();
        let owners = desk.refresh(&owners).await.unwrap();
        assert!(desk.refresh(&thiefs).await.is_err());
        assert!(desk.refresh(&owners).await.is_err(), "both are out, the owner signs in again");
        assert_eq!(end_reason(&db).await.as_deref(), Some("reuse"));
    }

    async fn refreshes_at_the_same_time_all_succeed(db: TestDatabase) {
        let desk = Desk::at(&db);
        let token = desk.register("sara").await.unwrap().refresh_token;
        let racing = (0..8).map(|_| {
            let (auth, token) = (desk.auth.clone(), token.clone());
            tokio::spawn(async move { auth.refresh(&token).await.map(|grant| grant.refresh_token) })
        });
        let mut received = Vec::new();
        for refresh in racing.collect::<Vec<_>>() {
            received.push(refresh.await.unwrap().unwrap());
        }
        desk.refresh(received.last().unwrap()).await.unwrap();
        assert_eq!(end_reason(&db).await, None);
    }

    async fn asking_again_and_again_leaves_few_tokens(db: TestDatabase) {
        let desk = Desk::at(&db);
        let token = desk.register("sara").await.unwrap().refresh_token;
        for _ in 0..40 {
            desk.refresh(&token).await.unwrap();
        }
        let row = COUNT_TOKENS.on(&mut db.reader().await.unwrap()).one().await.unwrap();
        assert_eq!(row.column::<i64>("total").unwrap(), 1 + 8);
    }

    async fn a_login_that_was_not_used_for_a_month_is_over(db: TestDatabase) {
        let desk = Desk::at(&db);
        let token = desk.register("sara").await.unwrap().refresh_token;
        desk.clock.advance(Duration::from_secs(29 * 86_400));
        let token = desk.refresh(&token).await.unwrap();
        desk.clock.advance(Duration::from_secs(29 * 86_400));
        let token = desk.refresh(&token).await.unwrap();
        desk.clock.advance(Duration::from_secs(30 * 86_400));
        assert_eq!(desk.refresh(&token).await.unwrap_err().reason(), Some("login_over"));
    }

    async fn old_logins_are_forgotten_at_the_next(db: TestDatabase) {
        let desk = Desk::at(&db);
        desk.register("sara").await.unwrap();
        for days in [20, 11, 31] {
            desk.clock.advance(Duration::from_secs(days * 86_400));
            desk.login("sara@example.com", "correct horse", address(1)).await.unwrap();
        }
        let row = COUNT_TOKENS.on(&mut db.reader().await.unwrap()).one().await.unwrap();
        assert_eq!(row.column::<i64>("total").unwrap(), 1, "only the newest is less than a month old");
    }

    async fn leaving_ends_the_login_and_may_be_repeated(db: TestDatabase) {
        let desk = Desk::at(&db);
        let grant = desk.register("sara").await.unwrap();
        let other = desk.login("sara@example.com", "correct horse", address(1)).await.unwrap();
        for _ in 0..2 {
            desk.auth.logout(&Identity::Anonymous, Some(&grant.refresh_token)).await.unwrap();
        }
        assert!(desk.refresh(&grant.refresh_token).await.is_err());
        let identity = Identity::User(desk.tokens.verify(other.access_token.reveal()).unwrap());
        desk.auth.logout(&identity, None).await.unwrap();
        assert!(desk.refresh(&other.refresh_token).await.is_err());
        desk.auth.logout(&Identity::Rejected, None).await.unwrap();
        desk.auth.logout(&Identity::Anonymous, Some(&Secret::new("unknown"))).await.unwrap();
    }

    async fn me_is_who_the_database_says(db: TestDatabase) {
        let desk = Desk::at(&db);
        let grant = desk.register("sara").await.unwrap();
        let user = desk.tokens.verify(grant.access_token.reveal()).unwrap();
        let caller = |user_id| SignedIn {
            user_id, login_id: user.login_id.clone(), language: Language::English, address: address(1),
        };
        desk.clock.advance(Duration::from_secs(1000));
        assert_eq!(desk.auth.me(&caller(user.user_id.clone())).await.unwrap().display_name, "sara");
        assert_eq!(desk.auth.me(&caller(user.user_id.clone())).await.unwrap().last_active_at, desk.clock.now());
        let gone = desk.auth.me(&caller(crate::id::UserId::generate())).await.unwrap_err();
        assert_eq!(gone.code(), Code::Unauthorized);
    }

    /// Whatever is presented in whatever order: the rule in `service.rs`, told by a model that remembers everything.
    async fn rotation_follows_its_rule_in_every_order(db: TestDatabase) {
        let desk = Desk::at(&db);
        for seed in 0..6 {
            let mut random = StdRng::seed_from_u64(seed);
            let root = desk.register(&format!("user{seed}")).await.unwrap().refresh_token;
            let mut model = Rotation { tokens: vec![(root, None, State::Open)], is_over: false };
            for step in 0..40 {
                // Mostly near the end of the chain, sometimes anywhere.
                let newest = model.tokens.len();
                let chosen = if random.random_bool(0.9) {
                    newest - 1 - random.random_range(0..newest.min(3))
                } else {
                    random.random_range(0..newest)
                };
                let expected = model.present(chosen);
                match desk.refresh(&model.tokens[chosen].0.clone()).await {
                    Ok(next) => {
                        assert!(expected, "seed {seed}, step {step}: accepted");
                        model.tokens.push((next, Some(chosen), State::Open));
                    }
                    Err(refused) => {
                        assert!(!expected, "seed {seed}, step {step}: {refused}");
                        assert_eq!(refused.reason(), Some("login_over"));
                    }
                }
            }
        }
    }

    async fn too_many_attempts_wait_and_strangers_lock_nobody_out(db: TestDatabase) {
        let desk = Desk::limited(&db, RateLimits::default());
        desk.register("sara").await.unwrap();
        for _ in 0..5 {
            let wrong = desk.login("sara@example.com", "guess", address(66)).await.unwrap_err();
            assert_eq!(wrong.code(), Code::Unauthorized);
        }
        let refused = desk.login("sara@example.com", "correct horse", address(66)).await.unwrap_err();
        assert_eq!(refused.code(), Code::TooManyRequests);
        assert!(refused.retry_after().unwrap() <= Duration::from_secs(30));
        desk.login("sara@example.com", "correct horse", address(1)).await.unwrap();
    }

    async fn one_address_makes_few_accounts(db: TestDatabase) {
        let desk = Desk::limited(&db, RateLimits::default());
        for n in 0..5 {
            desk.register(&format!("user{n}")).await.unwrap();
        }
        assert_eq!(desk.register("user5").await.unwrap_err().code(), Code::TooManyRequests);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Used,
    Dead,
}

/// What should happen: tokens with the one they were given out for.
struct Rotation {
    tokens: Vec<(Secret, Option<usize>, State)>,
    is_over: bool,
}

impl Rotation {
    /// Whether presenting the token at `index` is accepted.
    fn present(&mut self, index: usize) -> bool {
        let (parent, state) = (self.tokens[index].1, self.tokens[index].2);
        self.is_over |= state == State::Dead;
        if self.is_over {
            return false;
        }
        self.tokens[index].2 = State::Used;
        for (other, token) in self.tokens.iter_mut().enumerate() {
            let is_sister = parent.is_some() && token.1 == parent && other != index;
            if Some(other) == parent || is_sister {
                token.2 = State::Dead;
            }
        }
        true
    }
}
