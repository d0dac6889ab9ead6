//! What is asked for again, and how often: pure, on a clock that is passed in.

pub(crate) mod nack;
pub(crate) mod resend;
pub(crate) mod twcc;
