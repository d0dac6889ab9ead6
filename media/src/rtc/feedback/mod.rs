//! What is asked for again, how often, and how fast to send: pure, on a clock that is passed in.

pub(crate) mod estimate;
pub(crate) mod nack;
#[cfg(test)]
pub(crate) mod network;
pub(crate) mod pacer;
pub(crate) mod reception;
pub(crate) mod resend;
pub(crate) mod twcc;
