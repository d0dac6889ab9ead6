//! What a client sent, as JavaScript sees it: JSON plus the types superjson adds.

use std::collections::BTreeMap;

use crate::clock::Timestamp;

/// An input value after its transformer was undone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Undefined,
    Null,
    Bool(bool),
    /// Finite, or one of the specials superjson can carry.
    Number(f64),
    Text(String),
    /// `None` is JavaScript's "Invalid Date".
    Date(Option<Timestamp>),
    Array(Vec<Self>),
    Object(BTreeMap<String, Self>),
    /// A type no input of ours takes, such as a Set; it travels to the validator to be named there.
    Foreign(&'static str),
}

impl Value {
    /// Its type's name in validator messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Undefined => "undefined",
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(number) if number.is_nan() => "NaN",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::Date(_) => "Date",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
            Self::Foreign(name) => name,
        }
    }
}
