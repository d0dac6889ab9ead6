//! What can be wrong inside a configuration record or a frame.

/// `what` names the structure, `field` the syntax element as its standard spells it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("{what} ends inside {field}")]
    Truncated { what: &'static str, field: &'static str },
    #[error("{what} has an impossible {field}")]
    Malformed { what: &'static str, field: &'static str },
    #[error("{what} with {field} {value} is not supported")]
    Unsupported { what: &'static str, field: &'static str, value: u32 },
}
