//! People with accounts: who they are and what others may see of them.
//!
//! - A username is stored without its `@`, in lower case; an e-mail address is found by its folded form and shown to nobody.
//! - A profile is the same shape for everybody. What is private (coins, preferences, what the owner switched off) is there
//!   for the owner and neutral for others, so that the app's types always hold.
//! - Accounts are made by auth, through [`create`]; nobody else writes this table.

mod model;
mod procedures;
mod service;
mod store;

#[cfg(test)]
mod tests;

pub(crate) use self::model::{DisplayName, Email, NewUser, User, Username};
pub(crate) use self::procedures::namespace;
pub(crate) use self::service::{Users, create, credentials, find, seen};
