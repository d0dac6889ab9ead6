//! Opaque identities. Media never looks inside them; they are safe as a path element because they are parsed here.

use std::fmt;
use std::sync::Arc;

/// One live publication in the hub. The text is the control plane's session id.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BroadcastId(Arc<str>);

/// One person watching. The text is made by whoever first meets the viewer: a ticket, a cookie, a player's own id.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewerId(Arc<str>);

/// A publisher's name for a layer of its picture (RFC 8851): the same layer keeps it, whichever others come and go.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rid(Arc<str>);

/// The text cannot be an id: empty, longer than 96 bytes, or with a character other than `A-Z a-z 0-9 _ -`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 1 to {MAX_ID_BYTES} characters of A-Z, a-z, 0-9, '_' and '-' are allowed")]
pub struct InvalidId;

/// Index of a track inside its epoch: `Epoch::tracks[id]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(pub u8);

/// Longer than any id we make (`session_` and 32 hex digits), short enough for every file system.
const MAX_ID_BYTES: usize = 96;

fn parse(text: &str) -> Result<Arc<str>, InvalidId> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if text.is_empty() || text.len() > MAX_ID_BYTES || !text.bytes().all(legal) {
        return Err(InvalidId);
    }
    Ok(Arc::from(text))
}

impl ViewerId {
    /// The name that a player without a ticket gives itself. It is not to pass for an account or a guest who was given a ticket.
    pub(crate) fn of_player(text: &str) -> Option<Self> {
        let is_taken = ["user_", "guest_"].iter().any(|of_people| text.starts_with(of_people));
        Self::parse(text).ok().filter(|_| !is_taken)
    }
}

macro_rules! text_id {
    ($name:ident) => {
        impl $name {
            /// Accepts what may stand in a URL and in a file name, see [`InvalidId`].
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                parse(text).map(Self)
            }

            pub fn as_str(&self) -> &str {
                &self.0
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

text_id!(BroadcastId);
text_id!(ViewerId);
text_id!(Rid);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_leave_their_folder_are_refused() {
        for text in ["", ".", "..", "a/b", "a\\b", "a.b", "a b", "é", "a\0", &"x".repeat(97)] {
            assert_eq!(BroadcastId::parse(text), Err(InvalidId), "{text:?}");
        }
        assert!(BroadcastId::parse("session_0192f3").is_ok());
        assert!(ViewerId::parse(&"x".repeat(96)).is_ok());
    }

    #[test]
    fn a_player_takes_nobody_elses_name() {
        for taken in ["user_0192f3", "guest_0192f3", "", "a.b"] {
            assert_eq!(ViewerId::of_player(taken), None, "{taken}");
        }
        assert!(ViewerId::of_player("vlc-1").is_some());
    }
}
