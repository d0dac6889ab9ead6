//! Shows for newcomers: a host who cannot sign in, and sessions that are there again after every start.

use crate::clock::Timestamp;
use crate::db::{Database, statements};
use crate::error::Error;
use crate::id::{SessionId, UserId};
use crate::secret::Secret;
use crate::session::{Details, SessionKind, Sessions};

statements! {
    /// The demo's host. No password hash, so no password opens the account.
    ADD_HOST = "insert into app_user (user_id, email, email_folded, username, display_name, password_hash,
            preferences, created_at, last_active_at)
        values ($1, 'demo@localhost', 'demo@localhost', 'chobi_demo', 'Chobi Live', '', '{}', $2, $2)
        on conflict do nothing";
    HOST = "select user_id from app_user where username = 'chobi_demo'";
}

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
    };
    let created = sessions.create(&host_id, details).await?;
    Ok(DemoShow { session_id: created.session.id, host_id, stream_key: created.stream_key.into_secret() })
}

async fn host(db: &Database, now: Timestamp) -> Result<UserId, Error> {
    let mut tx = db.begin().await?;
    ADD_HOST.on(&mut tx).bind(UserId::generate()).bind(now).execute().await?;
    let host_id = HOST.on(&mut tx).one().await?.column("user_id")?;
    tx.commit().await?;
    Ok(host_id)
}
