//! What a user is made of. Constructors parse; a value that exists is valid.

use std::time::Duration;

use serde::Deserialize;
use unicode_normalization::UnicodeNormalization as _;

use crate::caller::Language;
use crate::clock::Timestamp;
use crate::db::DbError;
use crate::id::{SessionId, UserId};
use crate::plain_text::{Lines, plain};
use crate::trpc::{choices, output};

/// A username: 3 to 30 of `a`–`z`, `0`–`9`, `_` and `.`, kept without the leading `@`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Username(String);

impl Username {
    /// Ignores case and a leading `@`, as the app's form does.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix('@').unwrap_or(text).to_ascii_lowercase();
        let fits = (3..=30).contains(&name.len())
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.'));
        fits.then_some(Self(name))
    }

    /// What the database holds, which was parsed before.
    pub(super) const fn stored(name: String) -> Self {
        Self(name)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// As the app keeps it.
    pub(crate) fn with_at(&self) -> String {
        format!("@{}", self.0)
    }
}

/// An e-mail address as typed, and the form by which it is found.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Email {
    typed: String,
    folded: String,
}

impl Email {
    /// The longest an address can be (RFC 5321 section 4.5.3.1).
    const LENGTH_MAX: usize = 254;

    /// Something, `@`, something, dot, something, without spaces: the app's own rule.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let typed = text.trim();
        let (local, domain) = typed.split_once('@')?;
        let (name, top) = domain.rsplit_once('.')?;
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '@';
        let fits = !local.is_empty() && !name.is_empty() && !top.is_empty() && typed.len() <= Self::LENGTH_MAX;
        (fits && !local.contains(odd) && !domain.contains(odd)).then(|| Self::stored(typed.to_owned()))
    }

    /// Folded: one form for each letter, lower case.
    pub(super) fn stored(typed: String) -> Self {
        let folded = typed.nfc().collect::<String>().to_lowercase();
        Self { typed, folded }
    }

    pub(crate) fn as_typed(&self) -> &str {
        &self.typed
    }

    pub(crate) fn folded(&self) -> &str {
        &self.folded
    }
}

/// Addresses of people stay out of logs.
impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A name for showing: one line of 1 to 50 characters, something of it visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DisplayName(String);

impl DisplayName {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = plain(text, Lines::One).trim().to_owned();
        (1..=50).contains(&name.chars().count()).then_some(Self(name))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an account begins with.
#[derive(Debug, Clone)]
pub(crate) struct NewUser {
    pub(crate) name: DisplayName,
    pub(crate) username: Username,
    pub(crate) email: Email,
    /// argon2id in PHC form.
    pub(crate) password_hash: String,
    pub(crate) language: Language,
}

/// Somebody with an account.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) email: Email,
    pub(crate) username: Username,
    pub(crate) display_name: String,
    pub(crate) avatar: Option<String>,
    pub(crate) bio: Option<String>,
    pub(crate) level: i64,
    pub(crate) experience: i64,
    pub(crate) is_verified: bool,
    pub(crate) preferences: Preferences,
    pub(crate) banned_at: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
    pub(crate) last_active_at: Timestamp,
}

impl User {
    /// Seen this recently counts as online: phones ask at least this often while the app is open.
    const ONLINE_FOR: Duration = Duration::from_secs(300);

    pub(crate) fn is_online(&self, now: Timestamp) -> bool {
        now.since(self.last_active_at) < Self::ONLINE_FOR
    }

    /// Experience at which the next level begins: each level takes a hundred.
    pub(crate) const fn next_level_experience(&self) -> i64 {
        (self.level + 1) * 100
    }

    pub(crate) fn language(&self) -> Language {
        match self.preferences.language {
            LanguageChoice::Arabic => Language::Arabic,
            LanguageChoice::English => Language::English,
        }
    }
}

choices! {
    /// The app's languages.
    #[derive(Default)]
    pub(crate) enum LanguageChoice {
        #[default]
        Arabic = "ar",
        English = "en",
    }
}

choices! {
    /// The app's looks.
    #[derive(Default)]
    pub(crate) enum Theme {
        Light = "light",
        #[default]
        Dark = "dark",
    }
}

