//! Signing in: accounts, passwords, tokens.
//!
//! - A password is kept as argon2id and compared on a queue of its own.
//! - An access token says who calls, for an hour, without asking the database; a refresh token keeps the login alive and is
//!   replaced at each use. One that was replaced and comes back ends the login.
//! - Wrong password and unknown address are one answer at one price.

mod key;
mod model;
mod password;
mod procedures;
mod service;
mod store;
mod token;

#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod tests;

pub use self::key::{KeyError, TokenError, TokenKey, TokenKind};
pub(crate) use self::procedures::namespace;
pub(crate) use self::service::Auth;
pub use self::token::AccessTokens;
