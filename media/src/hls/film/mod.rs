//! A replay as one file: a progressive MP4 of the show's best picture and its sound, made of the segments as they are.
//!
//! segments → tables → head + extents → bytes of any range:
//!
//! 1. `plan` chooses the renditions and puts their segments in order.
//! 2. `maker` reads each segment once; `track` keeps the sample tables, `head` writes them as `ftyp` and `moov`
//!    (ISO/IEC 14496-12 sections 4.3 and 8), `sets` adds to keyframes what players look for when an encoder's settings changed.
//! 3. A [`Film`] is that head, and where in which object each piece of its `mdat` lies. No second copy of the media is ever
//!    made: what a viewer downloads is read from the segments while it goes out (`reel`).
//! 4. `audience` hands it to viewers: so many at a time, and to nobody who stands still.
//! 5. `films` has films made one after the other in the background, keeps them beside the journal, and knows how far they are.

mod audience;
mod films;
mod head;
mod maker;
mod map;
mod plan;
mod reel;
mod sets;
mod track;

pub(crate) use audience::Audience;
pub(crate) use films::{Films, Showing, Unavailable};
pub(crate) use map::Film;
pub(crate) use reel::{Reel, TornReel, play};
