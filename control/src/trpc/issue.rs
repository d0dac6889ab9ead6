//! What is wrong with an input, in the words and key order of the validator the app's own code was written against.

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use super::value::Value;
use crate::error::Error;

/// Everything found wrong, in the order of the fields.
#[derive(Debug, Default)]
pub(crate) struct Issues(Vec<Issue>);

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Issue {
    Type {
        expected: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        format: Option<&'static str>,
        code: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        received: Option<&'static str>,
        path: Path,
        message: String,
    },
    TooSmall {
        origin: &'static str,
        code: &'static str,
        minimum: i64,
        inclusive: bool,
        path: Path,
        message: String,
    },
    TooBig {
        origin: &'static str,
        code: &'static str,
        maximum: i64,
        inclusive: bool,
        path: Path,
        message: String,
    },
    Choice {
        code: &'static str,
        values: &'static [&'static str],
        path: Path,
        message: String,
    },
    Custom {
        code: &'static str,
        path: Path,
        message: String,
    },
}

/// Which part of the input is meant: keys and indexes from the root.
#[derive(Debug, Clone, Default)]
pub(crate) struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Key(&'static str),
    Index(usize),
}

impl Path {
    pub(crate) fn key(&self, key: &'static str) -> Self {
        self.with(Step::Key(key))
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut steps = serializer.serialize_seq(Some(self.0.len()))?;
        for step in &self.0 {
            match step {
                Step::Key(key) => steps.serialize_element(key)?,
                Step::Index(index) => steps.serialize_element(index)?,
            }
        }
        steps.end()
    }
}

/// What a bound counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bounded {
    Text,
    Items,
    Number,
}

impl Bounded {
    const fn origin(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Items => "array",
            Self::Number => "number",
        }
    }

    fn phrase(self, relation: &str, bound: i64) -> String {
        match self {
            Self::Text => format!("expected string to have {relation}{bound} characters"),
            Self::Items => format!("expected array to have {relation}{bound} items"),
            Self::Number => format!("expected number to be {relation}{bound}"),
        }
    }
}

impl Issues {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn wrong_type(&mut self, path: &Path, expected: &'static str, found: &Value) {
        let (received, shown) = match found {
            Value::Number(number) if number.is_nan() => (Some("NaN"), "NaN"),
            Value::Number(number) if number.is_infinite() => (Some("Infinity"), "number"),
            Value::Date(None) => (Some("Invalid Date"), "Date"),
            other => (None, other.kind()),
        };
        let message = format!("Invalid input: expected {expected}, received {shown}");
        let path = path.clone();
        self.0.push(Issue::Type { expected, format: None, code: "invalid_type", received, path, message });
    }

    pub(crate) fn not_whole(&mut self, path: &Path) {
        self.0.push(Issue::Type {
            expected: "int",
            format: Some("safeint"),
            code: "invalid_type",
            received: None,
            path: path.clone(),
            message: "Invalid input: expected int, received number".to_owned(),
        });
    }

    pub(crate) fn too_small(&mut self, path: &Path, what: Bounded, minimum: i64) {
        let message = format!("Too small: {}", what.phrase(">=", minimum));
        let path = path.clone();
        let origin = what.origin();
        self.0.push(Issue::TooSmall { origin, code: "too_small", minimum, inclusive: true, path, message });
    }

    pub(crate) fn too_big(&mut self, path: &Path, what: Bounded, maximum: i64) {
        let message = format!("Too big: {}", what.phrase("<=", maximum));
        let path = path.clone();
        let origin = what.origin();
        self.0.push(Issue::TooBig { origin, code: "too_big", maximum, inclusive: true, path, message });
    }

    pub(crate) fn no_such_choice(&mut self, path: &Path, values: &'static [&'static str]) {
        let listed: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
        let message = format!("Invalid option: expected one of {}", listed.join("|"));
        self.0.push(Issue::Choice { code: "invalid_value", values, path: path.clone(), message });
    }

    /// A rule of ours that the validator's vocabulary has no word for.
    pub(crate) fn custom(&mut self, path: &Path, message: &str) {
        self.0.push(Issue::Custom { code: "custom", path: path.clone(), message: message.to_owned() });
    }
}

impl From<Issues> for Error {
    /// The list as the text it travels in: JSON, pretty-printed with two spaces.
    fn from(issues: Issues) -> Self {
        Self::Input(serde_json::to_string_pretty(&issues.0).unwrap_or_default())
    }
}
