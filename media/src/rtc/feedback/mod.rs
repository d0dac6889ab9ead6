//! What is asked for again, how often, and how fast to send: pure, on a clock that is passed in.

#[cfg_attr(not(test), expect(dead_code, reason = "the viewer drives it once it agrees on transport-cc"))]
pub(crate) mod estimate;
pub(crate) mod nack;
#[cfg(test)]
pub(crate) mod network;
#[cfg_attr(not(test), expect(dead_code, reason = "the viewer drives it once it agrees on transport-cc"))]
pub(crate) mod pacer;
pub(crate) mod resend;
pub(crate) mod twcc;
