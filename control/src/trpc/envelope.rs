//! The JSON around an answer: one object per call, an array for a batch, superjson inside.

use std::time::Duration;

use serde_json::json;

use super::superjson::Encoded;
use crate::caller::Language;
use crate::error::{Code, Error};

/// What became of one call.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answer(Encoded),
    Failure(Failure),
}

/// An error as the client sees it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// Which procedure; absent when the request failed before it was clear.
    pub(crate) path: Option<String>,
    pub(crate) reason: Option<&'static str>,
    pub(crate) retry_after: Option<Duration>,
}

impl Failure {
    /// A request that could not be read, told in plain English to the developer who sent it.
    pub(crate) fn of_request(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), path: None, reason: None, retry_after: None }
    }

    /// What the caller may know of an error; the rest is logged here, once.
    pub(crate) fn of_call(error: &Error, language: Language, path: &str) -> Self {
        if error.is_ours() {
            let causes = causes(error);
            tracing::error!(procedure = path, code = error.code().name(), "call failed: {causes}");
        }
        Self {
            code: error.code(),
            message: error.public(language).into_owned(),
            path: Some(path.to_owned()),
            reason: error.reason(),
            retry_after: error.retry_after(),
        }
    }

    /// The error shape, not wrapped.
    pub(crate) fn shape(&self) -> String {
        // Written by hand to keep tRPC's key order, which a map of ours would sort.
        let mut data = format!("{{\"code\":\"{}\",\"httpStatus\":{}", self.code.name(), self.code.status());
        if let Some(path) = &self.path {
            data.push_str(&format!(",\"path\":{}", json!(path)));
        }
        if let Some(reason) = self.reason {
            data.push_str(&format!(",\"reason\":\"{reason}\""));
        }
        if let Some(wait) = self.retry_after {
            data.push_str(&format!(",\"retryAfterMs\":{}", wait.as_millis()));
        }
        format!("{{\"message\":{},\"code\":{},\"data\":{data}}}}}", json!(self.message), self.code.number())
    }

    fn write(&self, out: &mut String) {
        out.push_str("{\"error\":{\"json\":");
        out.push_str(&self.shape());
        out.push_str("}}");
    }
}

impl Outcome {
    pub(crate) const fn status(&self) -> u16 {
        match self {
            Self::Answer(_) => 200,
            Self::Failure(failure) => failure.code.status(),
        }
    }

    pub(crate) const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Answer(_) => None,
            Self::Failure(failure) => Some(failure),
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Answer(encoded) => {
                out.push_str("{\"result\":{\"data\":");
                encoded.write(out);
                out.push_str("}}");
            }
            Self::Failure(failure) => failure.write(out),
        }
    }
}

/// The body and status of a whole response: 207 when the calls of a batch disagree.
pub(crate) fn respond(outcomes: &[Outcome], batch: bool) -> (u16, String) {
    let mut body = String::with_capacity(256);
    if batch {
        body.push('[');
    }
    for (index, outcome) in outcomes.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        outcome.write(&mut body);
    }
    if batch {
        body.push(']');
    }
    let first = outcomes.first().map_or(200, Outcome::status);
    let agreed = outcomes.iter().all(|outcome| outcome.status() == first);
    (if agreed { first } else { 207 }, body)
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
