//! THE WEBRTC TRANSPORT under whip and whep; it knows neither the hub nor HTTP.
//!
//! A client's offer is answered by [`negotiate`] (SDP); its checks by [`ice`] (RFC 8445, lite); [`dtls`] gives the keys for
//! [`srtp`]; [`socket`] sends and receives in batches. All but the socket is pure: bytes and a time go in, bytes come out.

pub(crate) mod copies;
pub(crate) mod datagram;
pub(crate) mod dtls;
pub(crate) mod feedback;
pub(crate) mod ice;
pub(crate) mod negotiate;
pub(crate) mod outlet;
pub(crate) mod route;
pub(crate) mod rtcp;
pub(crate) mod socket;
pub(crate) mod srtp;
