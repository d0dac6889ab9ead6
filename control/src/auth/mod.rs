//! Signing in: accounts, passwords, tokens.

mod key;
mod token;

pub use self::key::{KeyError, TokenError, TokenKey, TokenKind};
pub use self::token::AccessTokens;
