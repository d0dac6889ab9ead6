//! The ICE-lite responder: answers connectivity checks, makes none (RFC 8445 sections 2.5 and 7.3, RFC 8489).
//!
//! In: binding requests. Out: success responses. Pure; reading and checking allocate nothing, since every peer sends a
//! check every few seconds for as long as it lives.
//!
//! ```text
//!  0               2               4                               8           20
//! +---------------+---------------+-------------------------------+-----------+ attributes: type length value pad
//! | type (0x0001) | length        | magic cookie 0x2112A442       | transaction id (12 bytes)
//! ```

use rand::Rng;
use rand::distr::Alphanumeric;
use ring::hmac;
use rtc::crypto::constant_time_eq;
use std::net::{IpAddr, SocketAddr};

/// A binding request that was read; it is authentic only once [`Self::verify`] has said so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BindingRequest<'a> {
    datagram: &'a [u8],
    local_ufrag: &'a str,
    use_candidate: bool,
    /// Where MESSAGE-INTEGRITY stands.
    integrity_at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StunError {
    #[error("no binding request")]
    NotARequest,
    #[error("the lengths do not add up")]
    Malformed,
    #[error("USERNAME or MESSAGE-INTEGRITY is missing")]
    Incomplete,
}

/// Username fragment and password of one side (RFC 8445 section 5.3).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
}

pub(crate) const HEADER: usize = 20;
pub(crate) const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
pub(crate) const BINDING_REQUEST: u16 = 0x0001;
pub(crate) const BINDING_SUCCESS: u16 = 0x0101;
pub(crate) const USERNAME: u16 = 0x0006;
pub(crate) const MESSAGE_INTEGRITY: u16 = 0x0008;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub(crate) const USE_CANDIDATE: u16 = 0x0025;
pub(crate) const FINGERPRINT: u16 = 0x8028;
const FINGERPRINT_XOR: u32 = 0x5354_554e;
pub(crate) const TAG: usize = 20;
/// 95 and 190 bits of randomness; the RFC wants 24 and 128.
const UFRAG_CHARS: usize = 16;
const PWD_CHARS: usize = 32;

