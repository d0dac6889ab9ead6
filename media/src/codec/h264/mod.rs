//! H.264: parameter sets, the `avcC` record, and what a slice header tells (ITU-T H.264, ISO/IEC 14496-15).

mod avcc;
mod slice;
mod sps;

pub use avcc::Configuration;
pub use slice::{UnitKind, has_b_slice, is_disposable};
pub use sps::{Colour, Sps};
