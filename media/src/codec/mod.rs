//! INSIDE A FRAME: bytes in, facts out.
//!
//! Each module reads a codec's configuration record into a [`VideoFormat`](crate::model::VideoFormat) or an
//! [`AudioFormat`](crate::model::AudioFormat) and answers the few questions the plane has about a frame. Nothing here
//! decodes pictures or sound, and nothing trusts a length it has not checked.

pub mod aac;
pub mod av1;
mod bits;
mod error;
pub mod h264;
pub mod h265;
pub mod nal;
pub mod opus;
pub mod vp9;

pub use error::CodecError;
