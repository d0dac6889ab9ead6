//! Tickets: what `joinSession` hands out and playback, WebRTC and `/ws` accept.
//!
//! A ticket is signed, expires, and names one session, one viewer and one role. Checking it needs no database.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::model::Role;
use crate::auth::{TokenError, TokenKey, TokenKind};
use crate::clock::Timestamp;
use crate::id::{GuestId, SessionId, UserId};
use crate::presence::ViewerIdentity;
use crate::secret::Secret;

/// What a ticket says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) session_id: SessionId,
    pub(crate) viewer: ViewerIdentity,
    pub(crate) role: Role,
}

/// Signs and verifies tickets.
#[derive(Debug, Clone)]
pub(crate) struct TicketPrinter {
    key: TokenKey,
    ttl: Duration,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    /// User or guest id; its prefix says which.
    sub: String,
    session: String,
    role: String,
}

/// What a download ticket says: whose it is and of which show.
#[derive(Serialize, Deserialize)]
struct DownloadClaims {
    sub: String,
    session: String,
}

impl TicketPrinter {
    pub(crate) const fn new(key: TokenKey, ttl: Duration) -> Self {
        Self { key, ttl }
    }

    pub(super) fn print(&self, ticket: &Ticket, now: Timestamp) -> Result<Secret, TokenError> {
        let claims = Claims {
            sub: ticket.viewer.as_str().to_owned(),
            session: ticket.session_id.to_string(),
            role: ticket.role.as_str().to_owned(),
        };
        self.key.sign(TokenKind::Ticket, now.plus(self.ttl), claims)
    }

    /// For one replay as a file. As a part of a link it will be passed on, so it opens neither playback nor `/ws`.
    pub(super) fn print_download(
        &self,
        session_id: &SessionId,
        viewer: &ViewerIdentity,
        now: Timestamp,
    ) -> Result<Secret, TokenError> {
        let claims = DownloadClaims { sub: viewer.as_str().to_owned(), session: session_id.to_string() };
        self.key.sign(TokenKind::Download, now.plus(self.ttl), claims)
    }

    /// Whose ticket it is, and of which show.
    pub(super) fn read_download(&self, text: &str) -> Result<(SessionId, ViewerIdentity), TokenError> {
        let (claims, _) = self.key.verify::<DownloadClaims>(TokenKind::Download, text)?;
        let session_id = SessionId::parse(&claims.session).ok_or(TokenError::Claims)?;
        Ok((session_id, viewer(&claims.sub).ok_or(TokenError::Claims)?))
    }

    /// The ticket and when it ends; an error for anything not printed here, expired, or printed for another purpose.
    pub(super) fn read(&self, text: &str) -> Result<(Ticket, Timestamp), TokenError> {
        let (claims, expires_at) = self.key.verify::<Claims>(TokenKind::Ticket, text)?;
        let ticket = Ticket {
            session_id: SessionId::parse(&claims.session).ok_or(TokenError::Claims)?,
            viewer: viewer(&claims.sub).ok_or(TokenError::Claims)?,
            role: Role::parse(&claims.role).ok_or(TokenError::Claims)?,
        };
        Ok((ticket, expires_at))
    }
}

/// A user or guest, by the prefix of their id.
fn viewer(id: &str) -> Option<ViewerIdentity> {
    let user = UserId::parse(id).map(ViewerIdentity::User);
    user.or_else(|| GuestId::parse(id).map(ViewerIdentity::Guest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn printer(clock: &Clock) -> TicketPrinter {
        let key = TokenKey::from_secret(&Secret::new("a secret of thirty-two characters"), clock.clone());
        TicketPrinter::new(key, Duration::from_secs(60))
    }

    fn ticket(viewer: ViewerIdentity) -> Ticket {
        Ticket { session_id: SessionId::generate(), viewer, role: Role::Viewer }
    }

    #[test]
    fn ticket_says_what_was_printed_until_it_expires() {
        let clock = Clock::standing(Timestamp::from_unix_seconds(1_000));
        let printer = printer(&clock);
        for viewer in [ViewerIdentity::User(UserId::generate()), ViewerIdentity::Guest(GuestId::generate())] {
            let ticket = ticket(viewer);
            let text = printer.print(&ticket, clock.now()).expect("printed");
            assert_eq!(printer.read(text.reveal()).expect("good"), (ticket, Timestamp::from_unix_seconds(1_060)));
        }
        let text = printer.print(&ticket(ViewerIdentity::Guest(GuestId::generate())), clock.now()).expect("printed");
        clock.advance(Duration::from_secs(60));
        assert!(matches!(printer.read(text.reveal()), Err(TokenError::Expired)));
    }

    #[test]
    fn download_ticket_opens_one_file_and_nothing_else() {
        let clock = Clock::standing(Timestamp::from_unix_seconds(1_000));
        let printer = printer(&clock);
        let (session_id, viewer) = (SessionId::generate(), ViewerIdentity::User(UserId::generate()));
        let link = printer.print_download(&session_id, &viewer, clock.now()).expect("printed");
        assert_eq!(printer.read_download(link.reveal()).expect("good"), (session_id, viewer.clone()));
        assert!(printer.read(link.reveal()).is_err(), "it does not play");
        let playing = printer.print(&ticket(viewer), clock.now()).expect("printed");
        assert!(printer.read_download(playing.reveal()).is_err(), "and what plays does not download");
        clock.advance(Duration::from_secs(60));
        assert!(matches!(printer.read_download(link.reveal()), Err(TokenError::Expired)));
    }

    #[test]
    fn changed_ticket_and_other_tokens_are_refused() {
        let clock = Clock::standing(Timestamp::from_unix_seconds(1_000));
        let printer = printer(&clock);
        let text = printer.print(&ticket(ViewerIdentity::Guest(GuestId::generate())), clock.now()).expect("printed");
        let mut changed = text.reveal().to_owned();
        changed.truncate(changed.len() - 2);
        let access = printer
            .key
            .sign(TokenKind::Access, Timestamp::from_unix_seconds(2_000), serde_json::json!({"sub": "x"}))
            .expect("signed");
        for wrong in ["", "a.b.c", &changed, access.reveal()] {
            assert!(printer.read(wrong).is_err(), "{wrong}");
        }
    }
}
