//! tRPC v11 with superjson over HTTP, as `@trpc/client` speaks it.
//!
//! A request walks: `http` (limits, CORS, body) → `request` (paths, batch, inputs) → `dispatch` (method, rate) → `table`
//! (which procedure, may this caller) → the slice's function → `envelope` (status and JSON). Slices meet only the
//! registration side: [`Namespace`], [`input!`], [`output!`] and [`choices!`].

mod dispatch;
mod envelope;
mod http;
mod issue;
mod jsonl;
mod request;
pub(crate) mod schema;
mod shape;
mod superjson;
mod table;
#[cfg(test)]
mod tests;
mod typescript;
mod value;

pub(crate) use self::http::Api;
pub(crate) use self::issue::{Issues, Path};
pub(crate) use self::shape::{Input, Nullable, Output, choices, input, output};
pub(crate) use self::table::{Namespace, Table};
pub(crate) use self::typescript::{Member, Ts};
pub(crate) use self::value::Value;
