//! What an HTTP request asks for: which procedures, one or a batch, with which inputs.
//!
//! In: method, URI, headers and the body as text. Out: [`Calls`], or the one failure that answers the whole request.
//! Inputs stay unread until a procedure wants its own, as with the original: malformed JSON fails only those who look.

use std::sync::Arc;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json};

use super::envelope::Failure;
use super::superjson::decode;
use super::value::Value;
use crate::error::{Code, Error};

/// The calls of one request.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) paths: Vec<String>,
    pub(crate) batch: bool,
    /// Whether the client wants each answer as soon as it is there (`httpBatchStreamLink`).
    pub(crate) streamed: bool,
}

impl Calls {
    /// `tail` is the raw path behind the mount point, without the slash.
    pub(crate) fn parse(
        method: &Method,
        tail: &str,
        query: &Query,
        headers: &HeaderMap,
        batch_max: usize,
    ) -> Result<Self, Failure> {
        let path = percent_decode_str(tail)
            .decode_utf8()
            .map_err(|_| Failure::of_request(Code::BadRequest, format!("Invalid URL-encoding in path \"{tail}\"")))?;
        check_content_type(method, headers)?;
        let streamed = ["trpc-accept", ACCEPT.as_str()]
            .iter()
            .any(|name| headers.get(*name).is_some_and(|value| value == "application/jsonl"));
        if streamed && !query.batch {
            let message = "Streaming requests must be batched (you can do a batch of 1)";
            return Err(Failure::of_request(Code::BadRequest, message));
        }
        let paths: Vec<String> =
            if query.batch { path.split(',').map(str::to_owned).collect() } else { vec![path.into_owned()] };
        if paths.len() > batch_max {
            return Err(Failure::of_request(Code::BadRequest, "Batch call exceeds maximum size"));
        }
        Ok(Self { paths, batch: query.batch, streamed })
    }
}

/// The two query parameters that mean something.
#[derive(Debug, Default)]
pub(crate) struct Query {
    batch: bool,
    input: Option<String>,
}

impl Query {
    /// The first of each name counts, as with the original; everything else is ignored.
    pub(crate) fn of(uri: &Uri) -> Self {
        let mut query = Self::default();
        let mut batch = None;
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            match name.as_ref() {
                "batch" if batch.is_none() => batch = Some(value == "1"),
                "input" if query.input.is_none() => query.input = Some(value.into_owned()),
                _ => {}
            }
        }
        query.batch = batch.unwrap_or(false);
        query
    }
}

/// GET may say what it likes; everything else must name a type that can carry an input.
fn check_content_type(method: &Method, headers: &HeaderMap) -> Result<(), Failure> {
    if method == Method::GET {
        return Ok(());
    }
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Err(Failure::of_request(Code::UnsupportedMediaType, "Missing content-type header"));
    };
    let kind = value.to_str().unwrap_or_default();
    if ["application/json", "multipart/form-data", "application/octet-stream"].iter().any(|k| kind.starts_with(k)) {
        return Ok(());
    }
    // The closing quote is missing in the original too, and clients have recorded it so.
    let shown: String = kind.chars().take(100).collect();
    Err(Failure::of_request(Code::UnsupportedMediaType, format!("Unsupported content-type \"{shown}")))
}

/// The inputs of a request, parsed at most once, handed out per call.
#[derive(Debug, Clone)]
pub(crate) struct Inputs(Arc<Whole>);

#[derive(Debug)]
enum Whole {
    Nothing,
    Json(Json),
    Batch(Map<String, Json>),
    /// A form or bytes: no procedure of ours takes them, and the validator says so.
    Foreign(&'static str),
    Unreadable(&'static str),
}

impl Inputs {
    /// From the URL for GET, from the body for everything else.
    pub(crate) fn parse(method: &Method, headers: &HeaderMap, query: &Query, body: &[u8]) -> Self {
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let text = if method == Method::GET {
            query.input.as_deref().unwrap_or_default().as_bytes()
        } else if kind.starts_with("multipart/form-data") {
            return Self(Arc::new(Whole::Foreign("FormData")));
        } else if kind.starts_with("application/octet-stream") {
            return Self(Arc::new(Whole::Foreign("ReadableStream")));
        } else {
            body
        };
        let whole = if text.is_empty() {
            Whole::Nothing
        } else {
            match serde_json::from_slice(text) {
                Err(_) => Whole::Unreadable("Malformed JSON in input"),
                Ok(Json::Object(members)) if query.batch => Whole::Batch(members),
                Ok(_) if query.batch => Whole::Unreadable("\"input\" needs to be an object when doing a batch call"),
                Ok(json) => Whole::Json(json),
            }
        };
        Self(Arc::new(whole))
    }

    /// The input of the call at `index`.
    pub(crate) fn read(&self, index: usize) -> Result<Value, Error> {
        match &*self.0 {
            Whole::Nothing => Ok(Value::Undefined),
            Whole::Json(json) => decode(json),
            Whole::Batch(members) => members.get(&index.to_string()).map_or(Ok(Value::Undefined), decode),
            Whole::Foreign(name) => Ok(Value::Foreign(name)),
            Whole::Unreadable(message) => {
                Err(Error::Request { code: Code::BadRequest, message: (*message).to_owned() })
            }
        }
    }
}