impl Credentials {
    pub(crate) fn generate() -> Self {
        let text = |chars| rand::rng().sample_iter(Alphanumeric).take(chars).map(char::from).collect();
        Self { ufrag: text(UFRAG_CHARS), pwd: text(PWD_CHARS) }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

impl<'a> BindingRequest<'a> {
    pub(crate) fn parse(datagram: &'a [u8]) -> Result<Self, StunError> {
        let head = datagram.get(..HEADER).ok_or(StunError::NotARequest)?;
        if word(head, 0) != BINDING_REQUEST || head[4..8] != MAGIC {
            return Err(StunError::NotARequest);
        }
        if usize::from(word(head, 2)) + HEADER != datagram.len() || !datagram.len().is_multiple_of(4) {
            return Err(StunError::Malformed);
        }
        let (mut at, mut local_ufrag, mut use_candidate, mut integrity_at) = (HEADER, None, false, None);
        while at < datagram.len() {
            let length = usize::from(word(datagram, at + 2));
            let value = datagram.get(at + 4..at + 4 + length).ok_or(StunError::Malformed)?;
            // What stands behind the integrity, but for the fingerprint, is not covered by it and not believed.
            match word(datagram, at) {
                USERNAME if integrity_at.is_none() => {
                    let text = std::str::from_utf8(value).map_err(|_| StunError::Malformed)?;
                    local_ufrag = text.split(':').next();
                }
                USE_CANDIDATE if integrity_at.is_none() => use_candidate = true,
                MESSAGE_INTEGRITY if length == TAG => {
                    integrity_at.get_or_insert(at);
                }
                FINGERPRINT if length == 4 => {
                    let stated = u32::from_be_bytes([value[0], value[1], value[2], value[3]]);
                    if fingerprint(&datagram[..at]) != stated {
                        return Err(StunError::Malformed);
                    }
                }
                _ => {}
            }
            at += 4 + length.next_multiple_of(4);
        }
        match (local_ufrag, integrity_at) {
            (Some(local_ufrag), Some(integrity_at)) => Ok(Self { datagram, local_ufrag, use_candidate, integrity_at }),
            _ => Err(StunError::Incomplete),
        }
    }

    /// Our ufrag, as the client names it.
    pub(crate) fn local_ufrag(&self) -> &'a str {
        self.local_ufrag
    }

    /// The client has chosen this path.
    pub(crate) fn use_candidate(&self) -> bool {
        self.use_candidate
    }

    /// Whether the sender knows our password (RFC 8489 section 14.5).
    pub(crate) fn verify(&self, pwd: &[u8]) -> bool {
        let mut head = [0; HEADER];
        head.copy_from_slice(&self.datagram[..HEADER]);
        // The length covers the message up to and with MESSAGE-INTEGRITY.
        let length = (self.integrity_at + 4 + TAG - HEADER) as u16;
        head[2..4].copy_from_slice(&length.to_be_bytes());
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd));
        context.update(&head);
        context.update(&self.datagram[HEADER..self.integrity_at]);
        let tag = &self.datagram[self.integrity_at + 4..self.integrity_at + 4 + TAG];
        constant_time_eq(context.sign().as_ref(), tag)
    }

    /// Appends the success response, which tells the client its address as we see it.
    pub(crate) fn write_success(&self, out: &mut Vec<u8>, from: SocketAddr, pwd: &[u8]) {
        let start = out.len();
        out.extend_from_slice(&BINDING_SUCCESS.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.datagram[4..HEADER]);
        write_xor_mapped_address(out, from, &self.datagram[4..HEADER]);

        set_length(out, start, 4 + TAG);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd);
        let tag = hmac::sign(&key, &out[start..]);
        write_attribute(out, MESSAGE_INTEGRITY, tag.as_ref());

        set_length(out, start, 8);
        let crc = fingerprint(&out[start..]);
        write_attribute(out, FINGERPRINT, &crc.to_be_bytes());
    }
}

/// Length of the message as it is now and `more` bytes to come.
pub(crate) fn set_length(out: &mut [u8], start: usize, more: usize) {
    let length = (out.len() - start - HEADER + more) as u16;
    out[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
}

pub(crate) fn write_attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
}

/// RFC 8489 section 14.2; `id` is the cookie and the transaction id.
fn write_xor_mapped_address(out: &mut Vec<u8>, address: SocketAddr, id: &[u8]) {
    let port = address.port() ^ u16::from_be_bytes([id[0], id[1]]);
    let mut value = [0_u8; 20];
    value[2..4].copy_from_slice(&port.to_be_bytes());
    let length = match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            value[1] = 1;
            ip.octets().iter().zip(id).enumerate().for_each(|(at, (octet, mask))| value[4 + at] = octet ^ mask);
            8
        }
        IpAddr::V6(ip) => {
            value[1] = 2;
            ip.octets().iter().zip(id).enumerate().for_each(|(at, (octet, mask))| value[4 + at] = octet ^ mask);
            20
        }
    };
    write_attribute(out, XOR_MAPPED_ADDRESS, &value[..length]);
}

pub(crate) fn word(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..at + 2) {
        Some(&[high, low]) => u16::from_be_bytes([high, low]),
        _ => 0,
    }
}

