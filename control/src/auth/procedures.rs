//! `auth.*`: tRPC in, service, tRPC out.

use super::model::{Credentials, Grant, Registration};
use super::service::Auth;
use crate::caller::{Caller, Language, SignedIn};
use crate::clock::Timestamp;
use crate::error::{Error, Text};
use crate::id::UserId;
use crate::secret::{Disclosed, Secret};
use crate::trpc::{Namespace, input, output};
use crate::user::{DisplayName, Email, User, Username};

pub(crate) fn namespace(auth: Auth) -> Namespace<Auth> {
    Namespace::new("auth", auth)
        .mutation("register", register)
        .mutation("login", login)
        .mutation("refresh", refresh)
        .mutation("logout", logout)
        .query("me", me)
}

const WELCOME: Text = Text::new("أهلًا بك في شوبي لايف", "Welcome to Chobi Live");
const WELCOME_BACK: Text = Text::new("أهلًا بعودتك", "Welcome back");

input! {
    pub(super) struct Register {
        name "name": DisplayName = text().min(1).max(50).parsed(
            |text| DisplayName::parse(text), "Name must have visible characters"),
        username "username": Username = text().parsed(
            |text| Username::parse(text), "Username must be 3 to 30 of a-z, 0-9, _ and ."),
        email "email": Email = text().max(254).parsed(|text| Email::parse(text), "Invalid email address"),
        password "password": Secret = text().min(6).max(128).secret(),
    }
}

input! {
    pub(super) struct Login {
        email "email": Email = text().max(254).parsed(|text| Email::parse(text), "Invalid email address"),
        password "password": Secret = text().min(1).max(128).secret(),
    }
}

input! {
    pub(super) struct Refresh {
        refresh_token "refreshToken": Secret = text().max(256).secret(),
    }
}

input! {
    pub(super) struct Logout {
        refresh_token "refreshToken": Option<Secret> = text().max(256).secret().optional(),
    }
}

output! {
    pub(super) struct SignedInAnswer {
        success "success": bool,
        user "user": AuthUser,
        access_token "accessToken": Disclosed,
        refresh_token "refreshToken": Disclosed,
        expires_at "expiresAt": Timestamp,
        message "message": &'static str,
    }
}

output! {
    pub(super) struct Refreshed {
        access_token "accessToken": Disclosed,
        refresh_token "refreshToken": Disclosed,
        expires_at "expiresAt": Timestamp,
    }
}

output! {
    pub(super) struct LoggedOut {
        success "success": bool,
    }
}

output! {
    pub(super) struct Me {
        user "user": AuthUser,
    }
}

output! {
    /// What the app keeps on the phone after login, as plain JSON: hence `joinedDate` is text.
    pub(super) struct AuthUser {
        id "id": UserId,
        name "name": String,
        /// With its leading `@`.
        username "username": String,
        email "email": String,
        avatar "avatar": String,
        bio "bio": String,
        followers "followers": i64,
        following "following": i64,
        posts "posts": i64,
        is_verified "isVerified": bool,
        level "level": i64,
        coins "coins": i64,
        joined_date "joinedDate": String,
    }
}

async fn register(auth: Auth, caller: Caller, input: Register) -> Result<SignedInAnswer, Error> {
    let Register { name, username, email, password } = input;
    let new = Registration { name, username, email, password, language: caller.language };
    let (user, grant) = auth.register(new, caller.address).await?;
    Ok(signed_in(user, grant, WELCOME, caller.language))
}

async fn login(auth: Auth, caller: Caller, input: Login) -> Result<SignedInAnswer, Error> {
    let Login { email, password } = input;
    let (user, grant) = auth.login(Credentials { email, password }, caller.address).await?;
    let language = user.language();
    Ok(signed_in(user, grant, WELCOME_BACK, language))
}

async fn refresh(auth: Auth, _: Caller, input: Refresh) -> Result<Refreshed, Error> {
    let Grant { access_token, refresh_token, expires_at } = auth.refresh(&input.refresh_token).await?;
    Ok(Refreshed { access_token: Disclosed(access_token), refresh_token: Disclosed(refresh_token), expires_at })
}

async fn logout(auth: Auth, caller: Caller, input: Option<Logout>) -> Result<LoggedOut, Error> {
    let token = input.and_then(|input| input.refresh_token);
    auth.logout(&caller.identity, token.as_ref()).await?;
    Ok(LoggedOut { success: true })
}

async fn me(auth: Auth, caller: SignedIn, (): ()) -> Result<Me, Error> {
    Ok(Me { user: view(auth.me(&caller).await?) })
}

fn signed_in(user: User, grant: Grant, message: Text, language: Language) -> SignedInAnswer {
    let Grant { access_token, refresh_token, expires_at } = grant;
    SignedInAnswer {
        success: true,
        user: view(user),
        access_token: Disclosed(access_token),
        refresh_token: Disclosed(refresh_token),
        expires_at,
        message: message.within(language),
    }
}

fn view(user: User) -> AuthUser {
    AuthUser {
        id: user.id,
        name: user.display_name,
        username: user.username.with_at(),
        email: user.email.as_typed().to_owned(),
        avatar: user.avatar.unwrap_or_default(),
        bio: user.bio.unwrap_or_default(),
        followers: 0,
        following: 0,
        posts: 0,
        is_verified: user.is_verified,
        level: user.level,
        coins: 0,
        joined_date: user.created_at.to_iso(),
    }
}
