//! 3c. WHAT MUST LAST.
mod key;
pub use key::{ObjectKey, ObjectName, RenditionId, RenditionKind, parse_number};