/// CRC-32 as of ITU-T V.42, masked (RFC 8489 section 14.7).
pub(crate) fn fingerprint(message: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(message);
    crc.sum() ^ FINGERPRINT_XOR
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc::crypto::RTCCryptoProvider;
    use rtc::crypto::providers::RingProvider;
    use rtc::stun::attributes::{ATTR_USE_CANDIDATE, ATTR_USERNAME, RawAttribute};
    use rtc::stun::fingerprint::FINGERPRINT as ADD_FINGERPRINT;
    use rtc::stun::integrity::MessageIntegrity;
    use rtc::stun::message::{BINDING_REQUEST as REQUEST, Getter, Message, Setter, TransactionId};
    use rtc::stun::xoraddr::XorMappedAddress;

    const PWD: &str = "a-password-of-22-chars";

    /// A check as another implementation writes it.
    fn request(pwd: &str, nominate: bool) -> Vec<u8> {
        struct Attribute(RawAttribute);
        impl Setter for Attribute {
            fn add_to(&self, message: &mut Message) -> rtc::shared::error::Result<()> {
                message.add(self.0.typ, &self.0.value);
                Ok(())
            }
        }
        let attribute = |typ, value: &[u8]| {
            Box::new(Attribute(RawAttribute { typ, length: value.len() as u16, value: value.to_vec() }))
        };
        let crypto = RingProvider::new();
        let mut setters: Vec<Box<dyn Setter>> =
            vec![Box::new(REQUEST), Box::new(TransactionId([7; 12])), attribute(ATTR_USERNAME, b"ours:theirs")];
        if nominate {
            setters.push(attribute(ATTR_USE_CANDIDATE, b""));
        }
        setters
            .push(Box::new(MessageIntegrity::new_short_term_integrity_with_provider(pwd.to_owned(), crypto.crypto())));
        setters.push(Box::new(ADD_FINGERPRINT));
        let mut message = Message::new();
        message.build(&setters).unwrap();
        message.raw
    }

    #[test]
    fn checks_of_another_implementation_are_read_and_our_answer_is_accepted_there() {
        for from in ["203.0.113.7:4242", "[2001:db8::7]:65535"] {
            let from: SocketAddr = from.parse().unwrap();
            let bytes = request(PWD, true);
            let parsed = BindingRequest::parse(&bytes).unwrap();
            assert_eq!((parsed.local_ufrag(), parsed.use_candidate()), ("ours", true));
            assert!(parsed.verify(PWD.as_bytes()) && !parsed.verify(b"another"));
            let mut out = vec![9; 3];
            parsed.write_success(&mut out, from, PWD.as_bytes());
            let mut answer = Message::new();
            answer.unmarshal_binary(&out[3..]).unwrap();
            assert_eq!(answer.transaction_id, TransactionId([7; 12]));
            let crypto = RingProvider::new();
            MessageIntegrity::check(&mut answer.clone(), PWD.as_bytes(), crypto.crypto()).unwrap();
            ADD_FINGERPRINT.check(&answer).unwrap();
            let mut mapped = XorMappedAddress::default();
            mapped.get_from(&answer).unwrap();
            assert_eq!(SocketAddr::new(mapped.ip, mapped.port), from);
        }
        assert!(!BindingRequest::parse(&request(PWD, false)).unwrap().use_candidate());
    }

    #[test]
    fn broken_and_forged_checks_are_refused() {
        let good = request(PWD, true);
        for end in 0..good.len() {
            assert!(BindingRequest::parse(&good[..end]).is_err(), "cut at {end}");
        }
        // The fingerprint at the end is no secret: what is changed there may be believed.
        for at in 0..good.len() - 8 {
            let mut bytes = good.clone();
            bytes[at] ^= 0x41;
            let believed = BindingRequest::parse(&bytes).is_ok_and(|request| request.verify(PWD.as_bytes()));
            assert!(!believed, "byte {at} was changed");
        }
    }

    #[test]
    fn credentials_differ_and_are_long_enough() {
        let (one, other) = (Credentials::generate(), Credentials::generate());
        assert_ne!(one, other);
        assert!(one.ufrag.len() >= 4 && one.pwd.len() >= 22);
        assert!(!format!("{one:?}").contains(&one.pwd));
    }
}
