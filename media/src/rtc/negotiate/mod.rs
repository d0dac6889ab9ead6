//! One offer, one answer (RFC 8829, RFC 8866): which codecs, numbers and addresses a peer will use.
//!
//! In: the client's offer, and for a viewer the tracks of the show. Out: the answer's text and what was agreed on. Pure.
//! The answer is ICE-lite with every candidate in it (RFC 8839), bundled (RFC 9143), rtcp-mux, and passive in DTLS
//! (RFC 8842), so that the client starts everything and no second round is needed.

mod answer;
mod offer;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use answer::{
    AgreedCodec, Candidate, CandidateKind, Local, NegotiationError, Outgoing, PublisherAgreement, ReceiveSection,
    Simulcast, ViewerAgreement, answer_publisher, answer_viewer, write_candidate,
};
pub(crate) use offer::{Codec, Fingerprint, Offer, Section, SectionKind, attribute, attributes};