output! {
    /// What a user chose. Kept as JSON; what is absent there has its default.
    #[derive(Default, Deserialize, PartialEq, Eq)]
    #[serde(default)]
    pub(crate) struct Preferences {
        language "language": LanguageChoice,
        theme "theme": Theme,
        notifications "notifications": NotificationChoices,
        privacy "privacy": PrivacyChoices,
    }
}

output! {
    /// Which notifications a user wants.
    #[derive(Deserialize, PartialEq, Eq)]
    #[serde(default)]
    pub(crate) struct NotificationChoices {
        new_follower "newFollower": bool,
        gift_received "giftReceived": bool,
        stream_started "streamStarted": bool,
        comments "comments": bool,
    }
}

impl Default for NotificationChoices {
    fn default() -> Self {
        Self { new_follower: true, gift_received: true, stream_started: true, comments: true }
    }
}

output! {
    /// What a user lets others see and do.
    #[derive(Deserialize, PartialEq, Eq)]
    #[serde(default)]
    pub(crate) struct PrivacyChoices {
        show_online_status "showOnlineStatus": bool,
        allow_direct_messages "allowDirectMessages": bool,
        show_stats "showStats": bool,
    }
}

impl Default for PrivacyChoices {
    fn default() -> Self {
        Self { show_online_status: true, allow_direct_messages: true, show_stats: true }
    }
}

impl Preferences {
    pub(super) fn in_language(language: Language) -> Self {
        let language = match language {
            Language::Arabic => LanguageChoice::Arabic,
            Language::English => LanguageChoice::English,
        };
        Self { language, ..Self::default() }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain members always serialise")
    }

    pub(super) fn from_json(text: &str) -> Result<Self, DbError> {
        serde_json::from_str(text).map_err(|_| DbError::Unreadable { column: "preferences" })
    }
}

/// What a host's shows add up to. All zero for those who never had one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct HostRecord {
    pub(crate) show_count: i64,
    pub(crate) streamed: Duration,
    pub(crate) viewers: i64,
    pub(crate) peak_viewers: i64,
    /// The public show that is live now.
    pub(crate) current: Option<SessionId>,
    pub(crate) favorite_category: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_are_folded_and_bounded() {
        assert_eq!(Username::parse("@Sara_99").map(|name| name.with_at()), Some("@sara_99".to_owned()));
        for text in ["", "@ab", "ab", "سارة", "a b c", "@@abc", "x".repeat(31).as_str(), "a-b-c"] {
            assert_eq!(Username::parse(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_follow_the_apps_rule() {
        assert_eq!(Email::parse(" Sara@Example.COM ").unwrap().folded(), "sara@example.com");
        assert_eq!(Email::parse("e\u{301}@x.y").unwrap().folded(), Email::parse("É@x.y").unwrap().folded());
        for text in ["", "sara", "sara@", "@x.y", "sara@x", "sara@x.", "sa ra@x.y", "a@b@c.d", "sara@.y\u{0}"] {
            assert_eq!(Email::parse(text), None, "{text}");
        }
        assert_eq!(Email::parse(&format!("{}@x.yz", "a".repeat(250))), None);
        assert_eq!(format!("{:?}", Email::parse("sara@example.com").unwrap()), "***");
    }

    #[test]
    fn names_must_show_something() {
        assert_eq!(DisplayName::parse(" سارة\n").unwrap().as_str(), "سارة");
        for text in ["", "   ", "\u{202e}\u{7}", "x".repeat(51).as_str()] {
            assert_eq!(DisplayName::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn preferences_fill_what_older_rows_lack() {
        let sparse = Preferences::from_json(r#"{"language":"en","privacy":{"showStats":false}}"#).unwrap();
        assert_eq!(sparse.language, LanguageChoice::English);
        assert_eq!(sparse.theme, Theme::Dark);
        assert!(sparse.notifications.comments && sparse.privacy.show_online_status && !sparse.privacy.show_stats);
        assert_eq!(Preferences::from_json(&sparse.to_json()).unwrap(), sparse);
        assert!(Preferences::from_json("{\"theme\":\"pink\"}").is_err());
    }
}
