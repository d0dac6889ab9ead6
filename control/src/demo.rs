//! Shows for newcomers: a host who cannot sign in, and sessions that are there again after every start.

use crate::caller::Language;
use crate::clock::Timestamp;
use crate::db::Database;
use crate::error::Error;
use crate::id::{SessionId, UserId};
use crate::secret::Secret;
use crate::session::{Details, SessionKind, Sessions};
use crate::user::{self, DisplayName, Email, NewUser, Username};

/// A public session of the demo host that waits for media.
#[derive(Debug, Clone)]
pub struct DemoShow {
    pub session_id: SessionId,
    pub host_id: UserId,
    /// Fresh at every start; the earlier one no longer admits.
    pub stream_key: Secret,
}

/// The demo show of that title: the one of an earlier start if it has not ended, else a new one.
pub(crate) async fn show(db: &Database, sessions: &Sessions, title: &str, now: Timestamp) -> Result<DemoShow, Error> {
    let host_id = host(db, now).await?;
    let unfinished = sessions.unfinished_of(&host_id).await?;
    if let Some(session) = unfinished.into_iter().find(|session| session.details.title == title) {
        let stream_key = sessions.rotate_key(&session.id).await?.into_secret();
        return Ok(DemoShow { session_id: session.id, host_id, stream_key });
    }
    let details = Details {
        title: title.to_owned(),
        description: None,
        kind: SessionKind::Video,
        category: None,
        is_private: false,
        max_viewers: None,
        scheduled_at: None,
        // It goes round and round for as long as the server runs.
        is_recorded: false,
        allow_download: false,
    };
    let created = sessions.create(&host_id, details).await?;
    Ok(DemoShow { session_id: created.session.id, host_id, stream_key: created.stream_key.into_secret() })
}

/// The demo's host, found by an address that nobody can receive mail at (RFC 6761 section 6.4).
async fn host(db: &Database, now: Timestamp) -> Result<UserId, Error> {
    let email = Email::parse("demo@chobi.invalid").expect("an address");
    let mut tx = db.begin().await?;
    let host = match user::credentials(&mut tx, &email).await? {
        Some((host, _)) => host,
        None => {
            let new = NewUser {
                name: DisplayName::parse("Chobi Live").expect("a name"),
                username: Username::parse("chobi_demo").expect("a username"),
                email,
                // No hash: no password opens the account.
                password_hash: "*".to_owned(),
                language: Language::Arabic,
            };
            user::create(&mut tx, &new, now).await?
        }
    };
    tx.commit().await?;
    Ok(host.id)
}
