//! Registering, signing in, staying signed in and leaving.
//!
//! Refresh tokens rotate. A token works until one of those given out for it is used: a phone that never received the
//! answer asks again with the old one. Once a successor is in use, the old token and its other successors are dead; when
//! a dead one comes back, somebody has a copy, and the whole login ends.

use std::time::Duration;

use super::model::{Credentials, Grant, Registration};
use super::password::Passwords;
use super::store::{self, NewToken};
use super::token::AccessTokens;
use crate::caller::{ClientAddress, Identity, SignedIn, UserIdentity};
use crate::clock::{Clock, Timestamp};
use crate::config::{AuthConfig, RateLimits};
use crate::db::{Database, Transaction};
use crate::error::{Code, Error, Refusal, SIGN_IN, Text};
use crate::id::LoginId;
use crate::rate::Limiter;
use crate::secret::Secret;
use crate::user::{self, NewUser, User};

const WRONG_LOGIN: Refusal = Refusal::new(
    Code::Unauthorized,
    "wrong_login",
    Text::new("البريد الإلكتروني أو كلمة المرور غير صحيحة", "The e-mail address or the password is wrong"),
);
const BANNED: Refusal =
    Refusal::new(Code::Forbidden, "banned", Text::new("هذا الحساب موقوف", "This account is suspended"));
const LOGIN_OVER: Refusal = Refusal::new(
    Code::Unauthorized,
    "login_over",
    Text::new("انتهت جلسة الدخول، سجّل الدخول من جديد", "This login has ended, please sign in again"),
);

/// Accounts and logins. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Auth(std::sync::Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: Database,
    clock: Clock,
    tokens: AccessTokens,
    passwords: Passwords,
    refresh_ttl: Duration,
    /// By address and account, so that a stranger elsewhere cannot lock the owner out.
    login_account: Limiter<(ClientAddress, String)>,
    login_address: Limiter<ClientAddress>,
    register_address: Limiter<ClientAddress>,
    refresh_login: Limiter<LoginId>,
}

impl Auth {
    pub(crate) fn new(
        db: Database,
        clock: Clock,
        tokens: AccessTokens,
        config: &AuthConfig,
        limits: &RateLimits,
    ) -> Self {
        Self(std::sync::Arc::new(Inner {
            db,
            clock,
            tokens,
            passwords: Passwords::new(config),
            refresh_ttl: config.refresh_token_ttl,
            login_account: Limiter::new(limits.login_account),
            login_address: Limiter::new(limits.login_address),
            register_address: Limiter::new(limits.register_address),
            refresh_login: Limiter::new(limits.refresh_login),
        }))
    }

    /// A new account, signed in.
    pub(super) async fn register(&self, new: Registration, from: ClientAddress) -> Result<(User, Grant), Error> {
        let inner = &self.0;
        inner.register_address.check(&from)?;
        let Registration { name, username, email, password, language } = new;
        let password_hash = inner.passwords.hash(password).await?;
        let now = inner.clock.now();
        let mut tx = inner.db.begin().await?;
        let user = user::create(&mut tx, &NewUser { name, username, email, password_hash, language }, now).await?;
        let grant = inner.sign_in(&mut tx, &user, now).await?;
        tx.commit().await?;
        tracing::info!(user.id = %user.id, "user registered");
        Ok((user, grant))
    }

    /// One answer for a wrong password and an unknown address, after the same work.
    pub(super) async fn login(&self, credentials: Credentials, from: ClientAddress) -> Result<(User, Grant), Error> {
        let inner = &self.0;
        let Credentials { email, password } = credentials;
        inner.login_address.check(&from)?;
        inner.login_account.check(&(from, email.folded().to_owned()))?;
        let found = user::credentials(&mut inner.db.reader().await?, &email).await?;
        let (user, hash) = found.unzip();
        let fits = inner.passwords.fits(password, hash).await?;
        let Some(user) = user.filter(|_| fits) else { return Err(WRONG_LOGIN.into()) };
        if user.banned_at.is_some() {
            return Err(BANNED.into());
        }
        let now = inner.clock.now();
        let mut tx = inner.db.begin().await?;
        let grant = inner.sign_in(&mut tx, &user, now).await?;
        user::seen(&mut tx, &user.id, now).await?;
        tx.commit().await?;
        tracing::info!(user.id = %user.id, "user signed in");
        Ok((user, grant))
    }

