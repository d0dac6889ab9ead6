//! Chat: lines of text under a session.
//!
//! Signed-in users write to sessions they can see, until the session ends; everybody who can see a session reads it. A
//! line is durable before anyone hears of it, and its author learns the outcome from the same event as everyone else.
//!
//! - Text is stored in NFC without control characters and bidirectional overrides; 1 to 500 characters remain.
//! - A user writes three lines at once, then one every 1.5 s; hosts are exempt in their own show.
//! - A line of type `gift` is made by the server when a gift was paid for, never on a client's word.
//! - With a `clientMessageId`, sending again posts nothing new and answers with the first line.

mod model;
mod procedures;
mod service;
mod store;

#[cfg(test)]
mod tests;

pub(crate) use self::model::ChatMessage;
#[cfg(test)]
pub(crate) use self::model::MessageKind;
pub(crate) use self::procedures::namespace;
pub(crate) use self::service::{Chat, Draft};
