//! Accounts come into being here, and profiles are composed for whoever asks.

use super::model::{Email, HostRecord, NewUser, User};
use super::store;
use crate::caller::Caller;
use crate::clock::{Clock, Timestamp};
use crate::db::{Connection, Database, DbError, Transaction};
use crate::error::{Code, Error, Refusal, SIGN_IN, Text};
use crate::id::UserId;

const NO_SUCH_USER: Refusal =
    Refusal::new(Code::NotFound, "no_such_user", Text::new("المستخدم غير موجود", "There is no such user"));
const EMAIL_TAKEN: Refusal = Refusal::new(
    Code::Conflict,
    "email_taken",
    Text::new("هذا البريد الإلكتروني مسجل بالفعل", "This e-mail address is already registered"),
);
const USERNAME_TAKEN: Refusal = Refusal::new(
    Code::Conflict,
    "username_taken",
    Text::new("اسم المستخدم هذا محجوز بالفعل", "This username is already taken"),
);

/// Reads profiles. Clones share the database.
#[derive(Debug, Clone)]
pub(crate) struct Users {
    db: Database,
    clock: Clock,
}

/// A user as the asking caller may see them.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    pub(super) user: User,
    pub(super) record: HostRecord,
    pub(super) is_own: bool,
    pub(super) is_online: bool,
}

impl Users {
    pub(crate) const fn new(db: Database, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// The profile of `user_id`, or the caller's own.
    pub(super) async fn profile(&self, caller: &Caller, user_id: Option<&str>) -> Result<Profile, Error> {
        let own = caller.user_id();
        let asked = match user_id {
            Some(text) => UserId::parse(text).ok_or(NO_SUCH_USER)?,
            None => own.cloned().ok_or(SIGN_IN)?,
        };
        let mut reader = self.db.reader().await?;
        let user = store::find(&mut reader, &asked).await?.ok_or(NO_SUCH_USER)?;
        let is_own = own == Some(&asked);
        let privacy = &user.preferences.privacy;
        let mut record = store::host_record(&mut reader, &asked).await?;
        if !is_own && !privacy.show_stats {
            // What is live now can be seen in the list of live shows; only the figures are private.
            record = HostRecord { current: record.current, ..HostRecord::default() };
        }
        let seen_now = user.is_online(self.clock.now()) || record.current.is_some();
        let is_online = seen_now && (is_own || privacy.show_online_status);
        Ok(Profile { user, record, is_own, is_online })
    }
}

/// Makes an account. A taken address or name is refused by the database, so two at once cannot both have it.
pub(crate) async fn create(tx: &mut Transaction, new: &NewUser, now: Timestamp) -> Result<User, Error> {
    if store::is_email_taken(tx, &new.email).await? {
        return Err(EMAIL_TAKEN.into());
    }
    store::insert(tx, &UserId::generate(), new, now).await.map_err(|error| {
        if error.is_duplicate("app_user_email_folded_key") {
            EMAIL_TAKEN.into()
        } else if error.is_duplicate("app_user_username_key") {
            USERNAME_TAKEN.into()
        } else {
            error.into()
        }
    })
}

pub(crate) async fn find(on: &mut impl Connection, id: &UserId) -> Result<Option<User>, DbError> {
    store::find(on, id).await
}

/// The user with that address and the hash of their password, for auth.
pub(crate) async fn credentials(on: &mut impl Connection, email: &Email) -> Result<Option<(User, String)>, DbError> {
    store::find_by_email(on, email).await
}

/// Notes that the user is here.
pub(crate) async fn seen(on: &mut impl Connection, id: &UserId, now: Timestamp) -> Result<(), DbError> {
    store::seen(on, id, now).await
}
