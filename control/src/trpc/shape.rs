//! Types that cross the wire, described once: their Rust struct, their JSON and their TypeScript.
//!
//! ```ignore
//! choices! {
//!     /// What a show sends.
//!     pub enum SessionKind { Video = "video", Audio = "audio" }
//! }
//!
//! input! {
//!     /// What a host says of a new session.
//!     pub(super) struct CreateSession {
//!         title "title": String = text().min(1).max(120),
//!         kind "type": SessionKind = one_of(),
//!         category "category": Option<String> = text().max(50).optional(),
//!         is_private "isPrivate": bool = boolean().or(false),
//!     }
//! }
//!
//! output! {
//!     pub(super) struct SessionView {
//!         id "id": SessionId,
//!         description "description": Option<String>,   // left out of the answer when `None`
//!         current "current": Nullable<SessionId>,      // an explicit `null` when empty
//!         created_at "createdAt": Timestamp,           // a `Date` at the client
//!     }
//! }
//! ```

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::issue::{Issues, Path};
use super::superjson::Encoded;
use super::typescript::Ts;
use super::value::Value;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::{GuestId, LoginId, MessageId, SessionId, UserId, VideoId};
use crate::secret::Disclosed;

/// The input of a procedure. Made by [`input!`], or `()` for none.
pub(crate) trait Input: Sized + Send + 'static {
    /// `false` for procedures without input: whatever was sent, even malformed, is then not looked at.
    const IS_READ: bool = true;
    fn read(value: Value, path: &Path, issues: &mut Issues) -> Option<Self>;
    fn typescript() -> Ts;
}

impl Input for () {
    const IS_READ: bool = false;

    fn read(_: Value, _: &Path, _: &mut Issues) -> Option<Self> {
        Some(())
    }

    fn typescript() -> Ts {
        Ts::Plain("void")
    }
}

/// An input that may be left out as a whole.
impl<I: Input> Input for Option<I> {
    fn read(value: Value, path: &Path, issues: &mut Issues) -> Option<Self> {
        match value {
            Value::Undefined => Some(None),
            present => I::read(present, path, issues).map(Some),
        }
    }

    fn typescript() -> Ts {
        Ts::OrUndefined(Box::new(I::typescript()))
    }
}

/// A type inside an answer: how TypeScript sees it, and whether this value is to be left out.
pub(crate) trait Output: Serialize + Sized {
    fn typescript() -> Ts;

    fn is_absent(&self) -> bool {
        false
    }

    /// Whether a member of this type may be missing.
    const MAY_BE_ABSENT: bool = false;

    /// This as the whole answer.
    fn encode(&self) -> Result<Encoded, Error> {
        Encoded::of(self)
    }
}

impl Output for () {
    fn typescript() -> Ts {
        Ts::Plain("void")
    }

    fn encode(&self) -> Result<Encoded, Error> {
        Ok(Encoded::undefined())
    }
}

/// A member that is always present and may be `null`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nullable<T>(pub(crate) Option<T>);

impl<T: Serialize> Serialize for Nullable<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T: Output> Output for Nullable<T> {
    fn typescript() -> Ts {
        Ts::Nullable(Box::new(T::typescript()))
    }
}

impl<T: Output> Output for Option<T> {
    fn typescript() -> Ts {
        T::typescript()
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }

    const MAY_BE_ABSENT: bool = true;
}

impl<T: Output> Output for Vec<T> {
    fn typescript() -> Ts {
        Ts::List(Box::new(T::typescript()))
    }
}

impl<T: Output> Output for BTreeMap<String, T> {
    fn typescript() -> Ts {
        Ts::Record(Box::new(T::typescript()))
    }
}

macro_rules! plain_outputs {
    ($($name:literal: $($type:ty),+;)+) => {
        $($(impl Output for $type {
            fn typescript() -> Ts {
                Ts::Plain($name)
            }
        })+)+
    };
}