    /// The next pair of tokens.
    pub(super) async fn refresh(&self, token: &Secret) -> Result<Grant, Error> {
        let inner = &self.0;
        let now = inner.clock.now();
        let mut tx = inner.db.begin().await?;
        let Some(token) = store::token(&mut tx, &token.digest()).await? else { return Err(LOGIN_OVER.into()) };
        inner.refresh_login.check(&token.login_id)?;
        if token.login_is_over || token.expires_at <= now {
            return Err(LOGIN_OVER.into());
        }
        if token.is_dead {
            store::end_login(&mut tx, &token.login_id, now, "reuse").await?;
            tx.commit().await?;
            tracing::warn!(user.id = %token.user_id, "a replaced refresh token came back, login ended");
            return Err(LOGIN_OVER.into());
        }
        let user = user::find(&mut tx, &token.user_id).await?.ok_or(LOGIN_OVER)?;
        if user.banned_at.is_some() {
            return Err(BANNED.into());
        }
        store::settle_on(&mut tx, &token, now).await?;
        let grant = inner.grant(&mut tx, &user, &token.login_id, Some(&token.digest), now).await?;
        user::seen(&mut tx, &user.id, now).await?;
        tx.commit().await?;
        Ok(grant)
    }

    /// Ends the login of `token`, or the caller's own. Ending what is over is fine.
    pub(super) async fn logout(&self, caller: &Identity, token: Option<&Secret>) -> Result<(), Error> {
        let inner = &self.0;
        let mut tx = inner.db.begin().await?;
        let login = match (token, caller) {
            (Some(token), _) => store::token(&mut tx, &token.digest()).await?.map(|token| token.login_id),
            (None, Identity::User(user)) => Some(user.login_id.clone()),
            (None, Identity::Anonymous | Identity::Rejected) => None,
        };
        if let Some(login) = login {
            store::end_login(&mut tx, &login, inner.clock.now(), "logout").await?;
        }
        Ok(tx.commit().await?)
    }

    /// Who the caller is, as the database has it now.
    pub(super) async fn me(&self, caller: &SignedIn) -> Result<User, Error> {
        let inner = &self.0;
        let user = user::find(&mut inner.db.reader().await?, &caller.user_id).await?.ok_or(SIGN_IN)?;
        let now = inner.clock.now();
        if !user.is_online(now) {
            let mut tx = inner.db.begin().await?;
            user::seen(&mut tx, &user.id, now).await?;
            tx.commit().await?;
        }
        Ok(user)
    }
}

impl Inner {
    async fn sign_in(&self, tx: &mut Transaction, user: &User, now: Timestamp) -> Result<Grant, Error> {
        let login = LoginId::generate();
        store::insert_login(tx, &login, &user.id, now, now.minus(self.refresh_ttl)).await?;
        self.grant(tx, user, &login, None, now).await
    }

    /// An access token and a refresh token that succeeds `parent`.
    async fn grant(
        &self,
        tx: &mut Transaction,
        user: &User,
        login: &LoginId,
        parent: Option<&str>,
        now: Timestamp,
    ) -> Result<Grant, Error> {
        let refresh_token = Secret::random::<32>("chobi_rt_");
        let digest = refresh_token.digest();
        let expires_at = now.plus(self.refresh_ttl);
        store::insert_token(tx, login, NewToken { digest: &digest, parent, created_at: now, expires_at }).await?;
        let identity = UserIdentity { user_id: user.id.clone(), login_id: login.clone(), language: user.language() };
        let (access_token, expires_at) = self
            .tokens
            .issue(&identity, now)
            .map_err(|cause| Error::Internal(format!("access token cannot be signed: {cause}").into()))?;
        Ok(Grant { access_token, refresh_token, expires_at })
    }
}
