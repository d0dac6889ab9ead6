//! tRPC v11 with superjson over HTTP, as `@trpc/client` speaks it.
//!
//! A request walks: `http` (limits, CORS, body) → `request` (paths, batch, inputs) → `table` (which procedure, may this
//! caller) → the slice's function → `envelope` (status and JSON). Slices meet only the registration side:
//! [`Namespace`], [`input!`], [`output!`] and [`choices!`].

mod issue;
pub(crate) mod schema;
mod shape;
#[cfg(test)]
mod shape_tests;
mod superjson;
mod table;
mod typescript;
mod value;

pub(crate) use self::issue::{Issues, Path};
pub(crate) use self::shape::{Input, Nullable, Output, choices, input, output};
pub(crate) use self::table::{Namespace, Table};
pub(crate) use self::typescript::{Member, Ts};
pub(crate) use self::value::Value;