plain_outputs! {
    "string": String, &'static str, Disclosed, UserId, SessionId, MessageId, GuestId, LoginId, VideoId;
    "number": i64, u64, u32, i32, f64;
    "boolean": bool;
    "Date": Timestamp;
}

/// Declares an input type with the description of each field.
macro_rules! input {
    ($(#[$doc:meta])* $vis:vis struct $name:ident {
        $($(#[$field_doc:meta])* $field:ident $wire:literal: $type:ty = $schema:expr),* $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        $vis struct $name {
            $($(#[$field_doc])* pub(super) $field: $type,)*
        }

        impl $crate::trpc::Input for $name {
            fn read(
                value: $crate::trpc::Value,
                path: &$crate::trpc::Path,
                issues: &mut $crate::trpc::Issues,
            ) -> Option<Self> {
                #[allow(unused_imports, reason = "which of them a type needs depends on its fields")]
                use $crate::trpc::schema::{Schema, boolean, date, integer, list, object, one_of, text};
                let $crate::trpc::Value::Object(mut members) = value else {
                    issues.wrong_type(path, "object", &value);
                    return None;
                };
                $(let $field: Option<$type> = {
                    let member = members.remove($wire).unwrap_or($crate::trpc::Value::Undefined);
                    Schema::read(&($schema), member, &path.key($wire), issues)
                };)*
                Some(Self { $($field: $field?,)* })
            }

            fn typescript() -> $crate::trpc::Ts {
                #[allow(unused_imports, reason = "which of them a type needs depends on its fields")]
                use $crate::trpc::schema::{Schema, boolean, date, integer, list, object, one_of, text};
                fn constrain<T, S: Schema<Output = T>>(schema: S) -> S {
                    schema
                }
                $crate::trpc::Ts::Named(stringify!($name), vec![
                    $({
                        let schema = constrain::<$type, _>($schema);
                        $crate::trpc::Member {
                            name: $wire, optional: schema.may_be_absent(), type_of: schema.typescript(),
                        }
                    }),*
                ])
            }
        }
    };
}
pub(crate) use input;

/// Declares a type of an answer.
macro_rules! output {
    ($(#[$doc:meta])* $vis:vis struct $name:ident {
        $($(#[$field_doc:meta])* $field:ident $wire:literal: $type:ty),* $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, serde::Serialize)]
        $vis struct $name {
            $(
                $(#[$field_doc])*
                #[serde(rename = $wire, skip_serializing_if = "crate::trpc::Output::is_absent")]
                pub(crate) $field: $type,
            )*
        }

        impl $crate::trpc::Output for $name {
            fn typescript() -> $crate::trpc::Ts {
                $crate::trpc::Ts::Named(stringify!($name), vec![
                    $($crate::trpc::Member {
                        name: $wire,
                        optional: <$type as $crate::trpc::Output>::MAY_BE_ABSENT,
                        type_of: <$type as $crate::trpc::Output>::typescript(),
                    }),*
                ])
            }
        }
    };
}
pub(crate) use output;

/// Declares an enumeration that travels as one of some texts, and is kept in the database as that text.
macro_rules! choices {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $wire:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            $vis const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $wire),+ }
            }

            $vis fn parse(text: &str) -> Option<Self> {
                match text { $($wire => Some(Self::$variant),)+ _ => None }
            }
        }

        impl $crate::trpc::schema::Choice for $name {
            const VALUES: &'static [&'static str] = &[$($wire),+];

            fn from_wire(text: &str) -> Option<Self> {
                Self::parse(text)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| serde::de::Error::unknown_variant(&text, &[$($wire),+]))
            }
        }

        impl $crate::trpc::Output for $name {
            fn typescript() -> $crate::trpc::Ts {
                $crate::trpc::Ts::Choice(<Self as $crate::trpc::schema::Choice>::VALUES)
            }
        }
    };
}
pub(crate) use choices;
