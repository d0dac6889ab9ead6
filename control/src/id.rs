//! Names of things: a prefix that says what it is and a UUIDv7 that sorts by time.
//!
//! `session_0197f3c2a8b07c4e9d1f3a5b7c9d1e2f`: lower-case hex, no dashes and no dots, so that an id is safe in a URL,
//! a file name and a superjson path alike.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use uuid::Uuid;

/// Why a text is not an id of the kind asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected {prefix} followed by 32 lower-case hex digits")]
pub struct IdError {
    pub prefix: &'static str,
}

/// Declares one id type. The text form is all there is: it is what the database keeps and what the app sees.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, sqlx::Type)]
        #[sqlx(transparent)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// A new id, later in order than those made in earlier milliseconds.
            pub fn generate() -> Self {
                Self(format!("{}{}", Self::PREFIX, Uuid::now_v7().simple()))
            }

            /// `None` for anything this server cannot have made: no look-up needed to know that it does not exist.
            pub fn parse(text: &str) -> Option<Self> {
                text.strip_prefix(Self::PREFIX).filter(|tail| is_hex(tail)).map(|_| Self(text.to_owned()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text).ok_or(IdError { prefix: Self::PREFIX })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A person with an account.
    UserId, "user_"
);
id!(
    /// A durable live show.
    SessionId, "session_"
);
id!(
    /// A chat message.
    MessageId, "msg_"
);
id!(
    /// The recording of a show.
    VideoId, "video_"
);
id!(
    /// A viewer who is not signed in; made when a ticket is first given out.
    GuestId, "guest_"
);
id!(
    /// One login on one device: the family its refresh tokens belong to.
    LoginId, "login_"
);

/// The name under which media carries a broadcast: the session's id for the host's, `<sessionId>-<userId>` for a co-host's.
/// No id holds a dash, so the two halves are told apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BroadcastName {
    pub session_id: SessionId,
    /// `None` for the host.
    pub co_host: Option<UserId>,
}

impl BroadcastName {
    pub const fn host(session_id: SessionId) -> Self {
        Self { session_id, co_host: None }
    }

    pub const fn co_host(session_id: SessionId, user_id: UserId) -> Self {
        Self { session_id, co_host: Some(user_id) }
    }

    /// `None` for anything that no broadcast of ours is called.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('-') {
            None => SessionId::parse(text).map(Self::host),
            Some((session_id, user_id)) => Some(Self::co_host(SessionId::parse(session_id)?, UserId::parse(user_id)?)),
        }
    }
}

impl fmt::Display for BroadcastName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.co_host {
            None => write!(f, "{}", self.session_id),
            Some(user_id) => write!(f, "{}-{user_id}", self.session_id),
        }
    }
}

fn is_hex(tail: &str) -> bool {
    tail.len() == 32 && tail.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_ids_parse_and_sort_by_time() {
        let first = SessionId::generate();
        std::iter::repeat_with(SessionId::generate).take(1000).fold(first, |earlier, later| {
            assert!(earlier < later, "{earlier} then {later}");
            assert_eq!(SessionId::parse(later.as_str()), Some(later.clone()));
            later
        });
    }

    #[test]
    fn broadcast_name_survives_its_text() {
        let (session_id, user_id) = (SessionId::generate(), UserId::generate());
        let host = BroadcastName::host(session_id.clone());
        assert_eq!(host.to_string(), session_id.as_str());
        let co_host = BroadcastName::co_host(session_id.clone(), user_id.clone());
        assert_eq!(co_host.to_string(), format!("{session_id}-{user_id}"));
        for name in [host, co_host] {
            assert_eq!(BroadcastName::parse(&name.to_string()), Some(name));
        }
        for text in [
            String::new(),
            "-".to_owned(),
            format!("{session_id}-"),
            format!("-{user_id}"),
            format!("{user_id}-{session_id}"),
            format!("{session_id}-{user_id}-{user_id}"),
            format!("{session_id}-{session_id}"),
            format!("{session_id}_{user_id}"),
            user_id.to_string(),
        ] {
            assert_eq!(BroadcastName::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn foreign_text_is_no_id() {
        let hex = "0197f3c2a8b07c4e9d1f3a5b7c9d1e2f";
        for text in [
            String::new(),
            "user_".to_owned(),
            format!("session_{hex}"),
            format!("user_{}", &hex[1..]),
            format!("user_{hex}0"),
            format!("user_{}", hex.to_uppercase()),
            format!("user_{}../", &hex[3..]),
        ] {
            assert_eq!(UserId::parse(&text), None, "{text}");
        }
        assert_eq!("nobody".parse::<UserId>(), Err(IdError { prefix: "user_" }));
    }
}
