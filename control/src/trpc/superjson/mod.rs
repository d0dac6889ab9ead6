//! superjson's envelope, `{"json": …, "meta": {"values": …}}`: JSON beside a map from path to the type JSON cannot say.
//!
//! Answers carry `Date` annotations; inputs may carry any, of which those that a validator could meet are understood.

mod decode;
mod encode;

pub(crate) use self::decode::decode;
pub(crate) use self::encode::Encoded;
